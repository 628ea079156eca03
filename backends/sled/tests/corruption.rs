//! Damaged files: a typed error or the right value, never a panic, a hang or a wrong value.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::copy_directory;
use larder_core::{ErrorKind, Namespace, NamespacedStore, Result, Store, StoreExt};
use larder_sled::SledStore;

/// How long everything that is done to one damaged store may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Key and value of everything in a sound store.
fn entries() -> BTreeMap<String, Vec<u8>> {
    (0..200).map(|number| (format!("key {number}"), value_of(number))).collect()
}

fn value_of(number: usize) -> Vec<u8> {
    let len = if number % 10 == 3 { 15_000 } else { number % 90 };
    format!("value {number} ").into_bytes().into_iter().cycle().take(len).collect()
}

/// Tells whether this is the last value of a key or one of those before it: a log that was cut off
/// is a log of earlier days, and no checksum tells.
fn was_written(got: &[u8], last: &[u8]) -> bool {
    got == last || (0..5).any(|round| got == vec![round; 4_000])
}

/// A store that was closed properly.
async fn sound(directory: &Path) -> PathBuf {
    let path = directory.join("sound");
    // In two sittings, so that there is a snapshot beside the log.
    let store = SledStore::builder(&path).build().await.expect("a sound store");
    for (key, value) in entries().iter().take(100) {
        store.set(key, value.clone()).await.expect("a sound store");
    }
    store.close().await.expect("a sound store");
    let store = SledStore::builder(&path).build().await.expect("a sound store");
    // Written over and over, so that the log has several segments, and pages lie across them.
    for round in 0..6 {
        for (key, value) in entries() {
            if round < 5 {
                store.set(&key, vec![round; 4_000]).await.expect("a sound store");
            }
            store.set(&key, value).ttl(Duration::from_secs(3600)).await.expect("a sound store");
        }
    }
    store.close().await.expect("a sound store");
    path
}

/// Does everything there is to do to a store that may be damaged, and says what it should not have
/// seen.
async fn exercise(path: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    let store = match SledStore::builder(path).build().await {
        Ok(store) => store,
        Err(error) => {
            look(&mut seen, "opening", Err::<(), _>(error));
            return seen;
        }
    };
    for (key, value) in entries() {
        match store.get(&key).await {
            Ok(Some(got)) if !was_written(&got, &value) => seen.push(format!("{key} differs")),
            got => look(&mut seen, &key, got),
        }
    }
    look(&mut seen, "listing", store.list_page("", None, 1_000).await);
    look(&mut seen, "children", store.list_child_namespaces(None, 10).await);
    for number in 0..40 {
        let value = vec![7; 100 + number * 400];
        look(&mut seen, "setting", store.set(&format!("key {}", number * 5), value).await);
        look(&mut seen, "deleting", store.delete(&format!("key {}", number * 5 + 1)).await);
    }
    look(&mut seen, "purging", store.delete_expired().await);
    look(&mut seen, "flushing", store.flush().await);
    look(&mut seen, "clearing", store.delete_all().await);
    look(&mut seen, "closing", store.close().await);
    seen
}

/// Notes an error that is none of those that damaged files may give.
fn look<T>(seen: &mut Vec<String>, what: &str, outcome: Result<T>) {
    use ErrorKind::{Corrupt, InvalidConfig, Unknown};
    match outcome {
        Err(error) if !matches!(error.kind(), Corrupt | InvalidConfig | Unknown) => {
            seen.push(format!("{what}: {error:?}"));
        }
        _ => {}
    }
}

/// Fails unless everything that is done to a damaged store ends, and ends well.
async fn expect_no_harm(path: &Path, damage: &str) {
    let path = path.to_owned();
    // In a task, so that a panic is told from a failed expectation.
    let exercise = tokio::spawn(async move { exercise(&path).await });
    let seen = tokio::time::timeout(PATIENCE, exercise).await;
    let seen = seen.unwrap_or_else(|_| panic!("{damage}: it hangs"));
    let seen = seen.unwrap_or_else(|panic| panic!("{damage}: {panic}"));
    assert!(seen.is_empty(), "{damage}: {}", seen.join("; "));
}

/// Names another seed than the usual one for the damage to be done.
const SEED: &str = "LARDER_SLED_SEED";

/// A small generator of numbers, the same in every run unless a seed is given.
struct Numbers(u64);

impl Numbers {
    fn new() -> Self {
        let given = std::env::var(SEED).ok();
        let seed = given.map_or(1, |seed| seed.parse().expect("a number"));
        // Shown when the test fails.
        println!("{SEED}={seed}");
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end.max(1)
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Damages one file.
fn damage(file: &Path, kind: usize, numbers: &mut Numbers) -> String {
    let mut bytes = fs::read(file).expect("a file");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let at = numbers.below(used);
    let what = match kind {
        0 => {
            bytes[at] ^= 1 << numbers.below(8);
            "a bit turned over"
        }
        1 => {
            bytes.truncate(at);
            "cut off"
        }
        2 => {
            let end = (at + 1 + numbers.below(5_000)).min(bytes.len());
            bytes[at..end].fill(0);
            "zeroed"
        }
        3 => {
            let end = (at + 1 + numbers.below(300)).min(bytes.len());
            bytes[at..end].fill_with(|| u8::try_from(numbers.below(256)).expect("eight bits"));
            "overwritten"
        }
        _ => {
            let from = numbers.below(used);
            let len = numbers.below(2_000).min(bytes.len() - at.max(from));
            bytes.copy_within(from..from + len, at);
            "copied over itself"
        }
    };
    fs::write(file, bytes).expect("a file");
    format!("{} {what} at {at}", file.file_name().expect("a name").display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let sound = sound(directory.path()).await;
    let names = files(&sound);
    assert!(names.len() >= 3, "settings, log and snapshot: {names:?}");
    let mut numbers = Numbers::new();
    for round in 0..8 {
        for name in &names {
            for kind in 0..5 {
                let path = directory.path().join("damaged");
                copy_directory(&sound, &path);
                let what = damage(&path.join(name.file_name().unwrap()), kind, &mut numbers);
                expect_no_harm(&path, &format!("round {round}, {what}")).await;
                fs::remove_dir_all(&path).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_files_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let sound = sound(directory.path()).await;
    for name in files(&sound) {
        let path = directory.path().join("damaged");
        copy_directory(&sound, &path);
        let file = path.join(name.file_name().unwrap());
        fs::remove_file(&file).unwrap();
        expect_no_harm(&path, &format!("{} removed", file.display())).await;
        fs::remove_dir_all(&path).unwrap();
        // A directory where a file should be.
        copy_directory(&sound, &path);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        expect_no_harm(&path, &format!("{} a directory", file.display())).await;
        fs::remove_dir_all(&path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_damaged_under_an_open_store_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let sound = sound(directory.path()).await;
    let mut numbers = Numbers::new();
    for round in 0..10 {
        let path = directory.path().join("damaged");
        copy_directory(&sound, &path);
        // Hardly a page stays in memory, so that most reads go to the file.
        let store = SledStore::builder(&path).cache_capacity(64 << 10).build().await.unwrap();
        for kind in 0..5 {
            let mut seen = Vec::new();
            let what = damage(&path.join("db"), kind, &mut numbers);
            let reads = async {
                for (key, value) in entries() {
                    match store.get(&key).await {
                        Ok(Some(got)) if !was_written(&got, &value) => {
                            seen.push(format!("{key} differs"));
                        }
                        got => look(&mut seen, &key, got),
                    }
                }
                look(&mut seen, "setting", store.set("key 1", value_of(1)).await);
            };
            let ended = tokio::time::timeout(PATIENCE, reads).await;
            assert!(ended.is_ok(), "round {round}, {what}: it hangs");
            assert!(seen.is_empty(), "round {round}, {what}: {}", seen.join("; "));
        }
        let mut seen = Vec::new();
        look(&mut seen, "closing", store.close().await);
        assert!(seen.is_empty(), "round {round}: {}", seen.join("; "));
        fs::remove_dir_all(&path).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_record_is_listed_as_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::builder(directory.path().join("store")).build().await.unwrap();
    for key in ["sound", "torn"] {
        store.set(key, "v").await.unwrap();
    }
    store.with_namespace("child").unwrap().set("torn", "v").await.unwrap();
    store.plant_record(&Namespace::root(), "torn", b"junk").unwrap();
    store.plant_record(&Namespace::from_segments(["child"]).unwrap(), "torn", b"junk").unwrap();

    assert_eq!(store.list_page("", None, 10).await.unwrap().keys, ["sound", "torn"]);
    assert_eq!(store.list_page("", None, 1).await.unwrap().keys, ["sound"]);
    assert_eq!(store.list_child_namespaces(None, 10).await.unwrap().segments, ["child"]);
    assert_eq!(store.get("torn").await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.delete_prefix("t").await.unwrap(), 1);
    assert_eq!(store.list_page("", None, 10).await.unwrap().keys, ["sound"]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_error_names_the_operation_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::builder(directory.path().join("store")).build().await.unwrap();
    store.plant_record(&Namespace::root(), "torn", b"junk").unwrap();
    let torn = store.exists("torn").await.unwrap_err();
    assert_eq!((torn.kind(), torn.operation()), (ErrorKind::Corrupt, Some("exists")));
    let torn = store.expires_in("torn").await.unwrap_err();
    assert_eq!((torn.kind(), torn.operation()), (ErrorKind::Corrupt, Some("expires_in")));
    store.close().await.unwrap();
    let closed = store.exists("k").await.unwrap_err();
    assert_eq!((closed.kind(), closed.operation()), (ErrorKind::Closed, Some("exists")));
}
