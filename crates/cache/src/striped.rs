//! Parts of one thing, so that threads that change it at once seldom meet.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many parts there are.
const PARTS: usize = 8;

/// Something in several parts, of which a thread takes its own.
///
/// Threads may share a part, and a task may move between threads: nothing may depend on whose it is.
#[derive(Debug, Default)]
pub(crate) struct Striped<T>([Part<T>; PARTS]);

/// In cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part<T>(T);

impl<T> Striped<T> {
    /// The part of this thread.
    #[inline]
    pub(crate) fn own(&self) -> &T {
        &self.0[own_part()].0
    }

    /// All parts.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|part| &part.0)
    }
}

#[inline]
fn own_part() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PART: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    let known = PART.get();
    if known < PARTS {
        return known;
    }
    let part = NEXT.fetch_add(1, Relaxed) % PARTS;
    PART.set(part);
    part
}
