//! The expiry index: which keys to look at when records are purged.
//!
//! An entry is a time slot, eight bytes in order, and a physical key; it has no value. A slot is a
//! deadline rounded *down* to [`SLOT_BITS`] bits of microseconds, some eight seconds, so that a key
//! that is set or renewed again and again changes its entry once a slot and not each time.
//!
//! A record with a deadline always has an entry, which is written first: in the slot of its deadline, or
//! in an earlier one, where the key already had it when the deadline moved on; the record says which.
//! Purging moves such an entry to where it belongs once it meets it. An entry may be stale; purging
//! reads the record itself before it removes anything (`E6`).

use chrono::{DateTime, Utc};
use larder_core::{Deadline, Result};
use sled::IVec;

use crate::tree::Tree;

/// A slot is 2^23 µs, 8.4 s.
const SLOT_BITS: u32 = 23;
const SLOT_LEN: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(i64);

impl Slot {
    pub(crate) fn of(deadline: Deadline) -> Self {
        Self(deadline.as_micros() >> SLOT_BITS)
    }

    /// The slot as a number in the order of time: the sign bit is turned over, for years before 1970.
    pub(crate) fn to_ordinal(self) -> u64 {
        self.0.cast_unsigned() ^ (1 << 63)
    }

    /// The slot with this [ordinal](Self::to_ordinal).
    pub(crate) fn from_ordinal(ordinal: u64) -> Self {
        Self((ordinal ^ (1 << 63)).cast_signed())
    }

    fn to_bytes(self) -> [u8; SLOT_LEN] {
        self.to_ordinal().to_be_bytes()
    }

    fn entry(self, physical: &[u8]) -> Vec<u8> {
        let mut entry = Vec::with_capacity(SLOT_LEN + physical.len());
        entry.extend_from_slice(&self.to_bytes());
        entry.extend_from_slice(physical);
        entry
    }
}

/// The tree of entries.
#[derive(Clone)]
pub(crate) struct ExpiryIndex(Tree);

impl ExpiryIndex {
    pub(crate) fn new(tree: Tree) -> Self {
        Self(tree)
    }

    pub(crate) fn insert(&self, slot: Slot, physical: &[u8]) -> Result<()> {
        self.0.insert(&slot.entry(physical), IVec::default()).map(drop)
    }

    pub(crate) fn contains(&self, slot: Slot, physical: &[u8]) -> Result<bool> {
        self.0.contains(&slot.entry(physical))
    }

    pub(crate) fn remove(&self, slot: Slot, physical: &[u8]) -> Result<()> {
        self.0.remove(&slot.entry(physical)).map(drop)
    }

    /// The entries from `from` on (all, when it is empty) whose slot began at `now` or before, each
    /// as slot, physical key and the entry itself.
    pub(crate) fn due(&self, from: &[u8], now: DateTime<Utc>) -> impl Iterator<Item = Result<Due>> {
        let end = Slot((now.timestamp_micros() >> SLOT_BITS) + 1).to_bytes();
        let range = self.0.range(from, Some(&end));
        range.map(|entry| entry.map(|(entry, _)| Due(entry)))
    }
}

/// An entry whose slot has begun.
pub(crate) struct Due(IVec);

impl Due {
    /// The entry as it is kept.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Slot and physical key; `None` for an entry that we never write.
    pub(crate) fn parts(&self) -> Option<(Slot, &[u8])> {
        let (slot, physical) = self.0.split_first_chunk::<SLOT_LEN>()?;
        Some((Slot::from_ordinal(u64::from_be_bytes(*slot)), physical))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        Deadline::from_micros(micros).to_datetime()
    }

    #[test]
    fn slots_keep_the_order_of_time_across_the_epoch() {
        let moments = [i64::from(i32::MIN) * 1_000_000, -1, 0, 1 << SLOT_BITS, 1 << 40];
        let slots: Vec<_> =
            moments.iter().map(|m| Slot::of(Deadline::from_micros(*m)).to_bytes()).collect();
        assert!(slots.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn an_entry_is_due_from_the_start_of_its_slot_so_never_after_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let index = ExpiryIndex::new(crate::tree::testing::open(directory.path()));
        let deadline = Deadline::from_micros((5 << SLOT_BITS) + 7);
        index.insert(Slot::of(deadline), b"k").unwrap();
        let due = |now| index.due(&[], now).map(Result::unwrap).count();
        assert_eq!(due(at((5 << SLOT_BITS) - 1)), 0);
        assert_eq!(due(at(5 << SLOT_BITS)), 1);
        assert_eq!(due(deadline.to_datetime()), 1);
        let entry = index.due(&[], deadline.to_datetime()).next().unwrap().unwrap();
        assert_eq!(entry.parts(), Some((Slot::of(deadline), &b"k"[..])));
        let rest = crate::keyspace::successor(entry.as_bytes());
        assert_eq!(index.due(&rest, deadline.to_datetime()).count(), 0);
    }
}
