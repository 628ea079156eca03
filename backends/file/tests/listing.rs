//! Listings that go on in another store on the same root, as they do in another process.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::path::Path;

use larder_core::{Cursor, Durability, NamespacedStore, Store, StoreExt};
use larder_file::FileStore;

async fn open(root: &Path) -> FileStore {
    FileStore::builder(root).durability(Durability::ProcessCrash).build().await.unwrap()
}

async fn fill(store: &dyn Store, name: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        store.set(&format!("{name} {number}"), "v").await.unwrap();
    }
}

/// The first page, and where the listing goes on.
async fn begin(store: &dyn Store, limit: usize) -> (Vec<String>, Option<Cursor>) {
    let page = store.list_page("", None, limit).await.unwrap();
    (page.keys, page.next)
}

/// Adds the pages that follow.
async fn finish(store: &dyn Store, (mut keys, mut next): (Vec<String>, Option<Cursor>)) -> usize {
    while let Some(cursor) = next {
        let page = store.list_page("", Some(&cursor), 7).await.unwrap();
        keys.extend(page.keys);
        next = page.next;
    }
    keys.sort();
    keys.dedup();
    keys.len()
}

#[tokio::test]
async fn listings_of_two_namespaces_do_not_take_each_others_names() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()).await, open(folder.path()).await);
    for name in ["x", "y"] {
        fill(&*one.with_namespace(name).unwrap(), name, 0..30).await;
    }
    let [x, y] = ["x", "y"].map(|name| two.with_namespace(name).unwrap());
    let of_x = begin(&*one.with_namespace("x").unwrap(), 2).await;
    let of_y = begin(&*y, 2).await;
    // The second store goes on with the listing that the first one began, and then with its own.
    assert_eq!(finish(&*x, of_x).await, 30);
    assert_eq!(finish(&*y, of_y).await, 30);
}

#[tokio::test]
async fn a_listing_does_not_go_on_from_an_older_one_of_another_store() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()).await, open(folder.path()).await);
    fill(&one, "key", 0..5).await;
    let given_up = begin(&two, 1).await;
    fill(&one, "key", 5..50).await;
    let begun = begin(&one, 1).await;
    assert_eq!(finish(&two, begun).await, 50);
    assert!(finish(&two, given_up).await >= 5);
}

#[tokio::test]
async fn a_listing_goes_on_after_a_restart_whatever_was_listed_since() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    fill(&store, "key", 0..50).await;
    let begun = begin(&store, 1).await;
    store.close().await.unwrap();
    let again = open(folder.path()).await;
    let other = again.with_namespace("other").unwrap();
    fill(&*other, "other", 0..50).await;
    begin(&*other, 1).await;
    assert_eq!(finish(&again, begun).await, 50);
}

#[tokio::test]
async fn children_of_two_namespaces_are_not_mixed_up() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()).await, open(folder.path()).await);
    for parent in ["p", "q"] {
        for number in 0..6 {
            let child = one.with_path(&[parent, &format!("{parent}{number}")]).unwrap();
            child.set("key", "v").await.unwrap();
        }
    }
    let p = one.with_namespace("p").unwrap().list_child_namespaces(None, 1).await.unwrap();
    two.with_namespace("q").unwrap().list_child_namespaces(None, 1).await.unwrap();
    let (mut children, mut next) = (p.segments, p.next);
    let same = two.with_namespace("p").unwrap();
    while let Some(cursor) = next {
        let page = same.list_child_namespaces(Some(&cursor), 2).await.unwrap();
        children.extend(page.segments);
        next = page.next;
    }
    children.sort();
    assert_eq!(children, ["p0", "p1", "p2", "p3", "p4", "p5"]);
}
