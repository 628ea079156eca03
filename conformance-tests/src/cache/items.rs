//! V1, V3, V4, V6: values and what is told about them.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::{CacheError, CacheScope, Freshness, Lookup};
use larder_core::chrono::DateTime;
use larder_core::{ExpiresIn, Expiry, StoreExt};

use super::bench::{Bench, Gate, SECOND, act, at_rest, end, expect};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// The default time to live, and of what has expired.
const DEFAULT: Duration = Duration::from_secs(300);
const MICRO: Duration = Duration::from_micros(1);

pub(super) async fn nothing_at_all_is_a_value(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.space().await?;
    let maybe = space.cache::<Option<u32>>();
    act!(bench, maybe.set("none", &None).await)?;
    let found = act!(bench, maybe.get_value("none").await)?;
    ensure!(found == Some(None), "a stored `None` was read as {found:?}");
    let kept = act!(bench, maybe.get_or_set("none", Some(5)).await)?;
    ensure!(kept.is_none(), "a stored `None` was loaded anew: {kept:?}");
    let units = space.cache::<()>();
    act!(bench, units.set("unit", &()).await)?;
    let found = act!(bench, units.get_value("unit").await)?;
    ensure!(found == Some(()), "a stored `()` was read as {found:?}");
    let texts = space.cache::<String>();
    act!(bench, texts.set("empty", &String::new()).await)?;
    let found = act!(bench, texts.get_value("empty").await)?;
    ensure!(found.as_deref() == Some(""), "a stored empty text was read as {found:?}");
    Ok(())
}

pub(super) async fn every_kind_of_value_comes_back(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.space().await?;
    let flags = space.cache::<(bool, i64, f64, Vec<u8>, Option<String>)>();
    let value = (true, -123, 123.456, vec![0, 255], Some("é\0".to_owned()));
    act!(bench, flags.set("k", &value).await)?;
    let found = act!(bench, flags.get_value("k").await)?;
    ensure!(found.as_ref() == Some(&value), "{value:?} came back as {found:?}");
    let lists = space.cache::<Vec<u32>>();
    for value in [vec![], (0..10_000).collect()] {
        lists.set("list", &value).await?;
        let found = lists.get_value("list").await?;
        ensure!(found.as_ref() == Some(&value), "a list of {} came back otherwise", value.len());
    }
    Ok(())
}

pub(super) async fn a_modified_time_is_kept_to_the_microsecond(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    for micros in [0, 1, 1_700_000_000_123_457, -1] {
        let Some(moment) = DateTime::from_timestamp_micros(micros) else { continue };
        act!(bench, cache.set("k", &1).modified(moment).await)?;
        let item = cache.get("k").await?.ok_or_else(|| Stop::fail("the entry is missing"))?;
        let modified = item.modified();
        ensure!(modified == moment, "an entry modified at {moment} says {modified}");
    }
    Ok(())
}

pub(super) async fn an_item_is_a_snapshot(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.set("k", &1).ttl(SECOND * 10).await)?;
    let item = cache.get("k").await?.ok_or_else(|| Stop::fail("the entry is missing"))?;
    act!(bench, cache.set("k", &2).await)?;
    let value = act!(bench, item.value())?;
    ensure!(value == 1, "an item read before a set has the value {value} after it");
    act!(bench, cache.delete("k").await)?;
    let value = act!(bench, item.value())?;
    ensure!(value == 1, "an item read before a deletion has the value {value} after it");
    Ok(())
}

pub(super) async fn an_item_tells_its_age_and_its_life(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.set("k", &1).ttl(SECOND * 10).await)?;
    bench.advance(SECOND * 4).await;
    let item = cache.get("k").await?.ok_or_else(|| Stop::fail("the entry is missing"))?;
    let seen = (item.age(), item.expires_in(), item.freshness());
    let want = (SECOND * 4, ExpiresIn::In(SECOND * 6), Freshness::Fresh);
    ensure!(seen == want, "after 4 s of 10, an item tells {seen:?}");
    bench.advance(SECOND * 6).await;
    let seen = (item.age(), item.expires_in(), item.freshness());
    let want = (SECOND * 10, ExpiresIn::Missing, Freshness::Stale);
    ensure!(seen == want, "after 10 s of 10, an item tells {seen:?}");
    Ok(())
}

pub(super) async fn lookup_tells_hit_miss_and_pending(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let found = act!(bench, cache.lookup("k").await)?;
    ensure!(matches!(found, Lookup::Miss), "lookup of a missing key gave {found:?}");
    let gate = Gate::new();
    let loading = bench.load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    // `get` never waits: the gate is closed.
    expect(&cache, "k", None).await?;
    let found = act!(bench, cache.lookup("k").await)?;
    let Lookup::Pending(value) = found else {
        return Err(Stop::fail(format!("lookup of a key being loaded gave {found:?}")));
    };
    gate.open();
    let got = value.wait().await?;
    ensure!(got == Some(1), "waiting for it gave {got:?}");
    end(loading).await??;
    at_rest(cache.space()).await;
    let found = act!(bench, cache.lookup("k").await)?;
    ensure!(matches!(found, Lookup::Hit(_)), "lookup of a stored key gave {found:?}");
    Ok(())
}

/// Sees that `k` lives for so long and no longer.
async fn lives(
    bench: &Bench<'_>,
    cache: &larder_cache::Cache<u32>,
    how: &str,
    life: Duration,
) -> Verdict {
    bench.advance(life.saturating_sub(MICRO)).await;
    let found = cache.get_value("k").await?;
    ensure!(found.is_some(), "{how}: gone before {life:?}");
    bench.advance(MICRO).await;
    let found = cache.get_value("k").await?;
    ensure!(found.is_none(), "{how}: still there after {life:?}");
    Ok(())
}

pub(super) async fn the_default_life_is_300_seconds(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.set("k", &1).await)?;
    lives(&bench, &cache, "set", DEFAULT).await?;
    act!(bench, cache.delete("k").await)?;
    act!(bench, cache.get_or_set("k", 2_u32).await)?;
    lives(&bench, &cache, "get_or_set", DEFAULT).await?;
    act!(bench, cache.set("k", &3).ttl(SECOND).await)?;
    act!(bench, cache.update_expiry("k", None).await)?;
    lives(&bench, &cache, "update_expiry", DEFAULT).await
}

pub(super) async fn lives_are_as_asked_for(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let builder = bench.builder().default_ttl(SECOND * 60);
    let cache = builder.build().await?.cache::<u32>();
    act!(bench, cache.set("k", &1).await)?;
    lives(&bench, &cache, "the builder's default", SECOND * 60).await?;
    act!(bench, cache.set("k", &1).ttl(SECOND * 7).await)?;
    lives(&bench, &cache, "set with a life", SECOND * 7).await?;
    act!(bench, cache.set("k", &1).ttl(SECOND * 9).await)?;
    bench.advance(SECOND).await;
    act!(bench, cache.set("k", &2).expiry(Expiry::Keep).await)?;
    lives(&bench, &cache, "set that keeps the expiry", SECOND * 8).await?;
    act!(bench, cache.set("k", &1).expiry(Expiry::Never).await)?;
    bench.advance(SECOND * 100_000_000).await;
    expect(&cache, "k", Some(1)).await?;
    act!(bench, cache.set("k", &1).ttl(Duration::MAX).await)?;
    bench.advance(SECOND * 100_000_000).await;
    expect(&cache, "k", Some(1)).await?;
    act!(bench, cache.set("k", &1).ttl(Duration::ZERO).await)?;
    expect(&cache, "k", None).await
}

pub(super) async fn defaults_and_failures_of_a_read(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let got = act!(bench, cache.get_or("k", 5).await)?;
    ensure!(got == 5, "get_or of a missing key gave {got}");
    expect(&cache, "k", None).await?;
    let got = act!(bench, cache.get_or_fail("k").await);
    ensure!(matches!(got, Err(CacheError::NotFound)), "get_or_fail of a missing key gave {got:?}");
    act!(bench, cache.set("k", &1).await)?;
    let got = act!(bench, cache.get_or("k", 5).await)?;
    ensure!(got == 1, "get_or of a stored key gave {got}");
    let got = act!(bench, cache.get_or_fail("k").await)?;
    ensure!(got == 1, "get_or_fail of a stored key gave {got}");
    Ok(())
}

pub(super) async fn remove_tells_whether_all_existed(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    for key in ["a", "b", "c"] {
        act!(bench, cache.set(key, &1).await)?;
    }
    let all = act!(bench, cache.remove(["a", "b", "a"]).await)?;
    ensure!(all, "remove of two keys, one of them named twice, gave false");
    let all = act!(bench, cache.remove(["c", "missing"]).await)?;
    ensure!(!all, "remove of a stored and a missing key gave true");
    expect(&cache, "c", None).await?;
    let all = act!(bench, cache.remove([""; 0]).await)?;
    ensure!(all, "remove of no key at all gave false");
    act!(bench, cache.set("d", &1).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    let all = act!(bench, cache.remove(["d"]).await)?;
    ensure!(!all, "remove of an expired key gave true");
    Ok(())
}

pub(super) async fn one_of_many_deleters_gets_the_value(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    for round in 0..20 {
        t.part();
        act!(bench, cache.set("k", &round).await)?;
        let deleters: Vec<_> = (0..16)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.delete("k").await })
            })
            .collect();
        let mut got = Vec::new();
        for deleter in deleters {
            got.extend(end(deleter).await??);
        }
        ensure!(got == [round], "of 16 who delete {round} at once, these values came: {got:?}");
    }
    Ok(())
}

pub(super) async fn an_expired_entry_can_be_revived(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.set("k", &1).ttl(SECOND).await)?;
    bench.advance((SECOND + DEFAULT).saturating_sub(MICRO)).await;
    expect(&cache, "k", None).await?;
    let got = act!(bench, cache.get("k").await)?;
    ensure!(got.is_none(), "get gave an entry that has expired and is retained");
    let got = act!(bench, cache.get_or("k", 9).await)?;
    ensure!(got == 9, "get_or gave an entry that has expired and is retained");
    let got = act!(bench, cache.update_expiry("k", Expiry::After(SECOND * 2)).await)?;
    ensure!(got == 1, "update_expiry gave {got}");
    lives(&bench, &cache, "revived", SECOND * 2).await?;
    let got = act!(bench, cache.update_expiry("k", Expiry::Never).await)?;
    ensure!(got == 1, "update_expiry gave {got}");
    bench.advance(DEFAULT * 100).await;
    expect(&cache, "k", Some(1)).await?;
    act!(bench, cache.update_expiry("k", Expiry::After(Duration::ZERO)).await)?;
    expect(&cache, "k", None).await?;
    let gone = act!(bench, cache.update_expiry("k", None).await);
    ensure!(matches!(gone, Err(CacheError::NotFound)), "a removed entry was revived: {gone:?}");
    Ok(())
}

pub(super) async fn after_its_retention_it_cannot(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().retain_expired_for(SECOND * 5).build().await?;
    let cache = space.cache::<u32>();
    for _ in 0..2 {
        act!(bench, cache.set("k", &1).ttl(SECOND).await)?;
        bench.advance((SECOND * 6).saturating_sub(MICRO)).await;
        let got = act!(bench, cache.update_expiry("k", Expiry::After(SECOND)).await)?;
        ensure!(got == 1, "update_expiry gave {got}");
        bench.advance(SECOND * 6).await;
        let gone = act!(bench, cache.update_expiry("k", Expiry::After(SECOND)).await);
        let told = matches!(gone, Err(CacheError::NotFound));
        ensure!(told, "after its retention an entry was revived: {gone:?}");
    }
    act!(bench, cache.delete("k").await)?;
    let gone = act!(bench, cache.update_expiry("k", None).await);
    ensure!(matches!(gone, Err(CacheError::NotFound)), "a deleted entry was revived: {gone:?}");
    Ok(())
}

pub(super) async fn the_store_forgets_what_has_expired(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let life = t.tick();
    let space = bench.builder().retain_expired_for(Duration::ZERO).build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.set("k", &1).ttl(life).await)?;
    let scope = t.tree()?.with_path(&["g"])?;
    t.outlive(life).await;
    t.expect_gone(&*scope, "k").await?;
    act!(bench, cache.set("kept", &1).expiry(Expiry::Never).await)?;
    t.outlive(life).await;
    ensure!(scope.get("kept").await?.is_some(), "the store forgot an entry that never expires");
    Ok(())
}

pub(super) async fn what_lies_beside_is_left_alone(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let tree = t.tree()?;
    let own = tree.with_path(&["own"])?;
    tree.set("k", "raw").await?;
    tree.set("g", "raw").await?;
    own.set("k", "raw").await?;
    act!(bench, cache.set("k", &1).await)?;
    act!(bench, cache.delete("k").await)?;
    act!(bench, cache.remove_starting_with("").await)?;
    act!(bench, cache.space().clear(true).await)?;
    for (store, key) in [(&tree, "k"), (&tree, "g"), (&own, "k")] {
        let left = store.get(key).await?;
        ensure!(left.as_deref() == Some(b"raw"), "{key:?} beside the cache has become {left:?}");
    }
    Ok(())
}

pub(super) async fn the_blocking_handle_never_deadlocks(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let here = act!(bench, cache.blocking().map(|_| ()));
    ensure!(matches!(here, Err(CacheError::WouldBlock)), "blocking() in a task gave {here:?}");
    let elsewhere = cache.scoped(CacheScope::user("u"));
    let (done, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let work = || {
            let blocking = elsewhere.blocking()?;
            blocking.set("k", 1_u32)?;
            let read = (blocking.get("k")?, blocking.at("k").get()?);
            Ok::<_, CacheError>((blocking, read))
        };
        let _ = done.send(work());
    });
    let told = told.await.map_err(|_| Stop::fail("the thread with a blocking handle died"))?;
    let (blocking, read) = told?;
    ensure!(read == (Some(1), Some(1)), "a thread that set 1 read {read:?}");
    let here = blocking.get("k");
    ensure!(matches!(here, Err(CacheError::WouldBlock)), "a blocking get in a task gave {here:?}");
    expect(&cache.scoped(CacheScope::user("u")), "k", Some(1)).await?;
    // Dropped where blocking is allowed.
    let dropped = tokio::task::spawn_blocking(move || drop(blocking));
    let _: Arc<()> = Arc::new(end(dropped).await?);
    Ok(())
}
