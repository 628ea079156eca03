use std::borrow::Cow;
use std::ops::Range;

use chrono::{DateTime, Datelike, Utc};
use rmp::Marker;
use serde::ser::{Serialize, Serializer};

use crate::{Error, ErrorKind, Result};

/// How many maps and arrays may lie in one another, the record's own map included (`R1`).
const MAX_NESTING: usize = 8;
/// The MessagePack extension type of a timestamp.
const TIMESTAMP: i8 = -1;
/// The first and the last second of the years 1 to 9999.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

/// Reads a record, a MessagePack map with text for field names, field by field and without copying.
///
/// For backends that keep more in a record than a [`StorageObject`](crate::StorageObject) has. It
/// trusts no length that the input claims, and never looks past the input's end.
///
/// ```
/// use larder_core::RecordReader;
/// let mut reader = RecordReader::new(b"\x81\xa4data\xc4\x02hi")?;
/// assert_eq!(reader.next_field()?, Some("data"));
/// assert_eq!(reader.bin()?, 8..10);
/// assert_eq!(reader.next_field()?, None);
/// reader.finish()?;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug)]
pub struct RecordReader<'a> {
    input: &'a [u8],
    at: usize,
    fields: u32,
}

impl<'a> RecordReader<'a> {
    /// Begins to read a record.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], here and in every method, for bytes that are no such thing.
    pub fn new(input: &'a [u8]) -> Result<Self> {
        let mut reader = Self { input, at: 0, fields: 0 };
        reader.fields = match reader.marker()? {
            Marker::FixMap(len) => u32::from(len),
            Marker::Map16 => u32::from(reader.u16()?),
            Marker::Map32 => reader.u32()?,
            _ => return Err(corrupt("the record is no map")),
        };
        Ok(reader)
    }

    /// The name of the next field, whose value has to be read or skipped next; `None` after the last.
    pub fn next_field(&mut self) -> Result<Option<&'a str>> {
        if self.fields == 0 {
            return Ok(None);
        }
        self.fields -= 1;
        self.str().map(Some)
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Reads an expiry: nil, a timestamp, or RFC 3339 text; fractions of a microsecond round up.
    pub fn expires_at(&mut self) -> Result<Option<DateTime<Utc>>> {
        let len = match self.marker()? {
            Marker::Null => return Ok(None),
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::Ext8 => usize::from(self.u8()?),
            Marker::Ext16 => usize::from(self.u16()?),
            Marker::Ext32 => self.len32()?,
            marker => {
                let text =
                    self.str_after(marker).map_err(|_| corrupt("expires_at has no such type"))?;
                return text_moment(text);
            }
        };
        if self.u8()? != TIMESTAMP.to_be_bytes()[0] {
            return Err(corrupt("expires_at is an extension of another type"));
        }
        match len {
            4 => checked_moment(i64::from(self.u32()?), 0),
            8 => {
                let packed = self.u64()?;
                let seconds = i64::try_from(packed & 0x3_ffff_ffff).unwrap_or(i64::MAX);
                checked_moment(seconds, u32::try_from(packed >> 34).unwrap_or(u32::MAX))
            }
            12 => {
                let nanos = self.u32()?;
                checked_moment(i64::from_be_bytes(self.array()?), nanos)
            }
            _ => Err(corrupt("expires_at is a timestamp of no known length")),
        }
    }

    /// Reads bytes, and tells where in the input they lie.
    pub fn bin(&mut self) -> Result<Range<usize>> {
        let len = self.bin_len()?;
        let start = self.at;
        self.take(len)?;
        Ok(start..self.at)
    }

    /// Reads the header of bytes, and tells their claimed length; they begin at
    /// [`position`](Self::position), if they are there at all.
    pub fn bin_len(&mut self) -> Result<usize> {
        match self.marker()? {
            Marker::Bin8 => Ok(usize::from(self.u8()?)),
            Marker::Bin16 => Ok(usize::from(self.u16()?)),
            Marker::Bin32 => self.len32(),
            _ => Err(corrupt("bytes were expected")),
        }
    }

    /// Reads text.
    pub fn str(&mut self) -> Result<&'a str> {
        let marker = self.marker()?;
        self.str_after(marker)
    }

    /// Reads an unsigned number.
    pub fn uint(&mut self) -> Result<u64> {
        match self.marker()? {
            Marker::FixPos(number) => Ok(u64::from(number)),
            Marker::U8 => Ok(u64::from(self.u8()?)),
            Marker::U16 => Ok(u64::from(self.u16()?)),
            Marker::U32 => Ok(u64::from(self.u32()?)),
            Marker::U64 => self.u64(),
            _ => Err(corrupt("an unsigned number was expected")),
        }
    }

    /// Passes over a value of any type.
    pub fn skip(&mut self) -> Result<()> {
        // How many values are still to come at each level; the record's own map is the first level.
        let mut open = [0_u64; MAX_NESTING];
        let mut depth = 0;
        open[0] = 1;
        loop {
            while open[depth] == 0 {
                if depth == 0 {
                    return Ok(());
                }
                depth -= 1;
            }
            open[depth] -= 1;
            if let Some(values) = self.skip_head()? {
                depth += 1;
                *open.get_mut(depth).ok_or_else(|| corrupt("it is nested too deeply"))? = values;
            }
        }
    }

    /// Passes over a scalar, or over the head of a map or array, whose number of values it gives.
    fn skip_head(&mut self) -> Result<Option<u64>> {
        let len = match self.marker()? {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => {
                0
            }
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::FixExt4 => 5,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::FixStr(len) => usize::from(len),
            Marker::Str8 | Marker::Bin8 => usize::from(self.u8()?),
            Marker::Str16 | Marker::Bin16 => usize::from(self.u16()?),
            Marker::Str32 | Marker::Bin32 => self.len32()?,
            Marker::Ext8 => usize::from(self.u8()?) + 1,
            Marker::Ext16 => usize::from(self.u16()?) + 1,
            Marker::Ext32 => self.len32()?.saturating_add(1),
            Marker::FixArray(len) => return Ok(Some(u64::from(len))),
            Marker::Array16 => return Ok(Some(u64::from(self.u16()?))),
            Marker::Array32 => return Ok(Some(u64::from(self.u32()?))),
            Marker::FixMap(len) => return Ok(Some(u64::from(len) * 2)),
            Marker::Map16 => return Ok(Some(u64::from(self.u16()?) * 2)),
            Marker::Map32 => return Ok(Some(u64::from(self.u32()?) * 2)),
            Marker::Reserved => return Err(corrupt("a byte that MessagePack never uses")),
        };
        self.take(len)?;
        Ok(None)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when bytes follow the record.
    pub fn finish(self) -> Result<()> {
        if self.at == self.input.len() { Ok(()) } else { Err(corrupt("bytes follow the record")) }
    }

    fn str_after(&mut self, marker: Marker) -> Result<&'a str> {
        let len = match marker {
            Marker::FixStr(len) => usize::from(len),
            Marker::Str8 => usize::from(self.u8()?),
            Marker::Str16 => usize::from(self.u16()?),
            Marker::Str32 => self.len32()?,
            _ => return Err(corrupt("text was expected")),
        };
        std::str::from_utf8(self.take(len)?)
            .map_err(|error| corrupt("text is not UTF-8").with_source(error))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = &self.input[self.at..];
        let taken = rest.get(..len).ok_or_else(|| corrupt("it ends too early"))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = &self.input[self.at..];
        let taken = rest.first_chunk::<N>().ok_or_else(|| corrupt("it ends too early"))?;
        self.at += N;
        Ok(*taken)
    }

    fn marker(&mut self) -> Result<Marker> {
        self.u8().map(Marker::from_u8)
    }

    fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn len32(&mut self) -> Result<usize> {
        usize::try_from(self.u32()?).map_err(|_| corrupt("it ends too early"))
    }
}

fn text_moment(text: &str) -> Result<Option<DateTime<Utc>>> {
    // chrono takes a minus sign beyond ASCII.
    if !text.is_ascii() {
        return Err(corrupt("expires_at is no RFC 3339 text"));
    }
    let moment = DateTime::parse_from_rfc3339(text)
        .map_err(|error| corrupt("expires_at is no RFC 3339 text").with_source(error))?;
    // As it is written: an offset may lead from the year 0 into the year 1.
    if moment.year() == 0 {
        return Err(outside());
    }
    // Set, the last bit turns a whole microsecond into more than that, and changes no other.
    let more = u32::from(is_finer_than_nanos(text));
    checked_moment(moment.timestamp(), moment.timestamp_subsec_nanos() | more)
}

/// Tells whether the fraction goes on after its ninth digit, where chrono's reading ends.
fn is_finer_than_nanos(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit);
    digits.skip(9).any(|digit| digit != b'0')
}

fn checked_moment(seconds: i64, nanos: u32) -> Result<Option<DateTime<Utc>>> {
    // From here on the year 10000 is nearer than the last microsecond before it.
    const END: (i64, u32) = (LAST, 999_999_500);
    // chrono takes up to two thousand million, for leap seconds.
    if nanos >= 1_000_000_000 {
        return Err(corrupt("expires_at has a thousand million nanoseconds or more"));
    }
    if (seconds, nanos) < (FIRST, 0) || (seconds, nanos) >= END {
        return Err(outside());
    }
    let (seconds, nanos) = storable(seconds, nanos);
    DateTime::from_timestamp(seconds, nanos).map(Some).ok_or_else(outside)
}

fn outside() -> Error {
    corrupt("expires_at lies outside the years 1 to 9999")
}

pub(crate) fn corrupt(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// Appends an expiry as MessagePack: nil, or a timestamp in its shortest form (`R1`).
///
/// Fractions of a microsecond round up; what lies outside the years 1 to 9999 is moved to their end.
pub fn write_expires_at(out: &mut Vec<u8>, expires_at: Option<DateTime<Utc>>) {
    let mut serializer = rmp_serde::Serializer::new(out);
    ExpiresAt(expires_at)
        .serialize(&mut serializer)
        .unwrap_or_else(|error| unreachable!("a vector takes every write: {error}"));
}

/// An expiry as rmp-serde writes it.
pub(crate) struct ExpiresAt(pub(crate) Option<DateTime<Utc>>);

impl Serialize for ExpiresAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(moment) = self.0 else {
            return serializer.serialize_none();
        };
        let (seconds, nanos) = storable(moment.timestamp(), moment.timestamp_subsec_nanos());
        let mut buffer = [0; 12];
        let bytes: &[u8] = match (nanos, u32::try_from(seconds), u64::try_from(seconds)) {
            (0, Ok(seconds), _) => {
                buffer[..4].copy_from_slice(&seconds.to_be_bytes());
                &buffer[..4]
            }
            (nanos, _, Ok(seconds)) if seconds < 1 << 34 => {
                let packed = u64::from(nanos) << 34 | seconds;
                buffer[..8].copy_from_slice(&packed.to_be_bytes());
                &buffer[..8]
            }
            _ => {
                buffer[..4].copy_from_slice(&nanos.to_be_bytes());
                buffer[4..].copy_from_slice(&seconds.to_be_bytes());
                &buffer
            }
        };
        serializer.serialize_newtype_struct(
            rmp_serde::MSGPACK_EXT_STRUCT_NAME,
            &(TIMESTAMP, BytesOf(bytes)),
        )
    }
}

/// Seconds and nanoseconds as a record keeps them: whole microseconds, years 1 to 9999.
fn storable(seconds: i64, nanos: u32) -> (i64, u32) {
    // A leap second counts over a thousand million nanoseconds; as a deadline it is the next second.
    let micros = nanos.div_ceil(1_000);
    let seconds = seconds.saturating_add(i64::from(micros / 1_000_000));
    match seconds {
        ..FIRST => (FIRST, 0),
        FIRST..=LAST => (seconds, micros % 1_000_000 * 1_000),
        _ => (LAST, 999_999_000),
    }
}

/// Bytes that serialize as bytes, not as a list of numbers.
pub(crate) struct BytesOf<'a>(pub(crate) &'a [u8]);

impl Serialize for BytesOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
