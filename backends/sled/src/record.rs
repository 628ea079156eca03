//! The bytes of one record: a [`StorageObject`](larder_core::StorageObject) (`R1`), or, for a value
//! that is kept in chunks, the same with the fields `chunks` and `len` in place of `data`. A field
//! `slot`, after `expires_at`, names the slot of the record's entry in the expiry index where that is not
//! the one of the deadline.
//!
//! What we write ourselves has few shapes, and the most frequent one is read in a few comparisons;
//! everything else goes through the general reader. Records are read on every call, so the
//! difference counts.

use chrono::{DateTime, Utc};
use larder_core::{Deadline, ErrorKind, RecordReader, Result, write_expires_at};
use sled::IVec;

use crate::index::Slot;
use crate::large::Chunked;

const BEFORE_EXPIRY: &[u8; 11] = b"\xaaexpires_at";
const BEFORE_SLOT: &[u8; 6] = b"\xa4slot\xcf";
const BEFORE_DATA: &[u8; 5] = b"\xa4data";

const BEFORE_CHUNKS: &[u8] = b"\xa6chunks\xcf";
const BEFORE_LEN: &[u8] = b"\xa3len\xcf";

/// At least what a record takes beside the data in it: both expiry and slot at their longest.
const MOST_AROUND_DATA: usize = 64;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'r> {
    pub(crate) body: Body<'r>,
    pub(crate) expires_at: Option<Deadline>,
    /// Where the index has the record's entry; none for a record without a deadline.
    pub(crate) slot: Option<Slot>,
}

/// The value of a record, or where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'r> {
    Inline(&'r [u8]),
    Chunked(Chunked),
}

impl<'r> Record<'r> {
    /// A record whose entry is in the slot of its deadline.
    pub(crate) fn new(body: Body<'r>, expires_at: Option<Deadline>) -> Self {
        Self { body, expires_at, slot: expires_at.map(Slot::of) }
    }

    /// The same record with its entry in `slot`, if that is no later than its own.
    pub(crate) fn with_entry_in(self, slot: Option<Slot>) -> Self {
        Self { slot: self.slot.map(|own| slot.map_or(own, |slot| slot.min(own))), ..self }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub(crate) fn read(bytes: &'r [u8]) -> Result<Self> {
        match Self::read_own(bytes) {
            Some(record) => Ok(record),
            None => Self::read_any(bytes),
        }
    }

    /// Reads a record as [`write`] writes it; `None` for any other.
    #[inline]
    fn read_own(bytes: &'r [u8]) -> Option<Self> {
        let (fields, rest) = bytes.split_first()?;
        let rest = after(BEFORE_EXPIRY, rest)?;
        let (expires_at, rest) = match rest {
            [0xc0, rest @ ..] => (None, rest),
            [0xd6, 0xff, rest @ ..] => {
                let (seconds, rest) = rest.split_first_chunk()?;
                (Some((u64::from(u32::from_be_bytes(*seconds)), 0)), rest)
            }
            [0xd7, 0xff, rest @ ..] => {
                let (packed, rest) = rest.split_first_chunk()?;
                let packed = u64::from_be_bytes(*packed);
                (Some((packed & 0x3_ffff_ffff, packed >> 34)), rest)
            }
            _ => return None,
        };
        let expires_at = match expires_at {
            None => None,
            Some((seconds, nanos)) => Some(deadline(seconds, nanos)?),
        };
        let (slot, rest) = match (fields, after(BEFORE_SLOT, rest)) {
            (0x82, None) => (None, rest),
            (0x83, Some(rest)) => {
                let (slot, rest) = rest.split_first_chunk()?;
                (Some(Slot::from_ordinal(u64::from_be_bytes(*slot))), rest)
            }
            _ => return None,
        };
        let (len, data) = match after(BEFORE_DATA, rest)? {
            [0xc4, len, data @ ..] => (u64::from(*len), data),
            [0xc5, rest @ ..] => {
                let (len, data) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*len)), data)
            }
            [0xc6, rest @ ..] => {
                let (len, data) = rest.split_first_chunk()?;
                (u64::from(u32::from_be_bytes(*len)), data)
            }
            _ => return None,
        };
        let record = Self::new(Body::Inline(data), expires_at).with_entry_in(slot);
        (data.len() as u64 == len).then_some(record)
    }

    #[cold]
    fn read_any(bytes: &'r [u8]) -> Result<Self> {
        let mut reader = RecordReader::new(bytes)?;
        let (mut expires_at, mut data, mut set, mut len, mut slot) = (None, None, None, None, None);
        while let Some(field) = reader.next_field()? {
            match field {
                "expires_at" => expires_at = Some(reader.expires_at()?),
                "data" => data = Some(reader.bin()?),
                "chunks" => set = Some(reader.uint()?),
                "len" => len = Some(reader.uint()?),
                "slot" => slot = Some(Slot::from_ordinal(reader.uint()?)),
                _ => reader.skip()?,
            }
        }
        reader.finish()?;
        let body = match (data, set, len) {
            (Some(data), None, None) => Body::Inline(&bytes[data]),
            (None, Some(set), Some(len)) => Body::Chunked(Chunked { set, len }),
            _ => return Err(ErrorKind::Corrupt.into()),
        };
        let expires_at = expires_at.ok_or(ErrorKind::Corrupt)?.map(Deadline::at);
        Ok(Self::new(body, expires_at).with_entry_in(slot))
    }

    /// Tells whether the record has expired.
    #[inline]
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|deadline| is_past(deadline, now))
    }

    /// Where the value is, if it is not in the record.
    pub(crate) fn chunked(&self) -> Option<Chunked> {
        match self.body {
            Body::Inline(_) => None,
            Body::Chunked(chunked) => Some(chunked),
        }
    }

    /// The bytes of the record.
    pub(crate) fn write(&self) -> IVec {
        let inline = match self.body {
            Body::Inline(data) => data.len(),
            Body::Chunked(_) => 0,
        };
        let mut out = Vec::with_capacity(MOST_AROUND_DATA + inline);
        let slot = self.slot.filter(|slot| Some(*slot) != self.expires_at.map(Slot::of));
        let body_fields = if matches!(self.body, Body::Inline(_)) { 1 } else { 2 };
        out.push(0x81 + body_fields + u8::from(slot.is_some()));
        out.extend_from_slice(BEFORE_EXPIRY);
        write_expiry(&mut out, self.expires_at);
        if let Some(slot) = slot {
            out.extend_from_slice(BEFORE_SLOT);
            out.extend_from_slice(&slot.to_ordinal().to_be_bytes());
        }
        match self.body {
            Body::Inline(data) => write_inline(&mut out, data),
            Body::Chunked(chunked) => write_chunked(&mut out, chunked),
        }
        out.into()
    }
}

/// Tells whether `now` has come to a deadline: what the clock shows beyond a whole number of
/// microseconds, as a deadline is one, does not matter.
#[inline]
pub(crate) fn is_past(deadline: Deadline, now: DateTime<Utc>) -> bool {
    deadline.as_micros() <= now.timestamp_micros()
}

/// What comes after `start`: of a known length, it is compared without a call.
#[inline]
fn after<'r, const N: usize>(start: &[u8; N], bytes: &'r [u8]) -> Option<&'r [u8]> {
    let (found, rest) = bytes.split_first_chunk()?;
    (found == start).then_some(rest)
}

/// Seconds and nanoseconds as a deadline; `None` for what the general reader has to look at.
#[inline]
fn deadline(seconds: u64, nanos: u64) -> Option<Deadline> {
    if nanos >= 1_000_000_000 || !nanos.is_multiple_of(1_000) {
        return None;
    }
    let micros = seconds.checked_mul(1_000_000)?.checked_add(nanos / 1_000)?;
    let micros = i64::try_from(micros).ok()?;
    (micros <= Deadline::MAX.as_micros()).then(|| Deadline::from_micros(micros))
}

/// Writes a deadline; the usual kind, in this century and between two seconds, in few steps.
fn write_expiry(out: &mut Vec<u8>, expires_at: Option<Deadline>) {
    let micros = expires_at.and_then(|deadline| u64::try_from(deadline.as_micros()).ok());
    let parts = micros.map(|micros| (micros / 1_000_000, micros % 1_000_000 * 1_000));
    match (expires_at, parts) {
        (None, _) => out.push(0xc0),
        (_, Some((seconds, nanos))) if nanos != 0 && seconds < 1 << 34 => {
            out.extend_from_slice(&[0xd7, 0xff]);
            out.extend_from_slice(&(nanos << 34 | seconds).to_be_bytes());
        }
        _ => write_expires_at(out, expires_at.map(Deadline::to_datetime)),
    }
}

fn write_inline(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(BEFORE_DATA);
    match (u8::try_from(data.len()), u16::try_from(data.len())) {
        (Ok(len), _) => out.extend_from_slice(&[0xc4, len]),
        (_, Ok(len)) => {
            out.push(0xc5);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            // Values of this size are kept in chunks.
            let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
            out.push(0xc6);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(data);
}

fn write_chunked(out: &mut Vec<u8>, chunked: Chunked) {
    out.extend_from_slice(BEFORE_CHUNKS);
    out.extend_from_slice(&chunked.set.to_be_bytes());
    out.extend_from_slice(BEFORE_LEN);
    out.extend_from_slice(&chunked.len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use larder_core::StorageObject;

    use super::*;

    fn moments() -> Vec<Option<Deadline>> {
        let micros = [
            i64::from(i32::MIN) * 1_000_000,
            -1,
            0,
            1,
            1_704_067_200_000_000,
            1_704_067_200_000_001,
            i64::from(u32::MAX) * 1_000_000,
            (i64::from(u32::MAX) + 1) * 1_000_000,
            17_179_869_184 * 1_000_000,
            Deadline::MAX.as_micros(),
        ];
        let some = micros.into_iter().map(|micros| Some(Deadline::from_micros(micros)));
        std::iter::once(None).chain(some).collect()
    }

    fn inline(data: &[u8], expires_at: Option<Deadline>) -> Record<'_> {
        Record::new(Body::Inline(data), expires_at)
    }

    #[test]
    fn records_are_storage_objects_to_the_byte() {
        for expires_at in moments() {
            for len in [0, 1, 255, 256, 65_535, 65_536] {
                let data = vec![7; len];
                let written = inline(&data, expires_at).write();
                let object =
                    StorageObject::new(data.clone(), expires_at.map(Deadline::to_datetime));
                assert_eq!(written, &*object.to_bytes());
                assert_eq!(Record::read(&written).unwrap(), inline(&data, expires_at));
            }
        }
    }

    #[test]
    fn records_in_chunks_come_back() {
        for expires_at in moments() {
            let body = Body::Chunked(Chunked { set: u64::MAX - 3, len: 7_000_000 });
            let record = Record::new(body, expires_at);
            assert_eq!(Record::read(&record.write()).unwrap(), record);
            assert_eq!(Record::read_own(&record.write()), None);
        }
    }

    #[test]
    fn an_entry_in_an_earlier_slot_comes_back_and_others_do_not_see_it() {
        let chunked = Body::Chunked(Chunked { set: 5, len: 7_000_000 });
        for expires_at in moments() {
            let early = Slot::of(Deadline::from_micros(i64::MIN / 2));
            for body in [Body::Inline(b"value"), chunked] {
                let record = Record::new(body, expires_at).with_entry_in(Some(early));
                assert_eq!(record.slot, expires_at.map(|_| early));
                assert_eq!(Record::read(&record.write()).unwrap(), record);
                let late = Some(Slot::of(Deadline::MAX));
                assert_eq!(Record::new(body, expires_at).with_entry_in(late).slot, {
                    expires_at.map(Slot::of)
                });
            }
            let record = inline(b"value", expires_at).with_entry_in(Some(early));
            let object = StorageObject::from_bytes(record.write().to_vec()).unwrap();
            assert_eq!(object.data, b"value"[..]);
            assert_eq!(object.expires_at, expires_at.map(Deadline::to_datetime));
        }
    }

    #[test]
    fn both_readers_agree_on_what_the_short_one_takes() {
        let mut records: Vec<Vec<u8>> =
            moments().into_iter().map(|at| inline(b"value", at).write().to_vec()).collect();
        let early = Some(Slot::of(Deadline::from_micros(0)));
        records.extend(
            moments()
                .into_iter()
                .map(|at| inline(b"value", at).with_entry_in(early).write().to_vec()),
        );
        // Nanoseconds that are no whole microseconds, too many, and beyond the last year.
        for packed in [1 << 34 | 5, 999_999_999 << 34, 1_000_000_000 << 34, 0x3_ffff_ffff] {
            let mut record = b"\x82\xaaexpires_at\xd7\xff".to_vec();
            record.extend_from_slice(&u64::to_be_bytes(packed));
            record.extend_from_slice(b"\xa4data\xc4\x01v");
            records.push(record);
        }
        let mut taken = 0;
        for record in records {
            for cut in 0..=record.len() {
                for extra in [&b""[..], b"x"] {
                    let bytes = [&record[..cut], extra].concat();
                    if let Some(short) = Record::read_own(&bytes) {
                        assert_eq!(Some(short), Record::read_any(&bytes).ok(), "{bytes:x?}");
                        taken += 1;
                    }
                }
            }
        }
        assert!(taken >= 8);
    }

    #[test]
    fn foreign_orders_are_read_and_garbage_is_corrupt() {
        let swapped = b"\x83\xa4data\xc4\x01v\xa1x\x01\xaaexpires_at\xc0";
        assert_eq!(Record::read(swapped).unwrap(), inline(b"v", None));
        let both = b"\x84\xaaexpires_at\xc0\xa4data\xc4\x00\xa6chunks\x01\xa3len\x01";
        let half = b"\x82\xaaexpires_at\xc0\xa6chunks\x01";
        let garbage = [&b""[..], b"x", b"\x81\xa4data\xc4\x01v", b"\x82\xaaexpires_at\xc0"];
        for garbage in garbage.into_iter().chain([&both[..], half]) {
            assert_eq!(Record::read(garbage).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_record_dies_at_its_deadline_and_not_a_nanosecond_before() {
        let record = inline(b"", Some(Deadline::from_micros(10)));
        let deadline = Deadline::from_micros(10).to_datetime();
        assert!(record.is_expired(deadline));
        assert!(!record.is_expired(deadline - chrono::TimeDelta::nanoseconds(1)));
        let early = inline(b"", Some(Deadline::from_micros(-10)));
        let deadline = Deadline::from_micros(-10).to_datetime();
        assert!(early.is_expired(deadline));
        assert!(!early.is_expired(deadline - chrono::TimeDelta::nanoseconds(1)));
    }
}
