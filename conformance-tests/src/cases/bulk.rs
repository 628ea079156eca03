use std::sync::Arc;
use std::time::Duration;

use larder_core::{
    Bytes, Condition, ErrorKind, ExpiresIn, Result, SetItem, SetOptions, SetOutcome, StoreExt,
};

use super::conditions::version;
use crate::trial::{LONG, Trial};
use crate::verdict::{
    Stop, Verdict, ensure, expect_expires_in, expect_kind, expect_missing, expect_value, joined,
    show_found,
};

/// What a bulk read found, as text; an error of one key ends the case.
fn found(values: Vec<Result<Option<Bytes>>>) -> Verdict<Vec<Option<String>>> {
    values
        .into_iter()
        .map(|value| Ok(value?.map(|value| String::from_utf8_lossy(&value).into_owned())))
        .collect()
}

fn applied(outcomes: Vec<Result<SetOutcome>>) -> Verdict<Vec<bool>> {
    outcomes.into_iter().map(|outcome| Ok(outcome?.is_applied())).collect()
}

pub(super) async fn results_come_in_the_order_of_the_keys(t: &Trial) -> Verdict {
    let store = t.store();
    let keys: Vec<String> = (0..50).map(|index| format!("k{}", index * 37 % 50)).collect();
    let items = keys.iter().map(|key| SetItem::new(key, format!("value of {key}"))).collect();
    let outcomes = applied(store.set_many(items).await?)?;
    ensure!(outcomes == [true; 50], "set_many of 50 new keys gave {outcomes:?}");
    let mut asked: Vec<&str> = keys.iter().map(String::as_str).rev().collect();
    asked.insert(7, "missing");
    asked.push("missing too");
    let values = found(store.get_many(&asked).await?)?;
    ensure!(
        values.len() == asked.len(),
        "get_many of {} keys gave {} results",
        asked.len(),
        values.len()
    );
    for (key, value) in asked.iter().zip(values) {
        let want = (!key.starts_with("missing")).then(|| format!("value of {key}"));
        ensure!(value == want, "get_many gave {value:?} in the place of {key:?}");
    }
    let outcome = store.delete_many(&["k3", "missing", "k1", "k2"]).await?;
    let live: Vec<bool> = outcome.outcomes.into_iter().collect::<Result<_>>()?;
    ensure!(
        live == [true, false, true, true] && outcome.existed == 3,
        "delete_many of three live keys and a missing one gave {live:?}, {} existed",
        outcome.existed
    );
    Ok(())
}

pub(super) async fn nothing_may_be_asked_for(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    let values = store.get_many(&[]).await?;
    ensure!(values.is_empty(), "get_many([]) gave {} results", values.len());
    let outcomes = store.set_many(Vec::new()).await?;
    ensure!(outcomes.is_empty(), "set_many([]) gave {} results", outcomes.len());
    let outcome = store.delete_many(&[]).await?;
    ensure!(
        outcome.existed == 0 && outcome.outcomes.is_empty(),
        "delete_many([]) gave {outcome:?}"
    );
    expect_value(&store, "k", b"v").await
}

pub(super) async fn a_key_may_come_twice(t: &Trial) -> Verdict {
    let store = t.store();
    let items = [("k", "first"), ("l", "other"), ("k", "second"), ("m", "x"), ("k", "last")];
    let items = items.map(|(key, value)| SetItem::new(key, value)).to_vec();
    let outcomes = applied(store.set_many(items).await?)?;
    ensure!(outcomes == [true; 5], "set_many gave {outcomes:?}");
    expect_value(&store, "k", b"last").await?;
    expect_value(&store, "l", b"other").await?;
    let values = found(store.get_many(&["k", "l", "k", "none", "k", "none"]).await?)?;
    let want = [Some("last"), Some("other"), Some("last"), None, Some("last"), None];
    ensure!(
        values.iter().map(Option::as_deref).eq(want),
        "get_many of repeated keys gave {values:?}"
    );
    let outcome = store.delete_many(&["k", "k", "l", "k", "none", "none"]).await?;
    let live: Vec<bool> = outcome.outcomes.into_iter().collect::<Result<_>>()?;
    ensure!(
        outcome.existed == 2 && live.iter().filter(|live| **live).count() == 2,
        "delete_many of two live keys, repeated, gave {live:?}, {} existed",
        outcome.existed
    );
    for key in ["k", "l"] {
        expect_missing(&store, key).await?;
    }
    expect_value(&store, "m", b"x").await
}

pub(super) async fn every_key_is_checked_before_any_is_touched(t: &Trial) -> Verdict {
    let store = t.store();
    let bad = "k".repeat(t.capabilities().max_key_len + 1);
    store.set("old", "v").await?;
    for place in 0..3 {
        t.part();
        let mut keys = vec!["new", "old"];
        keys.insert(place, &bad);
        let items = keys.iter().map(|key| SetItem::new(key, "w")).collect();
        let verdict = async {
            let set = store.set_many(items).await;
            expect_kind("set_many with a key too long", set, ErrorKind::InvalidKey)?;
            expect_missing(&store, "new").await?;
            expect_value(&store, "old", b"v").await?;
            let delete = store.delete_many(&keys).await;
            expect_kind("delete_many with a key too long", delete, ErrorKind::InvalidKey)?;
            expect_value(&store, "old", b"v").await?;
            let get = store.get_many(&keys).await;
            expect_kind("get_many with a key too long", get, ErrorKind::InvalidKey)?;
            Ok(())
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn each_write_has_its_own_expiry(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 2;
    store.set("kept", "old").ttl(LONG).await?;
    store.set("cleared", "old").ttl(ttl).await?;
    for key in ["removed", "past"] {
        store.set(key, "old").await?;
    }
    store.set("cleared and kept", "old").ttl(LONG).await?;
    let past = t.now() - larder_core::chrono::TimeDelta::hours(2);
    let item = |key, options| SetItem::new(key, "v").with_options(options);
    let options = SetOptions::default;
    let outcomes = store
        .set_many(vec![
            item("short", options().with_expiry(ttl)),
            item("long", options().with_expiry(LONG)),
            item("kept", options().with_expiry(larder_core::Expiry::Keep)),
            item("cleared", options()),
            item("removed", options().with_expiry(Duration::ZERO)),
            item("at a moment", options().with_expiry(larder_core::Expiry::At(t.now() + LONG))),
            item("twice", options().with_expiry(ttl)),
            item("twice", options().with_expiry(larder_core::Expiry::Never)),
            item("past", options().with_expiry(larder_core::Expiry::At(past))),
            item("longest", options().with_expiry(Duration::MAX)),
            item("dated and kept", options().with_expiry(LONG)),
            item("dated and kept", options().with_expiry(larder_core::Expiry::Keep)),
            item("cleared and kept", options()),
            item("cleared and kept", options().with_expiry(larder_core::Expiry::Keep)),
        ])
        .await?;
    let outcomes = applied(outcomes)?;
    ensure!(outcomes == [true; 14], "set_many gave {outcomes:?}");
    for key in ["removed", "past"] {
        expect_missing(&store, key).await?;
    }
    for key in ["cleared", "twice", "cleared and kept"] {
        expect_expires_in(&store, key, ExpiresIn::Never).await?;
    }
    t.outlive(ttl).await;
    t.expect_gone(&store, "short").await?;
    for key in ["cleared", "twice", "cleared and kept", "longest"] {
        expect_value(&store, key, b"v").await?;
    }
    for key in ["long", "kept", "at a moment", "dated and kept"] {
        expect_value(&store, key, b"v").await?;
        let left = store.expires_in(key).await?;
        ensure!(
            left.as_duration()
                .is_some_and(|left| left <= LONG + t.capabilities().expiry_granularity),
            "expires_in({key:?}) gave {left:?}"
        );
    }
    Ok(())
}

pub(super) async fn each_write_has_its_own_condition(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("live", "old").await?;
    let item = |key, value, condition| {
        SetItem::new(key, value).with_options(SetOptions::default().with_condition(condition))
    };
    let outcomes = store
        .set_many(vec![
            item("live", "x", Condition::Absent),
            item("new", "1", Condition::Absent),
            item("new", "2", Condition::Absent),
            item("missing", "x", Condition::Present),
            item("live", "y", Condition::Present),
            item("made", "1", Condition::Any),
            item("made", "2", Condition::Present),
        ])
        .await?;
    let outcomes = applied(outcomes)?;
    ensure!(
        outcomes == [false, true, false, false, true, true, true],
        "set_many with conditions, as if one after the other, gave {outcomes:?}"
    );
    expect_value(&store, "live", b"y").await?;
    expect_value(&store, "new", b"1").await?;
    expect_value(&store, "made", b"2").await?;
    expect_missing(&store, "missing").await?;
    // Those of another key may be the same: only one key's values have to be told apart.
    store.set("live", "earlier").await?;
    let wrong = version(&store, "live").await?;
    store.set("live", "y").await?;
    let right = version(&store, "live").await?;
    let mortal = |key, value, condition| {
        let options = SetOptions::default().with_condition(condition).with_expiry(LONG);
        SetItem::new(key, value).with_options(options)
    };
    let outcomes = store
        .set_many(vec![
            mortal("live", "x", Condition::Matches(wrong.clone())),
            mortal("live", "z", Condition::Matches(right.clone())),
            mortal("live", "x", Condition::Matches(right)),
            mortal("missing", "x", Condition::Matches(wrong)),
            mortal("absent", "1", Condition::Absent),
            mortal("made", "3", Condition::Present),
        ])
        .await?;
    let outcomes = applied(outcomes)?;
    ensure!(
        outcomes == [false, true, false, false, true, true],
        "set_many with versions, as if one after the other, gave {outcomes:?}"
    );
    expect_missing(&store, "missing").await?;
    for (key, value) in [("live", "z"), ("absent", "1"), ("made", "3")] {
        expect_value(&store, key, value.as_bytes()).await?;
        let left = store.expires_in(key).await?;
        ensure!(
            matches!(left, ExpiresIn::In(_)),
            "a conditional set with an expiry in a batch made that of {key:?} {left:?}"
        );
    }
    Ok(())
}

pub(super) async fn the_dead_do_not_count(t: &Trial) -> Verdict {
    let store = t.store();
    if t.capabilities().conditions {
        let keys = ["absent", "present"];
        for key in keys {
            store.set(key, "old").ttl(t.tick()).await?;
        }
        t.outlive(t.tick()).await;
        for key in keys.iter().filter(|_| !t.exact_time()) {
            t.expect_gone(&store, key).await?;
        }
        let item = |key, condition| {
            SetItem::new(key, "new").with_options(SetOptions::default().with_condition(condition))
        };
        let batch = vec![item("absent", Condition::Absent), item("present", Condition::Present)];
        let outcomes = applied(store.set_many(batch).await?)?;
        ensure!(
            outcomes == [true, false],
            "set_many of two expired keys, if absent and if present, gave {outcomes:?}"
        );
        expect_value(&store, "absent", b"new").await?;
        expect_missing(&store, "present").await?;
    }
    let ttl = t.tick();
    store.set("dead", "v").ttl(ttl).await?;
    store.set("live", "v").ttl(LONG).await?;
    t.outlive(ttl).await;
    t.expect_gone(&store, "dead").await?;
    let values = found(store.get_many(&["dead", "live"]).await?)?;
    ensure!(values == [None, Some("v".to_owned())], "get_many gave {values:?}");
    let outcome = store.delete_many(&["dead", "live", "never"]).await?;
    ensure!(outcome.existed == 1, "delete_many gave {} where one was live", outcome.existed);
    Ok(())
}

pub(super) async fn large_batches_are_whole(t: &Trial) -> Verdict {
    let store = t.store();
    let keys: Vec<String> = (0..1_100).map(|index| format!("key {index}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let outcomes =
        applied(store.set_many(keys.iter().map(|key| SetItem::new(key, *key)).collect()).await?)?;
    ensure!(
        outcomes.len() == keys.len() && outcomes.iter().all(|applied| *applied),
        "set_many of {} keys gave {} outcomes, not all applied",
        keys.len(),
        outcomes.len()
    );
    let values = found(store.get_many(&keys).await?)?;
    ensure!(values.len() == keys.len(), "get_many of {} gave {}", keys.len(), values.len());
    if let Some((key, value)) =
        keys.iter().zip(&values).find(|(key, value)| value.as_deref() != Some(key))
    {
        return Err(Stop::fail(format!(
            "get_many gave {} in the place of {key:?}",
            show_found(value.as_deref().map(str::as_bytes))
        )));
    }
    let outcome = store.delete_many(&keys).await?;
    ensure!(
        outcome.existed == keys.len() as u64 && outcome.outcomes.len() == keys.len(),
        "delete_many of {} live keys gave {} existed, {} outcomes",
        keys.len(),
        outcome.existed,
        outcome.outcomes.len()
    );
    expect_missing(&store, "key 0").await?;
    expect_missing(&store, "key 1099").await
}

pub(super) async fn one_bad_key_spoils_no_other(t: &Trial) -> Verdict {
    let store = t.store();
    let keys = ["a", "b", "c", "d"];
    for key in keys {
        store.set(key, key).await?;
    }
    t.corrupt_record("b").await?;
    let values = store.get_many(&keys).await?;
    ensure!(values.len() == 4, "get_many of 4 keys gave {} results", values.len());
    for (key, value) in keys.iter().zip(values) {
        if *key == "b" {
            expect_kind("get_many at a damaged record", value, ErrorKind::Corrupt)?;
        } else {
            let value = value?;
            ensure!(
                value.as_deref() == Some(key.as_bytes()),
                "get_many beside a damaged record gave {} for {key:?}",
                show_found(value.as_deref())
            );
        }
    }
    let outcome = store.delete_many(&keys).await?;
    ensure!(
        outcome.existed == 4,
        "delete_many of four keys, one of them damaged, gave {} existed",
        outcome.existed
    );
    Ok(())
}

pub(super) async fn a_value_too_large_stops_the_batch(t: &Trial) -> Verdict {
    let store = t.store();
    let most = t.capabilities().max_value_len;
    if most > 64 << 20 {
        return Err(Stop::skip("the store declares no limit that is small enough to be tried"));
    }
    let large = vec![0; usize::try_from(most).unwrap_or_default() + 1];
    let items = vec![SetItem::new("a", "v"), SetItem::new("b", large), SetItem::new("c", "v")];
    let set = store.set_many(items).await;
    expect_kind("set_many with a value too large", set, ErrorKind::TooLarge)?;
    expect_missing(&store, "a").await?;
    expect_missing(&store, "c").await
}

pub(super) async fn batches_in_opposite_order_end(t: &Trial) -> Verdict {
    let keys: Arc<[String]> = (0..8).map(|index| format!("key {index}")).collect();
    for round in 0..20 {
        let calls: Vec<_> = (0..4_usize)
            .map(|caller| {
                let (store, keys) = (t.store(), Arc::clone(&keys));
                tokio::spawn(async move {
                    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                    if caller % 2 == 1 {
                        keys.reverse();
                    }
                    let items = keys.iter().map(|key| SetItem::new(key, *key)).collect();
                    for outcome in store.set_many(items).await? {
                        outcome?;
                    }
                    for value in store.get_many(&keys).await? {
                        value?;
                    }
                    if (caller + round) % 3 == 0 {
                        for deleted in store.delete_many(&keys).await?.outcomes {
                            deleted?;
                        }
                    }
                    Result::<()>::Ok(())
                })
            })
            .collect();
        for call in calls {
            joined(call.await)??;
        }
    }
    Ok(())
}
