use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use larder_core::Bytes;
use tokio::time::timeout;

use crate::flight::{Flight, Landing, Outcome};
use crate::slot::Slot;
use crate::{CacheError, CacheResult};

/// One caller who waits for the end of a flight, or of the one that took its waiters over; going
/// away is counted.
#[derive(Debug)]
#[must_use = "a future does nothing unless awaited"]
pub(crate) struct Waiter {
    landing: Landing,
    /// Where waiters are counted.
    counted: Option<Arc<Slot>>,
}

impl Waiter {
    pub(crate) fn new(flight: &Arc<Flight>, slot: &Arc<Slot>) -> Self {
        let counted = flight.counts_waiters().then(|| Arc::clone(slot));
        if counted.is_some() {
            flight.enter();
        }
        Self { landing: flight.outcome(), counted }
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        self.landing.flight()
    }

    /// Waits so long at most.
    pub(crate) async fn wait(self, at_most: Option<Duration>) -> CacheResult<Bytes> {
        match at_most {
            None => self.await,
            Some(at_most) => timeout(at_most, self).await.unwrap_or(Err(CacheError::TimedOut)),
        }
    }
}

impl Future for Waiter {
    type Output = CacheResult<Bytes>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match ready!(Pin::new(&mut self.landing).poll(context)) {
                Outcome::Value(envelope) => return Poll::Ready(Ok(envelope)),
                Outcome::Failed(error) => return Poll::Ready(Err(error)),
                // Neither of the two counts its waiters.
                Outcome::Moved(next) => self.landing = next.outcome(),
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(slot) = &self.counted
            && self.flight().leave()
        {
            slot.left_alone(self.flight());
        }
    }
}
