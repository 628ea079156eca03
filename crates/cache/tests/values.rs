//! V1 to V4: typed values, items, expiry.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{SECOND, builder, memory, numbers, space, until};
use larder_cache::{Cache, CacheError, DEFAULT_TTL, Freshness};
use larder_core::chrono::{DateTime, TimeDelta};
use larder_core::{Clock, ErrorKind, ExpiresIn, Expiry, Json, NamespacedStore, Raw};
use larder_memory::MemoryStore;

#[tokio::test]
async fn nothing_at_all_is_a_value_too() {
    let (space, _) = space().await;
    let options = space.cache::<Option<u32>>();
    options.set("none", &None).await.unwrap();
    assert_eq!(options.get_value("none").await.unwrap(), Some(None));
    assert_eq!(options.get_or_fail("none").await.unwrap(), None);
    assert_eq!(options.get_or_set("none", Some(3)).await.unwrap(), None);
    assert_eq!(options.get_value("missing").await.unwrap(), None);
    let units = space.cache::<()>();
    units.set("unit", &()).await.unwrap();
    assert_eq!(units.get_value("unit").await.unwrap(), Some(()));
}

#[tokio::test]
async fn a_snapshot_is_changed_by_no_later_write() {
    let (cache, clock) = numbers().await;
    cache.set("k", &1).ttl(SECOND * 10).await.unwrap();
    let item = cache.get("k").await.unwrap().unwrap();
    clock.advance(SECOND * 3);
    cache.set("k", &2).await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(item.value().unwrap(), 1);
    assert_eq!(item.age(), SECOND * 3);
    assert_eq!(item.expires_in(), ExpiresIn::In(SECOND * 7));
    assert_eq!(item.freshness(), Freshness::Fresh);
    clock.advance(SECOND * 7);
    assert_eq!(item.freshness(), Freshness::Stale);
    assert_eq!(item.expires_in(), ExpiresIn::Missing);
    assert_eq!(item.clone().value().unwrap(), 1);
}

#[tokio::test]
async fn the_modified_time_is_kept_to_the_microsecond() {
    let (cache, clock) = numbers().await;
    let moment = DateTime::from_timestamp_micros(-1_234_567).unwrap();
    cache.set("k", &1).modified(moment).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap().unwrap().modified(), moment);
    cache.set("k", &1).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap().unwrap().modified(), clock.now());
    cache.update_expiry("k", Expiry::Never).await.unwrap();
    clock.advance(SECOND);
    assert_eq!(cache.get("k").await.unwrap().unwrap().age(), SECOND, "an expiry is no change");
    let future = clock.now() + TimeDelta::hours(1);
    cache.set("k", &1).modified(future).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap().unwrap().age(), Duration::ZERO);
}

#[tokio::test]
async fn the_default_time_to_live_is_300_seconds_everywhere() {
    let (cache, clock) = numbers().await;
    let almost = Duration::from_micros(300_000_000 - 1);
    assert_eq!(DEFAULT_TTL, SECOND * 300);
    cache.set("set", &1).await.unwrap();
    cache.get_or_set("load", 1_u32).await.unwrap();
    cache.set("update", &1).ttl(SECOND).await.unwrap();
    cache.update_expiry("update", None).await.unwrap();
    let mut held = cache.getset("getset").await.unwrap();
    held.set(&1).await.unwrap();
    drop(held);
    cache.set_pending("pending").await.unwrap().resolve(1_u32).await.unwrap();
    let keys = ["set", "load", "update", "getset", "pending"];
    clock.advance(almost);
    for key in keys {
        assert_eq!(cache.get_value(key).await.unwrap(), Some(1), "{key}");
    }
    clock.advance(Duration::from_micros(1));
    for key in keys {
        assert_eq!(cache.get_value(key).await.unwrap(), None, "{key}");
    }
}

#[tokio::test]
async fn the_builder_changes_the_default_and_never_is_explicit() {
    let (store, clock) = memory();
    let cache = Cache::<u32>::builder(store.clone())
        .clock(clock.clone())
        .default_ttl(SECOND)
        .build()
        .await
        .unwrap();
    cache.set("k", &1).await.unwrap();
    cache.set("never", &1).expiry(Expiry::Never).await.unwrap();
    cache.set("at", &1).expiry(clock.now() + TimeDelta::seconds(5)).await.unwrap();
    clock.advance(SECOND);
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    clock.advance(SECOND * 4);
    assert_eq!(cache.get_value("at").await.unwrap(), None);
    clock.advance(SECOND * 1_000_000_000);
    assert_eq!(cache.get_value("never").await.unwrap(), Some(1));
    let item = cache.get("never").await.unwrap().unwrap();
    assert_eq!(item.expires_in(), ExpiresIn::Never);
    for bad in [Expiry::Keep, Expiry::After(Duration::ZERO), Expiry::At(clock.now())] {
        let error = builder(store.clone(), &clock).default_ttl(bad).build().await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::InvalidConfig));
    }
}

#[tokio::test]
async fn a_view_may_have_a_default_of_its_own() {
    let (cache, clock) = numbers().await;
    let short = cache.with_default_ttl(SECOND);
    short.set("set", &1).await.unwrap();
    short.get_or_set("load", 1_u32).await.unwrap();
    short.with_scope("n").set_pending("p").await.unwrap().resolve(1_u32).await.unwrap();
    cache.set("update", &1).await.unwrap();
    short.update_expiry("update", None).await.unwrap();
    clock.advance(SECOND);
    for key in ["set", "load", "update"] {
        assert_eq!(cache.get_value(key).await.unwrap(), None, "{key}");
    }
    assert_eq!(short.with_scope("n").get_value("p").await.unwrap(), None);
}

#[tokio::test]
async fn keeping_an_expiry_keeps_that_of_a_live_entry_alone() {
    let (cache, clock) = numbers().await;
    cache.set("k", &1).ttl(SECOND * 5).await.unwrap();
    clock.advance(SECOND * 2);
    cache.set("k", &2).expiry(Expiry::Keep).await.unwrap();
    let left = cache.get("k").await.unwrap().unwrap().expires_in();
    assert_eq!(left, ExpiresIn::In(SECOND * 3));
    clock.advance(SECOND * 3);
    cache.set("k", &3).expiry(Expiry::Keep).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap().unwrap().expires_in(), ExpiresIn::Never);
}

#[tokio::test]
async fn extreme_durations_neither_wrap_nor_fail() {
    let (cache, clock) = numbers().await;
    cache.set("k", &1).ttl(Duration::MAX).await.unwrap();
    clock.advance(SECOND * 1_000_000_000);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    assert_eq!(cache.update_expiry("k", Expiry::After(Duration::MAX)).await.unwrap(), 1);
    cache.set("zero", &1).await.unwrap();
    cache.set("zero", &2).ttl(Duration::ZERO).await.unwrap();
    assert_eq!(cache.get_value("zero").await.unwrap(), None);
    assert!(matches!(cache.update_expiry("zero", None).await, Err(CacheError::NotFound)));
    let (store, clock) = memory();
    let space = builder(store, &clock).default_ttl(Duration::MAX).ttl_jitter(1e-17).build().await;
    let cache = space.unwrap().cache::<u32>();
    cache.set("jitter", &1).await.unwrap();
    assert_eq!(cache.get_value("jitter").await.unwrap(), Some(1));
}

#[tokio::test]
async fn defaults_and_failures_of_a_read() {
    let (cache, _) = numbers().await;
    assert_eq!(cache.get_or("k", 9).await.unwrap(), 9);
    assert!(matches!(cache.get_or_fail("k").await, Err(CacheError::NotFound)));
    cache.set("k", &1).await.unwrap();
    assert_eq!(cache.get_or("k", 9).await.unwrap(), 1);
    assert_eq!(cache.get_or_fail("k").await.unwrap(), 1);
}

#[tokio::test]
async fn removing_tells_whether_all_existed() {
    let (cache, clock) = numbers().await;
    let none: [&str; 0] = [];
    assert!(cache.remove(none).await.unwrap());
    cache.set("a", &1).await.unwrap();
    cache.set("b", &1).await.unwrap();
    assert!(cache.remove(["a", "b", "a"]).await.unwrap());
    cache.set("a", &1).await.unwrap();
    assert!(!cache.remove(["missing".to_owned(), "a".to_owned()]).await.unwrap());
    assert_eq!(cache.get_value("a").await.unwrap(), None, "removed all the same");
    cache.set("a", &1).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    assert!(!cache.remove(["a"]).await.unwrap(), "expired is not existing");
    assert!(matches!(cache.update_expiry("a", None).await, Err(CacheError::NotFound)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_deleters_gets_the_value() {
    let (cache, _) = numbers().await;
    for round in 0..100 {
        cache.set("k", &round).await.unwrap();
        let deleters: Vec<_> = (0..8)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.delete("k").await.unwrap() })
            })
            .collect();
        let mut got = Vec::new();
        for deleter in deleters {
            got.extend(deleter.await.unwrap());
        }
        assert_eq!(got, [round]);
    }
    until(|| cache.space().stats().active_keys == 0).await;
}

#[tokio::test]
async fn an_expired_entry_is_revived_while_it_is_retained_and_never_seen_before() {
    let (store, clock) = memory();
    let space = builder(store, &clock).retain_expired_for(SECOND * 10).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    assert!(cache.get("k").await.unwrap().is_none());
    assert!(cache.get_strict("k").await.unwrap().is_none());
    assert_eq!(cache.get_or("k", 9).await.unwrap(), 9);
    assert_eq!(cache.delete("other").await.unwrap(), None);
    assert_eq!(cache.update_expiry("k", Expiry::After(SECOND * 5)).await.unwrap(), 1);
    clock.advance(SECOND * 4);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    clock.advance(SECOND);
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    clock.advance(Duration::from_micros(10_000_000 - 1));
    assert_eq!(cache.update_expiry("k", Expiry::After(SECOND)).await.unwrap(), 1);
    clock.advance(SECOND * 11);
    assert!(matches!(cache.update_expiry("k", None).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.update_expiry("never", None).await, Err(CacheError::NotFound)));
    // Deleted is deleted, retained or not.
    cache.set("k", &1).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    assert_eq!(cache.delete("k").await.unwrap(), None);
    assert!(matches!(cache.update_expiry("k", None).await, Err(CacheError::NotFound)));
}

#[tokio::test]
async fn every_form_of_an_expiry_changes_one() {
    let (cache, clock) = numbers().await;
    cache.set("k", &1).await.unwrap();
    let life = async || cache.get("k").await.unwrap().unwrap().expires_in();
    cache.update_expiry("k", SECOND).await.unwrap();
    assert_eq!(life().await, ExpiresIn::In(SECOND));
    cache.update_expiry("k", TimeDelta::seconds(2)).await.unwrap();
    assert_eq!(life().await, ExpiresIn::In(SECOND * 2));
    cache.update_expiry("k", clock.now() + TimeDelta::seconds(3)).await.unwrap();
    assert_eq!(life().await, ExpiresIn::In(SECOND * 3));
    cache.update_expiry("k", Expiry::Never).await.unwrap();
    assert_eq!(life().await, ExpiresIn::Never);
    cache.update_expiry("k", Some(SECOND.into())).await.unwrap();
    assert_eq!(life().await, ExpiresIn::In(SECOND));
    cache.update_expiry("k", None).await.unwrap();
    assert_eq!(life().await, ExpiresIn::In(DEFAULT_TTL));
}

#[tokio::test]
async fn an_expiry_of_nothing_gives_the_value_and_removes_it() {
    let (cache, _) = numbers().await;
    cache.set("k", &1).await.unwrap();
    assert_eq!(cache.update_expiry("k", Expiry::After(Duration::ZERO)).await.unwrap(), 1);
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    cache.set("k", &1).await.unwrap();
    assert_eq!(cache.update_expiry("k", Expiry::Keep).await.unwrap(), 1);
}

#[tokio::test]
async fn other_codecs_and_flat_stores_serve_as_well() {
    let (store, clock) = memory();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let json = space.cache_with_codec::<Vec<u32>, _>(Json);
    json.set("k", &vec![1, 2]).await.unwrap();
    assert_eq!(json.get_value("k").await.unwrap(), Some(vec![1, 2]));
    let raw = Cache::<String>::builder(store.clone()).codec(Raw).build().await.unwrap();
    raw.set("r", &"text".to_owned()).await.unwrap();
    assert_eq!(raw.get_value("r").await.unwrap().as_deref(), Some("text"));

    let flat: std::sync::Arc<dyn larder_core::Store> = std::sync::Arc::new(MemoryStore::new());
    let cache = Cache::<u32>::builder(flat).build().await.unwrap();
    cache.with_scope("n").set("k", &1).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    assert_eq!(cache.with_scope("n").get_value("k").await.unwrap(), Some(1));
    cache.clear().await.unwrap();
    assert_eq!(cache.with_scope("n").get_value("k").await.unwrap(), None);
}

#[tokio::test]
async fn what_lies_beside_the_cache_in_its_store_is_left_alone() {
    use larder_core::StoreExt;
    let (store, clock) = memory();
    store.set("own", "x").await.unwrap();
    let beside = store.with_namespace("mine").unwrap();
    beside.set("own", "y").await.unwrap();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    space.cache::<u32>().set("k", &1).await.unwrap();
    space.clear(true).await.unwrap();
    assert_eq!(store.get("own").await.unwrap().unwrap(), "x");
    assert_eq!(beside.get("own").await.unwrap().unwrap(), "y");
    let _: &dyn NamespacedStore = &*store;
}

#[tokio::test]
async fn removing_a_key_that_is_none_removes_nothing() {
    let (cache, _) = numbers().await;
    let long = "x".repeat(5_000);
    cache.set("a", &1).await.unwrap();
    let error = cache.remove(["a", &long]).await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::InvalidKey));
    assert_eq!(cache.get_value("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_key_too_long_and_a_value_that_has_no_form_are_refused() {
    let (space, _) = space().await;
    let long = "x".repeat(5_000);
    let cache = space.cache::<u32>();
    for error in [
        cache.set(&long, &1).await.unwrap_err(),
        cache.get(&long).await.unwrap_err(),
        cache.delete(&long).await.unwrap_err(),
        cache.lock(&long).await.unwrap_err(),
        cache.set_pending(&long).await.unwrap_err(),
        cache.get_or_set(&long, 1_u32).await.unwrap_err(),
    ] {
        assert_eq!(error.store_kind(), Some(ErrorKind::InvalidKey));
    }
    assert_eq!(space.stats().active_keys, 0);
}
