//! Grouped flushes: one at a time on a thread of its own, shared by all who wait.
//!
//! A caller asks after its write, and is satisfied by any flush that *begins* after it asked; while
//! one flush runs, everyone who asks meanwhile shares the next one. The thread belongs to the store
//! and not to a runtime, so that neither a cancelled caller nor a runtime that ends takes a flush
//! away from the others. It also drops the database in the end, which may block.
//!
//! A second thread watches: sled can miss waking a flush after a failed write, and one of sled's
//! helper threads can die with the write in hand. It sleeps unless flushes are running.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use larder_core::{Error, Result};

use crate::claim::Claim;
use crate::driver::Driver;
use crate::error::SledError;

/// How long a flush waits for as many callers as shared the last one: those that it woke are about
/// to ask again.
const GATHER: Duration = Duration::from_micros(500);
/// How long a write that nobody waits for may stay in memory.
const LAZY: Duration = Duration::from_millis(500);
/// How often the watching thread looks at a running flush.
const POLL: Duration = Duration::from_millis(100);
/// How often it has to find the same flush running before that counts as stuck: a minute.
const STUCK_AFTER: u32 = 600;
/// How long closing waits for the database to be dropped.
const CLOSE_PATIENCE: Duration = Duration::from_secs(90);
/// How often a closing thread looks whether it has the database to itself.
const SHARED_POLL: Duration = Duration::from_millis(1);

/// The store's flushing thread.
#[derive(Debug)]
pub(crate) struct Flusher(Arc<FlushQueue>);

/// What is wanted of the flushing thread.
#[derive(Debug, Default)]
pub(crate) struct FlushQueue {
    state: Mutex<State>,
    /// Something is wanted of the flushing thread.
    work: Condvar,
    /// A flush has begun while the watching thread slept, or everything is over.
    watch: Condvar,
    /// The flushing thread has ended.
    over: Condvar,
    /// A flush has ended, well or not.
    settled: Condvar,
    /// Something was written that nobody waits for.
    dirty: AtomicBool,
    /// The log is so far ahead of the disk that writers should wait.
    behind: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// How many flushes have begun, and how many of those have ended well.
    begun: u64,
    done: u64,
    /// The flush, by number, that someone waits for.
    wanted: u64,
    /// How many callers share that flush, and how many shared the one before.
    sharing: usize,
    shared_last: usize,
    /// It waits for nobody else.
    hurry: bool,
    /// The first failure; sled writes nothing more after one.
    failed: Option<Error>,
    waiting: Vec<Waker>,
    watcher_sleeps: bool,
    stopping: bool,
    /// The path, until the database is dropped.
    claim: Option<Claim>,
    /// How dropping the database went.
    ended: Option<Result<()>>,
}

impl Flusher {
    /// Starts the threads; they keep the driver and the claim until [`stop`](Self::stop).
    pub(crate) fn start(
        queue: Arc<FlushQueue>,
        driver: Arc<Driver>,
        claim: Claim,
    ) -> std::io::Result<Self> {
        queue.lock().claim = Some(claim);
        let watched = (Arc::clone(&queue), Arc::downgrade(&driver));
        thread::Builder::new()
            .name("larder-sled-watch".to_owned())
            .spawn(move || watch(&watched.0, &watched.1))?;
        let flushing = Arc::clone(&queue);
        let flusher = Self(queue);
        let spawned = thread::Builder::new()
            .name("larder-sled".to_owned())
            .spawn(move || flush_until_stopped(&flushing, driver));
        if spawned.is_err() {
            flusher.0.end(Ok(()));
        }
        spawned.map(|_| flusher)
    }

    /// Flushes everything that was written before this call.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the flush to the others.
    pub(crate) fn flush(&self) -> Flushed<'_> {
        Flushed { queue: &self.0, needed: self.0.ask(false) }
    }

    /// Has what was just written flushed before long, without anyone waiting.
    pub(crate) fn flush_soon(&self) {
        if !self.0.dirty.load(Ordering::Relaxed) && !self.0.dirty.swap(true, Ordering::SeqCst) {
            // The lock makes sure that the thread is not between its look and its sleep.
            drop(self.0.lock());
            self.0.work.notify_one();
        }
    }

    /// Tells whether writers should wait for a flush before they go on.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.0.behind.load(Ordering::Relaxed)
    }

    /// Has the database flushed and dropped; nobody may be using it any more.
    pub(crate) fn stop(&self) {
        let mut state = self.0.lock();
        state.stopping = true;
        if let Some(claim) = &state.claim {
            claim.closing();
        }
        drop(state);
        self.0.work.notify_one();
    }

    /// Blocks until the database is dropped, at most until patience ends.
    pub(crate) fn await_end(&self, patient: bool) -> Result<()> {
        let patience = if patient { CLOSE_PATIENCE } else { Duration::ZERO };
        let (mut state, _) = self
            .0
            .over
            .wait_timeout_while(self.0.lock(), patience, |state| state.ended.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        match &mut state.ended {
            // Told once: closing again finds the store closed.
            Some(ended) => std::mem::replace(ended, Ok(())),
            None => Err(SledError::CloseStuck.into()),
        }
    }
}

impl FlushQueue {
    /// Asks for a flush that begins after this, and gives its number.
    fn ask(&self, hurry: bool) -> u64 {
        let mut state = self.lock();
        let needed = state.begun + 1;
        state.sharing += 1;
        state.hurry |= hurry;
        let is_first = state.wanted < needed;
        state.wanted = needed;
        if is_first || hurry || state.sharing == state.shared_last {
            self.work.notify_one();
        }
        needed
    }

    /// Says whether writers should wait for a flush; one that ends well says that they should not.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Relaxed);
    }

    /// Asks for a flush, and waits for nothing.
    pub(crate) fn flush_now(&self) {
        let mut state = self.lock();
        if state.wanted <= state.begun || !state.hurry {
            state.wanted = state.begun + 1;
            state.hurry = true;
            self.work.notify_one();
        }
    }

    /// Blocks until everything that was written before this call is flushed.
    pub(crate) fn wait_for_flush(&self) -> Result<()> {
        let needed = self.ask(true);
        let settled = self
            .settled
            .wait_while(self.lock(), |state| state.done < needed && state.failed.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        match &settled.failed {
            Some(error) if settled.done < needed => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a flush went, and wakes those who wait.
    fn settle(&self, number: u64, result: Result<()>) {
        let mut state = self.lock();
        match result {
            Ok(()) => {
                state.done = number;
                self.set_behind(false);
            }
            Err(error) => {
                state.failed.get_or_insert(error);
            }
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.settled.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn end(&self, result: Result<()>) {
        let mut state = self.lock();
        state.ended = Some(result);
        state.claim = None;
        state.failed.get_or_insert_with(|| SledError::Closed.into());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        self.settled.notify_all();
        self.over.notify_all();
        self.watch.notify_all();
    }
}

fn flush_until_stopped(queue: &FlushQueue, mut driver: Arc<Driver>) {
    let mut looks = CLOSE_PATIENCE.as_millis() / SHARED_POLL.as_millis();
    let closed = loop {
        // Also while closing: a call that nobody waits for any more may wait for the disk itself.
        while let Some(number) = await_work(queue) {
            queue.settle(number, driver.flush());
        }
        driver = match Arc::try_unwrap(driver) {
            Ok(driver) => break driver.close(),
            // Such a call has it, or the watching thread, which looks at it now and then.
            Err(shared) => shared,
        };
        if looks == 0 {
            break Err(SledError::CloseStuck.into());
        }
        looks -= 1;
        thread::sleep(SHARED_POLL);
    };
    queue.end(closed);
}

/// Begins the next flush once one is wanted, and gives its number; `None` when the thread is to end.
fn await_work(queue: &FlushQueue) -> Option<u64> {
    let mut state = queue.lock();
    let mut overdue = false;
    while state.wanted <= state.begun && !overdue {
        if state.stopping {
            return None;
        }
        state = if queue.dirty.load(Ordering::SeqCst) {
            let waited = queue.work.wait_timeout(state, LAZY);
            let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            overdue = timeout.timed_out();
            state
        } else {
            queue.work.wait(state).unwrap_or_else(PoisonError::into_inner)
        };
    }
    let lonely =
        |state: &mut State| state.sharing < state.shared_last && !state.hurry && !state.stopping;
    let gathered = queue.work.wait_timeout_while(state, GATHER, lonely);
    let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
    state.shared_last = std::mem::take(&mut state.sharing);
    state.hurry = false;
    // Before the flush begins: whoever writes during it sets the mark anew.
    queue.dirty.store(false, Ordering::SeqCst);
    state.begun += 1;
    if state.watcher_sleeps {
        queue.watch.notify_all();
    }
    Some(state.begun)
}

fn watch(queue: &FlushQueue, driver: &Weak<Driver>) {
    while let Some(number) = await_flush(queue) {
        let mut looks = 0;
        while !has_ended(queue, number) {
            looks += 1;
            let Some(driver) = driver.upgrade() else { break };
            if let Err(error) = driver.health().check() {
                queue.settle(number, Err(error));
            } else if driver.has_write_error() {
                // It fails at once, and in failing wakes the one that sled forgot.
                let _ = driver.flush();
            } else if looks == STUCK_AFTER {
                queue.settle(number, Err(driver.health().flush_stuck()));
            }
        }
    }
}

/// Sleeps until a flush runs, and gives its number; `None` when everything is over.
fn await_flush(queue: &FlushQueue) -> Option<u64> {
    let mut state = queue.lock();
    while state.ended.is_none() && (state.begun == state.done || state.failed.is_some()) {
        state.watcher_sleeps = true;
        state = queue.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.watcher_sleeps = false;
    state.ended.is_none().then_some(state.begun)
}

/// Waits a moment, and tells whether the flush with this number has ended.
fn has_ended(queue: &FlushQueue, number: u64) -> bool {
    let over =
        |state: &State| state.done >= number || state.failed.is_some() || state.ended.is_some();
    let (state, _) = queue
        .watch
        .wait_timeout_while(queue.lock(), POLL, |state| !over(state))
        .unwrap_or_else(PoisonError::into_inner);
    over(&state)
}

/// A flush that is under way or about to begin.
#[must_use = "the flush has not happened before this completes"]
pub(crate) struct Flushed<'f> {
    queue: &'f FlushQueue,
    needed: u64,
}

impl Future for Flushed<'_> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.queue.lock();
        if state.done >= self.needed {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &state.failed {
            return Poll::Ready(Err(error.clone()));
        }
        state.waiting.push(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_outlives_the_last_handle_gets_its_flush() {
        let directory = tempfile::tempdir().unwrap();
        let queue = Arc::<FlushQueue>::default();
        let in_hand = Arc::new(Driver::open(directory.path(), 1 << 20, &queue).unwrap());
        let claim = Claim::take(directory.path()).unwrap();
        let flusher = Flusher::start(Arc::clone(&queue), Arc::clone(&in_hand), claim).unwrap();
        flusher.stop();
        queue.wait_for_flush().unwrap();
        drop(in_hand);
        flusher.await_end(true).unwrap();
        assert!(queue.wait_for_flush().is_err());
    }
}
