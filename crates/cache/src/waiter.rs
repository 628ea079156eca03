use std::sync::Arc;
use std::time::Duration;

use larder_core::Bytes;
use tokio::time::timeout;

use crate::CacheError;
use crate::flight::{Flight, Outcome};
use crate::slot::Slot;

/// One caller who waits for a flight; going away is counted.
#[derive(Debug)]
pub(crate) struct Waiter {
    flight: Arc<Flight>,
    /// Where waiters are counted.
    counted: Option<Arc<Slot>>,
}

impl Waiter {
    pub(crate) fn new(flight: Arc<Flight>, slot: &Arc<Slot>) -> Self {
        let counted = flight.counts_waiters().then(|| Arc::clone(slot));
        if counted.is_some() {
            flight.enter();
        }
        Self { flight, counted }
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Waits for the end of the flight, or of the one that took its waiters over.
    pub(crate) async fn wait(&self, at_most: Option<Duration>) -> Result<Bytes, CacheError> {
        match at_most {
            None => self.end().await,
            Some(at_most) => {
                timeout(at_most, self.end()).await.unwrap_or(Err(CacheError::TimedOut))
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
    }
}
