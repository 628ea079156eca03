//! Opening, closing and sharing connections, owned and borrowed (`S6`, `S7`).

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use std::time::Duration;

use common::{Root, Server, run};
use larder_core::{Capabilities, Durability, ErrorKind, NamespacedStore, SetItem, Store, StoreExt};
use larder_redis::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use larder_redis::redis::{AsyncConnectionConfig, Client};
use larder_redis::{RedisConnection, RedisStore, RedisStoreBuilder, redis};

const fn is_shareable<T: Send + Sync + Clone + std::fmt::Debug>() {}
const _: () = is_shareable::<RedisStore>();
const _: () = is_shareable::<RedisConnection>();

/// How many clients the server has, besides the one that asks.
async fn clients(server: &Server) -> usize {
    let client = Client::open(server.url()).unwrap();
    let mut connection =
        RedisConnection::from(client.get_multiplexed_async_connection().await.unwrap());
    let list: String = run(&mut connection, &[b"CLIENT", b"LIST"]).await;
    list.lines().count() - 1
}

#[tokio::test]
async fn connections_are_as_many_as_asked_for_and_gone_after_close() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).connections(3).build().await.unwrap();
    assert_eq!(clients(&server).await, 3);
    store.connect().await.unwrap();
    assert_eq!(clients(&server).await, 3, "connect is idempotent");
    let (clone, child) = (store.clone(), store.with_namespace("child").unwrap());
    let mut shown = store.connection().await.unwrap();
    child.set("k", "v").await.unwrap();
    clone.close().await.unwrap();
    while clients(&server).await > 0 {
        // Our ends are closed; the server sees it at its next turn.
    }
    assert!(redis::cmd("PING").query_async::<()>(&mut shown).await.is_err());
    for error in [
        store.get("k").await.unwrap_err(),
        child.get("k").await.unwrap_err(),
        child.get_many(&[]).await.unwrap_err(),
        store.set_many(vec![SetItem::new("k", "v")]).await.unwrap_err(),
        store.connect().await.unwrap_err(),
        store.connection().await.unwrap_err(),
        store.ping().await.unwrap_err(),
        store.with_namespace("x").unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    store.close().await.unwrap();
    store.reconnect().await.unwrap();
    assert_eq!(child.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(clients(&server).await, 3);
}

#[tokio::test]
async fn reconnecting_makes_new_connections_and_harms_no_call() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let id = async |store: &RedisStore| {
        let mut connection = store.connection().await.unwrap();
        run::<i64>(&mut connection, &[b"CLIENT", b"ID"]).await
    };
    let before = id(&store).await;
    server.signal("-STOP");
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.set(&number.to_string(), "v").await })
        })
        .collect();
    tokio::task::yield_now().await;
    server.signal("-CONT");
    store.reconnect().await.unwrap();
    for call in calls {
        assert!(call.await.unwrap().unwrap().is_applied());
    }
    assert!(id(&store).await > before);
    // A server that is away: the call fails, the store stays open and finds the next.
    let mut server = server;
    server.kill();
    assert_eq!(store.reconnect().await.unwrap_err().kind(), ErrorKind::Unavailable);
    server.start_again().await;
    store.ping().await.unwrap();
}

#[tokio::test]
async fn what_is_kept_for_a_dropped_write_ends_once_that_is_done() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let admin = RedisStore::builder(server.url()).build().await.unwrap();
    let mut admin = admin.connection().await.unwrap();
    for _ in 0..3 {
        let _: () = run(&mut admin, &[b"CLIENT", b"PAUSE", b"60000", b"WRITE"]).await;
        let mut write = Box::pin(store.set("k", "v").into_future());
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut write).await;
        assert!(waited.is_err());
        store.reconnect().await.unwrap();
        drop(write);
        let _: () = run(&mut admin, &[b"CLIENT", b"UNPAUSE"]).await;
    }
    store.reconnect().await.unwrap();
    // The store's own and the one that pauses.
    let gone = async { while clients(&server).await > 2 {} };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("connections stay open");
}

#[tokio::test]
async fn a_failed_reconnect_leaves_a_closed_store_without_connections() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).connections(3).build().await.unwrap();
    store.close().await.unwrap();
    let client = Client::open(server.url()).unwrap();
    let mut admin = RedisConnection::from(client.get_multiplexed_async_connection().await.unwrap());
    let clients = async |admin: &mut RedisConnection| {
        let list: String = run(admin, &[b"CLIENT", b"LIST"]).await;
        list.lines().count() - 1
    };
    while clients(&mut admin).await > 0 {}
    // There is room for two of the three.
    let _: () = run(&mut admin, &[b"CONFIG", b"SET", b"maxclients", b"3"]).await;
    assert_eq!(store.reconnect().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
    let gone = async { while clients(&mut admin).await > 0 {} };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("connections stay open");
    let _: () = run(&mut admin, &[b"CONFIG", b"SET", b"maxclients", b"100"]).await;
    store.reconnect().await.unwrap();
    assert_eq!(clients(&mut admin).await, 3);
}

#[tokio::test]
async fn a_closed_child_leaves_the_rest_open() {
    let root = Root::new();
    let store = root.store().await;
    let child = store.with_namespace("child").unwrap();
    let grandchild = child.with_namespace("x").unwrap();
    let again = store.with_namespace("child").unwrap();
    child.close().await.unwrap();
    child.close().await.unwrap();
    assert_eq!(child.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(grandchild.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
    again.set("k", "v").await.unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_borrowed_connection_is_used_and_never_closed() {
    let root = Root::new();
    let client = Client::open(root.url.as_str()).unwrap();
    let multiplexed = client.get_multiplexed_async_connection().await.unwrap();
    let manager = ConnectionManager::new(client).await.unwrap();
    let lent = [RedisConnection::from(multiplexed), RedisConnection::from(manager)];
    for mut theirs in lent {
        let store = RedisStore::builder_with_connection(theirs.clone())
            .namespace(&root.name)
            .build()
            .await
            .unwrap();
        store.set("k", "v").ttl(Duration::from_secs(60)).await.unwrap();
        assert!(store.get_entry("k").await.unwrap().is_some());
        assert_eq!(store.list_page("", None, 10).await.unwrap().keys, ["k"]);
        store.connect().await.unwrap();
        store.connection().await.unwrap();
        assert_eq!(store.reconnect().await.unwrap_err().kind(), ErrorKind::Unsupported);
        store.delete_all().await.unwrap();
        store.close().await.unwrap();
        store.close().await.unwrap();
        assert_eq!(store.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(store.connect().await.unwrap_err().kind(), ErrorKind::Closed);
        redis::cmd("PING").query_async::<()>(&mut theirs).await.unwrap();
    }
}

#[tokio::test]
async fn a_borrowed_connection_without_limits_does_not_hang() {
    let server = Server::start(&[]).await;
    let limit = Duration::from_millis(200);
    let client = Client::open(server.url()).unwrap();
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let multiplexed = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let config = ConnectionManagerConfig::new().set_response_timeout(None);
    let manager = ConnectionManager::new_with_config(client, config).await.unwrap();
    for theirs in [RedisConnection::from(multiplexed), RedisConnection::from(manager)] {
        let builder = RedisStore::builder_with_connection(theirs).response_timeout(limit);
        let lazy = builder.lazy(true).build().await.unwrap();
        lazy.set("k", "v").await.unwrap();
        server.signal("-STOP");
        assert_eq!(lazy.get("k").await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(lazy.connect().await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(lazy.set("k", "w").await.unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(lazy.close().await.unwrap_err().kind(), ErrorKind::Unknown);
        server.signal("-CONT");
    }
}

#[tokio::test]
async fn a_manager_that_reconnects_repeats_no_write() {
    let mut server = Server::start(&[]).await;
    let client = Client::open(server.url()).unwrap();
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(Duration::from_secs(2)));
    let manager = ConnectionManager::new_with_config(client, config).await.unwrap();
    let store = RedisStore::builder_with_connection(manager).build().await.unwrap();
    store.set("k", "v").await.unwrap();
    server.kill();
    let first = store.increment("n", 1).await.unwrap_err().kind();
    assert!(matches!(first, ErrorKind::Unknown | ErrorKind::Unavailable), "{first}");
    server.start_again().await;
    while store.ping().await.is_err() {}
    assert_eq!(store.increment("n", 1).await.unwrap(), 1);
}

#[test]
fn a_store_outlives_the_runtime_in_which_it_was_built() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let root = Root::new();
    let first = runtime();
    let store = first.block_on(root.store());
    first.block_on(async { store.set("k", "v").await.unwrap() });
    drop(first);
    let second = runtime();
    let value = second.block_on(async { store.get("k").await.unwrap() });
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    drop(second);
    // Closed from a runtime that does not drive its connection.
    runtime().block_on(async { store.close().await.unwrap() });
}

/// What a call gives at once.
fn at_once<T>(call: impl Future<Output = T>) -> T {
    let waker = std::task::Waker::noop();
    match std::pin::pin!(call).poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(outcome) => outcome,
        std::task::Poll::Pending => panic!("it waits without a runtime"),
    }
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    for url in [common::url(), "rediss://localhost".to_owned()] {
        let error = at_once(RedisStore::builder(url).build()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::start(&[]));
    let [owned, borrowed] = runtime.block_on(async {
        let client = Client::open(server.url()).unwrap();
        let lent = client.get_multiplexed_async_connection().await.unwrap();
        let borrowed = RedisStore::builder_with_connection(lent);
        let owned = RedisStore::builder(server.url());
        [owned.build().await.unwrap(), borrowed.build().await.unwrap()]
    });
    let mut errors = vec![
        at_once(borrowed.get("k").into_future()).unwrap_err(),
        at_once(borrowed.set("k", "v").into_future()).unwrap_err(),
        at_once(borrowed.list_page("", None, 1)).unwrap_err(),
        at_once(borrowed.delete_all()).unwrap_err(),
        at_once(borrowed.connect()).unwrap_err(),
        at_once(owned.reconnect()).unwrap_err(),
        at_once(owned.close()).unwrap_err(),
    ];
    runtime.block_on(owned.reconnect()).unwrap();
    // Closing has something to wait for.
    server.signal("-STOP");
    for store in [&owned, &borrowed] {
        let limit = Duration::from_millis(100);
        let write = store.set("k", "v").into_future();
        assert!(runtime.block_on(async { tokio::time::timeout(limit, write).await }).is_err());
        errors.push(at_once(store.close()).unwrap_err());
    }
    server.signal("-CONT");
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    }
    for store in [owned, borrowed] {
        runtime.block_on(store.close()).unwrap();
        // Once there is nothing left to do, it needs no runtime.
        at_once(store.close()).unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_an_address() {
    let server = Server::start(&["--requirepass", "pass word"]).await;
    let socket = server.socket();
    for scheme in ["redis+unix", "unix"] {
        let url = format!("{scheme}://{}?db=2&pass=pass+word", socket.display());
        let store = RedisStore::builder(url).build().await.unwrap();
        store.set("k", "v").await.unwrap();
        assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    }
    let other = format!("redis://:pass%20word@127.0.0.1:{}/2?protocol=resp3", server.port);
    let store = RedisStore::builder(other).build().await.unwrap();
    assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    // RESP3 has words of its own for what is missing, and for maps.
    assert_eq!(store.get("missing").await.unwrap(), None);
    assert_eq!(store.get_entry("missing").await.unwrap(), None);
    assert!(!store.set("k", "w").if_absent().await.unwrap().is_applied());
    assert!(store.get_entry("k").await.unwrap().is_some());
    assert_eq!(store.list_page("", None, 10).await.unwrap().keys, ["k"]);
    assert_eq!(store.get_many(&["k", "x"]).await.unwrap().len(), 2);
    assert_eq!(store.increment("n", 2).await.unwrap(), 2);
    store.delete_all().await.unwrap();
}

#[tokio::test]
async fn bad_settings_are_refused_by_build() {
    let url = common::url();
    let client = Client::open(url.as_str()).unwrap();
    let lent = client.get_multiplexed_async_connection().await.unwrap();
    let good = || RedisStore::builder(&url);
    let bad: Vec<RedisStoreBuilder> = vec![
        RedisStore::builder(""),
        RedisStore::builder("http://localhost"),
        RedisStore::builder(format!("{url}/x")),
        RedisStore::builder(format!("{url}?timeout=5")),
        RedisStore::builder(format!("{url}?protocol=4")),
        good().connections(0),
        good().connections(1_000_000),
        good().connect_timeout(Duration::ZERO),
        good().response_timeout(Duration::ZERO),
        good().namespace(""),
        good().namespace("x".repeat(256)),
        good().raw_keys().namespace("x"),
        RedisStore::builder_with_connection(lent).connections(2),
    ];
    for builder in bad {
        let shown = format!("{builder:?}");
        let error = builder.build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{shown}: {error}");
        assert_eq!((error.operation(), error.backend()), (Some("open"), Some("redis")));
    }
}

#[tokio::test]
async fn capabilities_are_as_configured() {
    let root = Root::new();
    let expected = Capabilities::new()
        .with_list(true)
        .with_conditions(true)
        .with_renew(true)
        .with_purge(true)
        .with_native_expiry(true)
        .with_shared(true)
        .with_max_value_len(512 << 20)
        .with_expiry_granularity(Duration::from_millis(1));
    let store = root.store().await;
    assert_eq!(store.capabilities(), expected);
    let child = store.with_namespace("child").unwrap();
    assert_eq!(child.capabilities(), expected);
    assert_eq!(child.namespace().to_string(), "child");
    let stated = root.builder().durability(Durability::PowerLoss).build().await.unwrap();
    assert_eq!(stated.capabilities(), expected.with_durability(Durability::PowerLoss));
}
