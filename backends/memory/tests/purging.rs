//! Purging a whole store finds the expired entries of every namespace.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use larder_core::{ManualClock, NamespacedStore, Store, StoreExt};
use larder_memory::MemoryStore;

#[tokio::test]
async fn namespaces_due_at_the_same_moment_are_all_purged() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let second = Duration::from_secs(1);
    for index in 0..50 {
        let child = store.with_namespace(&format!("namespace {index}")).unwrap();
        child.set("k", "v").ttl(second).await.unwrap();
        child.set("kept", "v").await.unwrap();
    }
    clock.advance(second);
    assert_eq!(store.delete_expired().await.unwrap(), 50);
    assert_eq!(store.delete_expired().await.unwrap(), 0);
}

#[tokio::test]
async fn the_last_deadline_counts_be_it_earlier_or_later() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(100));
    for (key, first, last) in [("sooner", long, short), ("later", short, long)] {
        store.set(key, "v").ttl(first).await.unwrap();
        store.set(key, "v").ttl(last).await.unwrap();
        let updated = format!("{key}, by an update");
        store.set(&updated, "v").ttl(first).await.unwrap();
        assert!(store.update_expiry(&updated, last.into()).await.unwrap());
    }
    clock.advance(short);
    assert_eq!(store.delete_expired().await.unwrap(), 2, "the sooner ones");
    clock.advance(long);
    assert_eq!(store.delete_expired().await.unwrap(), 2, "the later ones");
}
