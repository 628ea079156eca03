use chrono::{DateTime, Utc};
use larder_core::{Clock, CoarseTime, SystemClock};

/// The operating system's clock, with the kernel's coarse reading where there is one.
///
/// Linux refreshes it at every timer tick, which is every 10 ms at the slowest; the stated lag leaves
/// room for ticks that come late.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TickClock;

/// In microseconds.
#[cfg(target_os = "linux")]
const LAG: i64 = 100_000;

impl Clock for TickClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    #[cfg(target_os = "linux")]
    fn coarse(&self) -> Option<CoarseTime> {
        use rustix::time::{ClockId, clock_gettime};
        let now = clock_gettime(ClockId::RealtimeCoarse);
        #[allow(clippy::useless_conversion, reason = "it is an i32 on some 32-bit systems")]
        let nanos = i64::from(now.tv_nsec);
        Some(CoarseTime::new(now.tv_sec.saturating_mul(1_000_000) + nanos / 1_000, LAG))
    }

    #[cfg(not(target_os = "linux"))]
    fn coarse(&self) -> Option<CoarseTime> {
        None
    }
}

#[cfg(test)]
mod tests {
    use larder_core::Deadline;

    use super::*;

    #[test]
    fn the_coarse_reading_never_outlives_a_deadline() {
        for _ in 0..1_000 {
            let deadline = Deadline::at(TickClock.now());
            let coarse = TickClock.coarse();
            assert!(coarse.is_none_or(|coarse| !coarse.is_surely_before(deadline)));
        }
    }
}
