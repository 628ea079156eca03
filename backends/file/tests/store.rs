//! What the conformance suite does not ask of every backend.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::time::Duration;

use larder_core::{
    Durability, ErrorKind, ExpiresIn, GetOptions, ManualClock, NamespacedStore, Result, SetItem,
    Store, StoreExt,
};
use larder_file::FileStore;

#[tokio::test]
async fn an_absent_root_is_made_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b/c");
    let error = FileStore::builder(&root).create(false).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    FileStore::builder(&root).build().await.unwrap();
    FileStore::builder(&root).create(false).build().await.unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
    let too_long = "x".repeat(256);
    let names = ["file", "file/below", "loop", "loop/below", "a\0b", &too_long];
    for bad in names.map(|name| folder.path().join(name)).into_iter().chain(["".into()]) {
        let error = FileStore::builder(&bad).build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad:?}: {error}");
    }
    let volatile = FileStore::builder(&root).durability(Durability::Volatile).build().await;
    assert_eq!(volatile.unwrap_err().kind(), ErrorKind::InvalidConfig);
}

#[test]
fn opening_touches_the_disk_on_a_blocking_thread_alone() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        // There is one such thread, and it is busy.
        let (release, busy) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || busy.recv());
        let mut build = std::pin::pin!(FileStore::builder(folder.path()).build());
        std::future::poll_fn(|context| {
            assert!(build.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        release.send(()).unwrap();
        // This ends after what has been begun before.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        let root = std::fs::File::open(folder.path()).unwrap();
        root.set_modified(std::time::UNIX_EPOCH).unwrap();
        build.await.unwrap();
        assert_eq!(root.metadata().unwrap().modified().unwrap(), std::time::UNIX_EPOCH);
    });
}

#[tokio::test]
async fn a_writer_that_waits_too_long_gives_up() {
    use rustix::fs::{FlockOperation, flock};
    let folder = tempfile::tempdir().unwrap();
    let wait = Duration::from_millis(50);
    let store = FileStore::builder(folder.path()).lock_timeout(wait).build().await.unwrap();
    store.set("key", "old").await.unwrap();
    let names = common::tree(folder.path());
    let lock = names.iter().find(|name| name.contains("lock")).unwrap();
    let lock = std::fs::File::open(folder.path().join(lock)).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    for error in [
        store.set("key", "new").await.unwrap_err(),
        store.delete("key").await.unwrap_err(),
        store.delete_all().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_retryable());
    }
    assert_eq!(store.get("key").await.unwrap().unwrap(), "old");
    drop(lock);
    store.set("key", "new").await.unwrap();
}

#[tokio::test]
async fn a_sweep_that_had_to_leave_keys_does_not_say_that_nothing_was_done() -> Result<()> {
    use rustix::fs::{FlockOperation, flock};
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let builder = FileStore::builder(folder.path()).clock(clock.clone());
    let store = builder.lock_timeout(Duration::ZERO).build().await?;
    let second = Duration::from_secs(1);
    store.set("held", "value").ttl(second).await?;
    let names = common::tree(folder.path());
    let lock = names.iter().find(|name| name.contains("lock")).unwrap();
    let lock = std::fs::File::open(folder.path().join(lock)).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();

    for sweep in ["prefix", "all", "expired"] {
        let others = ["one", "two", "three"];
        for key in others {
            store.set(key, "value").ttl(second).await?;
        }
        let error = match sweep {
            "prefix" => store.delete_prefix("").await.unwrap_err(),
            "all" => store.delete_all().await.unwrap_err(),
            _ => {
                clock.advance(second);
                store.delete_expired().await.unwrap_err()
            }
        };
        assert_eq!(error.kind(), ErrorKind::Locked, "{sweep}: {error}");
        let names = common::tree(folder.path());
        let left = names.iter().filter(|name| !name.contains("lock"));
        assert_eq!(left.count(), 1, "{sweep}");
    }
    // Nothing but the key that is held is left.
    assert_eq!(store.delete_expired().await.unwrap_err().kind(), ErrorKind::Timeout);
    drop(lock);
    assert_eq!(store.delete_expired().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_renewal_for_zero_tells_that_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::builder(folder.path()).build().await.unwrap();
    let taking = GetOptions::default().with_expires_in(true).with_renew_for(Duration::ZERO);
    store.set("key", "value").ttl(Duration::from_secs(60)).await.unwrap();
    let entry = store.get_opts("key", taking.clone()).await.unwrap().unwrap();
    assert_eq!((&entry.value[..], entry.expires_in), (&b"value"[..], Some(ExpiresIn::Missing)));
    store.set("key", "value").await.unwrap();
    let entry = store.get_opts("key", taking).await.unwrap().unwrap();
    assert_eq!(entry.expires_in, Some(ExpiresIn::Never));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn closing_frees_every_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let open = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let links = links.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.filter(|path| path.starts_with(&root)).count()
    };
    let store = FileStore::builder(&root).build().await.unwrap();
    for number in 0..500 {
        store.set(&format!("key {number}"), "v").await.unwrap();
    }
    assert!((2..=65).contains(&open()), "{}", open());
    store.list_page("", None, 3).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(open(), 0);
    assert_eq!(store.get("key 1").await.unwrap_err().kind(), ErrorKind::Closed);
    let again = FileStore::builder(&root).build().await.unwrap();
    assert_eq!(again.get("key 1").await.unwrap().unwrap(), "v");
}

#[tokio::test]
async fn a_listing_goes_on_when_its_names_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::builder(folder.path()).build().await.unwrap();
    for number in 0..50 {
        store.set(&format!("key {number}"), "v").await.unwrap();
        store.with_namespace(&format!("child {number}")).unwrap().set("k", "v").await.unwrap();
    }
    let (mut keys, mut children) = (Vec::new(), Vec::new());
    let (mut next, mut next_child) = (None, None);
    loop {
        // Another handle of the same root has none of the names in memory.
        let other = FileStore::builder(folder.path()).build().await.unwrap();
        if next.is_some() || keys.is_empty() {
            let page = other.list_page("", next.as_ref(), 7).await.unwrap();
            keys.extend(page.keys);
            next = page.next;
        }
        if next_child.is_some() || children.is_empty() {
            let page = other.list_child_namespaces(next_child.as_ref(), 7).await.unwrap();
            children.extend(page.segments);
            next_child = page.next;
        }
        if next.is_none() && next_child.is_none() {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), children.len()), (50, 50));
    assert!(children.is_sorted());
}

#[tokio::test]
async fn the_deepest_and_longest_namespaces_work() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::builder(folder.path()).build().await.unwrap();
    let longest = "-".repeat(255);
    // 2,048 bytes of segments make a path beyond what one system call takes.
    let paths = [vec![&*longest; 8], vec!["~"; 32], vec!["é"; 32]];
    for path in &paths {
        let namespace = store.with_path(path).unwrap();
        namespace.set("key", "v").await.unwrap();
        assert_eq!(namespace.get("key").await.unwrap().unwrap(), "v");
        assert_eq!(namespace.list_page("", None, 9).await.unwrap().keys, ["key"]);
    }
    let mut children = store.list_child_namespaces(None, 9).await.unwrap().segments;
    children.sort();
    assert_eq!(children, [&*longest, "~", "é"]);
    store.delete_all().await.unwrap();
    let left = common::tree(folder.path());
    assert!(left.iter().all(|name| name.starts_with(".larder-lock-")), "{left:?}");
}

#[tokio::test]
async fn bulk_calls_cross_their_slices() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::builder(folder.path())
        .durability(Durability::ProcessCrash)
        .clock(ManualClock::new())
        .build()
        .await
        .unwrap();
    let names: Vec<String> = (0..700).map(|number| format!("key {}", number % 650)).collect();
    let items = names.iter().enumerate();
    let items = items.map(|(number, key)| SetItem::new(key, number.to_string())).collect();
    let outcomes = store.set_many(items).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().is_applied()));
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = store.get_many(&keys).await.unwrap();
    assert_eq!(values[0].as_ref().unwrap().as_ref().unwrap(), "650");
    assert_eq!(values[649].as_ref().unwrap().as_ref().unwrap(), "649");
    let deleted = store.delete_many(&keys).await.unwrap();
    assert_eq!((deleted.existed, deleted.outcomes.len()), (650, 700));
    assert!(deleted.outcomes[650..].iter().all(|outcome| !outcome.as_ref().unwrap()));
}

/// File systems whose directories are read differently, tmpfs among them where there is one.
fn folders() -> Vec<tempfile::TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    let memory = memory.is_dir().then(|| tempfile::tempdir_in(memory)).and_then(Result::ok);
    memory.into_iter().chain(tempfile::tempdir()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_misses_nothing_that_is_overwritten_meanwhile() {
    for folder in folders() {
        let builder = FileStore::builder(folder.path()).durability(Durability::ProcessCrash);
        let store = builder.build().await.unwrap();
        let keys: Vec<String> = (0..500).map(|number| format!("key {number}")).collect();
        store.set_many(keys.iter().map(|key| SetItem::new(key, "v")).collect()).await.unwrap();
        let writer = {
            let (store, keys) = (store.clone(), keys.clone());
            tokio::spawn(async move {
                for key in keys.iter().cycle() {
                    if store.get("end").await.unwrap().is_some() {
                        break;
                    }
                    store.set(key, "again").await.unwrap();
                }
            })
        };
        for _ in 0..150 {
            let page = store.list_page("key", None, 1_000).await.unwrap();
            let missing: Vec<_> = keys.iter().filter(|key| !page.keys.contains(key)).collect();
            assert!(missing.is_empty(), "{missing:?} on {}", folder.path().display());
            assert_eq!(page.keys.len(), keys.len());
        }
        store.set("end", "").await.unwrap();
        writer.await.unwrap();
    }
}
