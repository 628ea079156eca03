use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use larder_core::{Durability, GetOptions, SetItem, Store};
use larder_sled::SledStore;

use super::memory::{lasting, tasks_of};
use crate::{LARGE, Load, Race, Row, Size, TTL, Unit, drive, value};

const RAW: &str = "sled, called from the task";

async fn store(path: &Path, durability: Durability, keys: &[String], len: usize) -> Arc<dyn Store> {
    let store = SledStore::builder(path).durability(durability).build().await.expect("a store");
    for keys in keys.chunks(1_000) {
        let items = keys.iter().map(|key| SetItem::new(key, value(len)).with_options(lasting()));
        for done in store.set_many(items.collect()).await.expect("a batch") {
            done.expect("a set");
        }
    }
    Arc::new(store)
}

/// An hour from now, in microseconds.
fn deadline() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    (now + TTL).as_micros() as u64
}

pub(super) async fn run(size: Size) -> Vec<Row> {
    let home = tempfile::tempdir().expect("a folder");
    let load = Load::new(size.entries(100_000), size);
    let volatile =
        store(&home.path().join("volatile"), Durability::Volatile, &load.keys, 100).await;
    let safe = store(&home.path().join("safe"), Durability::ProcessCrash, &[], 100).await;
    let raw = sled::open(home.path().join("raw")).expect("a database");
    let records = raw.open_tree("records").expect("a tree");
    let deadlines = raw.open_tree("deadlines").expect("a tree");
    // As long as a record with its deadline.
    let record = vec![b'v'; 128];
    for key in load.keys.iter() {
        records.insert(key.as_bytes(), record.as_slice()).expect("an insert");
    }
    let mut rows = Vec::new();
    for tasks in [1, 64] {
        let steps = size.of(200_000);
        let race = Race::new(format!("get, {}", tasks_of(tasks)), Unit::PerSecond)
            .ours("Larder", async || {
                drive!(load, tasks, steps, store = volatile, |key, _step| {
                    std::hint::black_box(
                        store.get_opts(key, GetOptions::default()).await.expect("a get"),
                    );
                })
            })
            .peer(RAW, async || {
                drive!(load, tasks, steps, tree = records, |key, _step| {
                    std::hint::black_box(tree.get(key).expect("a get"));
                })
            })
            .times(RAW, 0.9);
        rows.push(race.run(size.rounds()).await);
    }
    let steps = size.of(50_000);
    let race = Race::new("set that waits for no disk, 64 tasks", Unit::PerSecond)
        .ours("Larder, Volatile", async || {
            drive!(load, 64, steps, store = volatile, |key, _step| {
                store.set_opts(key, value(100), lasting()).await.expect("a set");
            })
        })
        .peer("sled, two tree writes", async || {
            let trees = (records.clone(), deadlines.clone(), record.len());
            drive!(load, 64, steps, trees = trees, |key, _step| {
                let deadline = deadline();
                // As coarse as in Larder's index, so that most are there already.
                let entry = [&(deadline >> 23).to_be_bytes(), key.as_bytes()].concat();
                trees.1.insert(entry, &[]).expect("an insert");
                // sled leaves a record alone that is equal to the old one.
                let mut record = vec![b'v'; trees.2];
                record[12..20].copy_from_slice(&deadline.to_be_bytes());
                trees.0.insert(key.as_bytes(), record).expect("an insert");
            })
        })
        .times("sled, two tree writes", 0.8);
    rows.push(race.run(size.rounds()).await);
    let one_by_one = "Larder, one by one";
    for (durability, store, batches) in
        [("Volatile", &volatile, size.of(400)), ("ProcessCrash", &safe, size.of(4))]
    {
        let race = Race::new(format!("100 sets, {durability}"), Unit::PerSecond)
            .ours("Larder, set_many", async || {
                let shared = (store.clone(), Arc::clone(&load.keys));
                100.0
                    * drive!(load, 1, batches, shared = shared, |_key, step| {
                        let (store, all) = &shared;
                        let keys = all.iter().cycle().skip(step * 100 % all.len()).take(100);
                        let items =
                            keys.map(|key| SetItem::new(key, value(100)).with_options(lasting()));
                        for done in store.set_many(items.collect()).await.expect("a batch") {
                            done.expect("a set");
                        }
                    })
            })
            .ours(one_by_one, async || {
                let shared = (store.clone(), Arc::clone(&load.keys));
                100.0
                    * drive!(load, 1, batches, shared = shared, |_key, step| {
                        let (store, all) = &shared;
                        for key in all.iter().cycle().skip(step * 100 % all.len()).take(100) {
                            store.set_opts(key, value(100), lasting()).await.expect("a set");
                        }
                    })
            });
        // What waits for the disk gains by far more.
        let race = if durability == "Volatile" { race.times(one_by_one, 1.8) } else { race };
        rows.push(race.run(size.rounds()).await);
    }
    let one = "Larder, one caller";
    let set = async |tasks: usize, steps: usize| {
        drive!(load, tasks, steps, store = safe, |key, _step| {
            store.set_opts(key, value(100), lasting()).await.expect("a set");
        })
    };
    let race = Race::new("set that survives the process", Unit::PerSecond)
        .ours("Larder, 64 callers", || set(64, size.of(6_400)))
        .ours(one, || set(1, size.of(200)))
        .times(one, 20.0);
    rows.push(race.run(size.rounds().min(7)).await);
    rows.push(large(size, home.path(), &raw).await);
    rows
}

/// Values of 10 KB, which are kept in several records.
async fn large(size: Size, home: &Path, raw: &sled::Db) -> Row {
    let load = Load::new(size.entries(2_000), size);
    let ours = store(&home.join("large"), Durability::Volatile, &load.keys, LARGE).await;
    let theirs = raw.open_tree("large").expect("a tree");
    for key in load.keys.iter() {
        theirs.insert(key.as_bytes(), &value(LARGE)[..]).expect("an insert");
    }
    let steps = size.of(50_000);
    Race::new("get of 10 KB, 64 tasks", Unit::PerSecond)
        .ours("Larder", async || {
            drive!(load, 64, steps, store = ours, |key, _step| {
                std::hint::black_box(
                    store.get_opts(key, GetOptions::default()).await.expect("a get"),
                );
            })
        })
        .peer(RAW, async || {
            drive!(load, 64, steps, tree = theirs, |key, _step| {
                std::hint::black_box(tree.get(key).expect("a get"));
            })
        })
        .run(size.rounds())
        .await
}
