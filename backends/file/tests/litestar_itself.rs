//! Litestar itself on the other side: a Python that has it is named by `LARDER_TEST_PYTHON`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::path::Path;
use std::time::Duration;

use larder_core::{Durability, ExpiresIn, NamespacedStore, Store, StoreExt};
use larder_file::FileStore;

const HOUR: Duration = Duration::from_secs(3_600);

async fn open(root: &Path) -> FileStore {
    FileStore::builder(root).durability(Durability::ProcessCrash).build().await.unwrap()
}

/// Runs a script with the store's root as `root`, and gives what it printed.
fn litestar(root: &Path, script: &str) -> String {
    let python = std::env::var_os("LARDER_TEST_PYTHON").filter(|path| !path.is_empty()).expect(
        "this test needs a Python with Litestar: run `cargo xtask test`, or set \
         LARDER_TEST_PYTHON to the interpreter of a venv after `pip install litestar`",
    );
    let prelude = "import asyncio, sys\n\
        from pathlib import Path\n\
        from litestar.stores.file import FileStore\n\
        root = Path(sys.argv[1])\n";
    let mut command = std::process::Command::new(python);
    command.arg("-c").arg(format!("{prelude}{script}")).arg(root);
    common::succeeds(command).trim().to_owned()
}

/// An application that keeps its sessions in the namespace `sessions`.
const APP: &str = r#"
from litestar import Litestar, Request, get
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.testing import TestClient

@get("/set")
async def set_user(request: Request) -> str:
    request.session["user"] = "ada"
    return "ok"

@get("/get")
async def get_user(request: Request) -> str:
    return str(request.session.get("user"))

app = Litestar(
    [set_user, get_user],
    middleware=[ServerSideSessionConfig().middleware],
    stores={"sessions": FileStore(root / "sessions")},
)
"#;

fn user_of(root: &Path, session: &str) -> String {
    let ask = format!(
        "{APP}\n\
        with TestClient(app) as client:\n    \
            client.cookies.set('session', '{session}')\n    \
            print(client.get('/get').text)\n"
    );
    litestar(root, &ask)
}

#[tokio::test]
async fn its_sessions_are_read_renewed_expired_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let store = open(root).await;
    let sessions = store.with_namespace("sessions").unwrap();
    let begin = format!(
        "{APP}\n\
        with TestClient(app) as client:\n    \
            client.get('/set')\n    \
            print(client.cookies['session'])\n"
    );
    let session = litestar(root, &begin);

    let value = sessions.get(&session).await.unwrap().expect("Litestar's session");
    assert_eq!(value, r#"{"user":"ada"}"#);
    let ExpiresIn::In(left) = sessions.expires_in(&session).await.unwrap() else {
        panic!("a session expires");
    };
    let fourteen_days = HOUR * 24 * 14;
    assert!(left <= fourteen_days && left + HOUR > fourteen_days, "{left:?}");
    assert_eq!(sessions.list_page("", None, 9).await.unwrap().unlisted, 1);

    sessions.get(&session).renew_for(HOUR).await.unwrap();
    assert_eq!(sessions.list_page("", None, 9).await.unwrap().keys, [&*session]);
    assert_eq!(user_of(root, &session), "ada");

    sessions.set("copied", value).ttl(HOUR).await.unwrap();
    assert_eq!(user_of(root, "copied"), "ada");
    sessions.update_expiry(&session, Duration::ZERO.into()).await.unwrap();
    assert_eq!(user_of(root, &session), "None");
    assert_eq!(user_of(root, "copied"), "ada");
}

#[tokio::test]
async fn each_reads_what_the_other_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let store = open(root).await;
    let child = store.with_path(&["a1", "B2"]).unwrap();
    let keys = ["", "plain", "../../etc/passwd", "日本\u{0}\n%2F"];
    for key in keys {
        store.set(key, format!("root {key}")).ttl(HOUR).await.unwrap();
        child.set(key, format!("child {key}")).await.unwrap();
    }
    let script = r#"
keys = ["", "plain", "../../etc/passwd", "日本\x00\n%2F"]
async def main():
    store = FileStore(root)
    child = store.with_namespace("a1").with_namespace("B2")
    for key in keys:
        assert await store.get(key) == f"root {key}".encode(), key
        assert await child.get(key) == f"child {key}".encode(), key
        assert 3500 < await store.expires_in(key) <= 3600
        assert await child.expires_in(key) == -1
        assert await store.get(key, renew_for=7200) is not None
        await child.set(key, f"theirs {key}", expires_in=60)
asyncio.run(main())
"#;
    litestar(root, script);
    for key in keys {
        assert_eq!(child.get(key).await.unwrap().unwrap(), format!("theirs {key}"));
        let left = child.expires_in(key).await.unwrap().as_secs().unwrap();
        assert!((1..=60).contains(&left), "{left}");
        assert!(store.expires_in(key).await.unwrap().as_secs().unwrap() > 3_600);
        assert!(store.delete(key).await.unwrap());
    }
    assert_eq!(litestar(root, "print(asyncio.run(FileStore(root).get('plain')))"), "None");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_clearing_and_purging_leave_larder_working() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let store = open(&root).await;
    store.set("lasting", "v").await.unwrap();

    // Nothing that a writer keeps in the folder for a moment makes its purging stumble.
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            let mut number = 0_u64;
            while store.get("end").await.unwrap().is_none() {
                number += 1;
                store.set("busy", number.to_string()).await.unwrap();
                store
                    .set(&format!("new {number}"), "v")
                    .ttl(Duration::from_millis(1))
                    .await
                    .unwrap();
            }
        })
    };
    let purge = "async def main():\n    \
            for _ in range(50):\n        \
                await FileStore(root).delete_expired()\n\
        asyncio.run(main())\n";
    let path = root.clone();
    tokio::task::spawn_blocking(move || litestar(&path, purge)).await.unwrap();
    store.set("end", "").await.unwrap();
    writer.await.unwrap();
    assert_eq!(store.get("lasting").await.unwrap().unwrap(), "v");

    let child = store.with_namespace("child").unwrap();
    child.set("key", "v").await.unwrap();
    litestar(&root, "asyncio.run(FileStore(root).delete_all())");
    assert_eq!(store.get("lasting").await.unwrap(), None);
    assert_eq!(child.get("key").await.unwrap(), None);
    let other = open(&root).await;
    for number in 0..20 {
        assert_eq!(store.increment("counter", 1).await.unwrap(), 2 * number + 1);
        assert_eq!(other.increment("counter", 1).await.unwrap(), 2 * number + 2);
    }
    child.set("key", "new").await.unwrap();
    assert_eq!(child.get("key").await.unwrap().unwrap(), "new");
}
