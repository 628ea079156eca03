use std::time::Duration;

use crate::chance;

/// The shortest time between two looks at a key by one process.
const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_millis(250);

/// How long to wait before looking again: longer each time, and never as long as others (`F6`).
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    pub(crate) fn delay(&mut self) -> Duration {
        let least = self.0;
        self.0 = (least * 3 / 2).min(LAST);
        least + (least / 2).mul_f64(chance::fraction())
    }

    /// Waits, at most for `at_most`.
    pub(crate) async fn wait(&mut self, at_most: Option<Duration>) {
        let delay = self.delay();
        // What is over sooner is looked at then, though never at once.
        let delay = at_most.map_or(delay, |at_most| delay.min(at_most.max(FIRST)));
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_stays_within_its_limits() {
        let mut backoff = Backoff::new();
        let mut least = FIRST;
        for _ in 0..20 {
            let delay = backoff.delay();
            assert!(delay >= least && delay < least * 3 / 2, "{delay:?}");
            least = (least * 3 / 2).min(LAST);
        }
        assert_eq!(least, LAST);
    }
}
