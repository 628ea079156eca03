//! Single flight: one load for all who miss one key (F1 to F4).

use std::sync::Arc;
use std::time::Duration;

use larder_core::{BoxFuture, Bytes, Deadline, Expiry};
use tokio::task::JoinHandle;

use crate::builder::StoreFailure;
use crate::claim::{Accept, Claim, Claimed};
use crate::error::LoadFailure;
use crate::flight::{Chain, Flight, LOADING, Outcome, panic_message};
use crate::read::Budget;
use crate::scope::ScopeContext;
use crate::slot::{Joined, SlotRef, Waiter};
use crate::space::{Inner, Route};
use crate::write::{Mode, Put, Write};
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
    /// A value that is stale is being served; this load outlives whoever asked for it.
    pub(crate) refresh: bool,
    /// In a distributed space, what a value of another process's making has to be.
    pub(crate) accept: Option<Accept>,
}

/// The work of a flight.
enum Work {
    /// The loader, which runs.
    Running(Owned<CacheResult<Fresh>>),
    /// The loader, which runs once the load is this process's own.
    Waiting(Load, Accept),
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
    /// store first; whoever waits gets the envelope that it ends with.
    pub(crate) fn load(
        self: &Arc<Self>,
        route: &Arc<Route>,
        key: &str,
        miss: Miss,
        make: impl FnOnce(bool) -> Load,
    ) -> CacheResult<Waiter> {
        if Chain::holds(self.id, &route.scope, key) {
            return Err(CacheError::Reentrant);
        }
        self.check_open()?;
        let now = self.now();
        let cancel = self.config.cancel_abandoned && !miss.refresh;
        match self.table.join(&route.scope, key, now, || Flight::load(miss.tag, cancel)) {
            Joined::Running(waiter) => Ok(waiter),
            Joined::Failed(error) => Err(error),
            Joined::Started(waiter, slot) => {
                // Whatever was stored since the miss must be seen before a loader runs again.
                let stale = self.table.fills(key) != miss.fills;
                let chain = Arc::new(Chain {
                    space: self.id,
                    scope: route.scope.clone(),
                    key: Arc::clone(&slot.key),
                    outer: Chain::current(),
                });
                // To claim a load is to look.
                let claims = miss.accept.is_some() && !miss.store_failed;
                let load = make(stale && !miss.store_failed && !claims);
                let flight = Arc::clone(&waiter.flight);
                let supervisor = Supervisor { inner: Arc::clone(self), slot, flight };
                let accept = miss.accept.filter(|_| claims);
                supervisor.start(Arc::clone(route), chain, load, accept, miss.store_failed);
                Ok(waiter)
            }
        }
    }
}

impl Supervisor {
    fn start(
        self,
        route: Arc<Route>,
        chain: Arc<Chain>,
        load: Load,
        accept: Option<Accept>,
        store_failed: bool,
    ) {
        // Without a runtime the supervisor is dropped, which ends the flight.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let flight = Arc::clone(&self.flight);
        if store_failed {
            self.inner.counters.direct_loads.add();
        }
        let load = LOADING.scope(chain, ScopeContext::carry(load));
        let work = match accept {
            None => Work::Running(self.spawn(crate::in_span(load))),
            Some(accept) => Work::Waiting(Box::pin(crate::in_span(load)), accept),
        };
        // Where processes claim their loads, one that did not has no right to store.
        let may_store = !(store_failed && self.inner.coordination.is_some());
        let task = runtime.spawn(crate::in_span(self.run(route, work, may_store)));
        flight.set_task(task.abort_handle());
    }

    /// Runs the loader in a task of its own below the supervisor's, so that one that blocks its
    /// thread does not keep the supervisor from ending the flight in time.
    fn spawn(
        &self,
        load: impl Future<Output = CacheResult<Fresh>> + Send + 'static,
    ) -> Owned<CacheResult<Fresh>> {
        self.inner.counters.loads.add();
        Owned(tokio::spawn(load))
    }

    async fn run(self, route: Arc<Route>, work: Work, may_store: bool) {
        let inner = &self.inner;
        let (mut loader, accept, claim, may_store) = match work {
            Work::Running(loader) => (loader, None, None, may_store),
            Work::Waiting(load, accept) => match self.claim(&route, &accept).await {
                Ok(Claimed::Stored(envelope)) => return self.give(envelope),
                Ok(Claimed::Ours(claim)) => (self.spawn(load), Some(accept), Some(claim), true),
                Ok(Claimed::Failed) => {
                    let error = CacheError::Load(LoadFailure::elsewhere());
                    self.slot.finish(&self.flight, Outcome::Failed(error));
                    return;
                }
                Ok(Claimed::Alone) => {
                    inner.counters.direct_loads.add();
                    (self.spawn(load), None, None, false)
                }
                Err(error) => return self.fail(error),
            },
        };
        let end = async {
            match (&claim, &accept) {
                (Some(claim), Some(accept)) => {
                    let lost = async || self.give_what_came(&route, accept).await;
                    claim.keep_while(&mut loader.0, lost).await
                }
                _ => (&mut loader.0).await,
            }
        };
        let ended = tokio::time::timeout(inner.config.max_load_time, end).await;
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
            Ok(Fresh::New(write, store)) => {
                let claimed = claim.zip(accept);
                self.store(&route, write, store && may_store, claimed).await;
            }
            Err(error) => {
                // Only what the loader itself said is worth remembering.
                let ttl = inner.config.negative_ttl;
                if let (CacheError::Load(_), Some(claim)) = (&error, claim)
                    && !ttl.is_zero()
                {
                    claim.failed(ttl).await;
                }
                self.fail(error);
            }
        }
    }

    /// Waits, no longer than a load may take, until the load is ours or has been done.
    async fn claim(&self, route: &Route, accept: &Accept) -> CacheResult<Claimed> {
        let inner = &self.inner;
        let Some(coordination) = &inner.coordination else { return Ok(Claimed::Alone) };
        let claim = inner.claim(coordination, route, &self.slot.key, accept);
        let claimed = tokio::time::timeout(inner.config.max_load_time, claim).await;
        claimed.unwrap_or(Err(CacheError::TimedOut))
    }

    /// Gives those who wait the value that another process has put in the load's way, if it is one.
    async fn give_what_came(&self, route: &Route, accept: &Accept) {
        if let Ok(Some(bytes)) = self.inner.fetch(&*route.store, &self.slot.key).await
            && accept(&bytes)
        {
            self.give(bytes);
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

    async fn store(
        &self,
        route: &Arc<Route>,
        write: Write,
        store: bool,
        claimed: Option<(Arc<Claim>, Accept)>,
    ) {
        let inner = &self.inner;
        let (envelope, gone) = inner.envelope(write.clone(), inner.now(), None);
        let bytes = envelope.encode();
        if !store || gone || inner.circuit.check(&*inner.config.clock).is_err() {
            return self.give(bytes);
        }
        let (claim, accept) = claimed.unzip();
        let fill = Mode::Fill(Arc::clone(&self.flight), claim.clone());
        let put = Box::pin(inner.put(route, &self.slot.key, write, fill));
        let mut put = Budget::new(put, inner.config.store_budget);
        match (&mut put).await {
            Some(Err(error @ CacheError::Store(_)))
                if inner.config.when_store_fails == StoreFailure::ServeError =>
            {
                self.slot.finish(&self.flight, Outcome::Failed(error));
            }
            Some(put) => {
                if let (Ok(Put::NotWanted), Some(accept)) = (&put, &accept) {
                    self.give_what_came(route, accept).await;
                }
                self.give(bytes);
                if let (Ok(Put::Done(_)), Some(claim)) = (put, claim) {
                    claim.filled().await;
                }
            }
            None => {
                // Those who wait have waited long enough; the store may take its time.
                self.give(bytes);
                if let (Ok(Put::Done(_)), Some(claim)) = (put.into_inner().await, claim) {
                    claim.filled().await;
                }
            }
        }
    }
}
