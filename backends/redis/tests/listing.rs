//! Listing over SCAN, whose answers are of any length and whose cursors may be asked again (`C3`,
//! `C4`).

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Root, Server, run};
use larder_core::{Cursor, ErrorKind, NamespacedStore, SetItem, Store, StoreExt};
use larder_redis::{RedisStore, redis};

/// Fills a store with the keys `k0`, `k1`, ….
async fn fill(store: &dyn Store, count: usize) -> BTreeSet<String> {
    let keys: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
    let items = keys.iter().map(|key| SetItem::new(key, "v")).collect();
    for outcome in store.set_many(items).await.unwrap() {
        outcome.unwrap();
    }
    keys.into_iter().collect()
}

/// All pages, each of which must be within the limit; how often each key came.
async fn pages(store: &dyn Store, limit: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = store.list_page("", cursor.as_ref(), limit).await.unwrap();
        assert!(page.keys.len() <= limit);
        for key in page.keys {
            *seen.entry(key).or_insert(0) += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            return seen;
        }
    }
}

#[tokio::test]
async fn pages_of_every_size_give_every_key() {
    let root = Root::new();
    let store = root.store().await;
    let child = store.with_namespace("child").unwrap();
    let keys = fill(&store, 700).await;
    fill(&*child, 50).await;
    for limit in [1, 2, 3, 7, 100, 699, 700, 701, 5000, usize::MAX] {
        let seen = pages(&store, limit).await;
        assert!(seen.keys().eq(keys.iter()), "limit {limit}");
    }
    let error = store.list_page("", None, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn keys_that_stay_are_given_while_others_come_and_go() {
    // A server of its own: its tables grow and shrink with this test alone.
    let server = Server::start(&[]).await;
    let store = Arc::new(RedisStore::builder(server.url()).build().await.unwrap());
    let keys = fill(&*store, 150).await;
    let stop = Arc::new(AtomicBool::new(false));
    let churn = tokio::spawn({
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        async move {
            let names: Vec<String> = (0..1500).map(|number| format!("x{number}")).collect();
            while !stop.load(Ordering::Relaxed) {
                let items = names.iter().map(|name| SetItem::new(name, "v")).collect();
                store.set_many(items).await.unwrap();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                store.delete_many(&names).await.unwrap();
            }
        }
    });
    for limit in [1, 2, 5, 50, 1000] {
        let seen = pages(&*store, limit).await;
        let missed: Vec<_> = keys.iter().filter(|key| !seen.contains_key(*key)).collect();
        assert!(missed.is_empty(), "limit {limit}: {missed:?}");
    }
    stop.store(true, Ordering::Relaxed);
    churn.await.unwrap();
}

#[tokio::test]
async fn a_listing_goes_on_in_another_process_and_over_a_restart() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let open = || async { RedisStore::builder(server_url(server.port)).build().await.unwrap() };
    let store = open().await;
    let keys = fill(&store, 500).await;
    let first = store.list_page("", None, 100).await.unwrap();
    // Another handle knows nothing but the cursor's bytes.
    let carried = Cursor::from_bytes(first.next.unwrap().as_bytes().to_vec());
    let second = open().await.list_page("", Some(&carried), 100).await.unwrap();
    assert!(!second.keys.is_empty());
    let mut seen: BTreeSet<String> = first.keys.into_iter().chain(second.keys).collect();
    // A restarted server hashes anew: its old cursors would miss keys.
    server.kill();
    server.start_again().await;
    let mut cursor = second.next;
    while let Some(at) = cursor {
        let page = store.list_page("", Some(&at), 100).await.unwrap();
        seen.extend(page.keys);
        cursor = page.next;
    }
    assert_eq!(seen, keys);
}

fn server_url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

#[tokio::test]
async fn a_sparse_namespace_is_found_among_much_else() {
    let server = Server::start(&[]).await;
    let other = RedisStore::builder(server.url()).namespace("other").build().await.unwrap();
    fill(&other, 20_000).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let keys = fill(&store, 5).await;
    for limit in [1, 10, 1000] {
        assert!(pages(&store, limit).await.keys().eq(keys.iter()));
    }
    assert_eq!(store.delete_prefix("k").await.unwrap(), 5);
    store.delete_all().await.unwrap();
    assert_eq!(pages(&other, 1000).await.len(), 20_000);
}

#[tokio::test]
async fn pages_of_one_cost_about_as_much_as_what_they_walk() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let other = RedisStore::builder(server.url()).namespace("other").build().await.unwrap();
    fill(&other, 20_000).await;
    let keys = fill(&store, 40).await;
    let mut connection = store.connection().await.unwrap();
    let _: () = run(&mut connection, &[b"CONFIG", b"RESETSTAT"]).await;
    assert!(pages(&store, 1).await.keys().eq(keys.iter()));
    let stats: String = run(&mut connection, &[b"INFO", b"commandstats"]).await;
    let calls = stats.split_once("cmdstat_scan:calls=").unwrap().1.split(',').next().unwrap();
    // About ten to reach each key, and as many where a stretch is walked again.
    let calls: usize = calls.parse().unwrap();
    assert!(calls < keys.len() * 30, "{calls} scans for {} keys", keys.len());
}

#[tokio::test]
async fn children_are_found_at_any_depth() {
    let root = Root::new();
    let store = root.store().await;
    let names = ["a", "b:/%", "é", "..", "*"];
    for (number, name) in names.iter().enumerate() {
        let child = store.with_namespace(name).unwrap();
        let deep = if number % 2 == 0 { child } else { child.with_path(&["x", "y"]).unwrap() };
        fill(&*deep, 40).await;
    }
    store.set("own", "v").await.unwrap();
    let expected: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
    for limit in [1, 2, 100] {
        let mut seen = BTreeSet::new();
        let mut cursor = None;
        loop {
            let page = store.list_child_namespaces(cursor.as_ref(), limit).await.unwrap();
            assert!(page.segments.len() <= limit);
            seen.extend(page.segments);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "limit {limit}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_listing_is_refused() {
    let root = Root::new();
    let store = root.store().await;
    fill(&store, 300).await;
    let child = store.with_namespace("child").unwrap();
    fill(&*child, 300).await;
    let keys = store.list_page("", None, 10).await.unwrap().next.unwrap();
    let children = fill_children(&store).await;
    let stranger = Root::new();
    let other = stranger.store().await;
    let refused = [
        other.list_page("", Some(&keys), 10).await.unwrap_err(),
        child.list_page("", Some(&keys), 10).await.unwrap_err(),
        store.list_page("k", Some(&keys), 10).await.unwrap_err(),
        store.list_page("", Some(&children), 10).await.unwrap_err(),
        store.list_child_namespaces(Some(&keys), 10).await.unwrap_err(),
        store.list_page("", Some(&Cursor::from_bytes("garbage")), 10).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::InvalidCursor, "{error}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_server_is_refused_over_borrowed_connections() {
    let (one, other) = (Server::start(&[]).await, Server::start(&[]).await);
    let lent = async |server: &Server| {
        let client = redis::Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let store = RedisStore::builder_with_connection(connection).build().await.unwrap();
        fill(&store, 300).await;
        store
    };
    let (one, other) = (lent(&one).await, lent(&other).await);
    let cursor = one.list_page("", None, 10).await.unwrap().next.unwrap();
    one.clone().list_page("", Some(&cursor), 10).await.unwrap();
    let error = other.list_page("", Some(&cursor), 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidCursor, "{error}");
}

async fn fill_children(store: &RedisStore) -> Cursor {
    for number in 0..100 {
        let child = store.with_namespace(&format!("c{number}")).unwrap();
        child.set("k", "v").await.unwrap();
    }
    store.list_child_namespaces(None, 10).await.unwrap().next.unwrap()
}

#[tokio::test]
async fn clearing_lets_others_in_between() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    fill(&store, 30_000).await;
    let mut connection = store.connection().await.unwrap();
    let _: () = run(&mut connection, &[b"CONFIG", b"RESETSTAT"]).await;
    store.delete_all().await.unwrap();
    let info: String = run(&mut connection, &[b"INFO", b"commandstats"]).await;
    let calls = |command: &str| -> u32 {
        let line = info.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        line.map_or(0, |line| {
            line.split("calls=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap()
        })
    };
    assert_eq!(calls("keys") + calls("flushdb") + calls("flushall"), 0);
    // Steps of about a thousand keys, one call for each.
    let steps = calls("eval") + calls("evalsha");
    assert!((15..=80).contains(&steps), "{steps} steps");
    assert_eq!(run::<u64>(&mut connection, &[b"DBSIZE"]).await, 0);
}
