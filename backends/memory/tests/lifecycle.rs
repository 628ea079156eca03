//! Closing, sweeping, and staying out of other tasks' way (`S6`, `S7`, `E6`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use larder_core::{
    Bytes, Condition, DeleteOptions, ErrorKind, ManualClock, NamespacedStore, SetItem, SetOptions,
    Store, StoreExt, TokioClock, Version,
};
use larder_memory::MemoryStore;

const SECOND: Duration = Duration::from_secs(1);

/// Polls once.
fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Counts how often the executor gets back to other tasks while a future runs.
async fn turns<T>(future: impl Future<Output = T>) -> (T, u64) {
    let turns = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counter.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let output = future.await;
    other.abort();
    (output, turns.load(SeqCst))
}

async fn fill(store: &dyn Store, count: usize, ttl: Option<Duration>) {
    let keys: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
    let options = ttl.map_or(SetOptions::default(), |ttl| SetOptions::default().with_expiry(ttl));
    let items = keys.iter().map(|key| SetItem::new(key, "v").with_options(options.clone()));
    store.set_many(items.collect()).await.unwrap();
}

#[tokio::test]
async fn a_call_on_one_key_ends_in_its_first_poll_on_any_executor() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let set = SetOptions::default().with_expiry(SECOND).with_condition(Condition::Absent);
    assert!(poll(store.set_opts("k", vec![1; 1 << 20].into(), set)).is_ready());
    assert!(poll(store.get("k").renew_for(SECOND).into_future()).is_ready());
    assert!(poll(store.get_entry("k")).is_ready());
    assert!(poll(store.update_expiry("k", SECOND.into())).is_ready());
    assert!(poll(store.expires_in("k")).is_ready());
    assert!(poll(store.exists("k")).is_ready());
    assert!(poll(store.delete_opts("k", DeleteOptions::default())).is_ready());
}

#[tokio::test]
async fn long_calls_let_other_tasks_run() {
    let count = 50_000;
    // Some 1,000 entries a turn.
    let enough = 25;
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();

    let ((), seen) = turns(fill(&store, count, None)).await;
    assert!(seen > enough, "set_many: {seen}");
    let (page, seen) = turns(store.list_page("", None, usize::MAX)).await;
    assert!(page.unwrap().keys.len() == count && seen > enough, "list_page: {seen}");
    let (page, seen) = turns(store.list_page("nothing", None, 1)).await;
    assert!(page.unwrap().keys.is_empty() && seen > enough, "list_page, none: {seen}");
    let keys: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (values, seen) = turns(store.get_many(&keys)).await;
    assert!(values.unwrap().len() == count && seen > enough, "get_many: {seen}");
    let (deleted, seen) = turns(store.delete_many(&keys)).await;
    assert!(deleted.unwrap().existed == count as u64 && seen > enough, "delete_many: {seen}");

    fill(&store, count, None).await;
    let (deleted, seen) = turns(store.delete_prefix("k")).await;
    assert!(deleted.unwrap() == count as u64 && seen > enough, "delete_prefix: {seen}");
    fill(&store, count, None).await;
    let (cleared, seen) = turns(store.delete_all()).await;
    assert!(cleared.is_ok() && seen > enough, "delete_all: {seen}");

    let child = store.with_namespace("child").unwrap();
    for handle in [&store as &dyn Store, &child] {
        fill(&child, count, Some(SECOND)).await;
        clock.advance(SECOND);
        let (page, seen) = turns(store.list_child_namespaces(None, 1)).await;
        assert!(page.unwrap().segments.is_empty() && seen > enough, "namespaces: {seen}");
        let (removed, seen) = turns(handle.delete_expired()).await;
        assert!(removed.unwrap() == count as u64 && seen > enough, "delete_expired: {seen}");
    }

    let children = store.with_namespace("children").unwrap();
    for number in 0..count / 2 {
        children.with_namespace(&number.to_string()).unwrap().set("k", "v").await.unwrap();
    }
    let (page, seen) = turns(children.list_child_namespaces(None, usize::MAX)).await;
    assert!(page.unwrap().segments.len() == count / 2 && seen > enough, "children: {seen}");
    children.delete_all().await.unwrap();

    let large = Bytes::from(vec![7; 40 << 20]);
    let (set, seen) = turns(store.set("large", large.clone()).into_future()).await;
    assert!(set.unwrap().is_applied() && seen > enough, "a large set: {seen}");
    let condition = Condition::Matches(Version::new(large));
    let options = DeleteOptions::default().with_condition(condition);
    let (deleted, seen) = turns(store.delete_opts("large", options)).await;
    assert!(deleted.unwrap() && seen > enough, "a large comparison: {seen}");

    for key in ["a", "b", "c", "d"] {
        let values = (0..100).map(|_| Bytes::from(vec![7; 1 << 17]));
        let keys: Vec<String> = (0..100).map(|number| format!("{key}{number}")).collect();
        let items = keys.iter().zip(values).map(|(key, value)| SetItem::new(key, value));
        store.set_many(items.collect()).await.unwrap();
    }
    // What is freed page by page takes a turn for each four megabytes.
    let (cleared, seen) = turns(store.delete_all()).await;
    assert!(cleared.is_ok() && seen > 10, "delete_all of large values: {seen}");

    fill(&store, count, None).await;
    let (closed, seen) = turns(store.close()).await;
    assert!(closed.is_ok() && seen > enough, "close: {seen}");
}

/// `S5`: dropped between two slices, a purge or clearing has done a part, whole keys each, and the
/// next one does the rest.
#[tokio::test]
async fn calls_dropped_halfway_leave_a_store_that_works() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let child = store.with_path(&["a", "b"]).unwrap();
    for handle in [&store as &dyn Store, &child] {
        fill(handle, 20_000, Some(SECOND)).await;
        clock.advance(SECOND);
        assert!(poll(store.delete_expired()).is_pending());
        fill(handle, 10, Some(SECOND)).await;
        clock.advance(SECOND);
        let left = store.delete_expired().await.unwrap();
        assert!((1_000..20_000).contains(&left), "{left}");
        assert_eq!(store.delete_expired().await.unwrap(), 0);

        fill(handle, 20_000, None).await;
        assert!(poll(store.delete_all()).is_pending());
        assert!(poll(handle.delete_prefix("k")).is_pending());
        store.delete_all().await.unwrap();
        assert!(handle.list_page("", None, 1).await.unwrap().keys.is_empty());
    }
}

#[tokio::test]
async fn closing_the_root_closes_children_and_waits_for_calls() {
    let store = MemoryStore::new();
    let child = store.with_namespace("a").unwrap();
    fill(&child, 20_000, None).await;
    let clearing = {
        let child = Arc::clone(&child);
        tokio::spawn(async move { child.delete_all().await })
    };
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    assert!(clearing.is_finished());
    clearing.await.unwrap().unwrap();
    store.close().await.unwrap();
    for handle in [&store as &dyn Store, &child] {
        assert_eq!(handle.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(handle.set("k", "v").await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(handle.get_many(&[]).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(handle.delete_all().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(handle.ping().await.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(store.with_namespace("b").unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn closing_a_child_closes_its_own_handle_alone() {
    let store = MemoryStore::new();
    let (one, other) = (store.with_namespace("a").unwrap(), store.with_namespace("a").unwrap());
    one.set("k", "v").await.unwrap();
    one.close().await.unwrap();
    assert_eq!(one.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(other.exists("k").await.unwrap());
    store.set("k", "v").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_removes_what_has_expired_in_every_namespace() {
    let store =
        MemoryStore::builder().clock(TokioClock::new()).sweep_every(10 * SECOND).build().unwrap();
    let child = store.with_path(&["a", "b"]).unwrap();
    fill(&store, 2_000, Some(SECOND)).await;
    fill(&child, 2_000, Some(15 * SECOND)).await;
    tokio::time::sleep(5 * SECOND).await;
    fill(&store, 1, Some(SECOND)).await;
    // At 10 s the sweeper finds the root's expired, at 20 s the child's.
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(store.delete_expired().await.unwrap(), 0);
    tokio::time::sleep(5 * SECOND).await;
    fill(&store, 1, Some(SECOND)).await;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(store.delete_expired().await.unwrap(), 0);
    // Just before the sweep at 30 s there is something left to remove by hand.
    fill(&store, 7, Some(SECOND)).await;
    tokio::time::sleep(8 * SECOND).await;
    assert_eq!(store.delete_expired().await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_ends_with_the_store() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    for close in [true, false] {
        let store = MemoryStore::builder().sweep_every(SECOND).build().unwrap();
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(alive(), before + 1);
        if close {
            store.close().await.unwrap();
        } else {
            let child = store.with_namespace("a").unwrap();
            drop(store);
            tokio::time::sleep(3 * SECOND).await;
            assert_eq!(alive(), before + 1, "a child keeps the store");
            drop(child);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(alive(), before);
    }
}

#[test]
fn a_sweeper_that_cannot_run_is_refused() {
    let error = MemoryStore::builder().sweep_every(SECOND).build().unwrap_err();
    assert_eq!((error.kind(), error.backend()), (ErrorKind::InvalidConfig, Some("memory")));
    let timeless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = timeless.enter();
    let error = MemoryStore::builder().sweep_every(SECOND).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let error = MemoryStore::builder().sweep_every(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    MemoryStore::builder().sweep_every(SECOND).build().unwrap();
}

/// `S1`: a value cut out of a large buffer keeps only itself alive.
#[tokio::test]
async fn a_stored_slice_lets_its_buffer_go() {
    struct Buffer {
        bytes: Vec<u8>,
        _alive: Arc<()>,
    }
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    let store = MemoryStore::new();
    let alive = Arc::new(());
    for len in [1, 512, 513, 2 << 20] {
        let whole =
            Bytes::from_owner(Buffer { bytes: vec![1; 3 << 20], _alive: Arc::clone(&alive) });
        store.set("one", whole.slice(5..5 + len)).await.unwrap();
        store.set_many(vec![SetItem::new("many", whole.slice(..len))]).await.unwrap();
        drop(whole);
        assert_eq!(Arc::strong_count(&alive), 1, "{len} bytes keep the buffer");
        assert_eq!(store.get("one").await.unwrap().unwrap().len(), len);
    }
}

/// Without a sweeper, and with nobody purging, memory follows what lives.
#[tokio::test]
async fn a_large_namespace_drops_expired_entries_rather_than_grow() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let (round, rounds) = (100_000, 4);
    for number in 0..rounds {
        let keys: Vec<String> = (0..round).map(|key| format!("{number}.{key}")).collect();
        let options = SetOptions::default().with_expiry(SECOND);
        let items = keys.iter().map(|key| SetItem::new(key, "v").with_options(options.clone()));
        store.set_many(items.collect()).await.unwrap();
        clock.advance(SECOND);
    }
    let left = store.delete_expired().await.unwrap();
    assert!(left < 2 * round, "{left} entries of {} were kept", rounds * round);
    assert!(left >= round);
}
