//! Every object that the real Litestar wrote encodes and decodes byte for byte (`R1`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use larder_core::StorageObject;
use larder_core::chrono::DateTime;
use serde_json::Value;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn litestar_vectors_round_trip() {
    let vectors: Value = serde_json::from_str(include_str!("data/storage_object.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let expires_at =
            case["expires_at_us"].as_i64().map(|us| DateTime::from_timestamp_micros(us).unwrap());
        let object = StorageObject::new(unhex(case["data_hex"].as_str().unwrap()), expires_at);
        let encoded = unhex(case["encoded_hex"].as_str().unwrap());
        assert_eq!(object.to_bytes(), encoded, "encoding {name}");
        assert_eq!(StorageObject::from_bytes(encoded).unwrap(), object, "decoding {name}");
    }
}
