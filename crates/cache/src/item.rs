use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_core::ExpiresIn;
use larder_core::chrono::{DateTime, Utc};

use crate::CacheResult;
use crate::envelope::Envelope;
use crate::view::Lens;

/// Whether a value still has life left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Freshness {
    /// It has.
    Fresh,
    /// Its time is over.
    Stale,
}

/// An entry as it was when it was read; no later write changes it (`V3`).
///
/// The value is decoded when [`value`](Self::value) asks for it. Age, freshness and remaining life
/// are told by the clock, at the moment of asking.
pub struct CacheItem<V> {
    envelope: Envelope,
    lens: Arc<Lens<V>>,
}

impl<V> CacheItem<V> {
    #[inline]
    pub(crate) fn new(envelope: Envelope, lens: &Arc<Lens<V>>) -> Self {
        Self { envelope, lens: Arc::clone(lens) }
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no `V`, as after a change of the type's fields.
    pub fn value(&self) -> CacheResult<V> {
        Ok(self.lens.codec.decode(&self.envelope.payload)?)
    }

    /// When the value was made, to the microsecond.
    #[must_use]
    pub fn modified(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.envelope.head.modified)
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// How long ago the value was made; zero when that lies in the future.
    #[must_use]
    pub fn age(&self) -> Duration {
        (self.lens.clock.now() - self.modified()).to_std().unwrap_or_default()
    }

    /// How long the value still lives; `Missing` once its time is over.
    #[must_use]
    pub fn expires_in(&self) -> ExpiresIn {
        ExpiresIn::until(self.envelope.head.served_until(), self.lens.clock.now())
    }

    /// Whether the value still has life left.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        if self.envelope.head.is_live_by(&*self.lens.clock) {
            Freshness::Fresh
        } else {
            Freshness::Stale
        }
    }

    /// Whether the entry was pinned.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.envelope.head.is_pinned(self.lens.clock.now())
    }

    /// The weight that it was set with.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.envelope.head.weight
    }
}

impl<V> Clone for CacheItem<V> {
    fn clone(&self) -> Self {
        Self::new(self.envelope.clone(), &self.lens)
    }
}

impl<V> fmt::Debug for CacheItem<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheItem")
            .field("modified", &self.modified())
            .field("expires_in", &self.expires_in())
            .field("value_len", &self.envelope.payload.len())
            .finish_non_exhaustive()
    }
}
