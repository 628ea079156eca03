use std::env;
use std::time::Duration;

use tokio::time::Instant;

/// The variable that replays the random part of a case: a number, or `random` for a new one.
pub(crate) const SEED: &str = "LARDER_CONFORMANCE_SEED";
/// The variable that says how many random sequences a case tries, whatever time that takes.
pub(crate) const RUNS: &str = "LARDER_CONFORMANCE_RUNS";

/// A small generator of numbers that look random, the same for the same seed (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The seeds that a case tries, one after the other.
///
/// They are the same in every run, so that a failure comes again; [`SEED`] and [`RUNS`] change that.
/// Without them, a few are tried at least, and more as long as `budget` lasts.
pub(crate) struct Seeds {
    first: u64,
    given: u64,
    least: u64,
    most: u64,
    started: Instant,
    budget: Duration,
}

impl Seeds {
    pub(crate) fn new(least: u64, most: u64, budget: Duration) -> Self {
        let mut seeds = Self { first: 1, given: 0, least, most, started: Instant::now(), budget };
        if let Ok(seed) = env::var(SEED) {
            seeds.first = if let Ok(seed) = seed.parse() {
                seed
            } else {
                let address = std::ptr::from_ref(&seeds) as u64;
                Random::new(address ^ u64::from(std::process::id())).next()
            };
            if seed.parse::<u64>().is_ok() {
                (seeds.least, seeds.most) = (1, 1);
            }
        }
        if let Some(runs) = env::var(RUNS).ok().and_then(|runs| runs.parse().ok()) {
            (seeds.least, seeds.most) = (runs, runs);
        }
        seeds
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let in_time = self.started.elapsed() < self.budget;
        if self.given >= self.most || (self.given >= self.least && !in_time) {
            return None;
        }
        self.given += 1;
        Some(self.first.wrapping_add(self.given - 1))
    }
}
