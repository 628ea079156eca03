use crate::{Cache, CacheResult};

/// The caches of one registry entry, one for each scope: see [`CacheStore::entry`](crate::CacheStore::entry).
#[derive(Debug)]
pub struct CacheScopeStore<V> {
    cache: Cache<V>,
}

impl<V: Send + 'static> CacheScopeStore<V> {
    pub(crate) fn new(cache: Cache<V>) -> Self {
        Self { cache }
    }

    /// The cache of the entry's scope, with everything that it can do.
    #[must_use]
    pub fn cache(&self) -> &Cache<V> {
        &self.cache
    }

    /// Reads a value, and unpins it in the same step where asked to.
    ///
    /// # Errors
    /// The store's; `NoScope`.
    pub async fn get(&self, key: &str, unpin: bool) -> CacheResult<Option<V>> {
        if unpin {
            let item = self.cache.get_and_unpin(key).await?;
            return Ok(item.and_then(|item| item.value().ok()));
        }
        self.cache.get_value(key).await
    }

    /// As [`Cache::get_or_wait`].
    ///
    /// # Errors
    /// As there.
    pub async fn get_or_wait(&self, key: &str) -> CacheResult<Option<V>> {
        self.cache.get_or_wait(key).await
    }

    /// As [`Cache::set`], pinned where asked to.
    ///
    /// # Errors
    /// As there.
    pub async fn set(&self, key: &str, value: &V, pin: bool) -> CacheResult<()> {
        let set = self.cache.set(key, value);
        if pin { set.pin().await } else { set.await }
    }

    /// As [`Cache::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, key: &str) -> CacheResult<Option<V>> {
        self.cache.delete(key).await
    }

    /// Empties the entry in every scope.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear(&self) -> CacheResult<()> {
        self.cache.space().clear(true).await
    }
}
