use std::time::Duration;

use larder_core::{
    Condition, DeleteOptions, ErrorKind, ExpiresIn, GetOptions, SetOptions, Store, StoreExt,
    Version,
};

use super::values::{at_most, pattern};
use crate::trial::{LONG, Trial};
use crate::verdict::{
    Stop, Verdict, ensure, expect_expires_in, expect_kind, expect_missing, expect_value, show_value,
};

/// The version of a live key.
pub(super) async fn version(store: &dyn Store, key: &str) -> Verdict<Version> {
    let entry = store.get_opts(key, GetOptions::default().with_version(true)).await?;
    let Some(entry) = entry else {
        return Err(Stop::fail(format!(
            "get({key:?}) with its version gave nothing for a live key"
        )));
    };
    entry.version.ok_or_else(|| {
        Stop::fail(format!("get({key:?}) gave no version, although one was asked for"))
    })
}

fn deleting(condition: Condition) -> DeleteOptions {
    DeleteOptions::default().with_condition(condition)
}

fn expect_applied(call: &str, applied: bool, want: bool) -> Verdict {
    let (said, must) = if applied { ("applied", "must not") } else { ("did not apply", "must") };
    ensure!(applied == want, "{call} {said}, where it {must}");
    Ok(())
}

pub(super) async fn absent_sets_only_a_missing_key(t: &Trial) -> Verdict {
    let store = t.store();
    let won = store.set("k", "first").ttl(LONG).if_absent().await?.is_applied();
    expect_applied("set if absent on a missing key", won, true)?;
    let won = store.set("k", "second").if_absent().await?.is_applied();
    expect_applied("set if absent on a live key", won, false)?;
    expect_value(&store, "k", b"first").await?;
    let left = store.expires_in("k").await?;
    ensure!(
        matches!(left, ExpiresIn::In(_)),
        "a set that did not apply changed the expiry to {left:?}"
    );
    store.delete("k").await?;
    let won = store.set("k", "third").if_absent().await?.is_applied();
    expect_applied("set if absent on a deleted key", won, true)?;
    expect_value(&store, "k", b"third").await?;
    store.set("empty", "").await?;
    let won = store.set("empty", "x").if_absent().await?.is_applied();
    expect_applied("set if absent on an empty value", won, false)
}

pub(super) async fn present_sets_only_a_live_key(t: &Trial) -> Verdict {
    let store = t.store();
    let won = store.set("k", "v").if_present().await?.is_applied();
    expect_applied("set if present on a missing key", won, false)?;
    expect_missing(&store, "k").await?;
    store.set("k", "").ttl(LONG).await?;
    let won = store.set("k", "w").if_present().await?.is_applied();
    expect_applied("set if present on a live key", won, true)?;
    expect_value(&store, "k", b"w").await?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await
}

pub(super) async fn matches_sets_only_the_same_value(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "one").await?;
    let one = version(&store, "k").await?;
    let won = store.set("k", "two").if_matches(one.clone()).await?.is_applied();
    expect_applied("set if the version matches, on that very value", won, true)?;
    expect_value(&store, "k", b"two").await?;
    let won = store.set("k", "three").ttl(LONG).if_matches(one.clone()).await?.is_applied();
    expect_applied("set if the version matches, on another value", won, false)?;
    expect_value(&store, "k", b"two").await?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    let two = version(&store, "k").await?;
    store.delete("k").await?;
    let won = store.set("k", "four").if_matches(two.clone()).await?.is_applied();
    expect_applied("set if the version matches, on a deleted key", won, false)?;
    expect_missing(&store, "k").await?;
    store.set("k", "five").await?;
    let won = store.set("k", "six").if_matches(two).await?.is_applied();
    expect_applied("set if the version matches, on a new value", won, false)?;
    expect_value(&store, "k", b"five").await
}

pub(super) async fn a_deletion_can_have_a_condition(t: &Trial) -> Verdict {
    let store = t.store();
    for condition in [Condition::Present, Condition::Absent, Condition::Any] {
        let deleted = store.delete_opts("k", deleting(condition)).await?;
        expect_applied("delete of a missing key", deleted, false)?;
    }
    store.set("k", "one").await?;
    let one = version(&store, "k").await?;
    let deleted = store.delete_opts("k", deleting(Condition::Absent)).await?;
    expect_applied("delete if absent of a live key", deleted, false)?;
    expect_value(&store, "k", b"one").await?;
    store.set("k", "two").ttl(LONG).await?;
    let deleted = store.delete("k").if_matches(one.clone()).await?;
    expect_applied("delete if the version matches, of another value", deleted, false)?;
    expect_value(&store, "k", b"two").await?;
    let two = version(&store, "k").await?;
    let deleted = store.delete("k").if_matches(two.clone()).await?;
    expect_applied("delete if the version matches, of that very value", deleted, true)?;
    expect_missing(&store, "k").await?;
    let deleted = store.delete("k").if_matches(two).await?;
    expect_applied("delete if the version matches, of a deleted key", deleted, false)?;
    store.set("k", "three").await?;
    let deleted = store.delete_opts("k", deleting(Condition::Present)).await?;
    expect_applied("delete if present of a live key", deleted, true)?;
    expect_missing(&store, "k").await
}

pub(super) async fn an_expired_holder_is_absent(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    let keys = ["absent", "present", "matches", "deleted", "deleted if matches"];
    for key in keys {
        store.set(key, "old").ttl(ttl).await?;
    }
    store.set("fresh", "old").await?;
    let old = version(&store, "fresh").await?;
    t.outlive(ttl).await;
    for key in keys {
        // Looking may remove it; only the last one is looked at where time is not exact.
        if !t.exact_time() && key == "deleted if matches" {
            t.expect_gone(&store, key).await?;
        }
    }
    let won = store.set("present", "new").if_present().await?.is_applied();
    expect_applied("set if present on an expired key", won, false)?;
    expect_missing(&store, "present").await?;
    let won = store.set("matches", "new").if_matches(old.clone()).await?.is_applied();
    expect_applied("set if the version matches, on an expired key", won, false)?;
    expect_missing(&store, "matches").await?;
    let deleted = store.delete_opts("deleted", deleting(Condition::Present)).await?;
    expect_applied("delete if present of an expired key", deleted, false)?;
    let deleted = store.delete("deleted if matches").if_matches(old).await?;
    expect_applied("delete if the version matches, of an expired key", deleted, false)?;
    let won = store.set("absent", "new").if_absent().await?.is_applied();
    expect_applied("set if absent on an expired key", won, true)?;
    expect_value(&store, "absent", b"new").await?;
    expect_expires_in(&store, "absent", ExpiresIn::Never).await
}

pub(super) async fn a_loser_changes_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "other").await?;
    let other = version(&store, "k").await?;
    store.set("k", "v").ttl(LONG).await?;
    let lost = |condition| SetOptions::default().with_condition(condition);
    for condition in [Condition::Absent, Condition::Matches(other)] {
        let attempts = [
            lost(condition.clone()),
            lost(condition.clone()).with_expiry(Duration::ZERO),
            lost(condition.clone()).with_expiry(t.tick()),
            lost(condition.clone()).with_expiry(larder_core::Expiry::Keep),
        ];
        for options in attempts {
            t.part();
            let verdict = async {
                let won = store.set_opts("k", "x".into(), options).await?.is_applied();
                expect_applied("a set whose condition does not hold", won, false)?;
                expect_value(&store, "k", b"v").await?;
                let left = store.expires_in("k").await?;
                ensure!(
                    left.as_duration().is_some_and(|left| left > LONG / 2),
                    "a set that did not apply changed the expiry to {left:?}"
                );
                Ok(())
            };
            t.collect(verdict.await)?;
        }
    }
    t.outlive(t.tick()).await;
    expect_value(&store, "k", b"v").await?;
    let options = lost(Condition::Present);
    let won = store.set_opts("missing", "x".into(), options.with_expiry(LONG)).await?.is_applied();
    expect_applied("set if present on a missing key", won, false)?;
    expect_missing(&store, "missing").await
}

pub(super) async fn a_condition_goes_with_any_expiry(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").ttl(LONG).await?;
    let won = store.set("k", "w").keep_ttl().if_present().await?.is_applied();
    expect_applied("set if present that keeps the expiry", won, true)?;
    let left = store.expires_in("k").await?;
    ensure!(matches!(left, ExpiresIn::In(_)), "a set that keeps the expiry made it {left:?}");
    let held = version(&store, "k").await?;
    let won = store.set("k", "x").keep_ttl().if_matches(held).await?.is_applied();
    expect_applied("set if the version matches that keeps the expiry", won, true)?;
    let left = store.expires_in("k").await?;
    ensure!(matches!(left, ExpiresIn::In(_)), "a set that keeps the expiry made it {left:?}");
    let won = store.set("k", "y").ttl(Duration::ZERO).if_present().await?.is_applied();
    expect_applied("set if present that expires at once", won, true)?;
    expect_missing(&store, "k").await?;
    let won = store.set("k", "z").ttl(Duration::ZERO).if_absent().await?.is_applied();
    expect_applied("set if absent that expires at once", won, true)?;
    expect_missing(&store, "k").await?;
    let won = store.set("k", "z").keep_ttl().if_absent().await?.is_applied();
    expect_applied("set if absent that keeps the expiry", won, true)?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await
}

pub(super) async fn versions_tell_values_apart(t: &Trial) -> Verdict {
    let store = t.store();
    let large = pattern(at_most(t.capabilities(), 2 << 20), 6);
    let mut last_byte = large.clone();
    if let Some(byte) = last_byte.last_mut() {
        *byte ^= 1;
    }
    let mut first_byte = large.clone();
    first_byte[0] ^= 1;
    let mut middle_byte = large.clone();
    let middle = large.len() / 2;
    middle_byte[middle] ^= 1;
    let mut longer = large.clone();
    longer.truncate(large.len() - 1);
    let mut values: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\0".to_vec(),
        b"\0\0".to_vec(),
        b"a".to_vec(),
        b"b".to_vec(),
        b"ab".to_vec(),
        b"ba".to_vec(),
        b"Aa".to_vec(),
        b"BB".to_vec(),
        b"a ".to_vec(),
        pattern(64, 7),
        pattern(64, 8),
        pattern(65, 7),
        // Different values with the same CRC-32, FNV-1a of 64 bits, Adler-32, XOR of words and MD5.
        b"plumless".to_vec(),
        b"buckeroo".to_vec(),
        b"8yn0iYCKYHlIj4-BwPqk".to_vec(),
        b"GReLUrM4wMqfg9yzV3KQ".to_vec(),
        vec![0, 2, 0, 0],
        vec![1, 0, 1, 0],
        b"one wordword two".to_vec(),
        b"word twoone word".to_vec(),
        large,
        last_byte,
        first_byte,
        middle_byte,
        longer,
    ];
    values.extend(md5_twins());
    let mut seen: Vec<(&Vec<u8>, Version)> = Vec::new();
    for value in &values {
        store.set("k", value).await?;
        let new = version(&store, "k").await?;
        for (other, version) in &seen {
            t.part();
            ensure!(
                *version != new,
                "{} and {} have the same version",
                show_value(other),
                show_value(value)
            );
            let won = store.set("k", "x").if_matches(version.clone()).await?.is_applied();
            ensure!(
                !won,
                "the version of {} matches the value {}",
                show_value(other),
                show_value(value)
            );
        }
        let won = store.set("k", value).if_matches(new.clone()).await?.is_applied();
        ensure!(won, "the version of {} does not match that very value", show_value(value));
        seen.push((value, new));
    }
    // More values than a counter of eight bits can tell apart.
    store.set("counted", "first").await?;
    let first = version(&store, "counted").await?;
    for index in 0..300 {
        store.set("counted", format!("{index}")).await?;
        ensure!(
            version(&store, "counted").await? != first,
            "\"first\" and the value set {index} sets after it have the same version"
        );
    }
    let missing = store.get_opts("missing", GetOptions::default().with_version(true)).await?;
    ensure!(missing.is_none(), "a missing key gave {missing:?}");
    Ok(())
}

/// A value of which X. Wang and H. Yu found another one with the same MD5.
const MD5_TWIN: &[u8; 128] = b"\
    \xd1\x31\xdd\x02\xc5\xe6\xee\xc4\x69\x3d\x9a\x06\x98\xaf\xf9\x5c\
    \x2f\xca\xb5\x87\x12\x46\x7e\xab\x40\x04\x58\x3e\xb8\xfb\x7f\x89\
    \x55\xad\x34\x06\x09\xf4\xb3\x02\x83\xe4\x88\x83\x25\x71\x41\x5a\
    \x08\x51\x25\xe8\xf7\xcd\xc9\x9f\xd9\x1d\xbd\xf2\x80\x37\x3c\x5b\
    \xd8\x82\x3e\x31\x56\x34\x8f\x5b\xae\x6d\xac\xd4\x36\xc9\x19\xc6\
    \xdd\x53\xe2\xb4\x87\xda\x03\xfd\x02\x39\x63\x06\xd2\x48\xcd\xa0\
    \xe9\x9f\x33\x42\x0f\x57\x7e\xe8\xce\x54\xb6\x70\x80\xa8\x0d\x1e\
    \xc6\x98\x21\xbc\xb6\xa8\x83\x93\x96\xf9\x65\x2b\x6f\xf7\x2a\x70";
/// Where the two differ, each time in the highest bit.
const TWIN: [usize; 6] = [19, 45, 59, 83, 109, 123];

fn md5_twins() -> [Vec<u8>; 2] {
    let one = MD5_TWIN.to_vec();
    let mut other = one.clone();
    for place in TWIN {
        other[place] ^= 0x80;
    }
    [one, other]
}

pub(super) async fn a_version_nobody_gave_matches_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    let made_up: [&[u8]; 6] = [b"", b"x", b"0", &[0; 32], &[0xff; 64], &[7; 5_000]];
    for bytes in made_up {
        t.part();
        let none = Version::new(bytes.to_vec());
        if version(&store, "k").await? == none {
            continue;
        }
        let verdict = async {
            let won = store.set("k", "x").if_matches(none.clone()).await?.is_applied();
            expect_applied("set with a version made up", won, false)?;
            let deleted = store.delete("k").if_matches(none.clone()).await?;
            expect_applied("delete with a version made up", deleted, false)?;
            expect_value(&store, "k", b"v").await?;
            let won = store.set("missing", "x").if_matches(none).await?.is_applied();
            expect_applied("set of a missing key with a version made up", won, false)?;
            expect_missing(&store, "missing").await
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn all_parts_of_an_entry_belong_together(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").ttl(LONG).await?;
    let options = GetOptions::default().with_version(true).with_expires_in(true);
    let entry = store.get_opts("k", options.clone()).await?;
    let Some(entry) = entry else {
        return Err(Stop::fail("get(\"k\") gave nothing for a live key"));
    };
    ensure!(&entry.value[..] == b"v", "get(\"k\") gave {}", show_value(&entry.value));
    ensure!(
        matches!(entry.expires_in, Some(ExpiresIn::In(_))),
        "get(\"k\") with its remaining life gave {:?}",
        entry.expires_in
    );
    let held = version(&store, "k").await?;
    ensure!(
        entry.version == Some(held),
        "one value was given two versions, by get with and without its remaining life"
    );
    if !t.capabilities().renew {
        return Ok(());
    }
    let renewed = store.get_opts("k", options.with_renew_for(LONG)).await?;
    let Some(version) = renewed.and_then(|entry| entry.version) else {
        return Err(Stop::fail(
            "get(\"k\") with renewal gave no version, although one was asked for",
        ));
    };
    let won = store.set("k", "w").if_matches(version).await?.is_applied();
    expect_applied("set if the version matches that a get with renewal gave", won, true)
}

pub(super) async fn increments_count(t: &Trial) -> Verdict {
    let store = t.store();
    for (by, want) in [(1, 1), (41, 42), (-50, -8), (0, -8), (8, 0)] {
        let sum = store.increment("n", by).await?;
        ensure!(sum == want, "increment(\"n\", {by}) gave {sum} instead of {want}");
        expect_value(&store, "n", want.to_string().as_bytes()).await?;
    }
    store.set("mortal", "7").ttl(LONG).await?;
    store.increment("mortal", 1).await?;
    let left = store.expires_in("mortal").await?;
    ensure!(matches!(left, ExpiresIn::In(_)), "an increment made the expiry {left:?}");
    let ttl = t.tick();
    store.set("dead", "7").ttl(ttl).await?;
    t.outlive(ttl).await;
    t.expect_gone(&store, "dead").await?;
    let sum = store.increment("dead", 1).await?;
    ensure!(sum == 1, "increment of an expired 7 gave {sum}");
    for bad in ["", "x", "1.0", " 1", "1 ", "+1", "9223372036854775808", "0x1", "٣"] {
        t.part();
        store.set("n", bad).await?;
        let call = format!("increment of {bad:?}");
        let sum = store.increment("n", 1).await;
        t.collect(expect_kind(&call, sum, ErrorKind::InvalidValue).map(drop))?;
        t.collect(expect_value(&store, "n", bad.as_bytes()).await)?;
    }
    for (edge, by) in [(i64::MAX, 1), (i64::MIN, -1), (1, i64::MAX)] {
        let edge = edge.to_string();
        store.set("n", &edge).await?;
        let sum = store.increment("n", by).await;
        expect_kind(&format!("increment of {edge} by {by}"), sum, ErrorKind::InvalidValue)?;
        expect_value(&store, "n", edge.as_bytes()).await?;
    }
    Ok(())
}

pub(super) async fn updates_see_what_they_replace(t: &Trial) -> Verdict {
    let store = t.store();
    let append = |more: &'static str| {
        move |old: Option<larder_core::Bytes>| {
            let old = old.unwrap_or_default();
            Some([&old[..], more.as_bytes()].concat())
        }
    };
    store.update("k", append("a")).await?;
    store.update("k", append("b")).await?;
    expect_value(&store, "k", b"ab").await?;
    store.set("k", "x").ttl(LONG).await?;
    let new = store.update("k", append("y")).await?;
    ensure!(new.as_deref() == Some(b"xy"), "update gave {new:?}");
    let left = store.expires_in("k").await?;
    ensure!(matches!(left, ExpiresIn::In(_)), "an update made the expiry {left:?}");
    store.update("k", |_| None::<&str>).await?;
    expect_missing(&store, "k").await?;
    store.update("k", |_| None::<&str>).await?;
    expect_missing(&store, "k").await
}
