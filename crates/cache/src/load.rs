//! Single flight: one load for all who miss one key (F1 to F4).

use std::sync::Arc;
use std::time::Duration;

use larder_core::{BoxFuture, Bytes, Deadline, Expiry};
use tokio::task::JoinHandle;

use crate::builder::StoreFailure;
use crate::flight::{Chain, Flight, LOADING, Outcome, panic_message};
use crate::read::Budget;
use crate::scope::ScopeContext;
use crate::slot::{Joined, SlotRef};
use crate::space::{Inner, Route};
use crate::write::{Mode, Write};
use crate::{CacheError, CacheResult};

/// What a loader gives: a value, and how to store it.
///
/// A loader may give a plain value as well; it is stored with the default time to live.
///
/// ```
/// use std::time::Duration;
/// use larder_cache::Loaded;
/// let short = Loaded::new(7).ttl(Duration::from_secs(1));
/// let unstored = Loaded::new(7).do_not_store();
/// # let _ = (short, unstored);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<V> {
    pub(crate) value: V,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) store: bool,
}

impl<V> Loaded<V> {
    /// A value to be stored with the default time to live.
    #[must_use]
    pub fn new(value: V) -> Self {
        Self { value, expiry: None, store: true }
    }

    /// The value lives this long; after zero it is given to those who wait, and not stored.
    #[must_use]
    pub fn ttl(self, duration: Duration) -> Self {
        self.expiry(duration)
    }

    /// Sets the expiry.
    #[must_use]
    pub fn expiry(mut self, expiry: impl Into<Expiry>) -> Self {
        self.expiry = Some(expiry.into());
        self
    }

    /// The value is given to those who wait, and not stored.
    #[must_use]
    pub fn do_not_store(mut self) -> Self {
        self.store = false;
        self
    }
}

impl<V> From<V> for Loaded<V> {
    fn from(value: V) -> Self {
        Self::new(value)
    }
}

/// What the typed side hands to a flight.
pub(crate) enum Fresh {
    /// An envelope that another load has stored meanwhile.
    Stored(Bytes),
    /// A new value, and whether it is to be stored.
    New(Write, bool),
}

pub(crate) type Load = BoxFuture<'static, CacheResult<Fresh>>;

/// How a caller came to need a load.
pub(crate) struct Miss {
    /// What [`Table::fills`](crate::slot::Table::fills) gave before the store was read.
    pub(crate) fills: u64,
    /// The store failed to answer.
    pub(crate) store_failed: bool,
    /// The type tag of what is wanted.
    pub(crate) tag: u64,
    pub(crate) wait: Option<Duration>,
}

/// Ends a flight that its task did not end: the task was cancelled, or its runtime shut down.
struct Supervisor {
    inner: Arc<Inner>,
    slot: SlotRef,
    flight: Arc<Flight>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !self.flight.is_done() {
            self.slot.finish(&self.flight, Outcome::Failed(CacheError::ShutDown));
        }
    }
}

/// A task that does not outlive whoever waits for it.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    /// Joins the flight of a key, or starts one with `make`, which is told whether to look into the
    /// store first; gives the envelope that it ends with.
    pub(crate) async fn load(
        self: &Arc<Self>,
        route: &Arc<Route>,
        key: &str,
        miss: Miss,
        make: impl FnOnce(bool) -> Load,
    ) -> CacheResult<Bytes> {
        if Chain::holds(self.id, &route.scope, key) {
            return Err(CacheError::Reentrant);
        }
        self.check_open()?;
        let now = self.now();
        let cancel = self.config.cancel_abandoned;
        let joined = self.table.join(&route.scope, key, now, || Flight::load(miss.tag, cancel));
        let waiter = match joined {
            Joined::Running(waiter) => waiter,
            Joined::Failed(error) => return Err(error),
            Joined::Started(waiter, slot) => {
                // Whatever was stored since the miss must be seen before a loader runs again.
                let stale = self.table.fills(key) != miss.fills;
                let chain = Arc::new(Chain {
                    space: self.id,
                    scope: route.scope.clone(),
                    key: Arc::clone(&slot.key),
                    outer: Chain::current(),
                });
                let load = make(stale && !miss.store_failed);
                let flight = Arc::clone(&waiter.flight);
                let supervisor = Supervisor { inner: Arc::clone(self), slot, flight };
                supervisor.start(Arc::clone(route), chain, load, miss.store_failed);
                waiter
            }
        };
        waiter.wait(miss.wait).await
    }
}

impl Supervisor {
    fn start(self, route: Arc<Route>, chain: Arc<Chain>, load: Load, store_failed: bool) {
        // Without a runtime the supervisor is dropped, which ends the flight.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let flight = Arc::clone(&self.flight);
        self.inner.counters.loads.add();
        if store_failed {
            self.inner.counters.direct_loads.add();
        }
        // The loader has a task of its own below the supervisor's, so that one that blocks its
        // thread does not keep the supervisor from ending the flight in time.
        let load = LOADING.scope(chain, ScopeContext::carry(load));
        let loader = Owned(runtime.spawn(crate::in_span(load)));
        let task = runtime.spawn(crate::in_span(self.run(route, loader)));
        flight.set_task(task.abort_handle());
    }

    async fn run(self, route: Arc<Route>, mut loader: Owned<CacheResult<Fresh>>) {
        let inner = &self.inner;
        let ended = tokio::time::timeout(inner.config.max_load_time, &mut loader.0).await;
        let fresh = match ended {
            Err(_) => Err(CacheError::TimedOut),
            Ok(Ok(fresh)) => fresh,
            Ok(Err(ended)) => Err(match ended.try_into_panic() {
                Ok(panic) => CacheError::Panicked(panic_message(&*panic)),
                Err(_) => CacheError::ShutDown,
            }),
        };
        drop(loader);
        match fresh {
            Ok(Fresh::Stored(envelope)) => self.give(envelope),
            Ok(Fresh::New(write, store)) => self.store(&route, write, store).await,
            Err(error) => self.fail(error),
        }
    }

    fn give(&self, envelope: Bytes) {
        self.slot.finish(&self.flight, Outcome::Value(envelope));
    }

    fn fail(&self, error: CacheError) {
        let inner = &self.inner;
        inner.counters.load_failures.add();
        crate::event!(debug, "load failed");
        let ttl = inner.config.negative_ttl;
        // Only what the loader itself said is worth remembering.
        if ttl.is_zero() || !matches!(error, CacheError::Load(_)) {
            self.slot.finish(&self.flight, Outcome::Failed(error));
            return;
        }
        let until = Deadline::after(inner.now(), ttl);
        self.slot.finish_failed_until(&self.flight, error, until);
        // Keeps the slot, and with it the error, for as long as it counts.
        let slot = inner.table.slot(&self.slot.scope, &self.slot.key);
        tokio::spawn(async move {
            tokio::time::sleep(ttl).await;
            drop(slot);
        });
    }

    async fn store(&self, route: &Arc<Route>, write: Write, store: bool) {
        let inner = &self.inner;
        let (envelope, gone) = inner.envelope(write.clone(), inner.now(), None);
        let bytes = envelope.encode();
        if !store || gone || inner.circuit.check(&*inner.config.clock).is_err() {
            return self.give(bytes);
        }
        let fill = Mode::Fill(Arc::clone(&self.flight));
        let put = Box::pin(inner.put(route, &self.slot.key, write, fill));
        let mut put = Budget::new(put, inner.config.store_budget);
        match (&mut put).await {
            Some(Err(error @ CacheError::Store(_)))
                if inner.config.when_store_fails == StoreFailure::ServeError =>
            {
                self.slot.finish(&self.flight, Outcome::Failed(error));
            }
            Some(_) => self.give(bytes),
            None => {
                // Those who wait have waited long enough; the store may take its time.
                self.give(bytes);
                let _ = put.into_inner().await;
            }
        }
    }
}
