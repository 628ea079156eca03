use crate::entry::Entry;

/// The fewest homes of a table that holds anything.
const MIN_HOMES: usize = 4;

/// A hash table whose entries lie in the order of their hashes, then of their keys.
///
/// It probes linearly: an entry lies at its home, which grows with its hash, or as far behind it as
/// others with smaller hashes need, never with a gap between. So a lookup reads on from one place
/// and stops at a larger hash; a walk in table order is a walk in the order of the hashes, which no
/// insertion, deletion or resizing disturbs; and resizing is one pass from front to back.
#[derive(Debug)]
pub(crate) struct Table {
    /// One place for each home, and as many more as the last entries need.
    places: Vec<Entry>,
    homes: usize,
    len: usize,
    /// How many leading bits of the hash all keys have in common.
    common_bits: u32,
}

/// Where a key is, or where it would have to be put.
pub(crate) type Found = Result<usize, usize>;

impl Table {
    pub(crate) const fn new(common_bits: u32) -> Self {
        Self { places: Vec::new(), homes: 0, len: 0, common_bits }
    }

    /// A table of entries that come in its order.
    pub(crate) fn from_sorted(common_bits: u32, entries: Vec<Entry>) -> Self {
        let mut table = Self::new(common_bits);
        table.rebuild(entries.len(), entries);
        table
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "less than the number of homes")]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash << self.common_bits) * self.homes as u64) >> 32) as usize
    }

    /// The place of a key, or the one where it belongs.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u32, key: &[u8]) -> Found {
        let mut at = self.home(hash);
        // What is nothing has the largest hash.
        while let Some(entry) = self.places.get(at).filter(|entry| entry.hash() <= hash) {
            if entry.hash() == hash {
                if entry.key() == key {
                    return Ok(at);
                }
                if entry.key() > key {
                    break;
                }
            }
            at += 1;
        }
        Err(at)
    }

    /// The place of the first entry with this hash or a larger one, if there is one.
    pub(crate) fn first_from(&self, hash: u32) -> usize {
        let rest = self.places.get(self.home(hash)..).unwrap_or_default();
        let before = |entry: &&Entry| entry.is_nothing() || entry.hash() < hash;
        self.home(hash) + rest.iter().take_while(before).count()
    }

    /// The entry in a place.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&Entry> {
        self.places.get(at).filter(|entry| !entry.is_nothing())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.places.get_mut(at).filter(|entry| !entry.is_nothing())
    }

    /// The entries from a place on, each with its place, in the table's order.
    pub(crate) fn entries_from(&self, at: usize) -> impl Iterator<Item = (usize, &Entry)> {
        let rest = self.places.get(at..).unwrap_or_default();
        (at..).zip(rest).filter(|(_, entry)| !entry.is_nothing())
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.places.iter_mut().filter(|entry| !entry.is_nothing())
    }

    /// Whether one more entry makes it grow.
    pub(crate) fn is_full(&self) -> bool {
        // Four fifths: beyond that, entries lie ever farther from their homes.
        (self.len + 1) * 5 > self.homes * 4
    }

    /// Puts an entry where [`find`](Self::find) did not find it.
    pub(crate) fn insert(&mut self, mut at: usize, entry: Entry) {
        if self.is_full() {
            let entries = std::mem::take(&mut self.places);
            self.rebuild(self.len + 1, entries);
            at = self.find(entry.hash(), entry.key()).unwrap_or_else(|at| at);
        }
        let rest = self.places.get(at..).unwrap_or_default();
        let end = at + rest.iter().take_while(|entry| !entry.is_nothing()).count();
        if end == self.places.len() {
            self.places.reserve_exact(self.homes / 64 + 2);
            self.places.push(Entry::default());
        }
        self.places[at..=end].rotate_right(1);
        self.places[at] = entry;
        self.len += 1;
    }

    /// Takes the entry out of a place, to which the next one moves if that brings it home.
    pub(crate) fn remove(&mut self, at: usize) -> Entry {
        let entry = std::mem::take(&mut self.places[at]);
        let mut end = at + 1;
        while self.get(end).is_some_and(|entry| self.home(entry.hash()) < end) {
            end += 1;
        }
        self.places[at..end].rotate_left(1);
        self.len -= 1;
        entry
    }

    /// Gives memory back when three quarters of it are unused. Places change.
    pub(crate) fn shrink_if_sparse(&mut self) {
        if self.homes > 16 * MIN_HOMES && self.len * 4 < self.homes {
            let entries = std::mem::take(&mut self.places);
            self.rebuild(self.len, entries);
        }
    }

    /// Takes all entries out, in order, with gaps between.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        std::mem::replace(self, Self::new(self.common_bits)).places
    }

    /// Lays the entries of `old`, in order and maybe with gaps, out anew with room for `len` and half
    /// as many more.
    fn rebuild(&mut self, len: usize, old: Vec<Entry>) {
        self.homes = (len + len / 2).max(MIN_HOMES);
        self.len = 0;
        self.places = Vec::with_capacity(self.homes + self.homes / 64 + 2);
        for entry in old.into_iter().filter(|entry| !entry.is_nothing()) {
            let home = self.home(entry.hash());
            if self.places.len() < home {
                self.places.resize_with(home, Entry::default);
            }
            self.places.push(entry);
            self.len += 1;
        }
        if self.places.len() < self.homes {
            self.places.resize_with(self.homes, Entry::default);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::entry::{NEVER, NO_HASH};

    /// Hashes that crowd at both ends of the range and in one place, so that runs are long and
    /// equal ones are common.
    fn hash(common_bits: u32) -> impl Strategy<Value = u32> {
        let least = 3 << (u32::BITS - common_bits.max(2));
        let most = least | (u32::MAX >> common_bits);
        let (least, most) = if common_bits == 0 { (0, NO_HASH - 1) } else { (least, most) };
        prop_oneof![
            least..least + 3,
            most - 3..=most,
            Just(least + (most - least) / 2),
            least..=most
        ]
    }

    fn check(table: &Table, model: &BTreeMap<(u32, u8), i64>) {
        let held: Vec<_> = table
            .entries_from(0)
            .map(|(_, entry)| ((entry.hash(), entry.key()[0]), entry.deadline()))
            .collect();
        let wanted: Vec<_> = model.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(held, wanted);
        assert_eq!(table.len(), model.len());
        for (at, entry) in table.entries_from(0) {
            assert_eq!(table.find(entry.hash(), entry.key()), Ok(at));
        }
        assert!(table.homes <= 16 * MIN_HOMES || table.homes <= 4 * table.len());
    }

    fn history(common_bits: u32) -> impl Strategy<Value = Vec<(u32, u8, u8)>> {
        let step = (hash(common_bits), 0_u8..3, any::<u8>());
        proptest::collection::vec(step, 0..400)
    }

    fn run(common_bits: u32, history: Vec<(u32, u8, u8)>) {
        let (mut table, mut model) = (Table::new(common_bits), BTreeMap::new());
        // First more insertions than deletions, then the other way round.
        let half = history.len() / 2;
        for (step, (hash, key, dice)) in history.into_iter().enumerate() {
            let inserts = if step < half { dice < 230 } else { dice < 60 };
            let key_bytes = [key];
            // A hash that is there, so that deletions hit.
            let near = model.range((hash, 0)..).next().map(|(at, _): (&(u32, u8), &i64)| *at);
            match (inserts, near) {
                (true, _) => {
                    let deadline = i64::from(dice);
                    match table.find(hash, &key_bytes) {
                        Ok(at) => table.get_mut(at).unwrap().set_deadline(deadline),
                        Err(at) => {
                            table.insert(at, Entry::new(hash, &key_bytes, &Bytes::new(), deadline));
                        }
                    }
                    model.insert((hash, key), deadline);
                }
                (false, Some((hash, key))) => {
                    let at = table.find(hash, &[key]).unwrap();
                    let removed = table.remove(at);
                    assert_eq!(model.remove(&(hash, key)), Some(removed.deadline()));
                    table.shrink_if_sparse();
                }
                (false, None) => assert!(table.find(hash, b"absent").is_err()),
            }
            check(&table, &model);
            let first = table.first_from(hash);
            let from = table.entries_from(first).next().map(|(_, entry)| entry.hash());
            assert_eq!(from, model.range((hash, 0)..).next().map(|((hash, _), _)| *hash));
            assert!(table.entries_from(0).all(|(at, entry)| (at < first) == (entry.hash() < hash)));
        }
        let taken = table.take();
        assert_eq!(
            (table.len(), taken.iter().filter(|entry| !entry.is_nothing()).count()),
            (0, model.len())
        );
        let copies = model
            .iter()
            .map(|((hash, key), deadline)| Entry::new(*hash, &[*key], &Bytes::new(), *deadline));
        check(&Table::from_sorted(common_bits, copies.collect()), &model);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_table_is_a_map_in_the_order_of_hash_and_key(history in history(0)) {
            run(0, history);
        }

        #[test]
        fn so_is_one_of_a_part_of_the_hashes(history in history(6)) {
            run(6, history);
        }
    }

    #[test]
    fn an_empty_table_holds_nothing_and_takes_no_memory() {
        let table = Table::new(0);
        assert_eq!((table.find(u32::MAX, b""), table.places.capacity()), (Err(0), 0));
        assert!(table.get(0).is_none() && Entry::default().deadline() == NEVER);
        assert_eq!(table.entries_from(table.first_from(7)).count(), 0);
    }
}
