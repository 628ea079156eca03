use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_core::Expiry;

use crate::slot::lock;
use crate::{Cache, CacheError, CacheResult, CacheSpace, DEFAULT_TTL, Loaded};

/// Privex's `AsyncCacheAdapter`: times to live in seconds, 300 unless given, `None` for ever.
///
/// ```
/// # use std::sync::Arc;
/// # use larder_cache::{CacheSpace, compat::AsyncCacheAdapter};
/// # use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder_cache::CacheError> {
/// let cache = AsyncCacheAdapter::new(CacheSpace::new(Arc::new(MemoryStore::new())).cache::<String>());
/// let hello = cache
///     .get_or_set_async("example", async |key| format!("hello {key} world"), Some(300))
///     .await?;
/// assert_eq!(hello, "hello example world");
/// assert_eq!(cache.get("example", None, false).await?.as_deref(), Some("hello example world"));
/// # Ok(())
/// # }
/// ```
pub struct AsyncCacheAdapter<V>(Cache<V>);

super::front!(AsyncCacheAdapter);

fn expiry(timeout: Option<u64>) -> Expiry {
    timeout.map_or(Expiry::Never, |seconds| Expiry::After(Duration::from_secs(seconds)))
}

impl<V: Send + 'static> AsyncCacheAdapter<V> {
    /// `timeout`, where none is given: 300 seconds.
    pub const TIMEOUT: Option<u64> = Some(DEFAULT_TTL.as_secs());
    /// `adapter_enter_reconnect`.
    pub const ADAPTER_ENTER_RECONNECT: bool = CacheSpace::ENTER_RECONNECT;
    /// `adapter_exit_close`.
    pub const ADAPTER_EXIT_CLOSE: bool = CacheSpace::EXIT_CLOSE;

    /// Privex's names for a cache.
    #[must_use]
    pub fn new(cache: Cache<V>) -> Self {
        Self(cache)
    }

    /// The cache below.
    #[must_use]
    pub fn cache(&self) -> &Cache<V> {
        &self.0
    }

    /// `get(key, default=None, fail=False)`; a stored nothing is a hit.
    ///
    /// # Errors
    /// `NotFound` for `fail`; the store's.
    pub async fn get(&self, key: &str, default: Option<V>, fail: bool) -> CacheResult<Option<V>> {
        match self.0.get_value(key).await? {
            Some(value) => Ok(Some(value)),
            None if fail => Err(CacheError::NotFound),
            None => Ok(default),
        }
    }

    /// `set(key, value, timeout=300)`; zero is over at once.
    ///
    /// # Errors
    /// The store's.
    pub async fn set(&self, key: &str, value: &V, timeout: Option<u64>) -> CacheResult<()> {
        self.0.set(key, value).expiry(expiry(timeout)).await
    }

    /// `get_or_set(key, value, timeout=300)` with a plain value.
    ///
    /// # Errors
    /// As [`Cache::get_or_set`].
    pub async fn get_or_set(&self, key: &str, value: V, timeout: Option<u64>) -> CacheResult<V> {
        self.0.get_or_set(key, Loaded::new(value).expiry(expiry(timeout))).await
    }

    /// `get_or_set(key, value, timeout=300)` with a function of the key, and `get_or_set_async`: called
    /// once, and awaited.
    ///
    /// # Errors
    /// As [`Cache::get_or_set_with`].
    pub async fn get_or_set_async<F, Fut>(
        &self,
        key: &str,
        value: F,
        timeout: Option<u64>,
    ) -> CacheResult<V>
    where
        F: FnOnce(Arc<str>) -> Fut + Send + 'static,
        Fut: Future<Output = V> + Send + 'static,
    {
        let loader = async move |key| Loaded::new(value(key).await).expiry(expiry(timeout));
        self.0.get_or_set_with(key, loader).await
    }

    /// `remove(*key)`: removes what exists, and tells whether all did.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, keys: &[&str]) -> CacheResult<bool> {
        self.0.remove(keys).await
    }

    /// `update_timeout(key, timeout=300)`: also for a key that has expired and is still retained.
    ///
    /// # Errors
    /// `NotFound`; the store's.
    pub async fn update_timeout(&self, key: &str, timeout: Option<u64>) -> CacheResult<V> {
        self.0.update_expiry(key, expiry(timeout)).await
    }

    /// `connect()`.
    ///
    /// # Errors
    /// The store's.
    pub async fn connect(&self) -> CacheResult<()> {
        self.0.space().connect().await
    }

    /// `close()`.
    ///
    /// # Errors
    /// The store's.
    pub async fn close(&self) -> CacheResult<()> {
        self.0.space().close().await
    }

    /// `reconnect()`.
    ///
    /// # Errors
    /// The store's.
    pub async fn reconnect(&self) -> CacheResult<()> {
        self.0.space().reconnect().await
    }

    /// `async with adapter:` around `work`.
    ///
    /// # Errors
    /// The store's.
    pub async fn with<R>(&self, work: impl AsyncFnOnce(&Self) -> R) -> CacheResult<R> {
        self.0.space().session(async |_| work(self).await).await
    }
}

/// Privex's registry of adapters: names and aliases, as a value of its own rather than a global one.
pub struct CacheAdapters<V>(Arc<Mutex<HashMap<String, AsyncCacheAdapter<V>>>>);

impl<V> Clone for CacheAdapters<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> Default for CacheAdapters<V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<V> CacheAdapters<V> {
    /// No adapter.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names an adapter; gives back the one that had the name before.
    pub fn set(&self, name: &str, adapter: AsyncCacheAdapter<V>) -> Option<AsyncCacheAdapter<V>> {
        lock(&self.0).insert(name.to_owned(), adapter)
    }

    /// Gives an adapter a second name; false where there is none of the first.
    pub fn alias(&self, alias: &str, name: &str) -> bool {
        let mut adapters = lock(&self.0);
        let Some(adapter) = adapters.get(name).cloned() else { return false };
        adapters.insert(alias.to_owned(), adapter);
        true
    }

    /// The adapter of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<AsyncCacheAdapter<V>> {
        lock(&self.0).get(name).cloned()
    }
}

impl<V> fmt::Debug for CacheAdapters<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(lock(&self.0).keys()).finish()
    }
}
