//! What the feature `test-util` offers to tests of applications.
#![cfg(all(feature = "test-util", feature = "memory"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use larder::testing::{Call, Fault, Faulty};
use larder::{ErrorKind, StoreExt};

#[tokio::test]
async fn a_store_fails_when_told_to() {
    let store = Faulty::new(Arc::new(larder::memory::MemoryStore::new()));
    store.plan(Call::Set, 1, Fault::Fail(ErrorKind::StorageFull));
    assert_eq!(store.set("k", "v").await.unwrap_err().kind(), ErrorKind::StorageFull);
    store.set("k", "v").await.unwrap();
    assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
}
