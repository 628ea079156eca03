//! What the store does to many records, in slices; everything here runs to its end on the thread
//! that calls it.

use chrono::{DateTime, Utc};
use larder_core::Result;

use crate::found::Current;
use crate::index::Slot;
use crate::keyspace::{self, KeyRange};
use crate::record::Record;
use crate::records::Records;

/// How far a slice of a removal went.
pub(crate) struct Slice {
    /// How many live (or, when purging, expired) records it removed.
    pub(crate) removed: u64,
    /// Where the next slice begins; `None` at the end.
    pub(crate) next: Option<Vec<u8>>,
}

/// Where a walk goes after a record.
pub(crate) enum Walk {
    /// To the next one.
    On,
    /// To the first one at or after this key, or to the end.
    Seek(Option<Vec<u8>>),
    /// Nowhere; the next page begins behind this record.
    StopAfter,
    /// Nowhere; the next page begins at this key, and there is none without it.
    StopBefore(Option<Vec<u8>>),
}

impl Records {
    /// Walks up to `steps` records in order, and hands the physical key of each one that is there to
    /// `visit`, which says where to go on; gives where the next walk begins.
    ///
    /// A damaged record is there, and its key is known (`R4`).
    pub(crate) fn walk(
        &self,
        range: &KeyRange,
        steps: usize,
        now: DateTime<Utc>,
        mut visit: impl FnMut(&[u8]) -> Walk,
    ) -> Result<Option<Vec<u8>>> {
        let mut range = range.clone();
        let mut left = steps;
        'seek: loop {
            for entry in self.tree.range(&range.from, range.end.as_deref()) {
                let (physical, bytes) = entry?;
                if left == 0 {
                    return Ok(Some(physical.to_vec()));
                }
                left -= 1;
                if Current::of(Some(&bytes), now).is_absent() {
                    continue;
                }
                match visit(&physical) {
                    Walk::On => {}
                    Walk::Seek(Some(key)) => {
                        range = range.starting_at(key);
                        continue 'seek;
                    }
                    Walk::Seek(None) => return Ok(None),
                    Walk::StopBefore(key) => return Ok(key),
                    Walk::StopAfter => return Ok(Some(keyspace::successor(&physical))),
                }
            }
            return Ok(None);
        }
    }

    /// Removes up to `steps` records of a range, and counts the live ones.
    pub(crate) fn clear(
        &self,
        range: &KeyRange,
        steps: usize,
        now: DateTime<Utc>,
    ) -> Result<Slice> {
        let mut removed = 0;
        for (step, entry) in self.tree.range(&range.from, range.end.as_deref()).enumerate() {
            let (physical, _) = entry?;
            if step == steps {
                return Ok(Slice { removed, next: Some(physical.to_vec()) });
            }
            let old = self.replace(&physical, None)?;
            removed += u64::from(!Current::of(old.as_ref(), now).is_absent());
        }
        Ok(Slice { removed, next: None })
    }

    /// Looks at up to `steps` due entries of the index, removes the records below `prefix` that have
    /// expired and the entries that are stale, and counts the records (`E6`).
    pub(crate) fn purge(
        &self,
        prefix: &[u8],
        from: &[u8],
        steps: usize,
        now: DateTime<Utc>,
    ) -> Result<Slice> {
        let mut removed = 0;
        for (step, entry) in self.index.due(from, now).enumerate() {
            let entry = entry?;
            if step == steps {
                return Ok(Slice { removed, next: Some(entry.as_bytes().to_vec()) });
            }
            if let Some((slot, physical)) = entry.parts()
                && physical.starts_with(prefix)
            {
                removed += u64::from(self.purge_one(slot, physical, now)?);
            }
        }
        Ok(Slice { removed, next: None })
    }

    /// Tells whether the record of a due entry had expired and was removed. An entry that its record
    /// took over from one with an earlier deadline goes to where it belongs.
    fn purge_one(&self, slot: Slot, physical: &[u8], now: DateTime<Utc>) -> Result<bool> {
        loop {
            let old = self.tree.get(physical)?;
            let record = match old.as_ref().map(|bytes| Record::read(bytes)) {
                None => None,
                Some(Ok(record)) => Some(record),
                // Damaged; whether it has expired is not known.
                Some(Err(_)) => return Ok(false),
            };
            if let Some(record) = record.filter(|record| record.is_expired(now)) {
                // The very bytes that were found expired, or nothing.
                if self.swap(physical, old.as_ref(), None)? {
                    if record.slot != Some(slot) {
                        self.forget(slot, physical)?;
                    }
                    return Ok(true);
                }
                continue;
            }
            let Some(record) = record.filter(|record| record.slot == Some(slot)) else {
                self.forget(slot, physical)?;
                return Ok(false);
            };
            let moved = Record::new(record.body, record.expires_at);
            if moved == record
                || self.swap_records(physical, old.as_ref(), Some(record), Some(moved))?
            {
                return Ok(false);
            }
        }
    }
}
