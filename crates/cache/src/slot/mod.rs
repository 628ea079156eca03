//! A key that something is happening to, and the table of those.
//!
//! Everything that changes a key takes the slot's write lock across the call to the store, and says
//! under it what it overtook; a fill looks under the same lock whether it was overtaken. That is the
//! whole of F2.

mod shelf;
mod table;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{Bytes, Deadline};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::CacheError;
use crate::flight::{Flight, Outcome};
use crate::id::Id;

pub(crate) use table::{Joined, Range, SlotRef, Table};

/// Locks a mutex that no code of ours panics under.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key of one scope, on which something is happening.
pub(crate) struct Slot {
    pub(crate) id: Id,
    write: Arc<AsyncMutex<()>>,
    state: Mutex<State>,
    /// The lock that users take with `lock` and `getset`, made when first needed; replaced when it is
    /// taken away.
    user_lock: Mutex<Option<Arc<AsyncMutex<()>>>>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Flight>>,
    /// Loads that nobody joins any more, and that may still run: overtaken, or made for one caller alone.
    apart: Vec<Weak<Flight>>,
    /// Loads that have ended, and whose values are still on their way into the store; the oldest first.
    late: Vec<Arc<Flight>>,
    /// An error that is told until a deadline, where a negative time to live is set.
    negative: Option<(Deadline, CacheError)>,
    mutations: u64,
}

impl State {
    /// The key was changed: what a load has said of it is out of date.
    fn change(&mut self) {
        self.mutations += 1;
        self.negative = None;
    }

    /// Nobody joins this one any more.
    fn set_apart(&mut self, flight: &Arc<Flight>) {
        self.apart.retain(|flight| flight.upgrade().is_some_and(|flight| !flight.is_over()));
        if !flight.is_pending() {
            self.apart.push(Arc::downgrade(flight));
        }
    }

    /// Takes out the flight that callers would join, if it is to go.
    fn take_current(&mut self, goes: impl FnOnce(&Arc<Flight>) -> bool) -> Option<Arc<Flight>> {
        let flight = self.current.take_if(|flight| goes(flight))?;
        self.set_apart(&flight);
        Some(flight)
    }

    /// Those that are late come too late.
    fn overtake_late(&mut self) {
        self.late.drain(..).for_each(|flight| flight.overtake());
    }
}

/// What a change means for the flight that it overtakes.
pub(crate) enum Overtake {
    /// The key has this value now: whoever waits for one of its type gets it.
    Value(Bytes, u64),
    /// The key has no value now: a load goes on unstored, a pending value is given up.
    Removed,
    /// It is not known whether the change was made: a load goes on unstored.
    Unsure,
}

impl Slot {
    fn new(id: Id) -> Self {
        Self { id, write: Arc::default(), state: Mutex::default(), user_lock: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits for the write lock; it is given in the order of asking.
    pub(crate) async fn write_lock(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.write).lock_owned().await
    }

    pub(crate) fn user_lock(&self) -> Arc<AsyncMutex<()>> {
        Arc::clone(lock(&self.user_lock).get_or_insert_default())
    }

    /// Takes the lock away from its holder, and from those who wait for it.
    pub(crate) fn take_user_lock_away(&self) {
        *lock(&self.user_lock) = None;
    }

    /// How often the key was changed while the slot was there.
    pub(crate) fn mutations(&self) -> u64 {
        self.state().mutations
    }

    /// To be called under the write lock by everything that changed the key.
    pub(crate) fn overtake(&self, by: Overtake) {
        let flight = {
            let mut state = self.state();
            state.change();
            state.overtake_late();
            let keeps =
                |flight: &Arc<Flight>| matches!(by, Overtake::Unsure) && flight.is_pending();
            state.take_current(|flight| !keeps(flight))
        };
        let Some(flight) = flight else { return };
        flight.overtake();
        match by {
            // Whoever loads another type gets what was loaded, unstored.
            Overtake::Value(_, tag) if !flight.takes(tag) => false,
            Overtake::Value(envelope, _) => flight.resolve(Outcome::Value(envelope)),
            Overtake::Removed if flight.is_pending() => {
                flight.resolve(Outcome::Failed(CacheError::Abandoned))
            }
            Overtake::Removed | Overtake::Unsure => false,
        };
    }

    /// To be called by a range of deletions, which holds no write lock.
    fn overtake_in_range(&self) {
        self.overtake(Overtake::Removed);
    }

    /// The key was changed by something that overtakes nobody: a clearing that spares loads, say.
    pub(crate) fn count_mutation(&self) {
        self.state().change();
    }

    /// The value of a load was stored: those that are late and older must not undo it.
    pub(crate) fn fill(&self, flight: &Arc<Flight>) {
        let mut state = self.state();
        state.change();
        let own = state.late.iter().position(|late| Arc::ptr_eq(late, flight));
        let older = own.unwrap_or(state.late.len());
        state.late.drain(..older).for_each(|flight| flight.overtake());
    }

    /// The flight that a caller would join.
    pub(crate) fn current(&self) -> Option<Arc<Flight>> {
        self.state().current.clone()
    }

    /// Puts a pending value in the place of whatever was there.
    pub(crate) fn replace(&self, flight: Arc<Flight>) {
        let old = {
            let mut state = self.state();
            state.change();
            state.overtake_late();
            let old = state.take_current(|_| true);
            state.current = Some(flight.clone());
            old
        };
        let Some(old) = old else { return };
        old.overtake();
        if old.is_pending() {
            old.resolve(Outcome::Moved(flight));
        }
    }

    /// Takes a flight out, so that later callers start anew, then tells those who wait.
    pub(crate) fn finish(&self, flight: &Arc<Flight>, outcome: Outcome) -> bool {
        let was_current = self.detach(flight);
        flight.resolve(outcome);
        was_current
    }

    /// As [`finish`](Self::finish), where the value is still on its way into the store: until the end
    /// of what is returned, changes overtake it as they do while it is being loaded.
    pub(crate) fn finish_late<'a>(&'a self, flight: &'a Arc<Flight>, outcome: Outcome) -> Late<'a> {
        {
            let mut state = self.state();
            let current = state.current.take_if(|current| Arc::ptr_eq(current, flight));
            state.late.extend(current);
        }
        flight.resolve(outcome);
        Late { slot: self, flight }
    }

    /// As [`finish`](Self::finish) with an error that later callers get as well until `until`.
    pub(crate) fn finish_failed_until(
        &self,
        flight: &Arc<Flight>,
        error: CacheError,
        until: Deadline,
    ) -> bool {
        let was_current = {
            let mut state = self.state();
            let current = state.current.take_if(|current| Arc::ptr_eq(current, flight)).is_some();
            if current {
                state.negative = Some((until, error.clone()));
            }
            current
        };
        flight.resolve(Outcome::Failed(error));
        was_current
    }

    /// For how long later callers still get the error of a load.
    pub(crate) fn remembers_for(&self, now: DateTime<Utc>) -> Option<Duration> {
        self.state().negative.as_ref()?.0.remaining(now)
    }

    /// Leaves a load that another process has overtaken to those who wait for it: later callers start
    /// anew.
    pub(crate) fn leave(&self, flight: &Arc<Flight>) {
        flight.overtake();
        self.state().take_current(|current| Arc::ptr_eq(current, flight));
    }

    fn detach(&self, flight: &Arc<Flight>) -> bool {
        self.state().current.take_if(|current| Arc::ptr_eq(current, flight)).is_some()
    }

    /// Gives up a promise that the policy has pushed out; a load goes on.
    pub(crate) fn abandon_pending(&self) {
        let flight = self.state().current.take_if(|flight| flight.is_pending());
        if let Some(flight) = flight {
            flight.overtake();
            flight.resolve(Outcome::Failed(CacheError::Abandoned));
        }
    }

    /// Ends the current flight of whatever kind with an error; its result is not stored.
    pub(crate) fn fail(&self, error: CacheError) -> bool {
        let flight = {
            let mut state = self.state();
            state.overtake_late();
            state.take_current(|_| true)
        };
        flight.is_some_and(|flight| {
            flight.overtake();
            flight.resolve(Outcome::Failed(error))
        })
    }

    /// Ends all flights: promises are given up, loads are cancelled.
    pub(crate) fn shut(&self) {
        let pending = self.current().is_some_and(|flight| flight.is_pending());
        self.fail(if pending { CacheError::Abandoned } else { CacheError::ShutDown });
        let apart = {
            let mut state = self.state();
            state.negative = None;
            std::mem::take(&mut state.apart)
        };
        for flight in apart.iter().filter_map(Weak::upgrade) {
            flight.resolve(Outcome::Failed(CacheError::ShutDown));
            flight.abort();
        }
    }

    /// A load begins that nobody joins.
    pub(crate) fn begin_apart(&self, flight: &Arc<Flight>) {
        self.state().set_apart(flight);
    }

    /// The last waiter of a flight has gone.
    pub(crate) fn left_alone(&self, flight: &Arc<Flight>) {
        let mut state = self.state();
        // Joining counts under the same lock, so nobody comes in between.
        if flight.has_waiters() {
            return;
        }
        flight.overtake();
        state.current.take_if(|current| Arc::ptr_eq(current, flight));
        drop(state);
        flight.abort();
    }
}

/// A load whose value is still on its way into the store.
#[must_use = "dropped, nothing overtakes the load any more"]
pub(crate) struct Late<'a> {
    slot: &'a Slot,
    flight: &'a Arc<Flight>,
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.slot.state().late.retain(|late| !Arc::ptr_eq(late, self.flight));
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("scope", &self.id.scope).finish_non_exhaustive()
    }
}
