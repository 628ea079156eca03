//! Dara's `Store` and `CacheStore`, method by method: the rows of docs/cache-migration.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{Oops, SECOND, memory, settle, space};
use larder_cache::compat::{DaraCacheStore, DaraGet, DaraStore};
use larder_cache::{
    CacheBuilder, CacheError, CacheResult, CacheScope, Policy, RegistryEntry, ScopeContext,
};
use larder_core::{ErrorKind, ExpiresIn, ManualClock, NamespacedStore};
use larder_file::FileStore;
use tokio::task::JoinHandle;

const GLOBAL: CacheScope = CacheScope::Global;

async fn store() -> (DaraStore<u32>, ManualClock) {
    let (space, clock) = space().await;
    (DaraStore::new(&space.cache()), clock)
}

async fn wait(store: &DaraStore<u32>) -> JoinHandle<CacheResult<Option<u32>>> {
    let store = store.clone();
    let waiting = tokio::spawn(async move { store.get_or_wait("k", &GLOBAL).await });
    settle().await;
    assert!(!waiting.is_finished());
    waiting
}

#[tokio::test]
async fn store_get_and_set() {
    let (store, clock) = store().await;
    assert!(matches!(store.get("k", &GLOBAL).await.unwrap(), DaraGet::Missing));
    store.set("k", &1, &GLOBAL).await.unwrap();
    clock.advance(SECOND * 1_000_000_000);
    assert!(matches!(store.get("k", &GLOBAL).await.unwrap(), DaraGet::Value(1)), "for ever");
}

#[tokio::test]
async fn store_cache_type() {
    let (store, _) = store().await;
    let fill = async {
        store.set("k", &1, &CacheScope::Session).await.unwrap();
        store.set("k", &2, &CacheScope::User).await.unwrap();
        store.set("k", &3, &GLOBAL).await.unwrap();
        assert_eq!(store.get_or_wait("k", &CacheScope::Session).await.unwrap(), Some(1));
        assert_eq!(store.get_or_wait("k", &CacheScope::User).await.unwrap(), Some(2));
        assert_eq!(store.get_or_wait("k", &GLOBAL).await.unwrap(), Some(3));
    };
    ScopeContext::new().session("x").user("x").run(fill).await;
    let outside = store.get("k", &CacheScope::Session).await;
    assert!(matches!(outside, Err(CacheError::NoScope)), "never silently global");
}

#[tokio::test]
async fn store_get_of_a_pending_key_gives_what_can_be_awaited() {
    let (store, _) = store().await;
    store.set_pending_value("k", &GLOBAL).await.unwrap();
    let DaraGet::Pending(value) = store.get("k", &GLOBAL).await.unwrap() else { panic!() };
    store.set("k", &1, &GLOBAL).await.unwrap();
    assert_eq!(value.wait().await.unwrap(), Some(1));
}

#[tokio::test]
async fn store_get_or_wait() {
    let (store, _) = store().await;
    assert_eq!(store.get_or_wait("k", &GLOBAL).await.unwrap(), None, "nothing to wait for");
    store.set_pending_value("k", &GLOBAL).await.unwrap();
    let waiting = [wait(&store).await, wait(&store).await];
    store.set("k", &1, &GLOBAL).await.unwrap();
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap().unwrap(), Some(1));
    }
}

#[tokio::test]
async fn store_set_with_error() {
    let (store, _) = store().await;
    store.set_pending_value("k", &GLOBAL).await.unwrap();
    let waiting = wait(&store).await;
    assert!(store.set_error("k", Oops(1), &GLOBAL).await.unwrap());
    assert!(matches!(waiting.await.unwrap(), Err(CacheError::Load(_))));
    assert_eq!(store.get_or_wait("k", &GLOBAL).await.unwrap(), None, "not cached");
}

#[tokio::test]
async fn store_set_pending_value_twice_takes_the_waiters_over() {
    let (store, _) = store().await;
    store.set_pending_value("k", &GLOBAL).await.unwrap();
    let first = wait(&store).await;
    store.set_pending_value("k", &GLOBAL).await.unwrap();
    let second = wait(&store).await;
    store.set("k", &1, &GLOBAL).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap(), Some(1));
    assert_eq!(second.await.unwrap().unwrap(), Some(1));
}

#[tokio::test]
async fn store_set_pending_task() {
    let (store, clock) = store().await;
    let (send, receive) = tokio::sync::oneshot::channel::<Result<u32, Oops>>();
    let task = tokio::spawn(async move { receive.await.unwrap() });
    store.set_pending_task("k", task, &GLOBAL).await.unwrap();
    let waiting = wait(&store).await;
    send.send(Ok(1)).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Some(1));
    clock.advance(SECOND * 1_000_000);
    assert!(matches!(store.get("k", &GLOBAL).await.unwrap(), DaraGet::Value(1)), "for ever");

    let task = tokio::spawn(async { Err::<u32, _>(Oops(1)) });
    store.set_pending_task("k", task, &GLOBAL).await.unwrap();
    let failed = store.get_or_wait("k", &GLOBAL).await;
    assert!(matches!(failed, Err(CacheError::Load(_)) | Ok(None)));

    let task = tokio::spawn(std::future::pending::<Result<u32, Oops>>());
    let abort = task.abort_handle();
    store.set_pending_task("k", task, &GLOBAL).await.unwrap();
    let waiting = wait(&store).await;
    abort.abort();
    assert!(matches!(waiting.await.unwrap(), Err(CacheError::Cancelled)));
}

#[tokio::test]
async fn store_remove_starting_with() {
    let (store, _) = store().await;
    for key in ["a", "ab", "b"] {
        store.set(key, &1, &GLOBAL).await.unwrap();
    }
    store.set_pending_value("k", &GLOBAL).await.unwrap();
    let waiting = wait(&store).await;
    store.remove_starting_with("a", &GLOBAL).await.unwrap();
    assert_eq!(store.list(&GLOBAL).await.unwrap(), ["b", "k"]);
    store.remove_starting_with("", &GLOBAL).await.unwrap();
    assert!(store.list(&GLOBAL).await.unwrap().is_empty());
    assert!(matches!(waiting.await.unwrap(), Err(CacheError::Abandoned)));
}

#[tokio::test]
async fn store_empty_stores() {
    let (store, _) = store().await;
    let user = CacheScope::user("u");
    store.set("a", &1, &GLOBAL).await.unwrap();
    store.set("a", &1, &user).await.unwrap();
    store.set_pending_value("k", &GLOBAL).await.unwrap();
    let waiting = wait(&store).await;
    store.empty_stores(false).await.unwrap();
    assert_eq!(store.list(&GLOBAL).await.unwrap(), ["k"]);
    assert!(store.list(&user).await.unwrap().is_empty());
    store.empty_stores(true).await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(CacheError::Abandoned)), "nobody hangs");
    assert!(store.list(&GLOBAL).await.unwrap().is_empty());
}

#[tokio::test]
async fn store_list() {
    let (store, _) = store().await;
    store.set("b", &1, &GLOBAL).await.unwrap();
    store.set("other", &1, &CacheScope::session("s")).await.unwrap();
    store.set_pending_value("a", &GLOBAL).await.unwrap();
    assert_eq!(store.list(&GLOBAL).await.unwrap(), ["a", "b"]);
    assert_eq!(store.list(&CacheScope::session("s")).await.unwrap(), ["other"]);
}

fn cache_store() -> DaraCacheStore<u32> {
    DaraCacheStore::new(memory().0)
}

fn entry(policy: Policy) -> RegistryEntry {
    RegistryEntry::new("entry", policy)
}

#[tokio::test]
async fn cache_store_get_set_and_delete() {
    let store = cache_store();
    let lru = entry(Policy::Lru { max: 10 });
    assert_eq!(store.get(&lru, "k", false).await.unwrap(), None);
    store.set(&lru, "k", &1, false).await.unwrap();
    assert_eq!(store.get(&lru, "k", false).await.unwrap(), Some(1));
    assert_eq!(store.delete(&lru, "k").await.unwrap(), Some(1), "the old value");
    assert_eq!(store.delete(&lru, "k").await.unwrap(), None);
}

#[tokio::test]
async fn cache_store_over_what_other_processes_share() {
    let folder = tempfile::tempdir().unwrap();
    let files: Arc<dyn NamespacedStore> =
        Arc::new(FileStore::builder(folder.path()).build().await.unwrap());
    let lru = entry(Policy::Lru { max: 1 });
    let strict = DaraCacheStore::<u32>::new(files.clone());
    let refused = strict.set(&lru, "k", &1, false).await.unwrap_err();
    assert_eq!(refused.store_kind(), Some(ErrorKind::InvalidConfig));
    let store = DaraCacheStore::<u32>::with_settings(files, CacheBuilder::per_process);
    for key in ["a", "b"] {
        store.set(&lru, key, &1, false).await.unwrap();
    }
    let left = store.entry(&lru).await.unwrap().cache().list().await.unwrap();
    assert_eq!(left.iter().map(|it| &*it.key).collect::<Vec<_>>(), ["b"]);
    let life = store.entry(&lru).await.unwrap().cache().get("b").await.unwrap().unwrap();
    assert_eq!(life.expires_in(), ExpiresIn::Never);
}

#[tokio::test]
async fn cache_store_set_with_pin_and_get_with_unpin() {
    let store = cache_store();
    let lru = entry(Policy::Lru { max: 1 });
    store.set(&lru, "p", &1, true).await.unwrap();
    store.set(&lru, "k", &2, false).await.unwrap();
    assert_eq!(store.get(&lru, "k", false).await.unwrap(), None, "all else is pinned");
    assert!(matches!(store.set(&lru, "q", &3, true).await, Err(CacheError::Refused(_))));
    assert_eq!(store.get(&lru, "p", true).await.unwrap(), Some(1));
    store.set(&lru, "k", &2, false).await.unwrap();
    assert_eq!(store.get(&lru, "p", false).await.unwrap(), None);
}

#[tokio::test]
async fn cache_store_pending_and_error() {
    let store = cache_store();
    let all = entry(Policy::KeepAll);
    let wait = || {
        let (store, all) = (store.clone(), all.clone());
        tokio::spawn(async move { store.get_or_wait(&all, "k").await })
    };
    store.set_pending(&all, "k").await.unwrap();
    let waiting = wait();
    settle().await;
    store.set(&all, "k", &1, false).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Some(1));
    store.set_pending(&all, "k").await.unwrap();
    let waiting = wait();
    settle().await;
    assert!(store.set_error(&all, "k", Oops(1)).await.unwrap());
    assert!(matches!(waiting.await.unwrap(), Err(CacheError::Load(_))));
}

#[tokio::test]
async fn cache_store_clear_ignores_pins() {
    let store = cache_store();
    let ttl = entry(Policy::Ttl { ttl: SECOND });
    store.set(&ttl, "k", &1, true).await.unwrap();
    store.clear().await.unwrap();
    assert_eq!(store.get(&ttl, "k", false).await.unwrap(), None);
}

#[tokio::test]
async fn cache_store_delete_of_a_pinned_entry_works_under_every_policy() {
    for policy in
        [Policy::KeepAll, Policy::Lru { max: 10 }, Policy::MostRecent, Policy::Ttl { ttl: SECOND }]
    {
        let store = cache_store();
        store.set(&entry(policy), "k", &1, true).await.unwrap();
        assert_eq!(store.delete(&entry(policy), "k").await.unwrap(), Some(1), "{policy:?}");
    }
}

#[tokio::test]
async fn cache_impl_for_policy() {
    for (policy, left) in [
        (Policy::KeepAll, [true, true, true]),
        (Policy::Lru { max: 2 }, [false, true, true]),
        (Policy::MostRecent, [false, false, true]),
        (Policy::S3Fifo { max: 2 }, [false, true, true]),
    ] {
        let space = larder_cache::cache_for_policy(memory().0, policy).build().await.unwrap();
        let cache = space.cache::<u32>();
        for key in ["a", "b", "c"] {
            cache.set(key, &1).await.unwrap();
        }
        for (key, left) in ["a", "b", "c"].iter().zip(left) {
            assert_eq!(cache.get_value(key).await.unwrap().is_some(), left, "{policy:?} {key}");
        }
    }
}
