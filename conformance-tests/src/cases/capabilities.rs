use larder_core::{
    Condition, Cursor, DeleteOptions, ErrorKind, ExpiresIn, Expiry, GetOptions, MAX_KEY_LEN,
    SetItem, SetOptions, Store, StoreExt, Version,
};

use crate::trial::{LONG, Trial};
use crate::verdict::{
    Verdict, ensure, expect_expires_in, expect_kind, expect_missing, expect_value,
};

fn unsupported<T: std::fmt::Debug>(call: &str, result: larder_core::Result<T>) -> Verdict {
    expect_kind(call, result, ErrorKind::Unsupported).map(drop)
}

pub(super) async fn they_make_sense(t: &Trial) -> Verdict {
    let has = t.capabilities();
    ensure!(!has.ordered_list || has.list, "it declares `ordered_list` and not `list`");
    ensure!(
        has.max_key_len <= MAX_KEY_LEN,
        "it declares keys of {} bytes, and no key is longer than {MAX_KEY_LEN}",
        has.max_key_len
    );
    ensure!(!has.expiry_granularity.is_zero(), "it declares an expiry granularity of zero");
    Ok(())
}

pub(super) async fn they_never_change(t: &Trial) -> Verdict {
    let store = t.store();
    let before = store.capabilities();
    store.set("k", "v").ttl(LONG).await?;
    store.get("k").await?;
    store.delete_all().await?;
    store.flush().await?;
    let after = store.capabilities();
    ensure!(before == after, "they changed from {before:?} to {after:?}");
    store.close().await?;
    let closed = store.capabilities();
    ensure!(before == closed, "closing changed them from {before:?} to {closed:?}");
    Ok(())
}

pub(super) async fn undeclared_list_changes_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    let none = Cursor::from_bytes("none");
    t.collect(unsupported("list_page", store.list_page("", None, 10).await))?;
    t.collect(unsupported("list_page", store.list_page("k", Some(&none), 10).await))?;
    let children = store.list_child_namespaces(None, 10).await;
    t.collect(unsupported("list_child_namespaces", children))?;
    t.collect(unsupported("delete_prefix", store.delete_prefix("k").await))?;
    t.collect(unsupported("delete_prefix", store.delete_prefix("").await))?;
    expect_value(&store, "k", b"v").await
}

pub(super) async fn undeclared_conditions_change_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").ttl(LONG).await?;
    let conditions = [Condition::Absent, Condition::Present, Condition::Matches(Version::new("v"))];
    for condition in conditions {
        t.part();
        let set = SetOptions::default().with_condition(condition.clone());
        for key in ["k", "new"] {
            let result = store.set_opts(key, "w".into(), set.clone()).await;
            t.collect(unsupported("set with a condition", result))?;
            let options = DeleteOptions::default().with_condition(condition.clone());
            let result = store.delete_opts(key, options).await;
            t.collect(unsupported("delete with a condition", result))?;
        }
        let items = vec![SetItem::new("new", "w"), SetItem::new("k", "w").with_options(set)];
        t.collect(unsupported("set_many with a condition", store.set_many(items).await))?;
        t.collect(expect_value(&store, "k", b"v").await)?;
        t.collect(expect_missing(&store, "new").await)?;
    }
    let left = store.expires_in("k").await?;
    ensure!(matches!(left, ExpiresIn::In(_)), "a refused call made the expiry {left:?}");
    let result = store.get_opts("k", GetOptions::default().with_version(true)).await;
    t.collect(unsupported("get with a version", result))?;
    t.collect(unsupported("increment", store.increment("n", 1).await))?;
    expect_missing(&store, "n").await
}

pub(super) async fn undeclared_renew_changes_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 2;
    store.set("eternal", "v").await?;
    store.set("k", "v").ttl(ttl).await?;
    for key in ["k", "eternal", "missing"] {
        let options = GetOptions::default().with_renew_for(LONG);
        t.collect(unsupported("get with a renewal", store.get_opts(key, options).await))?;
        for expiry in [Expiry::After(LONG), Expiry::Never, Expiry::Keep, Expiry::After(ttl)] {
            let result = store.update_expiry(key, expiry).await;
            t.collect(unsupported("update_expiry", result))?;
        }
    }
    expect_expires_in(&store, "eternal", ExpiresIn::Never).await?;
    t.outlive(ttl).await;
    t.expect_gone(&store, "k").await?;
    expect_value(&store, "eternal", b"v").await
}

pub(super) async fn undeclared_purge_changes_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    store.set("dead", "v").ttl(t.tick()).await?;
    t.outlive(t.tick()).await;
    t.collect(unsupported("delete_expired", store.delete_expired().await))?;
    t.expect_gone(&store, "dead").await?;
    expect_value(&store, "k", b"v").await
}

pub(super) async fn declared_list_works(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    let page = store.list_page("", None, 10).await?;
    ensure!(page.keys == ["k"] || page.next.is_some(), "list_page gave {page:?}");
    ensure!(store.delete_prefix("k").await? == 1, "delete_prefix(\"k\") did not give 1");
    expect_missing(&store, "k").await
}

pub(super) async fn declared_conditions_work(t: &Trial) -> Verdict {
    let store = t.store();
    let won = store.set("k", "v").if_absent().await?.is_applied();
    ensure!(won, "a set if absent did not apply on a missing key");
    let held = super::conditions::version(&store, "k").await?;
    let won = store.set("k", "w").if_matches(held).await?.is_applied();
    ensure!(won, "a set if the version matches did not apply on that very value");
    expect_value(&store, "k", b"w").await
}

pub(super) async fn declared_renew_works(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").ttl(LONG).await?;
    let found = store.get("k").renew_for(2 * LONG).await?;
    ensure!(found.is_some(), "get(\"k\") with a renewal gave nothing for a live key");
    let left = store.expires_in("k").await?;
    ensure!(
        left.as_duration().is_some_and(|left| left > LONG + LONG / 2),
        "expires_in(\"k\") gave {left:?} after a renewal"
    );
    ensure!(store.update_expiry("k", Expiry::Never).await?, "update_expiry gave false");
    expect_expires_in(&store, "k", ExpiresIn::Never).await
}

pub(super) async fn declared_purge_works(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    let removed = store.delete_expired().await?;
    ensure!(removed == 0, "delete_expired() gave {removed} where nothing had expired");
    expect_value(&store, "k", b"v").await
}

pub(super) async fn native_expiry_leaves_nothing_to_purge(t: &Trial) -> Verdict {
    let store = t.store();
    for index in 0..10 {
        store.set(&format!("k{index}"), "v").ttl(t.tick()).await?;
    }
    t.outlive(t.tick()).await;
    let removed = store.delete_expired().await?;
    ensure!(removed == 0, "delete_expired() gave {removed}, yet expired keys vanish by themselves");
    t.expect_gone(&store, "k9").await
}

pub(super) async fn shared_data_is_seen_by_all(t: &Trial) -> Verdict {
    let store = t.store();
    let second = t.second_handle().await?;
    let other: &dyn Store = &second.store;
    store.set("k", "v").await?;
    expect_value(other, "k", b"v").await?;
    // What a handle has read it must not remember.
    store.set("k", "again").await?;
    expect_value(other, "k", b"again").await?;
    expect_value(&store, "k", b"again").await?;
    other.set("k", "w").ttl(LONG).await?;
    expect_value(&store, "k", b"w").await?;
    let left = store.expires_in("k").await?;
    ensure!(matches!(left, ExpiresIn::In(_)), "expires_in(\"k\") gave {left:?}");
    if t.capabilities().conditions {
        let won = store.set("k", "x").if_absent().await?.is_applied();
        ensure!(!won, "a key that another handle set counts as absent");
        let held = super::conditions::version(other, "k").await?;
        store.set("k", "y").await?;
        let won = other.set("k", "z").if_matches(held).await?.is_applied();
        ensure!(!won, "the version of a value that another handle replaced still matches");
    }
    store.set("dying", "v").ttl(t.tick()).await?;
    t.outlive(t.tick()).await;
    t.expect_gone(other, "dying").await?;
    ensure!(other.delete("k").await?, "delete(\"k\") gave false for a key of another handle");
    expect_missing(&store, "k").await?;
    other.set("l", "v").await?;
    store.delete_all().await?;
    expect_missing(other, "l").await?;
    second.root.close().await?;
    // The first handle is a store of its own.
    store.set("k", "v").await?;
    expect_value(&store, "k", b"v").await
}
