//! Many callers at a time: nothing torn, nothing lost, and no record without its expiry entry.

mod common;

use std::sync::Arc;
use std::time::Duration;

use larder_core::{Durability, Expiry, ManualClock, Store, StoreExt};
use larder_sled::SledStore;
use tempfile::{TempDir, tempdir};
use tokio::task::JoinSet;

async fn open(directory: &TempDir, clock: &ManualClock) -> SledStore {
    let builder = SledStore::builder(directory.path()).durability(Durability::Volatile);
    builder.clock(clock.clone()).build().await.expect("a store")
}

/// A value of one letter, whose length tells the letter.
fn value(letter: u8) -> Vec<u8> {
    vec![letter; usize::from(letter) * 150]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creators_one_wins() {
    let (directory, clock) = (tempdir().unwrap(), ManualClock::new());
    let store = open(&directory, &clock).await;
    for (round, len) in [10, 3_000, 9_000, 200_000].into_iter().cycle().take(40).enumerate() {
        let key = format!("k{round}");
        if round % 2 == 1 {
            store.set(&key, "expired").ttl(Duration::from_secs(1)).await.unwrap();
            clock.advance(Duration::from_secs(1));
        }
        let mut creators = JoinSet::new();
        for creator in 0..8 {
            let (store, key) = (store.clone(), key.clone());
            creators.spawn(async move {
                let set = store.set(&key, vec![creator; len]).if_absent();
                set.await.unwrap().is_applied().then_some(creator)
            });
        }
        let winners: Vec<_> = creators.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(store.get(&key).await.unwrap().unwrap(), vec![winners[0]; len]);
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_is_lost() {
    let (directory, clock) = (tempdir().unwrap(), ManualClock::new());
    let store = open(&directory, &clock).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..200 {
                store.increment("n", 1).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(store.get("n").await.unwrap().unwrap(), "1600");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_whole_values_while_they_are_replaced() {
    let (directory, clock) = (tempdir().unwrap(), ManualClock::new());
    let store = open(&directory, &clock).await;
    store.set("k", value(b'a')).ttl(Duration::from_secs(9)).await.unwrap();
    let mut tasks = JoinSet::new();
    for writer in 0..3_u16 {
        let store = store.clone();
        tasks.spawn(async move {
            for round in 0..150_u16 {
                let letter = u8::try_from((round * 7 + writer) % 26).unwrap();
                let value = value(b'a' + letter);
                store.set("k", value).ttl(Duration::from_secs(9)).await.unwrap();
            }
        });
    }
    for reader in 0..3 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..300 {
                let read = match reader {
                    0 => store.get("k").renew_for(Duration::from_secs(5)).await,
                    _ => store.get("k").await,
                };
                let got = read.unwrap().expect("it is there throughout");
                assert_eq!(got, value(got[0]), "a mixture");
            }
        });
    }
    tasks.join_all().await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_record_keeps_its_expiry_entry_and_no_entry_stays_without() {
    let (directory, clock) = (tempdir().unwrap(), ManualClock::new());
    let store = open(&directory, &clock).await;
    let keys: Arc<[String]> = (0..4).map(|key| format!("k{key}")).collect();
    let mut tasks = JoinSet::new();
    for task in 0..6_u64 {
        let (store, keys) = (store.clone(), Arc::clone(&keys));
        tasks.spawn(async move {
            for round in 0..600_u64 {
                let number = (task + 1).wrapping_mul(0x9e37_79b9).wrapping_mul(round + 7) >> 7;
                let key = &keys[usize::try_from(number % 4).unwrap()];
                // A few slots of the index, again and again.
                let life = Duration::from_secs(10 + number % 3 * 20);
                let value = vec![1; usize::try_from(number % 9 * 1_000).unwrap()];
                match number / 4 % 7 {
                    0 => drop(store.delete(key).await.unwrap()),
                    1 => drop(store.update_expiry(key, Expiry::Never).await.unwrap()),
                    2 => drop(store.update_expiry(key, life.into()).await.unwrap()),
                    3 => drop(store.get(key).renew_for(life).await.unwrap()),
                    4 => drop(store.set(key, value).keep_ttl().await.unwrap()),
                    5 => drop(store.delete_expired().await.unwrap()),
                    _ => drop(store.set(key, value).ttl(life).await.unwrap()),
                }
            }
        });
    }
    tasks.join_all().await;
    // From here on every record has a deadline, and it passes.
    for key in &*keys {
        store.set(key, "last").await.unwrap();
        store.update_expiry(key, Duration::from_secs(30).into()).await.unwrap();
    }
    clock.advance(Duration::from_secs(30));
    assert_eq!(store.delete_expired().await.unwrap(), 4);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(store.delete_expired().await.unwrap(), 0);
    store.close().await.unwrap();
    let db = common::open_raw(directory.path());
    for tree in ["larder.records.1", "larder.expiry.1"] {
        assert_eq!(db.open_tree(tree).unwrap().len(), 0, "{tree}");
    }
    let large = db.open_tree("larder.large.1").unwrap();
    assert_eq!(large.iter().keys().flatten().filter(|key| key != b"clean").count(), 0);
    drop(large);
    common::close_raw(db, directory.path());
}

/// The slots of the expiry index in which some key has an entry, after the store was closed.
fn slots(directory: &TempDir) -> Vec<u64> {
    let db = common::open_raw(directory.path());
    let index = db.open_tree("larder.expiry.1").expect("the index");
    let slot = |entry: &sled::IVec| u64::from_be_bytes(*entry.first_chunk().expect("a slot"));
    let slots = index.iter().keys().map(|entry| slot(&entry.expect("an entry"))).collect();
    drop(index);
    common::close_raw(db, directory.path());
    slots
}

#[tokio::test]
async fn a_key_that_is_given_more_time_keeps_its_entry_until_purging_moves_it() {
    let (directory, clock) = (tempdir().unwrap(), ManualClock::new());
    let store = open(&directory, &clock).await;
    store.set("k", "first").ttl(Duration::from_secs(60)).await.unwrap();
    store.close().await.unwrap();
    let first = slots(&directory);
    assert_eq!(first.len(), 1);

    let store = open(&directory, &clock).await;
    store.set("k", "second").ttl(Duration::from_secs(600)).await.unwrap();
    assert!(store.update_expiry("k", Duration::from_secs(3_600).into()).await.unwrap());
    store.set("k", vec![3; 10_000]).keep_ttl().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(slots(&directory), first);

    let store = open(&directory, &clock).await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(store.delete_expired().await.unwrap(), 0);
    assert_eq!(store.get("k").await.unwrap().unwrap(), vec![3; 10_000]);
    store.close().await.unwrap();
    let moved = slots(&directory);
    assert!(moved.len() == 1 && moved > first, "{first:?}, {moved:?}");

    let store = open(&directory, &clock).await;
    // Less time than before takes an entry of its own, and the old one goes.
    assert!(store.update_expiry("k", Duration::from_secs(30).into()).await.unwrap());
    store.close().await.unwrap();
    let sooner = slots(&directory);
    assert!(sooner.len() == 1 && sooner > first && sooner < moved, "{sooner:?}");

    let store = open(&directory, &clock).await;
    store.set("k", "long").ttl(Duration::from_secs(3_600)).await.unwrap();
    assert!(store.delete("k").await.unwrap());
    store.close().await.unwrap();
    assert_eq!(slots(&directory), Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_expires_is_purged_whoever_writes_meanwhile() {
    let (directory, clock) = (tempdir().unwrap(), ManualClock::new());
    let store = open(&directory, &clock).await;
    for round in 0..20_u64 {
        let mut tasks = JoinSet::new();
        for task in 0..6_u64 {
            let store = store.clone();
            tasks.spawn(async move {
                for number in 0..40 {
                    let key = format!("k{}", number % 5);
                    // The same few deadlines from several sides, with removals in between.
                    let life = Duration::from_secs(20 + (number + task) % 2 * 20);
                    if (number * 7 + task) % 5 == 0 {
                        store.delete(&key).await.unwrap();
                    } else {
                        store.set(&key, "v").ttl(life).await.unwrap();
                    }
                }
            });
        }
        tasks.join_all().await;
        let live = store.list_page("", None, 10).await.unwrap().keys.len() as u64;
        clock.advance(Duration::from_secs(40));
        assert_eq!(store.delete_expired().await.unwrap(), live, "round {round}");
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clearing_meets_writers_and_fails_neither() {
    let (directory, clock) = (tempdir().unwrap(), ManualClock::new());
    let store = open(&directory, &clock).await;
    for round in 0..10 {
        for number in 0..300 {
            store.set(&format!("there {number}"), value(b'a')).await.unwrap();
        }
        let mut writers = JoinSet::new();
        for writer in 0..4 {
            let store = store.clone();
            writers.spawn(async move {
                for number in 0..100 {
                    store.set(&format!("new {writer} {number}"), value(b'z')).await.unwrap();
                }
            });
        }
        store.delete_all().await.unwrap();
        writers.join_all().await;
        let mut keys = store.list_page("", None, 1_000).await.unwrap().keys;
        keys.retain(|key| key.starts_with("there"));
        assert!(keys.is_empty(), "round {round}: {} keys stayed", keys.len());
        for key in store.list_page("new", None, 1_000).await.unwrap().keys {
            assert_eq!(store.get(&key).await.unwrap().unwrap(), value(b'z'));
        }
        store.delete_all().await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_share_their_flushes_and_each_gets_its_own() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("store");
    let store = SledStore::builder(&path).build().await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..20 {
                store.set(&format!("{task} {number}"), "v").await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let copy = directory.path().join("copy");
    common::copy_directory(&path, &copy);
    let crashed = SledStore::builder(&copy).build().await.unwrap();
    let mut count = 0;
    let mut cursor = None;
    loop {
        let page = crashed.list_page("", cursor.as_ref(), 500).await.unwrap();
        count += page.keys.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(count, 64 * 20);
    crashed.close().await.unwrap();
    store.close().await.unwrap();
}
