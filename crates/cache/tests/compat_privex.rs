//! Privex's `AsyncCacheAdapter`, method by method: the rows of docs/cache-migration.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use common::{SECOND, memory, space};
use larder_cache::compat::{AsyncCacheAdapter, CacheAdapters};
use larder_cache::{CacheError, CacheSpace};
use larder_core::{ErrorKind, ManualClock};

const DEFAULT: Option<u64> = AsyncCacheAdapter::<u32>::TIMEOUT;

async fn adapter() -> (AsyncCacheAdapter<u32>, ManualClock) {
    let (space, clock) = space().await;
    (AsyncCacheAdapter::new(space.cache()), clock)
}

#[tokio::test]
async fn get_default_and_fail() {
    let (cache, _) = adapter().await;
    assert_eq!(cache.get("k", None, false).await.unwrap(), None);
    assert_eq!(cache.get("k", Some(9), false).await.unwrap(), Some(9));
    assert!(matches!(cache.get("k", Some(9), true).await, Err(CacheError::NotFound)));
    cache.set("k", &1, DEFAULT).await.unwrap();
    assert_eq!(cache.get("k", Some(9), true).await.unwrap(), Some(1));
}

#[tokio::test]
async fn get_of_a_stored_nothing_is_a_hit() {
    let (space, _) = space().await;
    let cache = AsyncCacheAdapter::new(space.cache::<Option<u32>>());
    cache.set("k", &None, DEFAULT).await.unwrap();
    assert_eq!(cache.get("k", Some(Some(9)), true).await.unwrap(), Some(None));
}

#[tokio::test]
async fn set_with_a_timeout_of_300_seconds_by_default() {
    let (cache, clock) = adapter().await;
    assert_eq!(DEFAULT, Some(300));
    cache.set("k", &1, DEFAULT).await.unwrap();
    clock.advance(SECOND * 299);
    assert_eq!(cache.get("k", None, false).await.unwrap(), Some(1));
    clock.advance(SECOND);
    assert_eq!(cache.get("k", None, false).await.unwrap(), None);
}

#[tokio::test]
async fn set_with_no_timeout_never_expires() {
    let (cache, clock) = adapter().await;
    cache.set("k", &1, None).await.unwrap();
    clock.advance(SECOND * 1_000_000_000);
    assert_eq!(cache.get("k", None, false).await.unwrap(), Some(1));
}

#[tokio::test]
async fn set_with_a_timeout_of_zero_is_over_at_once() {
    let (cache, _) = adapter().await;
    cache.set("k", &1, Some(0)).await.unwrap();
    assert_eq!(cache.get("k", None, false).await.unwrap(), None);
}

#[tokio::test]
async fn get_or_set_with_a_value() {
    let (cache, clock) = adapter().await;
    assert_eq!(cache.get_or_set("k", 1, Some(10)).await.unwrap(), 1);
    assert_eq!(cache.get_or_set("k", 2, Some(10)).await.unwrap(), 1);
    clock.advance(SECOND * 10);
    assert_eq!(cache.get_or_set("k", 3, None).await.unwrap(), 3);
}

#[tokio::test]
async fn get_or_set_with_a_function_of_the_key_called_once_and_awaited() {
    let (space, clock) = space().await;
    let cache = AsyncCacheAdapter::new(space.cache::<String>());
    let calls = Arc::new(AtomicU32::new(0));
    for _ in 0..2 {
        let counted = calls.clone();
        let hello = async move |key: Arc<str>| {
            counted.fetch_add(1, SeqCst);
            format!("hello {key} world")
        };
        let value = cache.get_or_set_async("example", hello, Some(300)).await.unwrap();
        assert_eq!(value, "hello example world");
    }
    assert_eq!(calls.load(SeqCst), 1);
    clock.advance(SECOND * 300);
    assert_eq!(cache.get("example", None, false).await.unwrap(), None);
}

#[tokio::test]
async fn get_or_set_with_an_awaitable() {
    let (adapter, _) = adapter().await;
    let cache = adapter.cache();
    assert_eq!(cache.get_or_set_future("k", async { 1 }).await.unwrap(), 1);
    let unpolled = async { panic!("a hit wants no value") };
    assert_eq!(cache.get_or_set_future::<u32>("k", unpolled).await.unwrap(), 1);
    assert_eq!(adapter.get("k", None, true).await.unwrap(), Some(1));
}

#[tokio::test]
async fn get_or_set_async_of_five_at_once_runs_one_loader() {
    let (cache, _) = adapter().await;
    let calls = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = (0..5)
        .map(|_| {
            let (cache, calls) = (cache.clone(), calls.clone());
            tokio::spawn(async move {
                let loader = async move |_| {
                    tokio::task::yield_now().await;
                    calls.fetch_add(1, SeqCst)
                };
                cache.get_or_set_async("k", loader, DEFAULT).await.unwrap()
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 0);
    }
    assert_eq!(calls.load(SeqCst), 1);
}

#[tokio::test]
async fn remove_tells_whether_all_existed() {
    let (cache, _) = adapter().await;
    cache.set("a", &1, None).await.unwrap();
    cache.set("b", &1, None).await.unwrap();
    assert!(cache.remove(&["a"]).await.unwrap());
    assert!(!cache.remove(&["a", "b"]).await.unwrap());
    assert_eq!(cache.get("b", None, false).await.unwrap(), None);
}

#[tokio::test]
async fn update_timeout_of_a_live_an_expired_and_a_missing_key() {
    let (cache, clock) = adapter().await;
    cache.set("example", &1, Some(60)).await.unwrap();
    clock.advance(SECOND * 70);
    assert_eq!(cache.get("example", None, false).await.unwrap(), None);
    assert_eq!(cache.update_timeout("example", Some(60)).await.unwrap(), 1);
    assert_eq!(cache.get("example", None, false).await.unwrap(), Some(1));
    assert_eq!(cache.update_timeout("example", DEFAULT).await.unwrap(), 1);
    clock.advance(SECOND * 299);
    assert_eq!(cache.get("example", None, false).await.unwrap(), Some(1));
    assert!(matches!(cache.update_timeout("missing", DEFAULT).await, Err(CacheError::NotFound)));
}

#[tokio::test]
async fn connect_close_and_reconnect() {
    let (cache, _) = adapter().await;
    cache.connect().await.unwrap();
    cache.close().await.unwrap();
    let closed = cache.get("k", None, false).await.unwrap_err();
    assert_eq!(closed.store_kind(), Some(ErrorKind::Closed));
    cache.reconnect().await.unwrap();
    cache.set("k", &1, None).await.unwrap();
}

#[tokio::test]
async fn entering_reconnects_and_leaving_closes() {
    const {
        assert!(AsyncCacheAdapter::<u32>::ADAPTER_ENTER_RECONNECT);
        assert!(AsyncCacheAdapter::<u32>::ADAPTER_EXIT_CLOSE);
    }
    let (cache, _) = adapter().await;
    cache.close().await.unwrap();
    let value = cache.with(async |cache| cache.get_or_set("k", 1, None).await).await;
    assert_eq!(value.unwrap().unwrap(), 1);
    assert!(cache.get("k", None, false).await.is_err());
}

#[tokio::test]
async fn enter_reconnect_and_exit_close_for_one_instance() {
    let space = CacheSpace::builder(memory().0)
        .reconnect_on_enter(false)
        .close_on_exit(false)
        .build()
        .await
        .unwrap();
    let cache = AsyncCacheAdapter::new(space.cache::<u32>());
    cache.with(async |cache| cache.set("k", &1, None).await).await.unwrap().unwrap();
    assert_eq!(cache.get("k", None, false).await.unwrap(), Some(1));
}

#[test]
fn index_access_without_a_runtime() {
    let cache = AsyncCacheAdapter::new(CacheSpace::new(memory().0).cache::<u32>());
    let blocking = cache.cache().blocking().unwrap();
    blocking.at("k").set(1).unwrap();
    assert_eq!(blocking.at("k").get().unwrap(), Some(1));
}

#[tokio::test]
async fn a_registry_of_adapters_with_aliases() {
    let adapters = CacheAdapters::new();
    let ((one, _), (two, _)) = (adapter().await, adapter().await);
    assert!(adapters.set("one", one).is_none());
    assert!(adapters.set("two", two).is_none());
    assert!(adapters.alias("default", "one"));
    assert!(!adapters.alias("x", "missing"));
    adapters.get("default").unwrap().set("k", &1, None).await.unwrap();
    assert_eq!(adapters.get("one").unwrap().get("k", None, false).await.unwrap(), Some(1));
    let two = adapters.clone().get("two").unwrap();
    assert_eq!(two.get("k", None, false).await.unwrap(), None, "instances share nothing");
    assert!(adapters.get("missing").is_none());
}
