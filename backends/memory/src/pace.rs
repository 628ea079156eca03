/// How many entries are gone through under one lock: at 100 ns each, a few tens of microseconds.
pub(crate) const SLICE: usize = 256;
/// How many are gone through before other tasks get their turn: a few hundred microseconds.
const TURN: usize = 4 * SLICE;

/// Lets other tasks of the executor run, and timers fire, while a call does much (`S6`).
#[derive(Debug, Default)]
pub(crate) struct Pace(usize);

impl Pace {
    /// Counts entries that were gone through, or what costs as much. No lock may be held.
    pub(crate) async fn did(&mut self, work: usize) {
        self.0 += work;
        if self.0 >= TURN {
            self.end_turn().await;
        }
    }

    /// Lets the others have their turn.
    pub(crate) async fn end_turn(&mut self) {
        self.0 = 0;
        // Outside of tokio it wakes itself at once, which every executor understands.
        tokio::task::yield_now().await;
    }
}
