//! P1: room is made before an entry comes in, whatever happens meanwhile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{builder, faulty, kept, memory, settle, space};
use larder_cache::{CacheError, Loaded, Policy, Refusal};
use larder_core::testing::{Call, Fault, Faulty};
use larder_core::{Clock, ErrorKind, NamespacedStore};

#[tokio::test]
async fn an_entry_heavier_than_the_cache_is_refused_and_flushes_nothing() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max: 10 }).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("a", &1).weight(9).await.unwrap();
    let error = cache.set("b", &1).weight(11).await.unwrap_err();
    assert!(matches!(error, CacheError::Refused(Refusal::TooHeavy { weight: 11, capacity: 10 })));
    assert!(error.to_string().contains("weighs 11"));
    assert_eq!(cache.get_value("a").await.unwrap(), Some(1));
    let error = cache.set("a", &2).weight(11).await.unwrap_err();
    assert!(matches!(error, CacheError::Refused(_)));
    assert_eq!(cache.get_value("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_set_whose_life_is_over_at_once_pushes_nobody_out() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max: 2 }).build().await.unwrap();
    let cache = space.cache::<u32>();
    for key in ["a", "b"] {
        cache.set(key, &1).pin().await.unwrap();
        cache.get_and_unpin(key).await.unwrap().unwrap();
    }
    for key in ["b", "c"] {
        cache.set(key, &2).ttl(Duration::ZERO).pin().await.unwrap();
        cache.set(key, &2).expiry(clock.now()).weight(9).await.unwrap();
        assert_eq!(cache.get_value(key).await.unwrap(), None);
    }
    cache.set("b", &1).await.unwrap();
    cache
        .set_pending("c")
        .await
        .unwrap()
        .resolve(Loaded::new(3).ttl(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(cache.get_value("b").await.unwrap(), Some(1));
    let stats = space.stats();
    assert_eq!((stats.entries, stats.evicted_by_capacity, stats.not_admitted), (Some(1), 1, 0));
}

/// The second is written into the room that the first has asked for and not made yet.
#[tokio::test]
async fn two_sets_of_one_key_at_a_time_keep_to_the_capacity() {
    for first_is_dropped in [false, true] {
        let (store, clock) = faulty();
        let policy = Policy::Lru { max: 2 };
        let space = builder(store.clone(), &clock).policy(policy).build().await.unwrap();
        let cache = space.cache::<u32>();
        let set = |value: u32, weight: u64| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.set("k", &value).weight(weight).await })
        };
        let held = async || {
            let held = store.with_namespace("g").unwrap();
            held.list_page("", None, 10).await.unwrap().keys
        };
        for key in ["a", "b"] {
            cache.set(key, &0).await.unwrap();
        }
        store.plan(Call::Delete, 1, Fault::Hang);
        let first = set(1, 1);
        store.hanging(1).await;
        let second = set(2, 2);
        settle().await;
        assert_eq!(held().await, ["a"], "`a` makes room for the first");
        if first_is_dropped {
            first.abort();
            settle().await;
        }
        store.release();
        second.await.unwrap().unwrap();
        assert_eq!(first.await.is_ok(), !first_is_dropped);
        assert_eq!(held().await, ["k"]);
        let stats = space.stats();
        assert_eq!((stats.entries, stats.evicted_by_capacity), (Some(1), 2));
    }
}

/// A victim may be heavier than what it makes room for.
#[tokio::test]
async fn room_that_a_heavy_victim_leaves_is_used_once_it_has_gone() {
    for first_is_dropped in [false, true] {
        let (store, clock) = faulty();
        let policy = Policy::Lru { max: 7 };
        let space = builder(store.clone(), &clock).policy(policy).build().await.unwrap();
        let cache = space.cache::<u32>();
        let set = |key: &'static str, weight: u64| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.set(key, &0).weight(weight).await })
        };
        let held = async || {
            let held = store.with_namespace("g").unwrap();
            let mut keys = held.list_page("", None, 10).await.unwrap().keys;
            keys.sort_unstable();
            keys
        };
        set("heavy", 5).await.unwrap().unwrap();
        set("other", 2).await.unwrap().unwrap();
        store.plan(Call::Delete, 1, Fault::Hang);
        let (first, second) = (set("first", 1), set("second", 4));
        store.hanging(1).await;
        settle().await;
        assert_eq!(held().await, ["heavy", "other"], "both wait");
        if first_is_dropped {
            first.abort();
            settle().await;
        }
        store.release();
        second.await.unwrap().unwrap();
        assert_eq!(first.await.is_ok(), !first_is_dropped);
        let stats = space.stats();
        if first_is_dropped {
            assert_eq!(held().await, ["other", "second"]);
            assert_eq!((stats.entries, stats.weight), (Some(2), Some(6)));
        } else {
            assert_eq!(held().await, ["first", "other", "second"]);
            assert_eq!((stats.entries, stats.weight), (Some(3), Some(7)));
        }
        assert_eq!(stats.evicted_by_capacity, 1);
    }
}

#[tokio::test]
async fn every_weight_counts_in_full() {
    for max in [1 << 41, u64::MAX - 1] {
        let (store, clock) = memory();
        let lru = || builder(store.clone(), &clock).policy(Policy::Lru { max }).build();
        let cache = lru().await.unwrap().cache::<u32>();
        let refused = cache.set("a", &1).weight(max + 1).await.unwrap_err();
        assert!(matches!(refused, CacheError::Refused(Refusal::TooHeavy { .. })), "{refused:?}");
        cache.set("a", &1).weight(max / 2).await.unwrap();
        cache.set("b", &1).weight(max / 2).await.unwrap();
        assert_eq!(cache.space().stats().weight, Some(max));
        cache.set("c", &1).weight(max).await.unwrap();
        assert_eq!(cache.get("c").await.unwrap().unwrap().weight(), max);
        assert_eq!(kept(&store).await.len(), 1);
        let cache = lru().await.unwrap().cache::<u32>();
        assert_eq!(cache.space().stats().weight, Some(max), "reopened");
    }
    let (space, _) = space().await;
    let cache = space.cache::<u32>();
    for key in ["a", "b", "c"] {
        cache.set(key, &1).weight(u64::MAX).pin().await.unwrap();
    }
    assert_eq!(space.stats().pinned, 3);
}

#[tokio::test]
async fn entries_are_weighed_by_size_where_that_is_asked_for() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max: 1_000 }).weigh_by_size();
    let cache = space.build().await.unwrap().cache::<String>();
    for key in ["a", "b", "c"] {
        cache.set(key, &"x".repeat(400)).await.unwrap();
    }
    assert_eq!(cache.get_value("a").await.unwrap(), None);
    assert!(cache.get_value("b").await.unwrap().is_some());
    let error = cache.set("d", &"x".repeat(1_000)).await.unwrap_err();
    assert!(matches!(error, CacheError::Refused(_)));
    // A load is not refused, only not stored.
    let big = cache.get_or_set("d", "x".repeat(1_000)).await.unwrap();
    assert_eq!(big.len(), 1_000);
    assert_eq!(cache.get_value("d").await.unwrap(), None);
}

#[tokio::test]
async fn a_victim_that_cannot_be_removed_stays_counted_and_the_set_fails() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).policy(Policy::Lru { max: 2 }).build();
    let space = space.await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("a", &1).await.unwrap();
    cache.set("b", &1).await.unwrap();
    store.plan(Call::Delete, 1, Fault::Fail(ErrorKind::Unavailable));
    let error = cache.set("c", &1).await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Unavailable));
    assert_eq!(cache.list().await.unwrap().len(), 2);
    assert_eq!(space.stats().entries, Some(2));
    store.plan(Call::Set, 1, Fault::Fail(ErrorKind::StorageFull));
    cache.set("c", &1).await.unwrap_err();
    assert_eq!(space.stats().entries, Some(1), "room that was made and not used");
    cache.set("c", &1).await.unwrap();
    cache.set("d", &1).await.unwrap();
    assert_eq!(cache.list().await.unwrap().len(), 2);
    assert_eq!(space.stats().entries, Some(2));
}

#[tokio::test]
async fn a_write_whose_outcome_is_unknown_is_counted() {
    for loaded in [false, true] {
        let (raw, clock) = memory();
        let store = Arc::new(Faulty::new(raw.clone()));
        let space = builder(store.clone(), &clock).policy(Policy::Lru { max: 3 }).build();
        let cache = space.await.unwrap().cache::<u32>();
        store.plan(Call::Set, 1, Fault::LoseAnswer);
        if loaded {
            assert_eq!(cache.get_or_set("k", 1_u32).await.unwrap(), 1);
        } else {
            cache.set("k", &1).weight(2).await.unwrap_err();
        }
        assert_eq!(cache.space().stats().weight, Some(if loaded { 1 } else { 2 }));
        cache.set("other", &1).weight(3).await.unwrap();
        assert_eq!(kept(&raw).await, BTreeSet::from(["g:other".to_owned()]), "no more fits");
        store.plan(Call::Set, 1, Fault::LoseAnswer);
        cache.set("other", &1).await.unwrap_err();
        assert_eq!(cache.space().stats().weight, Some(3), "the old one may still be there");
        cache.set("other", &1).await.unwrap();
        assert_eq!(cache.space().stats().weight, Some(1));
    }
}

#[tokio::test]
async fn a_write_that_failed_leaves_the_weight_of_the_old_entry() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).policy(Policy::Lru { max: 10 }).build();
    let cache = space.await.unwrap().cache::<u32>();
    cache.set("k", &1).await.unwrap();
    store.plan(Call::Set, 1, Fault::Fail(ErrorKind::Unavailable));
    cache.set("k", &2).weight(9).await.unwrap_err();
    assert_eq!(cache.space().stats().weight, Some(1));
    cache.set("other", &1).weight(9).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_light_write_leaves_the_room_of_a_heavy_one_that_is_still_to_come() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).policy(Policy::Lru { max: 10 }).build();
    let cache = space.await.unwrap().cache::<u32>();
    let set = |weight| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.set("k", &1).weight(weight).await })
    };
    store.plan(Call::Set, 1, Fault::Hang);
    let light = set(1);
    store.hanging(1).await;
    let heavy = set(9);
    settle().await;
    store.plan(Call::Set, 1, Fault::Hang);
    store.release();
    light.await.unwrap().unwrap();
    store.hanging(1).await;
    cache.set("other", &1).weight(9).await.unwrap();
    store.release();
    heavy.await.unwrap().unwrap();
    assert_eq!(cache.space().stats().weight, Some(9), "within the capacity");
}

#[tokio::test]
async fn a_set_that_is_dropped_while_it_makes_room_leaves_the_count_right() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).policy(Policy::Lru { max: 2 }).build();
    let space = space.await.unwrap();
    let cache = space.cache::<u32>();
    for at in ["evicting", "storing"] {
        cache.clear().await.unwrap();
        cache.set("a", &1).await.unwrap();
        cache.set("b", &1).await.unwrap();
        let call = if at == "evicting" { Call::Delete } else { Call::Set };
        store.plan(call, 1, Fault::Hang);
        let setting = tokio::spawn({
            let cache = cache.clone();
            async move { cache.set("c", &1).await }
        });
        store.hanging(1).await;
        setting.abort();
        settle().await;
        store.release();
        settle().await;
        assert_eq!(space.stats().active_keys, 0);
        let listed = cache.list().await.unwrap().len();
        assert_eq!(space.stats().entries, Some(listed as u64), "{at}");
        for key in ["d", "e", "f"] {
            cache.set(key, &1).await.unwrap();
            assert!(cache.list().await.unwrap().len() <= 2);
        }
    }
}
