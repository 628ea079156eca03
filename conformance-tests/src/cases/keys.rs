use std::collections::BTreeSet;

use larder_core::{
    Bytes, Condition, DeleteOptions, ErrorKind, ExpiresIn, Expiry, GetOptions, SetItem, SetOptions,
    Store, StoreExt,
};

use super::calls::{bare_delete, bare_get, bare_set};
use super::hostile;
use super::listing::all_keys;
use crate::trial::{LONG, Trial};
use crate::verdict::{Verdict, ensure, expect_kind, expect_missing, expect_value, show_key};

/// How many keys a batch here has.
const BATCH: usize = 64;

/// Sets every key at once, each to a value of its own, and reads all back; then deletes every second
/// one and looks at all of them again, with every call that takes a key; then does the same in batches.
async fn keep_apart(t: &Trial, keys: &[String]) -> Verdict {
    let store = t.store();
    let value = |index: usize| format!("value {index}");
    for (index, key) in keys.iter().enumerate() {
        t.collect_about(&[key], store.set(key, value(index)).await.map(drop).map_err(Into::into))?;
    }
    for (index, key) in keys.iter().enumerate() {
        t.collect_about(&[key], expect_value(&store, key, value(index).as_bytes()).await)?;
    }
    for key in keys.iter().step_by(2) {
        let live = store.delete(key).await?;
        let verdict = async {
            ensure!(live, "delete({}) gave false for a live key", show_key(key));
            Ok(())
        };
        t.collect_about(&[key], verdict.await)?;
    }
    for (index, key) in keys.iter().enumerate() {
        let want = (index % 2 == 1).then(|| value(index));
        t.collect_about(&[key], every_call_agrees(t, key, want.as_deref()).await)?;
    }
    keep_apart_in_batches(t, keys).await
}

/// Sees that all calls on one key take it for the same one; `want` is its value, if it is live.
async fn every_call_agrees(t: &Trial, key: &str, want: Option<&str>) -> Verdict {
    let (store, has, live) = (t.store(), t.capabilities(), want.is_some());
    match want {
        Some(value) => expect_value(&store, key, value.as_bytes()).await?,
        None => expect_missing(&store, key).await?,
    }
    let mut told = vec![
        ("exists", store.exists(key).await?),
        ("expires_in", store.expires_in(key).await? != ExpiresIn::Missing),
    ];
    if has.renew {
        told.push(("update_expiry", store.update_expiry(key, Expiry::Never).await?));
        told.push(("get with renewal", store.get(key).renew_for(LONG).await?.is_some()));
    }
    if has.conditions {
        let keep = |condition| SetOptions::default().with_condition(condition);
        let value = || Bytes::copy_from_slice(want.unwrap_or("made up").as_bytes());
        let present = store.set_opts(key, value(), keep(Condition::Present)).await?;
        told.push(("set if present", present.is_applied()));
    }
    for (call, found) in told {
        ensure!(found == live, "{call}({}) took it for {}", show_key(key), liveness(found));
    }
    Ok(())
}

fn liveness(live: bool) -> &'static str {
    if live { "a live key" } else { "a missing one" }
}

/// Every second key is live.
async fn keep_apart_in_batches(t: &Trial, keys: &[String]) -> Verdict {
    let store = t.store();
    let value = |index: usize| format!("batched {index}");
    for (chunk, first) in keys.chunks(BATCH).zip((0..).step_by(BATCH)) {
        let names: Vec<&str> = chunk.iter().map(String::as_str).collect();
        t.part();
        let verdict = async {
            let found = store.get_many(&names).await?;
            ensure!(found.len() == names.len(), "get_many gave {} values", found.len());
            for (index, found) in found.into_iter().enumerate() {
                let (found, live) = (found?.is_some(), (first + index) % 2 == 1);
                let key = show_key(names[index]);
                ensure!(found == live, "get_many took {key} for {}", liveness(found));
            }
            let items = names.iter().enumerate();
            let items = items.map(|(index, key)| SetItem::new(key, value(first + index)));
            for outcome in store.set_many(items.collect()).await? {
                ensure!(outcome?.is_applied(), "a set in a batch was not applied");
            }
            Ok(())
        };
        t.collect(verdict.await)?;
    }
    for (index, key) in keys.iter().enumerate() {
        t.collect_about(&[key], expect_value(&store, key, value(index).as_bytes()).await)?;
    }
    for (chunk, first) in keys.chunks(BATCH).zip((0..).step_by(BATCH)) {
        let index_of = |place: usize| first + place;
        let doomed: Vec<&str> = (0..chunk.len())
            .filter(|place| index_of(*place) % 2 == 0)
            .map(|place| chunk[place].as_str())
            .collect();
        t.part();
        let outcome = store.delete_many(&doomed).await?;
        for (key, live) in doomed.iter().zip(outcome.outcomes) {
            let live = live?;
            let verdict = async {
                ensure!(live, "delete_many took {} for a missing one", show_key(key));
                Ok(())
            };
            t.collect(verdict.await)?;
        }
    }
    for (index, key) in keys.iter().enumerate() {
        let verdict = if index % 2 == 0 {
            expect_missing(&store, key).await
        } else {
            expect_value(&store, key, value(index).as_bytes()).await
        };
        t.collect_about(&[key], verdict)?;
    }
    Ok(())
}

/// Text of exactly `len` bytes, most of them in characters of several bytes.
fn wide(len: usize) -> String {
    let mut text = "é".repeat(len / 2);
    if len % 2 == 1 {
        text.push('x');
    }
    text
}

/// The lengths of keys at which encodings, file systems and limits change.
fn lengths(most: usize) -> Vec<usize> {
    let around = [64, 128, 246, 255, 256, 512, 1_024, 2_048, 4_096];
    let mut all: BTreeSet<usize> = (0..4).collect();
    all.extend(around.into_iter().flat_map(|len| [len - 1, len, len + 1]));
    all.extend([most.saturating_sub(1), most]);
    all.into_iter().filter(|len| *len <= most).collect()
}

pub(super) async fn every_length_up_to_the_limit(t: &Trial) -> Verdict {
    let lengths = lengths(t.capabilities().max_key_len);
    let mut keys: Vec<String> = lengths.iter().map(|len| "k".repeat(*len)).collect();
    keys.extend(lengths.iter().filter(|len| **len > 1).map(|len| wide(*len)));
    keep_apart(t, &keys).await
}

pub(super) async fn a_key_too_long_is_refused(t: &Trial) -> Verdict {
    let store = t.store();
    let most = t.capabilities().max_key_len;
    let longest = "k".repeat(most);
    store.set(&longest, "v").await?;
    for key in [format!("{longest}k"), wide(most + 2), "k".repeat(1 << 20)] {
        t.part();
        let call = |name: &str| format!("{name}({})", show_key(&key));
        let invalid = ErrorKind::InvalidKey;
        let set = bare_set(&store, &key, "w").await;
        t.collect(expect_kind(&call("set"), set, invalid).map(drop))?;
        let get = bare_get(&store, &key).await;
        t.collect(expect_kind(&call("get"), get, invalid).map(drop))?;
        let delete = bare_delete(&store, &key).await;
        t.collect(expect_kind(&call("delete"), delete, invalid).map(drop))?;
        let exists = store.exists(&key).await;
        t.collect(expect_kind(&call("exists"), exists, invalid).map(drop))?;
        let left = store.expires_in(&key).await;
        t.collect(expect_kind(&call("expires_in"), left, invalid).map(drop))?;
        if t.capabilities().renew {
            let renewed = store.update_expiry(&key, Expiry::Never).await;
            t.collect(expect_kind(&call("update_expiry"), renewed, invalid).map(drop))?;
        }
        let bulk = store.get_many(&["short", &key]).await;
        t.collect(expect_kind(&call("get_many"), bulk, invalid).map(drop))?;
        let bulk = store.set_many(vec![SetItem::new("short", "w"), SetItem::new(&key, "w")]).await;
        t.collect(expect_kind(&call("set_many"), bulk, invalid).map(drop))?;
        let bulk = store.delete_many(&[&longest, &key]).await;
        t.collect(expect_kind(&call("delete_many"), bulk, invalid).map(drop))?;
        t.collect(expect_missing(&store, "short").await)?;
        t.collect(expect_value(&store, &longest, b"v").await)?;
    }
    Ok(())
}

pub(super) async fn every_ascii_character_is_a_key(t: &Trial) -> Verdict {
    let mut keys: Vec<String> = (0..128_u8).map(|byte| char::from(byte).to_string()).collect();
    keys.extend((0..128_u8).map(|byte| format!("a{}b", char::from(byte))));
    keep_apart(t, &keys).await
}

pub(super) async fn look_alikes_are_different_keys(t: &Trial) -> Verdict {
    let keys: Vec<String> = hostile::keys().into_iter().map(str::to_owned).collect();
    keep_apart(t, &keys).await
}

pub(super) async fn no_key_is_cut_or_hashed_into_another(t: &Trial) -> Verdict {
    let most = t.capabilities().max_key_len;
    let mut keys: Vec<String> = Vec::new();
    // The same for so many bytes, and different in the last one alone.
    for len in [8, 16, 32, 64, 127, 128, 200, 250, 254, 255, 256, 1_000, 2_048, 4_095] {
        if len < most {
            keys.extend(["x", "y"].map(|end| format!("{}{end}", "p".repeat(len))));
        }
    }
    // The same but for the first byte.
    keys.extend(["x", "y"].map(|start| format!("{start}{}", "p".repeat(most.min(4_096) - 1))));
    // Equal under weak hashes: sums, exclusive ors, and the product hashes of Java and Python 2.
    let colliding = ["ab", "ba", "Aa", "BB", "AaAa", "BBBB", "AaBB", "BBAa"];
    keys.extend(colliding.map(str::to_owned));
    // Long keys may be hashed where short ones are not.
    keys.extend(
        colliding.map(|end| format!("{}{end}", "p".repeat(most.saturating_sub(4).min(300)))),
    );
    keep_apart(t, &keys).await
}

pub(super) async fn a_pattern_is_only_a_key(t: &Trial) -> Verdict {
    let store = t.store();
    let others = ["a", "ab", "b", "k/a", "key:1", ""];
    let patterns =
        ["*", "a*", "?", "[ab]", "^", "%", "_", "a%", ".*", "k/*", "key:*", "**", "../*", "\\*"];
    for pattern in patterns {
        t.part();
        for key in others {
            store.set(key, key).await?;
        }
        t.collect(expect_missing(&store, pattern).await)?;
        let live = store.delete(pattern).await?;
        let verdict = async {
            ensure!(!live, "delete({pattern:?}) gave true, yet that key was never set");
            store.set(pattern, "itself").await?;
            expect_value(&store, pattern, b"itself").await?;
            store.delete(pattern).await?;
            for key in others {
                expect_value(&store, key, key.as_bytes()).await?;
            }
            Ok(())
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn no_key_leaves_its_namespace(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let child = tree.with_path(&["n", "m"])?;
    let outside = ["k", "m", "n", "", "larder", "n/m:k", "n/m/k"];
    for key in outside {
        tree.set(key, key).await?;
    }
    let escapes = [
        "../k",
        "../../k",
        "/k",
        "..",
        "../..",
        "../../larder",
        "/",
        "\0",
        "../m:k",
        "..\\k",
        "../../../../../../tmp/larder-escape",
        "%2e%2e/k",
        "..%2fk",
        ":k",
        "/../k",
    ];
    for key in escapes {
        t.part();
        let verdict = async {
            expect_missing(&child, key).await?;
            child.set(key, "inside").await?;
            expect_value(&child, key, b"inside").await?;
            for key in outside {
                expect_value(&tree, key, key.as_bytes()).await?;
            }
            child.delete(key).await?;
            for key in outside {
                expect_value(&tree, key, key.as_bytes()).await?;
            }
            Ok(())
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn listed_as_they_were_set(t: &Trial) -> Verdict {
    let store = t.store();
    let mut keys: BTreeSet<String> = hostile::keys().into_iter().map(str::to_owned).collect();
    keys.extend((0..128_u8).map(|byte| char::from(byte).to_string()));
    keys.extend(lengths(t.capabilities().max_key_len).into_iter().map(|len| "k".repeat(len)));
    for key in &keys {
        store.set(key, "v").await?;
    }
    t.part();
    let listed = all_keys(&store, "", 100).await?;
    let found: BTreeSet<String> = listed.iter().cloned().collect();
    let missing: Vec<_> = keys.difference(&found).map(|key| show_key(key)).collect();
    let unknown: Vec<_> = found.difference(&keys).map(|key| show_key(key)).collect();
    ensure!(
        missing.is_empty() && unknown.is_empty(),
        "a listing of {} keys leaves out [{}] and makes up [{}]",
        keys.len(),
        missing.join(", "),
        unknown.join(", ")
    );
    Ok(())
}

pub(super) async fn conditions_tell_look_alikes_apart(t: &Trial) -> Verdict {
    let store = t.store();
    for (held, other) in
        [("k", "K"), ("é", "e\u{301}"), ("k", "k "), ("a/b", "a%2Fb"), ("k", "k\0")]
    {
        t.part();
        store.set(held, "v").await?;
        let verdict = async {
            let outcome = store.set(other, "w").if_present().await?;
            ensure!(!outcome.is_applied(), "{other:?} counts as present while only {held:?} is");
            let present = DeleteOptions::default().with_condition(Condition::Present);
            let deleted = store.delete_opts(other, present).await?;
            ensure!(!deleted, "delete({other:?}) gave true while only {held:?} is live");
            let absent = SetOptions::default().with_condition(Condition::Absent);
            let outcome = store.set_opts(other, "w".into(), absent).await?;
            ensure!(outcome.is_applied(), "{other:?} counts as present while only {held:?} is");
            expect_value(&store, held, b"v").await
        };
        t.collect(verdict.await)?;
        store.delete_many(&[held, other]).await?;
    }
    Ok(())
}

pub(super) async fn the_empty_key_is_a_key(t: &Trial) -> Verdict {
    let store = t.store();
    expect_missing(&store, "").await?;
    store.set("k", "v").await?;
    expect_missing(&store, "").await?;
    store.set("", "empty").await?;
    expect_value(&store, "", b"empty").await?;
    let entry = store.get_opts("", GetOptions::default().with_expires_in(true)).await?;
    ensure!(entry.is_some(), "get(\"\") with its remaining life asked for gave nothing");
    ensure!(store.delete("").await?, "delete(\"\") gave false for a live key");
    expect_missing(&store, "").await?;
    expect_value(&store, "k", b"v").await
}
