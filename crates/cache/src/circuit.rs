use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use larder_core::{Clock, Deadline, Error, ErrorKind};

/// Leaves a store alone for a while that has failed again and again (`F8`).
#[derive(Debug)]
pub(crate) struct Circuit {
    threshold: u32,
    open_for: Duration,
    failures: AtomicU32,
    /// In microseconds since the Unix epoch; 0 while closed.
    open_until: AtomicI64,
}

impl Circuit {
    pub(crate) fn new(threshold: u32, open_for: Duration) -> Self {
        Self { threshold, open_for, failures: AtomicU32::new(0), open_until: AtomicI64::new(0) }
    }

    /// Refuses a call while open; once the time is over, one caller at a time tries again.
    #[inline]
    pub(crate) fn check(&self, clock: &dyn Clock) -> Result<(), Error> {
        match self.open_until.load(SeqCst) {
            0 => Ok(()),
            until => self.check_open(until, clock),
        }
    }

    #[cold]
    fn check_open(&self, until: i64, clock: &dyn Clock) -> Result<(), Error> {
        let now = clock.now();
        if !Deadline::from_micros(until).is_past(now) {
            return Err(Error::new(ErrorKind::Unavailable, "the store failed again and again"));
        }
        let next = Deadline::after(now, self.open_for).as_micros();
        match self.open_until.compare_exchange(until, next, SeqCst, SeqCst) {
            Ok(_) | Err(0) => Ok(()),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the store is being tried again")),
        }
    }

    #[inline]
    pub(crate) fn succeeded(&self) {
        if self.failures.load(SeqCst) != 0 {
            self.failures.store(0, SeqCst);
            self.open_until.store(0, SeqCst);
        }
    }

    /// Counts a failure; true when it opened the circuit.
    pub(crate) fn failed(&self, clock: &dyn Clock) -> bool {
        let failures = self.failures.fetch_add(1, SeqCst).saturating_add(1);
        if self.threshold == 0 || failures < self.threshold {
            return false;
        }
        let until = Deadline::after(clock.now(), self.open_for).as_micros();
        self.open_until.swap(until, SeqCst) == 0
    }
}

/// Tells whether an error says that the store is in trouble, rather than the call.
pub(crate) fn is_trouble(kind: ErrorKind) -> bool {
    kind.is_retryable()
        || matches!(
            kind,
            ErrorKind::Unknown
                | ErrorKind::Internal
                | ErrorKind::PermissionDenied
                | ErrorKind::StorageFull
        )
}

#[cfg(test)]
mod tests {
    use larder_core::ManualClock;

    use super::*;

    #[test]
    fn it_opens_lets_one_try_and_closes() {
        let clock = ManualClock::new();
        let circuit = Circuit::new(2, Duration::from_secs(5));
        assert!(!circuit.failed(&clock));
        assert!(circuit.check(&clock).is_ok());
        assert!(circuit.failed(&clock));
        assert!(circuit.check(&clock).is_err());
        clock.advance(Duration::from_secs(5));
        assert!(circuit.check(&clock).is_ok());
        assert!(circuit.check(&clock).is_err());
        circuit.succeeded();
        assert!(circuit.check(&clock).is_ok());
        assert!(!circuit.failed(&clock));
    }
}
