//! L1 to L3, within one process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{SECOND, builder, faulty, load, memory, numbers, settle, until};
use larder_cache::{CacheError, CacheScope};
use larder_core::testing::{Call, Fault};
use larder_core::{ErrorKind, SetOptions, Store, StoreExt};

#[tokio::test]
async fn a_held_lock_is_busy_which_is_not_the_same_as_absent() {
    let (cache, _) = numbers().await;
    let held = cache.getset("k").await.unwrap();
    assert!(held.item().is_none());
    assert!(matches!(cache.getset("k").no_wait().await, Err(CacheError::Busy)));
    assert!(matches!(cache.lock("k").no_wait().await, Err(CacheError::Busy)));
    assert!(cache.lock("other").no_wait().await.is_ok());
    assert!(cache.with_scope("n").lock("k").no_wait().await.is_ok());
    assert!(cache.scoped(CacheScope::user("u")).lock("k").no_wait().await.is_ok());
    drop(held);
    assert!(cache.getset("k").no_wait().await.unwrap().item().is_none());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_lock_ends_in_time() {
    let (cache, _) = numbers().await;
    let held = cache.lock("k").await.unwrap();
    let before = tokio::time::Instant::now();
    assert!(matches!(cache.lock("k").wait(SECOND).await, Err(CacheError::Busy)));
    assert!(matches!(cache.getset("k").wait(SECOND).await, Err(CacheError::Busy)));
    assert_eq!(before.elapsed(), SECOND * 2);
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.lock("k").wait(SECOND).await.map(drop) }
    });
    settle().await;
    held.release().await;
    waiting.await.unwrap().unwrap();
    assert_eq!(cache.space().stats().active_keys, 0);
}

#[tokio::test]
async fn locks_are_given_in_the_order_of_asking_and_leave_the_table() {
    let (cache, _) = numbers().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let held = cache.lock("k").await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..50 {
        let (cache, order) = (cache.clone(), order.clone());
        waiting.push(tokio::spawn(async move {
            let guard = cache.lock("k").await.unwrap();
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
            guard.release().await;
        }));
        settle().await;
    }
    // One who gives up is passed over.
    waiting[10].abort();
    held.release().await;
    for (number, waiter) in waiting.into_iter().enumerate() {
        assert_eq!(waiter.await.is_err(), number == 10);
    }
    let expected: Vec<_> = (0..50).filter(|number| *number != 10).collect();
    assert_eq!(*order.lock().unwrap(), expected);
    assert_eq!(cache.space().stats().active_keys, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn getset_loses_no_count() {
    let (cache, _) = numbers().await;
    let counting: Vec<_> = (0..8)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let mut held = cache.getset("k").await.unwrap();
                    let count = held.item().map_or(0, |item| item.value().unwrap());
                    held.set(&(count + 1)).await.unwrap();
                }
            })
        })
        .collect();
    for counter in counting {
        counter.await.unwrap();
    }
    assert_eq!(cache.get_value("k").await.unwrap(), Some(800));
}

#[tokio::test]
async fn the_setter_may_be_called_again() {
    let (cache, clock) = numbers().await;
    cache.set("k", &1).await.unwrap();
    let mut held = cache.getset("k").await.unwrap();
    held.set(&2).await.unwrap();
    held.set(&3).ttl(SECOND).await.unwrap();
    assert_eq!(held.item().unwrap().value().unwrap(), 1, "a snapshot");
    assert_eq!(cache.get_value("k").await.unwrap(), Some(3));
    clock.advance(SECOND);
    held.set(&4).await.unwrap();
    held.set(&5).ttl(Duration::ZERO).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    held.set(&6).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(6));
}

#[tokio::test]
async fn the_setter_may_be_called_again_after_an_error_of_the_store() {
    for fault in [Fault::Fail(ErrorKind::Timeout), Fault::Fail(ErrorKind::StorageFull)] {
        let (store, clock) = faulty();
        let cache = builder(store.clone(), &clock).build().await.unwrap().cache::<u32>();
        let mut held = cache.getset("k").await.unwrap();
        for value in 1..=2 {
            store.plan(Call::Set, 1, fault);
            assert!(matches!(held.set(&value).await, Err(CacheError::Store(_))));
            held.set(&value).await.unwrap();
            assert_eq!(cache.get_value("k").await.unwrap(), Some(value));
        }
        store.plan(Call::Set, 1, fault);
        assert!(held.set(&3).await.is_err());
        cache.set("k", &9).await.unwrap();
        assert!(matches!(held.set(&3).await, Err(CacheError::Conflict)), "another came between");
    }
}

#[tokio::test]
async fn a_write_that_was_made_is_no_error_because_it_cannot_be_looked_at() {
    let (store, clock) = faulty();
    let cache = builder(store.clone(), &clock).build().await.unwrap().cache::<u32>();
    let mut held = cache.getset("k").await.unwrap();
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Timeout));
    held.set(&1).await.unwrap();
    assert!(matches!(held.set(&2).await, Err(CacheError::Conflict)), "it may not be the next one");
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_write_that_comes_between_is_a_conflict_and_is_not_overwritten() {
    for between in ["set", "delete", "clear", "clear keeping", "prefix", "expiry", "load", "raw"] {
        let (store, clock) = memory();
        let space = builder(store.clone(), &clock).build().await.unwrap();
        let cache = space.cache::<u32>();
        if between != "load" {
            cache.set("k", &1).await.unwrap();
        }
        let mut held = cache.getset("k").await.unwrap();
        match between {
            "set" => cache.set("k", &2).await.unwrap(),
            "delete" => assert!(cache.delete("k").await.unwrap().is_some()),
            "clear" => cache.clear().await.unwrap(),
            "clear keeping" => cache.clear_keeping_pending().await.unwrap(),
            "prefix" => assert_eq!(cache.remove_starting_with("").await.unwrap(), 1),
            "expiry" => assert_eq!(cache.update_expiry("k", None).await.unwrap(), 1),
            "load" => assert_eq!(cache.get_or_set("k", 2_u32).await.unwrap(), 2),
            _ => {
                let raw = store.with_namespace("g").unwrap();
                raw.set_opts("k", "raw".into(), SetOptions::default()).await.unwrap();
            }
        }
        let before = cache.get_value("k").await.unwrap();
        assert!(matches!(held.set(&9).await, Err(CacheError::Conflict)), "{between}");
        assert!(matches!(held.set(&9).await, Err(CacheError::Conflict)), "{between}: for good");
        assert_eq!(cache.get_value("k").await.unwrap(), before, "{between}");
    }
}

#[tokio::test]
async fn an_entry_that_expired_meanwhile_is_no_conflict() {
    let (store, clock) = memory();
    let space = builder(store, &clock).retain_expired_for(Duration::ZERO).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).ttl(SECOND).await.unwrap();
    let mut held = cache.getset("k").await.unwrap();
    clock.advance(SECOND);
    held.set(&2).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_set_under_a_lock_overtakes_a_load() {
    let (cache, _) = numbers().await;
    let gate = common::Gate::new();
    let loading = load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    let mut held = cache.getset("k").await.unwrap();
    held.set(&2).await.unwrap();
    assert_eq!(loading.await.unwrap().unwrap(), 2);
    gate.open(1);
    drop(held);
    until(|| cache.space().stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn readers_block_nobody() {
    let (cache, _) = numbers().await;
    cache.set("k", &1).await.unwrap();
    let _held = cache.getset("k").await.unwrap();
    let (first, second) = (cache.get("k").await.unwrap(), cache.get("k").await.unwrap());
    assert_eq!(cache.get_or_set("k", 9_u32).await.unwrap(), 1);
    cache.set("k", &2).await.unwrap();
    assert_eq!(first.unwrap().value().unwrap() + second.unwrap().value().unwrap(), 2);
}

#[tokio::test]
async fn closing_the_space_takes_locks_away() {
    let (cache, _) = numbers().await;
    let guard = cache.lock("l").await.unwrap();
    let mut held = cache.getset("k").await.unwrap();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.lock("l").await.map(drop) }
    });
    settle().await;
    assert!(!guard.is_lost() && !held.is_lost());
    cache.space().reconnect().await.unwrap();
    guard.lost().await;
    held.lost().await;
    assert!(guard.is_lost() && held.is_lost());
    assert!(matches!(held.set(&1).await, Err(CacheError::LockLost)));
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Closed));
    // The lock is free, although the one who lost it has not let go.
    let new = cache.lock("l").no_wait().await.unwrap();
    drop(guard);
    assert!(matches!(cache.lock("l").no_wait().await, Err(CacheError::Busy)));
    assert!(!new.is_lost());
}

#[tokio::test]
async fn locks_and_getset_never_fail_open() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).circuit(1, SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).await.unwrap();
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Unavailable));
    let error = cache.getset("k").await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Unavailable));
    assert_eq!(space.stats().active_keys, 0, "and holds no lock");
    let mut held = cache.getset("k").await.unwrap();
    assert_eq!(held.item().unwrap().value().unwrap(), 1, "never taken for absent");
    store.plan(Call::Set, 1, Fault::Fail(ErrorKind::Unavailable));
    assert!(held.set(&2).await.is_err());
    assert_eq!(cache.get_value("k").await.unwrap_or(Some(1)), Some(1));
    let _ = store.get("x").await;
}
