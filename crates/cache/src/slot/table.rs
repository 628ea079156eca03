//! The table of keys that something is happening to.
//!
//! A slot exists while anyone holds a [`SlotRef`] to it: a write in progress, a flight, a pending
//! value, a lock.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use larder_core::Namespace;
use larder_core::chrono::{DateTime, Utc};

use super::{Slot, Waiter, lock};
use crate::CacheError;
use crate::flight::Flight;

const SHARDS: usize = 32;

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

impl SlotRef {
    /// The slot alone, which does not stay in the table.
    pub(super) fn shared(&self) -> Arc<Slot> {
        Arc::clone(&self.slot)
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
