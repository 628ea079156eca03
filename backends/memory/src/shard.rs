use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashTable;
use larder_core::{
    Condition, DeleteOptions, Error, ErrorKind, Expiry, Resolved, Result, SetOptions,
};

use crate::expiry::ExpiryIndex;
use crate::grow::room_for_one;
use crate::moment::Moment;
use crate::slot::{NEVER, NO_SLOT, Payload, Slot};

/// The longest values that are compared byte by byte while the shard is locked.
pub(crate) const MAX_COMPARED: usize = 1 << 18;

/// Whether a change applied.
#[derive(Debug)]
pub(crate) enum Applied {
    Yes,
    No,
    /// The condition names a version, and this value is too long to compare with it here. Compare,
    /// and try again with the version made of this very buffer.
    Undecided(Bytes),
}

impl From<bool> for Applied {
    fn from(applied: bool) -> Self {
        if applied { Self::Yes } else { Self::No }
    }
}

/// A part of a namespace's entries: a hash table of slot numbers, the slots, and their expiry index.
///
/// Everything here runs while the shard is locked, so each call is short: constant, logarithmic, or
/// bounded by the count that it is given.
#[derive(Debug)]
pub(crate) struct Shard {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    expiry: ExpiryIndex,
    first_free: u32,
    /// Changes when entries move to other slots.
    epoch: u32,
}

/// What a bounded step over the slots left: where to go on, if anywhere.
pub(crate) type Next = Option<u32>;

impl Default for Shard {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            expiry: ExpiryIndex::default(),
            first_free: NO_SLOT,
            epoch: 0,
        }
    }
}

/// The table takes the group from the low bits and the tag from the top seven: the factor spreads
/// the 32 bits that are kept over both.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Shard {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The entry of `key`, expired or not.
    fn find(&self, hash: u32, key: &[u8]) -> Option<u32> {
        self.table.find(spread(hash), |&index| self.slots[index as usize].is(hash, key)).copied()
    }

    fn slot(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }

    fn slot_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    fn find_live(&self, hash: u32, key: &[u8], moment: &Moment<'_>) -> Option<u32> {
        self.find(hash, key).filter(|&index| !moment.is_past(self.slot(index).deadline))
    }

    /// The live entry of `key`.
    pub(crate) fn live(&self, hash: u32, key: &[u8], moment: &Moment<'_>) -> Option<&Slot> {
        self.find_live(hash, key, moment).map(|index| self.slot(index))
    }

    /// Stores a value, or removes the key where the expiry says so. `garbage` gets what is best
    /// dropped without the lock.
    pub(crate) fn set(
        &mut self,
        hash: u32,
        key: &[u8],
        value: &Bytes,
        options: &SetOptions,
        moment: &Moment<'_>,
        garbage: &mut Option<Payload>,
    ) -> Result<Applied> {
        let found = self.find(hash, key);
        let applied = self.holds(&options.condition, found, moment);
        if !matches!(applied, Applied::Yes) {
            return Ok(applied);
        }
        let deadline = match resolve(options.expiry, moment) {
            Resolved::Never => NEVER,
            Resolved::At(deadline) => deadline.as_micros(),
            Resolved::Keep => found
                .map(|index| self.slot(index).deadline)
                .filter(|&deadline| !moment.is_past(deadline))
                .unwrap_or(NEVER),
            Resolved::Gone => {
                *garbage = found.map(|index| self.remove(index));
                self.compact_if_sparse();
                return Ok(Applied::Yes);
            }
        };
        let index = if let Some(index) = found {
            *garbage = Some(self.slot_mut(index).replace_value(key, value));
            index
        } else {
            self.insert(hash, key, value)?
        };
        self.set_deadline(index, deadline);
        Ok(Applied::Yes)
    }

    /// Deletes `key` if it is live and the condition holds; an expired entry goes as well.
    pub(crate) fn delete(
        &mut self,
        hash: u32,
        key: &[u8],
        options: &DeleteOptions,
        moment: &Moment<'_>,
        garbage: &mut Option<Payload>,
    ) -> Applied {
        let Some(index) = self.find(hash, key) else { return Applied::No };
        if moment.is_past(self.slot(index).deadline) {
            *garbage = Some(self.remove(index));
            self.compact_if_sparse();
            return Applied::No;
        }
        let applied = self.holds(&options.condition, Some(index), moment);
        if matches!(applied, Applied::Yes) {
            *garbage = Some(self.remove(index));
            self.compact_if_sparse();
        }
        applied
    }

    /// The value of a live key, and its deadline: moved to `duration` from now if it has one. A
    /// deadline of `None` means that the key is gone.
    pub(crate) fn renew(
        &mut self,
        hash: u32,
        key: &[u8],
        duration: Duration,
        moment: &Moment<'_>,
        garbage: &mut Option<Payload>,
    ) -> Option<(Bytes, Option<i64>)> {
        let index = self.find_live(hash, key, moment)?;
        let value = self.slot(index).value();
        if self.slot(index).deadline == NEVER {
            return Some((value, Some(NEVER)));
        }
        if let Resolved::At(deadline) = resolve(Expiry::After(duration), moment) {
            self.set_deadline(index, deadline.as_micros());
            return Some((value, Some(deadline.as_micros())));
        }
        *garbage = Some(self.remove(index));
        self.compact_if_sparse();
        Some((value, None))
    }

    /// When to look for expired entries next.
    pub(crate) fn next_due(&self) -> i64 {
        self.expiry.next_due().unwrap_or(NEVER)
    }

    /// Changes the expiry of a live key; false when there is none.
    pub(crate) fn update_expiry(
        &mut self,
        hash: u32,
        key: &[u8],
        expiry: Expiry,
        moment: &Moment<'_>,
        garbage: &mut Option<Payload>,
    ) -> bool {
        let Some(index) = self.find_live(hash, key, moment) else { return false };
        match resolve(expiry, moment) {
            Resolved::Never => self.set_deadline(index, NEVER),
            Resolved::At(deadline) => self.set_deadline(index, deadline.as_micros()),
            Resolved::Keep => {}
            Resolved::Gone => {
                *garbage = Some(self.remove(index));
                self.compact_if_sparse();
            }
        }
        true
    }

    fn holds(&self, condition: &Condition, found: Option<u32>, moment: &Moment<'_>) -> Applied {
        if *condition == Condition::Any {
            return Applied::Yes;
        }
        let live =
            found.map(|index| self.slot(index)).filter(|slot| !moment.is_past(slot.deadline));
        if let (Condition::Matches(version), Some(slot)) = (condition, live) {
            let (wanted, held) = (version.as_bytes(), slot.value_ref());
            if wanted.len() == held.len() && wanted.as_ptr() == held.as_ptr() {
                return Applied::Yes;
            }
            if wanted.len() == held.len() && held.len() > MAX_COMPARED {
                return Applied::Undecided(slot.value());
            }
        }
        condition.holds(live.map(Slot::value_ref)).into()
    }

    fn insert(&mut self, hash: u32, key: &[u8], value: &Bytes) -> Result<u32> {
        let index = self.first_free;
        let index = if index == NO_SLOT {
            let index = u32::try_from(self.slots.len()).unwrap_or(NO_SLOT);
            if index == NO_SLOT {
                return Err(Error::new(ErrorKind::StorageFull, "a shard has no slot left"));
            }
            self.slots.reserve_exact(room_for_one(self.slots.len(), self.slots.capacity()));
            self.slots.push(Slot::new(hash, key, value));
            index
        } else {
            let slot = &mut self.slots[index as usize];
            self.first_free = slot.next_free();
            slot.occupy(hash, key, value);
            index
        };
        let slots = &self.slots;
        self.table.insert_unique(spread(hash), index, |&at| spread(slots[at as usize].hash()));
        Ok(index)
    }

    fn set_deadline(&mut self, index: u32, deadline: i64) {
        let slot = &mut self.slots[index as usize];
        let covered = slot.indexed && slot.deadline <= deadline;
        slot.deadline = deadline;
        if deadline == NEVER || covered {
            return;
        }
        slot.indexed = true;
        self.expiry.push(deadline, index);
        // Shortened lives leave stale records behind; this bounds them, at constant mean cost.
        if self.expiry.len() > 2 * self.slots.len() + 64 {
            self.rebuild_expiry();
        }
    }

    fn rebuild_expiry(&mut self) {
        let records = (0..).zip(&mut self.slots).filter_map(|(index, slot)| {
            slot.indexed = slot.deadline != NEVER && !slot.is_free();
            slot.indexed.then_some((slot.deadline, index))
        });
        self.expiry.rebuild(records);
    }

    fn remove(&mut self, index: u32) -> Payload {
        let hash = self.slot(index).hash();
        if let Ok(entry) = self.table.find_entry(spread(hash), |&at| at == index) {
            entry.remove();
        }
        let next = self.first_free;
        self.first_free = index;
        self.slot_mut(index).vacate(next)
    }

    /// Removes expired entries into `garbage`, after looking at `budget` records at most; tells how
    /// many it looked at, and when the next one is due, which may be at once.
    pub(crate) fn purge(
        &mut self,
        now: i64,
        budget: usize,
        garbage: &mut Vec<Payload>,
    ) -> (usize, i64) {
        let mut looked = 0;
        while looked < budget {
            let Some(index) = self.expiry.pop_due(now) else { break };
            looked += 1;
            let slot = self.slot_mut(index);
            let deadline = slot.deadline;
            if slot.is_free() || deadline == NEVER {
                slot.indexed = false;
            } else if deadline <= now {
                slot.indexed = false;
                garbage.push(self.remove(index));
            } else {
                self.expiry.push(deadline, index);
            }
        }
        self.compact_if_sparse();
        (looked, self.next_due())
    }

    /// Gives memory back once three quarters of the slots are free. Entries move, so callers in the
    /// midst of a walk look at the [`epoch`](Self::epoch).
    fn compact_if_sparse(&mut self) {
        if self.slots.len() <= 64 || self.len() > self.slots.len() / 4 {
            return;
        }
        self.slots.retain(|slot| !slot.is_free());
        self.slots.shrink_to_fit();
        self.reindex();
    }

    /// Builds the table and the expiry index anew from slots of which none is free.
    fn reindex(&mut self) {
        self.first_free = NO_SLOT;
        self.epoch = self.epoch.wrapping_add(1);
        let slots = &self.slots;
        self.table = HashTable::with_capacity(slots.len());
        for (index, slot) in (0..).zip(slots) {
            self.table
                .insert_unique(spread(slot.hash()), index, |&at| spread(slots[at as usize].hash()));
        }
        self.rebuild_expiry();
    }

    /// Calls `visit` with the entries from slot `from` on, expired ones included, `budget` slots at
    /// most, until it gives false; tells where to go on.
    pub(crate) fn scan(
        &self,
        from: u32,
        budget: usize,
        mut visit: impl FnMut(&Slot) -> bool,
    ) -> Next {
        let slots = self.slots.get(from as usize..).unwrap_or_default();
        let mut index = from;
        for slot in slots.iter().take(budget) {
            if !slot.is_free() && !visit(slot) {
                return Some(index);
            }
            index += 1;
        }
        (slots.len() > budget).then_some(index)
    }

    /// Removes the entries, from slot `from` on and in `budget` slots at most, whose key begins with
    /// `prefix`; tells how many were live, and where to go on.
    pub(crate) fn delete_prefix(
        &mut self,
        prefix: &[u8],
        from: u32,
        budget: usize,
        moment: &Moment<'_>,
        garbage: &mut Vec<Payload>,
    ) -> (u64, Next) {
        let end = self.slots.len().min((from as usize).saturating_add(budget));
        let mut live = 0;
        for index in from.. {
            if index as usize >= end {
                break;
            }
            let slot = self.slot(index);
            if !slot.is_free() && slot.key().starts_with(prefix) {
                live += u64::from(!moment.is_past(slot.deadline));
                garbage.push(self.remove(index));
            }
        }
        let next = (end < self.slots.len()).then(|| u32::try_from(end).unwrap_or(NO_SLOT));
        if next.is_none() {
            self.compact_if_sparse();
        }
        (live, next)
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) -> Vec<Slot> {
        let epoch = self.epoch.wrapping_add(1);
        std::mem::replace(self, Self { epoch, ..Self::default() }).slots
    }

    /// Distributes the entries over `count` shards, by the top bits of the hash.
    pub(crate) fn split(&mut self, count: usize, which: impl Fn(u32) -> usize) -> Vec<Self> {
        let mut parts: Vec<Self> = (0..count).map(|_| Self::default()).collect();
        for slot in self.clear() {
            if !slot.is_free() {
                let part = &mut parts[which(slot.hash())];
                part.slots.reserve_exact(room_for_one(part.slots.len(), part.slots.capacity()));
                part.slots.push(slot);
            }
        }
        parts.iter_mut().for_each(Self::reindex);
        parts
    }
}

/// The clock is left alone where the expiry does not need it.
fn resolve(expiry: Expiry, moment: &Moment<'_>) -> Resolved {
    match expiry {
        Expiry::Never => Resolved::Never,
        Expiry::Keep => Resolved::Keep,
        timed => timed.resolve(moment.now()),
    }
}
