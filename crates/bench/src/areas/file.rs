use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_core::{Durability, GetOptions, SetOptions, Store};
use larder_file::FileStore;

use super::memory::tasks_of;
use crate::{LARGE, Load, Race, Row, Size, Unit, drive, value};

const READ: &str = "std::fs::read in place";
const TOKIO: &str = "tokio::fs";
const RENAME: &str = "std write, rename in place";
#[cfg(feature = "peers")]
const OPENDAL: &str = "OpenDAL fs";

async fn store(root: &Path, durability: Durability, keys: &[String], len: usize) -> Arc<dyn Store> {
    let store = FileStore::builder(root).durability(durability).build().await;
    let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
    for key in keys {
        store.set_opts(key, value(len), SetOptions::default()).await.expect("a set");
    }
    store
}

/// Replaces a file as a careful program does by hand.
fn replace(folder: &Path, name: &str, number: usize, len: usize) {
    let temporary = folder.join(format!("{name}.{number}.tmp"));
    fs::write(&temporary, value(len)).expect("a write");
    fs::rename(&temporary, folder.join(name)).expect("a rename");
}

/// The same, waited for until it is on the disk.
async fn replace_synced(folder: &Path, name: &str, number: usize) {
    use tokio::io::AsyncWriteExt;
    let temporary = folder.join(format!("{name}.{number}.tmp"));
    let mut file = tokio::fs::File::create(&temporary).await.expect("a file");
    file.write_all(&value(100)).await.expect("a write");
    file.sync_all().await.expect("a sync");
    tokio::fs::rename(&temporary, folder.join(name)).await.expect("a rename");
    let folder = tokio::fs::File::open(folder).await.expect("the folder");
    folder.sync_all().await.expect("a sync of the folder");
}

pub(super) async fn run(size: Size) -> Vec<Row> {
    let home = tempfile::tempdir().expect("a folder");
    let load = Load::new(size.entries(2_000), size);
    let plain: Arc<PathBuf> = Arc::new(home.path().join("plain"));
    fs::create_dir(&*plain).expect("a folder");
    for key in load.keys.iter() {
        let mut file = fs::File::create(plain.join(key)).expect("a file");
        file.write_all(&value(100)).expect("a write");
    }
    let quick = store(&home.path().join("quick"), Durability::ProcessCrash, &load.keys, 100).await;
    #[cfg(feature = "peers")]
    let opendal = {
        let atomic = home.path().join("atomic");
        let service = opendal::services::Fs::default();
        let service = service.root(&home.path().join("opendal").to_string_lossy());
        let service = service.atomic_write_dir(&atomic.to_string_lossy());
        let operator = opendal::Operator::new(service).expect("OpenDAL").finish();
        for key in load.keys.iter() {
            operator.write(key, value(100)).await.expect("a write");
        }
        operator
    };
    let number = Arc::new(AtomicUsize::new(0));
    let mut rows = Vec::new();
    for tasks in [1, 64] {
        let steps = size.of(20_000);
        let race = Race::new(format!("get of a cached file, {}", tasks_of(tasks)), Unit::PerSecond)
            .ours("Larder", async || {
                drive!(load, tasks, steps, store = quick, |key, _step| {
                    std::hint::black_box(
                        store.get_opts(key, GetOptions::default()).await.expect("a get"),
                    );
                })
            })
            .peer(READ, async || {
                drive!(load, tasks, steps, folder = plain, |key, _step| {
                    std::hint::black_box(fs::read(folder.join(key)).expect("a read"));
                })
            })
            .peer(TOKIO, async || {
                drive!(load, tasks, steps / 4, folder = plain, |key, _step| {
                    std::hint::black_box(tokio::fs::read(folder.join(key)).await.expect("a read"));
                })
            });
        #[cfg(feature = "peers")]
        let race = race.peer(OPENDAL, async || {
            drive!(load, tasks, steps / 16, store = opendal, |key, _step| {
                std::hint::black_box(store.read(key).await.expect("a read"));
            })
        });
        let race = if tasks == 64 { race.times(READ, 1.0 / 1.3) } else { race };
        #[cfg(feature = "peers")]
        let race = if tasks == 64 { race.times(OPENDAL, 30.0) } else { race };
        rows.push(race.run(size.rounds()).await);
    }
    for tasks in [1, 64] {
        let steps = size.of(4_000);
        let race = Race::new(format!("atomic set, {}", tasks_of(tasks)), Unit::PerSecond)
            .ours("Larder, ProcessCrash", async || {
                drive!(load, tasks, steps, store = quick, |key, _step| {
                    store.set_opts(key, value(100), SetOptions::default()).await.expect("a set");
                })
            })
            .peer(RENAME, async || {
                let shared = (Arc::clone(&plain), Arc::clone(&number));
                drive!(load, tasks, steps, shared = shared, |key, _step| {
                    replace(&shared.0, key, shared.1.fetch_add(1, Ordering::Relaxed), 100);
                })
            })
            .times(RENAME, 3.0);
        #[cfg(feature = "peers")]
        let race = race.peer(OPENDAL, async || {
            drive!(load, tasks, steps / 4, store = opendal, |key, _step| {
                store.write(key, value(100)).await.expect("a write");
            })
        });
        rows.push(race.run(size.rounds()).await);
    }
    let synced = store(&home.path().join("synced"), Durability::PowerLoss, &[], 100).await;
    let steps = size.of(1_280);
    let race = Race::new("set that is on the disk, 64 tasks", Unit::PerSecond)
        .ours("Larder, PowerLoss", async || {
            drive!(load, 64, steps, store = synced, |key, _step| {
                store.set_opts(key, value(100), SetOptions::default()).await.expect("a set");
            })
        })
        .peer(TOKIO, async || {
            let shared = (Arc::clone(&plain), Arc::clone(&number));
            drive!(load, 64, steps, shared = shared, |key, _step| {
                let number = shared.1.fetch_add(1, Ordering::Relaxed);
                replace_synced(&shared.0, key, number).await;
            })
        })
        .times(TOKIO, 1.3);
    rows.push(race.run(size.rounds().min(7)).await);
    rows.extend(large(size, home.path()).await);
    rows
}

/// Values of 10 KB.
async fn large(size: Size, home: &Path) -> [Row; 2] {
    let load = Load::new(size.entries(2_000), size);
    let quick = store(&home.join("large"), Durability::ProcessCrash, &load.keys, LARGE).await;
    let plain: Arc<PathBuf> = Arc::new(home.join("large and plain"));
    fs::create_dir(&*plain).expect("a folder");
    for key in load.keys.iter() {
        fs::write(plain.join(key), value(LARGE)).expect("a write");
    }
    let steps = size.of(20_000);
    let get = Race::new("get of a cached file of 10 KB, 64 tasks", Unit::PerSecond)
        .ours("Larder", async || {
            drive!(load, 64, steps, store = quick, |key, _step| {
                std::hint::black_box(
                    store.get_opts(key, GetOptions::default()).await.expect("a get"),
                );
            })
        })
        .peer(READ, async || {
            drive!(load, 64, steps, folder = plain, |key, _step| {
                std::hint::black_box(fs::read(folder.join(key)).expect("a read"));
            })
        });
    let number = Arc::new(AtomicUsize::new(0));
    let steps = size.of(4_000);
    let set = Race::new("atomic set of 10 KB, 64 tasks", Unit::PerSecond)
        .ours("Larder, ProcessCrash", async || {
            drive!(load, 64, steps, store = quick, |key, _step| {
                store.set_opts(key, value(LARGE), SetOptions::default()).await.expect("a set");
            })
        })
        .peer(RENAME, async || {
            let shared = (Arc::clone(&plain), Arc::clone(&number));
            drive!(load, 64, steps, shared = shared, |key, _step| {
                replace(&shared.0, key, shared.1.fetch_add(1, Ordering::Relaxed), LARGE);
            })
        });
    [get.run(size.rounds()).await, set.run(size.rounds()).await]
}
