//! One store with the real Litestar: its sessions are read, renewed and ended by Larder, and those of
//! Larder by Litestar.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use larder::prelude::*;
use larder::{ExpiresIn, NamespacedStore};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

fn env(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run these tests with `cargo xtask test`"))
}

/// A Python process in which Litestar opens one store, call by call.
struct Litestar {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    store: Value,
}

impl Litestar {
    fn over(store: Value) -> Self {
        let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/litestar_peer.py");
        let mut process = Command::new(env("LARDER_TEST_PYTHON"))
            .arg(peer)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output, store }
    }

    fn call(&mut self, mut command: Value) -> Value {
        command["store"] = self.store.clone();
        writeln!(self.input, "{command}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).expect("an answer");
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer["ok"].clone()
    }

    fn login(&mut self, user: &str) -> String {
        self.call(json!({"do": "login", "user": user})).as_str().unwrap().to_owned()
    }

    fn user(&mut self, session: &str) -> Value {
        self.call(json!({"do": "user", "session": session}))
    }
}

impl Drop for Litestar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn left(store: &dyn NamespacedStore, key: &str) -> Duration {
    match store.expires_in(key).await.unwrap() {
        ExpiresIn::In(left) => left,
        other => panic!("{key} lives {other:?}"),
    }
}

/// What holds for each backend that shares its data with Litestar.
async fn share(store: Arc<dyn NamespacedStore>, mut litestar: Litestar) {
    // A session that Litestar wrote is read, renewed and ended here.
    let session = litestar.login("anna");
    let value = store.get(&session).await.unwrap().expect("the session that Litestar wrote");
    let content: Value = serde_json::from_slice(&value).unwrap();
    assert_eq!(content, json!({"user": "anna"}));
    assert!(left(&*store, &session).await <= HOUR);
    assert_eq!(litestar.user(&session), "anna");
    store.get(&session).renew_for(3 * HOUR).await.unwrap().unwrap();
    assert!(left(&*store, &session).await > 2 * HOUR);
    let seconds = litestar.call(json!({"do": "expires_in", "key": session})).as_u64().unwrap();
    assert!(seconds > 7_200, "Litestar sees {seconds} s");
    assert_eq!(litestar.call(json!({"do": "get", "key": session})), value_text(&value));
    assert!(store.update_expiry(&session, Duration::ZERO.into()).await.unwrap());
    assert_eq!(litestar.user(&session), Value::Null);

    // A session that was written here is read, renewed and ended by Litestar.
    let session = "0123456789abcdef";
    store.set(session, r#"{"user":"boris"}"#).ttl(HOUR / 6).await.unwrap();
    assert_eq!(litestar.user(session), "boris");
    assert!(left(&*store, session).await > HOUR / 2, "Litestar renews for an hour");
    assert_eq!(store.get(session).await.unwrap().unwrap(), r#"{"user":"boris"}"#);
    litestar.call(json!({"do": "logout", "session": session}));
    assert_eq!(store.get(session).await.unwrap(), None);

    // Plain values, hostile keys included.
    for (key, value) in [("", "empty key"), ("a/../b:c", "path"), ("ключ 😀\n", ""), ("*", "glob")]
    {
        litestar.call(json!({"do": "set", "key": key, "value": value}));
        assert_eq!(store.get(key).await.unwrap().unwrap(), value);
        assert_eq!(store.expires_in(key).await.unwrap(), ExpiresIn::Never);
        store.set(key, "from here").ttl(HOUR).await.unwrap();
        assert_eq!(litestar.call(json!({"do": "get", "key": key})), "from here");
        litestar.call(json!({"do": "delete", "key": key}));
        assert!(!store.exists(key).await.unwrap());
    }
}

fn value_text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap()
}

#[tokio::test]
async fn sessions_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let store = larder::open(&format!("file:{path}")).await.unwrap();
    share(store.clone(), Litestar::over(json!({"file": path}))).await;

    // Litestar walks the root: what Larder keeps there besides neither breaks it nor is broken.
    let mut litestar = Litestar::over(json!({"file": path}));
    store.set("stays", "1").await.unwrap();
    store.set("dies", "1").ttl(Duration::from_millis(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    litestar.call(json!({"do": "delete_expired"}));
    assert_eq!(store.get("stays").await.unwrap().unwrap(), "1");
    store.set("stays", "2").if_present().await.unwrap();
    litestar.call(json!({"do": "delete_all"}));
    assert_eq!(store.get("stays").await.unwrap(), None);
    store.set("again", "3").await.unwrap();
    let other = larder::open(&format!("file:{path}")).await.unwrap();
    assert!(!other.set("again", "4").if_absent().await.unwrap().is_applied());
    assert_eq!(litestar.call(json!({"do": "get", "key": "again"})), "3");
    other.close().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn sessions_on_redis() {
    let url = env("LARDER_TEST_REDIS_URL");
    let namespace = format!("LITESTAR{}", std::process::id());
    let separator = if url.contains('?') { '&' } else { '?' };
    let store = larder::open(&format!("{url}{separator}namespace={namespace}")).await.unwrap();
    share(store.clone(), Litestar::over(json!({"redis": url, "namespace": namespace}))).await;

    let mut litestar = Litestar::over(json!({"redis": url, "namespace": namespace}));
    let child = store.with_namespace("child").unwrap();
    child.set("k", "1").await.unwrap();
    litestar.call(json!({"do": "set", "key": "k", "value": "2"}));
    child.delete_all().await.unwrap();
    assert_eq!(litestar.call(json!({"do": "get", "key": "k"})), "2");
    store.delete_all().await.unwrap();
    assert_eq!(litestar.call(json!({"do": "get", "key": "k"})), Value::Null);
    store.set("k", "3").await.unwrap();
    child.set("k", "4").await.unwrap();
    litestar.call(json!({"do": "delete_all"}));
    assert!(!store.exists("k").await.unwrap() && !child.exists("k").await.unwrap());
    store.close().await.unwrap();
}
