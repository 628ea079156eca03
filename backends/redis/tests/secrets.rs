//! A password is shown nowhere (`X3`).

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::time::Duration;

use common::{Server, fake, free_port, variable};
use larder_core::{Error, ErrorKind, NamespacedStore, Store, StoreExt};
use larder_redis::RedisStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECRET: &str = "hunter2-s3cret";

/// Everything that an error can show, causes included.
fn all_of(error: &Error) -> String {
    let mut shown = format!("{error} {error:?} {error:#?} {}", error.message());
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(shown, " {error} {error:?} {error:#?}").unwrap();
        cause = error.source();
    }
    shown
}

fn check(secret: &str, shown: &impl Debug) {
    let shown = format!("{shown:?} {shown:#?}");
    assert!(!shown.contains(secret), "{shown}");
}

fn check_error(error: &Error) -> ErrorKind {
    let shown = all_of(error);
    assert!(!shown.contains(SECRET) && !shown.contains("hunter2"), "{shown}");
    error.kind()
}

#[tokio::test]
async fn a_store_with_a_password_works_and_hides_it() {
    let url = variable("LARDER_TEST_REDIS_PASSWORD_URL");
    let authority = url.split_once("://").unwrap().1.rsplit_once('@').unwrap().0.to_owned();
    let secret = authority.split_once(':').unwrap().1.to_owned();
    assert!(!secret.is_empty());
    let root = format!("test-{:016x}", common::random());
    let builder = RedisStore::builder(&url).namespace(&root);
    check(&secret, &builder);
    let store = builder.build().await.unwrap();
    store.set("k", "v").await.unwrap();
    check(&secret, &store);
    check(&secret, &store.with_namespace("child").unwrap());
    check(&secret, &store.connection().await.unwrap());
    check(&secret, &store.list_page("", None, 10).await.unwrap());
    store.delete_all().await.unwrap();
    store.close().await.unwrap();
    check(&secret, &store);
    let error = store.get("k").await.unwrap_err();
    assert!(!all_of(&error).contains(&secret));
}

#[tokio::test]
async fn failures_to_connect_hide_it() {
    let server = Server::start(&["--requirepass", "another"]).await;
    let silent = fake(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let limit = Duration::from_millis(200);
    let cases = [
        (server.port, ErrorKind::PermissionDenied),
        (free_port(), ErrorKind::Unavailable),
        (silent.await, ErrorKind::Timeout),
    ];
    for (port, kind) in cases {
        for login in [format!("user:{SECRET}@"), format!(":{SECRET}@")] {
            for end in ["", "/3", "?protocol=resp3"] {
                let url = format!("redis://{login}127.0.0.1:{port}{end}");
                let builder = RedisStore::builder(&url).connect_timeout(limit);
                check(SECRET, &builder);
                let error = builder.build().await.unwrap_err();
                let found = check_error(&error);
                // Under RESP3 the driver does not tell a wrong password from a wrong protocol.
                let resp3 = end.contains("resp3") && found == ErrorKind::InvalidConfig;
                assert!(found == kind || resp3, "{url}: {error}");
                assert!(error.message().contains(&port.to_string()), "{error}");
                let lazy = RedisStore::builder(&url).connect_timeout(limit).lazy(true);
                let store = lazy.build().await.unwrap();
                check(SECRET, &store);
                check_error(&store.set("k", "v").await.unwrap_err());
            }
        }
    }
    #[cfg(unix)]
    {
        let url = format!("redis+unix:///nowhere/redis.sock?user=u&pass={SECRET}");
        let builder = RedisStore::builder(&url);
        check(SECRET, &builder);
        assert_eq!(check_error(&builder.build().await.unwrap_err()), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn a_server_that_echoes_it_is_not_quoted() {
    // As old servers and other programs do: unknown command, with its arguments.
    let port = fake(|mut stream| async move {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            let said = String::from_utf8_lossy(&chunk[..read]).replace("\r\n", " ");
            for line in [
                format!("-ERR unknown command, with args beginning with: {said}\r\n"),
                format!("-{SECRET} {said}\r\n"),
                format!("-WRONGPASS {said}\r\n"),
                format!("+{SECRET}\r\n"),
                format!("{SECRET}\r\n"),
            ] {
                let _ = stream.write_all(line.as_bytes()).await;
            }
        }
    })
    .await;
    for end in ["", "/2", "?protocol=resp3"] {
        let url = format!("redis://u:{SECRET}@127.0.0.1:{port}{end}");
        check_error(&RedisStore::builder(url).build().await.unwrap_err());
    }
}

#[tokio::test]
async fn urls_that_cannot_be_read_are_not_quoted() {
    for url in [
        format!("redis://:{SECRET}@"),
        format!("redis://:{SECRET}@host:port"),
        format!("redis://:{SECRET}/@host"),
        format!("redis://:12#{SECRET}@host"),
        format!("redis://:12?{SECRET}@host"),
        format!("redis://:12/{SECRET}@host"),
        SECRET.to_owned(),
        format!("{SECRET}://host"),
        format!("redis://host/{SECRET}"),
        format!("redis://host?{SECRET}"),
        format!("redis://host?protocol={SECRET}"),
        format!("rediss://host#{SECRET}"),
        format!("redis+unix:{SECRET}"),
        format!("redis+unix:///socket?db={SECRET}"),
        format!("redis+unix:///socket?password={SECRET}"),
    ] {
        let builder = RedisStore::builder(&url);
        check(SECRET, &builder);
        let error = builder.build().await.unwrap_err();
        assert_eq!(check_error(&error), ErrorKind::InvalidConfig, "{url}: {error}");
    }
}
