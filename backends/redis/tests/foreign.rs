//! What is not ours stays as it is, and what is ours by name but not by kind is told (`K3`, `N1`,
//! `N2`, `R3`, `R4`).

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use std::collections::BTreeSet;

use common::{Root, run};
use larder_core::{
    Condition, DeleteOptions, ErrorKind, ExpiresIn, Expiry, NamespacedStore, SetOptions, Store,
    StoreExt, Version,
};
use larder_redis::{RedisConnection, RedisStore};

async fn exists(connection: &mut RedisConnection, key: &[u8]) -> bool {
    run(connection, &[b"EXISTS", key]).await
}

#[tokio::test]
async fn keys_are_where_litestar_looks_for_them() {
    let root = Root::new();
    let store = root.store().await;
    let mut connection = store.connection().await.unwrap();
    store.set("session", "v").await.unwrap();
    store.with_path(&["a b", "c:d/e%"]).unwrap().set("k/:", "w").await.unwrap();
    let name = &root.name;
    let value: Vec<u8> =
        run(&mut connection, &[b"GET", format!("{name}:session").as_bytes()]).await;
    assert_eq!(value, b"v");
    let path = format!("{name}/a b/c%3Ad%2Fe%25:k/:");
    let value: Vec<u8> = run(&mut connection, &[b"GET", path.as_bytes()]).await;
    assert_eq!(value, b"w");
    // What Litestar writes, we read, and its expiry with it.
    let key = format!("{name}:theirs");
    let _: () = run(&mut connection, &[b"SET", key.as_bytes(), b"x", b"EX", b"60"]).await;
    assert_eq!(store.get("theirs").await.unwrap().as_deref(), Some(&b"x"[..]));
    assert!(matches!(store.expires_in("theirs").await.unwrap(), ExpiresIn::In(_)));
}

#[tokio::test]
async fn clearing_leaves_neighbours_and_foreign_names() {
    let root = Root::named("*?[a-z]\\^");
    let name = root.name.clone();
    // Names that the pattern of the root would match if it were taken for one.
    let plain = name[..name.len() - 9].to_owned();
    let neighbours = [
        format!("{name}2:k"),
        name.clone(),
        format!("{name}x"),
        format!("{plain}XYq\\^:k"),
        format!("{plain}*?b\\^:k"),
        format!("x{name}:k"),
        format!("{name}_child:k"),
        // Below the root, and yet no name that Larder writes.
        format!("{name}/"),
        format!("{name}/a"),
        format!("{name}/a/b"),
        format!("{name}/:k"),
        format!("{name}/a/:k"),
        format!("{name}//a:k"),
        format!("{name}/%41:k"),
        format!("{name}/%%252F:k"),
    ];
    let store = root.store().await;
    let mut connection = store.connection().await.unwrap();
    for key in &neighbours {
        let _: () = run(&mut connection, &[b"SET", key.as_bytes(), b"theirs"]).await;
    }
    let child = store.with_namespace("a").unwrap();
    let deep = store.with_path(&["a", "b:/%"]).unwrap();
    let handles: [&dyn NamespacedStore; 3] = [&store, &*child, &*deep];
    for handle in handles {
        for key in ["", "k", "*", ":", "/a:k"] {
            handle.set(key, "ours").await.unwrap();
        }
    }
    assert_eq!(child.delete_prefix("*").await.unwrap(), 1);
    assert!(deep.exists("*").await.unwrap() && store.exists("*").await.unwrap());
    child.delete_all().await.unwrap();
    for key in ["", "k", ":", "/a:k"] {
        assert!(!child.exists(key).await.unwrap() && !deep.exists(key).await.unwrap());
        assert!(store.exists(key).await.unwrap(), "{key:?}");
    }
    assert_eq!(store.list_page("", None, 100).await.unwrap().keys.len(), 5);
    assert!(store.list_child_namespaces(None, 100).await.unwrap().segments.is_empty());
    store.delete_all().await.unwrap();
    assert!(store.list_page("", None, 100).await.unwrap().keys.is_empty());
    for key in &neighbours {
        assert!(exists(&mut connection, key.as_bytes()).await, "{key:?} was touched");
        let _: () = run(&mut connection, &[b"DEL", key.as_bytes()]).await;
    }
}

/// Keys that a store of ours can just have named, and such as it cannot, as they go on after the name
/// of a namespace that is one deep and has one byte.
fn names_at_the_limits() -> [Vec<String>; 2] {
    let path = |segments: usize, last: &str| {
        [vec!["x".repeat(200).as_str(); segments].join("/"), last.to_owned()].join("/")
    };
    let named = vec![
        format!(":{}", "k".repeat(4_096)),
        format!("/a:{}", "k".repeat(4_096)),
        format!("/{}:k", "%25".repeat(255)),
        format!("/b/{}:k", "x".repeat(255)),
        format!("/{}:k", vec!["a"; 31].join("/")),
        // 2,048 bytes, the namespace's own included.
        format!("/{}:k", path(10, &"x".repeat(47))),
    ];
    let foreign = vec![
        format!(":{}", "k".repeat(4_097)),
        format!("/a:{}", "k".repeat(4_097)),
        format!("/{}:k", "%25".repeat(256)),
        format!("/b/{}:k", "x".repeat(256)),
        format!("/{}:k", vec!["f"; 32].join("/")),
        format!("/f{}:k", &path(10, &"x".repeat(47))),
    ];
    [named, foreign]
}

#[tokio::test]
async fn names_beyond_the_limits_are_neither_listed_nor_cleared() {
    let root = Root::new();
    let store = root.store().await;
    let mut connection = store.connection().await.unwrap();
    let namespace = store.with_namespace("n").unwrap();
    let [named, foreign] = names_at_the_limits()
        .map(|names| names.into_iter().map(|name| format!("{}/n{name}", root.name)).collect());
    let (named, foreign): (Vec<String>, Vec<String>) = (named, foreign);
    let fill = async |connection: &mut RedisConnection| {
        for key in named.iter().chain(&foreign) {
            let _: () = run(connection, &[b"SET", key.as_bytes(), b"v"]).await;
        }
    };
    fill(&mut connection).await;

    let keys = namespace.list_page("", None, 100).await.unwrap().keys;
    assert_eq!(keys.iter().map(String::len).collect::<Vec<_>>(), [4_096]);
    assert!(namespace.get(&keys[0]).await.unwrap().is_some());
    let children = namespace.list_child_namespaces(None, 100).await.unwrap().segments;
    let expected = ["a".to_owned(), "%".repeat(255), "b".to_owned(), "x".repeat(200)];
    assert_eq!(BTreeSet::from_iter(&children), BTreeSet::from_iter(&expected));
    for child in children {
        namespace.with_namespace(&child).unwrap();
    }
    let left = async |connection: &mut RedisConnection, keys: &[String]| {
        let mut left = 0;
        for key in keys {
            left += usize::from(exists(connection, key.as_bytes()).await);
        }
        left
    };
    assert_eq!(namespace.delete_prefix("k").await.unwrap(), 1);
    assert_eq!(left(&mut connection, &named).await, named.len() - 1);
    // From the namespace, and from the root, where it counts as one more.
    for clear in [&*namespace as &dyn Store, &store] {
        fill(&mut connection).await;
        clear.delete_all().await.unwrap();
        assert_eq!(left(&mut connection, &named).await, 0);
        assert_eq!(left(&mut connection, &foreign).await, foreign.len());
    }
    for key in &foreign {
        let _: () = run(&mut connection, &[b"DEL", key.as_bytes()]).await;
    }
}

#[tokio::test]
async fn a_key_that_holds_no_string_is_corrupt_and_can_be_replaced() {
    let root = Root::new();
    let store = root.store().await;
    let mut connection = store.connection().await.unwrap();
    let physical = format!("{}:k", root.name);
    let make = [&b"RPUSH"[..], physical.as_bytes(), b"item"];
    let _: () = run(&mut connection, &make).await;

    for error in [
        store.get("k").await.unwrap_err(),
        store.get_entry("k").await.unwrap_err(),
        store.get("k").renew_for(std::time::Duration::from_secs(1)).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some("k")), "{error}");
    }
    store.set("other", "v").await.unwrap();
    let values = store.get_many(&["other", "k", "missing", "k"]).await.unwrap();
    assert_eq!(values[0].as_ref().unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(values[1].as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(values[2].as_ref().unwrap(), &None);
    assert_eq!(values[3].as_ref().unwrap_err().key(), Some("k"));

    assert!(store.exists("k").await.unwrap());
    assert_eq!(store.expires_in("k").await.unwrap(), ExpiresIn::Never);
    assert!(store.update_expiry("k", Expiry::Never).await.unwrap());
    assert_eq!(store.list_page("k", None, 10).await.unwrap().keys, ["k"]);
    assert!(!store.set("k", "v").if_absent().await.unwrap().is_applied());
    let version = Version::new("item");
    assert!(!store.set("k", "v").if_matches(version.clone()).await.unwrap().is_applied());
    let options = DeleteOptions::default().with_condition(Condition::Matches(version));
    assert!(!store.delete_opts("k", options).await.unwrap());
    assert!(store.delete("k").await.unwrap());
    let _: () = run(&mut connection, &make).await;
    store.set("k", "v").keep_ttl().await.unwrap();
    assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
}

#[tokio::test]
async fn names_that_are_no_text_are_passed_over() {
    let root = Root::new();
    let store = root.store().await;
    let mut connection = store.connection().await.unwrap();
    let key = [root.name.as_bytes(), b":\xff\xfe"].concat();
    let child = [root.name.as_bytes(), b"/\xff:k"].concat();
    for key in [&key, &child] {
        let _: () = run(&mut connection, &[b"SET", key, b"x"]).await;
    }
    store.set("k", "v").await.unwrap();
    assert_eq!(store.list_page("", None, 10).await.unwrap().keys, ["k"]);
    assert!(store.list_child_namespaces(None, 10).await.unwrap().segments.is_empty());
    for key in [&key, &child] {
        let _: () = run(&mut connection, &[b"DEL", key]).await;
    }
}

#[tokio::test]
async fn raw_keys_are_used_as_they_are_and_nothing_wide_is_done() {
    let root = Root::new();
    let raw = RedisStore::builder(&root.url).raw_keys().build().await.unwrap();
    let key = format!("{}:k", root.name);
    raw.set(&key, "v").await.unwrap();
    assert_eq!(root.store().await.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    let capabilities = raw.capabilities();
    assert!(!capabilities.list && !capabilities.purge);
    assert!(capabilities.conditions && capabilities.renew);
    let refused = [
        raw.delete_all().await.unwrap_err(),
        raw.delete_prefix("x").await.unwrap_err(),
        raw.delete_expired().await.unwrap_err(),
        raw.list_page("", None, 1).await.unwrap_err(),
        raw.list_child_namespaces(None, 1).await.unwrap_err(),
        raw.with_namespace("x").unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(error.backend(), Some("redis"));
    }
    let options = SetOptions::default().with_condition(Condition::Present);
    assert!(raw.set_opts(&key, "w".into(), options).await.unwrap().is_applied());
    assert!(raw.delete(&key).await.unwrap());
    let error = RedisStore::builder(&root.url).raw_keys().namespace("x").build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}
