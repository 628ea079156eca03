use larder_core::Expiry;
use larder_core::chrono::{DateTime, Utc};

use crate::{Cache, CacheError, CacheItem, CacheResult, GetSet};

/// Betty's `Cache`: items by identifier, in nested scopes, without expiry.
///
/// ```
/// # use std::sync::Arc;
/// # use larder_cache::{CacheSpace, compat::BettyCache};
/// # use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder_cache::CacheError> {
/// let cache = BettyCache::new(&CacheSpace::new(Arc::new(MemoryStore::new())).cache::<f64>());
/// let scoped = cache.with_scope("prices");
/// if let Some(mut held) = scoped.getset("tea", false).await? {
///     held.set(&2.5).await?;
/// }
/// let item = scoped.get("tea").await?.expect("just set");
/// assert_eq!(item.value()?, 2.5);
/// assert!(cache.get("tea").await?.is_none());
/// # Ok(())
/// # }
/// ```
pub struct BettyCache<V>(Cache<V>);

super::front!(BettyCache);

impl<V: Send + 'static> BettyCache<V> {
    /// Betty's names for a cache.
    #[must_use]
    pub fn new(cache: &Cache<V>) -> Self {
        Self(cache.with_default_ttl(Expiry::Never))
    }

    /// `with_scope(scope)`: a new nested cache.
    #[must_use]
    pub fn with_scope(&self, scope: &str) -> Self {
        Self(self.0.with_scope(scope))
    }

    /// `get(cache_item_id)`: the item, a snapshot that blocks nobody.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, cache_item_id: &str) -> CacheResult<Option<CacheItem<V>>> {
        self.0.get(cache_item_id).await
    }

    /// `set(cache_item_id, value, modified=None)`.
    ///
    /// # Errors
    /// The store's.
    pub async fn set(
        &self,
        cache_item_id: &str,
        value: &V,
        modified: Option<DateTime<Utc>>,
    ) -> CacheResult<()> {
        let set = self.0.set(cache_item_id, value);
        match modified {
            Some(modified) => set.modified(modified).await,
            None => set.await,
        }
    }

    /// `getset(cache_item_id, wait=True)`: the item and a setter under one lock; `None` where the lock
    /// is held and not waited for, which an absent item is not.
    ///
    /// # Errors
    /// The store's.
    pub async fn getset(&self, cache_item_id: &str, wait: bool) -> CacheResult<Option<GetSet<V>>> {
        let getset = self.0.getset(cache_item_id);
        if wait {
            return getset.await.map(Some);
        }
        match getset.no_wait().await {
            Ok(held) => Ok(Some(held)),
            Err(CacheError::Busy) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `delete(cache_item_id)`.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, cache_item_id: &str) -> CacheResult<()> {
        self.0.delete(cache_item_id).await.map(|_| ())
    }

    /// `clear()`: this scope and those nested in it.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear(&self) -> CacheResult<()> {
        self.0.clear().await
    }
}
