//! P3: one cache per registry entry, one policy instance per scope.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{Oops, SECOND, memory, settle};
use larder_cache::{CacheError, CacheScope, CacheStore, Policy, RegistryEntry, ScopeContext};
use larder_core::{ErrorKind, StoreExt};

fn store() -> CacheStore<u32> {
    CacheStore::new(memory().0)
}

fn lru(name: &str, max: u64) -> RegistryEntry {
    RegistryEntry::new(name, Policy::Lru { max })
}

#[tokio::test]
async fn entries_have_keys_and_policies_of_their_own() {
    let store = store();
    let (a, b) = (lru("a", 1), lru("b", 2));
    for key in ["x", "y", "z"] {
        store.set(&a, key, &1).await.unwrap();
        store.set(&b, key, &2).await.unwrap();
    }
    assert_eq!(store.get(&a, "y").await.unwrap(), None);
    assert_eq!(store.get(&b, "y").await.unwrap(), Some(2));
    assert_eq!(store.get(&a, "z").await.unwrap(), Some(1));
    assert_eq!(store.delete(&a, "z").await.unwrap(), Some(1));
    assert_eq!(store.get(&b, "z").await.unwrap(), Some(2));
    let other = store.get(&lru("a", 9), "z").await.unwrap_err();
    assert_eq!(other.store_kind(), Some(ErrorKind::InvalidConfig), "one name, one policy");
    let bad = store.get(&lru("", 9), "z").await.unwrap_err();
    assert_eq!(bad.store_kind(), Some(ErrorKind::InvalidNamespace));
}

#[tokio::test]
async fn each_scope_has_an_instance_of_the_policy() {
    let store = store();
    let entry = lru("a", 2).scoped(CacheScope::User);
    assert!(matches!(store.set(&entry, "x", &1).await, Err(CacheError::NoScope)));
    for user in ["anna", "ben"] {
        let fill = async {
            for key in ["x", "y", "z"] {
                store.set(&entry, key, &1).await.unwrap();
            }
            assert_eq!(store.get(&entry, "x").await.unwrap(), None);
            assert_eq!(store.get(&entry, "y").await.unwrap(), Some(1));
        };
        ScopeContext::new().user(user).run(fill).await;
    }
    assert_eq!(store.entry(&entry).await.unwrap().cache().space().stats().entries, Some(4));
}

#[tokio::test]
async fn values_are_pinned_until_they_are_read_for_that() {
    let store = store();
    let entry = lru("a", 1);
    store.set(&entry, "x", &1).pin().await.unwrap();
    store.set(&entry, "y", &1).await.unwrap();
    assert_eq!(store.get(&entry, "y").await.unwrap(), None);
    assert_eq!(store.get(&entry, "x").unpin().await.unwrap(), Some(1));
    store.set(&entry, "y", &2).await.unwrap();
    assert_eq!(store.get(&entry, "x").await.unwrap(), None);
    store.set(&entry, "y", &3).pin().await.unwrap();
    assert_eq!(store.delete(&entry, "y").await.unwrap(), Some(3), "pinned or not");
}

#[tokio::test]
async fn pending_values_resolve_fail_and_are_emptied() {
    let store = store();
    let entry = lru("a", 5);
    let wait = || {
        let (store, entry) = (store.clone(), entry.clone());
        tokio::spawn(async move { store.get_or_wait(&entry, "k").await })
    };
    store.set_pending(&entry, "k").await.unwrap().detach();
    let waiting = wait();
    settle().await;
    assert_eq!(store.get(&entry, "k").await.unwrap(), None);
    store.set(&entry, "k", &7).ttl(SECOND).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Some(7));

    store.set_pending(&entry, "k").await.unwrap().detach();
    let waiting = wait();
    settle().await;
    assert!(store.set(&entry, "k", &0).error(Oops(1)).await.unwrap());
    assert!(matches!(waiting.await.unwrap(), Err(CacheError::Load(_))));
    assert_eq!(store.get_or_wait(&entry, "k").await.unwrap(), None);

    store.set_pending(&entry, "k").await.unwrap().detach();
    let waiting = wait();
    settle().await;
    store.clear().await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(CacheError::Abandoned)));
}

#[tokio::test]
async fn one_entry_has_the_calls_of_all() {
    let store = store();
    let entry = lru("a", 1);
    let caches = Arc::new(store.entry(&entry).await.unwrap());
    let wait = || {
        let caches = Arc::clone(&caches);
        tokio::spawn(async move { caches.get_or_wait("k").await })
    };
    caches.set("k", &1).ttl(SECOND).pin().await.unwrap();
    caches.set("other", &1).await.unwrap();
    assert_eq!(caches.get("other").await.unwrap(), None, "all else is pinned");
    assert_eq!(caches.get("k").unpin().await.unwrap(), Some(1));
    assert_eq!(store.get(&entry, "k").await.unwrap(), Some(1), "they are the same");
    for how in ["resolved", "set", "error", "failed", "deleted"] {
        let promise = caches.set_pending("k").await.unwrap();
        let waiting = wait();
        settle().await;
        match how {
            "resolved" => assert!(promise.resolve(2_u32).await.unwrap()),
            "set" => caches.set("k", &2).await.unwrap(),
            "error" => assert!(caches.set("k", &0).error(Oops(1)).await.unwrap()),
            "failed" => assert!(caches.set_error("k", Oops(1)).await.unwrap()),
            _ => assert_eq!(caches.delete("k").await.unwrap(), None),
        }
        let got = waiting.await.unwrap();
        let told = match how {
            "resolved" | "set" => matches!(got, Ok(Some(2))),
            "error" | "failed" => matches!(got, Err(CacheError::Load(_))),
            _ => matches!(got, Err(CacheError::Abandoned)),
        };
        assert!(told, "{how}: {got:?}");
    }
    caches.set("k", &3).await.unwrap();
    caches.clear().await.unwrap();
    assert_eq!(caches.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn clearing_empties_every_entry_and_nothing_beside() {
    let (backing, _) = memory();
    let first: CacheStore<u32> = CacheStore::new(backing.clone());
    first.set(&lru("a", 5), "k", &1).pin().await.unwrap();
    first.set(&lru("b", 5).scoped(CacheScope::user("u")), "k", &1).await.unwrap();
    let plain = larder_cache::CacheSpace::new(backing.clone()).cache::<u32>();
    plain.set("k", &2).await.unwrap();
    backing.set("own", "x").await.unwrap();
    // One that has used none of the entries.
    let second: CacheStore<u32> = CacheStore::new(backing.clone());
    second.set(&lru("c", 5), "k", &1).await.unwrap();
    second.clear().await.unwrap();
    assert_eq!(first.get(&lru("a", 5), "k").await.unwrap(), None);
    let b = lru("b", 5).scoped(CacheScope::user("u"));
    assert_eq!(first.get(&b, "k").await.unwrap(), None);
    assert_eq!(second.get(&lru("c", 5), "k").await.unwrap(), None);
    assert_eq!(plain.get_value("k").await.unwrap(), Some(2));
    assert!(backing.get("own").await.unwrap().is_some());
}

#[tokio::test]
async fn an_entry_that_was_refused_is_not_in_use() {
    let (backing, _) = memory();
    let first: CacheStore<u32> = CacheStore::new(backing.clone());
    first.set(&lru("a", 5), "k", &1).await.unwrap();
    let second: CacheStore<u32> = CacheStore::new(backing);
    let refused = second.get(&lru("a", 0), "k").await.unwrap_err();
    assert_eq!(refused.store_kind(), Some(ErrorKind::InvalidConfig));
    second.clear().await.unwrap();
    assert_eq!(first.get(&lru("a", 5), "k").await.unwrap(), None);
    assert_eq!(second.get(&lru("a", 5), "k").await.unwrap(), None, "no policy but this is its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_entry_is_made_once() {
    let store = store();
    let users: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.entry(&lru("a", 5)).await.unwrap() })
        })
        .collect();
    let first = store.entry(&lru("a", 5)).await.unwrap();
    for user in users {
        let caches = user.await.unwrap();
        caches.set("k", &1).await.unwrap();
        assert_eq!(first.get("k").await.unwrap(), Some(1));
        caches.clear().await.unwrap();
        assert_eq!(first.get_or_wait("k").await.unwrap(), None);
    }
    let _: &Arc<str> = &Arc::from(lru("a", 5).name());
}
