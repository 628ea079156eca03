//! Several processes on one root: this binary, started again and again.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use larder_core::{Durability, ErrorKind, NamespacedStore, Result, Store, StoreExt};
use larder_file::FileStore;

const PROCESSES: usize = 3;
/// Much longer than any lock is held, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(root: &Path) -> FileStore {
    let builder = FileStore::builder(root).durability(Durability::ProcessCrash);
    builder.lock_timeout(PATIENCE).build().await.unwrap()
}

/// Runs a child's part in several processes at once, and gives what each printed.
fn run(test: &str, root: &Path) -> Vec<String> {
    let start = |number: usize| {
        let mut command = common::child_in(test, root).command();
        command.env("LARDER_FILE_TEST_NUMBER", number.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    let finish = |child: std::process::Child| {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    children.into_iter().map(finish).collect()
}

/// The numbers that the children printed after `word`.
fn numbers(texts: &[String], word: &str) -> Vec<u64> {
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect()
}

fn own_number() -> usize {
    std::env::var("LARDER_FILE_TEST_NUMBER").unwrap().parse().unwrap()
}

#[tokio::test]
async fn no_increment_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    run("increment_a_counter", folder.path());
    let store = open(folder.path()).await;
    assert_eq!(store.get("counter").await.unwrap().unwrap(), (PROCESSES * 200).to_string());
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn increment_a_counter() {
    let store = open(&common::root_of_child()).await;
    let mut done = 0;
    while done < 200 {
        match store.increment("counter", 1).await {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
}

#[tokio::test]
async fn of_several_creators_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let texts = run("create_keys", folder.path());
    let mut won = numbers(&texts, "won ");
    won.sort_unstable();
    assert_eq!(won, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn create_keys() {
    let store = open(&common::root_of_child()).await.with_path(&["a", "b"]).unwrap();
    for number in 0..100 {
        let outcome = store.set(&format!("key {number}"), "v").if_absent().await.unwrap();
        if outcome.is_applied() {
            println!("\nwon {number}");
        }
    }
}

#[tokio::test]
async fn a_renewal_never_undoes_a_set_of_another_process() {
    let folder = tempfile::tempdir().unwrap();
    run("set_or_renew", folder.path());
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn set_or_renew() {
    let store = open(&common::root_of_child()).await;
    let hour = Duration::from_secs(3_600);
    if own_number() > 0 {
        while store.get("end").await.unwrap().is_none() {
            store.get("key").renew_for(hour).await.unwrap();
            store.update_expiry("key", hour.into()).await.unwrap();
        }
        return;
    }
    for number in 0..300 {
        let value = number.to_string();
        store.set("key", &value).ttl(hour).await.unwrap();
        assert_eq!(store.get("key").await.unwrap().unwrap(), value);
        if number % 10 == 0 {
            assert!(store.delete("key").await.unwrap());
            assert_eq!(store.get("key").await.unwrap(), None);
        }
    }
    store.set("end", "").await.unwrap();
}

#[tokio::test]
async fn clearing_and_setting_do_not_fail_each_other() {
    let folder = tempfile::tempdir().unwrap();
    run("clear_or_set", folder.path());
    let store = open(folder.path()).await;
    let deep = store.with_path(&["x", "y", "z"]).unwrap();
    assert_eq!(deep.list_page("", None, 1_000).await.unwrap().unlisted, 0);
    store.delete_all().await.unwrap();
    assert_eq!(deep.list_page("", None, 1_000).await.unwrap().keys, [""; 0]);
    assert_eq!(common::leftovers(folder.path()), [""; 0]);
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn clear_or_set() -> Result<()> {
    let store = open(&common::root_of_child()).await;
    let deep = store.with_path(&["x", "y", "z"])?;
    if own_number() == 0 {
        for _ in 0..60 {
            store.delete_all().await?;
        }
        return store.set("end", "").await.map(|_| ());
    }
    let mut number = 0;
    while !store.exists("end").await? {
        number += 1;
        let value = format!("{number}").repeat(100);
        let key = format!("key {}", number % 20);
        deep.set(&key, &value).await?;
        let found = deep.get(&key).await?;
        assert!(found.is_none_or(|found| found.len() % 100 == 0));
        store.set(&key, "v").ttl(Duration::from_millis(1)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_has_expired_is_counted_by_one_process_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let child = store.with_namespace("child").unwrap();
    let past = larder_core::Expiry::After(Duration::from_nanos(1));
    for number in 0..400 {
        let options = larder_core::SetOptions::default().with_expiry(past);
        let key = format!("key {number}");
        child.set_opts(&key, "v".into(), options).await.unwrap();
    }
    store.set("lasting", "v").await.unwrap();
    let purged = numbers(&run("purge", folder.path()), "purged ");
    assert_eq!((purged.len(), purged.iter().sum::<u64>()), (PROCESSES, 400));
    assert!(store.exists("lasting").await.unwrap());
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn purge() {
    let store = open(&common::root_of_child()).await;
    println!("\npurged {}", store.delete_expired().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_process_lets_others_have_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    run("be_busy_or_wait", folder.path());
}

/// One process never lets go of a lock for longer than it takes to hand it to its next waiter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a process of its own, started by another test"]
async fn be_busy_or_wait() {
    let store = open(&common::root_of_child()).await;
    if own_number() > 0 {
        while store.get("started").await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        for _ in 0..5 {
            store.set("key", "mine").await.unwrap();
        }
        store.increment("done", 1).await.unwrap();
        return;
    }
    store.set("started", "").await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let all = (PROCESSES - 1).to_string();
                while store.get("done").await.unwrap().is_none_or(|done| done != all) {
                    store.set("key", "theirs").await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
