//! `Namespaced` over a flat store, and forwarding handles.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{MapStore, Picky, assert_answers, assert_closed, kind};
use futures_util::TryStreamExt;
use larder_core::{
    Capabilities, Condition, Cursor, DeleteOptions, ErrorKind, GetOptions, Namespaced,
    NamespacedStore, SetItem, SetOptions, Store, StoreExt, forward_store,
};

fn assert_shareable<T: Send + Sync + std::fmt::Debug>() {}

#[test]
fn handles_cross_threads() {
    assert_shareable::<Arc<dyn Store>>();
    assert_shareable::<Arc<dyn NamespacedStore>>();
    assert_shareable::<Namespaced<MapStore>>();
    assert_shareable::<larder_core::Error>();
}

#[tokio::test]
async fn namespaces_are_kept_apart_from_each_other_and_from_foreign_keys() {
    let flat = MapStore::new();
    let root = Namespaced::new(flat.clone()).unwrap();
    flat.set("larderx:k", "foreign").await.unwrap();
    flat.set("k", "foreign").await.unwrap();
    let paths: [&[&str]; 7] =
        [&[], &["foo"], &["foobar"], &["a", "b:c"], &["a:b", "c"], &["a/b"], &["a", "b"]];
    for (index, path) in paths.iter().enumerate() {
        let store = root.with_path(path).unwrap();
        store.set("k", index.to_string()).await.unwrap();
        assert_eq!(store.namespace().segments().collect::<Vec<_>>(), *path);
    }
    for (index, path) in paths.iter().enumerate() {
        let value = root.with_path(path).unwrap().get("k").await.unwrap().unwrap();
        assert_eq!(value, index.to_string());
    }
    root.with_namespace("foo").unwrap().delete_all().await.unwrap();
    assert!(root.with_namespace("foobar").unwrap().exists("k").await.unwrap());
    let mut children: Vec<String> = root.namespaces().try_collect().await.unwrap();
    children.sort();
    assert_eq!(children, ["a", "a/b", "a:b", "foobar"]);
    let keys: Vec<String> = root.list("").try_collect().await.unwrap();
    assert_eq!(keys, ["k"]);
    root.delete_all().await.unwrap();
    assert_eq!(flat.physical_keys(), ["k", "larderx:k"]);
}

#[tokio::test]
async fn what_larder_cannot_have_named_is_no_namespace_and_stays() {
    let flat = MapStore::new();
    let root = Namespaced::new(flat.clone()).unwrap();
    root.with_path(&["a", "b"]).unwrap().set("k", "v").await.unwrap();
    let too_long = format!("larder/{}:k", "x".repeat(256));
    let foreign = ["larder/", "larder/%41:k", "larder/a//b:k", "larder/a/:k", "larder/name"];
    for key in foreign.iter().copied().chain([&*too_long]) {
        flat.set(key, "foreign").await.unwrap();
    }
    let children: Vec<String> = root.namespaces().try_collect().await.unwrap();
    assert_eq!(children, ["a"]);
    root.with_namespace("a").unwrap().delete_all().await.unwrap();
    root.delete_all().await.unwrap();
    assert_eq!(flat.physical_keys().len(), foreign.len() + 1);
    assert!(root.namespaces().try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_namespace_refuses_what_the_store_below_does_not_declare() {
    let limits = Capabilities::new().with_list(true).with_max_value_len(4);
    let flat = MapStore::with_capabilities(limits);
    let child = Namespaced::new(flat).unwrap().with_namespace("a").unwrap();
    let condition = SetOptions::default().with_condition(Condition::Absent);
    let version = GetOptions::default().with_version(true);
    let matches = DeleteOptions::default().with_condition(Condition::Present);
    let none = SetOptions::default();
    let large = SetItem::new("k", "12345");
    for (error, expected) in [
        (child.set_opts("k", "12345".into(), none).await.map(drop), ErrorKind::TooLarge),
        (child.set_opts("k", "v".into(), condition).await.map(drop), ErrorKind::Unsupported),
        (child.get_opts("k", version).await.map(drop), ErrorKind::Unsupported),
        (child.delete_opts("k", matches).await.map(drop), ErrorKind::Unsupported),
        (child.set_many(vec![large]).await.map(drop), ErrorKind::TooLarge),
    ] {
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.key()), (expected, Some("k")), "{error}");
    }
}

#[tokio::test]
async fn a_namespace_answers_as_the_store_below_it() {
    let flat = MapStore::new();
    let root = Namespaced::new(flat.clone()).unwrap();
    assert_answers(&root, &flat.clock).await;
    let child = root.with_path(&["a", "b:c"]).unwrap();
    let sibling = root.with_path(&["a", "b"]).unwrap();
    for store in [&root as &dyn Store, &sibling, &flat] {
        store.set("p:0", "untouched").await.unwrap();
    }
    assert_answers(&child, &flat.clock).await;
    for store in [&root as &dyn Store, &sibling, &flat] {
        assert_eq!(store.get("p:0").await.unwrap().unwrap(), "untouched");
    }
}

#[tokio::test]
async fn a_prefix_reaches_no_key_of_a_child() {
    let root = Namespaced::new(MapStore::new()).unwrap();
    let child = root.with_namespace("child").unwrap();
    for key in ["", "a", "child", "child:k"] {
        root.set(key, "").await.unwrap();
        child.set(key, "").await.unwrap();
    }
    assert_eq!(root.delete_prefix("child").await.unwrap(), 2);
    assert_eq!(root.delete_prefix("").await.unwrap(), 2);
    let keys: Vec<String> = child.list("").try_collect().await.unwrap();
    assert_eq!(keys, ["", "a", "child", "child:k"]);
}

#[tokio::test]
async fn children_are_listed_page_by_page() {
    let root = Namespaced::new(MapStore::new()).unwrap();
    for path in [&["a"][..], &["b", "deep"], &["c/d"]] {
        let store = root.with_path(path).unwrap();
        store.set("k", "").await.unwrap();
        store.set("l", "").await.unwrap();
    }
    let mut found = Vec::new();
    let mut cursor = None;
    for _ in 0..20 {
        let page = root.list_child_namespaces(cursor.as_ref(), 1).await.unwrap();
        assert!(page.segments.len() <= 1);
        found.extend(page.segments);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(cursor, None);
    found.dedup();
    assert_eq!(found, ["a", "b", "c/d"]);
}

#[tokio::test]
async fn a_refusal_names_the_operation_and_the_backend() {
    let small = MapStore::with_capabilities(
        Capabilities::new().with_list(true).with_max_key_len("larder/child:".len()),
    );
    let root = Namespaced::new(small).unwrap();
    let child = root.with_namespace("child").unwrap();
    let foreign = Cursor::from_bytes("foreign");
    let none = Capabilities::new();
    for (error, kind, operation) in [
        (
            child.list_child_namespaces(Some(&foreign), 1).await.unwrap_err(),
            ErrorKind::InvalidCursor,
            "list_child_namespaces",
        ),
        (child.with_namespace("x").unwrap_err(), ErrorKind::InvalidNamespace, "with_namespace"),
        (
            Namespaced::with_root(MapStore::new(), "").unwrap_err(),
            ErrorKind::InvalidNamespace,
            "open",
        ),
        (
            Namespaced::new(MapStore::with_capabilities(none)).unwrap_err(),
            ErrorKind::Unsupported,
            "open",
        ),
        (
            Namespaced::new(MapStore::with_capabilities(none.with_list(true).with_max_key_len(5)))
                .unwrap_err(),
            ErrorKind::InvalidNamespace,
            "open",
        ),
    ] {
        assert_eq!((error.kind(), error.operation()), (kind, Some(operation)));
        assert_eq!(error.backend(), Some("namespaced"));
    }
}

#[tokio::test]
async fn a_failure_names_the_key_that_the_caller_gave() {
    let root = Namespaced::new(Picky::new("bad", ErrorKind::Corrupt)).unwrap();
    let child = root.with_namespace("child").unwrap();
    let keys = ["good", "bad"];
    let items = keys.map(|key| SetItem::new(key, "v")).to_vec();
    let set = child.set_many(items).await.unwrap();
    let got = child.get_many(&keys).await.unwrap();
    let deleted = child.delete_many(&keys).await.unwrap().outcomes;
    assert!(set[0].is_ok() && got[0].is_ok() && deleted[0].is_ok());
    let errors = [
        child.get("bad").await.unwrap_err(),
        child.set("bad", "").await.unwrap_err(),
        child.delete("bad").await.unwrap_err(),
        child.exists("bad").await.unwrap_err(),
        child.expires_in("bad").await.unwrap_err(),
        set[1].clone().unwrap_err(),
        got[1].clone().unwrap_err(),
        deleted[1].clone().unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some("bad")));
    }
}

#[tokio::test]
async fn a_namespace_purges_only_where_expired_keys_go_by_themselves() {
    let lists = Capabilities::new().with_list(true);
    let over = |flat| Namespaced::new(MapStore::with_capabilities(flat)).unwrap();
    let native = over(lists.with_purge(true).with_native_expiry(true));
    assert!(native.capabilities().purge);
    assert_eq!(native.delete_expired().await.unwrap(), 0);
    for flat in [lists, lists.with_purge(true), lists.with_native_expiry(true)] {
        let store = over(flat);
        assert!(!store.capabilities().purge);
        assert_eq!(kind(store.delete_expired().await), ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn keys_have_the_length_that_the_prefix_leaves() {
    let flat =
        MapStore::with_capabilities(Capabilities::new().with_list(true).with_max_key_len(20));
    let root = Namespaced::new(flat).unwrap();
    assert_eq!(root.capabilities().max_key_len, 20 - "larder:".len());
    let child = root.with_namespace("child").unwrap();
    assert_eq!(child.capabilities().max_key_len, 20 - "larder/child:".len());
    child.set("1234567", "").await.unwrap();
    let error = child.set("12345678", "").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidKey, Some("12345678")));
    assert_eq!(kind(root.with_namespace("very far too long")), ErrorKind::InvalidNamespace);
    assert_eq!(
        kind(Namespaced::new(MapStore::with_capabilities(Capabilities::new()))),
        ErrorKind::Unsupported
    );
}

#[tokio::test]
async fn closing_a_child_leaves_the_store_open() {
    let root = Namespaced::new(MapStore::new()).unwrap();
    let (child, again) = (root.with_namespace("a").unwrap(), root.with_namespace("a").unwrap());
    let grandchild = child.with_namespace("b").unwrap();
    child.close().await.unwrap();
    child.close().await.unwrap();
    assert_eq!(kind(child.get("k").await), ErrorKind::Closed);
    assert_eq!(kind(grandchild.get("k").await), ErrorKind::Closed);
    assert_eq!(kind(child.with_namespace("c")), ErrorKind::Closed);
    again.set("k", "v").await.unwrap();
    root.close().await.unwrap();
    assert_eq!(kind(again.get("k").await), ErrorKind::Closed);
    assert_eq!(kind(root.inner().get("k").await), ErrorKind::Closed);
}

#[tokio::test]
async fn a_closed_namespace_refuses_every_call() {
    let flat = MapStore::new();
    let root = Namespaced::new(flat.clone()).unwrap();
    let (child, sibling) = (root.with_namespace("a").unwrap(), root.with_namespace("b").unwrap());
    child.close().await.unwrap();
    assert_closed(&child).await;
    assert_eq!(kind(child.list_child_namespaces(None, 1).await), ErrorKind::Closed);
    assert_eq!(kind(child.delete_expired().await), ErrorKind::Closed);
    assert_answers(&sibling, &flat.clock).await;
    flat.close().await.unwrap();
    assert_closed(&sibling).await;
}

#[derive(Debug)]
struct Layer<S> {
    inner: S,
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for Layer<S> {
    forward_store!(inner);
}

#[tokio::test]
async fn handles_and_layers_hand_on_every_method() {
    let store = MapStore::new();
    let layered: Box<dyn Store> = Box::new(Layer { inner: Arc::new(&store) });
    assert_answers(&layered, &store.clock).await;
    layered.set("k", "v").await.unwrap();
    assert_eq!(layered.get_many(&["k", "-"]).await.unwrap().len(), 2);
    assert_eq!(layered.delete_prefix("k").await.unwrap(), 1);
    assert_eq!(layered.capabilities(), store.capabilities());
    assert_eq!(kind(layered.delete_expired().await), ErrorKind::Unsupported);
    layered.close().await.unwrap();
    assert_closed(&layered).await;
    assert_eq!(kind(store.exists("k").await), ErrorKind::Closed);
}
