//! Values that do not fit into their record.
//!
//! sled writes a page of its tree (up to some twenty neighbouring records) as one piece, and one of
//! over 128 KiB as a file of its own: such pages never leave its memory, and when one cannot be
//! written, because the disk is full, every later flush waits for ever. So no page gets that large
//! here. A value that would make one too large is cut into chunks, in a tree of their own:
//!
//! ```text
//! set number (8 bytes), chunk number (4 bytes)   content
//! 17 0                                           the physical key of the record
//! 17 1                                           the first CHUNK bytes
//! 17 2                                           the next ones
//! ```
//!
//! A set is written before the record that points to it, and removed after the last record that did
//! is gone; its number is never used again. So a reader that finds a chunk missing has only to read
//! the record again. What a crash leaves over is removed at the next opening.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use larder_core::{Bytes, Result};
use sled::IVec;

use crate::keyspace;
use crate::tree::Tree;

/// The bytes of a chunk: twenty of them and their keys stay below sled's limit for a page.
const CHUNK: usize = 6 * 1024;
/// How many chunks are read one by one, and removed at once by the caller who has replaced a value.
const FEW: u64 = 16;
/// The chunk that holds the record's key.
const OWNER: u32 = 0;
/// The entry that is there as long as no set is without its record.
const CLEAN: &[u8] = b"clean";

/// Where the value of a record is: the number of its set, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunked {
    pub(crate) set: u64,
    pub(crate) len: u64,
}

impl Chunked {
    fn chunks(self) -> u64 {
        self.len.div_ceil(CHUNK as u64)
    }
}

/// The tree of chunks.
pub(crate) struct LargeValues {
    tree: Tree,
    /// Sets that no record points to any more, too large to be removed in passing.
    discarded: Mutex<Vec<Chunked>>,
    has_discarded: AtomicBool,
}

impl LargeValues {
    pub(crate) fn new(tree: Tree) -> Self {
        Self { tree, discarded: Mutex::default(), has_discarded: AtomicBool::new(false) }
    }

    /// Writes the value of the record under `physical`, which is yet to point to it.
    pub(crate) fn write(&self, physical: &[u8], value: &[u8]) -> Result<Chunked> {
        // Turned around, so that sets written at the same time lie in different pages.
        let set = self.tree.unique_number()?.reverse_bits();
        let chunked = Chunked { set, len: value.len() as u64 };
        self.insert(set, OWNER, physical)?;
        for (number, chunk) in (1..).zip(value.chunks(CHUNK)) {
            self.insert(set, number, chunk)?;
        }
        Ok(chunked)
    }

    fn insert(&self, set: u64, number: u32, content: &[u8]) -> Result<()> {
        self.tree.insert(&entry(set, number), content.into()).map(drop)
    }

    /// Reads a value; `None` when it is not there as a whole.
    pub(crate) fn read(&self, chunked: Chunked) -> Result<Option<Bytes>> {
        let Ok(last) = u32::try_from(chunked.chunks()) else { return Ok(None) };
        if u64::from(last) <= FEW {
            return self.read_one_by_one(chunked, last);
        }
        // Room is made for no more than what is there.
        if last > 0 && !self.tree.contains(&entry(chunked.set, last))? {
            return Ok(None);
        }
        let mut value = Vec::with_capacity(usize::try_from(chunked.len).unwrap_or(0));
        let mut expected = 1..=last;
        for chunk in self.set(chunked.set) {
            let (key, chunk) = chunk?;
            if expected.next().is_none_or(|number| key != entry(chunked.set, number)) {
                return Ok(None);
            }
            value.extend_from_slice(&chunk);
        }
        let whole = expected.is_empty() && value.len() as u64 == chunked.len;
        Ok(whole.then(|| value.into()))
    }

    /// Finding each of a few chunks is quicker than walking from one to the next.
    fn read_one_by_one(&self, chunked: Chunked, last: u32) -> Result<Option<Bytes>> {
        let mut value = Vec::with_capacity(usize::try_from(chunked.len).unwrap_or(0));
        for number in 1..=last {
            let Some(chunk) = self.tree.get(&entry(chunked.set, number))? else { return Ok(None) };
            value.extend_from_slice(&chunk);
        }
        let whole = value.len() as u64 == chunked.len
            && !self.tree.contains(&entry(chunked.set, last + 1))?;
        Ok(whole.then(|| value.into()))
    }

    /// The chunks of a set, without its owner.
    fn set(&self, set: u64) -> impl Iterator<Item = Result<(IVec, IVec)>> + use<> {
        let end = keyspace::successor(&entry(set, u32::MAX));
        self.tree.range(&entry(set, OWNER + 1), Some(&end))
    }

    /// Removes a value that no record points to any more; at once when it is small, else when
    /// [`collect`](Self::collect) is next called.
    pub(crate) fn discard(&self, chunked: Chunked) -> Result<()> {
        if chunked.chunks() <= FEW {
            return self.remove(chunked.set);
        }
        self.discarded.lock().unwrap_or_else(PoisonError::into_inner).push(chunked);
        self.has_discarded.store(true, Ordering::Release);
        Ok(())
    }

    /// Tells whether there is something to collect.
    pub(crate) fn has_discarded(&self) -> bool {
        self.has_discarded.load(Ordering::Acquire)
    }

    /// Removes what was discarded.
    pub(crate) fn collect(&self) -> Result<()> {
        self.has_discarded.store(false, Ordering::Release);
        loop {
            let mut discarded = self.discarded.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(chunked) = discarded.pop() else { return Ok(()) };
            drop(discarded);
            self.remove(chunked.set)?;
        }
    }

    /// Removes whatever there is of a set, the owner last.
    fn remove(&self, set: u64) -> Result<()> {
        for chunk in self.set(set) {
            let (key, _) = chunk?;
            self.tree.remove(&key)?;
        }
        self.tree.remove(&entry(set, OWNER)).map(drop)
    }

    /// Notes that no set is without its record; the last write before the database is closed.
    pub(crate) fn mark_clean(&self) -> Result<()> {
        self.tree.insert(CLEAN, IVec::default()).map(drop)
    }

    /// Takes that note back, the first write after opening; where it is missing, removes the sets
    /// whose record does not point to them, as `points_to` tells.
    pub(crate) fn recover(&self, points_to: impl Fn(&[u8], u64) -> Result<bool>) -> Result<()> {
        // Numbers that were given out before are skipped, which flushes; done here, it holds up no
        // caller.
        self.tree.unique_number()?;
        if self.tree.remove(CLEAN)?.is_some() {
            return Ok(());
        }
        let mut from = Vec::new();
        while let Some(found) = self.tree.range(&from, None).next() {
            let (key, content) = found?;
            let Some((set, number)) = split(&key) else {
                from = keyspace::successor(&key);
                continue;
            };
            if number != OWNER || !points_to(&content, set)? {
                self.remove(set)?;
            }
            from = keyspace::successor(&entry(set, u32::MAX));
        }
        Ok(())
    }
}

fn entry(set: u64, number: u32) -> [u8; 12] {
    let mut entry = [0; 12];
    entry[..8].copy_from_slice(&set.to_be_bytes());
    entry[8..].copy_from_slice(&number.to_be_bytes());
    entry
}

fn split(entry: &[u8]) -> Option<(u64, u32)> {
    let (set, number) = entry.split_first_chunk()?;
    Some((u64::from_be_bytes(*set), u32::from_be_bytes(number.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &tempfile::TempDir) -> LargeValues {
        LargeValues::new(crate::tree::testing::open(directory.path()))
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect()
    }

    fn left(values: &LargeValues) -> usize {
        values.tree.range(&[], None).count()
    }

    #[test]
    fn every_length_comes_back_and_is_removed_whole() {
        let directory = tempfile::tempdir().unwrap();
        let values = open(&directory);
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 40 * CHUNK + 3] {
            let chunked = values.write(b"k", &bytes(len)).unwrap();
            assert_eq!(values.read(chunked).unwrap().unwrap(), bytes(len));
            values.discard(chunked).unwrap();
            assert_eq!(values.has_discarded(), len > 16 * CHUNK);
            values.collect().unwrap();
            assert!(!values.has_discarded());
            assert_eq!(values.read(chunked).unwrap().filter(|value| !value.is_empty()), None);
            assert_eq!(left(&values), 0);
        }
    }

    #[test]
    fn a_value_of_which_anything_is_missing_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let values = open(&directory);
        for number in 1..=4 {
            let chunked = values.write(b"k", &bytes(3 * CHUNK + 1)).unwrap();
            values.tree.remove(&entry(chunked.set, number)).unwrap();
            assert_eq!(values.read(chunked).unwrap(), None);
        }
        let chunked = values.write(b"k", &bytes(3 * CHUNK)).unwrap();
        for len in [0, 1, 2 * CHUNK, 3 * CHUNK - 1, 3 * CHUNK + 1, 4 * CHUNK, usize::MAX] {
            let other = Chunked { len: len as u64, ..chunked };
            assert_eq!(values.read(other).unwrap(), None, "{len}");
        }
    }

    #[test]
    fn what_a_crash_left_without_a_record_is_removed_at_the_next_opening() {
        let directory = tempfile::tempdir().unwrap();
        let values = open(&directory);
        let kept = values.write(b"kept", &bytes(2 * CHUNK)).unwrap();
        values.write(b"orphan", &bytes(2 * CHUNK)).unwrap();
        let cut = values.write(b"kept", &bytes(2 * CHUNK)).unwrap();
        values.tree.remove(&entry(cut.set, OWNER)).unwrap();
        let points_to = |physical: &[u8], set| Ok(physical == b"kept" && set == kept.set);
        values.recover(points_to).unwrap();
        assert_eq!(values.read(kept).unwrap().unwrap(), bytes(2 * CHUNK));
        assert_eq!(left(&values), 3);
    }

    #[test]
    fn after_a_clean_end_nothing_is_looked_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let values = open(&directory);
        let orphan = values.write(b"orphan", &bytes(CHUNK)).unwrap();
        values.mark_clean().unwrap();
        values.recover(|_, _| Ok(false)).unwrap();
        assert!(values.read(orphan).unwrap().is_some());
        values.recover(|_, _| Ok(false)).unwrap();
        assert_eq!(left(&values), 0);
    }
}
