use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{Error, Expiry, Result};

use crate::scripts::{FAR_MILLIS, MAX_MILLIS};

/// An expiry in the server's words: whole milliseconds, rounded up (`E1`), saturated (`E3`).
///
/// No clock of ours is read: whether a moment has passed is the server's to say (`E7`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Never,
    /// So many milliseconds from the server's now.
    For(i64),
    /// As `For`, but so long that it may have to be cut at the end of time, by the server's clock.
    Far(i64),
    /// Until this many milliseconds after the epoch, which may lie in the past.
    Until(i64),
    Keep,
    /// Gone at once, by any clock.
    Gone,
}

impl Life {
    pub(crate) fn of(expiry: Expiry) -> Result<Self> {
        Ok(match expiry {
            Expiry::Never => Self::Never,
            Expiry::Keep => Self::Keep,
            Expiry::After(duration) => match millis(duration) {
                0 => Self::Gone,
                far @ FAR_MILLIS.. => Self::Far(far),
                near => Self::For(near),
            },
            Expiry::At(moment) => match moment_millis(moment) {
                // The server takes no moment before the epoch, which is past on any clock.
                ..=0 => Self::Gone,
                moment => Self::Until(moment),
            },
            _ => return Err(Error::unsupported("renew")),
        })
    }
}

/// Whole milliseconds, rounded up, at most to the end of time.
pub(crate) fn millis(duration: Duration) -> i64 {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    i64::try_from(millis).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS))
}

fn moment_millis(moment: DateTime<Utc>) -> i64 {
    let rest = i64::from(!moment.timestamp_subsec_nanos().is_multiple_of(1_000_000));
    (moment.timestamp_millis() + rest).min(MAX_MILLIS)
}

#[cfg(test)]
mod tests {
    use larder_core::chrono::TimeDelta;

    use super::*;

    #[test]
    fn lives_are_rounded_up_and_saturate() {
        let after = |nanos| Life::of(Expiry::After(Duration::from_nanos(nanos))).unwrap();
        assert_eq!(after(0), Life::Gone);
        assert_eq!(after(1), Life::For(1));
        assert_eq!(after(1_000_000), Life::For(1));
        assert_eq!(after(1_000_001), Life::For(2));
        assert_eq!(Life::of(Duration::MAX.into()).unwrap(), Life::Far(MAX_MILLIS));
        let epoch = DateTime::UNIX_EPOCH;
        let at = |nanos| Life::of(Expiry::At(epoch + TimeDelta::nanoseconds(nanos))).unwrap();
        assert_eq!(at(-1_500_000), Life::Gone);
        assert_eq!(at(0), Life::Gone);
        assert_eq!(at(1), Life::Until(1));
        assert_eq!(at(2_000_001), Life::Until(3));
        assert_eq!(Life::of(DateTime::<Utc>::MAX_UTC.into()).unwrap(), Life::Until(MAX_MILLIS));
        assert_eq!(Life::of(DateTime::<Utc>::MIN_UTC.into()).unwrap(), Life::Gone);
    }
}
