use std::error::Error as StdError;

use larder_core::{Codec, Expiry, MessagePack};
use tokio::task::JoinHandle;

use crate::{
    Cache, CacheBuilder, CacheResult, CacheScope, CacheScopeStore, CacheStore, CacheStoreHandle,
    Lookup, PendingValue, RegistryEntry, Space,
};

/// What Dara's `get` finds.
#[derive(Debug)]
#[non_exhaustive]
pub enum DaraGet<V> {
    /// Nothing.
    Missing,
    /// A value.
    Value(V),
    /// A value that is still to come.
    Pending(PendingValue<V>),
}

/// Dara's `Store`: values without expiry, in the global scope, the session's or the user's
/// (`cache_type`).
///
/// ```
/// # use std::sync::Arc;
/// # use larder_cache::{CacheScope, CacheSpace, compat::DaraStore};
/// # use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder_cache::CacheError> {
/// let store = DaraStore::new(&CacheSpace::new(Arc::new(MemoryStore::new())).cache::<u32>());
/// let global = CacheScope::Global;
/// store.set_pending_value("answer", &global).await?;
/// let waiting = tokio::spawn({
///     let store = store.clone();
///     async move { store.get_or_wait("answer", &CacheScope::Global).await }
/// });
/// tokio::task::yield_now().await;
/// store.set("answer", &42, &global).await?;
/// assert_eq!(waiting.await.unwrap()?, Some(42));
/// # Ok(())
/// # }
/// ```
pub struct DaraStore<V>(Cache<V>);

super::front!(DaraStore);

impl<V: Send + 'static> DaraStore<V> {
    /// Dara's names for a cache.
    #[must_use]
    pub fn new(cache: &Cache<V>) -> Self {
        Self(cache.with_default_ttl(Expiry::Never))
    }

    fn at(&self, cache_type: &CacheScope) -> Cache<V> {
        self.0.scoped(cache_type.clone())
    }

    /// `get(key, cache_type=GLOBAL)`: a pending value where it is still to come.
    ///
    /// # Errors
    /// `NoScope`; the store's.
    pub async fn get(&self, key: &str, cache_type: &CacheScope) -> CacheResult<DaraGet<V>> {
        Ok(match self.at(cache_type).lookup(key).await? {
            Lookup::Hit(item) => item.value().map_or(DaraGet::Missing, DaraGet::Value),
            Lookup::Miss => DaraGet::Missing,
            Lookup::Pending(value) => DaraGet::Pending(value),
        })
    }

    /// `get_or_wait(key, cache_type=GLOBAL)`.
    ///
    /// # Errors
    /// As [`Cache::get_or_wait`].
    pub async fn get_or_wait(&self, key: &str, cache_type: &CacheScope) -> CacheResult<Option<V>> {
        self.at(cache_type).get_or_wait(key).await
    }

    /// `set(key, value, cache_type=GLOBAL)`: those who wait get the value.
    ///
    /// # Errors
    /// `NoScope`; the store's.
    pub async fn set(&self, key: &str, value: &V, cache_type: &CacheScope) -> CacheResult<()> {
        self.at(cache_type).set(key, value).await
    }

    /// `set(key, value, cache_type=GLOBAL, error=e)`: those who wait get the error, and nothing is
    /// stored.
    ///
    /// # Errors
    /// `NoScope`; `Closed`.
    pub async fn set_error<E: StdError + Send + Sync + 'static>(
        &self,
        key: &str,
        error: E,
        cache_type: &CacheScope,
    ) -> CacheResult<bool> {
        self.at(cache_type).fail(key, error).await
    }

    /// `set_pending_value(key, cache_type=GLOBAL)`: to be set by anybody, and given up after
    /// [`max_pending_time`](crate::CacheBuilder::max_pending_time).
    ///
    /// # Errors
    /// `NoScope`; the store's.
    pub async fn set_pending_value(&self, key: &str, cache_type: &CacheScope) -> CacheResult<()> {
        self.at(cache_type).set_pending(key).await?.detach();
        Ok(())
    }

    /// `set_pending_task(key, pending_task, cache_type=GLOBAL)`.
    ///
    /// # Errors
    /// `NoScope`; the store's.
    pub async fn set_pending_task<E: Send + Sync + 'static>(
        &self,
        key: &str,
        pending_task: JoinHandle<Result<V, E>>,
        cache_type: &CacheScope,
    ) -> CacheResult<()> {
        self.at(cache_type).set_pending_task(key, pending_task).await
    }

    /// `remove_starting_with(start, cache_type=GLOBAL)`; an empty start empties the scope.
    ///
    /// # Errors
    /// `NoScope`; the store's.
    pub async fn remove_starting_with(
        &self,
        start: &str,
        cache_type: &CacheScope,
    ) -> CacheResult<()> {
        self.at(cache_type).remove_starting_with(start).await.map(|_| ())
    }

    /// `empty_stores(include_pending=True)`: every scope.
    ///
    /// # Errors
    /// The store's.
    pub async fn empty_stores(&self, include_pending: bool) -> CacheResult<()> {
        self.0.space().clear(include_pending).await
    }

    /// `list(cache_type=GLOBAL)`: the keys, pending ones included.
    ///
    /// # Errors
    /// `NoScope`; the store's.
    pub async fn list(&self, cache_type: &CacheScope) -> CacheResult<Vec<String>> {
        let keys = self.at(cache_type).list().await?;
        Ok(keys.into_iter().map(|key| key.key).collect())
    }
}

/// Dara's `CacheStore`: one cache per registry entry, values without expiry but that of the policy.
pub struct DaraCacheStore<V>(CacheStore<V>);

super::front!(DaraCacheStore);

impl<V: Send + Sync + 'static> DaraCacheStore<V> {
    /// A store of caches.
    pub fn new(store: impl Into<CacheStoreHandle>) -> Self
    where
        MessagePack: Codec<V>,
    {
        Self::with_settings(store, |builder| builder)
    }

    /// A store of caches, each built as `adjust` says, with values without expiry to begin with: a
    /// store that other processes write to as well wants
    /// [`per_process`](CacheBuilder::per_process) for Dara's default, `LRU(10)`.
    ///
    /// ```
    /// # use larder_cache::{Policy, RegistryEntry, compat::DaraCacheStore};
    /// # use larder_file::FileStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let files = std::sync::Arc::new(FileStore::builder(folder.path()).build().await?);
    /// let store = DaraCacheStore::<u32>::with_settings(files, |builder| builder.per_process());
    /// let plots = RegistryEntry::new("plots", Policy::Lru { max: 10 });
    /// store.set(&plots, "first", &1, false).await?;
    /// assert_eq!(store.get(&plots, "first", false).await?, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_settings<F>(store: impl Into<CacheStoreHandle>, adjust: F) -> Self
    where
        MessagePack: Codec<V>,
        F: Fn(CacheBuilder<Space>) -> CacheBuilder<Space> + Send + Sync + 'static,
    {
        let settings =
            move |builder: CacheBuilder<Space>| adjust(builder.default_ttl(Expiry::Never));
        Self(CacheStore::with_settings(store, settings))
    }

    /// The `CacheScopeStore` of an entry.
    ///
    /// # Errors
    /// As [`CacheStore::entry`].
    pub async fn entry(&self, registry_entry: &RegistryEntry) -> CacheResult<CacheScopeStore<V>> {
        self.0.entry(registry_entry).await
    }

    /// `get(registry_entry, key, unpin=False)`.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(
        &self,
        registry_entry: &RegistryEntry,
        key: &str,
        unpin: bool,
    ) -> CacheResult<Option<V>> {
        let get = self.0.get(registry_entry, key);
        if unpin { get.unpin().await } else { get.await }
    }

    /// `get_or_wait(registry_entry, key)`.
    ///
    /// # Errors
    /// As [`Cache::get_or_wait`].
    pub async fn get_or_wait(
        &self,
        registry_entry: &RegistryEntry,
        key: &str,
    ) -> CacheResult<Option<V>> {
        self.0.get_or_wait(registry_entry, key).await
    }

    /// `set(registry_entry, key, value, pin=False)`.
    ///
    /// # Errors
    /// The store's; `Refused`.
    pub async fn set(
        &self,
        registry_entry: &RegistryEntry,
        key: &str,
        value: &V,
        pin: bool,
    ) -> CacheResult<()> {
        let set = self.0.set(registry_entry, key, value);
        if pin { set.pin().await } else { set.await }
    }

    /// `set(registry_entry, key, value, error=e)`: those who wait get the error.
    ///
    /// # Errors
    /// The store's.
    pub async fn set_error<E: StdError + Send + Sync + 'static>(
        &self,
        registry_entry: &RegistryEntry,
        key: &str,
        error: E,
    ) -> CacheResult<bool> {
        self.0.set_error(registry_entry, key, error).await
    }

    /// `set_pending(registry_entry, key)`: to be set by anybody.
    ///
    /// # Errors
    /// The store's.
    pub async fn set_pending(&self, registry_entry: &RegistryEntry, key: &str) -> CacheResult<()> {
        self.0.set_pending(registry_entry, key).await?.detach();
        Ok(())
    }

    /// `delete(registry_entry, key)`: gives the old value, pinned or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(
        &self,
        registry_entry: &RegistryEntry,
        key: &str,
    ) -> CacheResult<Option<V>> {
        self.0.delete(registry_entry, key).await
    }

    /// `clear()`: all entries, pinned or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear(&self) -> CacheResult<()> {
        self.0.clear().await
    }
}
