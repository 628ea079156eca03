//! What a key's file holds: a [`StorageObject`](larder_core::StorageObject) with the key and a check
//! value besides (`R2`).

use bytes::Bytes;
use chrono::{DateTime, Utc};
use larder_core::{Deadline, Error, ErrorKind, RecordReader, Result, write_expires_at};
use rmp::encode::{self, ByteBuf};
use xxhash_rust::xxh3::Xxh3;

/// The largest value: what a MessagePack length can say.
pub(crate) const MAX_VALUE_LEN: u64 = u32::MAX as u64;

/// No head of ours is longer: the longest key, and every field in its longest form.
pub(crate) const MAX_HEAD_LEN: usize = 4096 + 128;

/// No record is longer, whatever it keeps besides.
pub(crate) const MAX_FILE_LEN: u64 = MAX_VALUE_LEN + (1 << 20);

/// A decoded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// Whether the record tells its key; those of Litestar do not.
    pub(crate) tells_key: bool,
    pub(crate) data: Bytes,
}

/// What the beginning of a file tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// `None` in files that Litestar wrote.
    pub(crate) key: Option<String>,
}

/// What a key's life is, whoever wrote the file.
pub(crate) trait Life {
    fn expires_at(&self) -> Option<DateTime<Utc>>;

    fn deadline(&self) -> Option<Deadline> {
        self.expires_at().map(Deadline::at)
    }

    fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.deadline().is_none_or(|deadline| !deadline.is_past(now))
    }
}

impl Life for Record {
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }
}

impl Life for Head {
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }
}

/// All of a record that comes before its data.
pub(crate) fn encode_head(deadline: Option<Deadline>, key: &str, data: &[u8]) -> Vec<u8> {
    let expires_at = deadline.map(Deadline::to_datetime);
    let mut out = ByteBuf::from_vec(Vec::with_capacity(key.len() + 64));
    // Writing to memory cannot fail: the error type has no value.
    let _ = encode::write_map_len(&mut out, 4);
    let _ = encode::write_str(&mut out, "expires_at");
    write_expires_at(out.as_mut_vec(), expires_at);
    let _ = encode::write_str(&mut out, "key");
    let _ = encode::write_str(&mut out, key);
    let _ = encode::write_str(&mut out, "check");
    let _ = encode::write_uint(&mut out, check(expires_at, key, data));
    let _ = encode::write_str(&mut out, "data");
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let _ = encode::write_bin_len(&mut out, len);
    out.into_vec()
}

/// XXH3-64 over 0 or 1 (whether there is an expiry), the expiry in microseconds since the epoch (0
/// without one), the length of the key, the key, and the data; numbers in 8 bytes, little-endian.
fn check(expires_at: Option<DateTime<Utc>>, key: &str, data: &[u8]) -> u64 {
    let mut start = [0; 17];
    start[0] = u8::from(expires_at.is_some());
    let micros = expires_at.map_or(0, |moment| moment.timestamp_micros());
    start[1..9].copy_from_slice(&micros.to_le_bytes());
    start[9..].copy_from_slice(&(key.len() as u64).to_le_bytes());
    let mut hash = Xxh3::new();
    hash.update(&start);
    hash.update(key.as_bytes());
    hash.update(data);
    hash.digest()
}

/// Reads a whole file, and verifies that it is whole and that its key, if it tells one, is the one
/// that is meant.
pub(crate) fn decode(bytes: &Bytes, mut is_meant: impl FnMut(&str) -> bool) -> Result<Record> {
    let mut reader = RecordReader::new(bytes)?;
    let (mut expires_at, mut own_key, mut own_check, mut data) = (None, None, None, None);
    while let Some(field) = reader.next_field()? {
        match field {
            "expires_at" => expires_at = Some(reader.expires_at()?),
            "key" => own_key = Some(reader.str()?),
            "check" => own_check = Some(reader.uint()?),
            "data" => data = Some(reader.bin()?),
            _ => reader.skip()?,
        }
    }
    reader.finish()?;
    let expires_at = expires_at.ok_or_else(|| corrupt("the field expires_at is missing"))?;
    let range = data.ok_or_else(|| corrupt("the field data is missing"))?;
    match (own_key, own_check) {
        (None, None) => {}
        (Some(own), Some(number)) => {
            if !is_meant(own) {
                return Err(corrupt("it holds another key"));
            }
            if number != check(expires_at, own, &bytes[range.clone()]) {
                return Err(corrupt("the check does not match"));
            }
        }
        (Some(_), None) => return Err(corrupt("the field check is missing")),
        (None, Some(_)) => return Err(corrupt("the field key is missing")),
    }
    let tells_key = own_key.is_some();
    // A short value must not keep a long key in memory.
    let data = if range.len() < range.start {
        Bytes::copy_from_slice(&bytes[range])
    } else {
        bytes.slice(range)
    };
    Ok(Record { expires_at, tells_key, data })
}

/// Reads the head from the first bytes of a file of `file_len` bytes; `None` when that takes the
/// whole file, because its fields come in another order, say, or because it is damaged.
pub(crate) fn decode_head(start: &[u8], file_len: u64) -> Option<Head> {
    let mut reader = RecordReader::new(start).ok()?;
    let (mut expires_at, mut key, mut has_check) = (None, None, false);
    loop {
        match reader.next_field().ok()?? {
            "expires_at" => expires_at = Some(reader.expires_at().ok()?),
            "key" => key = Some(reader.str().ok()?),
            "check" => {
                reader.uint().ok()?;
                has_check = true;
            }
            "data" => {
                let data_len = reader.bin_len().ok()? as u64;
                let whole = reader.position() as u64 + data_len == file_len;
                let head = Head { expires_at: expires_at?, key: key.map(str::to_owned) };
                return (whole && head.key.is_some() == has_check).then_some(head);
            }
            _ => reader.skip().ok()?,
        }
    }
}

pub(crate) fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use larder_core::StorageObject;

    use super::*;

    const KEY: &str = "user:1";

    fn deadline() -> Deadline {
        Deadline::from_micros(1_672_531_200_500_000)
    }

    fn decode(bytes: impl Into<Bytes>, key: &str) -> Result<Record> {
        super::decode(&bytes.into(), |own| own == key)
    }

    fn record(deadline: Option<Deadline>, key: &str, data: &[u8]) -> Bytes {
        Bytes::from([&encode_head(deadline, key, data)[..], data].concat())
    }

    /// Checks computed by another implementation of XXH3; the first one is the example of
    /// `docs/formats.md`.
    #[test]
    fn every_byte_is_as_the_format_fixes_it() {
        let with_expiry =
            b"\x84\xaaexpires_at\xd7\xff\x77\x35\x94\x00\x63\xb0\xcd\x00\xa3key\xa3foo\
            \xa5check\xcf\x5c\x43\x66\x45\x08\xcf\xd6\xea\xa4data\xc4\x03bar";
        assert_eq!(record(Some(deadline()), "foo", b"bar"), with_expiry[..]);
        let without = b"\x84\xaaexpires_at\xc0\xa3key\xa3foo\
            \xa5check\xcf\x0c\x0e\xa8\xb4\x70\xe4\x5b\x4c\xa4data\xc4\x03bar";
        assert_eq!(record(None, "foo", b"bar"), without[..]);
    }

    #[test]
    fn records_come_back_and_are_storage_objects() {
        for deadline in [None, Some(deadline())] {
            for data in [&b""[..], b"bar", &[7; 300], &vec![8; 70_000]] {
                let bytes = record(deadline, KEY, data);
                let decoded = decode(bytes.clone(), KEY).unwrap();
                assert_eq!((decoded.deadline(), &decoded.data[..]), (deadline, data));
                let object = StorageObject::from_bytes(bytes.clone()).unwrap();
                assert_eq!(&object.data[..], data);
                let start = &bytes[..bytes.len().min(MAX_HEAD_LEN)];
                let head = decode_head(start, bytes.len() as u64).unwrap();
                assert_eq!((head.key.as_deref(), head.deadline()), (Some(KEY), deadline));
            }
        }
    }

    #[test]
    fn the_longest_head_fits() {
        let head =
            encode_head(Some(Deadline::from_micros(-1)), &"x".repeat(4096), &vec![0; 70_000]);
        assert!(head.len() <= MAX_HEAD_LEN, "{}", head.len());
        assert!(decode_head(&head, head.len() as u64 + 70_000).is_some());
    }

    #[test]
    fn files_of_litestar_are_read() {
        let bytes = StorageObject::new("bar", Some(deadline().to_datetime())).to_bytes();
        assert_eq!(&decode(bytes.clone(), KEY).unwrap().data[..], b"bar");
        let head = decode_head(&bytes, bytes.len() as u64).unwrap();
        assert_eq!((head.key, head.expires_at), (None, Some(deadline().to_datetime())));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_told() {
        let bytes = record(Some(deadline()), KEY, b"some data");
        for len in 0..bytes.len() {
            let error = decode(bytes.slice(..len), KEY).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{len}");
            assert_eq!(decode_head(&bytes[..len], len as u64), None, "{len}");
        }
        let whole = decode(bytes.clone(), KEY).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Fractions of a microsecond mean nothing in an expiry, and are rounded away.
            match decode(damaged, KEY) {
                Ok(record) => assert_eq!(record, whole, "bit {bit}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
            }
        }
        let longer = Bytes::from([&bytes[..], b"\0"].concat());
        assert!(decode(longer.clone(), KEY).is_err());
        assert_eq!(decode_head(&longer, longer.len() as u64), None);
    }

    #[test]
    fn another_key_and_half_of_the_pair_are_corrupt() {
        assert!(decode(record(None, KEY, b"x"), "user:2").is_err());
        let no_check =
            Bytes::from_static(b"\x83\xaaexpires_at\xc0\xa3key\xa6user:1\xa4data\xc4\x00");
        let no_key = Bytes::from_static(b"\x83\xaaexpires_at\xc0\xa5check\x07\xa4data\xc4\x00");
        for bytes in [no_check, no_key] {
            assert_eq!(decode(bytes.clone(), KEY).unwrap_err().kind(), ErrorKind::Corrupt);
            assert_eq!(decode_head(&bytes, bytes.len() as u64), None);
        }
    }

    #[test]
    fn fields_in_another_order_need_the_whole_file() {
        let bytes = Bytes::from_static(b"\x82\xa4data\xc4\x02hi\xaaexpires_at\xc0");
        assert_eq!(decode_head(&bytes, bytes.len() as u64), None);
        assert_eq!(&decode(bytes, KEY).unwrap().data[..], b"hi");
    }
}
