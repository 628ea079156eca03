//! L2 across processes, each of them a space of its own over one store, on tokio's paused time.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::{CacheError, CacheSpace, Distributed};
use larder_core::testing::{Call, Fault};
use larder_core::{ErrorKind, ManualClock, StoreExt};
use larder_memory::MemoryStore;

use crate::support::{LEASE, Process, SECOND, World, delete, eventually, keys};

const MILLI: Duration = Duration::from_millis(1);

async fn is_busy(process: &Process, key: &str) -> bool {
    match process.cache.lock(key).no_wait().await {
        Ok(guard) => {
            guard.release().await;
            false
        }
        Err(CacheError::Busy) => true,
        Err(error) => panic!("{error}"),
    }
}

/// Cuts a process off from the store.
fn cut_off(process: &Process) {
    process.way.always(Call::Any, Fault::Fail(ErrorKind::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_lock_holds_in_all_processes_until_it_is_released() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let guard = one.cache.lock("k").await.unwrap();
    assert!(is_busy(&other, "k").await && is_busy(&one, "k").await);
    assert!(!is_busy(&other, "other").await);
    assert!(!is_busy(&Process { cache: other.cache.with_scope("n"), ..other.clone() }, "k").await);
    assert!(matches!(other.cache.lock("k").wait(SECOND).await, Err(CacheError::Busy)));
    guard.release().await;
    assert!(!is_busy(&other, "k").await);
    let guard = other.cache.lock("k").await.unwrap();
    drop(guard);
    eventually(async || (!is_busy(&one, "k").await).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_gets_it_soon_after_the_release() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let guard = one.cache.lock("k").await.unwrap();
    let waiting = tokio::spawn(async move {
        let guard = other.cache.lock("k").await.unwrap();
        (tokio::time::Instant::now(), guard)
    });
    tokio::time::sleep(LEASE * 3).await;
    let released = tokio::time::Instant::now();
    guard.release().await;
    let (taken, _guard) = waiting.await.unwrap();
    assert!(taken - released < SECOND / 2, "{:?}", taken - released);
}

#[tokio::test(start_paused = true)]
async fn a_free_lock_is_given_to_one_who_waits_for_no_time() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    world.store.answer_late(1, SECOND);
    let guard = one.cache.lock("k").wait(Duration::ZERO).await.unwrap();
    let refused = other.cache.getset("k").wait(Duration::ZERO).await;
    assert!(matches!(refused, Err(CacheError::Busy)));
    guard.release().await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_renewed_as_long_as_its_guard_lives() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let guard = one.cache.lock("k").await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(LEASE / 7).await;
        assert!(is_busy(&other, "k").await && !guard.is_lost());
    }
}

#[tokio::test(start_paused = true)]
async fn a_few_errors_do_not_cost_the_lock() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let guard = one.cache.lock("k").await.unwrap();
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Unknown] {
        one.way.always(Call::Any, Fault::Fail(kind));
        tokio::time::sleep(LEASE / 2).await;
        one.way.heal();
        tokio::time::sleep(LEASE / 2).await;
        assert!(is_busy(&other, "k").await && !guard.is_lost());
    }
}

/// Whoever holds a lock knows of its loss before another can have it.
#[tokio::test(start_paused = true)]
async fn a_holder_that_is_cut_off_has_lost_before_another_has_taken() {
    let world = World::new();
    for late in [Duration::ZERO, LEASE / 3, LEASE * 6 / 7] {
        let (one, other) = (world.process().await, world.process().await);
        one.cache.lock("k").await.unwrap().release().await;
        // The third write is the one that the lease is counted from.
        world.store.answer_late(3, late);
        let guard = one.cache.lock("k").await.unwrap();
        cut_off(&one);
        let taken = loop {
            match other.cache.lock("k").no_wait().await {
                Ok(taken) => break taken,
                Err(CacheError::Busy) => tokio::time::sleep(MILLI).await,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(guard.is_lost(), "{late:?}");
        taken.release().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_is_told_of_the_loss_and_the_lock_is_free_within_the_lease() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let guard = one.cache.lock("k").await.unwrap();
    let began = tokio::time::Instant::now();
    cut_off(&one);
    guard.lost().await;
    assert!(guard.is_lost() && began.elapsed() <= LEASE);
    let _taken = other.cache.lock("k").await.unwrap();
    assert!(began.elapsed() < LEASE + SECOND, "{:?}", began.elapsed());
    eventually(async || (one.cache.space().stats().locks_lost == 1).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_the_lock_in_time() {
    let world = World::new();
    let one = world.process().await;
    let guard = one.cache.lock("k").await.unwrap();
    let began = tokio::time::Instant::now();
    one.way.always(Call::Any, Fault::Hang);
    guard.lost().await;
    assert!(began.elapsed() <= LEASE);
    guard.release().await;
    assert!(began.elapsed() <= LEASE * 2, "releasing ends as well");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_taken_away_is_a_loss_that_no_renewal_undoes() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let guard = one.cache.lock("k").await.unwrap();
    let locks = world.agreed("lock");
    delete(&*locks, "g:k").await;
    guard.lost().await;
    assert!(keys(&*locks).await.is_empty());
    let taken = other.cache.lock("k").await.unwrap();
    assert!(taken.fence() > guard.fence());
    // The old holder's release is of its own record, which this is not.
    guard.release().await;
    assert!(is_busy(&one, "k").await && !taken.is_lost());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_comes_back_takes_nothing_from_the_next_one() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let guard = one.cache.lock("k").await.unwrap();
    cut_off(&one);
    let taken = other.cache.lock("k").await.unwrap();
    one.way.heal();
    tokio::time::sleep(LEASE * 3).await;
    assert!(guard.is_lost() && !taken.is_lost());
    drop(guard);
    tokio::time::sleep(LEASE * 3).await;
    assert!(!taken.is_lost() && is_busy(&one, "k").await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_not_a_lock_that_nobody_holds() {
    for nth in 1..=3 {
        for fault in [Fault::LoseAnswer, Fault::Fail(ErrorKind::Unknown)] {
            let world = World::new();
            let (one, other) = (world.process().await, world.process().await);
            one.way.plan(Call::Set, nth, fault);
            let began = tokio::time::Instant::now();
            let guard = one.cache.lock("k").no_wait().await.unwrap();
            assert!(began.elapsed() < SECOND, "as the same owner, at once");
            assert!(is_busy(&other, "k").await);
            tokio::time::sleep(LEASE * 2).await;
            assert!(is_busy(&other, "k").await && !guard.is_lost());
            guard.release().await;
            assert!(!is_busy(&other, "k").await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_taken_for_sure_is_given_up() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    one.way.always(Call::Set, Fault::LoseAnswer);
    let error = one.cache.lock("k").await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Unknown));
    let began = tokio::time::Instant::now();
    let _guard = other.cache.lock("k").await.unwrap();
    assert!(began.elapsed() < SECOND, "{:?}: removed, not left for a lease", began.elapsed());
    assert_eq!(one.cache.space().stats().active_keys, 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_times_out_is_waited_for_like_a_holder() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    one.way.always(Call::Set, Fault::Fail(ErrorKind::Timeout));
    let waiting = one.cache.lock("k").wait(10 * SECOND).await;
    assert!(matches!(waiting, Err(CacheError::Busy)), "{waiting:?}");
    let task = tokio::spawn({
        let one = one.clone();
        async move { one.cache.lock("k").await }
    });
    tokio::time::sleep(10 * SECOND).await;
    one.way.heal();
    let guard = task.await.unwrap().unwrap();
    assert!(matches!(other.cache.lock("k").no_wait().await, Err(CacheError::Busy)));
    guard.release().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_times_out_is_asked_once_by_who_does_not_wait() {
    let world = World::new();
    let one = world.process().await;
    one.way.always(Call::Set, Fault::Fail(ErrorKind::Timeout));
    let before = one.way.calls(Call::Any);
    let error = one.cache.lock("k").no_wait().await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Timeout));
    tokio::time::sleep(LEASE).await;
    assert_eq!(
        one.way.calls(Call::Any),
        before + 1,
        "nothing was done, and nothing is to be undone"
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_no_lock() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    for hangs in 1..=3 {
        one.way.plan(Call::Set, hangs, Fault::Hang);
        let waiting = one.cache.lock("k").wait(SECOND).await;
        assert!(matches!(waiting, Err(CacheError::Busy)));
        one.way.release();
        let began = tokio::time::Instant::now();
        let guard = other.cache.lock("k").await.unwrap();
        assert!(began.elapsed() < SECOND);
        guard.release().await;
        eventually(async || (one.cache.space().stats().active_keys == 0).then_some(())).await;
    }
}

/// The store's clock jumps ahead: it gives the lock to another while its holder, who counts on the
/// monotonic clock, still believes in it.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_lets_no_stale_write_through() {
    let clock = ManualClock::new();
    let memory = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let world = World::over(memory);
    let (one, other) = (world.process().await, world.process().await);
    let mut stale = one.cache.getset("k").await.unwrap();
    clock.advance(LEASE);
    let mut held = other.cache.getset("k").await.unwrap();
    assert!(!stale.is_lost(), "it cannot know yet");
    assert!(matches!(stale.set(&9).await, Err(CacheError::Conflict)));
    held.set(&1).await.unwrap();
    assert!(held.fence() > stale.fence());
    assert_eq!(one.cache.get_value("k").await.unwrap(), Some(1));
}

/// The lease ends, and another takes the lock, between the record and the token of the first one.
#[tokio::test(start_paused = true)]
async fn a_token_that_came_too_late_is_no_lock() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    other.cache.lock("k").await.unwrap().release().await;
    one.way.plan(Call::Set, 2, Fault::Hang);
    let taking = tokio::spawn({
        let cache = one.cache.clone();
        async move { cache.lock("k").no_wait().await }
    });
    one.way.hanging(1).await;
    let guard = other.cache.lock("k").await.unwrap();
    one.way.release();
    assert!(matches!(taking.await.unwrap(), Err(CacheError::Busy)));
    assert!(!guard.is_lost() && is_busy(&one, "k").await);
}

/// A write that is on its way while its lock is lost and taken by another, who has not written yet.
#[tokio::test(start_paused = true)]
async fn the_data_refuses_a_write_that_comes_after_the_next_holders_reading() {
    for before in [None, Some(1)] {
        let world = World::new();
        let (one, other) = (world.process().await, world.process().await);
        if let Some(value) = before {
            other.cache.set("k", &value).await.unwrap();
        }
        let mut stale = one.cache.getset("k").await.unwrap();
        one.way.plan(Call::Set, 1, Fault::Hang);
        let writing = tokio::spawn(async move {
            let written = stale.set(&9).await;
            (written, stale)
        });
        one.way.hanging(1).await;
        cut_off(&one);
        let mut held = other.cache.getset("k").await.unwrap();
        assert_eq!(held.item().map(|item| item.value().unwrap()), before);
        one.way.heal();
        one.way.release();
        let (written, stale) = writing.await.unwrap();
        assert!(matches!(written, Err(CacheError::LockLost)), "{written:?}");
        assert_eq!(other.cache.get_value("k").await.unwrap(), before);
        held.set(&2).await.unwrap();
        held.set(&3).await.unwrap();
        assert_eq!(one.cache.get_value("k").await.unwrap(), Some(3));
        assert!(held.fence() > stale.fence());
    }
}

/// As above, where no entry is there to tell a later holder by, and that one only reads.
#[tokio::test(start_paused = true)]
async fn the_data_refuses_a_write_that_comes_after_the_next_holder_found_nothing() {
    for is_loaded in [false, true] {
        let world = World::new();
        let (one, other, third) =
            (world.process().await, world.process().await, world.process().await);
        let loading = is_loaded.then(|| {
            let cache = third.cache.clone();
            let load = async |_| {
                tokio::time::sleep(LEASE * 3).await;
                5
            };
            tokio::spawn(async move { cache.get_or_set_with("k", load).await })
        });
        tokio::time::sleep(SECOND).await;
        let mut stale = one.cache.getset("k").await.unwrap();
        if !is_loaded {
            stale.set(&8).ttl(Duration::ZERO).await.unwrap();
        }
        one.way.plan(Call::Set, 1, Fault::Hang);
        let writing = tokio::spawn(async move { stale.set(&9).await });
        one.way.hanging(1).await;
        cut_off(&one);
        let held = other.cache.getset("k").await.unwrap();
        assert!(held.item().is_none());
        held.release().await;
        one.way.heal();
        one.way.release();
        assert!(matches!(writing.await.unwrap(), Err(CacheError::LockLost)));
        assert_eq!(other.cache.get_value("k").await.unwrap(), None);
        // Nor does the reading under a lock cost others their load.
        if let Some(loading) = loading {
            assert_eq!(loading.await.unwrap().unwrap(), 5);
            assert_eq!(other.cache.get_value("k").await.unwrap(), Some(5));
        }
        let keys = keys(&*world.raw()).await;
        assert_eq!(keys.is_empty(), !is_loaded, "{keys:?}");
    }
}

/// The holder is paused after it has taken the lock, and before it reads the entry.
#[tokio::test(start_paused = true)]
async fn a_holder_that_reads_after_the_next_one_has_lost_its_lock() {
    for before in [None, Some(1)] {
        let world = World::new();
        let (one, other) = (world.process().await, world.process().await);
        if let Some(value) = before {
            other.cache.set("k", &value).await.unwrap();
        }
        other.cache.lock("k").await.unwrap().release().await;
        // Read are the counter, its mark, the lock's record, and then the entry.
        one.way.plan(Call::Get, 4, Fault::Hang);
        let late = tokio::spawn({
            let cache = one.cache.clone();
            async move { cache.getset("k").await.map(drop) }
        });
        one.way.hanging(1).await;
        cut_off(&one);
        let mut held = other.cache.getset("k").await.unwrap();
        one.way.heal();
        one.way.release();
        assert!(matches!(late.await.unwrap(), Err(CacheError::LockLost)));
        held.set(&2).await.unwrap();
        assert_eq!(one.cache.get_value("k").await.unwrap(), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn the_setter_goes_on_however_long_the_lock_is_held() {
    let world = World::new();
    let one = world.process_with(|it| it.retain_expired_for(Duration::ZERO)).await;
    let mut held = one.cache.getset("k").await.unwrap();
    tokio::time::sleep(LEASE * 5).await;
    held.set(&1).ttl(SECOND).await.unwrap();
    tokio::time::sleep(LEASE * 5).await;
    held.set(&2).ttl(SECOND).await.unwrap();
    held.set(&3).ttl(Duration::ZERO).await.unwrap();
    held.set(&4).ttl(SECOND).await.unwrap();
    drop(held);
    let held = one.cache.getset("k").await.unwrap();
    assert_eq!(held.item().unwrap().value().unwrap(), 4);
    tokio::time::sleep(LEASE * 5).await;
    let mut held = held;
    held.set(&5).await.unwrap();
    held.release().await;
    assert_eq!(one.cache.get_value("k").await.unwrap(), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_write_of_another_process_between_is_a_conflict() {
    for between in ["set", "delete", "clear", "prefix", "expiry", "raw"] {
        let world = World::new();
        let (one, other) = (world.process().await, world.process().await);
        one.cache.set("k", &1).await.unwrap();
        let mut held = one.cache.getset("k").await.unwrap();
        match between {
            "set" => other.cache.set("k", &2).await.unwrap(),
            "delete" => assert_eq!(other.cache.delete("k").await.unwrap(), Some(1)),
            "clear" => other.cache.clear().await.unwrap(),
            "prefix" => assert_eq!(other.cache.remove_starting_with("").await.unwrap(), 1),
            "expiry" => {
                let _ = other.cache.update_expiry("k", Some((SECOND * 7).into())).await.unwrap();
            }
            _ => drop(world.raw().set("k", "raw").await.unwrap()),
        }
        let before = other.cache.get_value("k").await.unwrap();
        assert!(matches!(held.set(&9).await, Err(CacheError::Conflict)), "{between}");
        assert_eq!(other.cache.get_value("k").await.unwrap(), before, "{between}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_absent_entry_that_is_locked_is_absent_for_all_and_leaves_nothing() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let held = one.cache.getset("k").await.unwrap();
    assert!(held.item().is_none());
    assert!(other.cache.get("k").await.unwrap().is_none());
    assert!(other.cache.get_strict("k").await.unwrap().is_none());
    assert!(other.cache.list().await.unwrap().is_empty());
    assert!(!other.cache.remove(["k"]).await.unwrap());
    assert_eq!(other.cache.space().stats().undecodable, 0);
    drop(held);
    let held = one.cache.getset("k").await.unwrap();
    held.release().await;
    assert!(keys(&*world.raw()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_keys_locked_and_left_leave_next_to_nothing() {
    let world = World::new();
    let (one, dying) = (world.process().await, world.process().await);
    let mut left = Vec::new();
    for number in 0..1_000 {
        let key = format!("key {number}");
        drop(one.cache.lock(&key).await.unwrap());
        one.cache.getset(&key).await.unwrap().release().await;
        left.push(dying.cache.getset(&key).await.unwrap());
    }
    // As if the process had died.
    cut_off(&dying);
    left.into_iter().for_each(std::mem::forget);
    tokio::time::sleep(LEASE * 2).await;
    assert!(keys(&*world.agreed("lock")).await.is_empty());
    assert!(keys(&*world.raw()).await.is_empty());
    assert!(keys(&*world.agreed("fence")).await.len() <= 32);
    assert_eq!(one.cache.space().stats().active_keys, 0);
}

#[tokio::test(start_paused = true)]
async fn closing_the_space_gives_its_locks_to_others() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let guard = one.cache.lock("k").await.unwrap();
    let waiting = tokio::spawn({
        let cache = one.cache.clone();
        async move { cache.lock("k").await.map(drop) }
    });
    tokio::time::sleep(SECOND).await;
    one.cache.space().close().await.unwrap();
    guard.lost().await;
    assert!(guard.is_lost());
    assert!(!is_busy(&other, "k").await);
    assert_eq!(waiting.await.unwrap().unwrap_err().store_kind(), Some(ErrorKind::Closed));
    one.cache.space().connect().await.unwrap();
    assert!(!is_busy(&one, "k").await);
}

#[tokio::test]
async fn it_wants_a_store_that_is_shared_and_a_lease_that_can_be() {
    let build = async |lease| {
        let world = World::new();
        let builder = CacheSpace::builder(world.store.clone());
        builder.distributed(Distributed::new().lease(lease)).build().await.map(drop)
    };
    build(SECOND).await.unwrap();
    for lease in [Duration::ZERO, MILLI, Duration::MAX] {
        let error = build(lease).await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::InvalidConfig));
    }
    let own = CacheSpace::builder(Arc::new(MemoryStore::new()));
    let error = own.distributed(Distributed::new()).build().await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::InvalidConfig));
    let sole = CacheSpace::builder(World::new().store).sole_owner();
    assert!(sole.distributed(Distributed::new()).build().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn keys_and_scopes_of_any_length_are_told_apart() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let (long, longer) = ("k".repeat(4_096), format!("{}j", "k".repeat(4_095)));
    let guard = one.cache.lock(&long).await.unwrap();
    assert!(is_busy(&other, &long).await && !is_busy(&other, &longer).await);
    drop(guard);
}
