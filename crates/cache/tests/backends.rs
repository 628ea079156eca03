//! What must hold over every backend: overtaken loads, promises, locks, retained entries.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{Gate, SECOND, builder, load, memory, until};
use larder_cache::{Cache, CacheError, CacheScope};
use larder_core::{Expiry, ManualClock, NamespacedStore, Store};
use larder_file::FileStore;
use larder_sled::SledStore;

/// Runs a case over memory, files and sled.
async fn everywhere(case: impl AsyncFn(Cache<u32>, ManualClock)) {
    let (store, clock) = memory();
    case(builder(store, &clock).build().await.unwrap().cache(), clock).await;

    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let file = FileStore::builder(folder.path().join("f")).clock(clock.clone()).build().await;
    let file: Arc<dyn NamespacedStore> = Arc::new(file.unwrap());
    case(builder(file.clone(), &clock).build().await.unwrap().cache(), clock).await;
    file.close().await.unwrap();

    let clock = ManualClock::new();
    let sled = SledStore::builder(folder.path().join("s")).clock(clock.clone()).build().await;
    let sled: Arc<dyn NamespacedStore> = Arc::new(sled.unwrap());
    case(builder(sled.clone(), &clock).build().await.unwrap().cache(), clock).await;
    sled.close().await.unwrap();
}

#[tokio::test]
async fn an_overtaken_load_is_never_stored() {
    everywhere(async |cache, clock| {
        for winner in ["set", "delete", "clear", "scope clear", "prefix", "expiry", "eviction"] {
            let cache = cache.with_scope("n");
            cache.clear().await.unwrap();
            if winner == "expiry" {
                cache.set("k", &7).ttl(SECOND).await.unwrap();
                clock.advance(SECOND);
            }
            let gate = Gate::new();
            let loading = load(&cache, "k", &gate, 1);
            gate.reached(1).await;
            match winner {
                "set" => cache.set("k", &2).await.unwrap(),
                "delete" => assert_eq!(cache.delete("k").await.unwrap(), None),
                "clear" => cache.space().clear(true).await.unwrap(),
                "scope clear" => cache.scoped(CacheScope::Global).clear().await.unwrap(),
                "prefix" => assert_eq!(cache.remove_starting_with("k").await.unwrap(), 0),
                "expiry" => {
                    assert_eq!(cache.update_expiry("k", Expiry::Never).await.unwrap(), 7);
                }
                _ => drop(cache.set_pending("k").await.unwrap()),
            }
            gate.open(1);
            let got = loading.await.unwrap().unwrap();
            until(|| cache.space().stats().active_keys == 0).await;
            let left = cache.get_value("k").await.unwrap();
            let expected = match winner {
                "set" => (2, Some(2)),
                "expiry" => (7, Some(7)),
                _ => (1, None),
            };
            assert_eq!((got, left), expected, "{winner}");
        }
    })
    .await;
}

#[tokio::test]
async fn many_callers_load_once_and_a_promise_is_kept() {
    everywhere(async |cache, _| {
        let gate = Gate::new();
        let callers: Vec<_> = (0..50).map(|_| load(&cache, "k", &gate, 1)).collect();
        gate.reached(1).await;
        gate.open(50);
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap(), 1);
        }
        assert_eq!(gate.entered(), 1);

        let promise = cache.set_pending("k").await.unwrap();
        // Those who came when the load had ended missed nothing.
        let misses = cache.space().stats().misses;
        let waiting = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_wait("k").await }
        });
        until(|| waiting.is_finished() || cache.space().stats().misses > misses).await;
        assert!(promise.resolve(2_u32).await.unwrap());
        assert_eq!(waiting.await.unwrap().unwrap(), Some(2));
    })
    .await;
}

#[tokio::test]
async fn a_write_in_between_is_a_conflict_and_an_expired_entry_is_revived() {
    everywhere(async |cache, clock| {
        cache.set("k", &1).ttl(SECOND).await.unwrap();
        let mut held = cache.getset("k").await.unwrap();
        held.set(&2).ttl(SECOND).await.unwrap();
        cache.set("k", &3).ttl(SECOND).await.unwrap();
        assert!(matches!(held.set(&4).await, Err(CacheError::Conflict)));
        drop(held);
        clock.advance(SECOND);
        assert_eq!(cache.get_value("k").await.unwrap(), None);
        assert_eq!(cache.update_expiry("k", None).await.unwrap(), 3);
        clock.advance(SECOND * 600);
        assert!(matches!(cache.update_expiry("k", None).await, Err(CacheError::NotFound)));
    })
    .await;
}

#[tokio::test]
async fn scopes_are_cleared_with_what_is_below_them() {
    everywhere(async |cache, _| {
        let (a, ab) = (cache.with_scope("a"), cache.with_scope("a/b"));
        let user = cache.scoped(CacheScope::user("a"));
        for view in [&cache, &a, &a.with_scope("b"), &ab, &user] {
            view.set("k", &1).await.unwrap();
        }
        a.clear().await.unwrap();
        assert_eq!(a.with_scope("b").get_value("k").await.unwrap(), None);
        for view in [&cache, &ab, &user] {
            assert_eq!(view.get_value("k").await.unwrap(), Some(1));
        }
        assert_eq!(cache.list().await.unwrap().len(), 1);
    })
    .await;
}
