//! The end of loads that take too long (F4).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::CacheError;
use crate::flight::{Flight, Outcome};
use crate::slot::{Slot, SlotRef, lock};
use crate::space::Inner;

/// How many loads are watched before those that have ended are looked for among them.
const MANY: usize = 64;

/// The loads of a space, watched by one task as long as there are any: a timer for each would wake the
/// runtime's driver for each, and one in the load's own task could not end a loader that blocks its
/// thread.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    /// The first to end comes first: all may take equally long.
    loads: VecDeque<Watchee>,
    /// How many there were when those that have ended were last taken out.
    swept: usize,
    /// A task watches.
    attended: bool,
}

#[derive(Debug)]
struct Watchee {
    ends_at: Instant,
    flight: Weak<Flight>,
    slot: Weak<Slot>,
}

impl Watchee {
    fn is_done(&self) -> bool {
        self.flight.upgrade().is_none_or(|flight| flight.is_loaded() || flight.is_done())
    }
}

impl Inner {
    /// Ends a load should it not have ended in time by itself.
    pub(crate) fn watch(self: &Arc<Self>, flight: &Arc<Flight>, slot: &SlotRef, runtime: &Handle) {
        let Some(ends_at) = after(self.config.max_load_time) else { return };
        let (flight, slot) = (Arc::downgrade(flight), Arc::downgrade(slot.shared()));
        let unattended = {
            let mut watched = lock(&self.watch.0);
            watched.tidy();
            watched.loads.push_back(Watchee { ends_at, flight, slot });
            !std::mem::replace(&mut watched.attended, true)
        };
        // Without the lock: a runtime that shuts down drops what it is given at once.
        if unattended {
            let watchman = Watchman { inner: Arc::downgrade(self), gone_home: false };
            runtime.spawn(watchman.attend());
        }
    }

    /// Ends what is over time, and tells when to look again; `None` where nothing is left to watch.
    fn end_overdue(&self) -> Option<Instant> {
        let now = now();
        loop {
            let overdue = {
                let mut watched = lock(&self.watch.0);
                watched.tidy();
                let Some(next) = watched.loads.front() else {
                    watched.attended = false;
                    return None;
                };
                if next.ends_at > now {
                    return Some(next.ends_at);
                }
                watched.loads.pop_front()
            };
            if let Some(overdue) = overdue {
                self.end(&overdue);
            }
        }
    }

    fn end(&self, overdue: &Watchee) {
        let (Some(flight), Some(slot)) = (overdue.flight.upgrade(), overdue.slot.upgrade()) else {
            return;
        };
        if flight.is_loaded() || flight.is_done() {
            return;
        }
        // In this order, so that what the loader may still give is not stored.
        flight.overtake();
        self.counters.load_failures.add();
        crate::event!(debug, "load took too long");
        slot.finish(&flight, Outcome::Failed(CacheError::TimedOut));
        flight.abort();
    }
}

impl Watched {
    /// Forgets loads that have ended: those in front, and all where they are many.
    fn tidy(&mut self) {
        while self.loads.front().is_some_and(Watchee::is_done) {
            self.loads.pop_front();
        }
        if self.loads.len() > MANY.max(2 * self.swept) {
            self.loads.retain(|watchee| !watchee.is_done());
            self.swept = self.loads.len();
        }
    }
}

/// The task that watches.
struct Watchman {
    inner: Weak<Inner>,
    /// Nothing was left to watch.
    gone_home: bool,
}

impl Watchman {
    async fn attend(mut self) {
        while let Some(next) = self.inner.upgrade().and_then(|inner| inner.end_overdue()) {
            sleep_until(next).await;
        }
        self.gone_home = true;
    }
}

impl Drop for Watchman {
    /// Should its runtime shut down, the next load finds another.
    fn drop(&mut self) {
        if !self.gone_home
            && let Some(inner) = self.inner.upgrade()
        {
            lock(&inner.watch.0).attended = false;
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a load takes is no expiry")]
fn now() -> Instant {
    Instant::now()
}

/// The moment that lies so far ahead; `None` where no clock reaches it.
fn after(duration: Duration) -> Option<Instant> {
    now().checked_add(duration)
}
