use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Clock;

/// When a value stops being live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Expiry {
    /// It does not.
    #[default]
    Never,
    /// This long after the call reads the clock; zero means at once (`E2`).
    After(Duration),
    /// At this moment; one in the past means at once (`E2`).
    At(DateTime<Utc>),
    /// When the value that is replaced would have; `Never` where there is none (`E5`).
    Keep,
}

impl From<Duration> for Expiry {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}

impl From<TimeDelta> for Expiry {
    /// A negative span is one that has passed: the key is gone at once.
    fn from(span: TimeDelta) -> Self {
        Self::After(span.to_std().unwrap_or(Duration::ZERO))
    }
}

impl From<DateTime<Utc>> for Expiry {
    fn from(moment: DateTime<Utc>) -> Self {
        Self::At(moment)
    }
}

impl Expiry {
    /// Turns the expiry into what a backend has to store, the clock having been read once (`E1`).
    ///
    /// ```
    /// use std::time::Duration;
    /// use larder_core::{Deadline, Expiry, Resolved, chrono::{DateTime, TimeDelta}};
    /// let now = DateTime::UNIX_EPOCH;
    /// assert_eq!(Expiry::After(Duration::ZERO).resolve(now), Resolved::Gone);
    /// assert_eq!(
    ///     Expiry::After(Duration::from_nanos(1_500)).resolve(now),
    ///     Resolved::At(Deadline::from_micros(2)), // rounded up: never an early death
    /// );
    /// ```
    #[must_use]
    pub fn resolve(self, now: DateTime<Utc>) -> Resolved {
        match self {
            Self::Never => Resolved::Never,
            Self::Keep => Resolved::Keep,
            Self::After(duration) if duration.is_zero() => Resolved::Gone,
            Self::After(duration) => Resolved::At(Deadline::after(now, duration)),
            Self::At(moment) if moment <= now => Resolved::Gone,
            Self::At(moment) => Resolved::At(Deadline::at(moment)),
        }
    }
}

/// What an [`Expiry`] means at one reading of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a backend must handle every case")]
pub enum Resolved {
    /// Store without a deadline.
    Never,
    /// Store with this deadline.
    At(Deadline),
    /// Store with the deadline of the live value that is replaced, if there is one.
    Keep,
    /// Remove the key.
    Gone,
}

/// A moment in whole microseconds since the Unix epoch: the resolution of every record.
///
/// A key with this deadline is live while `now < deadline` (`E1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(i64);

impl Deadline {
    /// 9999-12-31T23:59:59.999Z, at which every deadline saturates (`E3`).
    pub const MAX: Self = Self(253_402_300_799_999_000);

    /// A deadline at so many microseconds since the Unix epoch, saturating.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        if micros > Self::MAX.0 { Self::MAX } else { Self(micros) }
    }

    /// The deadline at `moment`, rounded up to a microsecond, saturating.
    #[must_use]
    pub fn at(moment: DateTime<Utc>) -> Self {
        Self::after(moment, Duration::ZERO)
    }

    /// The deadline `duration` after `now`, rounded up to a microsecond, saturating.
    #[must_use]
    pub fn after(now: DateTime<Utc>, duration: Duration) -> Self {
        // Whole seconds and nanoseconds apart: all of it fits 64 bits, or lies beyond the last moment.
        let nanos = now.timestamp_subsec_nanos().saturating_add(duration.subsec_nanos());
        let micros = i64::try_from(duration.as_secs())
            .ok()
            .and_then(|seconds| now.timestamp().checked_add(seconds))
            .and_then(|seconds| seconds.checked_mul(1_000_000))
            .and_then(|micros| micros.checked_add(i64::from(nanos.div_ceil(1_000))));
        micros.map_or(Self::MAX, Self::from_micros)
    }

    /// The deadline that is so much later, rounded up to a microsecond, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The moment as a date and time.
    #[must_use]
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Tells whether a key with this deadline is gone at `now`.
    #[must_use]
    pub fn is_past(self, now: DateTime<Utc>) -> bool {
        // Rounded down, which tells the same of a deadline in whole microseconds.
        self.0 <= now.timestamp_micros()
    }

    /// Tells whether a key with this deadline is gone by `clock`, whose exact time is read only where
    /// the coarse one cannot tell.
    #[must_use]
    #[inline]
    pub fn has_passed(self, clock: &(impl Clock + ?Sized)) -> bool {
        let surely_before = clock.coarse().is_some_and(|coarse| coarse.is_surely_before(self));
        !surely_before && self.is_past(clock.now())
    }

    /// How long a key with this deadline still lives at `now`: `None` when it is gone, else never
    /// zero.
    #[must_use]
    pub fn remaining(self, now: DateTime<Utc>) -> Option<Duration> {
        let left = u64::try_from(self.0.saturating_sub(now.timestamp_micros())).ok()?;
        let begun = Duration::from_nanos(u64::from(now.timestamp_subsec_nanos() % 1_000));
        // Of a deadline that has passed, nothing is left to take the begun microsecond from.
        Duration::from_micros(left).checked_sub(begun).filter(|left| !left.is_zero())
    }
}

/// How long a key still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the three answers there are")]
pub enum ExpiresIn {
    /// There is no live value.
    Missing,
    /// It has no expiry.
    Never,
    /// This long; never zero.
    In(Duration),
}

impl ExpiresIn {
    /// What remains of a live value until `deadline`; `Missing` once that has passed.
    #[must_use]
    pub fn until(deadline: Option<Deadline>, now: DateTime<Utc>) -> Self {
        match deadline {
            None => Self::Never,
            Some(deadline) => deadline.remaining(now).map_or(Self::Missing, Self::In),
        }
    }

    /// The remaining seconds, rounded up, so that a live key never shows zero; `None` for `Missing`
    /// and `Never`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use larder_core::ExpiresIn;
    /// assert_eq!(ExpiresIn::In(Duration::from_millis(1)).as_secs(), Some(1));
    /// assert_eq!(ExpiresIn::Never.as_secs(), None);
    /// ```
    #[must_use]
    pub fn as_secs(self) -> Option<u64> {
        match self {
            Self::In(left) => {
                Some(left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0)))
            }
            Self::Missing | Self::Never => None,
        }
    }

    /// The remaining time; `None` for `Missing` and `Never`.
    #[must_use]
    pub const fn as_duration(self) -> Option<Duration> {
        match self {
            Self::In(left) => Some(left),
            Self::Missing | Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(micros).unwrap()
    }

    #[test]
    fn durations_saturate_at_the_last_millisecond_of_9999() {
        assert_eq!(Deadline::after(at(0), Duration::MAX), Deadline::MAX);
        assert_eq!(Deadline::at(DateTime::<Utc>::MAX_UTC), Deadline::MAX);
        assert_eq!(Deadline::MAX.to_datetime().to_rfc3339(), "9999-12-31T23:59:59.999+00:00");
    }

    #[test]
    fn a_later_deadline_rounds_up_and_saturates() {
        let deadline = Deadline::from_micros(-3);
        assert_eq!(deadline.plus(Duration::from_nanos(4_001)), Deadline::from_micros(2));
        assert_eq!(deadline.plus(Duration::ZERO), deadline);
        assert_eq!(deadline.plus(Duration::MAX), Deadline::MAX);
        assert_eq!(Deadline::MAX.plus(Duration::from_nanos(1)), Deadline::MAX);
    }

    #[test]
    fn a_key_is_live_right_up_to_its_deadline() {
        let deadline = Deadline::after(at(0), Duration::from_micros(10));
        let just_before = at(9) + TimeDelta::nanoseconds(999);
        assert!(!deadline.is_past(just_before));
        assert_eq!(deadline.remaining(just_before), Some(Duration::from_nanos(1)));
        let begun = at(9) + TimeDelta::nanoseconds(1);
        assert_eq!(deadline.remaining(begun), Some(Duration::from_nanos(999)));
        assert_eq!(deadline.remaining(at(-5)), Some(Duration::from_micros(15)));
        assert!(deadline.is_past(at(10)));
        for late in [at(10), at(10) + TimeDelta::nanoseconds(1), at(11), DateTime::<Utc>::MAX_UTC] {
            assert_eq!(deadline.remaining(late), None);
        }
    }

    /// Shows 1,000 µs, and 990 at the coarse reading, which may lag by 50.
    #[derive(Debug)]
    struct Lagging;

    impl Clock for Lagging {
        fn now(&self) -> DateTime<Utc> {
            at(1_000)
        }

        fn coarse(&self) -> Option<crate::CoarseTime> {
            Some(crate::CoarseTime::new(990, 50))
        }
    }

    #[test]
    fn near_a_deadline_the_exact_clock_tells() {
        for (micros, passed) in [(-5, true), (1_000, true), (1_001, false), (1_041, false)] {
            assert_eq!(Deadline::from_micros(micros).has_passed(&Lagging), passed, "{micros}");
        }
    }

    #[test]
    fn moments_before_the_epoch_round_up_too() {
        let moment = at(-5) + TimeDelta::nanoseconds(1);
        assert_eq!(Deadline::at(moment).as_micros(), -4);
        assert_eq!(Expiry::At(at(-1)).resolve(at(0)), Resolved::Gone);
    }

    #[test]
    fn a_negative_span_is_gone_at_once() {
        assert_eq!(Expiry::from(TimeDelta::seconds(-3)).resolve(at(0)), Resolved::Gone);
    }

    #[test]
    fn a_moment_is_a_deadline_until_it_has_come() {
        let expiry = Expiry::from(at(10));
        assert_eq!(expiry, Expiry::At(at(10)));
        assert_eq!(expiry.resolve(at(9)), Resolved::At(Deadline::from_micros(10)));
        for late in [at(10), at(11)] {
            assert_eq!(expiry.resolve(late), Resolved::Gone);
        }
    }

    #[test]
    fn remaining_seconds_round_up_and_whole_ones_stay() {
        let secs = |millis| ExpiresIn::In(Duration::from_millis(millis)).as_secs();
        assert_eq!([secs(1), secs(2_000), secs(2_001)], [Some(1), Some(2), Some(3)]);
        assert_eq!(ExpiresIn::In(Duration::MAX).as_secs(), Some(u64::MAX));
        assert_eq!((ExpiresIn::Missing.as_secs(), ExpiresIn::Never.as_secs()), (None, None));
    }

    #[test]
    fn only_a_key_that_expires_has_a_remaining_duration() {
        let left = Duration::from_nanos(3);
        assert_eq!(ExpiresIn::In(left).as_duration(), Some(left));
        assert_eq!(ExpiresIn::Missing.as_duration(), None);
        assert_eq!(ExpiresIn::Never.as_duration(), None);
    }
}
