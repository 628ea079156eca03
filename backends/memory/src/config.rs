use std::sync::Arc;
use std::time::Duration;

use larder_core::{Clock, Error, ErrorKind, Result, SystemClock};

use crate::MemoryStore;

/// Builds a [`MemoryStore`]: see [`MemoryStore::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct MemoryStoreBuilder {
    clock: Arc<dyn Clock>,
    sweep_every: Option<Duration>,
}

impl MemoryStoreBuilder {
    pub(crate) fn new() -> Self {
        Self { clock: Arc::new(SystemClock), sweep_every: None }
    }

    /// Takes the time from `clock` (`E7`); the operating system's unless given.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Removes expired entries in the background, this long after the last sweep; off unless given.
    ///
    /// Without it an expired entry is not seen either, but its memory comes free only when its key is
    /// set or deleted, when a large namespace would have to grow, or when
    /// [`delete_expired`](larder_core::Store::delete_expired) is called.
    ///
    /// The sweeper is a task of the tokio runtime in which the store is built, and its interval
    /// follows that runtime's time. It ends when the store is closed or its last handle dropped.
    pub fn sweep_every(mut self, interval: Duration) -> Self {
        self.sweep_every = Some(interval);
        self
    }

    /// Makes an empty store.
    ///
    /// # Errors
    /// `InvalidConfig` for a sweep interval of zero, and for one given outside of a tokio runtime.
    pub fn build(self) -> Result<MemoryStore> {
        let store = MemoryStore::with_clock(self.clock);
        if let Some(interval) = self.sweep_every {
            store.sweep_every(interval).map_err(|message| {
                Error::new(ErrorKind::InvalidConfig, message)
                    .with_operation("build")
                    .with_backend(crate::store::BACKEND)
            })?;
        }
        Ok(store)
    }
}
