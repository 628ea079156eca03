//! Files that Litestar wrote, and what Litestar does to a root that Larder uses.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::path::Path;
use std::time::Duration;

use larder_core::{
    ExpiresIn, ManualClock, Namespace, NamespacedStore, StorageObject, Store, StoreExt,
};
use larder_file::FileStore;

async fn open(root: &Path, clock: &ManualClock) -> FileStore {
    FileStore::builder(root).clock(clock.clone()).build().await.unwrap()
}

/// Writes a value as Litestar does.
fn write(root: &Path, segments: &[&str], key: &str, object: &StorageObject) {
    let namespace = Namespace::from_segments(segments).unwrap();
    let path = common::file_of(root, &namespace, key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, object.to_bytes()).unwrap();
}

fn expiring(clock: &ManualClock, data: &'static str, seconds: i64) -> StorageObject {
    use larder_core::Clock;
    let span = chrono::TimeDelta::seconds(seconds);
    StorageObject::new(data, Some(clock.now() + span))
}

#[tokio::test]
async fn keys_lie_where_litestar_looks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &ManualClock::new()).await;
    let text = include_str!("data/file_store_paths.json");
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let cases = file["files"].as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let list = case["namespace"].as_array().unwrap();
        let segments: Vec<&str> = list.iter().map(|segment| segment.as_str().unwrap()).collect();
        let key = case["key"].as_str().unwrap();
        let namespace = store.with_path(&segments).unwrap();
        namespace.set(key, "v").await.unwrap();
        let bytes = std::fs::read(folder.path().join(case["path"].as_str().unwrap())).unwrap();
        assert_eq!(StorageObject::from_bytes(bytes).unwrap().data, "v");
    }
}

#[tokio::test]
async fn its_files_are_got_renewed_cleared_and_purged_but_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let store = open(folder.path(), &clock).await;
    write(folder.path(), &[], "lasting", &StorageObject::new("a", None));
    write(folder.path(), &[], "renewed", &expiring(&clock, "b", 60));
    write(folder.path(), &["sessions"], "dying", &expiring(&clock, "c", 60));

    assert_eq!(store.get("lasting").await.unwrap().unwrap(), "a");
    assert_eq!(store.expires_in("renewed").await.unwrap(), ExpiresIn::In(Duration::from_secs(60)));
    let page = store.list_page("", None, 10).await.unwrap();
    assert_eq!((page.keys.len(), page.unlisted), (0, 2));

    let got = store.get("renewed").renew_for(Duration::from_secs(600)).await.unwrap();
    assert_eq!(got.unwrap(), "b");
    let page = store.list_page("", None, 10).await.unwrap();
    assert_eq!((page.keys, page.unlisted), (vec!["renewed".to_owned()], 1));

    clock.advance(Duration::from_secs(60));
    assert_eq!(store.delete_expired().await.unwrap(), 1);
    store.delete_all().await.unwrap();
    assert!(!store.exists("lasting").await.unwrap());
}

#[tokio::test]
async fn lock_files_are_values_that_never_expire() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &ManualClock::new()).await;
    for key in ["a", "b", "c"] {
        store.set(key, "v").await.unwrap();
    }
    store.delete_all().await.unwrap();
    // What Litestar's `delete_expired` does with every file of the root: it reads it.
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let object = StorageObject::from_bytes(bytes).unwrap();
        assert_eq!(object.expires_at, None);
        files += 1;
    }
    assert_eq!(files, 3, "one lock file for each of the three stripes, and nothing else");
}

#[tokio::test]
async fn a_root_that_was_removed_and_made_again_goes_on_working() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let store = open(&root, &ManualClock::new()).await;
    let other = open(&root, &ManualClock::new()).await;
    let child = store.with_path(&["a", "b"]).unwrap();
    for round in 0..3 {
        store.set("key", "old").await.unwrap();
        child.set("key", "old").await.unwrap();
        // What Litestar's `delete_all` does.
        std::fs::remove_dir_all(&root).unwrap();
        if round != 1 {
            std::fs::create_dir(&root).unwrap();
        }
        assert_eq!(store.get("key").await.unwrap(), None);
        assert!(!child.exists("key").await.unwrap());
        assert_eq!(store.list_page("", None, 10).await.unwrap().keys.len(), 0);
        child.set("key", "new").await.unwrap();
        assert_eq!(store.with_path(&["a", "b"]).unwrap().get("key").await.unwrap().unwrap(), "new");
        // A second store, which has locks of its own, sees and respects the first one's.
        let created = other.with_path(&["a", "b"]).unwrap().set("key", "x").if_absent().await;
        assert!(!created.unwrap().is_applied());
    }
}
