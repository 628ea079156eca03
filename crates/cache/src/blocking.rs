//! The cache for code without a runtime (V6).

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::{Cache, CacheError, CacheItem, CacheResult, Loaded, MaybeExpiry};

/// A cache whose calls block their thread: see [`Cache::blocking`].
///
/// Clones share one background thread, which ends with the last of them.
pub struct BlockingCache<V> {
    cache: Cache<V>,
    worker: Arc<Worker>,
}

/// One key of a [`BlockingCache`]: see [`BlockingCache::at`].
#[derive(Debug)]
pub struct Slot<'a, V> {
    cache: &'a BlockingCache<V>,
    key: &'a str,
}

/// A thread with a runtime of its own, on which the calls and the loads that they start are run.
struct Worker {
    runtime: Handle,
    /// Dropped, it lets the thread end.
    _running: oneshot::Sender<()>,
}

impl Worker {
    fn start() -> CacheResult<Self> {
        let broken = |error: std::io::Error| CacheError::Store(larder_core::Error::from_io(error));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        thread::Builder::new()
            .name("larder-cache".to_owned())
            .spawn(move || {
                // The sender is dropped, never used.
                let _ = runtime.block_on(ended);
            })
            .map_err(broken)?;
        Ok(Self { runtime: handle, _running: running })
    }
}

fn check_thread() -> CacheResult<()> {
    if Handle::try_current().is_ok() { Err(CacheError::WouldBlock) } else { Ok(()) }
}

impl<V: Send + Sync + 'static> Cache<V> {
    /// A handle for code without a runtime (`V6`).
    ///
    /// Its calls run on a thread of their own. A scope of the current session or user is `NoScope`
    /// there: name it with [`CacheScope::session`](crate::CacheScope::session) or
    /// [`CacheScope::user`](crate::CacheScope::user). A store that is bound to the runtime it was
    /// made in, as one with a connection is, needs that runtime to run meanwhile.
    ///
    /// # Errors
    /// `WouldBlock` on a thread that belongs to a runtime; what the operating system says to
    /// starting a thread.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::CacheSpace;
    /// # use larder_memory::MemoryStore;
    /// # fn main() -> Result<(), larder_cache::CacheError> {
    /// let space = CacheSpace::new(Arc::new(MemoryStore::new()));
    /// let cache = space.cache::<u32>().blocking()?;
    /// cache.set("a", 1)?;
    /// cache.at("b").set(2)?;
    /// assert_eq!(cache.get("b")?, Some(2));
    /// assert_eq!(cache.at("a").get()?, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn blocking(&self) -> CacheResult<BlockingCache<V>> {
        check_thread()?;
        Ok(BlockingCache { cache: self.clone(), worker: Arc::new(Worker::start()?) })
    }
}

impl<V: Send + Sync + 'static> BlockingCache<V> {
    /// Runs a call to its end.
    ///
    /// # Errors
    /// `WouldBlock` on a thread that belongs to a runtime: it would keep that runtime from running.
    /// That goes for the threads of `spawn_blocking`, too, which cannot be told from the others: there,
    /// `Handle::current().block_on` runs the calls of the [`Cache`] itself.
    pub fn run<T, F, Fut>(&self, call: F) -> CacheResult<T>
    where
        T: Send + 'static,
        F: FnOnce(Cache<V>) -> Fut + Send + 'static,
        Fut: Future<Output = CacheResult<T>> + Send + 'static,
    {
        check_thread()?;
        let (send, receive) = mpsc::sync_channel(1);
        let cache = self.cache.clone();
        self.worker.runtime.spawn(async move {
            // Whoever called waits for it.
            let _ = send.send(call(cache).await);
        });
        // The sender is dropped unused when the call panics.
        receive.recv().unwrap_or(Err(CacheError::ShutDown))
    }

    /// As [`Cache::get_value`].
    ///
    /// # Errors
    /// As there; `WouldBlock`, see [`run`](Self::run).
    pub fn get(&self, key: &str) -> CacheResult<Option<V>> {
        let key = key.to_owned();
        self.run(async move |cache| cache.get_value(&key).await)
    }

    /// As [`Cache::get`].
    ///
    /// # Errors
    /// As there; `WouldBlock`, see [`run`](Self::run).
    pub fn item(&self, key: &str) -> CacheResult<Option<CacheItem<V>>> {
        let key = key.to_owned();
        self.run(async move |cache| cache.get(&key).await)
    }

    /// As [`Cache::set`]; a [`Loaded`] says how long the value lives.
    ///
    /// # Errors
    /// As there; `WouldBlock`, see [`run`](Self::run).
    pub fn set(&self, key: &str, value: impl Into<Loaded<V>>) -> CacheResult<()> {
        let (key, Loaded { value, expiry, .. }) = (key.to_owned(), value.into());
        self.run(async move |cache| {
            let set = cache.set(&key, &value);
            match expiry {
                Some(expiry) => set.expiry(expiry).await,
                None => set.await,
            }
        })
    }

    /// As [`Cache::get_or_set_with`], with a loader that blocks; it runs on a thread for blocking
    /// work.
    ///
    /// # Errors
    /// As there; `WouldBlock`, see [`run`](Self::run).
    pub fn get_or_set_with<L>(
        &self,
        key: &str,
        loader: impl FnOnce(&str) -> L + Send + 'static,
    ) -> CacheResult<V>
    where
        L: Into<Loaded<V>> + Send + 'static,
    {
        let key = key.to_owned();
        self.run(async move |cache| {
            let loader = async move |key: Arc<str>| {
                match tokio::task::spawn_blocking(move || loader(&key)).await {
                    Ok(value) => value,
                    // Told to everybody who waits as what it is.
                    Err(ended) => match ended.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(_) => std::future::pending().await,
                    },
                }
            };
            cache.get_or_set_with(&key, loader).await
        })
    }

    /// As [`Cache::delete`].
    ///
    /// # Errors
    /// As there; `WouldBlock`, see [`run`](Self::run).
    pub fn delete(&self, key: &str) -> CacheResult<Option<V>> {
        let key = key.to_owned();
        self.run(async move |cache| cache.delete(&key).await)
    }

    /// As [`Cache::update_expiry`].
    ///
    /// # Errors
    /// As there; `WouldBlock`, see [`run`](Self::run).
    pub fn update_expiry(&self, key: &str, expiry: impl MaybeExpiry) -> CacheResult<V> {
        let (key, expiry) = (key.to_owned(), expiry.maybe_expiry());
        self.run(async move |cache| cache.update_expiry(&key, expiry).await)
    }

    /// As [`Cache::clear`].
    ///
    /// # Errors
    /// As there; `WouldBlock`, see [`run`](Self::run).
    pub fn clear(&self) -> CacheResult<()> {
        self.run(async move |cache| cache.clear().await)
    }

    /// One key, to be read and set like an element of a map.
    #[must_use]
    pub fn at<'a>(&'a self, key: &'a str) -> Slot<'a, V> {
        Slot { cache: self, key }
    }
}

impl<V: Send + Sync + 'static> Slot<'_, V> {
    /// As [`BlockingCache::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self) -> CacheResult<Option<V>> {
        self.cache.get(self.key)
    }

    /// As [`BlockingCache::set`].
    ///
    /// # Errors
    /// As there.
    pub fn set(&self, value: impl Into<Loaded<V>>) -> CacheResult<()> {
        self.cache.set(self.key, value)
    }

    /// As [`BlockingCache::delete`].
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self) -> CacheResult<Option<V>> {
        self.cache.delete(self.key)
    }
}

impl<V> Clone for BlockingCache<V> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), worker: Arc::clone(&self.worker) }
    }
}

impl<V> fmt::Debug for BlockingCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingCache").field("cache", &self.cache).finish_non_exhaustive()
    }
}
