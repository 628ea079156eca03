//! Values that someone has promised (F5).

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use larder_core::{Bytes, ErrorKind, Namespace};
use tokio::task::JoinHandle;

use crate::builder::StoreFailure;
use crate::envelope::Envelope;
use crate::error::LoadFailure;
use crate::flight::{Chain, Flight, Guarded, Outcome, panic_message};
use crate::policy::{Admitted, Entry};
use crate::route::Route;
use crate::slot::{Overtake, Range, SlotRef};
use crate::space::Inner;
use crate::waiter::Waiter;
use crate::write::{Locked, Mode, Put, Write};
use crate::{Cache, CacheError, CacheItem, CacheResult, Loaded};

/// What a key holds just now: see [`Cache::lookup`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Lookup<V> {
    /// A value.
    Hit(CacheItem<V>),
    /// Nothing.
    Miss,
    /// Nothing yet: a value is being loaded, or was promised.
    Pending(PendingValue<V>),
}

/// A value that is being loaded or was promised, to be waited for.
#[must_use = "nothing is waited for until `wait` is awaited"]
pub struct PendingValue<V> {
    waiter: Waiter,
    scope: Namespace,
    key: Arc<str>,
    cache: Cache<V>,
}

/// A key of a scope: see [`Cache::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedKey {
    /// The key.
    pub key: String,
    /// Whether its value is still being loaded, or was promised.
    pub pending: bool,
}

impl<V: 'static> Cache<V> {
    /// Tells what a key holds, without waiting (`V3`).
    ///
    /// # Errors
    /// The store's.
    pub async fn lookup(&self, key: &str) -> CacheResult<Lookup<V>> {
        let route = self.route()?;
        let table = &self.inner().table;
        // Looked for on both sides of the read: what ended meanwhile is waited for no longer than
        // it takes to hand it over.
        let before = table.pending(&route, key);
        if let Some(item) = self.get(key).await? {
            return Ok(Lookup::Hit(item));
        }
        let left = self.inner().coordination.is_some()
            && self.inner().leave_overtaken(&route, key, None).await;
        let waiter = before.filter(|_| !left).or_else(|| table.pending(&route, key));
        Ok(waiter.map_or(Lookup::Miss, |waiter| {
            let (scope, key) = (route.scope.clone(), key.into());
            Lookup::Pending(PendingValue { waiter, cache: self.clone(), scope, key })
        }))
    }

    /// Reads a value, and waits for it while it is pending (`F5`); `None` where there is none.
    ///
    /// [`wait_at_most`](Self::wait_at_most) sets a deadline.
    ///
    /// # Errors
    /// `Load` with the error that the value was failed with; `Abandoned`, `Cancelled`, `Panicked`
    /// where it will not come; `TimedOut`; `Reentrant` within the loader of this key; the store's.
    pub async fn get_or_wait(&self, key: &str) -> CacheResult<Option<V>> {
        match self.lookup(key).await? {
            Lookup::Hit(item) => Ok(item.value().ok()),
            Lookup::Miss => Ok(None),
            Lookup::Pending(value) => value.wait().await,
        }
    }

    /// Promises a value for a key, in place of whatever it has (`F5`).
    ///
    /// # Behavior
    /// - The old value is deleted. A load that is running is overtaken.
    /// - Callers of [`get_or_wait`](Self::get_or_wait) and of the loading calls wait until the value
    ///   is there: by the guard, or by any other [`set`](Self::set) of the key.
    /// - When the guard is dropped, or the key is deleted or cleared away, they get `Abandoned`.
    /// - A second promise takes the waiters of the first over, whose guard then does nothing.
    ///
    /// # Errors
    /// The store's; nothing is promised then.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::Cache;
    /// # use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder_cache::CacheError> {
    /// let cache = Cache::<u32>::builder(Arc::new(MemoryStore::new())).build().await?;
    /// let promise = cache.set_pending("answer").await?;
    /// let waiting = tokio::spawn({
    ///     let cache = cache.clone();
    ///     async move { cache.get_or_wait("answer").await }
    /// });
    /// promise.resolve(42).await?;
    /// assert_eq!(waiting.await.unwrap()?, Some(42));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_pending(&self, key: &str) -> CacheResult<PendingGuard<V>> {
        let route = self.route()?;
        let inner = self.inner();
        let (call, slot) = inner.enter(&route, key)?;
        // A promise takes the room of an entry. One for which there is none is not counted.
        let room = inner.admit(&slot, 1, false).await?;
        let locked = inner.lock_slot(&route, slot, call).await;
        let promise = Guarded::new(Box::pin(locked.promise(room))).await?;
        Ok(PendingGuard { cache: self.clone(), route: route.into_shared(), promise })
    }

    /// Promises the value that a task gives (`F5`).
    ///
    /// Those who wait get the task's value, which is stored, or its error; `Cancelled` when the task
    /// is aborted, and `Panicked` when it panics.
    ///
    /// # Errors
    /// As [`set_pending`](Self::set_pending).
    pub async fn set_pending_task<L, E>(
        &self,
        key: &str,
        task: JoinHandle<Result<L, E>>,
    ) -> CacheResult<()>
    where
        V: Send,
        L: Into<Loaded<V>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let guard = self.set_pending(key).await?;
        tokio::spawn(crate::in_span(async move {
            match task.await {
                // Whoever waits has the outcome; the store's errors are counted.
                Ok(Ok(value)) => drop(guard.resolve(value).await),
                Ok(Err(error)) => {
                    guard.promise.end(CacheError::Load(LoadFailure::of(error)));
                }
                Err(ended) => {
                    guard.promise.end(match ended.try_into_panic() {
                        Ok(panic) => CacheError::Panicked(panic_message(&*panic)),
                        Err(_) => CacheError::Cancelled,
                    });
                }
            }
        }));
        Ok(())
    }

    /// Fails those who wait for a key, whatever they wait for, and tells whether anybody could have
    /// waited; nothing is stored, and later callers start anew (`F5`).
    ///
    /// # Errors
    /// `Closed`, `InvalidKey`.
    pub async fn fail<E: StdError + Send + Sync + 'static>(
        &self,
        key: &str,
        error: E,
    ) -> CacheResult<bool> {
        let route = self.route()?;
        let error = CacheError::Load(LoadFailure::of_error(error));
        // Under the lock: a load whose value is just being stored has succeeded.
        self.inner().locked(&route, key, async move |locked| Ok(locked.fail(error))).await
    }

    /// The keys of this scope in order, those of nested scopes aside, pending ones included and
    /// marked (`Z3`).
    ///
    /// It reads every entry of the scope, to leave out those that have expired and are retained.
    ///
    /// # Errors
    /// The store's; `Unsupported` over a flat store that cannot list.
    pub async fn list(&self) -> CacheResult<Vec<ListedKey>> {
        let inner = self.inner();
        let route = self.route()?;
        let range = Range { scope: route.scope.clone(), prefix: Some("".into()) };
        let pending = inner.table.matching(&range).into_iter();
        let mut keys: BTreeMap<String, bool> = pending
            .filter(|slot| slot.current().is_some_and(|flight| !flight.is_done()))
            .map(|slot| (slot.id.key.to_string(), true))
            .collect();
        let mut cursor = None;
        loop {
            let page = route.store.list_page("", cursor.as_ref(), 1_000).await?;
            let names: Vec<&str> = page.keys.iter().map(String::as_str).collect();
            let values = route.store.get_many(&names).await?;
            let now = inner.now();
            for (key, value) in page.keys.iter().zip(values) {
                let live = match value {
                    Ok(Some(bytes)) => {
                        Envelope::decode(bytes).is_ok_and(|envelope| envelope.head.is_live(now))
                    }
                    Ok(None) => false,
                    Err(error) if error.kind() == ErrorKind::Corrupt => false,
                    Err(error) => return Err(error.into()),
                };
                if live {
                    keys.insert(key.clone(), false);
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                let listed = keys.into_iter().map(|(key, pending)| ListedKey { key, pending });
                return Ok(listed.collect());
            }
        }
    }
}

impl<V: 'static> PendingValue<V> {
    /// Waits for the value; `None` when it is one of another type.
    ///
    /// # Errors
    /// As [`Cache::get_or_wait`].
    pub async fn wait(self) -> CacheResult<Option<V>> {
        if Chain::holds(self.cache.inner().id, &self.scope, &self.key) {
            return Err(CacheError::Reentrant);
        }
        let bytes = self.waiter.wait(self.cache.0.wait).await?;
        Ok(self.cache.loaded(bytes).ok())
    }
}

impl<V> fmt::Debug for PendingValue<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingValue").finish_non_exhaustive()
    }
}

/// The promise of a value: see [`Cache::set_pending`]. Dropped, it gives the promise up.
#[must_use = "dropped, it gives the promise up"]
pub struct PendingGuard<V> {
    cache: Cache<V>,
    route: Arc<Route>,
    promise: Promise,
}

impl<V: 'static> PendingGuard<V> {
    /// Stores the value and gives it to those who wait; false when the promise was no longer ours to
    /// keep: it was taken over, set otherwise, failed, deleted or cleared away.
    ///
    /// # Errors
    /// `InvalidValue` when the value cannot be encoded, and the promise is given up; the store's,
    /// and those who wait get the value all the same, unless
    /// [`when_store_fails`](crate::CacheBuilder::when_store_fails) says otherwise.
    ///
    /// # Cancel safety
    /// Dropped, it gives the promise up, or keeps it in the background where the value is being stored
    /// already.
    pub async fn resolve(self, value: impl Into<Loaded<V>>) -> CacheResult<bool> {
        let Self { cache, route, promise } = self;
        let Loaded { value, expiry, store } = value.into();
        let payload = cache.0.lens.codec.encode(&value)?;
        let write = Write {
            payload,
            tag: cache.0.tag,
            modified: None,
            expiry,
            default: cache.default_expiry(),
            jitter: true,
            pin: false,
            weight: None,
        };
        let inner = cache.inner();
        let bytes = inner.envelope(write.clone(), inner.now(), None).0.encode();
        if !store {
            return Ok(promise.give(bytes));
        }
        let mode = Mode::Keep(Arc::clone(&promise.flight));
        match inner.make_way(&route, &promise.slot.id.key, &write, &mode).await {
            Ok(Some((locked, room))) => {
                // It goes along, so that it is not given up while its value is being stored.
                let keep = async move { promise.kept(locked.put(write, mode, room).await, bytes) };
                Guarded::new(Box::pin(keep)).await
            }
            Ok(None) => Ok(false),
            Err(error) => promise.kept(Err(error), bytes),
        }
    }

    /// Fails those who wait; nothing is stored. False when the promise was no longer ours.
    pub fn fail<E: StdError + Send + Sync + 'static>(self, error: E) -> bool {
        self.promise.end(CacheError::Load(LoadFailure::of_error(error)))
    }

    /// Leaves the promise to a later [`set`](Cache::set) or [`fail`](Cache::fail) of the key; after
    /// [`max_pending_time`](crate::CacheBuilder::max_pending_time) it is given up.
    pub fn detach(self) {
        let at_most = self.cache.inner().config.max_pending_time;
        let promise = self.promise;
        // Without a runtime there is no deadline either, and the promise is given up at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(at_most, promise.flight.outcome()).await;
                drop(promise);
            });
        }
    }
}

impl<V> fmt::Debug for PendingGuard<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingGuard").finish_non_exhaustive()
    }
}

/// A pending flight that ends with its owner.
#[derive(Debug)]
pub(crate) struct Promise {
    inner: Arc<Inner>,
    slot: SlotRef,
    flight: Arc<Flight>,
}

impl Promise {
    fn give(&self, envelope: Bytes) -> bool {
        self.finish(Outcome::Value(envelope))
    }

    fn end(&self, error: CacheError) -> bool {
        self.finish(Outcome::Failed(error))
    }

    /// Ends the promise as its value was stored, or was not.
    fn kept(&self, put: CacheResult<Put>, envelope: Bytes) -> CacheResult<bool> {
        if let Err(error) = &put {
            match self.inner.config.when_store_fails {
                StoreFailure::LoadDirectly => self.give(envelope),
                StoreFailure::ServeError => self.end(error.clone()),
            };
        }
        Ok(matches!(put?, Put::Done(..)))
    }

    /// Ends the promise without a stored value.
    fn finish(&self, outcome: Outcome) -> bool {
        self.slot.finish(&self.flight, outcome)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !self.flight.is_done() {
            self.end(CacheError::Abandoned);
        }
        // However it ended, its room is free, unless another promise has taken that over.
        if !self.slot.current().is_some_and(|flight| flight.is_pending()) {
            self.inner.policies.forget_pending(&self.slot.id);
        }
    }
}

impl Locked {
    fn fail(&self, error: CacheError) -> bool {
        self.inner.policies.forget_pending(&self.slot.id);
        self.slot.fail(error)
    }

    async fn promise(self, room: Admitted) -> CacheResult<Promise> {
        if let Err(error) = self.store_delete().await {
            self.slot.overtake(Overtake::Unsure);
            return Err(error.into());
        }
        let flight = Arc::new(Flight::pending());
        let slot = self.slot.again();
        self.slot.replace(Arc::clone(&flight));
        if let Admitted::Room(room) = room {
            room.commit(Entry::bare(true));
        } else {
            self.inner.policies.forget(&slot.id);
        }
        Ok(Promise { inner: Arc::clone(&self.inner), slot, flight })
    }
}
