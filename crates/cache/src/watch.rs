//! The end of loads that take too long (F4).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, sleep_until};

use crate::CacheError;
use crate::flight::{Flight, Outcome};
use crate::slot::{Slot, SlotRef, lock};
use crate::space::Inner;

/// How many loads are watched before those that have ended are looked for among them.
const MANY: usize = 64;

/// The loads of a space, those of each runtime watched by one task there as long as there are any: a
/// timer for each would wake the runtime's driver for each, and one in the load's own task could not end
/// a loader that blocks its thread. Of another runtime, nobody knows how long it runs, or whether.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Vec<Watched>>);

/// The loads of one runtime; there is one of these as long as a task watches them.
#[derive(Debug)]
struct Watched {
    runtime: Id,
    /// The first to end comes first: all may take equally long.
    loads: VecDeque<Watchee>,
    /// How many there were when those that have ended were last taken out.
    swept: usize,
}

#[derive(Debug)]
struct Watchee {
    ends_at: Instant,
    flight: Weak<Flight>,
    slot: Weak<Slot>,
}

impl Watchee {
    fn is_done(&self) -> bool {
        self.flight.upgrade().is_none_or(|flight| flight.is_over())
    }
}

impl Inner {
    /// Ends a load should it not have ended in time by itself.
    pub(crate) fn watch(self: &Arc<Self>, flight: &Arc<Flight>, slot: &SlotRef, runtime: &Handle) {
        let Some(ends_at) = after(self.config.max_load_time) else { return };
        let (flight, slot) = (Arc::downgrade(flight), Arc::downgrade(slot.shared()));
        let watchee = Watchee { ends_at, flight, slot };
        // Without the lock: a runtime that shuts down drops what it is given at once.
        if self.watch.add(runtime.id(), watchee) {
            let inner = Arc::downgrade(self);
            let watchman = Watchman { inner, runtime: runtime.id(), gone_home: false };
            runtime.spawn(watchman.attend());
        }
    }

    /// Ends what is over time in a runtime, and tells when to look again; `None` where nothing is left to
    /// watch there.
    fn end_overdue(&self, runtime: Id) -> Option<Instant> {
        let now = now();
        loop {
            match self.watch.next(runtime, now)? {
                Next::Overdue(load) => self.end(&load),
                Next::At(moment) => return Some(moment),
            }
        }
    }

    fn end(&self, overdue: &Watchee) {
        let (Some(flight), Some(slot)) = (overdue.flight.upgrade(), overdue.slot.upgrade()) else {
            return;
        };
        if flight.is_over() {
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

/// What there is to do for those who watch.
enum Next {
    Overdue(Watchee),
    At(Instant),
}

impl Watch {
    /// Tells whether nobody watches the loads of this runtime yet.
    fn add(&self, runtime: Id, watchee: Watchee) -> bool {
        let mut all = lock(&self.0);
        if let Some(watched) = all.iter_mut().find(|watched| watched.runtime == runtime) {
            watched.tidy();
            watched.loads.push_back(watchee);
            return false;
        }
        all.push(Watched { runtime, loads: VecDeque::from([watchee]), swept: 0 });
        true
    }

    /// The next load of a runtime to end; `None` where there is none, and the runtime is forgotten.
    fn next(&self, runtime: Id, now: Instant) -> Option<Next> {
        let mut all = lock(&self.0);
        let at = all.iter().position(|watched| watched.runtime == runtime)?;
        let watched = &mut all[at];
        watched.tidy();
        match watched.loads.front() {
            Some(next) if next.ends_at > now => Some(Next::At(next.ends_at)),
            Some(_) => watched.loads.pop_front().map(Next::Overdue),
            None => {
                all.swap_remove(at);
                None
            }
        }
    }

    fn forget(&self, runtime: Id) {
        lock(&self.0).retain(|watched| watched.runtime != runtime);
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

/// The task that watches the loads of its runtime.
struct Watchman {
    inner: Weak<Inner>,
    runtime: Id,
    /// Nothing was left to watch.
    gone_home: bool,
}

impl Watchman {
    async fn attend(mut self) {
        let runtime = self.runtime;
        let next = |inner: Arc<Inner>| inner.end_overdue(runtime);
        while let Some(moment) = self.inner.upgrade().and_then(next) {
            sleep_until(moment).await;
        }
        self.gone_home = true;
    }
}

impl Drop for Watchman {
    /// Should its runtime shut down, the loads there are ended by that.
    fn drop(&mut self) {
        if !self.gone_home
            && let Some(inner) = self.inner.upgrade()
        {
            inner.watch.forget(self.runtime);
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
