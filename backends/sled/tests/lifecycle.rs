//! Opening, sharing and closing a path.

mod common;

use std::fs;
use std::time::Duration;

use larder_core::{Durability, ErrorKind, Result, SetItem, Store, StoreExt};
use larder_sled::SledStore;
use tempfile::tempdir;

fn kind(outcome: Result<SledStore>) -> ErrorKind {
    outcome.expect_err("the store should not open").kind()
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_path_is_locked() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("store");
    let store = SledStore::builder(&path).build().await.unwrap();
    assert_eq!(kind(SledStore::builder(&path).build().await), ErrorKind::Locked);
    // By another name, too.
    let other = directory.path().join("./store/../store");
    assert_eq!(kind(SledStore::builder(&other).build().await), ErrorKind::Locked);
    store.set("k", "v").await.unwrap();
    store.close().await.unwrap();
    let again = SledStore::builder(&other).build().await.unwrap();
    assert_eq!(again.get("k").await.unwrap().unwrap(), "v");
    again.close().await.unwrap();
}

#[tokio::test]
async fn a_path_that_someone_else_has_open_is_locked() {
    let directory = tempdir().unwrap();
    let db = common::open_raw(directory.path());
    let outcome = SledStore::builder(directory.path()).build().await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.is_retryable());
    common::close_raw(db, directory.path());
    SledStore::builder(directory.path()).build().await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn an_absent_store_is_created_only_when_asked_for() {
    let directory = tempdir().unwrap();
    for path in [directory.path().join("absent"), directory.path().to_owned()] {
        let outcome = SledStore::builder(&path).create(false).build().await;
        assert_eq!(kind(outcome), ErrorKind::NotFound);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let path = directory.path().join("created");
    SledStore::builder(&path).build().await.unwrap().close().await.unwrap();
    SledStore::builder(&path).create(false).build().await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn what_is_not_sleds_is_refused_and_left_alone() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("db"), "somebody else's").unwrap();
    fs::write(directory.path().join("notes.txt"), "somebody else's").unwrap();
    let outcome = SledStore::builder(directory.path()).build().await;
    assert_eq!(kind(outcome), ErrorKind::InvalidConfig);
    let file = directory.path().join("notes.txt");
    assert_eq!(kind(SledStore::builder(&file).build().await), ErrorKind::InvalidConfig);
    assert_eq!(kind(SledStore::builder("").build().await), ErrorKind::InvalidConfig);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    for name in ["db", "notes.txt"] {
        let text = fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(text, "somebody else's");
    }
}

#[tokio::test]
async fn settings_that_sled_cannot_have_are_refused_before_anything_is_made() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("store");
    let builder = SledStore::builder(&path);
    let powerful = builder.clone().durability(Durability::PowerLoss);
    for builder in [powerful, builder.cache_capacity((64 << 10) - 1)] {
        let error = builder.build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!((error.operation(), error.backend()), (Some("open"), Some("sled")));
    }
    assert!(!path.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_it_creates_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempdir().unwrap();
    let path = directory.path().join("store");
    let store = SledStore::builder(&path).build().await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_dropped_without_closing_keeps_everything_and_opens_again() {
    let directory = tempdir().unwrap();
    for durability in [Durability::ProcessCrash, Durability::Volatile] {
        for round in 0..10_u8 {
            let builder = SledStore::builder(directory.path()).durability(durability);
            let store = builder.build().await.unwrap();
            if round > 0 {
                let value = store.get("k").await.unwrap().unwrap();
                assert_eq!(value, vec![round - 1; 9_000]);
            }
            store.set("k", vec![round; 9_000]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn unflushed_writes_reach_the_disk_before_long() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("store");
    let builder = SledStore::builder(&path).durability(Durability::Volatile);
    let store = builder.build().await.unwrap();
    store.set("k", "v").await.unwrap();
    for attempt in 0.. {
        let copy = directory.path().join(format!("copy {attempt}"));
        common::copy_directory(&path, &copy);
        let crashed = SledStore::builder(&copy).build().await.unwrap();
        let found = crashed.get("k").await.unwrap();
        crashed.close().await.unwrap();
        if found.is_some() {
            break;
        }
        assert!(attempt < 1_000, "nothing was flushed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.close().await.unwrap();
}

#[test]
fn a_store_outlives_the_runtime_that_opened_it() {
    let directory = tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = runtime().block_on(SledStore::builder(directory.path()).build()).unwrap();
    for round in 0..5 {
        let runtime = runtime();
        // A waiter that the end of its runtime cancels leaves the others their flushes.
        let waiting = store.clone();
        runtime.spawn(async move { waiting.set("other", "v").await });
        let key = format!("k{round}");
        runtime.block_on(async { store.set(&key, "v").await }).unwrap();
    }
    let last = runtime();
    let keys: Vec<_> = (0..5).map(|round| format!("k{round}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    for value in last.block_on(store.get_many(&keys)).unwrap() {
        assert_eq!(value.unwrap().unwrap(), "v");
    }
    last.block_on(store.close()).unwrap();
}

#[tokio::test]
async fn cancelled_waiters_leave_the_others_unharmed() {
    let directory = tempdir().unwrap();
    let store = SledStore::builder(directory.path()).build().await.unwrap();
    for round in 0..50 {
        let cancelled: Vec<_> = (0..8)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move { store.set(&format!("cancelled {task}"), "v").await })
            })
            .collect();
        tokio::task::yield_now().await;
        let key = format!("k{round}");
        let set = store.set(&key, "v").into_future();
        cancelled.iter().for_each(tokio::task::JoinHandle::abort);
        set.await.unwrap();
    }
    assert_eq!(store.list_page("k", None, 100).await.unwrap().keys.len(), 50);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_path_of_a_store_is_absolute() {
    let directory = tempdir().unwrap();
    let store = SledStore::builder(directory.path()).build().await.unwrap();
    assert!(store.path().is_absolute());
    store.close().await.unwrap();
}

#[tokio::test]
async fn large_values_leave_nothing_behind() {
    let directory = tempdir().unwrap();
    let store = SledStore::builder(directory.path()).build().await.unwrap();
    let large = vec![7; 300_000];
    let items = ["a", "b", "c"].map(|key| SetItem::new(key, large.clone()));
    for outcome in store.set_many(items.into()).await.unwrap() {
        assert!(outcome.unwrap().is_applied());
    }
    store.set("a", "small now").await.unwrap();
    assert!(!store.set("b", large.clone()).if_absent().await.unwrap().is_applied());
    assert!(store.delete("b").await.unwrap());
    store.set("c", large).ttl(Duration::ZERO).await.unwrap();
    store.close().await.unwrap();
    let db = common::open_raw(directory.path());
    let tree = db.open_tree("larder.large.1").unwrap();
    let left: Vec<_> =
        tree.iter().keys().map(Result::unwrap).filter(|key| key != b"clean").collect();
    assert!(left.is_empty(), "{} chunks", left.len());
    drop(tree);
    common::close_raw(db, directory.path());
}
