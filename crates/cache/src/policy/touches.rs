//! Reads of which an index has not been told yet: to tell it takes its lock, and a read takes none that
//! others want.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::slot::lock;
use crate::striped::Striped;

/// How many reads are put by in each part.
const MOST: usize = 128;

/// See the module.
#[derive(Debug)]
pub(crate) struct Touches {
    parts: Striped<Mutex<Vec<Touch>>>,
    /// Counts the reads where their order matters.
    count: AtomicU64,
    in_order: bool,
}

/// The read of the entry with this hash.
#[derive(Debug, Clone, Copy)]
struct Touch {
    number: u64,
    hash: u64,
}

impl Touches {
    pub(crate) fn new(in_order: bool) -> Self {
        Self { parts: Striped::default(), count: AtomicU64::new(0), in_order }
    }

    /// Puts a read by; true when it is time to take them.
    #[inline]
    pub(crate) fn add(&self, hash: u64) -> bool {
        // One read that ends before another begins gets the smaller number.
        let number = if self.in_order { self.count.fetch_add(1, Relaxed) } else { 0 };
        let mut touches = lock(self.parts.own());
        if touches.capacity() == 0 {
            touches.reserve_exact(MOST);
        }
        touches.push(Touch { number, hash });
        touches.len() >= MOST
    }

    /// Takes what was put by, and tells `each` in order.
    pub(crate) fn take(&self, mut each: impl FnMut(u64)) {
        if !self.in_order {
            for part in self.parts.all() {
                lock(part).drain(..).for_each(|touch| each(touch.hash));
            }
            return;
        }
        let mut parts: Vec<_> =
            self.parts.all().map(lock).filter(|part| !part.is_empty()).collect();
        if let [part] = &mut parts[..] {
            part.drain(..).for_each(|touch| each(touch.hash));
            return;
        }
        let mut all: Vec<Touch> = parts.iter_mut().flat_map(|part| part.drain(..)).collect();
        drop(parts);
        all.sort_unstable_by_key(|touch| touch.number);
        for touch in all {
            each(touch.hash);
        }
    }
}
