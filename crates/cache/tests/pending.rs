//! F5: every fate of a pending value, with several who wait.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Gate, Oops, SECOND, builder, faulty, load, memory, numbers, settle, space, until};
use larder_cache::{
    Cache, CacheError, CacheResult, LoadError, Loaded, Lookup, Policy, StoreFailure,
};
use larder_core::ErrorKind;
use larder_core::testing::{Call, Fault};
use tokio::task::JoinHandle;

/// Three who wait for `k`: by waiting, by looking it up, and by loading.
async fn waiters(cache: &Cache<u32>) -> Vec<JoinHandle<CacheResult<Option<u32>>>> {
    let (waiting, looking, loading) = (cache.clone(), cache.clone(), cache.clone());
    let waiters = vec![
        tokio::spawn(async move { waiting.get_or_wait("k").await }),
        tokio::spawn(async move {
            let Lookup::Pending(value) = looking.lookup("k").await? else { panic!("not pending") };
            value.wait().await
        }),
        tokio::spawn(async move { loading.get_or_set("k", 99_u32).await.map(Some) }),
    ];
    settle().await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    waiters
}

async fn all(waiters: Vec<JoinHandle<CacheResult<Option<u32>>>>) -> Vec<CacheResult<Option<u32>>> {
    let mut outcomes = Vec::new();
    for waiter in waiters {
        outcomes.push(waiter.await.unwrap());
    }
    outcomes
}

async fn all_get(waiters: Vec<JoinHandle<CacheResult<Option<u32>>>>, value: u32) {
    for outcome in all(waiters).await {
        assert_eq!(outcome.unwrap(), Some(value));
    }
}

async fn all_fail(
    waiters: Vec<JoinHandle<CacheResult<Option<u32>>>>,
    is: impl Fn(&CacheError) -> bool,
) {
    for outcome in all(waiters).await {
        let error = outcome.unwrap_err();
        assert!(is(&error), "{error:?}");
    }
}

async fn nothing_is_left(cache: &Cache<u32>) {
    until(|| cache.space().stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    assert!(matches!(cache.lookup("k").await.unwrap(), Lookup::Miss));
}

#[tokio::test]
async fn resolved() {
    let (cache, clock) = numbers().await;
    cache.set("k", &1).await.unwrap();
    let guard = cache.set_pending("k").await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), None, "a get never waits");
    let waiting = waiters(&cache).await;
    assert!(guard.resolve(Loaded::new(7).ttl(SECOND)).await.unwrap());
    all_get(waiting, 7).await;
    assert_eq!(cache.get_or_wait("k").await.unwrap(), Some(7));
    clock.advance(SECOND);
    nothing_is_left(&cache).await;
}

#[tokio::test]
async fn resolved_unstored() {
    let (cache, _) = numbers().await;
    let guard = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    assert!(guard.resolve(Loaded::new(7).do_not_store()).await.unwrap());
    all_get(waiting, 7).await;
    nothing_is_left(&cache).await;
}

#[tokio::test]
async fn failed_by_the_guard_and_from_anywhere() {
    let (cache, _) = numbers().await;
    let is_oops = |error: &CacheError| matches!(error, CacheError::Load(failure) if failure.downcast::<Oops>().unwrap().0 == 5);
    let guard = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    assert!(guard.fail(Oops(5)));
    all_fail(waiting, is_oops).await;
    nothing_is_left(&cache).await;

    let guard = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    assert!(cache.clone().fail("k", Oops(5)).await.unwrap());
    all_fail(waiting, is_oops).await;
    assert!(!guard.resolve(7_u32).await.unwrap(), "no longer ours");
    nothing_is_left(&cache).await;
    assert!(!cache.fail("k", Oops(5)).await.unwrap(), "nobody to fail");
}

#[tokio::test]
async fn failing_a_load_fails_its_callers_and_is_not_stored() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let loading = load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    let typed = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_try_set_with("k", async |_| Err::<u32, _>(Oops(0))).await }
    });
    settle().await;
    assert!(cache.fail("k", Oops(5)).await.unwrap());
    assert!(matches!(loading.await.unwrap(), Err(CacheError::Load(_))));
    assert!(matches!(typed.await.unwrap(), Err(LoadError::Load(oops)) if oops.0 == 5));
    gate.open(1);
    nothing_is_left(&cache).await;
}

#[tokio::test]
async fn overwritten() {
    let (cache, _) = numbers().await;
    let guard = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    cache.set("k", &8).await.unwrap();
    all_get(waiting, 8).await;
    assert!(!guard.resolve(7_u32).await.unwrap());
    assert_eq!(cache.get_value("k").await.unwrap(), Some(8));
}

#[tokio::test]
async fn resolved_by_one_who_goes_away_while_the_value_is_being_stored() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    let guard = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    store.plan(Call::Set, 1, Fault::Hang);
    let resolving = tokio::spawn(guard.resolve(7_u32));
    store.hanging(1).await;
    resolving.abort();
    assert!(resolving.await.unwrap_err().is_cancelled());
    settle().await;
    assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
    store.release();
    all_get(waiting, 7).await;
    until(|| space.stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(7));
}

#[tokio::test]
async fn resolved_by_one_who_goes_away_before_it_is_his_turn() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    let guard = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    store.plan(Call::Get, 1, Fault::Hang);
    let turn = tokio::spawn({
        let cache = cache.clone();
        async move { cache.update_expiry("k", None).await }
    });
    store.hanging(1).await;
    let resolving = tokio::spawn(guard.resolve(7_u32));
    settle().await;
    resolving.abort();
    all_fail(waiting, |error| matches!(error, CacheError::Abandoned)).await;
    store.release();
    assert!(matches!(turn.await.unwrap(), Err(CacheError::NotFound)));
    nothing_is_left(&cache).await;
}

#[tokio::test]
async fn one_that_is_cleared_away_or_closed_frees_its_room() {
    let (store, clock) = faulty();
    let policy = Policy::Lru { max: 3 };
    let space = builder(store.clone(), &clock).policy(policy).build().await.unwrap();
    let cache = space.cache::<u32>();
    store.plan(Call::Clear, 1, Fault::Hang);
    let clearing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.clear().await }
    });
    store.hanging(1).await;
    let guard = cache.set_pending("k").await.unwrap();
    assert_eq!(space.stats().entries, Some(1));
    store.release();
    clearing.await.unwrap().unwrap();
    assert!(!guard.resolve(1_u32).await.unwrap(), "given up at the end of the clearing");
    assert_eq!(space.stats().entries, Some(0));

    let first = cache.set_pending("k").await.unwrap();
    let second = cache.set_pending("k").await.unwrap();
    drop(first);
    assert_eq!(space.stats().entries, Some(1), "the room was taken over");
    space.close().await.unwrap();
    space.connect().await.unwrap();
    drop(second);
    assert_eq!(space.stats().entries, Some(0));
}

#[tokio::test]
async fn a_key_that_is_none_pushes_nobody_out() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max: 1 }).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("old", &1).await.unwrap();
    let error = cache.set_pending(&"x".repeat(5_000)).await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::InvalidKey));
    assert_eq!(cache.get_value("old").await.unwrap(), Some(1));
}

#[tokio::test]
async fn taken_over() {
    let (cache, _) = numbers().await;
    let first = cache.set_pending("k").await.unwrap();
    let early = waiters(&cache).await;
    let second = cache.set_pending("k").await.unwrap();
    let late = waiters(&cache).await;
    assert!(!first.resolve(1_u32).await.unwrap(), "taken over");
    settle().await;
    assert!(early.iter().chain(&late).all(|waiter| !waiter.is_finished()));
    let third = cache.set_pending("k").await.unwrap();
    drop(second);
    assert!(third.resolve(3_u32).await.unwrap());
    all_get(early, 3).await;
    all_get(late, 3).await;
}

#[tokio::test]
async fn taken_over_and_dropped() {
    let (cache, _) = numbers().await;
    let first = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    let second = cache.set_pending("k").await.unwrap();
    drop(first);
    settle().await;
    assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
    drop(second);
    all_fail(waiting, |error| matches!(error, CacheError::Abandoned)).await;
    nothing_is_left(&cache).await;
}

#[tokio::test]
async fn given_up_deleted_removed_or_emptied() {
    for fate in ["drop", "delete", "remove", "prefix", "empty prefix", "clear", "space", "zero"] {
        let (cache, _) = numbers().await;
        let guard = cache.set_pending("k").await.unwrap();
        let waiting = waiters(&cache).await;
        match fate {
            "drop" => drop(guard),
            fate => {
                match fate {
                    "delete" => assert_eq!(cache.delete("k").await.unwrap(), None),
                    "remove" => assert!(!cache.remove(["k"]).await.unwrap()),
                    "prefix" => assert_eq!(cache.remove_starting_with("k").await.unwrap(), 0),
                    "empty prefix" => assert_eq!(cache.remove_starting_with("").await.unwrap(), 0),
                    "clear" => cache.clear().await.unwrap(),
                    "space" => cache.space().clear(true).await.unwrap(),
                    _ => cache.set("k", &5).ttl(std::time::Duration::ZERO).await.unwrap(),
                }
                if fate == "zero" {
                    all_get(waiting, 5).await;
                    assert!(!guard.resolve(7_u32).await.unwrap(), "{fate}");
                    continue;
                }
                settle().await;
                assert!(waiting.iter().all(JoinHandle::is_finished), "{fate}");
                assert!(!guard.resolve(7_u32).await.unwrap(), "{fate}");
            }
        }
        all_fail(waiting, |error| matches!(error, CacheError::Abandoned)).await;
        nothing_is_left(&cache).await;
    }
}

#[tokio::test]
async fn emptied_without_pending() {
    let (cache, _) = numbers().await;
    cache.set("other", &1).await.unwrap();
    let guard = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    let gate = Gate::new();
    let loading = load(&cache, "loading", &gate, 4);
    gate.reached(1).await;
    cache.clear_keeping_pending().await.unwrap();
    cache.space().clear(false).await.unwrap();
    assert_eq!(cache.get_value("other").await.unwrap(), None);
    assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
    assert!(guard.resolve(7_u32).await.unwrap());
    all_get(waiting, 7).await;
    gate.open(1);
    assert_eq!(loading.await.unwrap().unwrap(), 4);
    until(|| cache.space().stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(7));
    assert_eq!(cache.get_value("loading").await.unwrap(), Some(4));
}

#[tokio::test(start_paused = true)]
async fn waiters_have_deadlines_of_their_own() {
    let (cache, _) = numbers().await;
    let guard = cache.set_pending("k").await.unwrap();
    let before = tokio::time::Instant::now();
    let hurried = cache.wait_at_most(SECOND).get_or_wait("k").await;
    assert!(matches!(hurried, Err(CacheError::TimedOut)));
    assert_eq!(before.elapsed(), SECOND);
    let waiting = waiters(&cache.wait_at_most(SECOND * 5)).await;
    tokio::time::sleep(SECOND).await;
    assert!(guard.resolve(7_u32).await.unwrap());
    all_get(waiting, 7).await;
}

#[tokio::test(start_paused = true)]
async fn detached_and_never_resolved() {
    let (store, clock) = memory();
    let space = builder(store, &clock).max_pending_time(SECOND * 9).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set_pending("k").await.unwrap().detach();
    let before = tokio::time::Instant::now();
    let waiting = waiters(&cache).await;
    all_fail(waiting, |error| matches!(error, CacheError::Abandoned)).await;
    assert_eq!(before.elapsed(), SECOND * 9);
    nothing_is_left(&cache).await;
}

#[tokio::test(start_paused = true)]
async fn detached_and_resolved_or_failed_later() {
    let (cache, _) = numbers().await;
    cache.set_pending("k").await.unwrap().detach();
    let waiting = waiters(&cache).await;
    cache.set("k", &7).await.unwrap();
    all_get(waiting, 7).await;
    cache.set_pending("k").await.unwrap().detach();
    let waiting = waiters(&cache).await;
    cache.fail("k", Oops(1)).await.unwrap();
    all_fail(waiting, |error| matches!(error, CacheError::Load(_))).await;
    nothing_is_left(&cache).await;
    // The deadlines that were set meanwhile end nothing.
    tokio::time::sleep(SECOND * 1_000).await;
    assert_eq!(cache.get_or_set("k", 5_u32).await.unwrap(), 5);
}

#[tokio::test]
async fn a_task_that_succeeds_fails_panics_or_is_cancelled() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let task = |what: u32| {
        let gate = gate.clone();
        tokio::spawn(async move {
            gate.pass().await;
            assert_ne!(what, 2, "planned");
            if what == 0 { Ok(7_u32) } else { Err(Oops(1)) }
        })
    };
    cache.set_pending_task("k", task(0)).await.unwrap();
    let waiting = waiters(&cache).await;
    gate.open(1);
    all_get(waiting, 7).await;
    assert_eq!(cache.delete("k").await.unwrap(), Some(7));

    cache.set_pending_task("k", task(1)).await.unwrap();
    let waiting = waiters(&cache).await;
    gate.open(1);
    all_fail(waiting, |error| matches!(error, CacheError::Load(_))).await;
    nothing_is_left(&cache).await;

    cache.set_pending_task("k", task(2)).await.unwrap();
    let waiting = waiters(&cache).await;
    gate.open(1);
    let planned =
        |error: &CacheError| matches!(error, CacheError::Panicked(t) if t.contains("planned"));
    all_fail(waiting, planned).await;
    nothing_is_left(&cache).await;

    let running = task(0);
    let abort = running.abort_handle();
    cache.set_pending_task("k", running).await.unwrap();
    let waiting = waiters(&cache).await;
    abort.abort();
    all_fail(waiting, |error| matches!(error, CacheError::Cancelled)).await;
    nothing_is_left(&cache).await;
}

#[tokio::test]
async fn a_promise_overtakes_a_load() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let loading = load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    let guard = cache.set_pending("k").await.unwrap();
    let waiting = waiters(&cache).await;
    gate.open(1);
    assert_eq!(loading.await.unwrap().unwrap(), 1, "given, unstored");
    settle().await;
    assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
    assert!(guard.resolve(7_u32).await.unwrap());
    all_get(waiting, 7).await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_value_of_another_type_ends_the_waiting() {
    let (space, _) = space().await;
    let (numbers, texts) = (space.cache::<u32>(), space.cache::<String>());
    let guard = numbers.set_pending("k").await.unwrap();
    let waiting = tokio::spawn({
        let numbers = numbers.clone();
        async move { numbers.get_or_wait("k").await }
    });
    let loading = tokio::spawn({
        let numbers = numbers.clone();
        async move { numbers.get_or_set("k", 4_u32).await }
    });
    settle().await;
    texts.set("k", &"seven".to_owned()).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), None);
    assert_eq!(loading.await.unwrap().unwrap(), 4);
    drop(guard);
}

#[tokio::test]
async fn a_store_that_fails_refuses_the_promise_or_hands_the_value_over() {
    for (failure, given) in [(StoreFailure::LoadDirectly, true), (StoreFailure::ServeError, false)]
    {
        let (store, clock) = faulty();
        let space = builder(store.clone(), &clock).when_store_fails(failure).build().await;
        let cache = space.unwrap().cache::<u32>();
        store.plan(Call::Delete, 1, Fault::Fail(ErrorKind::Unavailable));
        assert!(cache.set_pending("k").await.is_err());
        nothing_is_left(&cache).await;
        let guard = cache.set_pending("k").await.unwrap();
        let waiting = waiters(&cache).await;
        store.plan(Call::Set, 1, Fault::Fail(ErrorKind::StorageFull));
        let error = guard.resolve(7_u32).await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::StorageFull));
        if given {
            all_get(waiting, 7).await;
        } else {
            let full = |error: &CacheError| error.store_kind() == Some(ErrorKind::StorageFull);
            all_fail(waiting, full).await;
        }
        nothing_is_left(&cache).await;
    }
}

#[tokio::test]
async fn listing_shows_and_marks_what_is_pending() {
    let (cache, clock) = numbers().await;
    cache.set("b", &1).await.unwrap();
    cache.set("gone", &1).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    cache.with_scope("n").set("nested", &1).await.unwrap();
    let _guard = cache.set_pending("a").await.unwrap();
    let gate = Gate::new();
    let loading = load(&cache, "c", &gate, 4);
    gate.reached(1).await;
    let listed = cache.list().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|key| (key.key.as_str(), key.pending)).collect();
    assert_eq!(listed, [("a", true), ("b", false), ("c", true)]);
    gate.open(1);
    loading.await.unwrap().unwrap();
}
