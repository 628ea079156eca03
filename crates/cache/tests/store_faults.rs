//! F8: the store is allowed to fail.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Gate, SECOND, builder, faulty, load, settle, until};
use larder_cache::{CacheError, StoreFailure};
use larder_core::ErrorKind;
use larder_core::testing::{Call, Fault};

#[tokio::test]
async fn loads_go_on_and_still_fly_together() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).circuit(0, SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    store.always(Call::Any, Fault::Fail(ErrorKind::Unavailable));
    let gate = Gate::new();
    let loads: Vec<_> = (0..5).map(|_| load(&cache, "k", &gate, 7)).collect();
    gate.reached(1).await;
    settle().await;
    gate.open(5);
    for load in loads {
        assert_eq!(load.await.unwrap().unwrap(), 7);
    }
    assert_eq!(gate.entered(), 1);
    let stats = space.stats();
    assert_eq!((stats.loads, stats.direct_loads), (1, 1));
    assert_eq!(stats.store_failures, 2, "a read and a write: whoever comes later joins the load");
    for error in [
        cache.get("k").await.unwrap_err(),
        cache.set("k", &1).await.unwrap_err(),
        cache.delete("k").await.unwrap_err(),
        cache.update_expiry("k", None).await.unwrap_err(),
        cache.clear().await.unwrap_err(),
        cache.list().await.unwrap_err(),
    ] {
        assert_eq!(error.store_kind(), Some(ErrorKind::Unavailable), "told, not swallowed");
    }
    store.heal();
    assert_eq!(cache.get_value("k").await.unwrap(), None);
}

#[tokio::test]
async fn the_error_is_served_where_that_is_asked_for() {
    let (store, clock) = faulty();
    let space =
        builder(store.clone(), &clock).when_store_fails(StoreFailure::ServeError).build().await;
    let space = space.unwrap();
    let cache = space.cache::<u32>();
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Unavailable));
    let error = cache.get_or_set("k", 1_u32).await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Unavailable));
    assert_eq!(space.stats().loads, 0);
    store.plan(Call::Set, 1, Fault::Fail(ErrorKind::StorageFull));
    let error = cache.get_or_set("k", 1_u32).await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::StorageFull));
    assert_eq!(cache.get_or_set("k", 2_u32).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_its_budget_and_no_more() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).store_budget(SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    store.always(Call::Get, Fault::Hang);
    store.always(Call::Set, Fault::Hang);
    let before = tokio::time::Instant::now();
    assert_eq!(cache.get_or_set("k", 7_u32).await.unwrap(), 7);
    assert_eq!(before.elapsed(), SECOND, "the read took it, and nobody waits for the write");
    let error = cache.get("k").await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Timeout));
    assert_eq!(before.elapsed(), SECOND * 2);
    // The write that hangs still guards its key; others come after it.
    let later = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("k", &8).await }
    });
    settle().await;
    assert!(!later.is_finished());
    store.heal();
    store.release();
    later.await.unwrap().unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(8));
    until(|| space.stats().active_keys == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_within_its_budget_is_waited_for() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).store_budget(SECOND * 2).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).await.unwrap();
    store.always(Call::Get, Fault::Delay(SECOND));
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    assert_eq!(space.stats().store_failures, 0);
}

#[tokio::test]
async fn after_repeated_failures_the_store_is_left_alone_for_a_while() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).circuit(3, SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    store.always(Call::Any, Fault::Fail(ErrorKind::Unavailable));
    for _ in 0..3 {
        cache.get("k").await.unwrap_err();
    }
    let calls = store.calls(Call::Any);
    assert_eq!(space.stats().circuit_openings, 1);
    assert_eq!(cache.get_or_set("k", 7_u32).await.unwrap(), 7);
    let error = cache.get("k").await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Unavailable));
    assert_eq!(store.calls(Call::Any), calls, "left alone");
    // Tried again after the time, and left alone again.
    clock.advance(SECOND);
    cache.get("k").await.unwrap_err();
    assert_eq!(store.calls(Call::Any), calls + 1);
    cache.get("k").await.unwrap_err();
    assert_eq!(store.calls(Call::Any), calls + 1);
    clock.advance(SECOND);
    store.heal();
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    assert_eq!(cache.get_or_set("k", 8_u32).await.unwrap(), 8);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(8));
}

#[tokio::test]
async fn a_write_that_works_closes_the_circuit_and_is_never_held_back_by_it() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).circuit(1, SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Timeout));
    cache.get("k").await.unwrap_err();
    cache.get("k").await.unwrap_err();
    cache.set("k", &1).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn errors_of_the_call_are_no_failures_of_the_store() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).circuit(1, SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    for kind in [ErrorKind::TooLarge, ErrorKind::InvalidKey, ErrorKind::Unsupported] {
        store.plan(Call::Set, 1, Fault::Fail(kind));
        assert_eq!(cache.set("k", &1).await.unwrap_err().store_kind(), Some(kind));
    }
    assert_eq!(space.stats().store_failures, 0);
    let long = "x".repeat(5_000);
    let error = cache.get_or_set(&long, 1_u32).await.unwrap_err();
    assert!(matches!(error, CacheError::Store(_)), "a bad key is not loaded around");
    assert_eq!(space.stats().loads, 0);
}
