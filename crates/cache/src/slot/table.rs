//! The table of keys that something is happening to.
//!
//! A slot exists while anyone holds a [`SlotRef`] to it: a write in progress, a flight, a pending
//! value, a lock.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use larder_core::Namespace;
use larder_core::chrono::{DateTime, Utc};

use super::shelf::Shelf;
use super::{Slot, State, lock};
use crate::claim::Claim;
use crate::flight::Flight;
use crate::id::Id;
use crate::route::Route;
use crate::waiter::Waiter;
use crate::{CacheError, hash};

const SHARDS: usize = 32;

/// Keys that one call removes together.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) scope: Namespace,
    /// `None` for the scope and everything below it; else keys of the scope itself.
    pub(crate) prefix: Option<Arc<str>>,
}

impl Range {
    pub(crate) fn covers(&self, id: &Id) -> bool {
        match &self.prefix {
            None => id.scope.starts_with(&self.scope),
            Some(prefix) => id.scope == self.scope && id.key.starts_with(&**prefix),
        }
    }
}

/// A removal that is under way.
struct Removing {
    id: u64,
    range: Range,
    /// Flights go on as if nothing had happened.
    spares_flights: bool,
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

/// See the module.
pub(crate) struct Table {
    shards: Box<[Shard]>,
    removals: RwLock<Vec<Removing>>,
    next_id: AtomicU64,
}

#[derive(Default)]
struct Shard {
    slots: Mutex<Shelf>,
    /// Counts the values stored, so that a reader knows whether its miss is out of date.
    fills: AtomicU64,
    /// How many slots there are, for those who would rather not take the lock to see that there are
    /// none.
    held: AtomicUsize,
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
            removals: RwLock::default(),
            next_id: AtomicU64::new(1),
        })
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, SeqCst)
    }

    /// The part of the keys with this hash.
    #[inline]
    fn shard(&self, key_hash: u64) -> &Shard {
        // The remainder is below the number of shards. A shelf looks at the bits at both ends.
        &self.shards[usize::try_from((key_hash >> 32) % SHARDS as u64).unwrap_or(0)]
    }

    /// How many keys something is happening to.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(&shard.slots).len()).sum()
    }

    /// The slot of a key, made if need be.
    pub(crate) fn slot(self: &Arc<Self>, route: &Route, key: &str) -> SlotRef {
        let key_hash = hash::of_key(key);
        let mut slots = lock(&self.shard(key_hash).slots);
        let held = slots.hold(hash::of_both(route.hash, key_hash), &route.scope, key);
        let slot = held.unwrap_or_else(|| {
            let slot = Arc::new(Slot::new(Id::on(route, key.into())));
            slots.add(&slot);
            self.shard(key_hash).held.store(slots.len(), Relaxed);
            slot
        });
        SlotRef { table: Arc::clone(self), slot }
    }

    /// The slots of all keys in a range.
    pub(crate) fn matching(self: &Arc<Self>, range: &Range) -> Vec<SlotRef> {
        let found = self
            .shards
            .iter()
            .flat_map(|shard| lock(&shard.slots).hold_matching(|id| range.covers(id)));
        found.map(|slot| SlotRef { table: Arc::clone(self), slot }).collect()
    }

    /// Joins the flight of a key, or starts one.
    pub(crate) fn join(
        self: &Arc<Self>,
        route: &Route,
        key: &str,
        now: impl FnOnce() -> DateTime<Utc>,
        make: impl FnOnce() -> Flight,
    ) -> Joined {
        let key_hash = hash::of_key(key);
        let hash = hash::of_both(route.hash, key_hash);
        {
            let slots = lock(&self.shard(key_hash).slots);
            if let Some(slot) = slots.get(hash, &route.scope, key)
                && let Some(flight) = &slot.state().current
            {
                return Joined::Running(Waiter::new(flight, slot));
            }
        }
        let slot = self.slot(route, key);
        let mut state = slot.state();
        if let Some(flight) = &state.current {
            return Joined::Running(Waiter::new(flight, &slot.slot));
        }
        if let Some((until, error)) = &state.negative {
            if !until.is_past(now()) {
                return Joined::Failed(error.clone());
            }
            state.negative = None;
        }
        let flight = Arc::new(make());
        state.current = Some(Arc::clone(&flight));
        let waiter = Waiter::new(&flight, &slot.slot);
        drop(state);
        Joined::Started(waiter, slot)
    }

    /// Begins a flight that nobody else can join.
    pub(crate) fn begin_apart(
        self: &Arc<Self>,
        route: &Route,
        key: &str,
        flight: Flight,
    ) -> Joined {
        let (slot, flight) = (self.slot(route, key), Arc::new(flight));
        slot.begin_apart(&flight);
        Joined::Started(Waiter::new(&flight, &slot.slot), slot)
    }

    /// A waiter for the flight of a key, if there is one.
    pub(crate) fn pending(&self, route: &Route, key: &str) -> Option<Waiter> {
        let key_hash = hash::of_key(key);
        let slots = lock(&self.shard(key_hash).slots);
        let slot = slots.get(hash::of_both(route.hash, key_hash), &route.scope, key)?;
        let State { current, .. } = &*slot.state();
        current.as_ref().map(|flight| Waiter::new(flight, slot))
    }

    /// The claimed load of a key, if there is one.
    pub(crate) fn claimed(
        &self,
        route: &Route,
        key: &str,
    ) -> Option<(Arc<Slot>, Arc<Flight>, Arc<Claim>)> {
        let key_hash = hash::of_key(key);
        let slots = lock(&self.shard(key_hash).slots);
        let slot = slots.get(hash::of_both(route.hash, key_hash), &route.scope, key)?;
        let flight = slot.current()?;
        let claim = flight.claim()?;
        Some((Arc::clone(slot), flight, claim))
    }

    /// Tells whether something may be happening to a key with this hash.
    #[inline]
    pub(crate) fn is_busy(&self, key_hash: u64) -> bool {
        self.shard(key_hash).held.load(Relaxed) != 0
    }

    /// A waiter for the load of a key, if there is one that has to be waited for.
    pub(crate) fn loading(
        &self,
        route: &Route,
        key: &str,
        key_hash: u64,
        tag: u64,
    ) -> Option<Waiter> {
        let slots = lock(&self.shard(key_hash).slots);
        let slot = slots.get(hash::of_both(route.hash, key_hash), &route.scope, key)?;
        let State { current, .. } = &*slot.state();
        let flight = current.as_ref().filter(|flight| flight.fills_in(tag))?;
        Some(Waiter::new(flight, slot))
    }

    /// A number that changes when a value is stored under a key with this hash.
    #[inline]
    pub(crate) fn fills(&self, key_hash: u64) -> u64 {
        self.shard(key_hash).fills.load(SeqCst)
    }

    /// Tells readers that a value was stored.
    pub(crate) fn count_fill(&self, id: &Id) {
        self.shard(id.key_hash).fills.fetch_add(1, SeqCst);
    }

    /// Tells whether a removal that covers the key is under way and bars its fills.
    pub(crate) fn bars_fills(&self, id: &Id) -> bool {
        self.is_removed_by(id, |removing| !removing.spares_flights)
    }

    /// Tells whether a removal that covers the key is under way.
    pub(crate) fn is_being_removed(&self, id: &Id) -> bool {
        self.is_removed_by(id, |_| true)
    }

    fn is_removed_by(&self, id: &Id, counts: impl Fn(&Removing) -> bool) -> bool {
        let removals = self.removals.read().unwrap_or_else(PoisonError::into_inner);
        removals.iter().any(|removing| counts(removing) && removing.range.covers(id))
    }

    /// Begins the removal of a range: until it ends, no fill of a covered key is stored, unless it
    /// spares flights.
    ///
    /// Flights in the middle of being stored are still to be waited for: take each write lock.
    pub(crate) fn begin_removal(self: &Arc<Self>, range: Range, spares_flights: bool) -> Removal {
        let id = self.next_id();
        let removing = Removing { id, range: range.clone(), spares_flights };
        self.removals.write().unwrap_or_else(PoisonError::into_inner).push(removing);
        Removal { table: Arc::clone(self), id, range, spares_flights }
    }
}

/// A removal of a range that is under way; at its end, every covered flight is overtaken that it does
/// not spare.
#[derive(Debug)]
pub(crate) struct Removal {
    table: Arc<Table>,
    id: u64,
    range: Range,
    spares_flights: bool,
}

impl Drop for Removal {
    fn drop(&mut self) {
        // Marked before the range is lifted, so that no fill slips between the two.
        for slot in self.table.matching(&self.range) {
            if self.spares_flights {
                // What was read under a lock, or failed and is remembered, is out of date all the same.
                slot.count_mutation();
            } else {
                slot.overtake_in_range();
            }
        }
        let mut removals = self.table.removals.write().unwrap_or_else(PoisonError::into_inner);
        removals.retain(|removing| removing.id != self.id);
    }
}

/// A share in a slot; the slot leaves the table with the last one.
#[derive(Debug)]
pub(crate) struct SlotRef {
    table: Arc<Table>,
    slot: Arc<Slot>,
}

impl SlotRef {
    /// The slot alone, which does not stay in the table.
    pub(crate) fn shared(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// One more share.
    pub(crate) fn again(&self) -> Self {
        let Id { scope, key, key_hash, hash } = &self.slot.id;
        let held = lock(&self.table.shard(*key_hash).slots).hold(*hash, scope, key);
        // It is there: this share holds it.
        let slot = held.unwrap_or_else(|| Arc::clone(&self.slot));
        Self { table: Arc::clone(&self.table), slot }
    }
}

impl Deref for SlotRef {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for SlotRef {
    fn drop(&mut self) {
        let shard = self.table.shard(self.slot.id.key_hash);
        let mut slots = lock(&shard.slots);
        slots.release(&self.slot);
        shard.held.store(slots.len(), Relaxed);
    }
}
