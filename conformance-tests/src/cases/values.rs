use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta};
use larder_core::{
    Bytes, Capabilities, Condition, ErrorKind, ExpiresIn, Result, SetItem, SetOptions,
    StorageObject, Store, StoreExt,
};

use super::calls::bare_set;
use super::conditions::version;
use super::listing::{all_keys, expect_listed};
use crate::random::Random;
use crate::trial::{LONG, Trial};
use crate::verdict::{
    Stop, Verdict, ensure, expect_expires_in, expect_kind, expect_missing, expect_value,
    show_found, show_value,
};

const MIB: usize = 1 << 20;
/// The largest declared limit that is tried; a larger one would need more memory than a test may
/// take.
const LARGEST_TRIED: u64 = 64 << 20;

/// Bytes in which no two places look alike.
pub(super) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let mut random = Random::new(u64::from(seed));
    let mut bytes = Vec::with_capacity(len + 64);
    while bytes.len() < len {
        // The same words in another order and with another first one: cheap, and never twice.
        let [one, two, three] = [random.next(), random.next(), random.next()];
        for word in [one, two, three, !one, two ^ one, three ^ one, two ^ three, !two] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes.truncate(len);
    bytes
}

/// A length, or the largest that the store takes.
pub(super) fn at_most(capabilities: Capabilities, len: usize) -> usize {
    usize::try_from(capabilities.max_value_len).map_or(len, |most| most.min(len))
}

pub(super) async fn any_bytes_come_back(t: &Trial) -> Verdict {
    let store = t.store();
    let mut values: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    values.push((0..=u8::MAX).collect());
    let texts = ["null", "nil", "None", "0", "-1", "true", "{}", "\r\n", "$-1\r\n", "+OK\r\n"];
    values.extend(texts.map(|text| text.as_bytes().to_vec()));
    for value in &values {
        t.part();
        store.set("k", value).await?;
        t.collect(expect_value(&store, "k", value).await)?;
    }
    Ok(())
}

pub(super) async fn empty_is_not_missing(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "").await?;
    expect_value(&store, "k", b"").await?;
    let values = store.get_many(&["k", "none"]).await?;
    let found: Vec<Option<Bytes>> = values.into_iter().collect::<Result<_>>()?;
    ensure!(
        found == [Some(Bytes::new()), None],
        "get_many of an empty value and a missing key gave {found:?}"
    );
    for outcome in store.set_many(vec![SetItem::new("batched", "")]).await? {
        ensure!(outcome?.is_applied(), "a set of an empty value in a batch was not applied");
    }
    expect_value(&store, "batched", b"").await?;
    if t.capabilities().conditions {
        for (condition, key) in [(Condition::Absent, "absent"), (Condition::Present, "k")] {
            let options = SetOptions::default().with_condition(condition);
            let outcome = store.set_opts(key, Bytes::new(), options).await?;
            ensure!(outcome.is_applied(), "a conditional set of an empty value was not applied");
            expect_value(&store, key, b"").await?;
        }
        let version = version(&store, "k").await?;
        let outcome = store.set("k", "").if_matches(version).await?;
        ensure!(outcome.is_applied(), "an empty value did not match its own version");
        expect_value(&store, "k", b"").await?;
    }
    ensure!(store.exists("k").await?, "exists(\"k\") gave false for an empty value");
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    ensure!(store.delete("k").await?, "delete(\"k\") gave false for an empty value");
    expect_missing(&store, "k").await
}

pub(super) async fn an_empty_value_lives_as_any_other(t: &Trial) -> Verdict {
    let (store, declared) = (t.store(), t.capabilities());
    let keys = ["p:dated", "p:kept", "p:timeless"];
    store.set("p:timeless", "").await?;
    store.set("p:dated", "").ttl(LONG).await?;
    store.set("p:kept", "").ttl(LONG).await?;
    store.set("p:kept", "").keep_ttl().await?;
    for key in ["p:dated", "p:kept"] {
        t.collect(lives_between(t, key, Duration::ZERO, LONG).await)?;
    }
    if declared.renew {
        t.part();
        let found = store.get("p:dated").renew_for(3 * LONG).await?;
        ensure!(found.is_some(), "get(\"p:dated\") with a renewal gave none for an empty value");
        t.collect(lives_between(t, "p:dated", LONG, 3 * LONG).await)?;
        let live = store.update_expiry("p:dated", LONG.into()).await?;
        ensure!(live, "update_expiry(\"p:dated\") gave false for an empty value");
        t.collect(lives_between(t, "p:dated", Duration::ZERO, LONG).await)?;
    }
    if declared.purge {
        t.part();
        store.set("p:dying", "").ttl(t.tick()).await?;
        t.outlive(t.tick()).await;
        store.delete_expired().await?;
        for key in keys {
            t.collect(expect_value(&store, key, b"").await)?;
        }
    }
    if declared.list {
        t.part();
        let listed = all_keys(&store, "p:", 2).await?;
        t.collect(expect_listed(&listed, keys))?;
    }
    let deleted = store.delete_many(&["p:timeless", "none"]).await?;
    ensure!(
        deleted.existed == 1,
        "delete_many of an empty value and a missing key counted {}",
        deleted.existed
    );
    if declared.list {
        let removed = store.delete_prefix("p:").await?;
        ensure!(removed == 2, "delete_prefix(\"p:\") of two empty values counted {removed}");
    }
    Ok(())
}

/// Sees that a key with an empty value lives on for more than `least`, and not for more than `most` and
/// a granule.
async fn lives_between(t: &Trial, key: &str, least: Duration, most: Duration) -> Verdict {
    let most = most + t.capabilities().expiry_granularity;
    match t.store().expires_in(key).await? {
        ExpiresIn::In(left) if left > least && left <= most => Ok(()),
        left => Err(Stop::fail(format!(
            "expires_in({key:?}) gave {left:?} for an empty value with more than {least:?} and at \
             most {most:?} to live"
        ))),
    }
}

pub(super) async fn every_size_comes_back(t: &Trial) -> Verdict {
    let store = t.store();
    let around = [32_usize, 128, 256, 1024, 4096, 16_384, 65_536];
    let mut sizes: Vec<usize> =
        around.iter().flat_map(|size| [size - 1, *size, size + 1]).collect();
    sizes.extend([1, 2, MIB + 1]);
    sizes.retain(|size| *size as u64 <= t.capabilities().max_value_len);
    for size in sizes {
        t.part();
        let value = pattern(size, 1);
        store.set("k", &value).await?;
        t.collect(expect_value(&store, "k", &value).await)?;
        let other = pattern(size, 2);
        let verdict = async {
            for outcome in store.set_many(vec![SetItem::new("batched", &other)]).await? {
                outcome?;
            }
            expect_value(&store, "batched", &other).await?;
            for (found, want) in store.get_many(&["batched", "k"]).await?.iter().zip([other, value])
            {
                let found = found.as_ref().map_err(Clone::clone)?.as_deref();
                ensure!(
                    found == Some(&want[..]),
                    "get_many gave {} instead of {}",
                    show_found(found),
                    show_value(&want)
                );
            }
            Ok(())
        };
        t.collect(verdict.await)?;
        if t.capabilities().conditions {
            let third = pattern(size, 3);
            let won = store.set("k", &third).if_present().await?.is_applied();
            ensure!(won, "a set if present of {size} bytes did not apply on a live key");
            t.collect(expect_value(&store, "k", &third).await)?;
        }
    }
    Ok(())
}

pub(super) async fn eight_mebibytes_come_back(t: &Trial) -> Verdict {
    let store = t.store();
    let large = pattern(at_most(t.capabilities(), 8 * MIB), 2);
    let other = pattern(large.len(), 3);
    store.set("k", "small").await?;
    for value in [&large, &other] {
        store.set("k", value).await?;
        expect_value(&store, "k", value).await?;
    }
    store.set("k", "small again").await?;
    expect_value(&store, "k", b"small again").await?;
    store.set("k", large.clone()).ttl(LONG).await?;
    expect_value(&store, "k", &large).await?;
    ensure!(store.delete("k").await?, "delete(\"k\") gave false for a large value");
    expect_missing(&store, "k").await
}

pub(super) async fn our_own_records_are_values(t: &Trial) -> Verdict {
    let store = t.store();
    let moment = |seconds| DateTime::from_timestamp(seconds, 0);
    let record = |expires_at| StorageObject::new("inner", expires_at).to_bytes();
    let plain = record(None);
    let values = [
        plain.clone(),
        record(moment(1)),
        record(moment(4_102_444_800)),
        StorageObject::new(plain.clone(), moment(1)).to_bytes(),
        Bytes::from([&plain[..], b"x"].concat()),
        plain.slice(..plain.len() - 1),
        Bytes::from_static(b"\x84\xaaexpires_at\xc0\xa3key\xa1k\xa5check\x01\xa4data\xc4\x01x"),
        Bytes::from_static(b"\x82\xaaexpires_at\xc0"),
        Bytes::from_static(b"\xc1"),
    ];
    for value in values {
        t.part();
        store.set("k", &value).await?;
        t.collect(expect_value(&store, "k", &value).await)?;
        t.collect(expect_expires_in(&store, "k", ExpiresIn::Never).await)?;
        store.set("k", &value).ttl(LONG).await?;
        t.collect(expect_value(&store, "k", &value).await)?;
    }
    Ok(())
}

/// Memory that tells when it has been freed.
struct Watched(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

pub(super) async fn a_slice_keeps_only_itself_alive(t: &Trial) -> Verdict {
    let store = t.store();
    let plain = SetOptions::default;
    let mut ways = vec![
        (10, 64 * 1024, Some(plain())),
        (10, 8 * MIB, Some(plain())),
        (64 * 1024, 8 * MIB, Some(plain())),
        (0, MIB, Some(plain())),
        (64 * 1024, MIB, Some(plain().with_expiry(LONG))),
        (64 * 1024, MIB, None),
    ];
    if t.capabilities().conditions {
        let present = plain().with_condition(Condition::Present);
        ways.push((64 * 1024, MIB, Some(present)));
    }
    for (part, whole, options) in ways {
        let part = at_most(t.capabilities(), part);
        t.part();
        let freed = Arc::new(AtomicBool::new(false));
        let buffer = Bytes::from_owner(Watched(pattern(whole, 4), Arc::clone(&freed)));
        let slice = buffer.slice(100..100 + part);
        let expected = slice.to_vec();
        drop(buffer);
        t.trace().note(format!("the value is a slice of {part} bytes of a buffer of {whole}"));
        match options {
            Some(options) => drop(store.set_opts("k", slice, options).await?),
            None => {
                for outcome in store.set_many(vec![SetItem::new("k", slice)]).await? {
                    outcome?;
                }
            }
        }
        // A thread that the store uses may let go of the call's argument a little later.
        for _ in 0..1_000 {
            if freed.load(Ordering::SeqCst) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ensure!(
            freed.load(Ordering::SeqCst),
            "10 s after the set, the buffer of {whole} bytes is still kept in memory for a stored \
             slice of {part} bytes"
        );
        t.collect(expect_value(&store, "k", &expected).await)?;
    }
    Ok(())
}

pub(super) async fn values_up_to_the_declared_limit(t: &Trial) -> Verdict {
    let store = t.store();
    let most = t.capabilities().max_value_len;
    if most > LARGEST_TRIED {
        return Err(Stop::skip("the store declares no limit that is small enough to be tried"));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let largest = pattern(most, 5);
    store.set("k", &largest).ttl(LONG).await?;
    expect_value(&store, "k", &largest).await?;
    let larger = vec![0; most + 1];
    let call = format!("a set of {} bytes", most + 1);
    let larger = Bytes::from(larger);
    let set = bare_set(&store, "k", larger.clone()).await;
    expect_kind(&call, set, ErrorKind::TooLarge)?;
    expect_value(&store, "k", &largest).await?;
    let left = store.expires_in("k").await?;
    ensure!(left != ExpiresIn::Never, "a refused set cleared the expiry of the old value");
    let new = bare_set(&store, "new", larger.clone()).await;
    expect_kind(&call, new, ErrorKind::TooLarge)?;
    if t.capabilities().conditions {
        let absent = SetOptions::default().with_condition(Condition::Absent);
        let new = store.set_opts("new", larger, absent).await;
        expect_kind(&format!("{call} if absent"), new, ErrorKind::TooLarge)?;
    }
    expect_missing(&store, "new").await
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(super) async fn records_are_those_of_litestar(_: &Trial) -> Verdict {
    // Written by Litestar 2.25.0 for the value "bar": expiry in microseconds, and the record's hex.
    let vectors: [(Option<i64>, &str); 7] = [
        (None, "82aa657870697265735f6174c0a464617461c403626172"),
        (Some(1_672_531_200_000_000), "82aa657870697265735f6174d6ff63b0cd00a464617461c403626172"),
        (
            Some(1_672_531_200_500_000),
            "82aa657870697265735f6174d7ff7735940063b0cd00a464617461c403626172",
        ),
        (
            Some(7_258_118_400_000_000),
            "82aa657870697265735f6174d7ff00000001b09e1900a464617461c403626172",
        ),
        (
            Some(-315_619_200_000_000),
            "82aa657870697265735f6174c70cff00000000ffffffffed300880a464617461c403626172",
        ),
        (
            Some(253_402_300_799_999_999),
            "82aa657870697265735f6174c70cff3b9ac6180000003afff4417fa464617461c403626172",
        ),
        (Some(0), "82aa657870697265735f6174d6ff00000000a464617461c403626172"),
    ];
    for (micros, hex) in vectors {
        let object = StorageObject::new("bar", micros.and_then(DateTime::from_timestamp_micros));
        let encoded = to_hex(&object.to_bytes());
        ensure!(encoded == hex, "{object:?} encodes as {encoded} instead of {hex}");
        let decoded = StorageObject::from_bytes(object.to_bytes())?;
        ensure!(decoded == object, "{hex} decodes as {decoded:?} instead of {object:?}");
    }
    Ok(())
}

pub(super) async fn no_bytes_but_records_decode(_: &Trial) -> Verdict {
    let record =
        StorageObject::new("value", DateTime::from_timestamp(1_672_531_200, 500)).to_bytes();
    let corrupt = |what: String, bytes: Bytes| {
        expect_kind(
            &format!("decoding {what}"),
            StorageObject::from_bytes(bytes),
            ErrorKind::Corrupt,
        )
    };
    for len in 0..record.len() {
        corrupt(format!("the first {len} bytes of a record"), record.slice(..len))?;
    }
    corrupt("a record with a byte after it".into(), [&record[..], b"\0"].concat().into())?;
    let bad: [(&str, &[u8]); 8] = [
        ("a map without expires_at", b"\x81\xa4data\xc4\x01x"),
        ("a map without data", b"\x81\xaaexpires_at\xc0"),
        ("text for data", b"\x82\xaaexpires_at\xc0\xa4data\xa1x"),
        ("an integer for expires_at", b"\x82\xaaexpires_at\x01\xa4data\xc4\x01x"),
        ("an array", b"\x92\xc0\xc4\x01x"),
        ("a length beyond the input", b"\x82\xaaexpires_at\xc0\xa4data\xc6\xff\xff\xff\xffx"),
        ("a map of four thousand million fields", b"\xdf\xff\xff\xff\xff"),
        ("deep nesting", b"\x83\xa1x\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0"),
    ];
    for (what, bytes) in bad {
        corrupt(what.to_owned(), Bytes::from_static(bytes))?;
    }
    Ok(())
}

pub(super) async fn a_record_tells_its_remaining_life(_: &Trial) -> Verdict {
    let deadline = DateTime::from_timestamp(1_000_000, 0).unwrap_or_default();
    let object = StorageObject::new("v", Some(deadline));
    let eternal = StorageObject::new("v", None);
    let table: [(i64, bool, i64); 5] = [
        (-1_000_000_000, false, 1),
        (-1, false, 1),
        (0, true, 0),
        (1, true, 0),
        (5_000_000_000, true, 0),
    ];
    for (nanos, expired, seconds) in table {
        let now = deadline + TimeDelta::nanoseconds(nanos);
        let said = (object.is_expired(now), object.expires_in_secs(now));
        ensure!(
            said == (expired, seconds),
            "{nanos} ns after its deadline a record gives (is_expired, expires_in_secs) = {said:?} \
             instead of {:?}",
            (expired, seconds)
        );
        ensure!(
            !eternal.is_expired(now) && eternal.expires_in_secs(now) == -1,
            "a record without expiry gives an end of its life"
        );
    }
    Ok(())
}
