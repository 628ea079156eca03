//! One load, or one pending value, and those who wait for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use larder_core::{BoxFuture, Bytes, Namespace};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::claim::Claim;
use crate::slot::lock;
use crate::wakers::Wakers;
use crate::{CacheError, CacheResult};

/// How a flight ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// With this envelope, stored or not.
    Value(Bytes),
    /// With this error.
    Failed(CacheError),
    /// It did not: another pending value has taken its waiters over.
    Moved(Arc<Flight>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Flight {
    /// The type tag of what a load gives; a pending value has none, and takes any.
    tag: Option<u64>,
    cancel_when_alone: bool,
    /// A stale value is served meanwhile.
    refresh: bool,
    overtaken: AtomicBool,
    /// The loader has ended.
    loaded: AtomicBool,
    waiters: AtomicUsize,
    outcome: OnceLock<Outcome>,
    waiting: Mutex<Wakers>,
    task: OnceLock<AbortHandle>,
    /// What makes the load this process's own, in a distributed space.
    claim: OnceLock<Weak<Claim>>,
}

impl Flight {
    fn new(tag: Option<u64>, cancel_when_alone: bool, refresh: bool) -> Self {
        Self {
            tag,
            cancel_when_alone,
            refresh,
            overtaken: AtomicBool::new(false),
            loaded: AtomicBool::new(false),
            waiters: AtomicUsize::new(0),
            outcome: OnceLock::new(),
            waiting: Mutex::default(),
            task: OnceLock::new(),
            claim: OnceLock::new(),
        }
    }

    /// A flight that a task of ours loads.
    pub(crate) fn load(tag: u64, cancel_when_alone: bool, refresh: bool) -> Self {
        Self::new(Some(tag), cancel_when_alone, refresh)
    }

    /// A value that someone has promised.
    pub(crate) fn pending() -> Self {
        Self::new(None, false, false)
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.tag.is_none()
    }

    /// Tells whether a value of the type with this tag is what those who wait want.
    pub(crate) fn takes(&self, tag: u64) -> bool {
        self.tag.is_none_or(|own| own == tag)
    }

    /// Tells whether it loads what whoever wants a value with this tag has to wait for: there is none
    /// in the store, not even a stale one.
    pub(crate) fn fills_in(&self, tag: u64) -> bool {
        self.tag == Some(tag) && !self.refresh
    }

    /// Whether its waiters are counted, to cancel it when the last of them has gone.
    pub(crate) fn counts_waiters(&self) -> bool {
        self.cancel_when_alone
    }

    pub(crate) fn overtake(&self) {
        self.overtaken.store(true, SeqCst);
    }

    pub(crate) fn is_overtaken(&self) -> bool {
        self.overtaken.load(SeqCst)
    }

    pub(crate) fn set_loaded(&self) {
        self.loaded.store(true, SeqCst);
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.load(SeqCst)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Tells whether the loader is out of the way. Those who wait may have been told long before, as
    /// by a set.
    pub(crate) fn is_over(&self) -> bool {
        self.is_loaded() || self.task.get().is_some_and(AbortHandle::is_finished)
    }

    /// Tells everyone who waits; false when they were told already.
    pub(crate) fn resolve(&self, outcome: Outcome) -> bool {
        let first = self.outcome.set(outcome).is_ok();
        let waiting = lock(&self.waiting).take();
        waiting.for_each(Waker::wake);
        first
    }

    pub(crate) fn enter(&self) {
        self.waiters.fetch_add(1, SeqCst);
    }

    /// One waiter less; true when the flight is to be cancelled for want of others.
    pub(crate) fn leave(&self) -> bool {
        // Told of what has overtaken the load, they leave it alone, too.
        self.waiters.fetch_sub(1, SeqCst) == 1 && !(self.is_done() && self.is_loaded())
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(SeqCst) > 0
    }

    pub(crate) fn set_task(&self, task: AbortHandle) {
        // Set once, by whoever started the flight.
        let _ = self.task.set(task);
    }

    pub(crate) fn set_claim(&self, claim: &Arc<Claim>) {
        // Set once, by whoever started the flight.
        let _ = self.claim.set(Arc::downgrade(claim));
    }

    /// The claim that the load runs under, once there is one.
    pub(crate) fn claim(&self) -> Option<Arc<Claim>> {
        self.claim.get()?.upgrade()
    }

    pub(crate) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Completes when the flight has ended.
    pub(crate) fn outcome(self: &Arc<Self>) -> Landing {
        Landing { flight: Arc::clone(self), place: None }
    }
}

/// Waits for the outcome of a flight.
#[derive(Debug)]
#[must_use = "a future does nothing unless awaited"]
pub(crate) struct Landing {
    flight: Arc<Flight>,
    /// Where the flight keeps this one's waker.
    place: Option<u32>,
}

impl Landing {
    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }
}

impl Future for Landing {
    type Output = Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Self { flight, place } = &mut *self;
        if let Some(outcome) = flight.outcome.get() {
            return Poll::Ready(outcome.clone());
        }
        let replaced = {
            let mut waiting = lock(&flight.waiting);
            // Looked at again under the lock that whoever sets it takes next, so that no end is
            // missed.
            if let Some(outcome) = flight.outcome.get() {
                return Poll::Ready(outcome.clone());
            }
            waiting.keep(place, context.waker())
        };
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && !self.flight.is_done()
        {
            let forgotten = lock(&self.flight.waiting).forget(place);
            drop(forgotten);
        }
    }
}

/// A load whose panic is its outcome.
pub(crate) struct Caught<T>(pub(crate) BoxFuture<'static, CacheResult<T>>);

impl<T> Future for Caught<T> {
    type Output = CacheResult<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // It is not looked at again after a panic.
        let poll = AssertUnwindSafe(|| self.0.as_mut().poll(context));
        catch_unwind(poll)
            .unwrap_or_else(|panic| Poll::Ready(Err(CacheError::Panicked(panic_message(&*panic)))))
    }
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> Arc<str> {
    panic
        .downcast_ref::<&str>()
        .map(|text| Arc::from(*text))
        .or_else(|| panic.downcast_ref::<String>().map(|text| Arc::from(text.as_str())))
        .unwrap_or_else(|| Arc::from("(no message)"))
}

/// A change that is carried through: when its caller goes away in the middle, or panics, a task goes
/// on with it, so that the slot stays guarded until the store's call has settled (S5).
pub(crate) struct Guarded<T: Send + 'static> {
    change: Option<BoxFuture<'static, T>>,
    runtime: Option<Handle>,
}

impl<T: Send + 'static> Guarded<T> {
    pub(crate) fn new(change: BoxFuture<'static, T>) -> Self {
        Self { change: Some(change), runtime: None }
    }
}

impl<T: Send + 'static> Future for Guarded<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Out of reach while it is polled: one that panics cannot go on.
        let Some(mut change) = self.change.take() else { return Poll::Pending };
        let poll = change.as_mut().poll(context);
        if poll.is_pending() {
            self.change = Some(change);
            if self.runtime.is_none() {
                self.runtime = Handle::try_current().ok();
            }
        }
        poll
    }
}

impl<T: Send + 'static> Drop for Guarded<T> {
    fn drop(&mut self) {
        // Without a runtime, none was begun that could go on.
        if let (Some(change), Some(runtime)) = (self.change.take(), self.runtime.take()) {
            runtime.spawn(change);
        }
    }
}

/// The keys that the current task is loading, innermost first.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) space: u64,
    pub(crate) scope: Namespace,
    pub(crate) key: Arc<str>,
    pub(crate) outer: Option<Arc<Chain>>,
}

tokio::task_local! {
    /// Set in the task of a load.
    pub(crate) static LOADING: Arc<Chain>;
}

impl Chain {
    pub(crate) fn current() -> Option<Arc<Self>> {
        LOADING.try_with(Arc::clone).ok()
    }

    /// Tells whether the current task loads this very key.
    pub(crate) fn holds(space: u64, scope: &Namespace, key: &str) -> bool {
        LOADING
            .try_with(|chain| {
                std::iter::successors(Some(&**chain), |link| link.outer.as_deref())
                    .any(|link| link.space == space && link.scope == *scope && *link.key == *key)
            })
            .unwrap_or(false)
    }
}
