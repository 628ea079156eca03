use std::error::Error as StdError;

use crate::store_call::Target;
use crate::{Cache, CacheResult, PendingGuard, StoreGet, StoreSet};

/// The caches of one registry entry, one for each scope: see [`CacheStore::entry`](crate::CacheStore::entry).
///
/// Its calls are those of [`CacheStore`](crate::CacheStore) without the entry.
///
/// ```
/// use std::sync::Arc;
/// use larder_cache::{CacheStore, Policy, RegistryEntry};
/// use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder_cache::CacheError> {
/// let store = CacheStore::<u32>::new(Arc::new(MemoryStore::new()));
/// let plots = store.entry(&RegistryEntry::new("plots", Policy::Lru { max: 10 })).await?;
/// plots.set("first", &1).pin().await?;
/// assert_eq!(plots.get("first").unpin().await?, Some(1));
/// assert_eq!(plots.delete("first").await?, Some(1));
/// # Ok(())
/// # }
/// ```
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

    /// Reads a value; the builder can unpin it in the same step.
    pub fn get<'a>(&'a self, key: &'a str) -> StoreGet<'a, V> {
        StoreGet::new(Target::Cache(&self.cache), key)
    }

    /// Reads a value, and waits for it while it is pending: see [`Cache::get_or_wait`].
    ///
    /// # Errors
    /// As there.
    pub async fn get_or_wait(&self, key: &str) -> CacheResult<Option<V>> {
        self.cache.get_or_wait(key).await
    }

    /// Stores a value; the builder can pin it, or fail those who wait instead.
    pub fn set<'a>(&'a self, key: &'a str, value: &'a V) -> StoreSet<'a, V> {
        StoreSet::new(Target::Cache(&self.cache), key, value)
    }

    /// Fails those who wait for a key; nothing is stored: see [`Cache::fail`].
    ///
    /// # Errors
    /// As there.
    pub async fn set_error<E: StdError + Send + Sync + 'static>(
        &self,
        key: &str,
        error: E,
    ) -> CacheResult<bool> {
        self.cache.fail(key, error).await
    }

    /// Promises a value: see [`Cache::set_pending`].
    ///
    /// # Errors
    /// As there.
    pub async fn set_pending(&self, key: &str) -> CacheResult<PendingGuard<V>> {
        self.cache.set_pending(key).await
    }

    /// Deletes a value, and gives it, pinned or not: see [`Cache::delete`].
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
