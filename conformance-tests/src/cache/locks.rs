//! L1 to L3: locks, within one process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use larder_cache::{CacheError, CacheScope};
use larder_core::testing::{Call, Fault};
use larder_core::{ErrorKind, Expiry, StoreExt};

use super::bench::{Bench, SECOND, act, at_rest, end, expect, others};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

pub(super) async fn a_held_one_is_busy(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let held = act!(bench, cache.getset("k").await)?;
    ensure!(held.item().is_none(), "getset of a missing key gave an item");
    for busy in [
        act!(bench, cache.getset("k").no_wait().await.map(|_| ())),
        act!(bench, cache.lock("k").no_wait().await.map(|_| ())),
        act!(bench, cache.lock("k").wait(Duration::from_millis(5)).await.map(|_| ())),
    ] {
        ensure!(matches!(busy, Err(CacheError::Busy)), "a lock that is held gave {busy:?}");
    }
    let user = cache.scoped(CacheScope::user("u"));
    let nested = cache.with_scope("n");
    for free in [
        act!(bench, cache.lock("other").no_wait().await.map(|_| ())),
        act!(bench, nested.lock("k").no_wait().await.map(|_| ())),
        act!(bench, user.lock("k").no_wait().await.map(|_| ())),
    ] {
        ensure!(free.is_ok(), "a lock on another key or scope gave {free:?}");
    }
    drop(held);
    let free = act!(bench, cache.getset("k").no_wait().await)?;
    ensure!(free.item().is_none(), "getset of a missing key gave an item");
    act!(bench, free.release().await);
    let free = act!(bench, cache.lock("k").no_wait().await.map(|_| ()));
    ensure!(free.is_ok(), "a lock that was released gave {free:?}");
    at_rest(cache.space()).await;
    Ok(())
}

pub(super) async fn they_are_given_in_the_order_of_asking(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let order = Arc::new(Mutex::new(Vec::new()));
    let held = act!(bench, cache.lock("k").await)?;
    // Polled in turn, each has asked before the next one does.
    let mut asking = Vec::new();
    for number in 0..30 {
        let (cache, order) = (cache.clone(), Arc::clone(&order));
        let mut ask = Box::pin(async move {
            let guard = cache.lock("k").await?;
            order.lock().unwrap_or_else(PoisonError::into_inner).push(number);
            guard.release().await;
            Ok::<_, Stop>(())
        });
        let given = (&mut ask).now_or_never();
        ensure!(given.is_none(), "somebody was given a lock that is held");
        asking.push(tokio::spawn(ask));
    }
    bench.note("30 ask for the lock, one after the other, and it is released");
    held.release().await;
    for task in asking {
        end(task).await??;
    }
    let order = order.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(order == (0..30).collect::<Vec<_>>(), "the lock was given in the order {order:?}");
    at_rest(cache.space()).await;
    Ok(())
}

pub(super) async fn getset_loses_no_count(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let counters: Vec<_> = (0..16)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    let mut held = cache.getset("k").await?;
                    let so_far = held.item().map_or(Ok(0), larder_cache::CacheItem::value)?;
                    tokio::task::yield_now().await;
                    held.set(&(so_far + 1)).await?;
                }
                Ok::<_, CacheError>(())
            })
        })
        .collect();
    for counter in counters {
        end(counter).await??;
    }
    expect(&cache, "k", Some(80)).await
}

pub(super) async fn the_setter_may_be_called_again(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.set("k", &1).await)?;
    let mut held = act!(bench, cache.getset("k").await)?;
    act!(bench, held.set(&2).await)?;
    act!(bench, held.set(&3).ttl(SECOND).await)?;
    expect(&cache, "k", Some(3)).await?;
    let item = held.item().ok_or_else(|| Stop::fail("getset of a stored key gave no item"))?;
    let value = item.value()?;
    ensure!(value == 1, "the item of a getset, a snapshot, has become {value}");
    bench.advance(SECOND).await;
    act!(bench, held.set(&4).await)?;
    act!(bench, held.set(&5).ttl(Duration::ZERO).await)?;
    expect(&cache, "k", None).await?;
    act!(bench, held.set(&6).await)?;
    expect(&cache, "k", Some(6)).await
}

pub(super) async fn a_write_in_between_is_a_conflict(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?.with_scope("n");
    let can_list = t.capabilities().list;
    for between in ["set", "delete", "expiry", "load", "clear", "keeping", "prefix", "raw"] {
        if matches!(between, "clear" | "keeping" | "prefix") && !can_list
            || between == "raw" && !t.capabilities().conditions
        {
            continue;
        }
        t.part();
        act!(bench, cache.delete("k").await)?;
        if between != "load" {
            act!(bench, cache.set("k", &1).await)?;
        }
        let mut held = act!(bench, cache.getset("k").await)?;
        match between {
            "set" => act!(bench, cache.set("k", &2).await)?,
            "delete" => {
                act!(bench, cache.delete("k").await)?;
            }
            "expiry" => {
                act!(bench, cache.update_expiry("k", Expiry::Never).await)?;
            }
            "load" => {
                act!(bench, cache.get_or_set("k", 2_u32).await)?;
            }
            "clear" => act!(bench, cache.clear().await)?,
            "keeping" => act!(bench, cache.clear_keeping_pending().await)?,
            "prefix" => {
                act!(bench, cache.remove_starting_with("").await)?;
            }
            _ => {
                t.tree()?.with_path(&["g", "n"])?.set("k", "raw").await?;
            }
        }
        let before = cache.get_value("k").await?;
        for _ in 0..2 {
            let late = act!(bench, held.set(&9).await);
            let told = matches!(late, Err(CacheError::Conflict));
            ensure!(told, "after a {between} in between, the setter gave {late:?}");
        }
        expect(&cache, "k", before).await?;
    }
    Ok(())
}

pub(super) async fn an_expiry_in_between_is_none(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().retain_expired_for(Duration::ZERO).build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.set("k", &1).ttl(SECOND).await)?;
    let mut held = act!(bench, cache.getset("k").await)?;
    bench.advance(SECOND).await;
    act!(bench, held.set(&2).await)?;
    expect(&cache, "k", Some(2)).await
}

pub(super) async fn closing_takes_them_away(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let guard = act!(bench, cache.lock("l").await)?;
    let mut held = act!(bench, cache.getset("k").await)?;
    ensure!(!guard.is_lost() && !held.is_lost(), "a lock is lost when it was just taken");
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.lock("l").await.map(drop) }
    });
    others().await;
    act!(bench, cache.space().reconnect().await)?;
    guard.lost().await;
    held.lost().await;
    ensure!(guard.is_lost() && held.is_lost(), "locks are not lost after the space was closed");
    let late = act!(bench, held.set(&1).await);
    ensure!(
        matches!(late, Err(CacheError::LockLost)),
        "with its lock lost, a setter gave {late:?}"
    );
    expect(&cache, "k", None).await?;
    // Whoever had not asked yet gets the lock.
    let waited = end(waiting).await?;
    let closed = waited.as_ref().err().and_then(CacheError::store_kind) == Some(ErrorKind::Closed);
    ensure!(waited.is_ok() || closed, "one who waited for a lock got {waited:?}");
    let new = act!(bench, cache.lock("l").no_wait().await);
    ensure!(new.is_ok(), "after the space was opened again, a lock gave {new:?}");
    drop(guard);
    let busy = act!(bench, cache.lock("l").no_wait().await.map(|_| ()));
    ensure!(matches!(busy, Err(CacheError::Busy)), "a lost lock, dropped, released the new one");
    Ok(())
}

pub(super) async fn they_never_fail_open(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let store = bench.faulty()?;
    let builder = bench.builder_over(Arc::clone(&store)).circuit(1, SECOND);
    let cache = builder.build().await?.cache::<u32>();
    act!(bench, cache.set("k", &1).await)?;
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Internal] {
        store.plan(Call::Get, 1, Fault::Fail(kind));
        let told = act!(bench, cache.getset("k").await);
        let told = told.err().and_then(|error| error.store_kind());
        ensure!(told == Some(kind), "with a store that fails, getset gave {told:?}");
        at_rest(cache.space()).await;
    }
    let mut held = act!(bench, cache.getset("k").await)?;
    let item = held.item().ok_or_else(|| Stop::fail("an entry was taken for absent"))?;
    let value = item.value()?;
    ensure!(value == 1, "getset read {value}");
    store.plan(Call::Set, 1, Fault::Fail(ErrorKind::Unavailable));
    let told = act!(bench, held.set(&2).await);
    ensure!(told.is_err(), "with a store that fails, the setter gave {told:?}");
    drop(held);
    store.heal();
    let left = act!(bench, cache.getset("k").await)?;
    let left = left.item().map(larder_cache::CacheItem::value).transpose()?;
    ensure!(left == Some(1), "a set that failed left {left:?}");
    Ok(())
}

pub(super) async fn readers_are_not_blocked(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.set("k", &1).await)?;
    let _held = act!(bench, cache.getset("k").await)?;
    expect(&cache, "k", Some(1)).await?;
    let got = act!(bench, cache.get_or_set("k", 9_u32).await)?;
    ensure!(got == 1, "with its lock held, a key was read as {got}");
    act!(bench, cache.set("k", &2).await)?;
    expect(&cache, "k", Some(2)).await
}
