//! Who may read what, and what lies where a file or folder belongs.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use larder_core::{ErrorKind, ManualClock, Namespace, NamespacedStore, Result, Store, StoreExt};
use larder_file::FileStore;

/// Longer than any call that does not hang takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "022", "077", "277", "777"] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("above/root");
        let script = format!("umask {umask}; exec \"$@\"");
        common::succeeds(
            common::child_in("write_some_keys", &root).through(&["sh", "-c", &script, "sh"]),
        );
        assert_eq!((mode(root.parent().unwrap()), mode(&root)), (0o700, 0o700), "umask {umask}");
        let names = common::tree(&root);
        assert!(names.len() >= 5, "{names:?}");
        for name in names {
            let path = root.join(&name);
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), expected, "umask {umask}, {name}");
        }
    }
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn write_some_keys() {
    let store = FileStore::builder(common::root_of_child()).build().await.unwrap();
    let child = store.with_path(&["a", "b c"]).unwrap();
    for value in ["first", "second"] {
        store.set("key", value).await.unwrap();
        child.set("key", value).await.unwrap();
    }
}

#[tokio::test]
async fn a_root_that_exists_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let store = FileStore::builder(folder.path()).build().await.unwrap();
    store.set("key", "value").await.unwrap();
    assert_eq!(mode(folder.path()), 0o755);
}

/// Calls that need a key's file all fail with `Corrupt`, soon, and change nothing.
async fn refuses(store: &dyn Store, key: &str, what: &str) {
    let checks = async {
        let kinds = [
            store.get(key).await.map(|_| ()),
            store.get(key).renew_for(Duration::from_secs(1)).await.map(|_| ()),
            store.exists(key).await.map(|_| ()),
            store.expires_in(key).await.map(|_| ()),
            store.set(key, "new").await.map(|_| ()),
            store.set(key, "new").if_absent().await.map(|_| ()),
            store.set(key, "new").ttl(Duration::ZERO).await.map(|_| ()),
            store.update_expiry(key, Duration::from_secs(1).into()).await.map(|_| ()),
            store.delete(key).await.map(|_| ()),
        ];
        for (call, outcome) in kinds.into_iter().enumerate() {
            let error = outcome.expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}, call {call}: {error}");
        }
    };
    tokio::time::timeout(PATIENCE, checks).await.expect("a call hangs");
}

#[tokio::test]
async fn what_is_no_file_in_a_keys_place_is_an_error_and_stays() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::builder(folder.path()).build().await?;
    let place = |key: &str| common::file_of(store.path(), &Namespace::root(), key);
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "untouched").unwrap();

    std::fs::create_dir(place("folder")).unwrap();
    common::succeeds(common::program("mkfifo").arg(place("fifo")));
    symlink(&outside, place("link")).unwrap();
    symlink(place("nowhere"), place("dangling")).unwrap();
    let _socket = UnixListener::bind(place("socket")).unwrap();
    symlink(place("loop"), place("loop")).unwrap();

    let before = common::tree(folder.path());
    let keys = ["folder", "fifo", "link", "dangling", "socket", "loop"];
    for key in keys {
        refuses(&store, key, key).await;
    }
    store.set("key", "value").await?;
    let page = tokio::time::timeout(PATIENCE, store.list_page("", None, 10)).await.unwrap()?;
    assert_eq!((page.keys, page.unlisted), (vec!["key".to_owned()], 0));
    assert_eq!(store.delete_expired().await?, 0);
    store.delete_all().await?;
    let after = common::tree(folder.path());
    let missing: Vec<_> = before.iter().filter(|name| !after.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(common::leftovers(folder.path()), [""; 0]);
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "untouched");
    Ok(())
}

#[tokio::test]
async fn no_folder_is_reached_through_a_symlink() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let store = FileStore::builder(&root).build().await?;
    let elsewhere = FileStore::builder(folder.path().join("elsewhere")).build().await?;
    let target = elsewhere.with_namespace("inner")?;
    elsewhere.set("key", "theirs").await?;
    target.set("key", "theirs").await?;
    symlink(elsewhere.path(), root.join("link")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();

    let before = common::tree(elsewhere.path());
    for path in [&["link"][..], &["link", "inner"], &["file"], &["file", "below"]] {
        let child = store.with_path(path)?;
        refuses(&*child, "key", &format!("{path:?}")).await;
        for outcome in [
            child.list_page("", None, 10).await.map(|_| ()),
            child.delete_all().await,
            child.delete_expired().await.map(|_| ()),
        ] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt, "{path:?}");
        }
    }
    assert_eq!(store.list_child_namespaces(None, 10).await?.segments, [""; 0]);
    assert_eq!(store.delete_expired().await?, 0);
    store.delete_all().await?;
    assert_eq!(common::tree(elsewhere.path()), before);
    assert_eq!(target.get("key").await?.unwrap(), "theirs");
    Ok(())
}

#[tokio::test]
async fn a_lock_file_that_is_a_symlink_is_not_followed() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::builder(folder.path().join("root")).build().await?;
    store.set("key", "value").await?;
    let names = common::tree(store.path());
    let lock = store.path().join(names.iter().find(|name| name.contains("lock")).unwrap());
    let target = folder.path().join("target");
    std::fs::rename(&lock, &target).unwrap();
    symlink(&target, &lock).unwrap();
    let error = store.set("key", "new").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(store.get("key").await?.unwrap(), "value");
    Ok(())
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Runs a test in a process of its own that modes bind, be it root's or not.
fn bound(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    std::fs::write(&closed, "").unwrap();
    chmod(&closed, 0);
    let child = common::child_in(test, &folder.path().join("root"));
    if std::fs::File::open(closed).is_err() {
        common::succeeds(child.command());
        return;
    }
    let unable = "--bounding-set=-dac_override,-dac_read_search";
    let has_setpriv = common::program("setpriv").args([unable, "true"]).status();
    assert!(
        has_setpriv.is_ok_and(|status| status.success()),
        "root may read everything: run this test as another user, or install setpriv (util-linux)"
    );
    common::succeeds(child.through(&["setpriv", unable]));
}

/// A store, and its clock, with a key that lives and one that has expired in each namespace.
async fn living_and_dead(namespaces: &[&[&str]]) -> (FileStore, ManualClock) {
    let clock = ManualClock::new();
    let builder = FileStore::builder(common::root_of_child()).clock(clock.clone());
    let store = builder.build().await.unwrap();
    for path in namespaces {
        let child = store.with_path(path).unwrap();
        child.set("live", "v").await.unwrap();
        child.set("dead", "v").ttl(Duration::from_secs(1)).await.unwrap();
    }
    clock.advance(Duration::from_secs(1));
    (store, clock)
}

/// Everything but the lock files.
fn data(store: &FileStore) -> Vec<String> {
    let mut names = common::tree(store.path());
    names.retain(|name| !name.contains(".larder-lock-"));
    names
}

#[test]
fn a_file_that_may_not_be_read_stops_nothing_else() {
    bound("pass_over_files");
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn pass_over_files() {
    let (store, _clock) = living_and_dead(&[&[], &["n"]]).await;
    let file = |namespace: &Namespace, key| common::file_of(store.path(), namespace, key);
    let root = Namespace::root();
    for key in ["a", "b"] {
        store.set(key, "v").await.unwrap();
    }
    let child = store.with_namespace("n").unwrap();
    for closed in [
        file(&root, "a"),
        file(&root, "dead"),
        file(child.namespace(), "live"),
        file(child.namespace(), "dead"),
    ] {
        chmod(&closed, 0);
    }
    store.set("expired", "v").ttl(Duration::from_nanos(1)).await.unwrap();

    for error in [
        store.get("a").await.unwrap_err(),
        store.exists("a").await.unwrap_err(),
        store.set("a", "new").if_absent().await.unwrap_err(),
        store.delete("a").if_matches(larder_core::Version::new("v")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    let page = store.list_page("", None, 10).await.unwrap();
    assert_eq!((page.keys.len(), page.unlisted), (3, 2), "{page:?}");
    assert_eq!(store.delete_expired().await.unwrap(), 0);
    assert_eq!(store.list_child_namespaces(None, 10).await.unwrap().segments, ["n"]);
    assert_eq!(store.delete_prefix("b").await.unwrap(), 1);
    assert!(!store.exists("b").await.unwrap());

    assert!(store.delete("a").await.unwrap());
    assert!(!store.delete("a").await.unwrap());
    assert!(store.delete("dead").await.unwrap());
    assert_eq!(child.delete_prefix("").await.unwrap(), 2);
    chmod(&file(&root, "live"), 0);
    store.set("live", "new").await.unwrap();
    assert_eq!(store.get("live").await.unwrap().unwrap(), "new");
    chmod(&file(&root, "live"), 0);
    store.delete_all().await.unwrap();
    assert_eq!(data(&store), [""; 0]);
}

#[test]
fn a_folder_that_may_not_be_read_is_told_once_the_rest_is_done() {
    bound("pass_over_folders");
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn pass_over_folders() {
    let namespaces: [&[&str]; 5] = [&[], &["a"], &["m", "below"], &["m", "closed"], &["z"]];
    let (store, _clock) = living_and_dead(&namespaces).await;
    let closed = ["backup", "m/closed"].map(|name| store.path().join(name));
    std::fs::create_dir(&closed[0]).unwrap();
    for folder in &closed {
        chmod(folder, 0);
    }
    let dead = |path| {
        let namespace = Namespace::from_segments(path).unwrap();
        common::file_of(store.path(), &namespace, "dead")
    };

    let error = store.delete_expired().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    for path in [&[][..], &["a"], &["m", "below"], &["z"]] {
        assert!(!dead(path).exists(), "{path:?}");
    }
    assert_eq!(store.list_page("", None, 10).await.unwrap().keys, ["live"]);
    // What it holds is not known, so that it may well hold a live key.
    let children = store.list_child_namespaces(None, 10).await.unwrap().segments;
    assert_eq!(children, ["a", "backup", "m", "z"]);
    let error = store.with_namespace("backup").unwrap().list_page("", None, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");

    let error = store.delete_all().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(data(&store), ["backup", "m", "m/closed"]);
    for folder in &closed {
        chmod(folder, 0o700);
    }
    assert!(dead(&["m", "closed"]).exists());
    store.delete_all().await.unwrap();
    assert_eq!(data(&store), [""; 0]);
}

#[test]
fn a_folder_that_may_not_be_written_is_told_once_the_rest_is_done() {
    bound("pass_over_what_stays");
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn pass_over_what_stays() {
    let names: Vec<String> = ('a'..='z').map(String::from).collect();
    let paths: Vec<[&str; 1]> = names.iter().map(|name| [&**name]).collect();
    let paths: Vec<&[&str]> = paths.iter().map(|path| &path[..]).collect();
    let (store, _clock) = living_and_dead(&paths).await;
    let folder = store.path().join("m");
    chmod(&folder, 0o500);
    let kept = common::tree(&folder);
    let child = store.with_namespace("m").unwrap();
    for error in [
        store.delete_expired().await.unwrap_err(),
        child.delete_prefix("l").await.unwrap_err(),
        child.delete("live").await.unwrap_err(),
        store.delete_all().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    assert_eq!(common::tree(&folder), kept);
    assert_eq!(data(&store).len(), 3, "{:?}", data(&store));
    chmod(&folder, 0o700);
    store.delete_all().await.unwrap();
    assert_eq!(data(&store), [""; 0]);
}
