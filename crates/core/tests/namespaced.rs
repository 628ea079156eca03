//! `Namespaced` over a flat store, and forwarding handles.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{MapStore, kind};
use futures_util::TryStreamExt;
use larder_core::{
    Capabilities, ErrorKind, Namespaced, NamespacedStore, Store, StoreExt, forward_store,
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
    layered.set("k", "v").await.unwrap();
    assert_eq!(layered.get_many(&["k", "-"]).await.unwrap().len(), 2);
    assert_eq!(layered.delete_prefix("k").await.unwrap(), 1);
    assert_eq!(layered.capabilities(), store.capabilities());
    assert_eq!(kind(layered.delete_expired().await), ErrorKind::Unsupported);
    layered.close().await.unwrap();
    assert_eq!(kind(store.exists("k").await), ErrorKind::Closed);
}
