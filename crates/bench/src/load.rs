use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::Size;

/// The time to live of every entry.
pub const TTL: Duration = Duration::from_secs(3600);

/// The bytes of a large value; others have 100.
pub const LARGE: usize = 10_000;

/// A key of 20 bytes.
#[must_use]
pub fn key(index: usize) -> String {
    format!("key:{index:016}")
}

/// A value of so many bytes.
#[must_use]
pub fn value(len: usize) -> Bytes {
    Bytes::from(vec![b'v'; len])
}

/// Numbers below a limit, small ones in random places being more frequent: Zipf's law.
#[derive(Debug)]
pub struct Zipf {
    random: Random,
    sums: Arc<Vec<f64>>,
    places: Arc<Vec<u32>>,
}

impl Zipf {
    /// Draws from `0..count` with the given exponent.
    #[must_use]
    pub fn new(count: usize, exponent: f64, seed: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        let sums = Arc::new(sums.collect());
        let mut places: Vec<u32> = (0..count as u32).collect();
        let mut random = Random(99);
        for index in (1..count).rev() {
            places.swap(index, (random.next() % (index as u64 + 1)) as usize);
        }
        Self { random: Random(seed * 2 + 1), sums, places: Arc::new(places) }
    }

    /// The same law, drawn from another seed.
    #[must_use]
    pub fn again(&self, seed: u64) -> Self {
        let random = Random(seed * 2 + 1);
        Self { random, sums: Arc::clone(&self.sums), places: Arc::clone(&self.places) }
    }

    /// The next number.
    pub fn draw(&mut self) -> usize {
        let all = self.sums.last().copied().unwrap_or_default();
        let point = (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64 * all;
        let rank = self.sums.partition_point(|sum| *sum < point).min(self.places.len() - 1);
        self.places[rank] as usize
    }
}

#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Which keys are asked for, and in which order.
#[derive(Debug, Clone)]
pub struct Load {
    /// The keys.
    pub keys: Arc<Vec<String>>,
    asked: Arc<[Arc<str>]>,
}

/// The bytes of a key.
const KEY: usize = 20;

impl Load {
    /// So many keys, drawn by Zipf's law with the exponent 0.99.
    #[must_use]
    pub fn new(keys: usize, size: Size) -> Self {
        let law = Zipf::new(keys, 0.99, 1);
        let keys: Vec<String> = (0..keys).map(key).collect();
        let asked = (0..8).map(|seed| {
            let mut law = law.again(seed + 7);
            let drawn = (0..size.of(100_000).max(64)).map(|_| keys[law.draw()].as_str());
            drawn.collect::<String>().into()
        });
        Self { asked: asked.collect(), keys: Arc::new(keys) }
    }

    /// What one of several tasks asks for.
    #[must_use]
    pub fn share(&self, task: usize, count: usize) -> Share {
        let asked = Arc::clone(&self.asked[task % self.asked.len()]);
        Share { at: task * 977 * KEY % asked.len(), left: count, asked }
    }
}

/// The part of one task. It has its keys side by side in the order in which it asks for them: a caller
/// has just made its key, and does not wait for memory to bring it.
#[derive(Debug)]
pub struct Share {
    asked: Arc<str>,
    at: usize,
    left: usize,
}

impl Share {
    /// The next key.
    pub fn ask(&mut self) -> Option<&str> {
        self.left = self.left.checked_sub(1)?;
        let key = &self.asked[self.at..self.at + KEY];
        self.at = if self.at + KEY == self.asked.len() { 0 } else { self.at + KEY };
        Some(key)
    }
}

/// Has so many tasks do a step for each of their keys, and gives the steps per second.
///
/// Each task has a clone of what it works on, and lets others run every 64 steps.
#[macro_export]
macro_rules! drive {
    ($load:expr, $tasks:expr, $steps:expr, $state:ident = $shared:expr, |$key:ident, $step:ident| $body:expr) => {{
        let (tasks, each): (usize, usize) = ($tasks, ($steps / $tasks).max(1));
        let work = (0..tasks).map(|task| {
            let ($state, load) = ($shared.clone(), $load.clone());
            async move {
                let mut share = load.share(task, each);
                let mut $step = 0;
                while let Some($key) = share.ask() {
                    $body;
                    if $step % 64 == 63 {
                        tokio::task::yield_now().await;
                    }
                    $step += 1;
                }
            }
        });
        let work: Vec<_> = work.collect();
        let started = std::time::Instant::now();
        let work: Vec<_> = work.into_iter().map(tokio::spawn).collect();
        for task in work {
            task.await.expect("a task that does not panic");
        }
        (tasks * each) as f64 / started.elapsed().as_secs_f64()
    }};
}
