//! V5: connecting, closing, reconnecting, sessions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::{Gate, Oops, builder, faulty, load, memory, numbers, settle, until};
use larder_cache::{CacheError, CacheSpace, CacheStoreHandle, Policy};
use larder_core::testing::{Call, Fault, Faulty};
use larder_core::{ErrorKind, NamespacedStore, Store};
use larder_memory::MemoryStore;

/// A handle that opens an empty store each time, and what it has opened.
fn opener() -> (CacheStoreHandle, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let handle = CacheStoreHandle::opened_by(move || {
        count.fetch_add(1, SeqCst);
        async { Ok(Arc::new(MemoryStore::new()) as Arc<dyn NamespacedStore>) }
    });
    (handle, opened)
}

fn is_closed<T: std::fmt::Debug>(result: Result<T, CacheError>) -> bool {
    result.unwrap_err().store_kind() == Some(ErrorKind::Closed)
}

#[tokio::test]
async fn closing_forgets_an_error_that_is_remembered() {
    let (handle, _) = opener();
    let hour = std::time::Duration::from_secs(3600);
    let space = CacheSpace::builder(handle).negative_ttl(hour).build().await.unwrap();
    let cache = space.cache::<u32>();
    space.connect().await.unwrap();
    cache.get_or_try_set_with("k", async |_| Err::<u32, _>(Oops(1))).await.unwrap_err();
    assert!(cache.get_or_set("k", 2_u32).await.is_err(), "it is remembered");
    space.close().await.unwrap();
    space.connect().await.unwrap();
    assert_eq!(cache.get_or_set("k", 2_u32).await.unwrap(), 2);
}

#[tokio::test]
async fn an_owned_store_is_opened_once_closed_and_opened_again() {
    let (handle, opened) = opener();
    let space = CacheSpace::new(handle);
    let cache = space.cache::<u32>();
    assert!(is_closed(cache.get("k").await));
    space.connect().await.unwrap();
    space.connect().await.unwrap();
    assert_eq!(opened.load(SeqCst), 1);
    cache.set("k", &1).await.unwrap();
    space.close().await.unwrap();
    space.close().await.unwrap();
    assert!(is_closed(cache.get("k").await));
    assert!(is_closed(cache.set("k", &1).await));
    assert!(is_closed(cache.get_or_set("k", 1_u32).await));
    assert!(is_closed(cache.lock("k").await));
    space.reconnect().await.unwrap();
    assert_eq!(opened.load(SeqCst), 2);
    assert_eq!(cache.get_value("k").await.unwrap(), None, "another store");
    cache.set("k", &2).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_store_that_was_handed_in_stays_open() {
    let (store, clock) = memory();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).await.unwrap();
    space.close().await.unwrap();
    assert!(is_closed(cache.get("k").await));
    store.ping().await.unwrap();
    space.connect().await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    // Closed by its owner, it is no trouble for the space to close.
    store.close().await.unwrap();
    space.close().await.unwrap();
}

#[tokio::test]
async fn closing_ends_what_waits_and_waits_for_what_runs() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let loading = load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    let guard = cache.set_pending("p").await.unwrap();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_wait("p").await }
    });
    settle().await;
    cache.space().close().await.unwrap();
    assert!(matches!(loading.await.unwrap(), Err(CacheError::ShutDown)));
    assert!(matches!(waiting.await.unwrap(), Err(CacheError::Abandoned)));
    assert!(is_closed(guard.resolve(1_u32).await));
    until(|| cache.space().stats().active_keys == 0).await;

    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    store.plan(Call::Set, 1, Fault::Hang);
    let setting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("k", &1).await }
    });
    store.hanging(1).await;
    setting.abort();
    let closing = tokio::spawn({
        let space = space.clone();
        async move { space.close().await }
    });
    settle().await;
    assert!(!closing.is_finished(), "a dropped call may take effect until close returns");
    store.release();
    closing.await.unwrap().unwrap();
    space.connect().await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn closing_ends_loads_that_nobody_joins_any_more() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let deleted = load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    cache.delete("k").await.unwrap();
    let promised = load(&cache, "k", &gate, 2);
    gate.reached(2).await;
    let promise = cache.set_pending("k").await.unwrap();
    cache.space().close().await.unwrap();
    for loading in [deleted, promised] {
        assert!(matches!(loading.await.unwrap(), Err(CacheError::ShutDown)));
    }
    drop(promise);
    until(|| cache.space().stats().active_keys == 0).await;
}

#[tokio::test]
async fn a_session_reconnects_and_closes_however_it_ends() {
    let (handle, opened) = opener();
    let space = CacheSpace::new(handle);
    let cache = space.cache::<u32>();
    let sum = space.session(async |space| space.cache::<u32>().get_or_set("k", 3_u32).await).await;
    assert_eq!(sum.unwrap().unwrap(), 3);
    assert!(is_closed(cache.get("k").await));

    let failed = space.session(async |_| Err::<(), _>("no")).await.unwrap();
    assert_eq!(failed, Err("no"));
    assert!(is_closed(cache.get("k").await));

    let panicking = tokio::spawn({
        let space = space.clone();
        async move { space.session(async |_| -> () { panic!("planned") }).await }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert!(is_closed(cache.get("k").await));

    let cancelled = tokio::spawn({
        let space = space.clone();
        async move { space.session(async |_| std::future::pending::<()>().await).await }
    });
    until(|| opened.load(SeqCst) == 4).await;
    settle().await;
    assert!(cache.get("k").await.is_ok(), "in session");
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    assert!(is_closed(cache.get("k").await));
}

/// Begins a session that does not end, and drops it.
async fn drop_session(space: &CacheSpace) {
    let session = space.session(async |_| std::future::pending::<()>().await);
    tokio::select! {
        biased;
        _ = session => unreachable!("it does not end"),
        () = settle() => {}
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_closes_nothing_that_is_opened_after_it() {
    let (store, clock) = memory();
    let borrowed = builder(store, &clock).build().await.unwrap();
    for space in [borrowed, CacheSpace::new(opener().0)] {
        let cache = space.cache::<u32>();
        drop_session(&space).await;
        space.connect().await.unwrap();
        cache.set("k", &1).await.unwrap();
        settle().await;
        assert_eq!(cache.get_value("k").await.unwrap(), Some(1));

        drop_session(&space).await;
        let later = space.session(async |_| {
            cache.set("k", &2).await?;
            settle().await;
            cache.get_value("k").await
        });
        assert_eq!(later.await.unwrap().unwrap(), Some(2));
        assert!(is_closed(cache.get("k").await));
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_while_another_closes_has_its_turn_next() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    let mut session = Box::pin(space.session(async |space| -> () {
        store.plan(Call::Set, 1, Fault::Hang);
        space.cache().set("k", &1_u32).await.unwrap();
    }));
    tokio::select! {
        biased;
        _ = &mut session => unreachable!("the store hangs"),
        () = store.hanging(1) => {}
    }
    let closing = tokio::spawn({
        let space = space.clone();
        async move { space.close().await }
    });
    settle().await;
    drop(session);
    let release = async { store.release() };
    let (connected, ()) = tokio::join!(space.connect(), release);
    connected.unwrap();
    closing.await.unwrap().unwrap();
    settle().await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1), "open, and what was begun is done");
}

/// A space that opens one store again and again, what the store can be made to do, and how often it was
/// opened.
async fn reopened() -> (CacheSpace, Arc<Faulty>, Arc<AtomicUsize>) {
    let (store, clock) = faulty();
    // One that closes could not be opened again.
    store.always(Call::Other, Fault::Fail(ErrorKind::Unavailable));
    let opened = Arc::new(AtomicUsize::new(0));
    let handle = CacheStoreHandle::opened_by({
        let (store, opened) = (store.clone(), opened.clone());
        move || {
            opened.fetch_add(1, SeqCst);
            let store: Arc<dyn NamespacedStore> = store.clone();
            async { Ok(store) }
        }
    });
    let policy = Policy::Lru { max: 2 };
    let space = CacheSpace::builder(handle).clock(clock).policy(policy).build().await.unwrap();
    (space, store, opened)
}

#[tokio::test]
async fn a_space_that_was_not_opened_to_the_end_is_closed() {
    for fault in [Fault::Hang, Fault::Fail(ErrorKind::Unavailable)] {
        let (space, store, opened) = reopened().await;
        let cache = space.cache::<u32>();
        cache.set("a", &1).await.unwrap();
        cache.set("b", &1).await.unwrap();
        store.plan(Call::List, 1, fault);
        let reconnecting = tokio::spawn({
            let space = space.clone();
            async move { space.reconnect().await }
        });
        settle().await;
        reconnecting.abort();
        assert!(!matches!(reconnecting.await, Ok(Ok(()))), "{fault:?}");
        assert!(is_closed(cache.set("c", &1).await), "{fault:?}");
        // What the store holds is counted all the same when it is opened at last.
        space.connect().await.unwrap();
        assert_eq!((space.stats().entries, opened.load(SeqCst)), (Some(2), 2), "{fault:?}");
        cache.set("c", &1).await.unwrap();
        cache.set("d", &1).await.unwrap();
        assert_eq!(cache.list().await.unwrap().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_session_that_was_not_entered_is_closed_like_any_other() {
    for fault in [Fault::Hang, Fault::Fail(ErrorKind::Unavailable)] {
        let (space, store, opened) = reopened().await;
        store.plan(Call::List, 1, fault);
        let session = tokio::spawn({
            let space = space.clone();
            async move { space.session(async |_| ()).await }
        });
        settle().await;
        session.abort();
        assert!(!matches!(session.await, Ok(Ok(()))), "{fault:?}");
        assert!(is_closed(space.cache::<u32>().get("k").await), "{fault:?}");
        space.connect().await.unwrap();
        assert_eq!(opened.load(SeqCst), 3, "{fault:?}: closed, so opened anew");
    }
}

#[tokio::test]
async fn the_builder_decides_before_the_type() {
    const { assert!(CacheSpace::ENTER_RECONNECT && CacheSpace::EXIT_CLOSE) };
    let (handle, opened) = opener();
    let space = CacheSpace::builder(handle)
        .reconnect_on_enter(false)
        .close_on_exit(false)
        .build()
        .await
        .unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).await.unwrap();
    space.session(async |_| ()).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    assert_eq!(opened.load(SeqCst), 1);
    space.close().await.unwrap();
    space.session(async |_| ()).await.unwrap();
    assert_eq!(opened.load(SeqCst), 2, "entering connects where that is needed");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_told() {
    let broken = CacheStoreHandle::opened_by(|| async { Err(ErrorKind::Unavailable.into()) });
    let error = CacheSpace::builder(broken).build().await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Unavailable));
}

#[tokio::test]
async fn what_closing_says_is_told_and_does_not_keep_the_space_open() {
    let (store, _) = memory();
    let faulty = Faulty::new(store);
    let kept = faulty.clone();
    let handle = CacheStoreHandle::opened_by(move || {
        let store = faulty.clone();
        async move { Ok(Arc::new(store) as Arc<dyn NamespacedStore>) }
    });
    let space = CacheSpace::builder(handle).build().await.unwrap();
    kept.plan(Call::Other, 1, Fault::Fail(ErrorKind::Unavailable));
    assert!(space.close().await.is_err());
    assert!(is_closed(space.cache::<u32>().get("k").await));
    space.close().await.unwrap();
}
