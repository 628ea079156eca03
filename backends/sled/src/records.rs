//! What the store does to records, in terms of sled's trees; everything here runs to its end on the
//! thread that calls it.

use chrono::{DateTime, Utc};
use larder_core::{Condition, Deadline, Error, Expiry, Resolved, Result, SetOptions};
use sled::{IVec, Tree};

use crate::error::SledError;
use crate::index::{ExpiryIndex, Slot};
use crate::keyspace::{self, KeyRange};
use crate::record::{self, Live, Record};

/// The tree of records, and the index of their deadlines.
///
/// A write that gives a record a deadline goes: entry, record, entry again if that has vanished
/// meanwhile, then the entry of the deadline that was replaced is removed, and put back should the
/// record have come to need it meanwhile. So a record with a deadline never stays without an entry,
/// whoever writes at the same time, and a crash in between leaves at worst a stale entry.
#[derive(Clone)]
pub(crate) struct Records {
    tree: Tree,
    index: ExpiryIndex,
}

/// What lies under a key, at one moment.
enum Current<'r> {
    /// Nothing, or a record that has expired.
    Absent,
    Live(Record<'r>),
    /// Something that cannot be read: there, and equal to nothing (`R4`).
    Corrupt,
}

impl<'r> Current<'r> {
    fn of(bytes: Option<&'r IVec>, now: DateTime<Utc>) -> Self {
        match bytes.map(|bytes| Record::read(bytes)) {
            None => Self::Absent,
            Some(Ok(record)) if record.is_expired(now) => Self::Absent,
            Some(Ok(record)) => Self::Live(record),
            Some(Err(_)) => Self::Corrupt,
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    fn meets(&self, condition: &Condition) -> bool {
        match self {
            Self::Absent => condition.holds(None),
            Self::Live(record) => condition.holds(Some(record.data)),
            Self::Corrupt => !matches!(condition, Condition::Absent | Condition::Matches(_)),
        }
    }

    fn expires_at(&self) -> Option<Deadline> {
        match self {
            Self::Live(record) => record.expires_at,
            Self::Absent | Self::Corrupt => None,
        }
    }
}

/// What a change of expiry found, and whether it wrote.
pub(crate) struct Renewal {
    /// The record as it is now; `None` when there is no live one.
    pub(crate) live: Option<Live>,
    pub(crate) wrote: bool,
}

/// How far a slice of a removal went.
pub(crate) struct Slice {
    /// How many live (or, when purging, expired) records it removed.
    pub(crate) removed: u64,
    /// Where the next slice begins; `None` at the end.
    pub(crate) next: Option<Vec<u8>>,
}

impl Records {
    pub(crate) fn new(tree: Tree, index: ExpiryIndex) -> Self {
        Self { tree, index }
    }

    pub(crate) fn raw(&self, physical: &[u8]) -> Result<Option<IVec>> {
        self.tree.get(physical).map_err(driver)
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn plant(&self, physical: &[u8], bytes: &[u8]) -> Result<()> {
        self.tree.insert(physical, bytes).map(drop).map_err(driver)
    }

    /// Reads a record, unless it is missing or past its deadline, and gives what `take` makes of it.
    #[inline]
    pub(crate) fn get<T>(
        &self,
        physical: &[u8],
        is_past: impl FnOnce(Deadline) -> bool,
        take: impl FnOnce(&IVec, Record<'_>) -> T,
    ) -> Result<Option<T>> {
        let Some(bytes) = self.raw(physical)? else { return Ok(None) };
        let record = Record::read(&bytes)?;
        Ok(if record.expires_at.is_some_and(is_past) { None } else { Some(take(&bytes, record)) })
    }

    /// Sets a value, and tells whether the condition held.
    pub(crate) fn set(
        &self,
        physical: &[u8],
        value: &[u8],
        options: &SetOptions,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let resolved = options.expiry.resolve(now);
        if options.condition == Condition::Any && resolved != Resolved::Keep {
            self.replace(physical, New::of(value, resolved, None))?;
            return Ok(true);
        }
        loop {
            let old = self.raw(physical)?;
            let current = Current::of(old.as_ref(), now);
            if !current.meets(&options.condition) {
                return Ok(false);
            }
            let new = New::of(value, resolved, current.expires_at());
            if self.swap(physical, old.as_ref(), new)? {
                return Ok(true);
            }
        }
    }

    /// Deletes a record, and tells whether it was live and the condition held.
    pub(crate) fn delete(
        &self,
        physical: &[u8],
        condition: &Condition,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        match condition {
            Condition::Any | Condition::Present => {
                let old = self.replace(physical, None)?;
                Ok(!Current::of(old.as_ref(), now).is_absent())
            }
            // A key that is absent has nothing to delete.
            Condition::Absent => Ok(false),
            _ => loop {
                let old = self.raw(physical)?;
                if !Current::of(old.as_ref(), now).meets(condition) {
                    return Ok(false);
                }
                if self.swap(physical, old.as_ref(), None)? {
                    return Ok(true);
                }
            },
        }
    }

    /// Changes the expiry of a live record; with `only_with_expiry`, of one that has an expiry (`E4`).
    pub(crate) fn change_expiry(
        &self,
        physical: &[u8],
        expiry: Expiry,
        only_with_expiry: bool,
        now: DateTime<Utc>,
    ) -> Result<Renewal> {
        let resolved = expiry.resolve(now);
        loop {
            let Some(old) = self.raw(physical)? else {
                return Ok(Renewal { live: None, wrote: false });
            };
            let record = Record::read(&old)?;
            if record.is_expired(now) {
                return Ok(Renewal { live: None, wrote: false });
            }
            let mut live = Live::of(&old, record);
            let new = if only_with_expiry && record.expires_at.is_none() {
                Some(New { data: record.data, expires_at: None })
            } else {
                New::of(record.data, resolved, record.expires_at)
            };
            if new.as_ref().is_some_and(|new| new.expires_at == record.expires_at) {
                return Ok(Renewal { live: Some(live), wrote: false });
            }
            if let Some(new) = &new {
                live.expires_at = new.expires_at;
            }
            if self.swap(physical, Some(&old), new)? {
                return Ok(Renewal { live: Some(live), wrote: true });
            }
        }
    }

    /// Walks up to `steps` records in order, and hands each live one's physical key to `visit`, which
    /// says where to go on; gives where the next walk begins.
    pub(crate) fn walk(
        &self,
        range: &KeyRange,
        steps: usize,
        now: DateTime<Utc>,
        mut visit: impl FnMut(&[u8]) -> Walk,
    ) -> Result<Option<Vec<u8>>> {
        let mut range = range.clone();
        let mut left = steps;
        'seek: while !range.is_empty() {
            for entry in self.tree.range::<&[u8], _>(range.bounds()) {
                let (physical, record) = entry.map_err(driver)?;
                if left == 0 {
                    return Ok(Some(physical.to_vec()));
                }
                left -= 1;
                if matches!(Current::of(Some(&record), now), Current::Live(_)) {
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
            }
            break;
        }
        Ok(None)
    }

    /// Removes up to `steps` records of a range, and counts the live ones.
    pub(crate) fn clear(
        &self,
        range: &KeyRange,
        steps: usize,
        now: DateTime<Utc>,
    ) -> Result<Slice> {
        let mut live = 0;
        if range.is_empty() {
            return Ok(Slice { removed: live, next: None });
        }
        for (step, entry) in self.tree.range::<&[u8], _>(range.bounds()).enumerate() {
            let (physical, _) = entry.map_err(driver)?;
            if step == steps {
                return Ok(Slice { removed: live, next: Some(physical.to_vec()) });
            }
            let old = self.replace(&physical, None)?;
            live += u64::from(!Current::of(old.as_ref(), now).is_absent());
        }
        Ok(Slice { removed: live, next: None })
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
            let entry = entry.map_err(driver)?;
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

    fn purge_one(&self, slot: Slot, physical: &[u8], now: DateTime<Utc>) -> Result<bool> {
        loop {
            let old = self.raw(physical)?;
            let expires_at = match old.as_ref().map(|bytes| Record::read(bytes)) {
                None => None,
                Some(Ok(record)) => record.expires_at,
                // Damaged; whether it has expired is not known.
                Some(Err(_)) => return Ok(false),
            };
            match expires_at {
                Some(deadline) if record::is_past(deadline, now) => {
                    // The very bytes that were found expired, or nothing.
                    if self.swap(physical, old.as_ref(), None)? {
                        if Slot::of(deadline) != slot {
                            self.forget(slot, physical)?;
                        }
                        return Ok(true);
                    }
                }
                Some(deadline) if Slot::of(deadline) == slot => return Ok(false),
                _ => {
                    self.forget(slot, physical)?;
                    return Ok(false);
                }
            }
        }
    }

    /// Writes whatever was there before, and gives that.
    fn replace(&self, physical: &[u8], new: Option<New<'_>>) -> Result<Option<IVec>> {
        let slot = self.announce(physical, new.as_ref())?;
        let old = match new {
            Some(new) => self.tree.insert(physical, new.to_bytes()),
            None => self.tree.remove(physical),
        }
        .map_err(driver)?;
        self.settle(physical, old.as_ref(), slot)?;
        Ok(old)
    }

    /// Writes if the very bytes `old` are there, and tells whether it did.
    fn swap(&self, physical: &[u8], old: Option<&IVec>, new: Option<New<'_>>) -> Result<bool> {
        let slot = self.announce(physical, new.as_ref())?;
        let new = new.map(|new| new.to_bytes());
        let swapped = self.tree.compare_and_swap(physical, old, new).map_err(driver)?.is_ok();
        if swapped {
            self.settle(physical, old, slot)?;
        }
        Ok(swapped)
    }

    /// Writes the entry that a record is about to need.
    fn announce(&self, physical: &[u8], new: Option<&New<'_>>) -> Result<Option<Slot>> {
        let slot = new.and_then(|new| new.expires_at).map(Slot::of);
        if let Some(slot) = slot {
            self.index.insert(slot, physical).map_err(driver)?;
        }
        Ok(slot)
    }

    /// After a write: makes sure of the new record's entry, and removes the old one's.
    fn settle(&self, physical: &[u8], old: Option<&IVec>, new: Option<Slot>) -> Result<()> {
        let old = old.and_then(slot_of);
        if old == new {
            return Ok(());
        }
        if let Some(slot) = new {
            // Whoever replaced an earlier record of the same slot may just have removed its entry.
            if !self.index.contains(slot, physical).map_err(driver)? {
                self.index.insert(slot, physical).map_err(driver)?;
            }
        }
        old.map_or(Ok(()), |slot| self.forget(slot, physical))
    }

    /// Removes an entry, unless the record needs it (again).
    fn forget(&self, slot: Slot, physical: &[u8]) -> Result<()> {
        self.index.remove(slot, physical).map_err(driver)?;
        if self.raw(physical)?.as_ref().and_then(slot_of) == Some(slot) {
            self.index.insert(slot, physical).map_err(driver)?;
        }
        Ok(())
    }
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

/// A record that is about to be written.
struct New<'n> {
    data: &'n [u8],
    expires_at: Option<Deadline>,
}

impl<'n> New<'n> {
    /// The record to write, or none where the expiry says that the key is gone.
    fn of(data: &'n [u8], resolved: Resolved, kept: Option<Deadline>) -> Option<Self> {
        let expires_at = match resolved {
            Resolved::Gone => return None,
            Resolved::Never => None,
            Resolved::Keep => kept,
            Resolved::At(deadline) => Some(deadline),
        };
        Some(Self { data, expires_at })
    }

    fn to_bytes(&self) -> IVec {
        record::write(self.data, self.expires_at)
    }
}

/// The slot of a record that can be read and has a deadline.
fn slot_of(bytes: &IVec) -> Option<Slot> {
    Record::read(bytes).ok()?.expires_at.map(Slot::of)
}

fn driver(error: sled::Error) -> Error {
    SledError::from(error).into()
}
