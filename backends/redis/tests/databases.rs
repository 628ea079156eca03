//! A database other than the first: the connections are in it, each and anew, and what keeps them
//! out of it has its kind.

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use std::time::Duration;

use common::{Proxy, Server, run};
use larder_core::{ErrorKind, StoreExt};
use larder_redis::redis::Client;
use larder_redis::redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use larder_redis::{RedisConnection, RedisStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn build_error(url: String) -> larder_core::Error {
    RedisStore::builder(url).build().await.unwrap_err()
}

/// Sends a line to a server and gives the first line of the answer, if there is one.
async fn say(server: &Server, line: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let len = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

/// Keeps a server, which is started with [`EARLY`], busy with a script until that is killed.
async fn occupy(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    stream.write_all(b"EVAL \"while true do end\" 0\r\n").await.unwrap();
    while !say(server, "PING").await.starts_with("-BUSY") {}
    stream
}

/// Has a server say at once that it is busy.
const EARLY: &[&str] = &["--lua-time-limit", "1"];

#[tokio::test]
async fn every_connection_is_in_it_also_after_a_loss() {
    let mut server = Server::start(&[]).await;
    let url = format!("{}/3", server.url());
    let store = RedisStore::builder(url).connections(3).build().await.unwrap();
    for round in 0..2 {
        for number in 0..3 {
            store.set(&format!("k{number}"), "v").await.unwrap();
            let connection = store.connection().await.unwrap();
            assert_eq!(connection.get_db(), 3);
        }
        let first = RedisStore::builder(server.url()).build().await.unwrap();
        let mut first = first.connection().await.unwrap();
        assert_eq!(run::<i64>(&mut first, &[b"DBSIZE"]).await, 0, "round {round}");
        server.kill();
        server.start_again().await;
        store.reconnect().await.unwrap();
    }
}

#[tokio::test]
async fn a_busy_server_is_unavailable() {
    let server = Server::start(EARLY).await;
    let url = format!("{}/1", server.url());
    let open = RedisStore::builder(&url).build().await.unwrap();
    let lazy = RedisStore::builder(&url).lazy(true).build().await.unwrap();
    let busy = occupy(&server).await;
    for error in [
        build_error(url).await,
        lazy.get("k").await.unwrap_err(),
        lazy.set("k", "v").await.unwrap_err(),
        open.reconnect().await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    }
    say(&server, "SCRIPT KILL").await;
    drop(busy);
    while lazy.get("k").await.is_err() {}
}

#[tokio::test]
async fn a_manager_that_meets_a_busy_server_is_unavailable() {
    let server = Server::start(EARLY).await;
    let proxy = Proxy::to(format!("127.0.0.1:{}", server.port));
    let client = Client::open(format!("redis://127.0.0.1:{}/1", proxy.port)).unwrap();
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_max_delay(Duration::from_millis(1));
    let manager = ConnectionManager::new_with_config(client, config).await.unwrap();
    assert_eq!(RedisConnection::from(manager.clone()).get_db(), 1);
    let store = RedisStore::builder_with_connection(manager).build().await.unwrap();
    store.set("k", "v").await.unwrap();
    let busy = occupy(&server).await;
    proxy.set_broken(true);
    // It is told so by the first call.
    assert!(store.get("k").await.is_err());
    proxy.set_broken(false);
    // It may still be trying to get through the broken proxy.
    loop {
        let error = store.get("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        if error.message().contains("database") {
            break;
        }
    }
    // Nothing was sent, so the same goes for a write.
    let error = store.set("k", "w").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    drop(busy);
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let server = Server::start(&[]).await;
    let url = |login: &str, db: i64| format!("redis://{login}127.0.0.1:{}/{db}", server.port);
    say(&server, "ACL SETUSER u on >p ~* +@all -select").await;
    assert_eq!(build_error(url("u:p@", 1)).await.kind(), ErrorKind::PermissionDenied);
    for (db, protocol) in [(16, 2), (i64::MAX, 2), (16, 3)] {
        let error = build_error(format!("{}?protocol=resp{protocol}", url("", db))).await;
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.message().contains("database"), "{error}");
    }
    say(&server, "CONFIG SET requirepass q").await;
    for error in [build_error(url("", 1)).await, build_error(url("u:wrong@", 1)).await] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    let cluster = Server::start(&["--cluster-enabled", "yes"]).await;
    let error = build_error(format!("{}/1", cluster.url())).await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("cluster"), "{error}");
}
