//! F2: a load that was overtaken is never stored, whatever overtook it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{Gate, Oops, SECOND, builder, faulty, load, numbers, settle, until};
use larder_cache::{Cache, CacheScope, Loaded, Policy};
use larder_core::testing::{Call, Fault};
use larder_core::{ErrorKind, Expiry};

/// Starts a load of `k` that gives 1, lets `winner` do its work meanwhile, and gives what the caller of
/// the load got, after everything has come to rest.
async fn race(cache: &Cache<u32>, winner: impl AsyncFnOnce(&Cache<u32>)) -> u32 {
    let gate = Gate::new();
    let loading = load(cache, "k", &gate, 1);
    gate.reached(1).await;
    winner(cache).await;
    gate.open(1);
    let value = loading.await.unwrap().unwrap();
    until(|| cache.space().stats().active_keys == 0).await;
    value
}

#[tokio::test]
async fn a_set_wins_and_its_value_is_given_at_once() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let waiting = [load(&cache, "k", &gate, 1), load(&cache, "k", &gate, 1)];
    gate.reached(1).await;
    settle().await;
    cache.set("k", &2).await.unwrap();
    for waiter in waiting {
        // The loader is still held.
        assert_eq!(waiter.await.unwrap().unwrap(), 2);
    }
    gate.open(1);
    until(|| cache.space().stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_deletion_wins_and_later_callers_load_anew() {
    let (cache, _) = numbers().await;
    let (old, new) = (Gate::new(), Gate::new());
    let before = load(&cache, "k", &old, 1);
    old.reached(1).await;
    assert_eq!(cache.delete("k").await.unwrap(), None);
    let after = load(&cache, "k", &new, 2);
    new.reached(1).await;
    new.open(1);
    assert_eq!(after.await.unwrap().unwrap(), 2);
    old.open(1);
    assert_eq!(before.await.unwrap().unwrap(), 1, "given, unstored");
    until(|| cache.space().stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
    assert_eq!(cache.space().stats().overtaken, 1);
}

#[tokio::test]
async fn everything_that_removes_the_key_wins() {
    type Winner = fn(Cache<u32>) -> larder_core::BoxFuture<'static, ()>;
    let cases: [(&str, Winner); 8] = [
        ("delete", |c| Box::pin(async move { assert!(c.delete("k").await.unwrap().is_none()) })),
        ("remove", |c| {
            Box::pin(async move {
                let _ = c.remove(["k"]).await.unwrap();
            })
        }),
        ("clear", |c| Box::pin(async move { c.clear().await.unwrap() })),
        ("space clear", |c| Box::pin(async move { c.space().clear(true).await.unwrap() })),
        ("prefix", |c| {
            Box::pin(async move {
                let _ = c.remove_starting_with("k").await.unwrap();
            })
        }),
        ("empty prefix", |c| {
            Box::pin(async move {
                let _ = c.remove_starting_with("").await.unwrap();
            })
        }),
        ("parent scope", |c| {
            Box::pin(async move { c.scoped(CacheScope::Global).clear().await.unwrap() })
        }),
        ("zero set", |c| {
            Box::pin(async move { c.set("k", &1).ttl(std::time::Duration::ZERO).await.unwrap() })
        }),
    ];
    for (name, winner) in cases {
        let (cache, _) = numbers().await;
        let cache = cache.with_scope("below");
        let value = race(&cache, async move |cache: &Cache<u32>| winner(cache.clone()).await).await;
        assert_eq!(value, 1, "{name}");
        assert_eq!(cache.get_value("k").await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn what_removes_other_keys_leaves_the_load_alone() {
    let (cache, _) = numbers().await;
    let cache = cache.with_scope("here");
    let value = race(&cache, async |cache: &Cache<u32>| {
        cache.delete("other").await.unwrap();
        cache.remove_starting_with("kk").await.unwrap();
        cache.with_scope("deeper").clear().await.unwrap();
        cache.scoped(CacheScope::Global).with_scope("elsewhere").clear().await.unwrap();
        cache.scoped(CacheScope::Global).remove_starting_with("").await.unwrap();
        cache.clear_keeping_pending().await.unwrap();
    })
    .await;
    assert_eq!(value, 1);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn an_expiry_that_is_changed_wins() {
    let (cache, clock) = numbers().await;
    cache.set("k", &7).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    let value = race(&cache, async |cache: &Cache<u32>| {
        let revived = cache.update_expiry("k", Expiry::After(SECOND * 9)).await.unwrap();
        assert_eq!(revived, 7);
    })
    .await;
    assert_eq!(value, 7);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(7));
}

#[tokio::test]
async fn an_entry_that_expires_while_it_is_loaded_is_replaced() {
    let (cache, clock) = numbers().await;
    let value = race(&cache, async |cache: &Cache<u32>| {
        cache.with_scope("other").set("k", &3).ttl(SECOND).await.unwrap();
        clock.advance(SECOND * 400);
    })
    .await;
    assert_eq!(value, 1);
    let item = cache.get("k").await.unwrap().unwrap();
    assert_eq!(item.age(), std::time::Duration::ZERO, "dated when it was loaded, not before");
}

#[tokio::test]
async fn the_winner_may_come_through_any_handle_of_the_space() {
    let (cache, _) = numbers().await;
    let texts = cache.space().clone().cache::<String>();
    let value = race(&cache, async |_: &Cache<u32>| {
        texts.set("k", &"seven".to_owned()).await.unwrap();
    })
    .await;
    assert_eq!(value, 1, "a text is no number: the load's own result, unstored");
    assert_eq!(texts.get_value("k").await.unwrap().unwrap(), "seven");
}

#[tokio::test]
async fn a_failure_that_was_overtaken_is_not_remembered() {
    let (store, clock) = common::memory();
    let space = builder(store, &clock).negative_ttl(SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    let gate = Gate::new();
    let failing = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let failing = async move |_| {
                gate.pass().await;
                Err::<u32, _>(Oops(1))
            };
            cache.get_or_try_set_with("k", failing).await
        }
    });
    gate.reached(1).await;
    cache.delete("k").await.unwrap();
    gate.open(1);
    failing.await.unwrap().unwrap_err();
    assert_eq!(cache.get_or_set("k", 2_u32).await.unwrap(), 2);
}

#[tokio::test]
async fn however_long_ago_the_load_began() {
    let (cache, clock) = numbers().await;
    let gate = Gate::new();
    let loading = load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    for round in 2..100_u32 {
        cache.set("k", &round).await.unwrap();
        assert_eq!(cache.delete("k").await.unwrap(), Some(round));
        let other = cache.get_or_set("k", Loaded::new(round).do_not_store()).await;
        assert_eq!(other.unwrap(), round);
        clock.advance(SECOND);
    }
    gate.open(1);
    assert_eq!(loading.await.unwrap().unwrap(), 2, "the first set gave its value");
    until(|| cache.space().stats().active_keys == 0).await;
    assert_eq!(cache.get_value("k").await.unwrap(), None);
}

/// The fill is in the middle of the store's call when the winner comes.
#[tokio::test]
async fn a_fill_that_is_just_being_stored_is_overwritten_by_the_winner() {
    for hangs in ["set", "delete", "clear", "prefix"] {
        let (store, clock) = faulty();
        let space = builder(store.clone(), &clock).build().await.unwrap();
        let cache = space.cache::<u32>();
        store.plan(Call::Set, 1, Fault::Hang);
        let gate = Gate::new();
        gate.open(1);
        let loading = load(&cache, "k", &gate, 1);
        store.hanging(1).await;
        let winner = tokio::spawn({
            let cache = cache.clone();
            async move {
                match hangs {
                    "set" => cache.set("k", &2).await.unwrap(),
                    "delete" => drop(cache.delete("k").await.unwrap()),
                    "clear" => cache.clear().await.unwrap(),
                    _ => assert!(cache.remove_starting_with("k").await.unwrap() < 2),
                }
            }
        });
        settle().await;
        assert!(!winner.is_finished(), "{hangs} waits for the fill");
        store.release();
        winner.await.unwrap();
        assert!(loading.await.unwrap().is_ok());
        let left = cache.get_value("k").await.unwrap();
        assert_eq!(left, (hangs == "set").then_some(2), "{hangs}");
    }
}

/// The winner is in the middle of the store's call when the load ends.
#[tokio::test]
async fn a_load_that_ends_while_the_winner_is_being_stored_is_not_stored_after_it() {
    for hangs in ["set", "delete", "clear", "prefix"] {
        let (store, clock) = faulty();
        let space = builder(store.clone(), &clock).build().await.unwrap();
        let cache = space.cache::<u32>();
        let gate = Gate::new();
        let loading = load(&cache, "k", &gate, 1);
        gate.reached(1).await;
        store.plan(Call::Set, 1, Fault::Hang);
        store.plan(Call::Delete, 1, Fault::Hang);
        store.plan(Call::Clear, 1, Fault::Hang);
        let winner = tokio::spawn({
            let cache = cache.clone();
            async move {
                match hangs {
                    "set" => cache.set("k", &2).await.unwrap(),
                    "delete" => drop(cache.delete("k").await.unwrap()),
                    "clear" => cache.clear().await.unwrap(),
                    _ => assert!(cache.remove_starting_with("k").await.unwrap() < 2),
                }
            }
        });
        store.hanging(1).await;
        gate.open(1);
        settle().await;
        store.heal();
        store.release();
        winner.await.unwrap();
        loading.await.unwrap().unwrap();
        until(|| space.stats().active_keys == 0).await;
        let left = cache.get_value("k").await.unwrap();
        assert_eq!(left, (hangs == "set").then_some(2), "{hangs}");
    }
}

/// The fill's time is over, and whoever waited has the value, while the fill waits for its turn.
#[tokio::test(start_paused = true)]
async fn a_fill_that_waits_for_the_winner_past_its_budget_is_not_stored_after_it() {
    for hangs in ["set", "delete", "promise"] {
        let (store, clock) = faulty();
        let space = builder(store.clone(), &clock).store_budget(SECOND).build().await.unwrap();
        let cache = space.cache::<u32>();
        let gate = Gate::new();
        let loading = load(&cache, "k", &gate, 1);
        gate.reached(1).await;
        store.plan(Call::Set, 1, Fault::Hang);
        store.plan(Call::Delete, 1, Fault::Hang);
        let winner = tokio::spawn({
            let cache = cache.clone();
            async move {
                match hangs {
                    "set" => cache.set("k", &2).await.unwrap(),
                    "delete" => drop(cache.delete("k").await.unwrap()),
                    _ => cache.set_pending("k").await.unwrap().detach(),
                }
            }
        });
        store.hanging(1).await;
        gate.open(1);
        assert_eq!(loading.await.unwrap().unwrap(), 1, "{hangs}: after the budget");
        store.heal();
        store.release();
        winner.await.unwrap();
        settle().await;
        let left = cache.get_value("k").await.unwrap();
        assert_eq!(left, (hangs == "set").then_some(2), "{hangs}");
        assert_eq!(space.stats().overtaken, 1, "{hangs}");
    }
}

/// The same where the fill waits for room, and the winner comes and goes meanwhile.
#[tokio::test(start_paused = true)]
async fn a_fill_that_waits_for_room_past_its_budget_is_overtaken_all_the_while() {
    for winner in ["set", "delete", "prefix", "promise", "failure", "later load", "nothing"] {
        let (store, clock) = faulty();
        let policy = Policy::Lru { max: 1 };
        let space = builder(store.clone(), &clock).store_budget(SECOND).policy(policy);
        let space = space.build().await.unwrap();
        let cache = space.cache::<u32>();
        cache.set("old", &0).await.unwrap();
        store.plan(Call::Delete, 1, Fault::Hang);
        assert_eq!(cache.get_or_set("k", 1_u32).await.unwrap(), 1);
        let winning = {
            let cache = cache.clone();
            tokio::spawn(async move {
                match winner {
                    // They want room, too, and wait for it.
                    "set" => cache.set("k", &2).await.unwrap(),
                    "promise" => return Some(cache.set_pending("k").await.unwrap()),
                    _ => {}
                }
                None
            })
        };
        settle().await;
        match winner {
            "delete" => drop(cache.delete("k").await.unwrap()),
            "prefix" => assert_eq!(cache.remove_starting_with("k").await.unwrap(), 0),
            "failure" => assert!(!cache.fail("k", Oops(1)).await.unwrap()),
            "later load" => assert_eq!(cache.get_or_set("k", 2_u32).await.unwrap(), 2),
            _ => {}
        }
        store.release();
        let promise = winning.await.unwrap();
        settle().await;
        let left = cache.get_value("k").await.unwrap();
        let expected = match winner {
            "set" | "later load" => Some(2),
            "nothing" => Some(1),
            _ => None,
        };
        assert_eq!(left, expected, "{winner}");
        drop(promise);
        until(|| space.stats().active_keys == 0).await;
    }
}

/// Changes an entry and clears it away at the same time, and the store makes the change last where it
/// can.
async fn change_and_clear(change: &'static str, clearing: &'static str, change_first: bool) {
    let (store, clock) = faulty();
    let policy = Policy::Lru { max: 2 };
    let space = builder(store.clone(), &clock).policy(policy).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).pin().await.unwrap();
    store.plan(Call::Set, 1, Fault::Delay(SECOND));
    store.plan(Call::Clear, 1, Fault::Hang);
    let start_change = || {
        let cache = cache.clone();
        tokio::spawn(async move {
            match change {
                "update_expiry" => cache.update_expiry("k", SECOND).await.unwrap(),
                _ => cache.get_and_unpin("k").await.unwrap().unwrap().value().unwrap(),
            }
        })
    };
    let first = change_first.then(start_change);
    settle().await;
    let cleared = tokio::spawn({
        let cache = cache.clone();
        async move {
            match clearing {
                "clear" => cache.clear().await.unwrap(),
                "clear_keeping_pending" => cache.clear_keeping_pending().await.unwrap(),
                _ => drop(cache.remove_starting_with("k").await.unwrap()),
            }
        }
    });
    store.hanging(1).await;
    let changed = first.unwrap_or_else(start_change);
    settle().await;
    store.release();
    cleared.await.unwrap();
    assert_eq!(changed.await.unwrap(), 1);
    let what = format!("{change}, {clearing}, {change_first}");
    assert_eq!(cache.get_value("k").await.unwrap(), None, "{what}");
    assert_eq!(space.stats().entries, Some(0), "{what}");
}

/// What was read before the clearing removed it does not come back by being written again.
#[tokio::test(start_paused = true)]
async fn a_clearing_wins_over_a_change_of_what_it_removes() {
    for change in ["update_expiry", "get_and_unpin"] {
        for clearing in ["clear", "clear_keeping_pending", "remove_starting_with"] {
            change_and_clear(change, clearing, false).await;
            change_and_clear(change, clearing, true).await;
        }
    }
}

/// S5: the winner's caller goes away while the store is at it.
#[tokio::test]
async fn a_dropped_winner_still_wins_and_leaves_nothing_locked() {
    for hangs in ["set", "delete"] {
        let (store, clock) = faulty();
        let space = builder(store.clone(), &clock).build().await.unwrap();
        let cache = space.cache::<u32>();
        let gate = Gate::new();
        let loading = load(&cache, "k", &gate, 1);
        gate.reached(1).await;
        store.plan(Call::Set, 1, Fault::Hang);
        store.plan(Call::Delete, 1, Fault::Hang);
        let winner = tokio::spawn({
            let cache = cache.clone();
            async move {
                match hangs {
                    "set" => cache.set("k", &2).await.unwrap(),
                    _ => drop(cache.delete("k").await.unwrap()),
                }
            }
        });
        store.hanging(1).await;
        winner.abort();
        assert!(winner.await.unwrap_err().is_cancelled());
        gate.open(1);
        settle().await;
        assert!(!loading.is_finished(), "the key is guarded until the store has answered");
        store.heal();
        store.release();
        loading.await.unwrap().unwrap();
        until(|| space.stats().active_keys == 0).await;
        let left = cache.get_value("k").await.unwrap();
        assert_eq!(left, (hangs == "set").then_some(2), "{hangs}");
        cache.set("k", &9).await.unwrap();
    }
}

#[tokio::test]
async fn a_winner_that_is_dropped_while_it_waits_for_its_turn_does_nothing() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    store.plan(Call::Set, 1, Fault::Hang);
    let set = |value: u32| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.set("k", &value).await })
    };
    let first = set(1);
    store.hanging(1).await;
    let second = set(2);
    settle().await;
    second.abort();
    settle().await;
    store.release();
    first.await.unwrap().unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    assert_eq!(store.calls(Call::Set), 1);
}

#[tokio::test]
async fn a_winner_whose_outcome_is_unknown_wins_as_well() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).build().await.unwrap();
    let cache = space.cache::<u32>();
    let value = race(&cache, async |cache: &Cache<u32>| {
        store.plan(Call::Set, 1, Fault::LoseAnswer);
        let error = cache.set("k", &2).await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::Unknown));
    })
    .await;
    assert_eq!(value, 1);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
}

/// Sets, deletions and loads at random from several threads; a value that was loaded before the last
/// change of its source is never left in the cache.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_stale_value_is_left_by_any_interleaving() {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    let (cache, _) = numbers().await;
    for round in 0..300_u32 {
        let source = Arc::new(AtomicU32::new(round));
        let readers: Vec<_> = (0..6)
            .map(|reader| {
                let (cache, source) = (cache.clone(), source.clone());
                tokio::spawn(async move {
                    for _ in 0..3 {
                        let source = source.clone();
                        let loader = async move |_| {
                            let value = source.load(SeqCst);
                            for _ in 0..reader {
                                tokio::task::yield_now().await;
                            }
                            value
                        };
                        cache.get_or_set_with("k", loader).await.unwrap();
                    }
                })
            })
            .collect();
        for change in 1..4 {
            source.store(round + change * 1_000, SeqCst);
            match change {
                1 => drop(cache.delete("k").await.unwrap()),
                2 => cache.clear().await.unwrap(),
                _ => assert!(cache.remove_starting_with("").await.unwrap() < 2),
            }
        }
        for reader in readers {
            reader.await.unwrap();
        }
        until(|| cache.space().stats().active_keys == 0).await;
        let left = cache.get_value("k").await.unwrap();
        assert!(left.is_none_or(|left| left == round + 3_000), "round {round}: {left:?}");
        cache.clear().await.unwrap();
    }
}
