//! A disk that is slower than the writers: they wait for it, and the runtime does not wait for them.
//!
//! The only test of its file: it takes all of sled's helper threads away from the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use larder_core::{Durability, Store, StoreExt};
use larder_sled::SledStore;
use sled::LogKind;
use tokio::runtime::{Handle, Runtime};

/// The threads that sled writes with, however many databases there are.
const HELPERS: usize = 7;
/// What the writers would like to write, and the most that may be taken from them: each takes one
/// value of 1 MiB or a few small ones in hand before it notices.
const WANTED: usize = 64 << 20;
const ALLOWED: usize = 8 << 20;

/// Stops the disk for good: each of sled's helper threads waits for a database to be flushed in whose
/// log a place is taken and never written.
fn stop_the_disk(runtime: &Handle) {
    let directory = tempfile::tempdir().expect("a directory");
    let db = sled::Config::new().path(directory.path()).flush_every_ms(None).open();
    let db = db.expect("a database");
    let place = db.context.pagecache.log.reserve(LogKind::Free, 0, &(), &sled::pin());
    std::mem::forget(place.expect("a place in the log"));
    for _ in 0..HELPERS {
        let db = db.clone();
        runtime.spawn(async move { db.flush_async().await });
    }
    // Dropped, it would be flushed.
    std::mem::forget(db);
}

#[test]
fn writers_wait_for_a_disk_that_stands_still_and_readers_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(async {
        let builder = SledStore::builder(directory.path()).durability(Durability::Volatile);
        let store = builder.build().await.unwrap();
        store.set("k", "v").await.unwrap();
        store.flush().await.unwrap();
        store
    });
    stop_the_disk(runtime.handle());
    let taken = Arc::new(AtomicUsize::new(0));
    for (writer, len) in [1 << 20, 1 << 20, 4_000, 4_000].into_iter().enumerate() {
        let (store, taken) = (store.clone(), Arc::clone(&taken));
        runtime.spawn(async move {
            for number in 0..WANTED / 4 / len {
                store.set(&format!("{writer} {number}"), vec![1; len]).await.unwrap();
                taken.fetch_add(len, Ordering::SeqCst);
            }
        });
    }
    // Until nothing more is taken for a while; a slow machine takes less.
    let mut before = usize::MAX;
    while before != taken.load(Ordering::SeqCst) {
        before = taken.load(Ordering::SeqCst);
        thread::sleep(Duration::from_secs(1));
    }
    assert!(before <= ALLOWED, "{before} bytes were taken that no disk has");
    let read = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(30), store.get("k")).await });
    assert_eq!(read.expect("readers need no disk").unwrap().unwrap(), "v");
    // What waits would do so for a minute, and then be told that sled has stopped.
    std::mem::forget(store);
    runtime.shutdown_background();
}
