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
