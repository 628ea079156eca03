//! Locks on keys, and reading and writing under one (L1 to L3).

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use larder_core::{BoxFuture, Condition};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::asking::Asking;
use crate::flight::Guarded;
use crate::lease::{Companion, Lease};
use crate::route::Route;
use crate::slot::SlotRef;
use crate::space::Inner;
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
    /// In a [`distributed`](crate::CacheBuilder::distributed) space, the lock holds among all
    /// processes (`L2`): for a lease, which is renewed as long as the guard lives, and with a
    /// [`fence`](LockGuard::fence). It is advisory where what it guards does not check that token.
    /// Between processes, nobody is served in the order of asking. A `Timeout` of the store, which says
    /// that nothing was done, is waited out like another holder: it may be what one looks like that
    /// stopped in the middle.
    ///
    /// # Errors
    /// On await, `Busy` when it is held by another and that was not to be waited for, or for longer
    /// than told; `Closed`; in a distributed space the store's, and `FenceLost`.
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
    /// Waits so long at most; for no time at all, it is [`no_wait`](Self::no_wait), and a lock that is
    /// free is given however long the store takes for that.
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.wait = if at_most.is_zero() { Wait::No } else { Wait::AtMost(at_most) };
        self
    }

    /// Does not wait for another holder, nor ask a store again that gives `Timeout`; how long the store
    /// takes for that is its own affair.
    pub fn no_wait(mut self) -> Self {
        self.wait = Wait::No;
        self
    }
}

impl<V> GetSetKey<'_, V> {
    /// Waits so long at most: see [`LockKey::wait`].
    pub fn wait(self, at_most: Duration) -> Self {
        Self(self.0.wait(at_most))
    }

    /// Does not wait for another holder: see [`LockKey::no_wait`].
    pub fn no_wait(self) -> Self {
        Self(self.0.no_wait())
    }
}

impl<'a, V: Send + 'static> IntoFuture for LockKey<'a, V> {
    type Output = CacheResult<LockGuard>;
    type IntoFuture = BoxFuture<'a, CacheResult<LockGuard>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let route = self.cache.route()?;
            self.cache.inner().lock(&route, self.key, self.wait).await
        })
    }
}

impl<'a, V: Send + 'static> IntoFuture for GetSetKey<'a, V> {
    type Output = CacheResult<GetSet<V>>;
    type IntoFuture = BoxFuture<'a, CacheResult<GetSet<V>>>;

    fn into_future(self) -> Self::IntoFuture {
        let LockKey { cache, key, wait } = self.0;
        Box::pin(async move {
            let route = cache.route()?;
            let inner = cache.inner();
            let lock = inner.lock(&route, key, wait).await?;
            let fence = lock.fence();
            let see = async move |locked: Locked| locked.see(fence).await;
            let (envelope, seen) = inner.locked(&route, key, see).await?;
            lock.accompany(&seen);
            let item = envelope
                .filter(|envelope| envelope.head.is_live(inner.now()))
                .filter(|envelope| cache.decode(envelope.clone()).is_ok())
                .map(|envelope| cache.item(envelope));
            Ok(GetSet { cache: cache.clone(), route: route.into_shared(), item, seen, lock })
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
        let slot = self.table.slot(route, key);
        let mutex = slot.user_lock();
        let taken = async {
            let closing = self.shut.subscribe();
            let guard = match wait {
                Wait::No => mutex.try_lock_owned().map_err(|_| CacheError::Busy)?,
                _ => lock_unless_shut(mutex, closing).await?,
            };
            let guard = LockGuard {
                shut,
                key: Arc::clone(&slot.id.key),
                held: Some(Held { _guard: guard, lease: None, slot, inner: Arc::clone(self) }),
            };
            self.take_lease(route, guard, matches!(wait, Wait::No)).await
        };
        let guard = match wait {
            Wait::AtMost(at_most) => {
                tokio::time::timeout(at_most, taken).await.unwrap_or(Err(CacheError::Busy))
            }
            _ => taken.await,
        }?;
        if guard.is_lost() { Err(guard.lost_before_given()) } else { Ok(guard) }
    }

    /// Takes the lock from the other processes too, where there are any.
    async fn take_lease(
        self: &Arc<Self>,
        route: &Route,
        mut guard: LockGuard,
        no_wait: bool,
    ) -> CacheResult<LockGuard> {
        let Some(coordination) = &self.coordination else { return Ok(guard) };
        let places = self.places(coordination)?;
        let asking = Asking::new(self, coordination, places, route, &guard.key);
        let mut closing = self.shut.subscribe();
        let mut closed = pin!(closing.changed());
        let mut lease = pin!(asking.take(no_wait));
        let lease = poll_fn(|context| {
            if let Poll::Ready(lease) = lease.as_mut().poll(context) {
                return Poll::Ready(lease);
            }
            closed.as_mut().poll(context).map(|_| Err(CacheError::closed()))
        });
        let lease = lease.await?;
        if let Some(held) = &mut guard.held {
            held.lease = Some(lease);
        }
        Ok(guard)
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

/// A lock that is held: see [`Cache::lock`]. Dropped, it is released, in the background where other
/// processes are to be told.
#[must_use = "dropped, it is released at once"]
pub struct LockGuard {
    /// Changes when the space is closed, which takes all locks away.
    shut: watch::Receiver<u64>,
    key: Arc<str>,
    /// `None` once it is being released.
    held: Option<Held>,
}

/// In the order in which it is given back: what other processes know of, then the lock of this one,
/// then the slot, which may leave the table.
struct Held {
    lease: Option<Lease>,
    _guard: OwnedMutexGuard<()>,
    slot: SlotRef,
    inner: Arc<Inner>,
}

impl LockGuard {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    fn lease(&self) -> Option<&Lease> {
        self.held.as_ref()?.lease.as_ref()
    }

    /// The fencing token of a lock of several processes; `None` in a space that is not
    /// [`distributed`](crate::CacheBuilder::distributed).
    ///
    /// It is greater than the token of whoever held the lock before. What is guarded is safe from a
    /// holder that was paused where it refuses whatever comes with a smaller token than it has seen.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.lease().map(|lease| lease.fence)
    }

    /// Tells whether the lock was taken away: by closing the space, or in a distributed one because
    /// its lease was not renewed in time, or its record is no longer there.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shut.has_changed().unwrap_or(true)
            || self.lease().is_some_and(|lease| lease.held.is_lost())
    }

    /// Completes when the lock is taken away.
    pub async fn lost(&self) {
        let mut shut = self.shut.clone();
        // An error says that the space itself is gone.
        let mut closed = pin!(shut.changed());
        let mut lost = pin!(async {
            match self.lease() {
                Some(lease) => lease.held.lost().await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|context| {
            let over = closed.as_mut().poll(context).is_ready();
            if over || lost.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Releases the lock; once it has returned, another can have it.
    ///
    /// Where the store cannot be told, it tries until the lease is over.
    pub async fn release(mut self) {
        if let Some(release) = self.give_back() {
            Guarded::new(Box::pin(release)).await;
        }
    }

    pub(crate) fn accompany(&self, seen: &Seen) {
        if let Some(lease) = self.lease() {
            lease.held.set_companion(seen.companion.clone());
        }
    }

    /// What the release has to do beyond dropping the guard.
    fn give_back(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut held = self.held.take()?;
        let lease = held.lease.take()?;
        let call = held.inner.lifecycle.enter().ok();
        Some(lease.release(held, call))
    }

    fn lost_before_given(&self) -> CacheError {
        let closed = self.shut.has_changed().unwrap_or(true);
        if closed { CacheError::closed() } else { CacheError::LockLost }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let Some(runtime) = self.lease().map(|lease| lease.runtime().clone()) else { return };
        if let Some(release) = self.give_back() {
            runtime.spawn(release);
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("slot", &self.held.as_ref().map(|held| &*held.slot))
            .field("lease", &self.lease())
            .finish_non_exhaustive()
    }
}

/// What a key was when it was last read or written under its lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) mutations: u64,
    /// Checked by the store, where it can: for writers that do not go through this space.
    pub(crate) condition: Condition,
    /// Another write came right after the last one.
    pub(crate) overtaken: bool,
    /// The token of a lock of several processes.
    pub(crate) fence: Option<u64>,
    /// The record that the condition speaks of, to be kept as long as such a lock.
    pub(crate) companion: Option<Companion>,
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

    /// The fencing token of the lock: see [`LockGuard::fence`].
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.lock.fence()
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
