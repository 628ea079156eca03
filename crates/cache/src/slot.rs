//! The table of keys that something is happening to.
//!
//! A slot exists while anyone holds a [`SlotRef`] to it: a write in progress, a flight, a pending
//! value, a lock. Everything that changes a key takes the slot's write lock across the call to the
//! store, and says under it what it overtook; a fill looks under the same lock whether it was
//! overtaken. That is the whole of F2.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use larder_core::chrono::{DateTime, Utc};
use larder_core::{Bytes, Deadline, Namespace};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::CacheError;
use crate::flight::{Flight, Outcome};

const SHARDS: usize = 32;

/// Locks a mutex that no code of ours panics under.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key of one scope, on which something is happening.
pub(crate) struct Slot {
    pub(crate) scope: Namespace,
    pub(crate) key: Arc<str>,
    write: Arc<AsyncMutex<()>>,
    state: Mutex<State>,
    /// The lock that users take with `lock` and `getset`; replaced when it is taken away.
    user_lock: Mutex<Arc<AsyncMutex<()>>>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Flight>>,
    /// An error that is told until a deadline, where a negative time to live is set.
    negative: Option<(Deadline, CacheError)>,
    mutations: u64,
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

/// What a caller finds who asks for a flight.
pub(crate) enum Joined {
    /// One that runs already.
    Running(Waiter),
    /// The one that this caller has to start.
    Started(Waiter, SlotRef),
    /// An error that still counts.
    Failed(CacheError),
}

impl Slot {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits for the write lock; it is given in the order of asking.
    pub(crate) async fn write_lock(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.write).lock_owned().await
    }

    pub(crate) fn user_lock(&self) -> Arc<AsyncMutex<()>> {
        Arc::clone(&lock(&self.user_lock))
    }

    /// Takes the lock away from its holder, and from those who wait for it.
    pub(crate) fn take_user_lock_away(&self) {
        *lock(&self.user_lock) = Arc::default();
    }

    /// How often the key was changed while the slot was there.
    pub(crate) fn mutations(&self) -> u64 {
        self.state().mutations
    }

    /// To be called under the write lock by everything that changed the key.
    pub(crate) fn overtake(&self, by: Overtake) {
        let flight = {
            let mut state = self.state();
            state.mutations += 1;
            state.negative = None;
            let keeps =
                |flight: &Arc<Flight>| matches!(by, Overtake::Unsure) && flight.is_pending();
            state.current.take_if(|flight| !keeps(flight))
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

    /// The key was changed by something that overtakes nobody: a fill, or a clearing that spares loads.
    pub(crate) fn count_mutation(&self) {
        self.state().mutations += 1;
    }

    /// The flight that a caller would join.
    pub(crate) fn current(&self) -> Option<Arc<Flight>> {
        self.state().current.clone()
    }

    /// Puts a pending value in the place of whatever was there.
    pub(crate) fn replace(&self, flight: Arc<Flight>) {
        let old = {
            let mut state = self.state();
            state.mutations += 1;
            state.negative = None;
            state.current.replace(flight.clone())
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
        let flight = self.state().current.take();
        flight.is_some_and(|flight| {
            flight.overtake();
            flight.resolve(Outcome::Failed(error))
        })
    }

    /// The last waiter of a flight has gone.
    fn left_alone(&self, flight: &Arc<Flight>) {
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

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// One caller who waits for a flight; going away is counted.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) flight: Arc<Flight>,
    slot: Arc<Slot>,
}

impl Waiter {
    fn new(flight: Arc<Flight>, slot: &SlotRef) -> Self {
        flight.enter();
        Self { flight, slot: Arc::clone(&slot.slot) }
    }
}

impl Waiter {
    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.flight.leave() {
            self.slot.left_alone(&self.flight);
        }
    }
}

/// Keys that one call removes together.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) scope: Namespace,
    /// `None` for the scope and everything below it; else keys of the scope itself.
    pub(crate) prefix: Option<Arc<str>>,
}

impl Range {
    pub(crate) fn covers(&self, scope: &Namespace, key: &str) -> bool {
        match &self.prefix {
            None => scope.starts_with(&self.scope),
            Some(prefix) => *scope == self.scope && key.starts_with(&**prefix),
        }
    }
}

/// See the module.
pub(crate) struct Table {
    shards: Box<[Shard]>,
    hasher: RandomState,
    ranges: RwLock<Vec<(u64, Range)>>,
    next_id: AtomicU64,
}

#[derive(Default)]
struct Shard {
    slots: Mutex<HashMap<Namespace, HashMap<Arc<str>, Held>>>,
    /// Counts the values stored, so that a reader knows whether its miss is out of date.
    fills: AtomicU64,
}

struct Held {
    slot: Arc<Slot>,
    users: usize,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("slots", &self.len()).finish_non_exhaustive()
    }
}

impl Table {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            ranges: RwLock::default(),
            next_id: AtomicU64::new(1),
        })
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, SeqCst)
    }

    fn shard(&self, key: &str) -> &Shard {
        let hash = self.hasher.hash_one(key);
        // The remainder is below the number of shards.
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }

    /// How many keys something is happening to.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(&shard.slots).values().map(HashMap::len).sum::<usize>())
            .sum()
    }

    /// The slot of a key, made if need be.
    pub(crate) fn slot(self: &Arc<Self>, scope: &Namespace, key: &str) -> SlotRef {
        let mut slots = lock(&self.shard(key).slots);
        self.hold(&mut slots, scope, key)
    }

    fn hold(
        self: &Arc<Self>,
        slots: &mut HashMap<Namespace, HashMap<Arc<str>, Held>>,
        scope: &Namespace,
        key: &str,
    ) -> SlotRef {
        if !slots.contains_key(scope) {
            slots.insert(scope.clone(), HashMap::new());
        }
        let held = slots.get_mut(scope).and_then(|keys| {
            let held = keys.get_mut(key)?;
            held.users += 1;
            Some(Arc::clone(&held.slot))
        });
        let slot = held.unwrap_or_else(|| {
            let key: Arc<str> = key.into();
            let slot = Arc::new(Slot {
                scope: scope.clone(),
                key: Arc::clone(&key),
                write: Arc::default(),
                state: Mutex::default(),
                user_lock: Mutex::default(),
            });
            if let Some(keys) = slots.get_mut(scope) {
                keys.insert(key, Held { slot: Arc::clone(&slot), users: 1 });
            }
            slot
        });
        SlotRef { table: Arc::clone(self), slot }
    }

    /// The slot of a key, if there is one.
    pub(crate) fn find(self: &Arc<Self>, scope: &Namespace, key: &str) -> Option<SlotRef> {
        let mut slots = lock(&self.shard(key).slots);
        let held = slots.get_mut(scope)?.get_mut(key)?;
        held.users += 1;
        Some(SlotRef { table: Arc::clone(self), slot: Arc::clone(&held.slot) })
    }

    /// The slots of all keys in a range.
    pub(crate) fn matching(self: &Arc<Self>, range: &Range) -> Vec<SlotRef> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let mut slots = lock(&shard.slots);
            for (scope, keys) in slots.iter_mut() {
                for (key, held) in keys.iter_mut() {
                    if range.covers(scope, key) {
                        held.users += 1;
                        let slot = Arc::clone(&held.slot);
                        found.push(SlotRef { table: Arc::clone(self), slot });
                    }
                }
            }
        }
        found
    }

    /// Joins the flight of a key, or starts one.
    pub(crate) fn join(
        self: &Arc<Self>,
        scope: &Namespace,
        key: &str,
        now: DateTime<Utc>,
        make: impl FnOnce() -> Flight,
    ) -> Joined {
        let slot = self.slot(scope, key);
        let mut state = slot.state();
        if let Some(flight) = &state.current {
            return Joined::Running(Waiter::new(Arc::clone(flight), &slot));
        }
        if let Some((until, error)) = &state.negative {
            if !until.is_past(now) {
                return Joined::Failed(error.clone());
            }
            state.negative = None;
        }
        let flight = Arc::new(make());
        state.current = Some(Arc::clone(&flight));
        let waiter = Waiter::new(flight, &slot);
        drop(state);
        Joined::Started(waiter, slot)
    }

    /// A waiter for the flight of a key, if there is one.
    pub(crate) fn pending(self: &Arc<Self>, scope: &Namespace, key: &str) -> Option<Waiter> {
        let slot = self.find(scope, key)?;
        let state = slot.state();
        state.current.as_ref().map(|flight| Waiter::new(Arc::clone(flight), &slot))
    }

    /// A number that changes when a value is stored under the key.
    pub(crate) fn fills(&self, key: &str) -> u64 {
        self.shard(key).fills.load(SeqCst)
    }

    /// Tells readers that a value was stored.
    pub(crate) fn count_fill(&self, key: &str) {
        self.shard(key).fills.fetch_add(1, SeqCst);
    }

    /// Tells whether a removal that covers the key is under way.
    pub(crate) fn is_being_removed(&self, scope: &Namespace, key: &str) -> bool {
        let ranges = self.ranges.read().unwrap_or_else(PoisonError::into_inner);
        ranges.iter().any(|(_, range)| range.covers(scope, key))
    }

    /// Begins the removal of a range: until it ends, no fill of a covered key is stored.
    ///
    /// Flights in the middle of being stored are still to be waited for: take each write lock.
    pub(crate) fn begin_removal(self: &Arc<Self>, range: Range) -> Removal {
        let id = self.next_id();
        self.ranges.write().unwrap_or_else(PoisonError::into_inner).push((id, range.clone()));
        Removal { table: Arc::clone(self), id, range }
    }
}

/// A removal of a range that is under way; at its end, every covered flight is overtaken.
#[derive(Debug)]
pub(crate) struct Removal {
    table: Arc<Table>,
    id: u64,
    range: Range,
}

impl Drop for Removal {
    fn drop(&mut self) {
        // Marked before the range is lifted, so that no fill slips between the two.
        for slot in self.table.matching(&self.range) {
            slot.overtake_in_range();
        }
        let mut ranges = self.table.ranges.write().unwrap_or_else(PoisonError::into_inner);
        ranges.retain(|(id, _)| *id != self.id);
    }
}

/// A share in a slot; the slot leaves the table with the last one.
#[derive(Debug)]
pub(crate) struct SlotRef {
    table: Arc<Table>,
    slot: Arc<Slot>,
}

impl Deref for SlotRef {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for SlotRef {
    fn drop(&mut self) {
        let mut slots = lock(&self.table.shard(&self.slot.key).slots);
        let Some(keys) = slots.get_mut(&self.slot.scope) else { return };
        let Some(held) = keys.get_mut(&self.slot.key) else { return };
        held.users -= 1;
        if held.users > 0 {
            return;
        }
        keys.remove(&self.slot.key);
        if keys.is_empty() {
            slots.remove(&self.slot.scope);
            if slots.is_empty() {
                slots.shrink_to(16);
            }
        } else if keys.capacity() > 64 && keys.len() < keys.capacity() / 4 {
            keys.shrink_to_fit();
        }
    }
}
