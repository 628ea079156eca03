use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{ExpiresIn, Expiry, SetItem, SetOptions, Store, StoreExt};
use tokio::time::Instant;

use super::expect_about;
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_expires_in, expect_missing, expect_value};

pub(in crate::cases) async fn zero_removes_at_once(t: &Trial) -> Verdict {
    let store = t.store();
    let past = |span| Expiry::At(t.now() - span);
    let over = [
        Expiry::After(Duration::ZERO),
        Expiry::from(TimeDelta::seconds(-5)),
        Expiry::from(TimeDelta::zero()),
        past(TimeDelta::hours(2)),
        past(TimeDelta::days(20_000)),
        Expiry::At(DateTime::UNIX_EPOCH),
        Expiry::At(DateTime::UNIX_EPOCH - TimeDelta::nanoseconds(1)),
        Expiry::At(DateTime::<Utc>::MIN_UTC),
    ];
    for expiry in over {
        for earlier in [None, Some(Expiry::Never), Some(Expiry::After(LONG))] {
            t.part();
            let verdict = async {
                store.delete("k").await?;
                if let Some(earlier) = earlier {
                    store.set("k", "old").expiry(earlier).await?;
                }
                let outcome = store.set("k", "new").expiry(expiry).await?;
                ensure!(outcome.is_applied(), "a set that expires at once gave {outcome:?}");
                expect_missing(&store, "k").await?;
                ensure!(
                    !store.delete("k").await?,
                    "delete(\"k\") gave true for a key that is gone"
                );
                Ok(())
            };
            t.collect(verdict.await)?;
        }
    }
    store.set("k", "alive again").await?;
    expect_value(&store, "k", b"alive again").await
}

pub(in crate::cases) async fn the_present_moment_is_past(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "old").await?;
    store.set("k", "new").expires_at(t.now()).await?;
    expect_missing(&store, "k").await?;
    let next = t.now() + TimeDelta::nanoseconds(1);
    store.set("k", "new").expires_at(next).await?;
    expect_value(&store, "k", b"new").await
}

pub(in crate::cases) async fn zero_in_bulk_removes_at_once(t: &Trial) -> Verdict {
    let store = t.store();
    for key in ["a", "b", "c"] {
        store.set(key, "old").await?;
    }
    let zero = SetOptions::default().with_expiry(Duration::ZERO);
    let outcomes = store
        .set_many(vec![SetItem::new("a", "new").with_options(zero), SetItem::new("b", "new")])
        .await?;
    for outcome in outcomes {
        ensure!(outcome?.is_applied(), "a set in bulk without a condition did not apply");
    }
    expect_missing(&store, "a").await?;
    expect_value(&store, "b", b"new").await?;
    expect_value(&store, "c", b"old").await
}

pub(in crate::cases) async fn an_overwrite_clears_the_expiry(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    store.set("k", "old").ttl(ttl).await?;
    store.set("k", "new").await?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    store.set("bulk", "old").ttl(ttl).await?;
    for outcome in store.set_many(vec![SetItem::new("bulk", "new")]).await? {
        outcome?;
    }
    store.set("again", "old").ttl(ttl).await?;
    store.delete("again").await?;
    store.set("again", "new").await?;
    if t.capabilities().conditions {
        // Of the very value, too.
        for value in ["old", "new"] {
            store.set("k", "old").ttl(LONG).await?;
            let won = store.set("k", value).if_present().await?.is_applied();
            ensure!(won, "a set if present did not apply on a live key");
            expect_expires_in(&store, "k", ExpiresIn::Never).await?;
        }
    }
    t.outlive(ttl).await;
    for key in ["k", "bulk", "again"] {
        expect_value(&store, key, b"new").await?;
        expect_expires_in(&store, key, ExpiresIn::Never).await?;
    }
    Ok(())
}

pub(in crate::cases) async fn the_last_expiry_counts(t: &Trial) -> Verdict {
    let store = t.store();
    let (short, long) = (t.tick(), LONG);
    store.set("longer", "old").ttl(short).await?;
    store.set("longer", "new").ttl(long).await?;
    store.set("shorter", "old").ttl(long).await?;
    store.set("shorter", "new").ttl(short).await?;
    store.set("given", "old").await?;
    store.set("given", "new").ttl(short).await?;
    t.outlive(short).await;
    expect_value(&store, "longer", b"new").await?;
    t.expect_gone(&store, "shorter").await?;
    t.expect_gone(&store, "given").await
}

/// Sets a key with an expiry for each call that removes one, and makes the calls.
async fn remove_in_every_way(t: &Trial, store: &dyn Store) -> Verdict<Vec<(String, &'static str)>> {
    let has = t.capabilities();
    let mut ways = vec!["delete", "delete_many", "a set for zero"];
    if has.list {
        ways.push("delete_prefix");
    }
    if has.renew {
        ways.extend(["a renewal for zero", "update_expiry"]);
    }
    let named = |by: &'static str| (format!("removed by {by}"), by);
    let removed: Vec<_> = ways.into_iter().map(named).collect();
    for (key, by) in &removed {
        store.set(key, "old").ttl(LONG).await?;
        match *by {
            "delete" => drop(store.delete(key).await?),
            "delete_many" => drop(store.delete_many(&[key]).await?),
            "delete_prefix" => drop(store.delete_prefix(key).await?),
            "a renewal for zero" => drop(store.get(key).renew_for(Duration::ZERO).await?),
            "update_expiry" => drop(store.update_expiry(key, Duration::ZERO.into()).await?),
            _ => drop(store.set(key, "new").ttl(Duration::ZERO).await?),
        }
    }
    Ok(removed)
}

pub(in crate::cases) async fn keep_keeps_the_remaining_life(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 5;
    store.set("missing", "v").keep_ttl().await?;
    expect_expires_in(&store, "missing", ExpiresIn::Never).await?;
    store.set("eternal", "v").await?;
    store.set("eternal", "w").keep_ttl().await?;
    expect_expires_in(&store, "eternal", ExpiresIn::Never).await?;
    store.set("long", "v").ttl(LONG).await?;
    store.set("long", "w").keep_ttl().await?;
    expect_about(t, &store, "long", LONG).await?;
    if t.exact_time() {
        let uneven = LONG + Duration::from_micros(700_250);
        store.set("uneven", "v").ttl(uneven).await?;
        store.set("uneven", "w").keep_ttl().await?;
        expect_about(t, &store, "uneven", uneven).await?;
    }
    for (removed, by) in remove_in_every_way(t, &store).await? {
        store.set(&removed, "v").keep_ttl().await?;
        let left = store.expires_in(&removed).await?;
        let verdict = if left == ExpiresIn::Never {
            Ok(())
        } else {
            Err(Stop::fail(format!(
                "a set that keeps the expiry of a key removed by {by} made it {left:?} instead of \
                 Never"
            )))
        };
        t.collect_about(&[&removed], verdict)?;
    }
    let since = Instant::now();
    store.set("k", "v").ttl(ttl).await?;
    store.set("k", "w").keep_ttl().await?;
    store.set("k", "x").keep_ttl().await?;
    t.expect_in_time(since, ttl)?;
    t.outlive(ttl).await;
    t.expect_gone(&store, "k").await?;
    store.set("k", "risen").keep_ttl().await?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    expect_value(&store, "k", b"risen").await?;
    if t.capabilities().purge {
        store.set("purged", "v").ttl(t.tick()).await?;
        t.outlive(t.tick()).await;
        t.expect_gone(&store, "purged").await?;
        store.delete_expired().await?;
        store.set("purged", "risen").keep_ttl().await?;
        expect_expires_in(&store, "purged", ExpiresIn::Never).await?;
    }
    expect_value(&store, "missing", b"v").await?;
    expect_value(&store, "eternal", b"w").await?;
    expect_value(&store, "long", b"w").await
}
