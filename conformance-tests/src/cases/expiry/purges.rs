use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use larder_core::{Expiry, Result, SetItem, SetOptions, Store, StoreExt};

use super::{NANOSECOND, expect_about};
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_missing, expect_value, joined};

/// Writes `count` keys with `ttl` and lets them die.
async fn bury(t: &Trial, store: &dyn Store, count: usize, ttl: Duration) -> Verdict<Vec<String>> {
    let keys: Vec<String> = (0..count).map(|index| format!("dead {index}")).collect();
    for chunk in keys.chunks(200) {
        let options = SetOptions::default().with_expiry(ttl);
        let items = chunk.iter().map(|key| SetItem::new(key, "old").with_options(options.clone()));
        for outcome in store.set_many(items.collect()).await? {
            outcome?;
        }
    }
    t.outlive(ttl).await;
    t.expect_gone(store, &keys[count - 1]).await?;
    Ok(keys)
}

pub(in crate::cases) async fn a_purge_removes_only_what_has_expired(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    store.set("eternal", "v").await?;
    store.set("long", "v").ttl(LONG).await?;
    // More than a slice of anything.
    let keys = bury(t, &store, 1_100, ttl).await?;
    let dying = t.capabilities().round_up(Duration::from_millis(1));
    let mut removed = 0;
    if t.exact_time() {
        // At the very instant of their death.
        removed = store.delete_expired().await?;
        store.set("about to die", "v").ttl(dying).await?;
        t.advance(dying.saturating_sub(NANOSECOND)).await;
    }
    let rest = store.delete_expired().await?;
    ensure!(
        rest == 0 || !t.exact_time(),
        "delete_expired() at the deadline of {} keys left {rest} of them to be purged later",
        keys.len()
    );
    removed += rest;
    let most = if t.capabilities().native_expiry { 0 } else { keys.len() as u64 };
    ensure!(
        removed <= most,
        "delete_expired() gave {removed}, yet at most {most} could be removed"
    );
    let again = store.delete_expired().await?;
    ensure!(again == 0, "a second delete_expired() gave {again}");
    if t.exact_time() {
        expect_value(&store, "about to die", b"v").await?;
        store.delete("about to die").await?;
    }
    for key in keys.iter().step_by(100) {
        expect_missing(&store, key).await?;
    }
    expect_value(&store, "eternal", b"v").await?;
    expect_value(&store, "long", b"v").await?;
    let mut passed = ttl;
    if t.exact_time() {
        passed += dying.saturating_sub(NANOSECOND);
    }
    expect_about(t, &store, "long", LONG.saturating_sub(passed)).await?;
    t.align().await;
    bury(t, &store, 100, ttl).await?;
    let (one, other) = join(store.delete_expired(), store.delete_expired()).await;
    let (one, other) = (one?, other?);
    ensure!(
        one + other <= 100,
        "two delete_expired() at the same time gave {one} and {other}, yet only 100 keys had expired"
    );
    Ok(())
}

pub(in crate::cases) async fn a_purge_spares_a_key_with_a_new_life(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 2;
    let set = ["set", "set later", "kept", "bulk", "deleted and set"];
    for key in set.into_iter().chain(["renewed", "updated", "for ever"]) {
        store.set(key, "v").ttl(ttl).await?;
    }
    store.set("set", "v").await?;
    store.set("set later", "v").ttl(LONG).await?;
    for outcome in store.set_many(vec![SetItem::new("bulk", "v")]).await? {
        outcome?;
    }
    store.delete("deleted and set").await?;
    store.set("deleted and set", "v").await?;
    store.set("kept", "v").ttl(LONG).await?;
    store.set("kept", "v").keep_ttl().await?;
    let mut alive = set.to_vec();
    if t.capabilities().renew {
        for (key, renewed) in [
            ("renewed", store.get("renewed").renew_for(LONG).await?.is_some()),
            ("updated", store.update_expiry("updated", Expiry::After(LONG)).await?),
            ("for ever", store.update_expiry("for ever", Expiry::Never).await?),
        ] {
            // On a slow machine it may have died before.
            if renewed {
                alive.push(key);
            }
        }
    }
    t.outlive(ttl).await;
    store.delete_expired().await?;
    for key in alive {
        t.collect_about(&[key, "delete_expired"], expect_value(&store, key, b"v").await)?;
    }
    store.set("risen", "old").ttl(ttl).await?;
    t.outlive(ttl).await;
    store.set("risen", "new").await?;
    store.delete_expired().await?;
    expect_value(&store, "risen", b"new").await
}

pub(in crate::cases) async fn a_purge_covers_descendants_and_nothing_else(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let ttl = t.tick();
    if !tree.capabilities().purge {
        return Err(Stop::skip("the store's namespaces do not declare `purge`"));
    }
    let inner = tree.with_path(&["a"])?;
    let paths: [&[&str]; 5] = [&[], &["a"], &["a", "b"], &["a", "b", "c"], &["ab"]];
    for path in paths {
        let store = tree.with_path(path)?;
        store.set("dead", "v").ttl(ttl).await?;
        store.set("live", "v").await?;
        store.set("long", "v").ttl(LONG).await?;
    }
    t.outlive(ttl).await;
    t.expect_gone(&tree, "dead").await?;
    let native = t.capabilities().native_expiry;
    let removed = inner.delete_expired().await?;
    let most = if native { 0 } else { 3 };
    ensure!(
        removed <= most,
        "delete_expired() in \"a\" gave {removed}, yet only {most} expired keys were there"
    );
    let again = inner.delete_expired().await?;
    ensure!(again == 0, "a second delete_expired() in \"a\" gave {again}");
    for path in [&["a", "b"][..], &["a", "b", "c"]] {
        let left = tree.with_path(path)?.delete_expired().await?;
        ensure!(
            left == 0,
            "delete_expired() in \"a\" left {left} expired keys in its descendant {path:?}"
        );
    }
    for path in paths {
        let store = tree.with_path(path)?;
        expect_missing(&store, "dead").await?;
        expect_value(&store, "live", b"v").await?;
        expect_value(&store, "long", b"v").await?;
    }
    let removed = tree.delete_expired().await?;
    let most = if native { 0 } else { 2 };
    ensure!(
        removed <= most,
        "delete_expired() at the top gave {removed}, yet at most {most} expired keys were left"
    );
    for path in paths {
        let left = tree.with_path(path)?.delete_expired().await?;
        ensure!(left == 0, "delete_expired() at the top left {left} expired keys in {path:?}");
    }
    Ok(())
}

pub(in crate::cases) async fn a_purge_spares_fresh_writes(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..4 {
        t.part();
        let keys = Arc::new(bury(t, &store, 40, t.tick()).await?);
        let purge = tokio::spawn({
            let store = t.store();
            async move { store.delete_expired().await }
        });
        // Reading may remove what has expired as well.
        let reader = tokio::spawn({
            let (store, keys) = (t.store(), Arc::clone(&keys));
            async move {
                for key in keys.iter() {
                    store.get(key).await?;
                    store.exists(key).await?;
                }
                Ok::<_, larder_core::Error>(())
            }
        });
        for key in keys.iter() {
            store.set(key, format!("fresh {round}")).await?;
        }
        joined(purge.await)??;
        joined(reader.await)??;
        for key in keys.iter() {
            let value = format!("fresh {round}");
            let verdict = expect_value(&store, key, value.as_bytes()).await;
            t.collect_about(&[key, "delete_expired"], verdict)?;
        }
        // And between two steps of the purge.
        let keys = bury(t, &store, 40, t.tick()).await?;
        let (purged, fresh) = join(store.delete_expired(), renew_all(&store, &keys, round)).await;
        purged?;
        fresh?;
        t.collect(expect_fresh(t, &keys, round, "delete_expired").await)?;
    }
    Ok(())
}

/// Writes each of the keys anew.
async fn renew_all(store: &dyn Store, keys: &[String], round: usize) -> Result<()> {
    for key in keys {
        store.set(key, format!("fresh {round}")).await?;
    }
    Ok(())
}

/// Sees that what [`renew_all`] wrote is there.
async fn expect_fresh(t: &Trial, keys: &[String], round: usize, beside: &str) -> Verdict {
    for key in keys {
        let value = format!("fresh {round}");
        let verdict = expect_value(&t.store(), key, value.as_bytes()).await;
        t.collect_about(&[key, beside], verdict)?;
    }
    Ok(())
}

pub(in crate::cases) async fn reading_spares_fresh_writes(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..4 {
        t.part();
        let keys = Arc::new(bury(t, &store, 40, t.tick()).await?);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (store, keys) = (t.store(), Arc::clone(&keys));
                tokio::spawn(async move {
                    for key in keys.iter() {
                        store.get(key).await?;
                        store.exists(key).await?;
                        store.expires_in(key).await?;
                    }
                    Ok::<_, larder_core::Error>(())
                })
            })
            .collect();
        for key in keys.iter() {
            store.set(key, format!("fresh {round}")).await?;
        }
        for reader in readers {
            joined(reader.await)??;
        }
        for key in keys.iter() {
            let value = format!("fresh {round}");
            t.collect_about(&[key], expect_value(&store, key, value.as_bytes()).await)?;
        }
        // And between two steps of a read.
        let keys = bury(t, &store, 10, t.tick()).await?;
        for key in &keys {
            let fresh = std::slice::from_ref(key);
            let read = async {
                store.get(key).await?;
                store.exists(key).await?;
                store.expires_in(key).await?;
                store.get_many(&[key]).await.map(drop)
            };
            let (read, written) = join(read, renew_all(&store, fresh, round)).await;
            read?;
            written?;
        }
        t.collect(expect_fresh(t, &keys, round, "get_many").await)?;
    }
    Ok(())
}
