use std::time::Duration;

use bytes::Bytes;
use larder_core::{Condition, DeleteOptions, Expiry, Resolved, SetOptions};

use crate::entry::{Entry, NEVER, Payload};
use crate::expiry::ExpiryIndex;
use crate::moment::Moment;
use crate::pace::SLICE;
use crate::table::Table;

/// The longest values that are compared byte by byte while the shard is locked.
const MAX_COMPARED: usize = 1 << 18;

/// The fewest entries of a shard that removes expired ones by itself before it grows.
const MIN_TIDIED: usize = 1_024;

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

/// A part of a namespace's entries: those whose hashes lie in one range, and when they expire.
///
/// Everything here runs while the shard is locked, so each call is short: near constant, or bounded
/// by the count that it is given. What is removed comes back, to be dropped without the lock.
#[derive(Debug)]
pub(crate) struct Shard {
    table: Table,
    expiry: ExpiryIndex,
}

impl Shard {
    /// A shard for hashes that have so many leading bits in common.
    pub(crate) fn new(common_bits: u32) -> Self {
        Self { table: Table::new(common_bits), expiry: ExpiryIndex::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// When to look for expired entries next.
    pub(crate) fn next_due(&self) -> i64 {
        self.expiry.next_due().unwrap_or(NEVER)
    }

    /// The live entry of `key`.
    #[inline(always)]
    pub(crate) fn live(&self, hash: u32, key: &[u8], moment: &Moment<'_>) -> Option<&Entry> {
        self.find_live(hash, key, moment).map(|(_, entry)| entry)
    }

    #[inline(always)]
    fn find_live(&self, hash: u32, key: &[u8], moment: &Moment<'_>) -> Option<(usize, &Entry)> {
        let at = self.table.find(hash, key).ok()?;
        let entry = self.table.get(at).filter(|entry| !moment.is_past(entry.deadline()))?;
        Some((at, entry))
    }

    /// Stores a value, or removes the key where the expiry says so.
    pub(crate) fn set(
        &mut self,
        hash: u32,
        key: &[u8],
        value: &Bytes,
        options: &SetOptions,
        moment: &Moment<'_>,
    ) -> (Applied, Payload) {
        let found = self.table.find(hash, key);
        let entry = found.ok().and_then(|at| self.table.get(at));
        let applied = holds(&options.condition, entry, moment);
        if !matches!(applied, Applied::Yes) {
            return (applied, Payload::default());
        }
        let deadline = match resolve(options.expiry, moment) {
            Resolved::Never => NEVER,
            Resolved::At(deadline) => deadline.as_micros(),
            Resolved::Keep => {
                let held = entry.map(Entry::deadline);
                held.filter(|&deadline| !moment.is_past(deadline)).unwrap_or(NEVER)
            }
            Resolved::Gone => {
                let removed = found.ok().map(|at| self.remove(at));
                return (Applied::Yes, removed.unwrap_or_default());
            }
        };
        let garbage = match found {
            Ok(at) => self.replace(at, key, value, deadline),
            Err(at) => {
                self.insert(at, Entry::new(hash, key, value, deadline), moment);
                Payload::default()
            }
        };
        (Applied::Yes, garbage)
    }

    fn insert(&mut self, mut at: usize, mut entry: Entry, moment: &Moment<'_>) {
        if self.table.is_full() && self.table.len() >= MIN_TIDIED {
            // Rather than growing for entries that are gone.
            self.purge(moment.micros(), SLICE, &mut Vec::new());
            at = self.table.find(entry.hash(), entry.key()).unwrap_or_else(|at| at);
        }
        let (hash, deadline) = (entry.hash(), entry.deadline());
        entry.indexed = deadline != NEVER;
        self.table.insert(at, entry);
        self.index(hash, deadline);
    }

    /// Deletes `key` if it is live and the condition holds; an expired entry goes as well.
    pub(crate) fn delete(
        &mut self,
        hash: u32,
        key: &[u8],
        options: &DeleteOptions,
        moment: &Moment<'_>,
    ) -> (Applied, Payload) {
        let found = self.table.find(hash, key).ok();
        let Some((at, entry)) = found.and_then(|at| Some((at, self.table.get(at)?))) else {
            return (Applied::No, Payload::default());
        };
        if moment.is_past(entry.deadline()) {
            return (Applied::No, self.remove(at));
        }
        match holds(&options.condition, Some(entry), moment) {
            Applied::Yes => (Applied::Yes, self.remove(at)),
            other => (other, Payload::default()),
        }
    }

    /// The value of a live key, and its deadline: moved to `duration` from now if it has one. A
    /// deadline of `None` means that the key is gone.
    pub(crate) fn renew(
        &mut self,
        hash: u32,
        key: &[u8],
        duration: Duration,
        moment: &Moment<'_>,
    ) -> (Option<(Bytes, Option<i64>)>, Payload) {
        let Some((at, entry)) = self.find_live(hash, key, moment) else {
            return (None, Payload::default());
        };
        let (value, deadline) = (entry.value(), entry.deadline());
        if deadline == NEVER {
            return (Some((value, Some(NEVER))), Payload::default());
        }
        if let Resolved::At(deadline) = resolve(Expiry::After(duration), moment) {
            self.set_deadline(at, deadline.as_micros());
            return (Some((value, Some(deadline.as_micros()))), Payload::default());
        }
        (Some((value, None)), self.remove(at))
    }

    /// Changes the expiry of a live key; false when there is none.
    pub(crate) fn update_expiry(
        &mut self,
        hash: u32,
        key: &[u8],
        expiry: Expiry,
        moment: &Moment<'_>,
    ) -> (bool, Payload) {
        let Some((at, _)) = self.find_live(hash, key, moment) else {
            return (false, Payload::default());
        };
        match resolve(expiry, moment) {
            Resolved::Never => self.set_deadline(at, NEVER),
            Resolved::At(deadline) => self.set_deadline(at, deadline.as_micros()),
            Resolved::Keep => {}
            Resolved::Gone => return (true, self.remove(at)),
        }
        (true, Payload::default())
    }

    fn replace(&mut self, at: usize, key: &[u8], value: &Bytes, deadline: i64) -> Payload {
        let Some(entry) = self.table.get_mut(at) else { return Payload::default() };
        let covered = entry.indexed && entry.deadline() <= deadline;
        let garbage = entry.replace(key, value, deadline);
        if !covered {
            entry.indexed |= deadline != NEVER;
            let hash = entry.hash();
            self.index(hash, deadline);
        }
        garbage
    }

    fn set_deadline(&mut self, at: usize, deadline: i64) {
        let Some(entry) = self.table.get_mut(at) else { return };
        let covered = entry.indexed && entry.deadline() <= deadline;
        entry.set_deadline(deadline);
        if !covered {
            entry.indexed |= deadline != NEVER;
            let hash = entry.hash();
            self.index(hash, deadline);
        }
    }

    fn index(&mut self, hash: u32, deadline: i64) {
        if deadline == NEVER {
            return;
        }
        self.expiry.push(deadline, hash);
        // Shortened lives and deletions leave stale records behind; this bounds them, at constant
        // mean cost.
        if self.expiry.len() > 2 * self.table.len() + 64 {
            self.index_all();
        }
    }

    fn index_all(&mut self) {
        self.expiry.rebuild(self.table.entries_mut().filter_map(|entry| {
            entry.indexed = entry.deadline() != NEVER;
            entry.indexed.then_some((entry.deadline(), entry.hash()))
        }));
    }

    fn remove(&mut self, at: usize) -> Payload {
        let removed = self.table.remove(at).into_payload();
        self.table.shrink_if_sparse();
        removed
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
            let Some(hash) = self.expiry.pop_due(now) else { break };
            looked += 1;
            let mut at = self.table.first_from(hash);
            while let Some(entry) = self.table.get_mut(at).filter(|entry| entry.hash() == hash) {
                let deadline = entry.deadline();
                if deadline <= now {
                    garbage.push(self.table.remove(at).into_payload());
                    continue;
                }
                entry.indexed &= deadline != NEVER;
                if entry.indexed {
                    self.expiry.push(deadline, hash);
                }
                at += 1;
            }
        }
        self.table.shrink_if_sparse();
        (looked, self.next_due())
    }

    /// The entries with this hash or a larger one, expired ones included, by hash and then by key.
    pub(crate) fn entries_from(&self, hash: u32) -> impl Iterator<Item = &Entry> {
        self.table.entries_from(self.table.first_from(hash)).map(|(_, entry)| entry)
    }

    /// Removes entries whose key begins with `prefix`, of those that come at `hash` or later, after
    /// looking at `budget` of them or a few more; tells how many were live, and the hash to go on
    /// with.
    pub(crate) fn delete_prefix(
        &mut self,
        prefix: &[u8],
        hash: u32,
        budget: usize,
        moment: &Moment<'_>,
        garbage: &mut Vec<Payload>,
    ) -> (u64, Option<u32>) {
        let (mut live, mut looked, mut last) = (0, 0, hash);
        let mut at = self.table.first_from(hash);
        let next = loop {
            let Some((place, entry)) = self.table.entries_from(at).next() else { break None };
            if looked >= budget && entry.hash() != last {
                break Some(entry.hash());
            }
            (looked, last) = (looked + 1, entry.hash());
            // The next entry may move to the place of a removed one.
            at = place;
            if entry.key().starts_with(prefix) {
                live += u64::from(!moment.is_past(entry.deadline()));
                garbage.push(self.table.remove(place).into_payload());
            } else {
                at += 1;
            }
        };
        self.table.shrink_if_sparse();
        (live, next)
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) -> Vec<Entry> {
        self.expiry = ExpiryIndex::default();
        self.table.take()
    }

    /// Distributes the entries over shards, by the leading bits of their hashes.
    pub(crate) fn split(&mut self, bits: u32) -> Vec<Self> {
        let mut parts: Vec<Vec<Entry>> = (0..1 << bits).map(|_| Vec::new()).collect();
        for entry in self.clear().into_iter().filter(|entry| !entry.is_nothing()) {
            parts[shard_of(entry.hash(), bits)].push(entry);
        }
        let shard = |entries| {
            let mut shard = Self::new(bits);
            shard.table = Table::from_sorted(bits, entries);
            shard.index_all();
            shard
        };
        parts.into_iter().map(shard).collect()
    }
}

fn holds(condition: &Condition, entry: Option<&Entry>, moment: &Moment<'_>) -> Applied {
    if *condition == Condition::Any {
        return Applied::Yes;
    }
    let live = entry.filter(|entry| !moment.is_past(entry.deadline()));
    if let (Condition::Matches(version), Some(entry)) = (condition, live) {
        let (wanted, held) = (version.as_bytes(), entry.value_ref());
        if wanted.len() == held.len() && wanted.as_ptr() == held.as_ptr() {
            return Applied::Yes;
        }
        if wanted.len() == held.len() && held.len() > MAX_COMPARED {
            return Applied::Undecided(entry.value());
        }
    }
    condition.holds(live.map(Entry::value_ref)).into()
}

/// Which of the shards told apart by so many leading bits.
pub(crate) fn shard_of(hash: u32, bits: u32) -> usize {
    (hash >> (u32::BITS - bits)) as usize
}

/// The clock is left alone where the expiry does not need it.
fn resolve(expiry: Expiry, moment: &Moment<'_>) -> Resolved {
    match expiry {
        Expiry::Never => Resolved::Never,
        Expiry::Keep => Resolved::Keep,
        timed => timed.resolve(moment.now()),
    }
}

#[cfg(test)]
mod tests {
    use larder_core::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn set(shard: &mut Shard, hash: u32, life: Duration, clock: &ManualClock) {
        let (moment, options) = (Moment::of(clock), SetOptions::default().with_expiry(life));
        shard.set(hash, b"k", &Bytes::new(), &options, &moment);
    }

    #[test]
    fn a_prefix_is_deleted_in_slices_that_end_between_hashes() {
        let (clock, mut shard) = (ManualClock::new(), Shard::new(0));
        let (moment, options) = (Moment::of(&clock), SetOptions::default());
        for (hash, key) in [(1, "a1"), (1, "b1"), (1, "a2"), (1, "b2"), (2, "a3"), (3, "a4")] {
            shard.set(hash, key.as_bytes(), &Bytes::new(), &options, &moment);
        }
        let mut garbage = Vec::new();
        // Of one hash all or none, or the rest would be looked at for ever.
        assert_eq!(shard.delete_prefix(b"a", 0, 1, &moment, &mut garbage), (2, Some(2)));
        assert_eq!((shard.len(), garbage.len()), (4, 2));
        assert_eq!(shard.delete_prefix(b"a", 2, 1, &moment, &mut garbage), (1, Some(3)));
        assert_eq!(shard.delete_prefix(b"a", 3, 1, &moment, &mut garbage), (1, None));
        assert_eq!(shard.delete_prefix(b"b", 0, 5, &moment, &mut garbage), (2, None));
        assert_eq!((shard.len(), garbage.len()), (0, 6));
    }

    #[test]
    fn a_longer_life_costs_the_expiry_index_nothing() {
        let (clock, mut shard) = (ManualClock::new(), Shard::new(0));
        for secs in 1..100 {
            let life = secs * SECOND;
            set(&mut shard, 7, life, &clock);
            assert_eq!(shard.expiry.len(), 1, "set");
            shard.renew(7, b"k", life, &Moment::of(&clock));
            shard.update_expiry(7, b"k", Expiry::After(life), &Moment::of(&clock));
            assert_eq!(shard.expiry.len(), 1, "renewed");
        }
    }

    #[test]
    fn a_life_that_was_without_end_is_indexed_once() {
        let clock = ManualClock::new();
        let moment = Moment::of(&clock);
        let (mut updated, mut replaced) = (Shard::new(0), Shard::new(0));
        for shard in [&mut updated, &mut replaced] {
            shard.set(7, b"k", &Bytes::new(), &SetOptions::default(), &moment);
            assert_eq!((shard.expiry.len(), shard.next_due()), (0, NEVER));
        }
        for _ in 0..3 {
            updated.update_expiry(7, b"k", Expiry::After(SECOND), &moment);
            set(&mut replaced, 7, SECOND, &clock);
            for shard in [&updated, &replaced] {
                assert_eq!(shard.expiry.len(), 1);
                assert_eq!(shard.next_due(), moment.micros() + 1_000_000);
            }
        }
    }

    #[test]
    fn shortened_lives_leave_an_index_of_bounded_length() {
        let (clock, mut shard) = (ManualClock::new(), Shard::new(0));
        for secs in (1..2_000).rev() {
            set(&mut shard, 7 + secs % 5, secs * SECOND, &clock);
            let (len, most) = (shard.expiry.len(), 2 * shard.len() + 64);
            assert!(len <= most, "{len} for {}", shard.len());
            assert_eq!(shard.next_due(), Moment::of(&clock).micros() + i64::from(secs) * 1_000_000);
        }
    }

    #[test]
    fn an_entry_that_was_made_to_last_leaves_the_index_when_its_time_would_have_come() {
        let (clock, mut shard) = (ManualClock::new(), Shard::new(0));
        set(&mut shard, 7, SECOND, &clock);
        shard.update_expiry(7, b"k", Expiry::Never, &Moment::of(&clock));
        clock.advance(SECOND);
        let (mut garbage, now) = (Vec::new(), Moment::of(&clock).micros());
        assert_eq!(shard.purge(now, 10, &mut garbage), (1, NEVER));
        assert_eq!((garbage.len(), shard.len(), shard.expiry.len()), (0, 1, 0));
    }

    #[test]
    fn a_purge_looks_at_no_more_than_it_was_told_to() {
        let (clock, mut shard) = (ManualClock::new(), Shard::new(0));
        for hash in 0..100 {
            set(&mut shard, hash, SECOND, &clock);
        }
        clock.advance(SECOND);
        let now = Moment::of(&clock).micros();
        for round in 1..=10 {
            let mut garbage = Vec::new();
            let (looked, due) = shard.purge(now, 10, &mut garbage);
            assert_eq!((looked, garbage.len(), shard.len()), (10, 10, 100 - 10 * round));
            assert_eq!(due, if round < 10 { now } else { NEVER });
        }
        assert_eq!(shard.purge(now, 10, &mut Vec::new()), (0, NEVER));
    }
}
