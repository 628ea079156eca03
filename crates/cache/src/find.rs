//! The reads of a typed cache.

use std::sync::Arc;

use larder_core::{Bytes, Error, ErrorKind};

use crate::envelope::{Envelope, Plain};
use crate::placeholder::Placeholder;
use crate::read::Fetched;
use crate::route::Route;
use crate::space::Inner;
use crate::{Cache, CacheItem, CacheResult};

impl<V: 'static> Cache<V> {
    /// What a read of the store has found, as an entry of this type, live or not; what cannot be
    /// decoded is counted.
    #[inline]
    pub(crate) fn entry(&self, fetched: Fetched) -> Result<Option<Envelope>, Error> {
        match fetched {
            Ok(found) => Ok(found.and_then(|bytes| self.accept_any(bytes))),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.count_undecodable(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What a read of the store has found, as a live entry of this type,
    /// counted as a hit or a miss.
    #[inline]
    pub(crate) fn live(
        &self,
        route: &Route,
        key: &str,
        fetched: Fetched,
    ) -> Result<Option<Envelope>, Error> {
        let live = self.live_entry(fetched)?;
        self.count_read(route, key, live.is_some());
        Ok(live)
    }

    #[inline]
    fn live_entry(&self, fetched: Fetched) -> Result<Option<Envelope>, Error> {
        let inner = self.inner();
        Ok(self.entry(fetched)?.filter(|envelope| inner.is_live(&envelope.head)))
    }

    /// What a read of the store has found, as a live value of this type,
    /// counted as a hit or a miss.
    #[inline]
    pub(crate) fn value(
        &self,
        route: &Route,
        key: &str,
        fetched: Fetched,
    ) -> CacheResult<Option<V>> {
        let mut fetched = fetched;
        let value = if let Ok(Some(bytes)) = &mut fetched
            && let Some(Plain { expires }) = Envelope::skip_plain_head(bytes, self.0.tag)
        {
            let clock = &*self.inner().config.clock;
            let live = expires.is_none_or(|it| !it.has_passed(clock));
            if live { self.decode_payload(std::mem::take(bytes)).ok() } else { None }
        } else {
            self.live_entry(fetched)?.and_then(|envelope| self.decode(envelope).ok())
        };
        self.count_read(route, key, value.is_some());
        Ok(value)
    }

    /// What a read of the store has found, as a live entry of this type.
    ///
    /// # Errors
    /// `Corrupt` for what is live, or cannot be told not to be, and is no value of this type.
    pub(crate) fn live_or_corrupt(&self, found: Option<Bytes>) -> Result<Option<Envelope>, Error> {
        let Some(bytes) = found.filter(|bytes| !Placeholder::is(bytes)) else { return Ok(None) };
        let envelope = Envelope::decode(bytes)?;
        if !self.inner().is_live(&envelope.head) {
            return Ok(None);
        }
        envelope.check_tag(self.0.tag)?;
        self.0.lens.codec.decode(&envelope.payload)?;
        Ok(Some(envelope))
    }

    /// Counts a read, and tells the policy of a hit.
    #[inline]
    pub(crate) fn count_read(&self, route: &Route, key: &str, hit: bool) {
        let inner = self.inner();
        if hit {
            inner.policies.touch(route, key);
        }
        inner.counters.count_read(hit);
    }

    /// The live entry of this type that `bytes` hold.
    pub(crate) fn accept(&self, bytes: Bytes) -> Option<Envelope> {
        self.accept_any(bytes).filter(|envelope| self.inner().is_live(&envelope.head))
    }

    #[inline]
    fn accept_any(&self, bytes: Bytes) -> Option<Envelope> {
        if Placeholder::is(&bytes) {
            return None;
        }
        let checked = Envelope::decode(bytes).and_then(|envelope| {
            envelope.check_tag(self.0.tag)?;
            Ok(envelope)
        });
        checked.inspect_err(|error| self.count_undecodable(error)).ok()
    }

    /// The value in the envelope that a load has ended with, whatever is left of its life.
    #[inline]
    pub(crate) fn loaded(&self, mut envelope: Bytes) -> CacheResult<V> {
        if Envelope::skip_plain_head(&mut envelope, self.0.tag).is_some() {
            return self.decode_payload(envelope);
        }
        self.decode(Envelope::decode(envelope)?)
    }

    pub(crate) fn decode(&self, envelope: Envelope) -> CacheResult<V> {
        match envelope.check_tag(self.0.tag) {
            Ok(()) => self.decode_payload(envelope.payload),
            Err(error) => {
                self.count_undecodable(&error);
                Err(error.into())
            }
        }
    }

    #[inline]
    fn decode_payload(&self, payload: Bytes) -> CacheResult<V> {
        self.0.lens.codec.decode_owned(payload).map_err(|error| {
            self.count_undecodable(&error);
            error.into()
        })
    }

    #[cold]
    fn count_undecodable(&self, error: &Error) {
        self.inner().counters.undecodable.add();
        crate::event!(warn, reason = error.message(), "cache entry cannot be decoded");
        let _ = error;
    }

    #[inline]
    pub(crate) fn item(&self, envelope: Envelope) -> CacheItem<V> {
        CacheItem::new(envelope, &self.0.lens)
    }

    #[inline]
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0.space.0
    }
}
