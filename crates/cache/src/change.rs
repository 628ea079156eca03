//! Changes that depend on the entry that they find.

use larder_core::{Bytes, Condition, Error, ErrorKind, Expiry, Resolved};

use crate::envelope::Envelope;
use crate::policy::Entry;
use crate::slot::Overtake;
use crate::write::Locked;
use crate::{CacheError, CacheResult};

/// How often a change is tried that depends on an entry which other processes change too.
pub(crate) const ATTEMPTS: usize = 64;

impl Locked {
    /// Deletes the key, and gives what it held if that was live.
    pub(crate) async fn delete(self) -> CacheResult<Option<Envelope>> {
        let now = self.inner.now();
        match self.take_out().await {
            Ok(old) => {
                self.slot.overtake(Overtake::Removed);
                self.inner.policies.forget(&self.slot.id);
                Ok(old.filter(|old| old.head.is_live(now)))
            }
            Err(error) => {
                self.slot.overtake(Overtake::Unsure);
                Err(error)
            }
        }
    }

    /// Deletes the record and gives the entry that was deleted by this call.
    async fn take_out(&self) -> CacheResult<Option<Envelope>> {
        if self.inner.coordination.is_none() {
            let read = self.read().await?;
            let deleted = self.store_delete().await?;
            return Ok(read.filter(|_| deleted));
        }
        // Other processes write too: what is given is what was deleted.
        for _ in 0..ATTEMPTS {
            let (record, condition) = self.see_record().await?;
            if record.is_none() && condition == Condition::Absent {
                return Ok(None);
            }
            if self.store_delete_if(condition).await? {
                return Ok(record.and_then(|bytes| Envelope::decode(bytes).ok()));
            }
        }
        let read = self.read().await?;
        let deleted = self.store_delete().await?;
        Ok(read.filter(|_| deleted))
    }

    /// The entry, and what a change that depends on it is conditioned on where other processes
    /// write too.
    pub(crate) async fn read_to_change(&self) -> CacheResult<(Option<Envelope>, Condition)> {
        if self.inner.coordination.is_none() {
            return Ok((self.read().await?, Condition::Any));
        }
        let (record, condition) = self.see_record().await?;
        Ok((record.and_then(|bytes| Envelope::decode(bytes).ok()), condition))
    }

    /// Tells whether a clearing of the key was under way at any time since the slot's changes were
    /// counted. It may have removed from the store what was read since, which must not come back.
    pub(crate) fn is_cleared_since(&self, mutations: u64) -> bool {
        self.slot.mutations() != mutations || self.inner.table.is_being_removed(&self.slot.id)
    }

    /// Removes, in place of a change, an entry that is being cleared: the clearing comes last.
    pub(crate) async fn give_way(&self, condition: Condition) -> CacheResult<()> {
        let deleted = self.store_delete_if(condition).await;
        self.slot.overtake(if deleted.is_ok() { Overtake::Removed } else { Overtake::Unsure });
        deleted?;
        self.inner.policies.forget(&self.slot.id);
        Ok(())
    }

    /// The same where the change was written already: a clearing that spares flights waits for nobody.
    pub(crate) async fn take_back(&self, written: &Bytes) -> CacheResult<()> {
        if self.inner.coordination.is_none() {
            return self.give_way(Condition::Any).await;
        }
        let (record, condition) = self.see_record().await?;
        if record.as_ref() == Some(written) { self.give_way(condition).await } else { Ok(()) }
    }

    /// Gives the entry another expiry, bringing it back where it is expired and still there.
    pub(crate) async fn update_expiry(
        self,
        expiry: Option<Expiry>,
        default: Expiry,
        tag: u64,
    ) -> CacheResult<Envelope> {
        for _ in 0..ATTEMPTS {
            if let Some(envelope) = self.try_update_expiry(expiry, default, tag).await? {
                return Ok(envelope);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the entry changes too often").into())
    }

    /// `None` when another process changed the entry meanwhile.
    async fn try_update_expiry(
        &self,
        expiry: Option<Expiry>,
        default: Expiry,
        tag: u64,
    ) -> CacheResult<Option<Envelope>> {
        let mutations = self.slot.mutations();
        let (envelope, condition) = self.read_to_change().await?;
        let Some(mut envelope) = envelope else { return Err(CacheError::NotFound) };
        if envelope.check_tag(tag).is_err() {
            return Err(CacheError::NotFound);
        }
        let now = self.inner.now();
        let kept_until = envelope.head.kept_until(self.inner.retention());
        if kept_until.is_some_and(|until| until.is_past(now)) {
            return Err(CacheError::NotFound);
        }
        let life = expiry.unwrap_or_else(|| self.inner.jittered(default));
        let deadline = match life.resolve(now) {
            Resolved::Keep if envelope.head.is_live(now) => return Ok(Some(envelope)),
            Resolved::Keep => return Err(CacheError::NotFound),
            Resolved::Never => None,
            Resolved::At(deadline) => Some(deadline),
            Resolved::Gone => {
                let deleted = self.store_delete_if(condition.clone()).await;
                self.slot.overtake(Overtake::Removed);
                if !deleted? && condition != Condition::Any {
                    return Ok(None);
                }
                self.inner.policies.forget(&self.slot.id);
                return Ok(Some(envelope));
            }
        };
        if !envelope.head.is_pinned(now) {
            // Brought back, the entry is not pinned again: others may have taken its pin's place.
            envelope.head.pinned_until = None;
        }
        envelope.head.expires = deadline;
        envelope.head.explicit_expiry = expiry.is_some();
        if self.is_cleared_since(mutations) {
            self.give_way(condition).await?;
            return Ok(Some(envelope));
        }
        let bytes = envelope.encode();
        match self.store_set(&envelope.head, bytes.clone(), now, condition).await {
            Ok(true) if self.is_cleared_since(mutations) => {
                self.take_back(&bytes).await?;
                return Ok(Some(envelope));
            }
            Ok(true) => self.slot.overtake(Overtake::Value(bytes, envelope.head.tag)),
            Ok(false) => return Ok(None),
            Err(error) => {
                self.slot.overtake(Overtake::Unsure);
                return Err(error.into());
            }
        }
        self.inner.policies.update(&self.slot.id, Entry::of(&envelope.head), now);
        self.inner.policies.touch(&self.route, &self.slot.id.key);
        self.inner.table.count_fill(&self.slot.id);
        Ok(Some(envelope))
    }
}
