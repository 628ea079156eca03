//! The bytes of one record: a [`StorageObject`](larder_core::StorageObject) (`R1`), or, for a value
//! that is kept in chunks, the same with the fields `chunks` and `len` in place of `data`.
//!
//! What we write ourselves has few shapes, and the most frequent one is read in a few comparisons;
//! everything else goes through the general reader. Records are read on every call, so the
//! difference counts.

use chrono::{DateTime, Utc};
use larder_core::{Deadline, ErrorKind, RecordReader, Result, write_expires_at};
use sled::IVec;

use crate::large::Chunked;

const BEFORE_EXPIRY: &[u8] = b"\x82\xaaexpires_at";
const BEFORE_DATA: &[u8] = b"\xa4data";

const BEFORE_CHUNKS: &[u8] = b"\xa6chunks\xcf";
const BEFORE_LEN: &[u8] = b"\xa3len\xcf";

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'r> {
    pub(crate) body: Body<'r>,
    pub(crate) expires_at: Option<Deadline>,
}

/// The value of a record, or where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'r> {
    Inline(&'r [u8]),
    Chunked(Chunked),
}

impl<'r> Record<'r> {
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
        let rest = bytes.strip_prefix(BEFORE_EXPIRY)?;
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
        let (len, data) = match rest.strip_prefix(BEFORE_DATA)? {
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
        (data.len() as u64 == len).then_some(Self { body: Body::Inline(data), expires_at })
    }

    #[cold]
    fn read_any(bytes: &'r [u8]) -> Result<Self> {
        let mut reader = RecordReader::new(bytes)?;
        let (mut expires_at, mut data, mut set, mut len) = (None, None, None, None);
        while let Some(field) = reader.next_field()? {
            match field {
                "expires_at" => expires_at = Some(reader.expires_at()?),
                "data" => data = Some(reader.bin()?),
                "chunks" => set = Some(reader.uint()?),
                "len" => len = Some(reader.uint()?),
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
        Ok(Self { body, expires_at })
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
        match self.body {
            Body::Inline(data) => write_inline(data, self.expires_at),
            Body::Chunked(chunked) => write_chunked(chunked, self.expires_at),
        }
    }
}

/// Tells whether `now` has come to a deadline: what the clock shows beyond a whole number of
/// microseconds, as a deadline is one, does not matter.
#[inline]
pub(crate) fn is_past(deadline: Deadline, now: DateTime<Utc>) -> bool {
    deadline.as_micros() <= now.timestamp_micros()
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

fn write_inline(data: &[u8], expires_at: Option<Deadline>) -> IVec {
    let mut out = Vec::with_capacity(BEFORE_EXPIRY.len() + 10 + BEFORE_DATA.len() + 5 + data.len());
    out.extend_from_slice(BEFORE_EXPIRY);
    write_expires_at(&mut out, expires_at.map(Deadline::to_datetime));
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
    out.into()
}

fn write_chunked(chunked: Chunked, expires_at: Option<Deadline>) -> IVec {
    let mut out = b"\x83\xaaexpires_at".to_vec();
    write_expires_at(&mut out, expires_at.map(Deadline::to_datetime));
    out.extend_from_slice(BEFORE_CHUNKS);
    out.extend_from_slice(&chunked.set.to_be_bytes());
    out.extend_from_slice(BEFORE_LEN);
    out.extend_from_slice(&chunked.len.to_be_bytes());
    out.into()
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
        Record { body: Body::Inline(data), expires_at }
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
            let record = Record { body, expires_at };
            assert_eq!(Record::read(&record.write()).unwrap(), record);
            assert_eq!(Record::read_own(&record.write()), None);
        }
    }

    #[test]
    fn both_readers_agree_on_what_the_short_one_takes() {
        let mut records: Vec<Vec<u8>> =
            moments().into_iter().map(|at| inline(b"value", at).write().to_vec()).collect();
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
