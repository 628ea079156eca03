//! Reading and writing the fields of a record.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use larder_core::chrono::{DateTime, Utc};
use larder_core::{ErrorKind, RecordReader, write_expires_at};

/// A map with one field of each value, an unknown one, and a known one after it.
fn around(value: &[u8]) -> Vec<u8> {
    [b"\x82\xa1x", value, b"\xa1n\x07"].concat()
}

/// A head and so many bytes.
fn sized(head: &[u8], len: usize) -> Vec<u8> {
    [head, &vec![b'.'; len]].concat()
}

#[test]
fn a_value_of_any_kind_is_passed_over() {
    let values = [
        b"\x05".to_vec(),
        b"\xff".to_vec(),
        b"\xc0".to_vec(),
        b"\xc2".to_vec(),
        b"\xc3".to_vec(),
        sized(b"\xcc", 1),
        sized(b"\xd0", 1),
        sized(b"\xcd", 2),
        sized(b"\xd1", 2),
        sized(b"\xce", 4),
        sized(b"\xd2", 4),
        sized(b"\xca", 4),
        sized(b"\xcf", 8),
        sized(b"\xd3", 8),
        sized(b"\xcb", 8),
        sized(b"\xa3", 3),
        sized(b"\xd9\x04", 4),
        sized(b"\xc4\x04", 4),
        sized(b"\xda\x01\x00", 256),
        sized(b"\xc5\x01\x00", 256),
        sized(b"\xdb\x00\x01\x00\x00", 65_536),
        sized(b"\xc6\x00\x01\x00\x00", 65_536),
        // Extensions: a type, and so many bytes.
        sized(b"\xd4", 2),
        sized(b"\xd5", 3),
        sized(b"\xd6", 5),
        sized(b"\xd7", 9),
        sized(b"\xd8", 17),
        sized(b"\xc7\x05", 6),
        sized(b"\xc8\x01\x00", 257),
        sized(b"\xc9\x00\x01\x00\x00", 65_537),
        // Lists and maps, with what they hold.
        b"\x92\x01\x02".to_vec(),
        b"\xdc\x00\x02\x01\x02".to_vec(),
        b"\xdd\x00\x00\x00\x02\x01\x02".to_vec(),
        b"\x81\x01\x02".to_vec(),
        b"\xde\x00\x01\x01\x02".to_vec(),
        b"\xdf\x00\x00\x00\x01\x01\x02".to_vec(),
        b"\x92\x91\x81\x01\x90\x80".to_vec(),
    ];
    for value in values {
        let record = around(&value);
        let mut reader = RecordReader::new(&record).unwrap();
        assert_eq!(reader.next_field().unwrap(), Some("x"));
        reader.skip().unwrap_or_else(|error| panic!("{:x}: {error}", value[0]));
        assert_eq!(reader.position(), 3 + value.len(), "{:x}", value[0]);
        assert_eq!(reader.next_field().unwrap(), Some("n"));
        assert_eq!(reader.uint().unwrap(), 7);
        assert_eq!(reader.next_field().unwrap(), None);
        reader.finish().unwrap();
        // Cut anywhere, it is an error and no panic.
        for len in 3..(3 + value.len()).min(300) {
            let mut reader = RecordReader::new(&record[..len]).unwrap();
            reader.next_field().unwrap();
            assert_eq!(reader.skip().unwrap_err().kind(), ErrorKind::Corrupt, "{:x}", value[0]);
        }
    }
}

#[test]
fn a_number_is_read_from_every_unsigned_form() {
    let cases = [
        (&b"\x7f"[..], 0x7f),
        (b"\xcc\x80", 0x80),
        (b"\xcd\x01\x02", 0x0102),
        (b"\xce\x01\x02\x03\x04", 0x0102_0304),
        (b"\xcf\x01\x02\x03\x04\x05\x06\x07\x08", 0x0102_0304_0506_0708),
        (b"\xcf\x00\x00\x00\x00\x00\x00\x00\x05", 5),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", u64::MAX),
    ];
    for (form, number) in cases {
        let record = around(form);
        let mut reader = RecordReader::new(&record).unwrap();
        reader.next_field().unwrap();
        assert_eq!(reader.uint().unwrap(), number, "{form:02x?}");
        assert_eq!(reader.position(), 3 + form.len());
    }
    for other in [&b"\xff"[..], b"\xd0\x05", b"\xc0", b"\xa1\x05", b"\xca\x00\x00\x00\x00"] {
        let record = around(other);
        let mut reader = RecordReader::new(&record).unwrap();
        reader.next_field().unwrap();
        assert_eq!(reader.uint().unwrap_err().kind(), ErrorKind::Corrupt, "{other:02x?}");
    }
}

#[test]
fn what_is_no_value_and_what_is_too_deep_is_corrupt() {
    for value in [b"\xc1".to_vec(), vec![0x91; 100_000]] {
        let record = around(&value);
        let mut reader = RecordReader::new(&record).unwrap();
        reader.next_field().unwrap();
        assert_eq!(reader.skip().unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_moment_is_kept_as_the_next_whole_microsecond() {
    let kept = |text: &str| {
        let moment: DateTime<Utc> = text.parse().unwrap();
        let mut record = b"\x81\xa1e".to_vec();
        write_expires_at(&mut record, Some(moment));
        let mut reader = RecordReader::new(&record).unwrap();
        reader.next_field().unwrap();
        reader.expires_at().unwrap().unwrap().to_rfc3339()
    };
    assert_eq!(kept("2030-01-01T00:00:00.000001Z"), "2030-01-01T00:00:00.000001+00:00");
    assert_eq!(kept("2030-01-01T00:00:00.000001001Z"), "2030-01-01T00:00:00.000002+00:00");
    assert_eq!(kept("2030-01-01T00:00:00.999999001Z"), "2030-01-01T00:00:01+00:00");
    // A leap second is the second after it.
    assert_eq!(kept("2016-12-31T23:59:60.5Z"), "2017-01-01T00:00:00.500+00:00");
    assert_eq!(kept("+12000-01-01T00:00:00Z"), "9999-12-31T23:59:59.999999+00:00");
    assert_eq!(kept("-0005-01-01T00:00:00Z"), "0001-01-01T00:00:00+00:00");
}
