use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many parts there are.
const PARTS: usize = 8;

/// Something in several parts, of which a thread takes its own: threads seldom meet at one.
///
/// What was put into one part may be taken out of another's reach; nothing may depend on finding
/// it there.
#[derive(Default)]
pub(crate) struct PerThread<T>([Part<T>; PARTS]);

/// In a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Part<T>(Mutex<T>);

impl<T> PerThread<T> {
    /// The part of this thread.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.part(own_part())
    }

    /// A part by its number.
    pub(crate) fn part(&self, number: usize) -> MutexGuard<'_, T> {
        self.0[number].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All parts, one after the other.
    pub(crate) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        (0..PARTS).map(|number| self.part(number))
    }
}

/// The number of this thread's part.
pub(crate) fn own_part() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PART: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PARTS;
    }
    PART.with(|part| *part)
}
