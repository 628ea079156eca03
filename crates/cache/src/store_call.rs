use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use larder_core::BoxFuture;

use crate::{Cache, CacheResult, CacheStore, RegistryEntry};

/// The cache that a call is for: that of an entry, made on first use, or one that is there.
pub(crate) enum Target<'a, V> {
    Entry(&'a CacheStore<V>, &'a RegistryEntry),
    Cache(&'a Cache<V>),
}

impl<V: Send + 'static> Target<'_, V> {
    async fn cache(self) -> CacheResult<Cache<V>> {
        match self {
            Self::Entry(store, entry) => Ok(store.entry(entry).await?.cache().clone()),
            Self::Cache(cache) => Ok(cache.clone()),
        }
    }
}

/// A read that is about to happen: see [`CacheStore::get`].
#[must_use = "nothing is read until it is awaited"]
pub struct StoreGet<'a, V> {
    target: Target<'a, V>,
    key: &'a str,
    unpin: bool,
}

impl<'a, V> StoreGet<'a, V> {
    pub(crate) fn new(target: Target<'a, V>, key: &'a str) -> Self {
        Self { target, key, unpin: false }
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
        Box::pin(async move {
            let cache = self.target.cache().await?;
            if !self.unpin {
                return cache.get_value(self.key).await;
            }
            let item = cache.get_and_unpin(self.key).await?;
            Ok(item.and_then(|item| item.value().ok()))
        })
    }
}

/// A write that is about to happen: see [`CacheStore::set`].
#[must_use = "nothing is written until it is awaited"]
pub struct StoreSet<'a, V> {
    target: Target<'a, V>,
    key: &'a str,
    value: &'a V,
    pin: bool,
    ttl: Option<Duration>,
}

impl<'a, V: Send + 'static> StoreSet<'a, V> {
    pub(crate) fn new(target: Target<'a, V>, key: &'a str, value: &'a V) -> Self {
        Self { target, key, value, pin: false, ttl: None }
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
        self.target.cache().await?.fail(self.key, error).await
    }
}

impl<'a, V: Send + Sync + 'static> IntoFuture for StoreSet<'a, V> {
    type Output = CacheResult<()>;
    type IntoFuture = BoxFuture<'a, CacheResult<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let cache = self.target.cache().await?;
            let mut set = cache.set(self.key, self.value);
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
        f.debug_struct("StoreGet").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for StoreSet<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSet").field("key", &self.key).finish_non_exhaustive()
    }
}
