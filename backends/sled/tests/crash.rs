//! A process that is killed at any moment loses nothing that it was told is stored.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use larder_core::{Durability, ErrorKind, Store, StoreExt};
use larder_sled::SledStore;

/// Names the directory to the process that is going to be killed.
const DIRECTORY: &str = "LARDER_SLED_CRASH_DIRECTORY";
const ROUNDS: usize = 24;
const TASKS: u64 = 4;
/// Each task writes this many keys in turn.
const KEYS: u64 = 11;

/// What a task's write with this number leaves under its key; some values are kept in chunks.
fn state(key: &str, number: u64) -> Option<Vec<u8>> {
    let len = match number % 7 {
        0 => 20_000,
        1 => 7_000,
        _ => 30,
    };
    let text = format!("{key}={number};").into_bytes();
    (number % 5 != 4).then(|| text.into_iter().cycle().take(len).collect())
}

/// What the process does that is killed: it writes, and says what was acknowledged.
async fn write_for_ever(directory: &Path) {
    let store = SledStore::builder(directory).build().await.expect("writing works until the end");
    let task = |task: u64| {
        let store = store.clone();
        async move {
            for number in 0.. {
                let key = format!("{task}/{}", number % KEYS);
                match state(&key, number) {
                    Some(value) => {
                        store
                            .set(&key, value)
                            .ttl(Duration::from_secs(3600))
                            .await
                            .expect("writing works until the end");
                    }
                    None => {
                        store.delete(&key).await.expect("writing works until the end");
                    }
                }
                // One write, so that no line is torn by another task's.
                let line = format!("\nacknowledged {key} {number}\n");
                std::io::stdout().write_all(line.as_bytes()).expect("writing works until the end");
            }
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|number| tokio::spawn(task(number))).collect();
    for task in tasks {
        task.await.expect("writing works until the end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return write_for_ever(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["nothing_acknowledged_is_lost", "--exact", "--nocapture"])
            .env(DIRECTORY, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Another moment in each round; what the pipe still holds after it counts too.
        let enough = 20 + round * 13;
        let mut acknowledged = BTreeMap::new();
        let mut seen = 0;
        for line in lines.map_while(Result::ok) {
            let words: Vec<_> = line.split(' ').collect();
            let ["acknowledged", key, number] = words[..] else { continue };
            acknowledged.insert(key.to_owned(), number.parse::<u64>().unwrap());
            seen += 1;
            if seen == enough {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= enough, "round {round}: the writer ended by itself, after {seen}");

        let store = SledStore::builder(&path).build().await.unwrap();
        for (key, number) in acknowledged {
            let got = store.get(&key).await.unwrap();
            // The next write may have been in progress when the end came.
            let possible = [state(&key, number), state(&key, number + KEYS)];
            assert!(
                possible.iter().any(|state| state.as_deref() == got.as_deref()),
                "round {round}: write {number} of {key} was acknowledged; there are now {:?} bytes",
                got.map(|got| got.len())
            );
        }
        store.delete_all().await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_on_the_disk_at_any_time_holds_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = SledStore::builder(&path).build().await.unwrap();
    for number in 0..30 {
        let key = format!("k{number}");
        let value = state(&key, number).unwrap_or_default();
        store.set(&key, value).await.unwrap();
        let copy = directory.path().join(format!("copy{number}"));
        common::copy_directory(&path, &copy);
        let crashed = SledStore::builder(&copy).build().await.unwrap();
        for number in 0..=number {
            let key = format!("k{number}");
            let expected = state(&key, number).unwrap_or_default();
            assert_eq!(crashed.get(&key).await.unwrap().unwrap(), expected, "{key}");
        }
        crashed.close().await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_power_loss_is_not_promised() {
    let directory = tempfile::tempdir().unwrap();
    let builder = SledStore::builder(directory.path()).durability(Durability::PowerLoss);
    assert_eq!(builder.build().await.unwrap_err().kind(), ErrorKind::InvalidConfig);
    let store = SledStore::builder(directory.path()).build().await.unwrap();
    assert_eq!(store.capabilities().durability, Durability::ProcessCrash);
    store.close().await.unwrap();
}
