use std::fmt::Debug;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::Deadline;

/// Where a store takes its time from (`E7`).
pub trait Clock: Debug + Send + Sync {
    /// The exact time, in UTC.
    fn now(&self) -> DateTime<Utc>;

    /// A cheaper reading that may lag, good for "surely live" and nothing else; `None` where the
    /// clock has none.
    fn coarse(&self) -> Option<CoarseTime> {
        None
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> DateTime<Utc> {
        (**self).now()
    }

    fn coarse(&self) -> Option<CoarseTime> {
        (**self).coarse()
    }
}

/// A reading of a clock that may lie behind the exact time by at most a stated lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoarseTime {
    latest_micros: i64,
}

impl CoarseTime {
    /// A reading in microseconds since the Unix epoch, and the most by which it lags.
    #[must_use]
    pub const fn new(micros: i64, lag_micros: i64) -> Self {
        Self { latest_micros: micros.saturating_add(lag_micros) }
    }

    /// Tells whether the exact time is surely before `deadline`; false means "read the exact clock".
    #[must_use]
    pub const fn is_surely_before(self, deadline: Deadline) -> bool {
        self.latest_micros < deadline.as_micros()
    }
}

/// The operating system's clock.
///
/// With the feature `coarse-clock` it has the kernel's coarse reading where there is one: on Linux,
/// which refreshes it at every timer tick.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// In microseconds. A tick comes every 10 ms at the slowest, which leaves room for ticks that come
/// late.
#[cfg(all(feature = "coarse-clock", target_os = "linux"))]
const LAG: i64 = 100_000;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where the ambient clock is read")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    #[cfg(all(feature = "coarse-clock", target_os = "linux"))]
    fn coarse(&self) -> Option<CoarseTime> {
        use rustix::time::{ClockId, clock_gettime};
        let now = clock_gettime(ClockId::RealtimeCoarse);
        #[allow(clippy::useless_conversion, reason = "it is an i32 on some 32-bit systems")]
        let nanos = i64::from(now.tv_nsec);
        Some(CoarseTime::new(now.tv_sec.saturating_mul(1_000_000) + nanos / 1_000, LAG))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_reading_never_outlives_a_deadline() {
        for _ in 0..1_000 {
            let deadline = Deadline::at(SystemClock.now());
            let coarse = SystemClock.coarse();
            assert!(coarse.is_none_or(|coarse| !coarse.is_surely_before(deadline)));
        }
    }

    #[test]
    fn a_coarse_reading_is_sure_only_before_the_latest_time_that_it_allows() {
        let coarse = CoarseTime::new(990, 10);
        for (micros, sure) in [(989, false), (1_000, false), (1_001, true), (i64::MAX, true)] {
            let deadline = Deadline::from_micros(micros);
            assert_eq!(coarse.is_surely_before(deadline), sure, "{micros}");
        }
        assert!(!CoarseTime::new(i64::MAX, 10).is_surely_before(Deadline::MAX));
    }

    #[derive(Debug)]
    struct Coarse;

    impl Clock for Coarse {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }

        fn coarse(&self) -> Option<CoarseTime> {
            Some(CoarseTime::new(-5, 5))
        }
    }

    #[test]
    fn a_shared_clock_reads_as_the_clock_itself() {
        let shared: Arc<dyn Clock> = Arc::new(Coarse);
        let clock = &shared;
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH);
        assert_eq!(Clock::coarse(clock), Coarse.coarse());
    }

    #[test]
    #[cfg(all(feature = "coarse-clock", target_os = "linux"))]
    fn the_system_has_a_coarse_reading_that_tells_of_a_deadline_a_second_ahead() {
        use std::time::Duration;
        let deadline = Deadline::after(SystemClock.now(), Duration::from_secs(1));
        assert!(SystemClock.coarse().unwrap().is_surely_before(deadline));
    }

    #[test]
    #[cfg(feature = "test-util")]
    fn a_manual_clock_moves_as_told_and_so_do_its_clones() {
        use std::time::Duration;
        let clock = ManualClock::new();
        let (clone, start) = (clock.clone(), clock.now());
        assert_eq!(clone.now(), start);
        clock.advance(Duration::from_nanos(1_500));
        assert_eq!((clone.now() - start).num_nanoseconds(), Some(1_500));
        clone.set(DateTime::UNIX_EPOCH);
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), DateTime::<Utc>::MAX_UTC);
    }
}

#[cfg(feature = "test-util")]
pub use test_util::{ManualClock, TokioClock};

#[cfg(feature = "test-util")]
mod test_util {
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use chrono::{DateTime, TimeDelta, Utc};

    use super::Clock;

    /// A clock that stands still until it is moved; clones share it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use larder_core::{Clock, ManualClock};
    /// let clock = ManualClock::new();
    /// let before = clock.now();
    /// clock.advance(Duration::from_millis(5));
    /// assert_eq!((clock.now() - before).num_milliseconds(), 5);
    /// ```
    #[derive(Debug, Clone)]
    pub struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

    impl ManualClock {
        /// A clock that shows 2024-01-01T00:00:00Z.
        #[must_use]
        pub fn new() -> Self {
            Self::at(DateTime::from_timestamp(1_704_067_200, 0).unwrap_or_default())
        }

        /// A clock that shows `now`.
        #[must_use]
        pub fn at(now: DateTime<Utc>) -> Self {
            Self(Arc::new(Mutex::new(now)))
        }

        /// Moves the clock forward, saturating at the last moment chrono knows.
        pub fn advance(&self, by: Duration) {
            let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *now = TimeDelta::from_std(by)
                .ok()
                .and_then(|by| now.checked_add_signed(by))
                .unwrap_or(DateTime::<Utc>::MAX_UTC);
        }

        /// Sets the clock, forward or back.
        pub fn set(&self, now: DateTime<Utc>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }

    impl Default for ManualClock {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> DateTime<Utc> {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// A clock that follows tokio's time, paused and advanced with it.
    #[derive(Debug, Clone)]
    pub struct TokioClock {
        started: tokio::time::Instant,
        started_at: DateTime<Utc>,
    }

    impl TokioClock {
        /// A clock that shows 2024-01-01T00:00:00Z now and moves as tokio's time does.
        #[must_use]
        #[allow(clippy::disallowed_methods, reason = "tokio's clock, which tests pause")]
        pub fn new() -> Self {
            Self {
                started: tokio::time::Instant::now(),
                started_at: DateTime::from_timestamp(1_704_067_200, 0).unwrap_or_default(),
            }
        }
    }

    impl Default for TokioClock {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Clock for TokioClock {
        fn now(&self) -> DateTime<Utc> {
            TimeDelta::from_std(self.started.elapsed())
                .ok()
                .and_then(|passed| self.started_at.checked_add_signed(passed))
                .unwrap_or(DateTime::<Utc>::MAX_UTC)
        }
    }
}
