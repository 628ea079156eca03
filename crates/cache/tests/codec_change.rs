//! V2: entries of another version, type or codec, and damaged ones, in a running system.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{SECOND, builder, faulty, memory};
use larder_cache::{Cache, CacheError};
use larder_core::testing::{Call, Fault};
use larder_core::{Bytes, ErrorKind, Json, NamespacedStore, Raw, SetOptions, Store, StoreExt};

/// The bytes that the cache keeps for a key of the global scope.
async fn stored(store: &Arc<dyn NamespacedStore>, key: &str) -> Bytes {
    store.with_namespace("g").unwrap().get(key).await.unwrap().unwrap()
}

async fn put(store: &Arc<dyn NamespacedStore>, key: &str, bytes: impl Into<Bytes>) {
    let scope = store.with_namespace("g").unwrap();
    scope.set_opts(key, bytes.into(), SetOptions::default()).await.unwrap();
}

/// Makes the payload no value, under a head that is in order.
async fn spoil(store: &Arc<dyn NamespacedStore>, key: &str) {
    let mut bytes = stored(store, key).await.to_vec();
    *bytes.last_mut().unwrap() = 0xC1;
    put(store, key, bytes).await;
}

/// Every read but the strict one takes it for a miss and counts it; a load replaces it.
async fn is_a_miss(cache: &Cache<u32>, key: &str) {
    let before = cache.space().stats().undecodable;
    assert_eq!(cache.get_value(key).await.unwrap(), None);
    assert!(cache.space().stats().undecodable > before);
    let strict = cache.get_strict(key).await.unwrap_err();
    assert_eq!(strict.store_kind(), Some(ErrorKind::Corrupt));
    assert!(matches!(cache.update_expiry(key, None).await, Err(CacheError::NotFound)));
    assert_eq!(cache.get_or_set(key, 5_u32).await.unwrap(), 5);
    assert_eq!(cache.get_value(key).await.unwrap(), Some(5));
}

#[tokio::test]
async fn a_type_a_tag_or_a_codec_that_changed() {
    let (store, clock) = memory();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    space.cache::<u64>().set("type", &1).await.unwrap();
    is_a_miss(&cache, "type").await;
    space.cache_with_codec::<u32, _>(Json).set("codec", &1).await.unwrap();
    is_a_miss(&cache, "codec").await;
    space.cache_with_codec::<String, _>(Raw).set("raw", &"x".to_owned()).await.unwrap();
    is_a_miss(&cache, "raw").await;

    let tagged = |tag| Cache::<u32>::builder(store.clone()).type_tag(tag).build();
    let (old, new) = (tagged("v1").await.unwrap(), tagged("v2").await.unwrap());
    old.set("tag", &1).await.unwrap();
    is_a_miss(&new, "tag").await;
    assert_eq!(tagged("v2").await.unwrap().get_value("tag").await.unwrap(), Some(5));
}

#[tokio::test]
async fn the_strict_read_sees_nothing_that_has_expired() {
    let (store, clock) = memory();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    space.cache::<String>().set("foreign", &"x".to_owned()).ttl(SECOND).await.unwrap();
    cache.set("spoilt", &1).ttl(SECOND).await.unwrap();
    spoil(&store, "spoilt").await;
    for key in ["foreign", "spoilt"] {
        assert!(cache.get_strict(key).await.is_err());
    }
    clock.advance(SECOND);
    for key in ["foreign", "spoilt"] {
        assert!(cache.get_strict(key).await.unwrap().is_none(), "{key}");
    }
    assert_eq!((space.stats().hits, space.stats().misses), (0, 2));
}

#[tokio::test]
async fn a_version_that_changed_and_bytes_that_are_damaged() {
    let (store, clock) = memory();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).await.unwrap();
    let good = stored(&store, "k").await;
    let mut version = good.to_vec();
    version[2] += 1;
    put(&store, "version", version).await;
    is_a_miss(&cache, "version").await;
    put(&store, "empty", Bytes::new()).await;
    is_a_miss(&cache, "empty").await;
    put(&store, "foreign", "some text that no cache wrote, long enough to hold a head").await;
    is_a_miss(&cache, "foreign").await;
    for cut in 0..good.len() {
        put(&store, "cut", good.slice(..cut)).await;
        is_a_miss(&cache, "cut").await;
    }
    put(&store, "longer", [&good[..], b"x"].concat()).await;
    is_a_miss(&cache, "longer").await;
}

#[tokio::test]
async fn a_payload_that_no_longer_fits_the_type_fails_on_demand_and_is_replaced_by_a_load() {
    let (store, clock) = memory();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).await.unwrap();
    spoil(&store, "k").await;
    let item = cache.get("k").await.unwrap().unwrap();
    assert!(item.value().is_err());
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    assert_eq!(cache.get_or_set("k", 2_u32).await.unwrap(), 2);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_read_that_finds_such_a_payload_is_no_hit() {
    for pinned in [false, true] {
        let (store, clock) = memory();
        let space = builder(store.clone(), &clock).build().await.unwrap();
        let cache = space.cache::<u32>();
        let set = cache.set("k", &1);
        let set = if pinned { set.pin() } else { set };
        set.await.unwrap();
        spoil(&store, "k").await;
        assert_eq!(cache.get_value("k").await.unwrap(), None);
        assert_eq!(cache.get_or("k", 9).await.unwrap(), 9);
        assert_eq!(cache.get_or_set("k", 2_u32).await.unwrap(), 2);
        let stats = space.stats();
        assert_eq!((stats.hits, stats.misses, stats.undecodable), (0, 3, 3));
        assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
        assert_eq!(space.stats().hits, 1);
    }
}

#[tokio::test]
async fn what_the_store_itself_calls_corrupt_is_a_miss_as_well() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).await.unwrap();
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Corrupt));
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Corrupt));
    let strict = cache.get_strict("k").await.unwrap_err();
    assert_eq!(strict.store_kind(), Some(ErrorKind::Corrupt));
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Corrupt));
    assert_eq!(cache.delete("k").await.unwrap(), None);
    assert_eq!(cache.get_value("k").await.unwrap(), None, "deleted");
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Corrupt));
    assert_eq!(cache.get_or_set("k", 3_u32).await.unwrap(), 3);
    assert_eq!(space.stats().undecodable, 2);
    assert_eq!(space.stats().store_failures, 0, "the store is well");
}

#[tokio::test]
async fn an_undecodable_entry_can_be_set_under_its_lock_and_deleted() {
    let (store, clock) = memory();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    put(&store, "k", "garbage").await;
    assert!(!cache.remove(["k"]).await.unwrap());
    put(&store, "k", "garbage").await;
    let mut held = cache.getset("k").await.unwrap();
    assert!(held.item().is_none());
    held.set(&4).await.unwrap();
    held.set(&5).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(5));
}
