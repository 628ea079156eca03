//! Betty's `Cache`, with her own cases, bare and nested: the rows of docs/cache-migration.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Gate, settle, space};
use larder_cache::compat::BettyCache;
use larder_cache::{Cache, CacheError};
use larder_core::chrono::DateTime;
use larder_core::{Clock, Codec, MessagePack};

/// Runs a case on a cache bare, in a scope, and in a scope within one.
async fn everywhere<V: Send + 'static>(case: impl AsyncFn(BettyCache<V>))
where
    MessagePack: Codec<V>,
{
    for scopes in [&[][..], &["scope"], &["scope", "inner"], &["../escape"]] {
        let (space, _) = space().await;
        let cache: Cache<V> = space.cache();
        let cache =
            scopes.iter().fold(BettyCache::new(&cache), |cache, scope| cache.with_scope(scope));
        case(cache).await;
    }
}

/// Sets and gets a value, which may be of any type.
async fn is_kept<V>(value: V)
where
    V: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static,
    MessagePack: Codec<V>,
{
    everywhere::<V>(async |cache| {
        cache.set("id", &value, None).await.unwrap();
        assert_eq!(cache.get("id").await.unwrap().unwrap().value().unwrap(), value);
        assert_eq!(cache.get("id").await.unwrap().unwrap().value().unwrap(), value, "again");
    })
    .await;
}

#[tokio::test]
async fn values_true_none_123_123_456_list_and_map() {
    is_kept(true).await;
    is_kept::<Option<u8>>(None).await;
    is_kept(()).await;
    is_kept(123).await;
    is_kept(123.456).await;
    is_kept(Vec::<u8>::new()).await;
    is_kept(std::collections::BTreeMap::<String, u8>::new()).await;
}

#[tokio::test]
async fn with_scope() {
    everywhere::<u32>(async |cache| {
        let scoped = cache.with_scope("scopey");
        scoped.set("id", &1, None).await.unwrap();
        assert!(cache.get("id").await.unwrap().is_none());
        assert!(scoped.with_scope("scopey").get("id").await.unwrap().is_none());
        assert!(cache.with_scope("scopey").get("id").await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn get_without_a_hit() {
    everywhere::<u32>(async |cache| assert!(cache.get("id").await.unwrap().is_none())).await;
}

#[tokio::test]
async fn set_and_get() {
    is_kept("value".to_owned()).await;
}

#[tokio::test]
async fn set_and_get_with_modified() {
    everywhere::<u32>(async |cache| {
        let modified = DateTime::from_timestamp_micros(1_234_567_890_123_456).unwrap();
        cache.set("id", &123, Some(modified)).await.unwrap();
        let item = cache.get("id").await.unwrap().unwrap();
        assert_eq!((item.value().unwrap(), item.modified()), (123, modified));
    })
    .await;
    let (space, clock) = space().await;
    let cache = BettyCache::new(&space.cache::<u32>());
    cache.set("id", &123, None).await.unwrap();
    assert_eq!(cache.get("id").await.unwrap().unwrap().modified(), clock.now());
}

#[tokio::test]
async fn getset_without_a_hit() {
    everywhere::<u32>(async |cache| {
        let mut held = cache.getset("id", true).await.unwrap().unwrap();
        assert!(held.item().is_none());
        held.set(&123).await.unwrap();
        drop(held);
        assert_eq!(cache.get("id").await.unwrap().unwrap().value().unwrap(), 123);
    })
    .await;
}

#[tokio::test]
async fn getset_with_a_hit() {
    everywhere::<u32>(async |cache| {
        cache.set("id", &123, None).await.unwrap();
        let mut held = cache.getset("id", true).await.unwrap().unwrap();
        assert_eq!(held.item().unwrap().value().unwrap(), 123);
        held.set(&456).await.unwrap();
        drop(held);
        assert_eq!(cache.get("id").await.unwrap().unwrap().value().unwrap(), 456);
    })
    .await;
}

#[tokio::test]
async fn getset_without_lock() {
    everywhere::<u32>(async |cache| {
        let held = cache.getset("id", false).await.unwrap();
        assert!(held.is_some(), "absent is not held");
        assert!(cache.getset("id", false).await.unwrap().is_none(), "held is not absent");
        drop(held);
        let waiting = {
            let (held, cache) = (cache.getset("id", true).await.unwrap(), cache.clone());
            let waiting = tokio::spawn(async move { cache.getset("id", true).await });
            settle().await;
            assert!(!waiting.is_finished());
            drop(held);
            waiting
        };
        assert!(waiting.await.unwrap().unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn getset_with_a_set_of_the_same_item_inside_does_not_deadlock() {
    everywhere::<u32>(async |cache| {
        let mut held = cache.getset("id", true).await.unwrap().unwrap();
        cache.set("id", &1, None).await.unwrap();
        assert!(matches!(held.set(&2).await, Err(CacheError::Conflict)));
        assert_eq!(cache.get("id").await.unwrap().unwrap().value().unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn get_of_several_readers_at_once() {
    everywhere::<u32>(async |cache| {
        cache.set("id", &1, None).await.unwrap();
        let gate = Gate::new();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (cache, gate) = (cache.clone(), gate.clone());
                tokio::spawn(async move {
                    let item = cache.get("id").await.unwrap().unwrap();
                    gate.pass().await;
                    item.value().unwrap()
                })
            })
            .collect();
        // All have their item, and none has let go of it.
        gate.reached(3).await;
        gate.open(3);
        for reader in readers {
            assert_eq!(reader.await.unwrap(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn items_stay_for_ever() {
    let (space, clock) = space().await;
    let cache = BettyCache::new(&space.cache::<u32>());
    cache.set("set", &1, None).await.unwrap();
    cache.getset("getset", true).await.unwrap().unwrap().set(&1).await.unwrap();
    clock.advance(common::SECOND * 1_000_000_000);
    assert!(cache.get("set").await.unwrap().is_some());
    assert!(cache.get("getset").await.unwrap().is_some());
}

#[tokio::test]
async fn delete() {
    everywhere::<u32>(async |cache| {
        cache.set("id", &1, None).await.unwrap();
        cache.delete("id").await.unwrap();
        cache.delete("id").await.unwrap();
        assert!(cache.get("id").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn clear() {
    everywhere::<u32>(async |cache| {
        let child = cache.with_scope("child");
        cache.set("id", &1, None).await.unwrap();
        child.set("id", &1, None).await.unwrap();
        child.clear().await.unwrap();
        assert!(child.get("id").await.unwrap().is_none());
        assert!(cache.get("id").await.unwrap().is_some(), "a child does not clear its parent");
        child.set("id", &1, None).await.unwrap();
        cache.clear().await.unwrap();
        assert!(cache.get("id").await.unwrap().is_none());
        assert!(child.get("id").await.unwrap().is_none(), "a parent clears its children");
    })
    .await;
}
