//! Single flight: one load for all who miss one key (F1 to F4).

use std::sync::{Arc, Weak};
use std::time::Duration;

use larder_core::{BoxFuture, Bytes, Deadline, Expiry};
use tokio::runtime::Handle;

use crate::builder::StoreFailure;
use crate::claim::{Accept, Claim};
use crate::flight::{Caught, Chain, Flight, LOADING, Outcome};
use crate::read::Budget;
use crate::route::{Route, RouteRef};
use crate::scope::ScopeContext;
use crate::slot::{Joined, SlotRef};
use crate::space::Inner;
use crate::waiter::Waiter;
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

/// What became of the reading of the store before a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Answered,
    Failed,
    /// It failed, and took all the time that it may add.
    TimedOut,
}

/// How a caller came to need a load.
pub(crate) struct Miss {
    /// What [`Table::fills`](crate::slot::Table::fills) gave before the store was read.
    pub(crate) fills: u64,
    pub(crate) store: Reading,
    /// The type tag of what is wanted.
    pub(crate) tag: u64,
    /// A value that is stale is being served; this load outlives whoever asked for it.
    pub(crate) refresh: bool,
    /// The flights of the key are for others; this load is shared with nobody, and not stored.
    pub(crate) alone: bool,
    /// In a distributed space, what a value of another process's making has to be.
    pub(crate) accept: Option<Accept>,
}

/// Ends a flight that its task did not end: the task was cancelled, or its runtime shut down.
pub(crate) struct Supervisor {
    pub(crate) inner: Arc<Inner>,
    pub(crate) slot: SlotRef,
    pub(crate) flight: Arc<Flight>,
    /// How long those who wait may wait for the fill.
    pub(crate) budget: Duration,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !self.flight.is_done() {
            self.slot.finish(&self.flight, Outcome::Failed(CacheError::ShutDown));
        }
    }
}

impl Inner {
    /// Joins the load of a key, if there is one: the store is not asked again for what is missing.
    #[cold]
    pub(crate) fn join_load(
        &self,
        route: &Route,
        key: &str,
        key_hash: u64,
        tag: u64,
    ) -> CacheResult<Option<Waiter>> {
        // Where processes load for each other, the store may have the value first.
        if self.coordination.is_some() {
            return Ok(None);
        }
        let Some(waiter) = self.table.loading(route, key, key_hash, tag) else { return Ok(None) };
        if Chain::holds(self.id, &route.scope, key) {
            return Err(CacheError::Reentrant);
        }
        self.counters.misses.add();
        Ok(Some(waiter))
    }

    /// Joins the flight of a key, or starts one with `make`, which is told whether to look into the
    /// store first; whoever waits gets the envelope that it ends with.
    pub(crate) fn load(
        self: &Arc<Self>,
        route: &Arc<Route>,
        key: &str,
        miss: Miss,
        make: impl FnOnce(Arc<str>, bool) -> Load,
    ) -> CacheResult<Waiter> {
        if Chain::holds(self.id, &route.scope, key) {
            return Err(CacheError::Reentrant);
        }
        self.check_open()?;
        let cancel = self.config.cancel_abandoned && !miss.refresh;
        let flight = || Flight::load(miss.tag, cancel, miss.refresh);
        let joined = if miss.alone {
            self.table.begin_apart(route, key, flight())
        } else {
            self.table.join(route, key, || self.now(), flight)
        };
        match joined {
            Joined::Running(waiter) => Ok(waiter),
            Joined::Failed(error) => Err(error),
            Joined::Started(waiter, slot) => {
                // Whatever was stored since the miss must be seen before a loader runs again.
                let stale = self.table.fills(slot.id.key_hash) != miss.fills;
                let chain = Arc::new(Chain {
                    space: self.id,
                    scope: route.scope.clone(),
                    key: Arc::clone(&slot.id.key),
                    outer: Chain::current(),
                });
                let store_failed = miss.store != Reading::Answered;
                // To claim a load is to look.
                let claims = miss.accept.is_some() && !store_failed && !miss.alone;
                let look_first = stale && !store_failed && !claims;
                let load = make(Arc::clone(&slot.id.key), look_first);
                let load = LOADING.scope(chain, ScopeContext::carry(Caught(load)));
                let flight = Arc::clone(waiter.flight());
                let budget = match miss.store {
                    Reading::TimedOut => Duration::ZERO,
                    Reading::Answered | Reading::Failed => self.config.store_budget,
                };
                let supervisor = Supervisor { inner: Arc::clone(self), slot, flight, budget };
                if store_failed {
                    self.counters.direct_loads.add();
                }
                if let Some(accept) = miss.accept.filter(|_| claims) {
                    supervisor.start_claiming(route, load, accept);
                } else {
                    // Where processes claim their loads, one that did not has no right to store.
                    let unclaimed = store_failed && self.coordination.is_some();
                    let may_store = !(unclaimed || miss.alone);
                    supervisor.start(route, load, may_store);
                }
                Ok(waiter)
            }
        }
    }
}

/// Keeps a slot, and with it the error that it remembers, for as long as that counts by the space's
/// clock, which may be slower than the runtime's.
async fn remember(space: Weak<Inner>, slot: SlotRef) {
    let left = |inner: Arc<Inner>| slot.remembers_for(inner.now());
    while let Some(left) = space.upgrade().and_then(left) {
        tokio::time::sleep(left).await;
    }
}

impl Supervisor {
    /// Loads, and ends the flight, in a task of its own.
    fn start(
        self,
        route: &Arc<Route>,
        load: impl Future<Output = CacheResult<Fresh>> + Send + 'static,
        may_store: bool,
    ) {
        // Without a runtime the supervisor is dropped, which ends the flight.
        let Ok(runtime) = Handle::try_current() else { return };
        self.inner.counters.loads.add();
        self.inner.watch(&self.flight, &self.slot, &runtime);
        let (flight, route) = (Arc::clone(&self.flight), Arc::clone(route));
        // Boxed, as the runtime moves what it is given several times.
        let task = runtime.spawn(Box::pin(crate::in_span(async move {
            let fresh = load.await;
            self.settle(&route, fresh, may_store, None).await;
        })));
        flight.set_task(task.abort_handle());
    }

    /// Ends the flight with what the loader gave.
    pub(crate) async fn settle(
        &self,
        route: &Arc<Route>,
        fresh: CacheResult<Fresh>,
        may_store: bool,
        claimed: Option<(Arc<Claim>, Accept)>,
    ) {
        self.flight.set_loaded();
        match fresh {
            Ok(Fresh::Stored(envelope)) => self.give(envelope),
            Ok(Fresh::New(write, store)) => {
                self.store(route, write, store && may_store, claimed).await;
            }
            Err(error) => {
                // Only what the loader itself said is worth remembering.
                let ttl = self.inner.config.negative_ttl;
                if let (CacheError::Load(_), Some((claim, _))) = (&error, claimed)
                    && !ttl.is_zero()
                {
                    claim.failed(ttl).await;
                }
                self.fail(error);
            }
        }
    }

    /// Gives those who wait the value that another process has put in the load's way, if it is one.
    pub(crate) async fn give_what_came(&self, route: &Arc<Route>, accept: &Accept) {
        if let Ok(fetch) = self.inner.fetch(&RouteRef::Kept(route), &self.slot.id.key)
            && let Ok(Some(bytes)) = fetch.await
            && accept(&bytes)
        {
            self.give(bytes);
        }
    }

    pub(crate) fn give(&self, envelope: Bytes) {
        self.slot.finish(&self.flight, Outcome::Value(envelope));
    }

    pub(crate) fn fail(&self, error: CacheError) {
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
        tokio::spawn(remember(Arc::downgrade(inner), self.slot.again()));
    }

    async fn store(
        &self,
        route: &Arc<Route>,
        write: Write,
        store: bool,
        claimed: Option<(Arc<Claim>, Accept)>,
    ) {
        let inner = &self.inner;
        if !store || inner.is_gone(&write) || inner.circuit.check(&*inner.config.clock).is_err() {
            return self.give_unstored(write);
        }
        let (claim, accept) = claimed.unzip();
        let fill = Mode::Fill(Arc::clone(&self.flight), claim.clone());
        let put = Box::pin(inner.put(route, &self.slot.id.key, write.clone(), fill));
        let mut put = Budget::new(put, self.budget);
        let put = match (&mut put).await {
            Some(Err(error @ CacheError::Store(_)))
                if inner.config.when_store_fails == StoreFailure::ServeError =>
            {
                self.slot.finish(&self.flight, Outcome::Failed(error));
                return;
            }
            Some(Ok(Put::Done(envelope))) => {
                self.give(envelope.clone());
                Ok(Put::Done(envelope))
            }
            Some(put) => {
                if let (Ok(Put::NotWanted), Some(accept)) = (&put, &accept) {
                    self.give_what_came(route, accept).await;
                }
                self.give_unstored(write);
                put
            }
            None => {
                // Those who wait have waited long enough; the store may take its time.
                let _late = self.slot.finish_late(&self.flight, self.unstored(write));
                put.into_inner().await
            }
        };
        if let (Ok(Put::Done(..)), Some(claim)) = (put, claim) {
            claim.filled().await;
        }
    }

    /// Gives those who wait a value that is not stored.
    fn give_unstored(&self, write: Write) {
        if self.flight.is_done() {
            return;
        }
        self.slot.finish(&self.flight, self.unstored(write));
    }

    fn unstored(&self, write: Write) -> Outcome {
        let (envelope, _) = self.inner.envelope(write, self.inner.now(), None);
        Outcome::Value(envelope.encode())
    }
}
