//! What the decoder of records takes and refuses (`R1`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{Bytes, ErrorKind, ExpiresIn, StorageObject};
use proptest::prelude::*;

const NEVER_BAR: &[u8] = b"\x82\xaaexpires_at\xc0\xa4data\xc4\x03bar";

fn decode(bytes: &[u8]) -> Result<StorageObject, ErrorKind> {
    StorageObject::from_bytes(bytes.to_vec()).map_err(|error| error.kind())
}

/// A record of which the two values are given as MessagePack.
fn record(expires_at: &[u8], data: &[u8]) -> Vec<u8> {
    [b"\x82\xaaexpires_at", expires_at, b"\xa4data", data].concat()
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn other_spellings_of_one_object_are_taken() {
    let bar = StorageObject::new("bar", None);
    let spellings: [&[u8]; 9] = [
        NEVER_BAR,
        b"\x82\xa4data\xc4\x03bar\xaaexpires_at\xc0",
        b"\xde\x00\x02\xaaexpires_at\xc0\xa4data\xc4\x03bar",
        b"\xdf\x00\x00\x00\x02\xd9\x0aexpires_at\xc0\xda\x00\x04data\xc5\x00\x03bar",
        b"\x82\xdb\x00\x00\x00\x0aexpires_at\xc0\xa4data\xc6\x00\x00\x00\x03bar",
        b"\x83\xaaexpires_at\xc0\xa1x\x93\x01\x80\xa1y\xa4data\xc4\x03bar",
        b"\x83\xaaexpires_at\xc0\xa4data\xc4\x03foo\xa4data\xc4\x03bar",
        b"\x83\xaaexpires_at\xd6\xff\x00\x00\x00\x01\xaaexpires_at\xc0\xa4data\xc4\x03bar",
        b"\x83\xa0\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xaaexpires_at\xc0\xa4data\xc4\x03bar",
    ];
    for spelling in spellings {
        assert_eq!(decode(spelling), Ok(bar.clone()), "{spelling:02x?}");
    }
}

#[test]
fn every_form_of_an_expiry_is_taken() {
    let second = moment("1970-01-01T00:00:01Z");
    let cases: [(&[u8], DateTime<Utc>); 9] = [
        (b"\xd6\xff\x00\x00\x00\x01", second),
        (b"\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x01", second),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", second),
        (b"\xc7\x04\xff\x00\x00\x00\x01", second),
        (b"\xc8\x00\x08\xff\x00\x00\x00\x00\x00\x00\x00\x01", second),
        (b"\xc9\x00\x00\x00\x04\xff\x00\x00\x00\x01", second),
        (b"\xb91970-01-01T01:00:01+01:00", second),
        // One nanosecond rounds up to one microsecond, and the last of them to the next second.
        (b"\xd7\xff\x00\x00\x00\x04\x00\x00\x00\x01", second + TimeDelta::microseconds(1)),
        (b"\xc7\x0c\xff\x3b\x9a\xc9\xff\x00\x00\x00\x00\x00\x00\x00\x00", second),
    ];
    for (expires_at, expected) in cases {
        let object = decode(&record(expires_at, b"\xc4\x00"));
        assert_eq!(object.unwrap().expires_at, Some(expected), "{expires_at:02x?}");
    }
}

fn expiry_of(text: &str) -> Result<DateTime<Utc>, ErrorKind> {
    let mut expires_at = vec![0xd9, u8::try_from(text.len()).unwrap()];
    expires_at.extend_from_slice(text.as_bytes());
    decode(&record(&expires_at, b"\xc4\x00")).map(|object| object.expires_at.unwrap())
}

#[test]
fn every_digit_of_a_fraction_counts_however_many_there_are() {
    for (fraction, micros) in [
        ("0", 0),
        ("000000000", 0),
        ("000000000000000000000", 0),
        ("000001", 1),
        ("0000001", 1),
        ("000000001", 1),
        ("0000000001", 1),
        ("000000000000000000001", 1),
        ("1234560001", 123_457),
        ("1234560000", 123_456),
        ("12345600099", 123_457),
        ("9999990000000001", 1_000_000),
        ("9999999999999999", 1_000_000),
    ] {
        let expected = moment("2023-01-01T00:00:00Z") + TimeDelta::microseconds(micros);
        for zone in ["Z", "+00:00", "-00:00"] {
            let text = format!("2023-01-01T00:00:00.{fraction}{zone}");
            assert_eq!(expiry_of(&text), Ok(expected), "{text}");
        }
    }
}

#[test]
fn what_rounds_past_the_last_microsecond_is_that_microsecond() {
    let last = moment("9999-12-31T23:59:59.999999Z");
    for text in [
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59.9999990000000001Z",
        "9999-12-31T23:59:59.9999991Z",
        "9999-12-31T23:59:59.999999499Z",
        "9999-12-31T23:59:59.9999994999999999Z",
        "9999-12-31T22:59:59.9999991-01:00",
    ] {
        assert_eq!(expiry_of(text), Ok(last), "{text}");
    }
    for nanos in [999_999_001_u32, 999_999_499] {
        let form = [b"\xc7\x0c\xff", &nanos.to_be_bytes()[..], b"\x00\x00\x00\x3a\xff\xf4\x41\x7f"];
        let object = decode(&record(&form.concat(), b"\xc4\x00")).unwrap();
        assert_eq!(object.expires_at, Some(last), "{nanos}");
    }
}

#[test]
fn text_that_is_not_rfc_3339_or_of_no_such_year_is_corrupt() {
    for text in [
        "2023-01-01T00:00:00\u{2212}02:00",
        "2023-01-01T00:00:00",
        "2023-01-01T00:00:00+0200",
        "2016-12-31T23:59:60Z",
        "0000-12-31T23:59:59Z",
        // Written in the year 0, in the year 1 in UTC; and the other way round.
        "0000-12-31T23:30:00-02:00",
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-01:00",
        "9999-12-31T23:59:59.9999995Z",
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T23:59:59.9999999999Z",
    ] {
        assert_eq!(expiry_of(text), Err(ErrorKind::Corrupt), "{text}");
    }
    let first = moment("0001-01-01T00:00:00Z");
    assert_eq!(expiry_of("0001-01-01T00:00:00Z"), Ok(first));
}

#[test]
fn an_expiry_is_written_in_the_shortest_form_that_holds_it() {
    let forms: [(&str, &[u8]); 7] = [
        ("1970-01-01T00:00:00Z", b"\xd6\xff\x00\x00\x00\x00"),
        ("2106-02-07T06:28:15Z", b"\xd6\xff\xff\xff\xff\xff"),
        ("2106-02-07T06:28:16Z", b"\xd7\xff\x00\x00\x00\x01\x00\x00\x00\x00"),
        ("1970-01-01T00:00:00.000001Z", b"\xd7\xff\x00\x00\x0f\xa0\x00\x00\x00\x00"),
        ("2514-05-30T01:53:03Z", b"\xd7\xff\x00\x00\x00\x03\xff\xff\xff\xff"),
        ("2514-05-30T01:53:04Z", b"\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00"),
        ("1969-12-31T23:59:59Z", b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"),
    ];
    for (text, form) in forms {
        let object = StorageObject::new("", Some(moment(text)));
        assert_eq!(object.to_bytes(), record(form, b"\xc4\x00"), "{text}");
        assert_eq!(StorageObject::from_bytes(object.to_bytes()).unwrap(), object);
    }
}

#[test]
fn anything_else_is_corrupt() {
    let nested = |levels| [&vec![0x91; levels][..], b"\xc0"].concat();
    let with_extra =
        |extra: &[u8]| [b"\x83\xaaexpires_at\xc0\xa4data\xc4\x03bar\xa1x", extra].concat();
    assert!(decode(&with_extra(&nested(7))).is_ok());
    let mut bad: Vec<Vec<u8>> = vec![
        vec![],
        b"\x80".to_vec(),
        b"\xc0".to_vec(),
        b"\x92\xc0\xc4\x00".to_vec(),
        b"\x81\xa4data\xc4\x03bar".to_vec(),
        b"\x81\xaaexpires_at\xc0".to_vec(),
        b"\x82\xc4\x0aexpires_at\xc0\xa4data\xc4\x03bar".to_vec(),
        b"\x83\x01\xc0\xaaexpires_at\xc0\xa4data\xc4\x03bar".to_vec(),
        b"\x83\xa1\xff\xc0\xaaexpires_at\xc0\xa4data\xc4\x03bar".to_vec(),
        [NEVER_BAR, b"\xc0"].concat(),
        with_extra(&nested(8)),
        with_extra(&nested(100_000)),
        with_extra(b"\xc1"),
        with_extra(b"\xdf\xff\xff\xff\xff"),
        with_extra(b"\xc6\xff\xff\xff\xff"),
        b"\xdf\xff\xff\xff\xff\xaaexpires_at\xc0\xa4data\xc4\x03bar".to_vec(),
    ];
    for data in [&b"\xc0"[..], b"\xa3bar", b"\x93\x01\x02\x03", b"\x01", b"\xc6\xff\xff\xff\xff"] {
        bad.push(record(b"\xc0", data));
    }
    for expires_at in [
        &b"\x01"[..],
        b"\xc3",
        b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xd6\x01\x00\x00\x00\x01",
        b"\xd4\xff\x00",
        b"\xc7\x05\xff\x00\x00\x00\x00\x01",
        // A thousand million nanoseconds.
        b"\xd7\xff\xee\x6b\x28\x00\x00\x00\x00\x01",
        b"\xc7\x0c\xff\x3b\x9a\xca\x00\x00\x00\x00\x00\x00\x00\x00\x01",
        // The year 0, its end rounded up included, and what is as near to the year 10000 as to the
        // last microsecond before it.
        b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xf1\x88\x6e\x08\xff",
        b"\xc7\x0c\xff\x3b\x9a\xc6\x19\xff\xff\xff\xf1\x88\x6e\x08\xff",
        b"\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xf1\x88\x6e\x08\xff",
        b"\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x3a\xff\xf4\x41\x80",
        b"\xc7\x0c\xff\x3b\x9a\xc8\x0c\x00\x00\x00\x3a\xff\xf4\x41\x7f",
        b"\xc7\x0c\xff\x3b\x9a\xc9\xff\x00\x00\x00\x3a\xff\xf4\x41\x7f",
        b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xaa2024-01-01",
        b"\xb32024-01-01T00:00:00",
        b"\xa5never",
    ] {
        bad.push(record(expires_at, b"\xc4\x00"));
    }
    for bytes in bad {
        assert_eq!(
            decode(&bytes),
            Err(ErrorKind::Corrupt),
            "{:02x?}",
            &bytes[..bytes.len().min(40)]
        );
    }
}

#[test]
fn every_cut_of_a_record_is_corrupt() {
    let whole = record(b"\xd7\xff\x77\x35\x94\x00\x63\xb0\xcd\x00", b"\xc4\x03bar");
    assert!(decode(&whole).is_ok());
    for end in 0..whole.len() {
        assert_eq!(decode(&whole[..end]), Err(ErrorKind::Corrupt), "cut at {end}");
    }
}

#[test]
fn data_is_a_slice_of_the_input() {
    let input = Bytes::from(StorageObject::new(vec![7; 10_000], None).to_bytes().to_vec());
    let object = StorageObject::from_bytes(input.clone()).unwrap();
    assert!(input.as_ptr_range().contains(&object.data.as_ptr()));
}

#[test]
fn expiry_is_told_apart_from_its_absence() {
    let now = moment("2024-01-01T00:00:00Z");
    let at = |micros| StorageObject::new("", Some(now + TimeDelta::microseconds(micros)));
    assert_eq!(StorageObject::new("", None).expires_in_secs(now), -1);
    assert_eq!(at(-1_000_000).expires_in_secs(now), 0);
    assert_eq!(at(0).expires_in_secs(now), 0);
    assert!(at(0).is_expired(now) && !at(1).is_expired(now));
    assert_eq!(at(1).expires_in_secs(now), 1);
    assert_eq!(at(1_000_001).expires_in_secs(now), 2);
    assert_eq!(at(0).expires_in(now), ExpiresIn::Missing);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        data in prop::collection::vec(any::<u8>(), 0..400),
        micros in prop::option::of(-62_135_596_800_000_000_i64..253_402_300_800_000_000),
    ) {
        let expires_at = micros.map(|micros| DateTime::from_timestamp_micros(micros).unwrap());
        let object = StorageObject::new(data, expires_at);
        prop_assert_eq!(StorageObject::from_bytes(object.to_bytes()).unwrap(), object);
    }

    #[test]
    fn times_that_a_record_cannot_hold_round_up_or_move_to_the_end(
        seconds in -8_000_000_000_000_i64..8_000_000_000_000, nanos in 0..1_000_000_000_u32,
    ) {
        let asked = DateTime::from_timestamp(seconds, nanos).unwrap();
        let bytes = StorageObject::new("", Some(asked)).to_bytes();
        let kept = StorageObject::from_bytes(bytes).unwrap().expires_at.unwrap();
        let first = moment("0001-01-01T00:00:00Z");
        let last = moment("9999-12-31T23:59:59.999999Z");
        if asked >= first && asked <= last {
            prop_assert!(kept >= asked && kept - asked < TimeDelta::microseconds(1));
        } else {
            prop_assert_eq!(kept, if asked < first { first } else { last });
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_altered_record_makes_the_decoder_panic(at in 0..NEVER_BAR.len(), byte in any::<u8>()) {
        let mut bytes = NEVER_BAR.to_vec();
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}
