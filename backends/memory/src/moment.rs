use std::cell::Cell;

use chrono::{DateTime, Utc};
use larder_core::{Clock, Deadline};

use crate::entry::NEVER;

/// The time of one call: the exact clock is read at most once, and only when the coarse one cannot
/// tell (`E1`, `E7`).
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    clock: &'a dyn Clock,
    exact: Cell<Option<DateTime<Utc>>>,
}

impl<'a> Moment<'a> {
    #[inline]
    pub(crate) fn of(clock: &'a dyn Clock) -> Self {
        Self { clock, exact: Cell::new(None) }
    }

    /// The exact time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.exact.get().unwrap_or_else(|| {
            let now = self.clock.now();
            self.exact.set(Some(now));
            now
        })
    }

    /// The exact time in whole microseconds, rounded down: as deadlines are whole microseconds,
    /// comparing with it is exact.
    pub(crate) fn micros(&self) -> i64 {
        self.now().timestamp_micros()
    }

    /// Tells whether an entry with this deadline is gone.
    #[inline]
    pub(crate) fn is_past(&self, deadline: i64) -> bool {
        if deadline == NEVER {
            return false;
        }
        if self.exact.get().is_none()
            && let Some(coarse) = self.clock.coarse()
            && coarse.is_surely_before(Deadline::from_micros(deadline))
        {
            return false;
        }
        deadline <= self.micros()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use larder_core::CoarseTime;

    use super::*;

    #[derive(Debug, Default)]
    struct Counting(AtomicU32);

    impl Clock for Counting {
        fn now(&self) -> DateTime<Utc> {
            self.0.fetch_add(1, Relaxed);
            DateTime::from_timestamp_nanos(1_000_999)
        }

        fn coarse(&self) -> Option<CoarseTime> {
            Some(CoarseTime::new(990, 50))
        }
    }

    #[test]
    fn the_exact_clock_is_read_once_and_only_near_a_deadline() {
        let clock = Counting::default();
        let moment = Moment::of(&clock);
        assert!(!moment.is_past(NEVER) && !moment.is_past(1_041));
        assert_eq!(clock.0.load(Relaxed), 0);
        assert!(moment.is_past(1_000) && !moment.is_past(1_001) && moment.is_past(-5));
        assert_eq!(clock.0.load(Relaxed), 1);
    }
}
