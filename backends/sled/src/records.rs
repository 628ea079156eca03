//! What the store does to one record at a time; everything here runs to its end on the thread that
//! calls it.

use chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Condition, Deadline, Error, ErrorKind, ExpiresIn, Expiry, Resolved, Result, SetOptions,
};
use sled::IVec;

use crate::found::{Current, Got, Live};
use crate::index::{ExpiryIndex, Slot};
use crate::large::{Chunked, LargeValues};
use crate::record::{Body, Record};
use crate::tree::Tree;

/// The most bytes of key and value together that are kept in one record: twenty such records stay
/// below sled's limit for a page.
const INLINE: usize = 5_800;

/// The tree of records, the index of their deadlines, and the values that are too large for a record.
///
/// A write that gives a record a deadline reads the old one first: where that has an entry in the slot of
/// the new deadline or in an earlier one, as most have, the new record takes the entry over, and it
/// is written if the old one is still there. Else it goes: entry, record, entry again if that has vanished
/// meanwhile, then the entry of the record that was replaced is removed, and put back should the
/// record have come to need it meanwhile. So a record with a deadline never stays without an entry,
/// whoever writes at the same time, and a crash in between leaves at worst a stale entry.
pub(crate) struct Records {
    pub(crate) tree: Tree,
    pub(crate) index: ExpiryIndex,
    pub(crate) large: LargeValues,
}

/// How a change of expiry goes about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal {
    pub(crate) expiry: Expiry,
    /// Only a record that has an expiry is changed (`E4`).
    pub(crate) only_with_expiry: bool,
    /// The value is given too.
    pub(crate) with_value: bool,
}

impl Records {
    /// Reads a value of at most `most` bytes.
    #[inline]
    pub(crate) fn get(
        &self,
        physical: &[u8],
        is_past: impl Fn(Deadline) -> bool,
        most: u64,
    ) -> Result<Got> {
        loop {
            let Some(bytes) = self.tree.get(physical)? else { return Ok(Got::Missing) };
            let Record { body, expires_at, .. } = Record::read(&bytes)?;
            if expires_at.is_some_and(&is_past) {
                return Ok(Got::Expired);
            }
            let value = match body {
                Body::Inline(data) => Bytes::copy_from_slice(data),
                Body::Chunked(chunked) if chunked.len > most => return Ok(Got::TooLarge),
                Body::Chunked(chunked) => match self.value_of(physical, &bytes, chunked)? {
                    Some(value) => value,
                    None => continue,
                },
            };
            return Ok(Got::Live(Live { value, expires_at }));
        }
    }

    /// How long a record still lives; `None` where there is none.
    pub(crate) fn expires_in(
        &self,
        physical: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<ExpiresIn>> {
        let Some(bytes) = self.tree.get(physical)? else { return Ok(None) };
        Ok(Some(ExpiresIn::until(Record::read(&bytes)?.expires_at, now)))
    }

    /// Removes what has expired, before anybody is told so: a change under way may have found it live,
    /// and writes only over the very record that it found (`S4`). False where something has come in its
    /// place that has to be looked at.
    #[cold]
    pub(crate) fn bury_expired(&self, physical: &[u8], now: DateTime<Utc>) -> Result<bool> {
        loop {
            let old = self.tree.get(physical)?;
            let current = Current::of(old.as_ref(), now);
            if !current.is_absent() {
                return Ok(false);
            }
            if self.bury(physical, &current, old.as_ref()) {
                return Ok(true);
            }
        }
    }

    /// Removes what was read, if it has expired; false where another record has come in its place.
    fn bury(&self, physical: &[u8], current: &Current<'_>, bytes: Option<&IVec>) -> bool {
        match bytes {
            // Where nothing can be written, no change succeeds either.
            Some(_) if current.is_absent() => self.swap(physical, bytes, None).unwrap_or(true),
            _ => true,
        }
    }

    /// The value that a record points to; `None` when the record was replaced meanwhile.
    fn value_of(&self, physical: &[u8], record: &IVec, chunked: Chunked) -> Result<Option<Bytes>> {
        if let Some(value) = self.large.read(chunked)? {
            return Ok(Some(value));
        }
        if self.tree.get(physical)?.as_ref() != Some(record) {
            return Ok(None);
        }
        // Chunks are removed after the record.
        Err(Error::new(ErrorKind::Corrupt, "the record's value is not there as a whole"))
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
        let mut body = None;
        let set = self.try_set(physical, value, &options.condition, resolved, now, &mut body);
        // Where the outcome is not known, it is left to the next opening.
        if let (Ok(false), Some(Body::Chunked(chunked))) = (&set, body) {
            self.large.discard(chunked)?;
        }
        set
    }

    fn try_set<'v>(
        &self,
        physical: &[u8],
        value: &'v [u8],
        condition: &Condition,
        resolved: Resolved,
        now: DateTime<Utc>,
        body: &mut Option<Body<'v>>,
    ) -> Result<bool> {
        let mut body = || match *body {
            Some(body) => Ok(body),
            None => self.body(physical, value).inspect(|new| *body = Some(*new)),
        };
        if *condition == Condition::Any && matches!(resolved, Resolved::Never | Resolved::Gone) {
            let body = if resolved == Resolved::Never { Some(body()?) } else { None };
            self.replace(physical, body)?;
            return Ok(true);
        }
        let mut new = |kept| match Change::of(resolved, kept) {
            Change::Remove => Ok(None),
            Change::Write(expires_at) => body().map(|body| Some(Record::new(body, expires_at))),
        };
        loop {
            let old = self.tree.get(physical)?;
            let current = Current::of(old.as_ref(), now);
            match self.meets(physical, old.as_ref(), &current, condition)? {
                Some(true) => {}
                Some(false) if self.bury(physical, &current, old.as_ref()) => return Ok(false),
                Some(false) | None => continue,
            }
            let new = new(current.expires_at())?;
            if self.swap(physical, old.as_ref(), new)? {
                return Ok(true);
            }
        }
    }

    /// What a new record will hold; a large value is written here.
    fn body<'v>(&self, physical: &[u8], value: &'v [u8]) -> Result<Body<'v>> {
        if physical.len() + value.len() <= INLINE {
            return Ok(Body::Inline(value));
        }
        self.large.write(physical, value).map(Body::Chunked)
    }

    /// Tells whether a condition holds; `None` when the record was replaced meanwhile.
    fn meets(
        &self,
        physical: &[u8],
        bytes: Option<&IVec>,
        current: &Current<'_>,
        condition: &Condition,
    ) -> Result<Option<bool>> {
        let holds = match (current, condition) {
            (Current::Absent, _) => condition.holds(None),
            (Current::Corrupt, _) => {
                !matches!(condition, Condition::Absent | Condition::Matches(_))
            }
            (Current::Live(Record { body: Body::Inline(data), .. }), _) => {
                condition.holds(Some(data))
            }
            (
                Current::Live(Record { body: Body::Chunked(chunked), .. }),
                Condition::Matches(version),
            ) => {
                if chunked.len != version.as_bytes().len() as u64 {
                    return Ok(Some(false));
                }
                let Some(bytes) = bytes else { return Ok(None) };
                let value = self.value_of(physical, bytes, *chunked)?;
                return Ok(value.map(|value| condition.holds(Some(&value))));
            }
            (Current::Live(_), _) => condition.holds(Some(&[])),
        };
        Ok(Some(holds))
    }

    /// Deletes a record, and tells whether it was live and the condition held.
    pub(crate) fn delete(
        &self,
        physical: &[u8],
        condition: &Condition,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        if matches!(condition, Condition::Any | Condition::Present) {
            let old = self.replace(physical, None)?;
            return Ok(!Current::of(old.as_ref(), now).is_absent());
        }
        loop {
            let old = self.tree.get(physical)?;
            let current = Current::of(old.as_ref(), now);
            let holds = match current {
                Current::Absent => Some(false),
                _ => self.meets(physical, old.as_ref(), &current, condition)?,
            };
            match holds {
                Some(true) => {}
                Some(false) if self.bury(physical, &current, old.as_ref()) => return Ok(false),
                Some(false) | None => continue,
            }
            if self.swap(physical, old.as_ref(), None)? {
                return Ok(true);
            }
        }
    }

    /// Changes the expiry of a live record, and tells whether that took a write; its value, if that
    /// is wanted, may have at most `most` bytes, else nothing is done.
    pub(crate) fn renew(
        &self,
        physical: &[u8],
        renewal: Renewal,
        now: DateTime<Utc>,
        most: u64,
    ) -> Result<(Got, bool)> {
        let resolved = renewal.expiry.resolve(now);
        loop {
            let Some(old) = self.tree.get(physical)? else { return Ok((Got::Missing, false)) };
            let record = Record::read(&old)?;
            if record.is_expired(now) {
                if self.bury_expired(physical, now)? {
                    return Ok((Got::Missing, false));
                }
                continue;
            }
            // Before the write: as long as the record stays as it is, so does its value.
            let value = match record.body {
                _ if !renewal.with_value => Bytes::new(),
                Body::Inline(data) => Bytes::copy_from_slice(data),
                Body::Chunked(chunked) if chunked.len > most => return Ok((Got::TooLarge, false)),
                Body::Chunked(chunked) => match self.value_of(physical, &old, chunked)? {
                    Some(value) => value,
                    None => continue,
                },
            };
            let mut live = Live { value, expires_at: record.expires_at };
            let new = match Change::of(resolved, record.expires_at) {
                _ if renewal.only_with_expiry && record.expires_at.is_none() => Some(record),
                Change::Remove => {
                    live.expires_at = Some(Deadline::from_micros(now.timestamp_micros()));
                    None
                }
                Change::Write(expires_at) if expires_at == record.expires_at => Some(record),
                Change::Write(expires_at) => {
                    live.expires_at = expires_at;
                    Some(Record::new(record.body, expires_at))
                }
            };
            let wrote = new != Some(record);
            if !wrote || self.swap(physical, Some(&old), new)? {
                return Ok((Got::Live(live), wrote));
            }
        }
    }

    /// Writes a value without a deadline, or removes, whatever was there before, and gives that.
    pub(crate) fn replace(&self, physical: &[u8], new: Option<Body<'_>>) -> Result<Option<IVec>> {
        let new = new.map(|body| Record::new(body, None));
        let bytes = match new {
            Some(record) => self.tree.insert(physical, record.write()),
            None => self.tree.remove(physical),
        }?;
        self.settle(physical, read(bytes.as_ref()), new)?;
        Ok(bytes)
    }

    /// Writes if the very bytes `old` are there, and tells whether it did; takes the old record's entry
    /// over where that will do.
    pub(crate) fn swap(
        &self,
        physical: &[u8],
        old: Option<&IVec>,
        new: Option<Record<'_>>,
    ) -> Result<bool> {
        let record = read(old);
        let new = new.map(|new| new.with_entry_in(slot_of(record)));
        self.swap_records(physical, old, record, new)
    }

    /// As [`swap`](Self::swap), with the entry where the new record says.
    pub(crate) fn swap_records(
        &self,
        physical: &[u8],
        old: Option<&IVec>,
        record: Option<Record<'_>>,
        new: Option<Record<'_>>,
    ) -> Result<bool> {
        if let Some(slot) = slot_of(new)
            && slot_of(record) != Some(slot)
        {
            self.index.insert(slot, physical)?;
        }
        let swapped = self.tree.swap(physical, old, new.map(|record| record.write()))?;
        if swapped {
            self.settle(physical, record, new)?;
        }
        Ok(swapped)
    }

    /// After a write: makes sure of the new record's entry, and removes what only the old one needed.
    fn settle(
        &self,
        physical: &[u8],
        old: Option<Record<'_>>,
        new: Option<Record<'_>>,
    ) -> Result<()> {
        let (old_slot, new_slot) = (slot_of(old), slot_of(new));
        if old_slot != new_slot {
            if let Some(slot) = new_slot {
                // Whoever replaced an earlier record of this slot may just have removed its entry.
                if !self.index.contains(slot, physical)? {
                    self.index.insert(slot, physical)?;
                }
            }
            if let Some(slot) = old_slot {
                self.forget(slot, physical)?;
            }
        }
        match old.and_then(|record| record.chunked()) {
            Some(chunked) if new.and_then(|record| record.chunked()) != Some(chunked) => {
                self.large.discard(chunked)
            }
            _ => Ok(()),
        }
    }

    /// Removes an entry, unless the record needs it (again).
    pub(crate) fn forget(&self, slot: Slot, physical: &[u8]) -> Result<()> {
        self.index.remove(slot, physical)?;
        if slot_of(read(self.tree.get(physical)?.as_ref())) == Some(slot) {
            self.index.insert(slot, physical)?;
        }
        Ok(())
    }

    /// After opening: removes values that a crash left without their record.
    pub(crate) fn recover(&self) -> Result<()> {
        self.large.recover(|physical, set| {
            let Some(bytes) = self.tree.get(physical)? else { return Ok(false) };
            Ok(match Record::read(&bytes) {
                Ok(record) => record.chunked().is_some_and(|chunked| chunked.set == set),
                // It may be the one that cannot be read.
                Err(_) => true,
            })
        })
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn plant(&self, physical: &[u8], bytes: &[u8]) -> Result<()> {
        self.tree.insert(physical, bytes.into()).map(drop)
    }
}

/// What an expiry makes of a record.
enum Change {
    Remove,
    Write(Option<Deadline>),
}

impl Change {
    fn of(resolved: Resolved, kept: Option<Deadline>) -> Self {
        match resolved {
            Resolved::Gone => Self::Remove,
            Resolved::Never => Self::Write(None),
            Resolved::Keep => Self::Write(kept),
            Resolved::At(deadline) => Self::Write(Some(deadline)),
        }
    }
}

/// The record that these bytes are; `None` where there is none or it is damaged.
fn read(bytes: Option<&IVec>) -> Option<Record<'_>> {
    Record::read(bytes?).ok()
}

fn slot_of(record: Option<Record<'_>>) -> Option<Slot> {
    record?.slot
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::driver::Driver;

    /// A change that read the clock before the deadline, and comes to the record after somebody has
    /// been told that it is dead.
    #[test]
    fn whoever_is_told_that_a_key_is_dead_is_never_proved_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let driver = Driver::open(directory.path(), 1 << 20, &Arc::default()).unwrap();
        let early = DateTime::UNIX_EPOCH;
        let (key, life) = (b"\0k".as_slice(), Duration::from_secs(1));
        let late = early + life;
        let present = SetOptions::default().with_condition(Condition::Present);
        let version = Condition::Matches(larder_core::Version::new("x"));
        let renewal = Renewal { expiry: Expiry::Never, only_with_expiry: false, with_value: false };
        let told = |records: &Records, way: usize| match way {
            0 => records.bury_expired(key, late),
            1 => records.set(key, b"new", &present, late).map(|applied| !applied),
            2 => records.delete(key, &version, late).map(|deleted| !deleted),
            _ => records.renew(key, renewal, late, u64::MAX).map(|(got, _)| got == Got::Missing),
        };
        for value in [&b"small"[..], &vec![7; 40_000]] {
            for way in 0..4 {
                let (dead, applied, renewed) = driver
                    .run(|records| {
                        let options = SetOptions::default().with_expiry(life);
                        records.set(key, value, &options, early)?;
                        let dead = told(records, way)?;
                        let applied = records.set(key, b"new", &present, early)?;
                        Ok((dead, applied, records.renew(key, renewal, early, u64::MAX)?.0))
                    })
                    .unwrap();
                assert!(dead && !applied && renewed == Got::Missing, "{way}");
            }
        }
        assert_eq!(driver.run(|records| Ok(records.tree.range(&[], None).count())).unwrap(), 0);
        driver.close().unwrap();
    }
}
