//! Those who wait for a flight, and the end of one that takes too long (F4).

use std::sync::Arc;
use std::time::Duration;

use larder_core::Bytes;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::CacheError;
use crate::flight::{Flight, Outcome};
use crate::slot::{Slot, SlotRef};
use crate::space::Inner;

/// One caller who waits for a flight; going away is counted.
#[derive(Debug)]
pub(crate) struct Waiter {
    flight: Arc<Flight>,
    /// Where waiters are counted.
    counted: Option<Arc<Slot>>,
    /// Whoever started the flight ends it, should it take too long.
    watch: Option<Watch>,
}

impl Waiter {
    pub(crate) fn new(flight: Arc<Flight>, slot: &Arc<Slot>) -> Self {
        let counted = flight.counts_waiters().then(|| Arc::clone(slot));
        if counted.is_some() {
            flight.enter();
        }
        Self { flight, counted, watch: None }
    }

    /// Sets the time of the flight.
    pub(crate) fn watch(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Waits for the end of the flight, or of the one that took its waiters over.
    pub(crate) async fn wait(&self, at_most: Option<Duration>) -> Result<Bytes, CacheError> {
        let own = at_most.and_then(after);
        let mut watch = self.watch.as_ref();
        let mut end = std::pin::pin!(self.end());
        loop {
            let time = [own, watch.map(|watch| watch.ends_at)].into_iter().flatten().min();
            let Some(time) = time else { return end.await };
            if let Ok(ended) = timeout_at(time, &mut end).await {
                return ended;
            }
            if own == Some(time) {
                return Err(CacheError::TimedOut);
            }
            if let Some(watch) = watch.take() {
                watch.end(&self.flight);
            }
        }
    }

    async fn end(&self) -> Result<Bytes, CacheError> {
        let mut moved;
        let mut flight = &self.flight;
        loop {
            match flight.outcome().await {
                Outcome::Value(envelope) => return Ok(envelope),
                Outcome::Failed(error) => return Err(error),
                Outcome::Moved(next) => moved = next,
            }
            flight = &moved;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(slot) = &self.counted
            && self.flight.leave()
        {
            slot.left_alone(&self.flight);
        }
        if let Some(watch) = self.watch.take()
            && !self.flight.is_done()
        {
            watch.go_on(&self.flight);
        }
    }
}

/// The time that a load may take.
///
/// Kept by one who waits and not by the load's own task, so that a loader which blocks its thread is
/// given up as well.
#[derive(Debug)]
pub(crate) struct Watch {
    inner: Arc<Inner>,
    slot: Arc<Slot>,
    ends_at: Instant,
}

impl Watch {
    /// The time of a load that begins now; `None` where it has no end.
    pub(crate) fn begin(inner: &Arc<Inner>, slot: &SlotRef) -> Option<Self> {
        let ends_at = after(inner.config.max_load_time)?;
        Some(Self { inner: Arc::clone(inner), slot: Arc::clone(slot.shared()), ends_at })
    }

    /// Ends the flight, unless its loader has ended by itself.
    fn end(&self, flight: &Arc<Flight>) {
        if flight.is_loaded() || flight.is_done() {
            return;
        }
        // In this order, so that what the loader may still give is not stored.
        flight.overtake();
        self.inner.counters.load_failures.add();
        crate::event!(debug, "load took too long");
        self.slot.finish(flight, Outcome::Failed(CacheError::TimedOut));
        flight.abort();
    }

    /// Goes on in a task, as whoever kept the watch has left.
    fn go_on(self, flight: &Arc<Flight>) {
        // Without a runtime, the load has no task either.
        let Ok(runtime) = Handle::try_current() else { return };
        let flight = Arc::clone(flight);
        runtime.spawn(async move {
            if timeout_at(self.ends_at, flight.ended()).await.is_err() {
                self.end(&flight);
            }
        });
    }
}

/// The moment that lies so far ahead; `None` where no clock reaches it.
#[allow(clippy::disallowed_methods, reason = "how long a caller waits is no expiry")]
fn after(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}
