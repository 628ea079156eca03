//! Locks on keys, and reading and writing under one (L1 to L3).

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use larder_core::{BoxFuture, Condition};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::slot::SlotRef;
use crate::space::{Inner, Route};
use crate::write::Locked;
use crate::{Cache, CacheError, CacheItem, CacheResult, SetValue};

/// How long to wait for a lock that another holds.
#[derive(Debug, Clone, Copy)]
enum Wait {
    Forever,
    AtMost(Duration),
    No,
}

/// A lock about to be taken: see [`Cache::lock`].
#[must_use = "nothing is locked until it is awaited"]
pub struct LockKey<'a, V> {
    cache: &'a Cache<V>,
    key: &'a str,
    wait: Wait,
}

/// A reading and writing under a lock that is about to begin: see [`Cache::getset`].
#[must_use = "nothing is locked until it is awaited"]
pub struct GetSetKey<'a, V>(LockKey<'a, V>);

impl<V: 'static> Cache<V> {
    /// Locks a key of this scope, in the order of asking.
    ///
    /// It waits without limit unless told otherwise. Reading, setting and loading the key do not
    /// take the lock: it is for those who agree on it.
    ///
    /// # Errors
    /// On await, `Busy` when it is held by another and that was not to be waited for, or for longer
    /// than told; `Closed`.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::{Cache, CacheError};
    /// # use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), CacheError> {
    /// # let cache = Cache::<u32>::builder(Arc::new(MemoryStore::new())).build().await?;
    /// let guard = cache.lock("report").await?;
    /// assert!(matches!(cache.lock("report").no_wait().await, Err(CacheError::Busy)));
    /// guard.release().await;
    /// assert!(cache.lock("report").no_wait().await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock<'a>(&'a self, key: &'a str) -> LockKey<'a, V> {
        LockKey { cache: self, key, wait: Wait::Forever }
    }

    /// Reads an entry and holds the key's lock, to set it in the same step (`L1`).
    ///
    /// # Errors
    /// As [`lock`](Self::lock); the store's, whatever is set for its failures (`F8`).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::{Cache, CacheError};
    /// # use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), CacheError> {
    /// # let cache = Cache::<u32>::builder(Arc::new(MemoryStore::new())).build().await?;
    /// let mut visits = cache.getset("visits").await?;
    /// let so_far = visits.item().map_or(Ok(0), |item| item.value())?;
    /// visits.set(&(so_far + 1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn getset<'a>(&'a self, key: &'a str) -> GetSetKey<'a, V> {
        GetSetKey(self.lock(key))
    }
}

impl<V> LockKey<'_, V> {
    /// Waits so long at most.
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.wait = Wait::AtMost(at_most);
        self
    }

    /// Does not wait at all.
    pub fn no_wait(mut self) -> Self {
        self.wait = Wait::No;
        self
    }
}

impl<V> GetSetKey<'_, V> {
    /// Waits so long at most.
    pub fn wait(self, at_most: Duration) -> Self {
        Self(self.0.wait(at_most))
    }

    /// Does not wait at all.
    pub fn no_wait(self) -> Self {
        Self(self.0.no_wait())
    }
}

impl<'a, V: Send + 'static> IntoFuture for LockKey<'a, V> {
    type Output = CacheResult<LockGuard>;
    type IntoFuture = BoxFuture<'a, CacheResult<LockGuard>>;

    fn into_future(self) -> Self::IntoFuture {
        let route = self.cache.route();
        let inner = &self.cache.space.0;
        Box::pin(async move { inner.lock(&*route?, self.key, self.wait).await })
    }
}

impl<'a, V: Send + 'static> IntoFuture for GetSetKey<'a, V> {
    type Output = CacheResult<GetSet<V>>;
    type IntoFuture = BoxFuture<'a, CacheResult<GetSet<V>>>;

    fn into_future(self) -> Self::IntoFuture {
        let LockKey { cache, key, wait } = self.0;
        let route = cache.route();
        Box::pin(async move {
            let route = route?;
            let inner = &cache.space.0;
            let lock = inner.lock(&route, key, wait).await?;
            let (envelope, seen) = inner.locked(&route, key, Locked::see).await?;
            let item = envelope
                .filter(|envelope| envelope.head.is_live(inner.now()))
                .filter(|envelope| cache.decode(envelope).is_ok())
                .map(|envelope| cache.item(envelope));
            Ok(GetSet { cache: cache.clone(), route, item, seen, lock })
        })
    }
}

impl Inner {
    async fn lock(
        self: &Arc<Self>,
        route: &Route,
        key: &str,
        wait: Wait,
    ) -> CacheResult<LockGuard> {
        route.store.capabilities().check_key(key)?;
        let shut = self.shut.subscribe();
        self.check_open()?;
        let slot = self.table.slot(&route.scope, key);
        let mutex = slot.user_lock();
        let guard = match wait {
            Wait::No => mutex.try_lock_owned().map_err(|_| CacheError::Busy)?,
            Wait::Forever | Wait::AtMost(_) => {
                let closing = self.shut.subscribe();
                let locked = lock_unless_shut(mutex, closing);
                match wait {
                    Wait::AtMost(at_most) => {
                        tokio::time::timeout(at_most, locked).await.unwrap_or(Err(CacheError::Busy))
                    }
                    _ => locked.await,
                }?
            }
        };
        let guard = LockGuard { shut, _guard: guard, slot };
        if guard.is_lost() { Err(CacheError::closed()) } else { Ok(guard) }
    }
}

/// Waits for the mutex, or for the space to be closed.
async fn lock_unless_shut(
    mutex: Arc<Mutex<()>>,
    mut shut: watch::Receiver<u64>,
) -> CacheResult<OwnedMutexGuard<()>> {
    let mut guard = pin!(mutex.lock_owned());
    let mut closed = pin!(shut.changed());
    poll_fn(|context| {
        if let Poll::Ready(guard) = guard.as_mut().poll(context) {
            return Poll::Ready(Ok(guard));
        }
        closed.as_mut().poll(context).map(|_| Err(CacheError::closed()))
    })
    .await
}

/// A lock that is held: see [`Cache::lock`]. Dropped, it is released.
#[must_use = "dropped, it is released at once"]
pub struct LockGuard {
    /// Changes when the space is closed, which takes all locks away.
    shut: watch::Receiver<u64>,
    /// Released before the slot is given up, which may take it out of the table.
    _guard: OwnedMutexGuard<()>,
    slot: SlotRef,
}

impl LockGuard {
    pub(crate) fn key(&self) -> &str {
        &self.slot.key
    }

    /// Tells whether the lock was taken away, as by closing the space.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shut.has_changed().unwrap_or(true)
    }

    /// Completes when the lock is taken away.
    pub async fn lost(&self) {
        // An error says that the space itself is gone.
        let _ = self.shut.clone().changed().await;
    }

    /// Releases the lock; once it has returned, another can have it.
    #[allow(clippy::unused_async, reason = "releasing a lock of several processes takes a call")]
    pub async fn release(self) {
        drop(self);
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").field("slot", &*self.slot).finish_non_exhaustive()
    }
}

/// What a key was when it was last read or written under its lock.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) mutations: u64,
    /// Checked by the store, where it can: for writers that do not go through this space.
    pub(crate) condition: Condition,
}

/// An entry that was read, and may be set, under its lock: see [`Cache::getset`]. Dropped, the lock is
/// released.
#[must_use = "dropped, the lock is released"]
pub struct GetSet<V> {
    pub(crate) cache: Cache<V>,
    pub(crate) route: Arc<Route>,
    pub(crate) seen: Seen,
    pub(crate) lock: LockGuard,
    item: Option<CacheItem<V>>,
}

impl<V: 'static> GetSet<V> {
    /// The entry as it was when the lock was taken; `None` where there was none.
    #[must_use]
    pub fn item(&self) -> Option<&CacheItem<V>> {
        self.item.as_ref()
    }

    /// Stores a value, as [`Cache::set`] does, while the lock is still ours; it may be called again.
    ///
    /// # Errors
    /// On await, `Conflict` when another write came since the entry was read (a plain set within
    /// one's own `getset` is one), `LockLost` when the lock was taken away, and nothing is written.
    pub fn set<'a>(&'a mut self, value: &V) -> SetValue<'a, V> {
        SetValue::held(self, value)
    }

    /// Tells whether the lock was taken away.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lock.is_lost()
    }

    /// Completes when the lock is taken away.
    pub async fn lost(&self) {
        self.lock.lost().await;
    }

    /// Releases the lock; once it has returned, another can have it.
    pub async fn release(self) {
        self.lock.release().await;
    }
}

impl<V> fmt::Debug for GetSet<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetSet").field("item", &self.item).finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for LockKey<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockKey")
            .field("key", &self.key)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for GetSetKey<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GetSetKey").field(&self.0).finish()
    }
}
