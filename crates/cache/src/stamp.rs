//! Telling the data under whose lock it is read (L2).

use larder_core::{Bytes, Condition, Deadline, Error, ErrorKind, Expiry, SetOptions};

use crate::chance::Owner;
use crate::envelope::Envelope;
use crate::lease::{Companion, at_least};
use crate::lock::Seen;
use crate::placeholder::Placeholder;
use crate::write::Locked;
use crate::{CacheError, CacheResult};

/// How often a record is stamped anew that others change meanwhile.
const ATTEMPTS: usize = 16;

impl Locked {
    /// Reads the entry and writes the token into it, or into its place: from then on, what a holder
    /// writes that read it earlier meets another record than it expects.
    pub(crate) async fn stamp(&self, fence: u64) -> CacheResult<(Option<Envelope>, Seen)> {
        for _ in 0..ATTEMPTS {
            let (record, condition) = self.see_record().await?;
            let found = record.clone().and_then(|bytes| Envelope::decode(bytes).ok());
            let (known, loading) = match (&record, &found) {
                (_, Some(envelope)) => (envelope.head.fence, None),
                (Some(bytes), None) => match Placeholder::decode(bytes) {
                    Some(Placeholder::Locked(fence)) => (Some(fence), None),
                    Some(Placeholder::Loading { owner, fence }) => (fence, Some(owner)),
                    Some(Placeholder::Failed) => (None, None),
                    // It is no entry: left alone, and watched.
                    None => return Ok((None, Seen { fence: Some(fence), ..self.seen(condition) })),
                },
                (None, None) => (None, None),
            };
            if known.is_some_and(|known| known > fence) {
                return Err(CacheError::LockLost);
            }
            if let Some(seen) = self.write_stamp(fence, found.clone(), loading, condition).await? {
                return Ok((found, seen));
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the entry changes too often to be locked").into())
    }

    /// `None` where the record was changed meanwhile.
    async fn write_stamp(
        &self,
        fence: u64,
        found: Option<Envelope>,
        loading: Option<Owner>,
        condition: Condition,
    ) -> CacheResult<Option<Seen>> {
        let now = self.inner.now();
        let lease = self.inner.coordination.as_ref().map(|it| it.lease).unwrap_or_default();
        let (bytes, until, is_placeholder) = match (found, loading) {
            (Some(mut envelope), _) => {
                envelope.head.fence = Some(fence);
                let until = envelope.head.kept_until(self.inner.retention());
                (envelope.encode(), until, false)
            }
            (None, Some(owner)) => {
                (Placeholder::Loading { owner, fence: Some(fence) }.encode(), None, false)
            }
            (None, None) => (Placeholder::Locked(fence).encode(), Some(Deadline::at(now)), true),
        };
        // The marker of a load is kept by whoever loads.
        let expiry = if loading.is_some() { Expiry::Keep } else { at_least(until, now, lease) };
        let options = SetOptions::default().with_expiry(expiry).with_condition(condition);
        let outcome = self.route.store.set_opts(&self.slot.id.key, bytes.clone(), options).await;
        if !self.inner.settle(outcome)?.is_applied() {
            return Ok(None);
        }
        let (record, condition) = self.see_record().await?;
        if record.as_ref() != Some(&bytes) {
            return Ok(None);
        }
        let companion = self.companion(bytes, until, is_placeholder);
        Ok(Some(Seen { fence: Some(fence), companion, ..self.seen(condition) }))
    }

    /// The record that a condition speaks of, where it would be over by itself.
    pub(crate) fn companion(
        &self,
        record: Bytes,
        until: Option<Deadline>,
        is_placeholder: bool,
    ) -> Option<Companion> {
        Some(Companion {
            store: self.route.store.clone(),
            key: self.slot.id.key.clone(),
            record,
            until: until?,
            is_placeholder,
        })
    }
}
