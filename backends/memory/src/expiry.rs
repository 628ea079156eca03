use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// When to look at the entries with which hash, the earliest first.
///
/// A record says "not before this", and no more: prolonging a life leaves it as it is, and it is
/// moved on once it comes due. So a renewal costs the index nothing.
#[derive(Debug, Default)]
pub(crate) struct ExpiryIndex(BinaryHeap<Reverse<Record>>);

/// Twelve bytes rather than the sixteen of `(i64, u32)`: the deadline in two ordered halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    high: i32,
    low: u32,
    hash: u32,
}

const _: () = assert!(size_of::<Record>() == 12);

impl Record {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the two halves")]
    fn new(due: i64, hash: u32) -> Self {
        Self { high: (due >> 32) as i32, low: due as u32, hash }
    }

    fn due(self) -> i64 {
        (i64::from(self.high) << 32) | i64::from(self.low)
    }
}

impl ExpiryIndex {
    pub(crate) fn push(&mut self, due: i64, hash: u32) {
        if self.0.len() == self.0.capacity() {
            // An eighth rather than as much again: memory counts here more than copies do.
            self.0.reserve_exact((self.0.len() / 8).max(4));
        }
        self.0.push(Reverse(Record::new(due, hash)));
    }

    /// When the first record is due.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.0.peek().map(|Reverse(record)| record.due())
    }

    /// Takes the first record, if it is due at `now`, and gives its hash.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<u32> {
        if self.next_due()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(record)| record.hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Replaces all records.
    pub(crate) fn rebuild(&mut self, records: impl Iterator<Item = (i64, u32)>) {
        let mut all = std::mem::take(&mut self.0).into_vec();
        all.clear();
        all.extend(records.map(|(due, hash)| Reverse(Record::new(due, hash))));
        all.shrink_to_fit();
        self.0 = all.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_in_the_order_of_their_deadlines() {
        let dues = [5, -1, i64::MIN, 1 << 40, (1 << 32) - 1, 1 << 32, i64::MAX - 1, 0];
        let mut index = ExpiryIndex::default();
        for (hash, due) in (0..).zip(dues) {
            index.push(due, hash);
        }
        let mut sorted = dues;
        sorted.sort_unstable();
        for due in sorted {
            assert_eq!(index.next_due(), Some(due));
            if due > i64::MIN {
                assert_eq!(index.pop_due(due - 1), None);
            }
            assert_eq!(dues[index.pop_due(due).unwrap() as usize], due);
        }
        assert_eq!(index.pop_due(i64::MAX), None);
    }

    #[test]
    fn memory_grows_by_an_eighth_at_a_time() {
        let (mut index, mut growths) = (ExpiryIndex::default(), 0);
        for len in 1..=10_000 {
            let before = index.0.capacity();
            index.push(0, 0);
            assert_eq!(index.len(), len);
            growths += usize::from(index.0.capacity() > before);
            assert!(index.0.capacity() <= len + len / 8 + 4, "{} for {len}", index.0.capacity());
        }
        assert!(growths < 100, "{growths}");
    }
}
