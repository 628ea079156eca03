//! What the store does to records, in terms of sled's trees; everything here runs to its end on the
//! thread that calls it.

use chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Condition, Error, Expiry, RecordReader, Resolved, Result, SetOptions, StorageObject,
};
use sled::{IVec, Tree};

use crate::error::SledError;
use crate::index::{ExpiryIndex, Slot};
use crate::keyspace::{self, KeyRange};

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
enum Current {
    /// Nothing, or a record that has expired.
    Absent,
    Live(StorageObject),
    /// Something that cannot be decoded: there, but not read (`R4`).
    Corrupt,
}

impl Current {
    fn of(record: Option<&IVec>, now: DateTime<Utc>) -> Self {
        match record.map(decode) {
            None => Self::Absent,
            Some(Ok(object)) if object.is_expired(now) => Self::Absent,
            Some(Ok(object)) => Self::Live(object),
            Some(Err(_)) => Self::Corrupt,
        }
    }

    fn meets(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Any => true,
            Condition::Absent => matches!(self, Self::Absent),
            Condition::Present => !matches!(self, Self::Absent),
            Condition::Matches(version) => {
                matches!(self, Self::Live(object) if object.data == version.as_bytes())
            }
            _ => false,
        }
    }

    fn expires_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Live(object) => object.expires_at,
            Self::Absent | Self::Corrupt => None,
        }
    }
}

/// What a change of expiry found, and whether it wrote.
pub(crate) struct Renewal {
    /// The record as it is now; `None` when there is no live one.
    pub(crate) live: Option<StorageObject>,
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

    /// The record, unless it is missing or has expired; the clock is read only where that matters.
    pub(crate) fn get(
        &self,
        physical: &[u8],
        now: impl FnOnce() -> DateTime<Utc>,
    ) -> Result<Option<StorageObject>> {
        let Some(record) = self.raw(physical)? else { return Ok(None) };
        let object = decode(&record)?;
        if object.expires_at.is_some() && object.is_expired(now()) {
            return Ok(None);
        }
        Ok(Some(object))
    }

    /// Sets a value, and tells whether the condition held.
    pub(crate) fn set(
        &self,
        physical: &[u8],
        value: &Bytes,
        options: &SetOptions,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let resolved = options.expiry.resolve(now);
        if options.condition == Condition::Any && resolved != Resolved::Keep {
            self.replace(physical, record(value, resolved, None))?;
            return Ok(true);
        }
        loop {
            let old = self.raw(physical)?;
            let current = Current::of(old.as_ref(), now);
            if !current.meets(&options.condition) {
                return Ok(false);
            }
            let new = record(value, resolved, current.expires_at());
            if self.swap(physical, old.as_ref(), new.as_ref())? {
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
                Ok(!matches!(Current::of(old.as_ref(), now), Current::Absent))
            }
            Condition::Matches(_) => loop {
                let old = self.raw(physical)?;
                if !Current::of(old.as_ref(), now).meets(condition) {
                    return Ok(false);
                }
                if self.swap(physical, old.as_ref(), None)? {
                    return Ok(true);
                }
            },
            // A key that is absent has nothing to delete.
            _ => Ok(false),
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
            let mut object = decode(&old)?;
            if object.is_expired(now) {
                return Ok(Renewal { live: None, wrote: false });
            }
            let expires_at = match resolved {
                _ if only_with_expiry && object.expires_at.is_none() => None,
                Resolved::Keep => object.expires_at,
                Resolved::Never => None,
                Resolved::At(deadline) => Some(deadline.to_datetime()),
                Resolved::Gone => {
                    if self.swap(physical, Some(&old), None)? {
                        return Ok(Renewal { live: Some(object), wrote: true });
                    }
                    continue;
                }
            };
            if expires_at == object.expires_at {
                return Ok(Renewal { live: Some(object), wrote: false });
            }
            object.expires_at = expires_at;
            if self.swap(physical, Some(&old), Some(&object))? {
                return Ok(Renewal { live: Some(object), wrote: true });
            }
        }
    }

    /// Walks records in order, and hands each live one's physical key to `visit`, which says where
    /// to go on.
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
                if expiry_of(&record).is_ok_and(|expiry| is_live(expiry, now)) {
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
            live += u64::from(!matches!(Current::of(old.as_ref(), now), Current::Absent));
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
            let expiry = match old.as_ref().map(|record| expiry_of(record)) {
                None => None,
                Some(Ok(expiry)) => expiry,
                // Damaged; whether it has expired is not known.
                Some(Err(_)) => return Ok(false),
            };
            match expiry {
                Some(deadline) if deadline <= now => {
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
    fn replace(&self, physical: &[u8], new: Option<StorageObject>) -> Result<Option<IVec>> {
        let slot = self.announce(physical, new.as_ref())?;
        let old = match new {
            Some(object) => self.tree.insert(physical, &*object.to_bytes()),
            None => self.tree.remove(physical),
        }
        .map_err(driver)?;
        self.settle(physical, old.as_ref(), slot)?;
        Ok(old)
    }

    /// Writes if the very bytes `old` are there, and tells whether it did.
    fn swap(
        &self,
        physical: &[u8],
        old: Option<&IVec>,
        new: Option<&StorageObject>,
    ) -> Result<bool> {
        let slot = self.announce(physical, new)?;
        let new = new.map(|object| IVec::from(&*object.to_bytes()));
        let swapped = self.tree.compare_and_swap(physical, old, new).map_err(driver)?.is_ok();
        if swapped {
            self.settle(physical, old, slot)?;
        }
        Ok(swapped)
    }

    /// Writes the entry that a record is about to need.
    fn announce(&self, physical: &[u8], new: Option<&StorageObject>) -> Result<Option<Slot>> {
        let slot = new.and_then(|object| object.expires_at).map(Slot::of);
        if let Some(slot) = slot {
            self.index.insert(slot, physical).map_err(driver)?;
        }
        Ok(slot)
    }

    /// After a write: makes sure of the new record's entry, and removes the old one's.
    fn settle(&self, physical: &[u8], old: Option<&IVec>, new: Option<Slot>) -> Result<()> {
        let old = old.and_then(|record| expiry_of(record).ok().flatten()).map(Slot::of);
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
        if let Some(record) = self.raw(physical)?
            && expiry_of(&record).is_ok_and(|expiry| expiry.map(Slot::of) == Some(slot))
        {
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

/// The record to write, or none where the expiry says that the key is gone.
fn record(value: &Bytes, resolved: Resolved, kept: Option<DateTime<Utc>>) -> Option<StorageObject> {
    let expires_at = match resolved {
        Resolved::Gone => return None,
        Resolved::Never => None,
        Resolved::Keep => kept,
        Resolved::At(deadline) => Some(deadline.to_datetime()),
    };
    Some(StorageObject::new(value.clone(), expires_at))
}

fn is_live(expiry: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    expiry.is_none_or(|deadline| deadline > now)
}

/// The record in full; its data shares sled's own buffer, which holds this record alone.
fn decode(record: &IVec) -> Result<StorageObject> {
    StorageObject::from_bytes(Bytes::from_owner(record.clone()))
}

/// The expiry alone, from a record that is valid as a whole.
fn expiry_of(record: &[u8]) -> Result<Option<DateTime<Utc>>> {
    let mut reader = RecordReader::new(record)?;
    let (mut expires_at, mut data) = (None, None);
    while let Some(field) = reader.next_field()? {
        match field {
            "expires_at" => expires_at = Some(reader.expires_at()?),
            "data" => data = Some(reader.bin()?),
            _ => reader.skip()?,
        }
    }
    reader.finish()?;
    match (expires_at, data) {
        (Some(expires_at), Some(_)) => Ok(expires_at),
        _ => Err(larder_core::ErrorKind::Corrupt.into()),
    }
}

fn driver(error: sled::Error) -> Error {
    SledError::from(error).into()
}
