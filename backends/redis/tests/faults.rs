//! Servers that die, stall, refuse or talk nonsense: every call ends, with the kind that tells what
//! to do (`X1`, `X2`, `S5`, `S7`).

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Root, Server, fake, free_port, run};
use larder_core::{Bytes, ErrorKind, Expiry, NamespacedStore, SetItem, Store, StoreExt, Version};
use larder_redis::{RedisStore, redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No call may take longer, whatever the server does; far above every limit that a test sets.
const PATIENCE: Duration = Duration::from_secs(60);
/// The limit for an answer where a test waits for it to pass.
const SHORT: Duration = Duration::from_millis(200);

async fn ends<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future.into_future()).await.expect("the call hangs")
}

fn on(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

#[tokio::test]
async fn no_server_is_unavailable_at_once_and_for_a_lazy_store_at_the_first_call() {
    let url = on(free_port());
    let error = ends(RedisStore::builder(&url).build()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!((error.operation(), error.backend()), (Some("open"), Some("redis")));
    let store = RedisStore::builder(&url).lazy(true).build().await.unwrap();
    // Nothing was sent, so even a write may be repeated.
    let error = ends(store.set("k", "v")).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Unavailable, Some("set")), "{error}");
    assert_eq!(ends(store.get("k")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let many = ends(store.get_many(&["a", "b"])).await.unwrap();
    assert!(many.iter().all(|it| it.as_ref().unwrap_err().kind() == ErrorKind::Unavailable));
    assert_eq!(ends(store.ping()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    ends(store.close()).await.unwrap();
}

#[tokio::test]
async fn a_restarted_server_is_found_again_without_a_word() {
    let mut server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).connections(2).build().await.unwrap();
    store.set("k", "v").await.unwrap();
    server.kill();
    assert_eq!(ends(store.get("k")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    for _ in 0..3 {
        let error = ends(store.set("k", "w")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown), "{error}");
    }
    server.start_again().await;
    // The loss was noticed when it happened: no call has to fail for it.
    for _ in 0..4 {
        ends(store.set("k", "w")).await.unwrap();
    }
    assert_eq!(ends(store.get("k")).await.unwrap().as_deref(), Some(&b"w"[..]));
}

#[tokio::test]
async fn a_killed_connection_is_replaced() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let other = RedisStore::builder(server.url()).build().await.unwrap();
    store.set("k", "v").await.unwrap();
    let mut mine = store.connection().await.unwrap();
    let id: i64 = run(&mut mine, &[b"CLIENT", b"ID"]).await;
    let mut theirs = other.connection().await.unwrap();
    let _: i64 = run(&mut theirs, &[b"CLIENT", b"KILL", b"ID", id.to_string().as_bytes()]).await;
    // Wait until our side has seen the end of it; then calls go on as if nothing had been.
    while redis::cmd("PING").query_async::<()>(&mut mine).await.is_ok() {}
    assert_eq!(ends(store.get("k")).await.unwrap().as_deref(), Some(&b"v"[..]));
    ends(store.set("k", "w")).await.unwrap();
}

#[tokio::test]
async fn a_stalled_server_is_a_timeout_for_reads_and_unknown_for_writes() {
    let server = Server::start(&[]).await;
    let builder = || RedisStore::builder(server.url()).response_timeout(SHORT);
    let store = builder().build().await.unwrap();
    store.set("k", "v").ttl(PATIENCE).await.unwrap();
    server.signal("-STOP");
    assert_eq!(ends(store.get("k")).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(ends(store.exists("k")).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(ends(store.list_page("", None, 9)).await.unwrap_err().kind(), ErrorKind::Timeout);
    let unknown = [
        ends(store.set("k", "w").ttl(PATIENCE)).await.unwrap_err(),
        ends(store.get("k").renew_for(PATIENCE)).await.unwrap_err(),
        ends(store.update_expiry("k", Expiry::Never)).await.unwrap_err(),
        ends(store.set("k", "w").if_matches(Version::new("v"))).await.unwrap_err(),
        ends(store.delete("other")).await.unwrap_err(),
        ends(store.delete_prefix("other")).await.unwrap_err(),
    ];
    for error in unknown {
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    }
    // Of many writes, those that were not sent any more are known not to have been made.
    let items: Vec<String> = (0..2000).map(|number| format!("n{number}")).collect();
    let items = items.iter().map(|key| SetItem::new(key, "v")).collect();
    let outcomes = ends(store.set_many(items)).await.unwrap();
    let kinds: Vec<ErrorKind> =
        outcomes.into_iter().map(|outcome| outcome.unwrap_err().kind()).collect();
    assert_eq!((kinds[0], kinds[1999]), (ErrorKind::Unknown, ErrorKind::Unavailable));
    // The kernel still accepts connections; nobody greets.
    let error = ends(builder().connect_timeout(SHORT).build()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");

    server.signal("-CONT");
    // The connection is in order: what was given up is done by now, once, in its order.
    assert_eq!(ends(store.get("k")).await.unwrap().as_deref(), Some(&b"w"[..]));
    ends(store.close()).await.unwrap();
}

/// A store with a connection of its own, and one over the application's.
async fn owned_and_borrowed(server: &Server, limit: Duration) -> [RedisStore; 2] {
    let owned = RedisStore::builder(server.url());
    let client = redis::Client::open(server.url()).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let lent = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let borrowed = RedisStore::builder_with_connection(lent);
    [
        owned.response_timeout(limit).build().await.unwrap(),
        borrowed.response_timeout(limit).build().await.unwrap(),
    ]
}

#[tokio::test]
async fn close_waits_for_writes_that_were_given_up_however_often_it_is_dropped() {
    let server = Server::start(&[]).await;
    let seen = RedisStore::builder(server.url()).build().await.unwrap();
    for store in owned_and_borrowed(&server, PATIENCE).await {
        seen.set("k", "early").await.unwrap();
        server.signal("-STOP");
        let mut write = Box::pin(store.set("k", "late").into_future());
        assert!(tokio::time::timeout(SHORT, &mut write).await.is_err());
        drop(write);
        for _ in 0..3 {
            let close = tokio::time::timeout(SHORT, store.close()).await;
            assert!(close.is_err(), "nothing was waited for: {close:?}");
        }
        let mut close = store.close();
        assert!(tokio::time::timeout(SHORT, &mut close).await.is_err());
        server.signal("-CONT");
        ends(close).await.unwrap();
        // It was sent long ago, and so it is there: nothing comes after close.
        assert_eq!(seen.get("k").await.unwrap().as_deref(), Some(&b"late"[..]));
        ends(store.close()).await.unwrap();
    }
}

#[tokio::test]
async fn closing_a_child_waits_for_writes_that_were_given_up() {
    let server = Server::start(&[]).await;
    let seen = RedisStore::builder(server.url()).build().await.unwrap();
    let seen = seen.with_namespace("child").unwrap();
    for store in owned_and_borrowed(&server, PATIENCE).await {
        seen.set("k", "early").await.unwrap();
        let child = store.with_namespace("child").unwrap();
        let other = store.with_namespace("other").unwrap();
        server.signal("-STOP");
        let mut write = Box::pin(child.set("k", "late").into_future());
        assert!(tokio::time::timeout(SHORT, &mut write).await.is_err());
        drop(write);
        assert!(tokio::time::timeout(SHORT, child.close()).await.is_err());
        // Whoever waits beside another one waits as long.
        let (mut first, mut second) = (other.close(), child.close());
        assert!(tokio::time::timeout(SHORT, &mut first).await.is_err());
        assert!(tokio::time::timeout(SHORT, &mut second).await.is_err());
        server.signal("-CONT");
        // Each is polled, for the one that came first is the one that asks the server.
        let (first, second) = ends(async { tokio::join!(first, second) }).await;
        first.and(second).unwrap();
        assert_eq!(seen.get("k").await.unwrap().as_deref(), Some(&b"late"[..]));
        ends(store.ping()).await.unwrap();
    }
}

#[tokio::test]
async fn close_waits_for_writes_that_were_given_up_on_a_replaced_connection() {
    let server = Server::start(&[]).await;
    let seen = RedisStore::builder(server.url()).build().await.unwrap();
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let mut admin = seen.connection().await.unwrap();
    let _: () = run(&mut admin, &[b"CLIENT", b"PAUSE", b"60000", b"WRITE"]).await;
    let mut write = Box::pin(store.set("k", "late").into_future());
    assert!(tokio::time::timeout(SHORT, &mut write).await.is_err());
    ends(store.reconnect()).await.unwrap();
    drop(write);
    for _ in 0..2 {
        assert!(tokio::time::timeout(SHORT, store.close()).await.is_err());
    }
    let _: () = run(&mut admin, &[b"CLIENT", b"UNPAUSE"]).await;
    ends(store.close()).await.unwrap();
    assert_eq!(seen.get("k").await.unwrap().as_deref(), Some(&b"late"[..]));
}

#[tokio::test]
async fn close_says_as_long_as_a_write_that_was_given_up_may_still_come() {
    let server = Server::start(&[]).await;
    let [owned, borrowed] = owned_and_borrowed(&server, SHORT).await;
    server.signal("-STOP");
    for store in [&owned, &borrowed] {
        assert_eq!(ends(store.set("k", "v")).await.unwrap_err().kind(), ErrorKind::Unknown);
        for _ in 0..2 {
            assert_eq!(ends(store.close()).await.unwrap_err().kind(), ErrorKind::Unknown);
        }
        assert_eq!(ends(store.get("k")).await.unwrap_err().kind(), ErrorKind::Closed);
    }
    server.signal("-CONT");
    while ends(borrowed.close()).await.is_err() {}
    while ends(owned.reconnect()).await.is_err() {}
    ends(owned.ping()).await.unwrap();
    ends(owned.close()).await.unwrap();
}

#[tokio::test]
async fn many_callers_of_a_dead_server_share_one_attempt() {
    let server = Server::start(&[]).await;
    server.signal("-STOP");
    let limit = Duration::from_millis(500);
    let store = RedisStore::builder(server.url()).lazy(true).connect_timeout(limit);
    let store = Arc::new(store.build().await.unwrap());
    let started = tokio::time::Instant::now();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.get("k").await })
        })
        .collect();
    for call in calls {
        assert_eq!(ends(call).await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    }
    // One after the other they would take 25 s.
    assert!(started.elapsed() < limit * 20);
    server.signal("-CONT");
    ends(store.set("k", "v")).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_leaves_while_connecting_harms_nobody() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).lazy(true).build().await.unwrap();
    server.signal("-STOP");
    let mut first = Box::pin(store.get("k").into_future());
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut first).await.is_err());
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.set("k", "v").await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(first);
    server.signal("-CONT");
    assert!(ends(waiting).await.unwrap().unwrap().is_applied());
    ends(store.close()).await.unwrap();
}

#[tokio::test]
async fn dropped_calls_leave_the_connection_in_order() {
    let root = Root::new();
    let store = root.store().await;
    store.set("mine", "right").await.unwrap();
    store.set("other", "wrong").await.unwrap();
    for polls in 0..200_u32 {
        let mut call = Box::pin(store.get("other").into_future());
        // Leaves after the first poll, or some turns later.
        for _ in 0..polls % 5 {
            if poll_once(&mut call).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        assert_eq!(store.get("mine").await.unwrap().as_deref(), Some(&b"right"[..]));
    }
}

/// Polls once, and tells whether that was the end.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_ready())
    })
    .await
}

#[tokio::test]
async fn scripts_that_the_server_has_lost_are_sent_again() {
    let server = Server::start(&[]).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let mut connection = store.connection().await.unwrap();
    let flushing = tokio::spawn({
        let mut connection = connection.clone();
        async move {
            for _ in 0..300 {
                let _: () = run(&mut connection, &[b"SCRIPT", b"FLUSH"]).await;
            }
        }
    });
    let mut count = 0;
    while !flushing.is_finished() {
        assert_eq!(store.increment("n", 1).await.unwrap(), count + 1);
        count += 1;
        assert!(store.get_entry("n").await.unwrap().is_some());
    }
    flushing.await.unwrap();
    let _: () = run(&mut connection, &[b"SCRIPT", b"FLUSH"]).await;
    store.delete_all().await.unwrap();
    assert!(!store.exists("n").await.unwrap());
}

#[tokio::test]
async fn a_full_server_keeps_the_old_value() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    store.set("k", "old").await.unwrap();
    let mut connection = store.connection().await.unwrap();
    let _: () = run(&mut connection, &[b"CONFIG", b"SET", b"maxmemory", b"1"]).await;
    let errors = [
        store.set("k", "new").await.unwrap_err(),
        store.set("k", "new").if_matches(Version::new("old")).await.unwrap_err(),
        store.set_many(vec![SetItem::new("k", "new")]).await.unwrap().remove(0).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.key()), (ErrorKind::StorageFull, Some("k")), "{error}");
    }
    assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"old"[..]));
    assert!(store.delete("k").await.unwrap());
    store.delete_all().await.unwrap();
}

#[tokio::test]
async fn values_that_are_too_large_are_not_sent() {
    let root = Root::new();
    let store = root.builder().max_value_len(10).build().await.unwrap();
    store.set("k", vec![0; 10]).await.unwrap();
    let error = store.set("k", vec![0; 11]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let items = vec![SetItem::new("k", "v"), SetItem::new("k", vec![0; 11])];
    assert_eq!(store.set_many(items).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(store.get("k").await.unwrap().unwrap().len(), 10);
    // A server with less room than was stated drops the connection; the store recovers.
    let server = Server::start(&["--proto-max-bulk-len", "1mb"]).await;
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let error = ends(store.set("k", vec![0; 2 << 20])).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Unknown), "{error}");
    while ends(store.set("k", "v")).await.is_err() {}
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let server = Server::start(&[]).await;
    let admin = RedisStore::builder(server.url()).build().await.unwrap();
    let mut connection = admin.connection().await.unwrap();
    let acl: &[&[u8]] = &[b"ACL", b"SETUSER", b"u", b"on", b">p", b"~larder*", b"+@all", b"-info"];
    let _: () = run(&mut connection, &[acl, &[b"-get"]].concat()).await;
    let url = |login: &str, db: u32| format!("redis://{login}127.0.0.1:{}/{db}", server.port);

    // INFO is kept from this user: HELLO says enough.
    let limited = RedisStore::builder(url("u:p@", 0)).build().await.unwrap();
    limited.set("k", "v").await.unwrap();
    let error = limited.get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let error = limited.set("k", "w").if_matches(Version::new("v")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(limited.list_page("", None, 9).await.unwrap().keys, ["k"]);

    let refused = async |url: String| RedisStore::builder(url).build().await.unwrap_err().kind();
    assert_eq!(refused(url("u:wrong@", 0)).await, ErrorKind::PermissionDenied);
    assert_eq!(refused(url("", 9999)).await, ErrorKind::InvalidConfig);
    let _: () = run(&mut connection, &[b"CONFIG", b"SET", b"requirepass", b"q"]).await;
    assert_eq!(refused(url("", 0)).await, ErrorKind::PermissionDenied);
    let _: () = run(&mut connection, &[b"CONFIG", b"SET", b"requirepass", b""]).await;
    let _: () = run(&mut connection, &[b"CONFIG", b"SET", b"min-replicas-to-write", b"1"]).await;
    assert_eq!(admin.set("k", "v").await.unwrap_err().kind(), ErrorKind::Unavailable);
    let matching = admin.set("k", "v").if_matches(Version::new("v")).await;
    assert_eq!(matching.unwrap_err().kind(), ErrorKind::Unavailable);
    let _: () = run(&mut connection, &[b"CONFIG", b"SET", b"min-replicas-to-write", b"0"]).await;
    let replica: &[&[u8]] = &[b"REPLICAOF", b"127.0.0.1", b"1"];
    let _: () = run(&mut connection, replica).await;
    assert_eq!(admin.set("k", "v").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(admin.exists("k").await.unwrap());
}

#[tokio::test]
async fn a_key_that_may_not_be_read_hides_no_other() {
    let server = Server::start(&[]).await;
    let admin = RedisStore::builder(server.url()).build().await.unwrap();
    admin.set("mine", "v").await.unwrap();
    admin.set("theirs", "v").await.unwrap();
    let mut connection = admin.connection().await.unwrap();
    let acl: &[&[u8]] = &[b"ACL", b"SETUSER", b"u", b"on", b">p", b"~larder:mine*", b"+@all"];
    let _: () = run(&mut connection, acl).await;
    let url = format!("redis://u:p@127.0.0.1:{}", server.port);
    let store = RedisStore::builder(url).build().await.unwrap();
    let many = store.get_many(&["mine", "theirs", "mine too"]).await.unwrap();
    let [mine, theirs, none] = many.try_into().unwrap();
    assert_eq!(mine.unwrap().as_deref(), Some(&b"v"[..]));
    let theirs = theirs.unwrap_err();
    assert_eq!((theirs.kind(), theirs.key()), (ErrorKind::PermissionDenied, Some("theirs")));
    assert_eq!(none.unwrap(), None);
}

#[tokio::test]
async fn a_cluster_is_refused() {
    let server = Server::start(&["--cluster-enabled", "yes"]).await;
    let error = RedisStore::builder(server.url()).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("cluster"), "{error}");
}

/// Answers every command, once it has come, with `answer`.
async fn answers(answer: &'static [u8]) -> u16 {
    fake(move |mut stream: TcpStream| async move {
        let mut chunk = [0; 4096];
        while let Ok(1..) = stream.read(&mut chunk).await {
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn servers_that_talk_nonsense_are_told_from_redis() {
    let nonsense: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff\xfe\x00garbage\r\n",
        b"$99999999999999999999\r\nx\r\n",
        b"*-7\r\n",
        b":notanumber\r\n",
        b"%99999999999999999999\r\n",
    ];
    for answer in nonsense {
        let port = answers(answer).await;
        let builder = RedisStore::builder(on(port)).connect_timeout(SHORT * 5);
        let error = ends(builder.build()).await.unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::InvalidConfig | ErrorKind::Timeout | ErrorKind::Internal
            ),
            "{error}"
        );
    }
    // Lengths that are claimed and not delivered: neither memory nor time beyond the limit.
    for claim in [&b"$500000000\r\nx"[..], b"*500000000\r\n:1\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n"] {
        let port = answers(claim).await;
        let builder = RedisStore::builder(on(port)).connect_timeout(SHORT);
        assert_eq!(ends(builder.build()).await.unwrap_err().kind(), ErrorKind::Timeout);
    }
    // One that only listens, and one that hangs up.
    let silent = fake(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let builder = RedisStore::builder(on(silent.await)).connect_timeout(SHORT);
    assert_eq!(ends(builder.build()).await.unwrap_err().kind(), ErrorKind::Timeout);
    let hangs_up = fake(|stream| async move { drop(stream) }).await;
    let error = ends(RedisStore::builder(on(hangs_up)).build()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // One that dies in the midst of its greeting, in either protocol, is Redis as far as it goes.
    let halves: &[&[u8]] = &[b"+O", b"+OK\r\n+OK\r", b"%7\r\n$6\r\nserver\r\n$5\r\nre"];
    for half in halves {
        let dies = fake(move |mut stream: TcpStream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(half).await;
        });
        let url =
            format!("{}?protocol=resp{}", on(dies.await), if half[0] == b'%' { 3 } else { 2 });
        let error = ends(RedisStore::builder(url).build()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn an_old_server_is_named() {
    let port = greets_then("6.0.16", b"+OK\r\n").await;
    let error = ends(RedisStore::builder(on(port)).build()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("6.0.16") && error.message().contains("6.2"), "{error}");
}

/// Greets as Redis does, and answers every command after that with `answer`.
async fn greets_then(version: &'static str, answer: &'static [u8]) -> u16 {
    greets_then_all(version, move |_| answer).await
}

/// Greets as Redis does, and answers each command after that by its number.
async fn greets_then_all(
    version: &'static str,
    answer: impl Fn(usize) -> &'static [u8] + Clone + Send + Sync + 'static,
) -> u16 {
    fake(move |mut stream: TcpStream| {
        let answer = answer.clone();
        async move {
            let mut said = Vec::new();
            let mut chunk = [0; 4096];
            let mut answers: Option<usize> = None;
            while let Ok(read @ 1..) = stream.read(&mut chunk).await {
                said.extend_from_slice(&chunk[..read]);
                let count = |word: &[u8]| said.windows(word.len()).filter(|it| *it == word).count();
                let reply: Vec<u8> = if let Some(answers) = &mut answers {
                    *answers += 1;
                    answer(*answers - 1).to_vec()
                } else if count(b"$4\r\nINFO\r\n") > 0 {
                    answers = Some(0);
                    let said = format!("redis_version:{version}");
                    format!("${}\r\n{said}\r\n", said.len()).into_bytes()
                } else {
                    b"+OK\r\n".repeat(count(b"SETINFO"))
                };
                if answers.is_some() || !reply.is_empty() {
                    said.clear();
                }
                let written = stream.write_all(&reply).await;
                if written.is_err() || reply == b"bye" {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_write_with_an_answer_that_none_has_is_unknown() {
    for answer in [&b":-1\r\n"[..], b":2\r\n", b"$1\r\nx\r\n", b"*1\r\n:1\r\n", b"$-1\r\n"] {
        let store =
            RedisStore::builder(on(greets_then("7.0.15", answer).await)).build().await.unwrap();
        let matching = Version::new("v");
        let errors = [
            ends(store.set("k", "v")).await.unwrap_err(),
            ends(store.set("k", "v").if_matches(matching.clone())).await.unwrap_err(),
            ends(store.set("k", "v").ttl(Duration::ZERO)).await.unwrap_err(),
            ends(store.set_many(vec![SetItem::new("k", "v")]))
                .await
                .unwrap()
                .remove(0)
                .unwrap_err(),
            ends(store.delete("k")).await.unwrap_err(),
            ends(store.delete("k").if_matches(matching)).await.unwrap_err(),
            ends(store.update_expiry("k", Expiry::Never)).await.unwrap_err(),
            ends(store.update_expiry("k", PATIENCE.into())).await.unwrap_err(),
            ends(store.delete_prefix("k")).await.unwrap_err(),
            ends(store.delete_all()).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
        }
        // What reads only did nothing.
        for read in
            [ends(store.exists("k")).await, ends(store.update_expiry("k", Expiry::Keep)).await]
        {
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Internal);
        }
    }
}

#[tokio::test]
async fn a_server_that_leads_in_circles_is_left() {
    const STUCK: &[u8] = b"*2\r\n$1\r\n5\r\n:0\r\n";
    const ROUND: [&[u8]; 2] = [STUCK, b"*2\r\n$1\r\n7\r\n:0\r\n"];
    const FIRST: &[u8] = b"*2\r\n$1\r\n5\r\n*2\r\n$8\r\nlarder:a\r\n$8\r\nlarder:b\r\n";
    const THEN: &[u8] = b"*2\r\n$1\r\n4\r\n*0\r\n";
    let open = |port| RedisStore::builder(on(port)).build();
    for port in [
        greets_then("7.0.15", STUCK).await,
        greets_then_all("7.0.15", |number| ROUND[number % 2]).await,
    ] {
        let store = open(port).await.unwrap();
        assert_eq!(ends(store.delete_all()).await.unwrap_err().kind(), ErrorKind::Internal);
        let error = ends(store.delete_prefix("k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    // A stretch that does not fit on a page, and is never again walked to its end.
    let port = greets_then_all("7.0.15", |number| if number == 0 { FIRST } else { THEN }).await;
    let store = open(port).await.unwrap();
    let page = store.list_page("", None, 1).await.unwrap();
    assert_eq!(page.keys, ["a"]);
    let error = ends(store.list_page("", page.next.as_ref(), 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
}

#[tokio::test]
async fn nonsense_in_the_midst_of_things_is_an_error_and_no_value() {
    let wrong: &[&[u8]] = &[b":5\r\n", b"*1\r\n$1\r\nx\r\n", b"+value\r\n"];
    for answer in wrong {
        let store =
            RedisStore::builder(on(greets_then("7.0.15", answer).await)).build().await.unwrap();
        let error = ends(store.get("k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    for answer in [&b"bye"[..], b"nonsense\r\n"] {
        let store =
            RedisStore::builder(on(greets_then("7.0.15", answer).await)).build().await.unwrap();
        let error = ends(store.get("k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let store =
            RedisStore::builder(on(greets_then("7.0.15", answer).await)).build().await.unwrap();
        let error = ends(store.set("k", Bytes::from_static(b"v"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    }
}
