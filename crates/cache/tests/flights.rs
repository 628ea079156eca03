//! F1, F3, F4: one load for all, whatever becomes of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::{Gate, Oops, SECOND, builder, load, memory, numbers, settle, space, until};
use larder_cache::{Cache, CacheError, CacheResult, CacheSpace, LoadError, Loaded};
use larder_core::{Codec, MessagePack};
use tokio::task::JoinHandle;

#[tokio::test]
async fn ten_thousand_callers_of_one_key_run_one_load() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let callers: Vec<_> = (0..10_000).map(|_| load(&cache, "k", &gate, 7)).collect();
    gate.reached(1).await;
    settle().await;
    gate.open(10_000);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), 7);
    }
    assert_eq!(gate.entered(), 1);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(7));
    until(|| cache.space().stats().active_keys == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_on_many_threads_never_load_twice() {
    for round in 0..200_u32 {
        let (cache, _) = numbers().await;
        let loads = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let (cache, loads) = (cache.clone(), loads.clone());
                tokio::spawn(async move {
                    cache
                        .get_or_set_with("k", async move |_| {
                            loads.fetch_add(1, SeqCst);
                            round
                        })
                        .await
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap(), round);
        }
        assert_eq!(loads.load(SeqCst), 1, "round {round}");
    }
}

#[tokio::test]
async fn different_keys_and_scopes_load_apart() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let nested = cache.with_scope("n");
    let loads =
        [load(&cache, "a", &gate, 1), load(&cache, "b", &gate, 2), load(&nested, "a", &gate, 3)];
    gate.reached(3).await;
    gate.open(3);
    let mut values = Vec::new();
    for load in loads {
        values.push(load.await.unwrap().unwrap());
    }
    assert_eq!(values, [1, 2, 3]);
}

#[tokio::test]
async fn an_error_goes_to_everybody_once_and_is_forgotten() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move {
                let failing = async move |_| {
                    gate.pass().await;
                    Err::<u32, _>(Oops(1))
                };
                cache.get_or_try_set_with("k", failing).await
            })
        })
        .collect();
    gate.reached(1).await;
    settle().await;
    gate.open(3);
    for caller in waiting {
        let error = caller.await.unwrap().unwrap_err();
        assert!(matches!(error, LoadError::Load(oops) if *oops == Oops(1)));
        // Whoever has seen the error loads anew.
        assert_eq!(cache.get_or_set("k", 5_u32).await.unwrap(), 5);
        cache.delete("k").await.unwrap();
    }
    assert_eq!(gate.entered(), 1);
}

#[tokio::test]
async fn a_caller_who_does_not_know_the_error_is_told_all_the_same() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let failing = {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move {
            let failing = async move |_| {
                gate.pass().await;
                Err::<u32, _>(Oops(3))
            };
            cache.get_or_try_set_with("k", failing).await
        })
    };
    gate.reached(1).await;
    let other = load(&cache, "k", &Gate::new(), 1);
    settle().await;
    gate.open(1);
    failing.await.unwrap().unwrap_err();
    let Err(CacheError::Load(failure)) = other.await.unwrap() else { panic!("no load failure") };
    assert_eq!(failure.downcast::<Oops>().unwrap().0, 3);
    assert!(failure.downcast::<String>().is_none());
    assert!(failure.to_string().contains("Oops"));
}

#[tokio::test]
async fn a_negative_time_to_live_remembers_an_error_until_it_is_over_or_a_value_comes() {
    let (store, clock) = memory();
    let space = builder(store, &clock).negative_ttl(SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    let fail = async || cache.get_or_try_set_with("k", async |_| Err::<u32, _>(Oops(1))).await;
    let load = async || cache.get_or_try_set_with("k", async |_| Ok::<u32, Oops>(2)).await;
    fail().await.unwrap_err();
    assert!(matches!(load().await, Err(LoadError::Load(_))));
    clock.advance(SECOND);
    assert_eq!(load().await.unwrap(), 2);
    cache.delete("k").await.unwrap();
    fail().await.unwrap_err();
    cache.set("k", &3).await.unwrap();
    cache.delete("k").await.unwrap();
    assert_eq!(load().await.unwrap(), 2);
}

#[tokio::test]
async fn clearing_forgets_an_error_that_is_remembered() {
    let (store, clock) = memory();
    let space = builder(store, &clock).negative_ttl(SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    for include_pending in [true, false] {
        let failing = async |_| Err::<u32, _>(Oops(1));
        cache.get_or_try_set_with("k", failing).await.unwrap_err();
        space.clear(include_pending).await.unwrap();
        assert_eq!(cache.get_or_set("k", Loaded::new(2).do_not_store()).await.unwrap(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_remembered_by_the_clock_of_the_space() {
    let (store, clock) = memory();
    let space = builder(store, &clock).negative_ttl(SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    let load = async |outcome| cache.get_or_try_set_with("k", async move |_| outcome).await;
    load(Err(Oops(1))).await.unwrap_err();
    // That clock stands still.
    tokio::time::sleep(SECOND * 9).await;
    assert!(matches!(load(Ok(2)).await, Err(LoadError::Load(_))));
    clock.advance(SECOND);
    assert_eq!(load(Ok(2)).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn remembered_errors_leave_the_table() {
    let (store, clock) = memory();
    let space = builder(store, &clock).negative_ttl(SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    for key in 0..100 {
        let failing = async |_| Err::<u32, _>(Oops(1));
        cache.get_or_try_set_with(&key.to_string(), failing).await.unwrap_err();
    }
    settle().await;
    assert_eq!(space.stats().active_keys, 100);
    clock.advance(SECOND);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(space.stats().active_keys, 0);
}

#[tokio::test]
async fn a_panic_is_an_error_for_everybody() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move {
                let panicking = async move |_| {
                    gate.pass().await;
                    assert_eq!(gate.entered(), 0, "planned");
                    0
                };
                cache.get_or_set_with("k", panicking).await
            })
        })
        .collect();
    gate.reached(1).await;
    settle().await;
    gate.open(3);
    for caller in waiting {
        let error = caller.await.unwrap().unwrap_err();
        assert!(matches!(error, CacheError::Panicked(text) if text.contains("planned")));
    }
    assert_eq!(cache.get_or_set("k", 5_u32).await.unwrap(), 5);
    assert_eq!(cache.space().stats().load_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_never_ends_is_ended() {
    let (store, clock) = memory();
    let space = builder(store, &clock).max_load_time(SECOND * 3).build().await.unwrap();
    let cache = space.cache::<u32>();
    let before = tokio::time::Instant::now();
    let zombie = cache.get_or_set_with("k", async |_| std::future::pending::<u32>().await);
    assert!(matches!(zombie.await, Err(CacheError::TimedOut)));
    assert_eq!(before.elapsed(), SECOND * 3);
    assert_eq!(cache.get_or_set("k", 5_u32).await.unwrap(), 5);
    assert_eq!(space.stats().active_keys, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_its_own_waiting_and_not_the_flight() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let patient = load(&cache, "k", &gate, 7);
    gate.reached(1).await;
    let before = tokio::time::Instant::now();
    let hurried: Vec<_> = [3_u32, 1, 2]
        .map(|seconds| load(&cache.wait_at_most(SECOND * seconds), "k", &gate, 8))
        .into_iter()
        .collect();
    for caller in hurried {
        assert!(matches!(caller.await.unwrap(), Err(CacheError::TimedOut)));
    }
    assert_eq!(before.elapsed(), SECOND * 3);
    gate.open(1);
    assert_eq!(patient.await.unwrap().unwrap(), 7);
    assert_eq!(gate.entered(), 1);
}

#[tokio::test]
async fn a_caller_who_goes_away_harms_nobody() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let first = load(&cache, "k", &gate, 7);
    gate.reached(1).await;
    let second = load(&cache, "k", &gate, 8);
    settle().await;
    first.abort();
    settle().await;
    gate.open(1);
    assert_eq!(second.await.unwrap().unwrap(), 7);
    assert_eq!(gate.entered(), 1);
}

#[tokio::test]
async fn a_load_without_callers_is_finished_and_stored() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let only = load(&cache, "k", &gate, 7);
    gate.reached(1).await;
    only.abort();
    settle().await;
    gate.open(1);
    until(|| cache.space().stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_load_without_callers_is_cancelled_where_that_is_asked_for() {
    let (store, clock) = memory();
    let space = builder(store, &clock).cancel_abandoned_loads(true).build().await.unwrap();
    let cache = space.cache::<u32>();
    let gate = Gate::new();
    let (first, second) = (load(&cache, "k", &gate, 7), load(&cache, "k", &gate, 8));
    gate.reached(1).await;
    settle().await;
    first.abort();
    settle().await;
    assert_eq!(space.stats().active_keys, 1, "one of two has gone");
    second.abort();
    until(|| space.stats().active_keys == 0).await;
    gate.open(2);
    settle().await;
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    assert_eq!(cache.get_or_set("k", 5_u32).await.unwrap(), 5);
}

/// F4: those who wait have been told long before.
#[tokio::test(start_paused = true)]
async fn a_load_that_was_overtaken_is_ended_in_time_like_any_other() {
    for winner in ["set", "fail"] {
        let (store, clock) = memory();
        let space = builder(store, &clock).max_load_time(SECOND).build().await.unwrap();
        let cache = space.cache::<u32>();
        let loading = load(&cache, "k", &Gate::new(), 1);
        settle().await;
        match winner {
            "set" => cache.set("k", &2).await.unwrap(),
            _ => assert!(cache.fail("k", Oops(1)).await.unwrap()),
        }
        assert_eq!(loading.await.unwrap().ok(), (winner == "set").then_some(2));
        assert_eq!(space.stats().active_keys, 1, "its loader goes on");
        tokio::time::sleep(2 * SECOND).await;
        let stats = space.stats();
        assert_eq!((stats.active_keys, stats.load_failures), (0, 1), "{winner}");
    }
}

#[tokio::test]
async fn a_load_whose_callers_have_the_value_of_a_set_is_cancelled_where_that_is_asked_for() {
    let (store, clock) = memory();
    let space = builder(store, &clock).cancel_abandoned_loads(true).build().await.unwrap();
    let cache = space.cache::<u32>();
    let gate = Gate::new();
    let loading = [load(&cache, "k", &gate, 7), load(&cache, "k", &gate, 8)];
    gate.reached(1).await;
    settle().await;
    cache.set("k", &2).await.unwrap();
    for loading in loading {
        assert_eq!(loading.await.unwrap().unwrap(), 2);
    }
    until(|| space.stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_call_dropped_before_it_is_polled_does_nothing() {
    let (cache, _) = numbers().await;
    drop(cache.get_or_set("k", 1_u32));
    drop(cache.set("k", &1));
    settle().await;
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    assert_eq!(cache.space().stats().loads, 0);
}

#[test]
fn a_runtime_that_shuts_down_leaves_nobody_waiting() {
    let other = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let own = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    own.block_on(async {
        let (cache, _) = numbers().await;
        let gate = Gate::new();
        // The load runs on the runtime of whoever came first.
        let first = other.spawn({
            let (cache, gate) = (cache.clone(), gate.clone());
            async move {
                let never = async move |_| {
                    gate.pass().await;
                    1_u32
                };
                let _ = cache.get_or_set_with("k", never).await;
            }
        });
        gate.reached(1).await;
        let waiting = load(&cache, "k", &gate, 2);
        settle().await;
        other.shutdown_background();
        assert!(matches!(waiting.await.unwrap(), Err(CacheError::ShutDown)));
        assert!(first.await.is_err());
        assert_eq!(cache.get_or_set("k", 5_u32).await.unwrap(), 5);
    });
}

/// A runtime on paused time.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Loads what never comes, and gives how that ends and how long it took.
async fn never(cache: &Cache<u32>) -> (CacheResult<u32>, Duration) {
    let before = tokio::time::Instant::now();
    let never = cache.get_or_set_with("never", async |_| std::future::pending::<u32>().await);
    let ended = tokio::time::timeout(SECOND * 10, never).await;
    (ended.expect("it hangs"), before.elapsed())
}

#[test]
fn a_load_is_ended_in_time_whatever_became_of_the_runtime_of_another() {
    for goes in [false, true] {
        let (mut first, second) = (Some(runtime()), runtime());
        let space = second.block_on(async {
            let (store, clock) = memory();
            builder(store, &clock).max_load_time(SECOND * 3).build().await.unwrap()
        });
        let cache = space.cache::<u32>();
        // From here on, this runtime does nothing any more.
        let one = first.as_ref().unwrap().block_on(cache.get_or_set("k", 1));
        assert_eq!(one.unwrap(), 1);
        let (ended, took) = second.block_on(async {
            let load = tokio::spawn({
                let cache = cache.clone();
                async move { never(&cache).await }
            });
            settle().await;
            if goes {
                first.take().unwrap().shutdown_background();
            }
            load.await.unwrap()
        });
        assert!(matches!(ended, Err(CacheError::TimedOut)), "{ended:?}");
        assert_eq!(took, SECOND * 3);
        // Nor does it matter that time has gone by without any load.
        let (ended, took) = second.block_on(never(&cache));
        assert!(matches!(ended, Err(CacheError::TimedOut)), "{ended:?}");
        assert_eq!(took, SECOND * 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_blocks_its_thread_is_given_up() {
    let (store, clock) = memory();
    let space = builder(store, &clock).max_load_time(Duration::from_millis(20)).build();
    let cache = space.await.unwrap().cache::<u32>();
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocking = cache.get_or_set_with("k", async move |_| {
        // Until the sender goes: the runtime could not be shut down otherwise.
        let _ = blocked.recv();
        1_u32
    });
    assert!(matches!(blocking.await, Err(CacheError::TimedOut)));
    assert_eq!(cache.get_or_set("k", 5_u32).await.unwrap(), 5);
    drop(unblock);
}

#[tokio::test]
async fn a_loader_that_asks_for_its_own_key_is_told_so() {
    let (cache, _) = numbers().await;
    let inner = cache.clone();
    let outcome =
        cache.get_or_try_set_with("k", async move |_| inner.get_or_set("k", 1_u32).await).await;
    let Err(LoadError::Load(error)) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(*error, CacheError::Reentrant));

    // By way of another key, too; the same key in another scope is another key.
    let inner = cache.clone();
    let outcome = cache
        .get_or_try_set_with("a", async move |_| {
            let innermost = inner.clone();
            inner
                .get_or_try_set_with("b", async move |_| {
                    assert_eq!(innermost.with_scope("x").get_or_set("a", 9_u32).await.unwrap(), 9);
                    innermost.get_or_set("a", 1_u32).await
                })
                .await
        })
        .await;
    assert!(outcome.is_err());
    let inner = cache.clone();
    let waiting = cache
        .get_or_try_set_with("w", async move |_| inner.get_or_wait("w").await.map(|_| 1))
        .await;
    assert!(matches!(waiting, Err(LoadError::Load(e)) if matches!(*e, CacheError::Reentrant)));
}

#[tokio::test(start_paused = true)]
async fn two_loaders_that_ask_for_each_other_are_ended() {
    let (store, clock) = memory();
    let space = builder(store, &clock).max_load_time(SECOND * 3).build().await.unwrap();
    let cache = space.cache::<u32>();
    let meeting = Arc::new(tokio::sync::Barrier::new(2));
    let ask = |own: &'static str, other: &'static str| {
        let (cache, meeting) = (cache.clone(), meeting.clone());
        tokio::spawn(async move {
            let inner = cache.clone();
            let loader = async move |_| {
                meeting.wait().await;
                inner.get_or_set(other, 1_u32).await
            };
            cache.get_or_try_set_with(own, loader).await
        })
    };
    let (a, b) = (ask("a", "b"), ask("b", "a"));
    let before = tokio::time::Instant::now();
    assert!(a.await.unwrap().is_err());
    assert!(b.await.unwrap().is_err());
    assert!(before.elapsed() <= SECOND * 3);
    assert_eq!(cache.get_or_set("a", 5_u32).await.unwrap(), 5);
}

#[tokio::test]
async fn flights_are_keyed_by_key_and_not_by_type() {
    let (space, _) = space().await;
    let (numbers, texts) = (space.cache::<u32>(), space.cache::<String>());
    let gate = Gate::new();
    let number = load(&numbers, "k", &gate, 7);
    gate.reached(1).await;
    let text = tokio::spawn({
        let texts = texts.clone();
        async move { texts.get_or_set("k", "seven".to_owned()).await }
    });
    settle().await;
    assert_eq!(space.stats().loads, 1, "the second waits for the first");
    gate.open(1);
    assert_eq!(number.await.unwrap().unwrap(), 7);
    assert_eq!(text.await.unwrap().unwrap(), "seven");
    assert_eq!(texts.get_value("k").await.unwrap().unwrap(), "seven");
}

/// Loads a value of one of many types, each of which has a size of its own.
fn load_sized<const N: usize>(space: &CacheSpace) -> JoinHandle<CacheResult<usize>>
where
    MessagePack: Codec<[u8; N]>,
{
    let cache = space.cache::<[u8; N]>();
    tokio::spawn(async move {
        let loader = async |_| {
            tokio::task::yield_now().await;
            [0; N]
        };
        Ok(cache.get_or_set_with("k", loader).await?.len())
    })
}

#[tokio::test]
async fn however_many_types_ask_for_one_key_all_get_their_own() {
    let (space, _) = space().await;
    let loads = [
        load_sized::<1>(&space),
        load_sized::<2>(&space),
        load_sized::<3>(&space),
        load_sized::<4>(&space),
        load_sized::<5>(&space),
        load_sized::<6>(&space),
        load_sized::<7>(&space),
        load_sized::<8>(&space),
        load_sized::<9>(&space),
        load_sized::<10>(&space),
        load_sized::<11>(&space),
        load_sized::<12>(&space),
    ];
    for (load, size) in loads.into_iter().zip(1..) {
        assert_eq!(load.await.unwrap().unwrap(), size);
    }
    assert_eq!(space.stats().loads, 12, "each has loaded once");
    until(|| space.stats().active_keys == 0).await;
}

#[tokio::test]
async fn a_loader_says_how_its_value_is_stored() {
    let (cache, clock) = numbers().await;
    let short = cache.get_or_set("short", Loaded::new(1).ttl(SECOND)).await;
    assert_eq!(short.unwrap(), 1);
    let unstored = cache.get_or_set_with("un", async |_| Loaded::new(2).do_not_store()).await;
    assert_eq!(unstored.unwrap(), 2);
    assert_eq!(cache.get_or_set("zero", Loaded::new(3).ttl(Duration::ZERO)).await.unwrap(), 3);
    assert_eq!(cache.get_value("un").await.unwrap(), None);
    assert_eq!(cache.get_value("zero").await.unwrap(), None);
    assert_eq!(cache.get_value("short").await.unwrap(), Some(1));
    clock.advance(SECOND);
    assert_eq!(cache.get_value("short").await.unwrap(), None);
}
