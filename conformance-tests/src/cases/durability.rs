use std::time::Duration;

use larder_core::chrono::TimeDelta;
use larder_core::{ExpiresIn, Expiry, SetItem, Store, StoreExt};

use super::conditions::version;
use super::hostile;
use super::listing::{all_children, all_keys};
use super::values::{at_most, pattern};
use crate::trial::{LONG, Trial, View};
use crate::verdict::{Verdict, ensure, expect_expires_in, expect_missing, expect_value, show_key};

/// Closes what a case has opened a second time; the fixture's own handle is closed by the harness.
async fn leave(view: View) -> Verdict {
    view.root.close().await?;
    Ok(())
}

pub(super) async fn values_outlive_the_handle(t: &Trial) -> Verdict {
    let store = t.store();
    let large = pattern(at_most(t.capabilities(), 1 << 20), 11);
    let mut keys: Vec<String> = hostile::keys().into_iter().map(str::to_owned).collect();
    keys.extend([256, 1_000, t.capabilities().max_key_len].map(|len| "k".repeat(len)));
    keys.retain(|key| key.len() <= t.capabilities().max_key_len);
    keys.dedup();
    for (index, key) in keys.iter().enumerate() {
        store.set(key, format!("value {index}")).await?;
    }
    store.set("large value", &large).await?;
    store.set("empty value", "").await?;
    store.set("replaced", "old").await?;
    store.set("replaced", "new").await?;
    store.set("deleted", "old").await?;
    store.delete("deleted").await?;
    t.part();
    let view = t.reopen().await?;
    let store = &view.store;
    for (index, key) in keys.iter().enumerate() {
        let verdict = expect_value(store, key, format!("value {index}").as_bytes()).await;
        t.collect_about(&[key], verdict)?;
    }
    expect_value(store, "large value", &large).await?;
    expect_value(store, "empty value", b"").await?;
    expect_value(store, "replaced", b"new").await?;
    expect_missing(store, "deleted").await?;
    if t.capabilities().list {
        let listed = all_keys(store, "", 50).await?;
        let want = keys.len() + 3;
        if let Some(key) = keys.iter().find(|key| !listed.iter().any(|listed| listed == *key)) {
            ensure!(false, "after reopening, the listing leaves out {}", show_key(key));
        }
        ensure!(listed.len() >= want, "{want} keys are listed as {}", listed.len());
    }
    leave(view).await
}

pub(super) async fn a_version_outlives_no_value(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "one").await?;
    let old = version(&*store, "k").await?;
    let view = t.reopen().await?;
    let store = &view.store;
    store.set("k", "two").await?;
    let new = version(&**store, "k").await?;
    ensure!(
        new != old,
        "a value has the version that another one had before the store was reopened"
    );
    let won = store.set("k", "three").if_matches(old).await?.is_applied();
    ensure!(!won, "a version of before the store was reopened matches another value");
    expect_value(store, "k", b"two").await?;
    leave(view).await
}

pub(super) async fn namespaces_outlive_the_handle(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let paths: [&[&str]; 5] = [&[], &["a"], &["a", "b"], &["*", "a/b:c", "\0"], &["cleared"]];
    for path in paths {
        let child = tree.with_path(path)?;
        child.set("k", format!("in {path:?}")).await?;
        child.set("mortal", "v").ttl(LONG).await?;
    }
    tree.with_path(&["cleared"])?.delete_all().await?;
    let view = t.reopen().await?;
    let Some(tree) = &view.tree else {
        return Ok(());
    };
    for path in &paths[..4] {
        let child = tree.with_path(path)?;
        expect_value(&child, "k", format!("in {path:?}").as_bytes()).await?;
        let left = child.expires_in("mortal").await?;
        ensure!(matches!(left, ExpiresIn::In(_)), "expires_in gave {left:?} in {path:?}");
    }
    let cleared = tree.with_path(&["cleared"])?;
    expect_missing(&cleared, "k").await?;
    expect_missing(&cleared, "mortal").await?;
    if tree.capabilities().list {
        let mut children = all_children(tree, 10).await?;
        children.sort_unstable();
        // A name may come on several pages.
        children.dedup();
        ensure!(children == ["*", "a"], "after reopening, the child namespaces are {children:?}");
    }
    leave(view).await
}

pub(super) async fn expiry_goes_on_while_closed(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 2;
    let later = TimeDelta::from_std(LONG).unwrap_or_default();
    store.set("dying", "v").ttl(ttl).await?;
    store.set("long", "v").ttl(LONG).await?;
    store.set("moment", "v").expires_at(t.now() + later).await?;
    store.set("cleared", "v").ttl(ttl).await?;
    store.set("cleared", "v").await?;
    for outcome in store.set_many(vec![SetItem::new("bulk", "v")]).await? {
        outcome?;
    }
    t.root().close().await?;
    t.outlive(ttl).await;
    let view = t.reopen_closed().await?;
    let store = &view.store;
    t.expect_gone(store, "dying").await?;
    for key in ["cleared", "bulk"] {
        expect_value(store, key, b"v").await?;
        expect_expires_in(store, key, ExpiresIn::Never).await?;
    }
    for key in ["long", "moment"] {
        expect_value(store, key, b"v").await?;
        let left = store.expires_in(key).await?;
        let slack = if t.exact_time() { ttl } else { Duration::from_secs(3600) };
        let most = LONG + t.capabilities().expiry_granularity;
        ensure!(
            left.as_duration().is_some_and(|left| left + slack >= LONG && left <= most),
            "after reopening, expires_in({key:?}) gave {left:?} of {LONG:?}"
        );
    }
    if t.capabilities().purge {
        store.delete_expired().await?;
        for key in ["long", "moment", "cleared", "bulk"] {
            expect_value(store, key, b"v").await?;
        }
    }
    leave(view).await
}

pub(super) async fn a_deadline_stays_the_same_moment(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 4;
    let years = |count: u32| Duration::from_secs(366 * 24 * 3600) * count;
    let uneven = Duration::from_micros(345_678);
    let lives = [
        t.tick() * 9 + uneven,
        years(20) + uneven,
        years(100) + uneven,
        years(5_000),
        Duration::MAX,
    ];
    store.set("k", "v").ttl(ttl).await?;
    let mut left = Vec::new();
    for (index, life) in lives.into_iter().enumerate() {
        let key = format!("other {index}");
        store.set(&key, "v").ttl(life).await?;
        left.push((store.expires_in(&key).await?, key));
    }
    t.advance(t.tick()).await;
    let view = t.reopen().await?;
    for (left, key) in left {
        let left = left.as_duration().unwrap_or_default().saturating_sub(t.tick());
        t.collect(expect_expires_in(&view.store, &key, ExpiresIn::In(left)).await)?;
    }
    expect_expires_in(&view.store, "k", ExpiresIn::In(t.tick() * 3)).await?;
    t.advance((t.tick() * 3).saturating_sub(Duration::from_nanos(1))).await;
    expect_value(&view.store, "k", b"v").await?;
    t.advance(Duration::from_nanos(1)).await;
    expect_missing(&view.store, "k").await?;
    leave(view).await
}

pub(super) async fn changes_of_expiry_outlive_the_handle(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 3;
    store.set("renewed", "v").ttl(ttl).await?;
    let renewed = store.get("renewed").renew_for(LONG).await?.is_some();
    store.set("shortened", "v").ttl(LONG).await?;
    store.update_expiry("shortened", Expiry::After(t.tick())).await?;
    store.set("for ever", "v").ttl(LONG).await?;
    store.update_expiry("for ever", Expiry::Never).await?;
    let view = t.reopen().await?;
    let store = &view.store;
    t.outlive(ttl).await;
    t.expect_gone(store, "shortened").await?;
    expect_expires_in(store, "for ever", ExpiresIn::Never).await?;
    if renewed {
        expect_value(store, "renewed", b"v").await?;
    }
    if t.capabilities().purge {
        store.delete_expired().await?;
        expect_value(store, "for ever", b"v").await?;
    }
    leave(view).await
}

pub(super) async fn what_was_acknowledged_survives_a_crash(t: &Trial) -> Verdict {
    let store = t.store();
    for index in 0..50 {
        store.set(&format!("k{index}"), format!("value {index}")).await?;
    }
    for index in (0..50).step_by(5) {
        store.set(&format!("k{index}"), "replaced").await?;
    }
    for index in (1..50).step_by(5) {
        store.delete(&format!("k{index}")).await?;
    }
    let items = (0..20).map(|index| (format!("bulk {index}"), "v")).collect::<Vec<_>>();
    let items = items.iter().map(|(key, value)| SetItem::new(key, *value)).collect();
    for outcome in store.set_many(items).await? {
        outcome?;
    }
    store.set("mortal", "v").ttl(LONG).await?;
    let has = t.capabilities();
    let large = pattern(at_most(has, 2 << 20), 12);
    store.set("large", &large).await?;
    for key in ["kept", "zero", "batch 1", "batch 2", "prefix 1", "prefix 2", "matched"] {
        store.set(key, "old").ttl(LONG).await?;
    }
    store.set("kept", "new").keep_ttl().await?;
    store.set("zero", "new").ttl(Duration::ZERO).await?;
    let mut gone = vec!["zero", "batch 1", "batch 2"];
    store.delete_many(&gone[1..]).await?;
    if has.list {
        store.delete_prefix("prefix ").await?;
        gone.extend(["prefix 1", "prefix 2"]);
    }
    if has.conditions {
        store.set("conditional", "v").if_absent().await?;
        store.increment("counter", 5).await?;
        let held = version(&*store, "matched").await?;
        store.delete("matched").if_matches(held).await?;
        gone.push("matched");
    }
    t.part();
    let view = t.crash().await?;
    let store = &view.store;
    for index in 0..50 {
        let key = format!("k{index}");
        let verdict = match index % 5 {
            0 => expect_value(store, &key, b"replaced").await,
            1 => expect_missing(store, &key).await,
            _ => expect_value(store, &key, format!("value {index}").as_bytes()).await,
        };
        t.collect(verdict)?;
    }
    for index in 0..20 {
        expect_value(store, &format!("bulk {index}"), b"v").await?;
    }
    let left = store.expires_in("mortal").await?;
    ensure!(matches!(left, ExpiresIn::In(_)), "after a crash, expires_in gave {left:?}");
    expect_value(store, "large", &large).await?;
    t.collect_about(&["kept"], expect_value(store, "kept", b"new").await)?;
    for key in gone {
        t.collect(expect_missing(store, key).await)?;
    }
    if t.capabilities().conditions {
        expect_value(store, "conditional", b"v").await?;
        expect_value(store, "counter", b"5").await?;
    }
    leave(view).await
}

pub(super) async fn clearing_outlives_a_crash(t: &Trial) -> Verdict {
    let store = t.store();
    for index in 0..50 {
        store.set(&format!("k{index}"), "v").await?;
    }
    store.delete_all().await?;
    store.set("after", "v").await?;
    t.part();
    let view = t.crash().await?;
    for index in 0..50 {
        expect_missing(&view.store, &format!("k{index}")).await?;
    }
    expect_value(&view.store, "after", b"v").await?;
    leave(view).await
}
