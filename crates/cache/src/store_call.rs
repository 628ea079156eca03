use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use larder_core::BoxFuture;

use crate::{CacheResult, CacheStore, RegistryEntry};

/// A read that is about to happen: see [`CacheStore::get`].
#[must_use = "nothing is read until it is awaited"]
pub struct StoreGet<'a, V> {
    store: &'a CacheStore<V>,
    entry: &'a RegistryEntry,
    key: &'a str,
    unpin: bool,
}

impl<'a, V> StoreGet<'a, V> {
    pub(crate) fn new(store: &'a CacheStore<V>, entry: &'a RegistryEntry, key: &'a str) -> Self {
        Self { store, entry, key, unpin: false }
    }

    /// Unpins the value in the same step.
    pub fn unpin(mut self) -> Self {
        self.unpin = true;
        self
    }
}

impl<'a, V: Send + 'static> IntoFuture for StoreGet<'a, V> {
    type Output = CacheResult<Option<V>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.store.entry(self.entry).await?.get(self.key, self.unpin).await })
    }
}

/// A write that is about to happen: see [`CacheStore::set`].
#[must_use = "nothing is written until it is awaited"]
pub struct StoreSet<'a, V> {
    store: &'a CacheStore<V>,
    entry: &'a RegistryEntry,
    key: &'a str,
    value: &'a V,
    pin: bool,
    ttl: Option<Duration>,
}

impl<'a, V: Send + 'static> StoreSet<'a, V> {
    pub(crate) fn new(
        store: &'a CacheStore<V>,
        entry: &'a RegistryEntry,
        key: &'a str,
        value: &'a V,
    ) -> Self {
        Self { store, entry, key, value, pin: false, ttl: None }
    }

    /// Pins the value until it is read with [`StoreGet::unpin`].
    pub fn pin(mut self) -> Self {
        self.pin = true;
        self
    }

    /// The value lives this long.
    pub fn ttl(mut self, duration: Duration) -> Self {
        self.ttl = Some(duration);
        self
    }

    /// Fails those who wait with this error instead; nothing is stored.
    ///
    /// # Errors
    /// As [`CacheStore::set_error`].
    pub async fn error<E: StdError + Send + Sync + 'static>(self, error: E) -> CacheResult<bool> {
        self.store.set_error(self.entry, self.key, error).await
    }
}

impl<'a, V: Send + Sync + 'static> IntoFuture for StoreSet<'a, V> {
    type Output = CacheResult<()>;
    type IntoFuture = BoxFuture<'a, CacheResult<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let entry = self.store.entry(self.entry).await?;
            let mut set = entry.cache().set(self.key, self.value);
            if self.pin {
                set = set.pin();
            }
            if let Some(ttl) = self.ttl {
                set = set.ttl(ttl);
            }
            set.await
        })
    }
}

impl<V> fmt::Debug for StoreGet<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreGet").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for StoreSet<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSet").field("entry", &self.entry).finish_non_exhaustive()
    }
}
