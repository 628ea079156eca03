//! Writers that are killed at any moment, and disks that are full or cannot be written.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use larder_core::{
    Durability, ErrorKind, ManualClock, Namespace, NamespacedStore, StorageObject, Store, StoreExt,
};
use larder_file::FileStore;

const ROUNDS: u64 = 30;
const KEYS: u64 = 5;

/// A value that tells its number and whether it is whole.
fn value(number: u64) -> String {
    format!("{number};").repeat(usize::try_from(number % 7 * 300 + 1).unwrap())
}

fn number_in(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let number = text.split(';').next()?.parse().ok()?;
    (text == self::value(number)).then_some(number)
}

async fn open(root: &Path) -> FileStore {
    FileStore::builder(root).durability(Durability::ProcessCrash).build().await.unwrap()
}

#[tokio::test]
async fn killed_writers_leave_the_old_or_the_new_and_nothing_that_shows() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    let mut first = 0;
    for round in 0..ROUNDS {
        let mut command = common::child_in("write_until_killed", folder.path()).command();
        command.env("LARDER_FILE_TEST_FIRST", first.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after so many acknowledgements, at whatever point of the next write.
        let mut left = 20 + round * 13 % 97;
        let mut read = |line: String| {
            let Some((key, number)) = line.strip_prefix("ok ").and_then(|l| l.split_once(' '))
            else {
                return false;
            };
            let number = number.parse().unwrap();
            acknowledged.insert(key.parse().unwrap(), number);
            first = number + 1;
            true
        };
        while left > 0 {
            left -= u64::from(read(lines.next().expect("the child ended").unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died.
        for line in lines.map_while(Result::ok) {
            read(line);
        }

        let store = open(folder.path()).await;
        let namespace = store.with_namespace("crash test").unwrap();
        for (key, number) in &acknowledged {
            let found =
                namespace.get(&key.to_string()).await.unwrap().expect("it was acknowledged");
            let found = number_in(&found).expect("a whole value");
            assert!(found >= *number, "round {round}: {found} is older than {number}");
        }
        let page = namespace.list_page("", None, 1_000).await.unwrap();
        let mut keys = page.keys;
        keys.sort();
        let expected: Vec<String> = (0..KEYS).map(|key| key.to_string()).collect();
        assert_eq!((keys, page.unlisted), (expected, 0), "round {round}");
        assert_eq!(store.list_child_namespaces(None, 9).await.unwrap().segments, ["crash test"]);
        first += KEYS;
    }
    let store = open(folder.path()).await;
    store.delete_expired().await.unwrap();
    assert_eq!(common::leftovers(folder.path()), [""; 0]);
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn write_until_killed() {
    let store = open(&common::root_of_child()).await;
    let namespace = store.with_namespace("crash test").unwrap();
    let first: u64 = std::env::var("LARDER_FILE_TEST_FIRST").unwrap().parse().unwrap();
    for number in first.. {
        let key = number % KEYS;
        namespace.set(&key.to_string(), value(number)).await.unwrap();
        println!("\nok {key} {number}");
    }
}

/// Fills the store until it refuses a value, and looks at what is left.
async fn fill(store: &FileStore, kind: ErrorKind) {
    let namespace = store.with_namespace("full").unwrap();
    let value = "v".repeat(48 * 1024);
    namespace.set("kept", "old").await.unwrap();
    let mut stored = Vec::new();
    let error = loop {
        let key = format!("key {}", stored.len());
        match namespace.set(&key, &value).await {
            Ok(_) => stored.push(key),
            Err(error) => break error,
        }
        assert!(stored.len() < 1_000, "there is no end of it");
    };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!error.is_retryable());
    let error = namespace.set("kept", &value).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(namespace.get("kept").await.unwrap().unwrap(), "old");
    // The same key, so that its lock file is there already.
    let unused = store.with_path(&["full", "new", "deep one"]).unwrap();
    let before = common::tree(store.path());
    let error = unused.set("kept", &value).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(common::tree(store.path()), before);
    let failed = format!("key {}", stored.len());
    assert_eq!(namespace.get(&failed).await.unwrap(), None);
    assert_eq!(namespace.list_page("", None, 2_000).await.unwrap().keys.len(), stored.len() + 1);
    assert_eq!(common::leftovers(store.path()), [""; 0]);
    namespace.delete_all().await.unwrap();
    namespace.set("kept", "new").await.unwrap();
}

#[test]
fn a_write_that_is_cut_short_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A limit of 16 KiB for each file, with the signal ignored: a longer write is cut there.
    let script = "trap '' XFSZ; ulimit -f 32; exec \"$@\"";
    let child = common::child_in("write_beyond_the_limit", folder.path());
    common::succeeds(child.through(&["sh", "-c", script, "sh"]));
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn write_beyond_the_limit() {
    let root = common::root_of_child();
    for durability in [Durability::ProcessCrash, Durability::PowerLoss] {
        let store = FileStore::builder(&root).durability(durability).build().await.unwrap();
        fill(&store, ErrorKind::TooLarge).await;
        store.close().await.unwrap();
    }
}

/// Runs a test in a process of its own that has `place` mounted as `mount` does it.
#[cfg(target_os = "linux")]
fn mounted(mount: &str, place: &str, child: common::Child) {
    // In a mount namespace of its own, so that nothing is left to unmount: as root, or, where the
    // system lets anybody have one, as root of a user namespace.
    let ways: [&[&str]; 2] = [&["unshare", "--mount"], &["unshare", "--map-root-user", "--mount"]];
    let way = ways.into_iter().find(|way| {
        let words = [way, &["sh", "-c", mount, place][..]].concat();
        common::program(words[0]).args(&words[1..]).output().is_ok_and(|out| out.status.success())
    });
    let way = way.expect(
        "a file system cannot be mounted: run this test as root, or allow user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0)",
    );
    let script = format!("{mount} && exec \"$@\"");
    common::succeeds(child.through(&[way, &["sh", "-c", &script, place][..]].concat()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_old_value_and_no_litter() {
    let folder = tempfile::tempdir().unwrap();
    let child = common::child_in("write_until_full", &folder.path().join("root"));
    let place = folder.path().to_str().unwrap();
    mounted("mount -t tmpfs -o size=512k tmpfs \"$0\"", place, child);
}

#[cfg(target_os = "linux")]
#[test]
fn without_room_for_a_lock_file_what_is_missing_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let child = common::child_in("delete_without_locks", &folder.path().join("root"));
    let place = folder.path().to_str().unwrap();
    mounted("mount -t tmpfs -o size=512k tmpfs \"$0\"", place, child);
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn delete_without_locks() {
    let root = common::root_of_child();
    std::fs::create_dir(&root).unwrap();
    // Written by Litestar, so that there are no lock files yet.
    let object = StorageObject::new("v", None).to_bytes();
    std::fs::write(common::file_of(&root, &Namespace::root(), "kept"), object).unwrap();
    let filler = root.parent().unwrap().join("room");
    let mut filling = std::fs::File::create(&filler).unwrap();
    while filling.write(&[0; 4096]).is_ok() {}
    drop(filling);

    let store = open(&root).await;
    assert_eq!(store.set("new", "v").await.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(store.delete("kept").await.unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(!store.delete("missing").await.unwrap());
    assert!(!store.with_namespace("none").unwrap().delete("missing").await.unwrap());
    let outcomes = store.delete_many(&["missing", "kept"]).await.unwrap().outcomes;
    assert!(!*outcomes[0].as_ref().unwrap());
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(store.get("kept").await.unwrap().unwrap(), "v");

    std::fs::remove_file(filler).unwrap();
    assert!(store.delete("kept").await.unwrap());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_disk_that_cannot_be_written_the_dead_are_dead() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    // A clock that is years behind: what it makes has long expired for everybody else.
    let store = FileStore::builder(&root).clock(ManualClock::new()).build().await.unwrap();
    store.set("dead", "v").ttl(Duration::from_secs(1)).await.unwrap();
    store.set("live", "v").await.unwrap();
    store.close().await.unwrap();
    let place = folder.path().to_str().unwrap();
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    mounted(mount, place, common::child_in("read_what_cannot_be_written", &root));
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn read_what_cannot_be_written() {
    let store = FileStore::builder(common::root_of_child()).build().await.unwrap();
    let error = store.set("dead", "new").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(!store.delete("missing").await.unwrap());
    let error = store.delete("live").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(store.get("dead").await.unwrap(), None);
    assert!(!store.exists("dead").await.unwrap());
    assert_eq!(store.get("live").await.unwrap().unwrap(), "v");
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn write_until_full() {
    let root = common::root_of_child();
    let store = FileStore::builder(&root).lock_timeout(Duration::ZERO).build().await.unwrap();
    fill(&store, ErrorKind::StorageFull).await;
    fill(&store, ErrorKind::StorageFull).await;
}
