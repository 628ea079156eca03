//! F6, and F2 across processes, each of them a space of its own over one store, on tokio's paused
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use larder_cache::{CacheError, CacheResult, LoadError, Loaded, Lookup, StoreFailure};
use larder_core::testing::{Call, Fault};
use larder_core::{ErrorKind, Expiry, Store, StoreExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::{LEASE, Process, SECOND, World, eventually, keys};

/// An upstream that is held until it is let go, and counts.
#[derive(Clone)]
struct Upstream {
    open: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), asked: Arc::default() }
    }

    fn open(&self) {
        self.open.add_permits(1);
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    async fn reached(&self, times: usize) {
        eventually(async || (self.asked() >= times).then_some(())).await;
    }
}

/// Asks a process for `k`, which it loads from the upstream as `value` if need be.
fn ask(process: &Process, upstream: &Upstream, value: u32) -> JoinHandle<CacheResult<u32>> {
    let (cache, upstream) = (process.cache.clone(), upstream.clone());
    tokio::spawn(async move {
        let load = async move |_| {
            upstream.asked.fetch_add(1, SeqCst);
            upstream.open.acquire().await.unwrap().forget();
            value
        };
        cache.get_or_set_with("k", load).await
    })
}

async fn rest(world: &World, processes: &[&Process]) {
    let idle = || processes.iter().all(|it| it.cache.space().stats().active_keys == 0);
    eventually(async || idle().then_some(())).await;
    eventually(async || keys(&*world.agreed("load")).await.is_empty().then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn eight_processes_load_a_cold_key_once() {
    let world = World::new();
    let upstream = Upstream::new();
    let mut processes = Vec::new();
    for _ in 0..8 {
        processes.push(world.process().await);
    }
    let asking: Vec<_> = processes
        .iter()
        .zip(1..)
        .flat_map(|(process, value)| [ask(process, &upstream, value), ask(process, &upstream, 99)])
        .collect();
    upstream.reached(1).await;
    tokio::time::sleep(SECOND * 5).await;
    upstream.open();
    let mut values = Vec::new();
    for asked in asking {
        values.push(asked.await.unwrap().unwrap());
    }
    values.dedup();
    assert_eq!(values.len(), 1, "{values:?}");
    assert_eq!(upstream.asked(), 1);
    assert_eq!(processes[7].cache.get_value("k").await.unwrap(), Some(values[0]));
    let loads: u64 = processes.iter().map(|it| it.cache.space().stats().loads).sum();
    assert_eq!(loads, 1);
    rest(&world, &processes.iter().collect::<Vec<_>>()).await;
}

#[tokio::test(start_paused = true)]
async fn a_load_may_take_many_leases() {
    let world = World::new();
    let slow = |it: larder_cache::CacheBuilder<_>| it.max_load_time(LEASE * 100);
    for stale in [false, true] {
        let (one, other) = (world.process_with(slow).await, world.process_with(slow).await);
        if stale {
            one.cache.set("k", &9).ttl(SECOND).await.unwrap();
            tokio::time::sleep(SECOND).await;
        }
        let upstream = Upstream::new();
        let loading = ask(&one, &upstream, 1);
        upstream.reached(1).await;
        let waiting = ask(&other, &upstream, 2);
        tokio::time::sleep(LEASE * 20).await;
        assert_eq!(upstream.asked(), 1);
        upstream.open();
        assert_eq!(loading.await.unwrap().unwrap(), 1);
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        assert_eq!(one.cache.delete("k").await.unwrap(), Some(1));
        rest(&world, &[&one, &other]).await;
    }
}

/// The loader's process falls silent, as when it is killed, and wakes up much later.
#[tokio::test(start_paused = true)]
async fn another_takes_over_within_the_lease_and_the_late_fill_is_refused() {
    for stale in [false, true] {
        let world = World::new();
        let dying = world.process().await;
        let (second, third) = (world.process().await, world.process().await);
        if stale {
            second.cache.set("k", &9).ttl(SECOND).await.unwrap();
            tokio::time::sleep(SECOND).await;
        }
        let (first, next) = (Upstream::new(), Upstream::new());
        let dead = ask(&dying, &first, 1);
        first.reached(1).await;
        let waiting = [ask(&second, &next, 2), ask(&third, &next, 2)];
        tokio::time::sleep(LEASE * 2).await;
        assert_eq!(next.asked(), 0);
        let silent = Instant::now();
        dying.way.always(Call::Any, Fault::Hang);
        next.reached(1).await;
        assert!(silent.elapsed() <= LEASE + SECOND / 2, "{:?}", silent.elapsed());
        tokio::time::sleep(SECOND).await;
        assert_eq!(next.asked(), 1, "one of the two");
        next.open();
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap().unwrap(), 2);
        }
        dying.way.heal();
        dying.way.release();
        first.open();
        // It gives its callers what is stored by now, or what it loaded.
        assert!([1, 2].contains(&dead.await.unwrap().unwrap()));
        rest(&world, &[&dying, &second, &third]).await;
        assert_eq!(third.cache.get_value("k").await.unwrap(), Some(2));
    }
}

/// Whatever happens to a key in one process while another loads it: the load is not stored.
#[tokio::test(start_paused = true)]
async fn a_load_that_another_process_overtakes_is_not_stored() {
    let winners = [
        "set",
        "zero set",
        "delete",
        "remove",
        "clear",
        "space clear",
        "prefix",
        "pending",
        "getset",
        "raw set",
        "raw delete",
        "raw clear",
    ];
    for stale in [false, true] {
        for winner in winners {
            let world = World::new();
            let (one, other) = (world.process().await, world.process().await);
            if stale {
                one.cache.set("k", &9).ttl(SECOND).await.unwrap();
                tokio::time::sleep(SECOND).await;
            }
            let upstream = Upstream::new();
            let loading = ask(&one, &upstream, 1);
            upstream.reached(1).await;
            let (cache, raw) = (&other.cache, world.raw());
            match winner {
                "set" => cache.set("k", &2).await.unwrap(),
                "zero set" => cache.set("k", &2).ttl(Duration::ZERO).await.unwrap(),
                "delete" => assert_eq!(cache.delete("k").await.unwrap(), None),
                "remove" => drop(cache.remove(["k"]).await.unwrap()),
                "clear" => cache.clear().await.unwrap(),
                "space clear" => cache.space().clear(true).await.unwrap(),
                "prefix" => drop(cache.remove_starting_with("k").await.unwrap()),
                "pending" => drop(cache.set_pending("k").await.unwrap()),
                "getset" => cache.getset("k").await.unwrap().set(&2).await.unwrap(),
                "raw set" => drop(raw.set("k", "raw").await.unwrap()),
                "raw delete" => assert!(raw.delete("k").await.unwrap()),
                _ => raw.delete_all().await.unwrap(),
            }
            let after = other.cache.get_value("k").await.unwrap();
            let raw_after = raw.get("k").await.unwrap();
            upstream.open();
            let expected = if ["set", "getset"].contains(&winner) { 2 } else { 1 };
            assert_eq!(loading.await.unwrap().unwrap(), expected, "{winner}");
            rest(&world, &[&one, &other]).await;
            assert_eq!(other.cache.get_value("k").await.unwrap(), after, "{winner}");
            assert_eq!(raw.get("k").await.unwrap(), raw_after, "{winner}");
            assert_eq!(one.cache.space().stats().overtaken, 1, "{winner}");
        }
    }
}

/// Those who wait already get what was loaded, and nobody else does.
#[tokio::test(start_paused = true)]
async fn whoever_comes_after_another_process_has_overtaken_a_load_starts_anew() {
    for stale in [false, true] {
        for winner in ["delete", "clear", "prefix", "zero set", "raw delete"] {
            let world = World::new();
            let (one, other) = (world.process().await, world.process().await);
            if stale {
                one.cache.set("k", &9).ttl(SECOND).await.unwrap();
                tokio::time::sleep(SECOND).await;
            }
            let (before, after) = (Upstream::new(), Upstream::new());
            let loading = ask(&one, &before, 1);
            before.reached(1).await;
            let joined = ask(&one, &before, 1);
            tokio::time::sleep(SECOND / 2).await;
            assert!(matches!(one.cache.lookup("k").await.unwrap(), Lookup::Pending(_)));
            let cache = &other.cache;
            match winner {
                "delete" => drop(cache.delete("k").await.unwrap()),
                "clear" => cache.clear().await.unwrap(),
                "prefix" => drop(cache.remove_starting_with("k").await.unwrap()),
                "zero set" => cache.set("k", &2).ttl(Duration::ZERO).await.unwrap(),
                _ => assert!(world.raw().delete("k").await.unwrap()),
            }
            assert!(matches!(one.cache.lookup("k").await.unwrap(), Lookup::Miss), "{winner}");
            let later = ask(&one, &after, 3);
            after.reached(1).await;
            before.open();
            assert_eq!(loading.await.unwrap().unwrap(), 1, "{winner}");
            assert_eq!(joined.await.unwrap().unwrap(), 1, "{winner}");
            assert_eq!(before.asked(), 1);
            after.open();
            assert_eq!(later.await.unwrap().unwrap(), 3, "{winner}");
            rest(&world, &[&one, &other]).await;
            assert_eq!(other.cache.get_value("k").await.unwrap(), Some(3), "{winner}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closing_ends_a_load_that_another_process_has_overtaken() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let upstream = Upstream::new();
    let loading = ask(&one, &upstream, 1);
    upstream.reached(1).await;
    other.cache.delete("k").await.unwrap();
    assert!(matches!(one.cache.lookup("k").await.unwrap(), Lookup::Miss));
    one.cache.space().close().await.unwrap();
    let ended = tokio::time::timeout(SECOND, loading).await.expect("it goes on");
    assert!(ended.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_another_process_revives_is_kept() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    one.cache.set("k", &9).ttl(SECOND).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let upstream = Upstream::new();
    let loading = ask(&one, &upstream, 1);
    upstream.reached(1).await;
    let revived = other.cache.update_expiry("k", Expiry::After(LEASE * 9)).await.unwrap();
    assert_eq!(revived, 9);
    upstream.open();
    assert_eq!(loading.await.unwrap().unwrap(), 9);
    assert_eq!(other.cache.get_value("k").await.unwrap(), Some(9));
}

#[tokio::test(start_paused = true)]
async fn what_another_process_sets_is_given_to_those_who_wait() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let upstream = Upstream::new();
    let loading = ask(&one, &upstream, 1);
    upstream.reached(1).await;
    let set = Instant::now();
    other.cache.set("k", &2).ttl(LEASE * 5).await.unwrap();
    // The loader is still held.
    assert_eq!(loading.await.unwrap().unwrap(), 2);
    assert!(set.elapsed() < LEASE / 2);
}

#[tokio::test(start_paused = true)]
async fn a_clearing_that_keeps_loads_keeps_those_of_other_processes() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let upstream = Upstream::new();
    let loading = ask(&one, &upstream, 1);
    upstream.reached(1).await;
    let below = other.cache.with_scope("below");
    other.cache.set("a", &1).await.unwrap();
    below.set("b", &1).await.unwrap();
    other.cache.clear_keeping_pending().await.unwrap();
    assert_eq!(other.cache.get_value("a").await.unwrap(), None);
    assert_eq!(below.get_value("b").await.unwrap(), None);
    upstream.open();
    assert_eq!(loading.await.unwrap().unwrap(), 1);
    assert_eq!(other.cache.get_value("k").await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_being_loaded_elsewhere_is_missing() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let upstream = Upstream::new();
    let loading = ask(&one, &upstream, 1);
    upstream.reached(1).await;
    let cache = &other.cache;
    assert!(cache.get("k").await.unwrap().is_none());
    assert!(cache.get_strict("k").await.unwrap().is_none());
    assert!(matches!(cache.lookup("k").await.unwrap(), Lookup::Miss));
    assert!(cache.list().await.unwrap().is_empty());
    assert!(matches!(cache.update_expiry("k", None).await, Err(CacheError::NotFound)));
    assert!(cache.get_and_unpin("k").await.unwrap().is_none());
    assert_eq!(cache.space().stats().undecodable, 0);
    upstream.open();
    assert_eq!(loading.await.unwrap().unwrap(), 1);
    assert_eq!(one.cache.space().stats().overtaken, 0);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_is_the_next_processes_turn() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let failing = tokio::spawn({
        let cache = one.cache.clone();
        async move {
            let fail = async |_| {
                tokio::time::sleep(SECOND).await;
                Err::<u32, _>("no".to_owned())
            };
            cache.get_or_try_set_with("k", fail).await
        }
    });
    tokio::time::sleep(SECOND / 2).await;
    let upstream = Upstream::new();
    upstream.open();
    let began = Instant::now();
    assert_eq!(ask(&other, &upstream, 2).await.unwrap().unwrap(), 2);
    assert!(began.elapsed() < SECOND * 2, "{:?}: at once, not after a lease", began.elapsed());
    assert!(matches!(failing.await.unwrap(), Err(LoadError::Load(error)) if *error == "no"));
}

#[tokio::test(start_paused = true)]
async fn loads_that_are_given_up_leave_no_marker() {
    let world = World::new();
    let one = world.process_with(|it| it.cancel_abandoned_loads(true)).await;
    let other = world.process().await;
    for how in ["abandoned", "panicked", "not stored", "zero", "closed"] {
        let upstream = Upstream::new();
        match how {
            "abandoned" => {
                let loading = ask(&one, &upstream, 1);
                upstream.reached(1).await;
                loading.abort();
            }
            "panicked" => {
                let load = async |_| -> u32 { panic!("planned") };
                one.cache.get_or_set_with("k", load).await.unwrap_err();
            }
            "not stored" => {
                let value = Loaded::new(1).do_not_store();
                assert_eq!(one.cache.get_or_set("k", value).await.unwrap(), 1);
            }
            "zero" => {
                let value = Loaded::new(1).ttl(Duration::ZERO);
                assert_eq!(one.cache.get_or_set("k", value).await.unwrap(), 1);
            }
            _ => {
                let loading = ask(&one, &upstream, 1);
                upstream.reached(1).await;
                one.cache.space().close().await.unwrap();
                assert!(matches!(loading.await.unwrap(), Err(CacheError::ShutDown)));
            }
        }
        let began = Instant::now();
        let upstream = Upstream::new();
        upstream.open();
        assert_eq!(ask(&other, &upstream, 2).await.unwrap().unwrap(), 2, "{how}");
        assert!(began.elapsed() < SECOND, "{how}: {:?}", began.elapsed());
        assert_eq!(other.cache.delete("k").await.unwrap(), Some(2));
    }
    rest(&world, &[&one, &other]).await;
    assert!(keys(&*world.raw()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_ask_at_most_twenty_times_a_second() {
    for stale in [false, true] {
        let world = World::new();
        let (one, other) = (world.process().await, world.process().await);
        if stale {
            one.cache.set("k", &9).ttl(SECOND).await.unwrap();
            tokio::time::sleep(SECOND).await;
        }
        let upstream = Upstream::new();
        let loading = ask(&one, &upstream, 1);
        upstream.reached(1).await;
        // However many ask in the process, one of them looks.
        let waiting: Vec<_> = (0..5).map(|_| ask(&other, &upstream, 2)).collect();
        // Each asks the store once before it joins the others.
        let mut before = 5;
        for second in 0..40 {
            tokio::time::sleep(SECOND).await;
            let calls = other.way.calls(Call::Any);
            let new = calls - before;
            assert!((2..=20).contains(&new), "{new} calls in second {second}, stale: {stale}");
            before = calls;
        }
        upstream.open();
        assert_eq!(loading.await.unwrap().unwrap(), 1);
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap().unwrap(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_lock_asks_at_most_twenty_times_a_second() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    let _guard = one.cache.lock("k").await.unwrap();
    for _ in 0..5 {
        let cache = other.cache.clone();
        tokio::spawn(async move { drop(cache.lock("k").await) });
    }
    let mut before = 0;
    for second in 0..40 {
        tokio::time::sleep(SECOND).await;
        let calls = other.way.calls(Call::Any);
        assert!((2..=20).contains(&(calls - before)), "{} in second {second}", calls - before);
        before = calls;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_costs_no_second_load() {
    for stale in [false, true] {
        let world = World::new();
        let (one, other) = (world.process().await, world.process().await);
        if stale {
            one.cache.set("k", &9).ttl(SECOND).await.unwrap();
            tokio::time::sleep(SECOND).await;
        }
        one.way.plan(Call::Set, 1, Fault::LoseAnswer);
        let upstream = Upstream::new();
        let loading = ask(&one, &upstream, 1);
        upstream.reached(1).await;
        let waiting = ask(&other, &upstream, 2);
        tokio::time::sleep(LEASE * 2).await;
        upstream.open();
        assert_eq!(loading.await.unwrap().unwrap(), 1);
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        assert_eq!(upstream.asked(), 1);
        rest(&world, &[&one, &other]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_loaded_past_and_not_written_to() {
    let world = World::new();
    let other = world.process().await;
    for (nth, call) in [(1, Call::Get), (2, Call::Get), (1, Call::Set)] {
        let one = world.process().await;
        one.way.plan(call, nth, Fault::Fail(ErrorKind::Unavailable));
        assert_eq!(one.cache.get_or_set("k", 1_u32).await.unwrap(), 1);
        assert_eq!(one.cache.space().stats().direct_loads, 1);
        eventually(async || keys(&*world.raw()).await.is_empty().then_some(())).await;
        let strict = world.process_with(|it| it.when_store_fails(StoreFailure::ServeError)).await;
        strict.way.plan(call, nth, Fault::Fail(ErrorKind::Unavailable));
        let error = strict.cache.get_or_set("k", 1_u32).await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::Unavailable));
        eventually(async || keys(&*world.raw()).await.is_empty().then_some(())).await;
    }
    assert_eq!(other.cache.get_or_set("k", 2_u32).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_of_several_processes_that_delete_gets_the_value() {
    let world = World::new();
    let mut processes = Vec::new();
    for _ in 0..8 {
        processes.push(world.process().await);
    }
    for round in 0..50 {
        processes[0].cache.set("k", &round).await.unwrap();
        let deleting: Vec<_> = processes
            .iter()
            .map(|process| {
                let cache = process.cache.clone();
                tokio::spawn(async move { cache.delete("k").await.unwrap() })
            })
            .collect();
        let mut given = Vec::new();
        for deleted in deleting {
            given.extend(deleted.await.unwrap());
        }
        assert_eq!(given, [round]);
    }
}

#[tokio::test(start_paused = true)]
async fn entries_that_cannot_be_read_are_replaced_once() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    for what in ["text", "raw"] {
        if what == "text" {
            one.cache.space().cache::<String>().set("k", &"text".to_owned()).await.unwrap();
        } else {
            world.raw().set("k", "raw").await.unwrap();
        }
        let upstream = Upstream::new();
        let asking = [ask(&one, &upstream, 1), ask(&other, &upstream, 1)];
        upstream.reached(1).await;
        tokio::time::sleep(SECOND).await;
        upstream.open();
        for asked in asking {
            assert_eq!(asked.await.unwrap().unwrap(), 1);
        }
        assert_eq!(upstream.asked(), 1, "{what}");
        rest(&world, &[&one, &other]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_another_process_ends_by_the_greatest_load_time() {
    let world = World::new();
    let one = world.process_with(|it| it.max_load_time(LEASE * 9)).await;
    let other = world.process_with(|it| it.max_load_time(LEASE)).await;
    let upstream = Upstream::new();
    let loading = ask(&one, &upstream, 1);
    upstream.reached(1).await;
    assert!(matches!(ask(&other, &upstream, 2).await.unwrap(), Err(CacheError::TimedOut)));
    upstream.open();
    assert_eq!(loading.await.unwrap().unwrap(), 1);
}

/// Between the look at the stale entry and the lease, another process replaces the entry.
#[tokio::test(start_paused = true)]
async fn what_was_loaded_just_before_the_lease_is_not_loaded_again() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    one.cache.set("k", &9).ttl(SECOND).await.unwrap();
    tokio::time::sleep(SECOND).await;
    one.way.plan(Call::Set, 1, Fault::Hang);
    let upstream = Upstream::new();
    let loading = ask(&one, &upstream, 1);
    one.way.hanging(1).await;
    assert_eq!(other.cache.get_or_set("k", 2_u32).await.unwrap(), 2);
    rest(&world, &[&other]).await;
    one.way.release();
    assert_eq!(loading.await.unwrap().unwrap(), 2);
    assert_eq!(upstream.asked(), 0);
    rest(&world, &[&one]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_given_by_a_deletion_is_what_it_deleted() {
    let world = World::new();
    let (one, other) = (world.process().await, world.process().await);
    one.cache.set("k", &1).await.unwrap();
    one.way.plan(Call::Delete, 1, Fault::Hang);
    let deleting = tokio::spawn({
        let cache = one.cache.clone();
        async move { cache.delete("k").await.unwrap() }
    });
    one.way.hanging(1).await;
    other.cache.set("k", &2).await.unwrap();
    one.way.release();
    assert_eq!(deleting.await.unwrap(), Some(2));
    assert_eq!(other.cache.get_value("k").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_expiry_or_pin_undoes_nothing_of_another_process() {
    for change in ["expiry", "unpin"] {
        for between in ["set", "delete"] {
            let world = World::new();
            let (one, other) = (world.process().await, world.process().await);
            one.cache.set("k", &1).pin().await.unwrap();
            one.way.plan(Call::Set, 1, Fault::Hang);
            let changing = tokio::spawn({
                let cache = one.cache.clone();
                async move {
                    if change == "expiry" {
                        return cache.update_expiry("k", None).await.ok();
                    }
                    let item = cache.get_and_unpin("k").await.unwrap();
                    item.map(|item| item.value().unwrap())
                }
            });
            one.way.hanging(1).await;
            let after = match between {
                "set" => other.cache.set("k", &2).await.map(|()| Some(2)).unwrap(),
                _ => other.cache.delete("k").await.map(|_| None).unwrap(),
            };
            one.way.release();
            assert_eq!(changing.await.unwrap(), after, "{change}, {between}");
            assert_eq!(other.cache.get_value("k").await.unwrap(), after, "{change}, {between}");
        }
    }
}
