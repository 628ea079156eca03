//! F6, F7, L2 and F2 across processes: each process is a space of its own over the store.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Cache, CacheBuilder, CacheError, CacheSpace, Distributed, LoadError, Space};
use larder_core::testing::{Call, Fault, Faulty};
use larder_core::{Expiry, NamespacedStore, StoreExt};
use tokio::time::{Instant, sleep_until};

use super::bench::{Bench, Gate, SECOND, act, at_rest, end, expect, others, until};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// Longer than any machine stalls: nothing here waits for the end of it.
const LEASE: Duration = Duration::from_secs(24 * 3_600);
/// Renewed every 100 ms; nothing depends on its being kept.
const SHORT: Duration = Duration::from_millis(300);
/// A lease that is waited for, and how late the answer to the request for it is: earlier than the
/// first renewal.
const COUNTED: Duration = Duration::from_millis(2_400);
const LATE: Duration = Duration::from_millis(640);

/// What stands for a process.
struct Process {
    cache: Cache<u32>,
    way: Arc<Faulty>,
}

impl Bench<'_> {
    async fn process(&self) -> Verdict<Process> {
        self.process_with(LEASE, |builder| builder).await
    }

    async fn process_with(
        &self,
        lease: Duration,
        set_up: impl FnOnce(CacheBuilder<Space>) -> CacheBuilder<Space>,
    ) -> Verdict<Process> {
        let way = self.faulty()?;
        let builder = self.shared_builder_over(Arc::clone(&way));
        let builder = set_up(builder.distributed(Distributed::new().lease(lease)));
        let space: CacheSpace = builder.build().await?;
        Ok(Process { cache: space.cache(), way })
    }

    /// What processes agree on, past the cache.
    fn agreed(&self, name: &str) -> Verdict<Arc<dyn NamespacedStore>> {
        Ok(self.trial.tree()?.with_path(&["d", name])?)
    }

    /// The global scope, past the cache.
    fn raw(&self) -> Verdict<Arc<dyn NamespacedStore>> {
        Ok(self.trial.tree()?.with_path(&["g"])?)
    }
}

/// Waits until the key holds a value, or none, past the cache.
async fn until_there(store: &Arc<dyn NamespacedStore>, key: &str, there: bool) -> Verdict {
    while store.get(key).await?.is_some() != there {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

pub(super) async fn a_lock_holds_in_every_space(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (one, other) = (bench.process().await?, bench.process().await?);
    let held = act!(bench, one.cache.lock("k").await)?;
    let busy = act!(bench, other.cache.lock("k").no_wait().await.map(|_| ()));
    ensure!(matches!(busy, Err(CacheError::Busy)), "a lock held by another gave {busy:?}");
    let free = act!(bench, other.cache.lock("other").no_wait().await.map(|_| ()));
    ensure!(free.is_ok(), "a lock on another key gave {free:?}");
    let first = held.fence();
    act!(bench, held.release().await);
    let next = act!(bench, other.cache.lock("k").no_wait().await)?;
    ensure!(first.is_some() && next.fence() > first, "{:?} came after {first:?}", next.fence());
    Ok(())
}

pub(super) async fn a_release_is_of_ones_own(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let processes = [bench.process().await?, bench.process().await?, bench.process().await?];
    let [one, other, third] = &processes;
    let lost = act!(bench, one.cache.lock("k").await)?;
    bench.note("the lock's record is taken away, as by an eviction");
    bench.agreed("lock")?.delete("g:k").await?;
    let held = act!(bench, other.cache.lock("k").no_wait().await)?;
    act!(bench, lost.release().await);
    let busy = act!(bench, third.cache.lock("k").no_wait().await.map(|_| ()));
    ensure!(matches!(busy, Err(CacheError::Busy)), "a release of a lost lock gave {busy:?}");
    ensure!(!held.is_lost(), "the new holder's lock is lost");
    Ok(())
}

pub(super) async fn no_renewal_undoes_a_loss(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let one = bench.process_with(SHORT, |builder| builder).await?;
    let locks = bench.agreed("lock")?;
    let held = act!(bench, one.cache.lock("k").await)?;
    bench.note("the lock's record is taken away, as by an eviction");
    locks.delete("g:k").await?;
    while !held.is_lost() {
        let back = locks.get("g:k").await?.is_some();
        ensure!(!back, "a renewal brought back the record of a lock that was taken away");
        others().await;
    }
    others().await;
    let back = locks.get("g:k").await?.is_some();
    ensure!(!back, "a renewal brought back the record of a lock that was taken away");
    Ok(())
}

pub(super) async fn a_lease_is_counted_from_its_request(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    for _ in 0..5 {
        let one = bench.process_with(COUNTED, |builder| builder).await?;
        // The counter of tokens is there after this, so that the next lock takes three sets.
        let first = act!(bench, one.cache.lock("k").await)?;
        act!(bench, first.release().await);
        bench.note("the last request for the lock is late, and no renewal ends");
        one.way.plan(Call::Set, 3, Fault::Delay(LATE));
        (4..100).for_each(|nth| one.way.plan(Call::Set, nth, Fault::Hang));
        let held = act!(bench, one.cache.lock("k").await)?;
        let over = Instant::now() + COUNTED - LATE / 2;
        sleep_until(over).await;
        ensure!(
            held.is_lost(),
            "a lock whose lease began with a request more than {COUNTED:?} ago is still held"
        );
        // Looked at much later, it would be lost however it was counted.
        if over.elapsed() < LATE / 4 {
            break;
        }
    }
    Ok(())
}

pub(super) async fn tokens_never_go_back(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let mut last = 0;
    let fences = bench.agreed("fence")?;
    for how in ["released", "deleted", "set back"] {
        let process = bench.process().await?;
        let held = act!(bench, process.cache.lock("k").await)?;
        let token = held.fence().unwrap_or_default();
        ensure!(token > last, "the token {token} came after {last}, {how}");
        last = token;
        if how == "deleted" {
            bench.agreed("lock")?.delete("g:k").await?;
        }
        act!(bench, held.release().await);
    }
    let process = bench.process().await?;
    let page = fences.list_page("", None, 100).await?;
    for name in page.keys.iter().filter(|name| !name.starts_with("mark:")) {
        bench.note("the counter is taken away, as by an eviction");
        fences.delete(name).await?;
    }
    let told = act!(bench, process.cache.lock("k").no_wait().await.map(|_| ()));
    ensure!(
        matches!(told, Err(CacheError::FenceLost)),
        "without its counter, a lock gave {told:?}"
    );
    Ok(())
}

pub(super) async fn a_lost_answer_is_no_lock_of_nobody(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    for nth in 1..=2 {
        let key = format!("k{nth}");
        let (one, other) = (bench.process().await?, bench.process().await?);
        one.way.plan(Call::Set, nth, Fault::LoseAnswer);
        let held = act!(bench, one.cache.lock(&key).no_wait().await);
        let held = held.map_err(|error| {
            Stop::fail(format!("the lock whose answer was lost is nobody's: {error}"))
        })?;
        let busy = act!(bench, other.cache.lock(&key).no_wait().await.map(|_| ()));
        ensure!(matches!(busy, Err(CacheError::Busy)), "a lock held by another gave {busy:?}");
        act!(bench, held.release().await);
        let free = act!(bench, other.cache.lock(&key).no_wait().await.map(|_| ()));
        ensure!(free.is_ok(), "after its release, the lock gave {free:?}");
    }
    Ok(())
}

pub(super) async fn the_data_refuses_an_earlier_holder(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    for before in [None, Some(1)] {
        let key = if before.is_some() { "there" } else { "absent" };
        let (one, other) = (bench.process().await?, bench.process().await?);
        if let Some(before) = before {
            act!(bench, one.cache.set(key, &before).await)?;
        }
        let mut stale = act!(bench, one.cache.getset(key).await)?;
        bench.note("the lock's record is taken away, and its holder does not know");
        bench.agreed("lock")?.delete(&format!("g:{key}")).await?;
        let mut held = act!(bench, other.cache.getset(key).await)?;
        let late = act!(bench, stale.set(&9).await);
        ensure!(
            matches!(late, Err(CacheError::Conflict | CacheError::LockLost)),
            "a later holder has read the entry, and the earlier one's write gave {late:?}"
        );
        expect(&other.cache, key, before).await?;
        act!(bench, held.set(&2).await)?;
        expect(&one.cache, key, Some(2)).await?;
    }
    Ok(())
}

pub(super) async fn a_cold_key_is_loaded_once(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let processes = [bench.process().await?, bench.process().await?, bench.process().await?];
    let gate = Gate::new();
    let loading: Vec<_> = processes.iter().map(|it| bench.load(&it.cache, "k", &gate, 1)).collect();
    gate.reached(1).await;
    // Time enough for another one to load as well, if that could be.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let entered = gate.entered();
    ensure!(entered == 1, "{entered} processes load one key at the same time");
    gate.open();
    for task in loading {
        let got = end(task).await??;
        ensure!(got == 1, "a process that waited got {got}");
    }
    let entered = gate.entered();
    ensure!(entered == 1, "one cold key was loaded {entered} times");
    Ok(())
}

pub(super) async fn an_overtaken_load_is_not_stored(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    for stale in [false, true] {
        for winner in ["set", "delete", "clear", "prefix", "raw set", "raw delete"] {
            t.part();
            let (one, other) = (bench.process().await?, bench.process().await?);
            act!(bench, other.cache.delete("k").await)?;
            if stale {
                act!(bench, other.cache.set("k", &9).ttl(SECOND).await)?;
                bench.advance(SECOND).await;
            }
            let gate = Gate::new();
            let loading = bench.load(&one.cache, "k", &gate, 1);
            gate.reached(1).await;
            match winner {
                "set" => act!(bench, other.cache.set("k", &2).await)?,
                "delete" => drop(act!(bench, other.cache.delete("k").await)?),
                "clear" => act!(bench, other.cache.clear().await)?,
                "prefix" => drop(act!(bench, other.cache.remove_starting_with("k").await)?),
                "raw set" => drop(bench.raw()?.set("k", "raw").await?),
                _ => drop(bench.raw()?.delete("k").await?),
            }
            let after = other.cache.get_value("k").await?;
            gate.open();
            let got = end(loading).await??;
            ensure!(got == 1 || Some(got) == after, "the load, overtaken, gave {got}");
            at_rest(one.cache.space()).await;
            bench.note(&format!("the load was overtaken by a {winner} of another process"));
            expect(&other.cache, "k", after).await?;
        }
    }
    Ok(())
}

pub(super) async fn what_is_being_loaded_is_missing(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (one, other) = (bench.process().await?, bench.process().await?);
    let gate = Gate::new();
    let loading = bench.load(&one.cache, "k", &gate, 1);
    gate.reached(1).await;
    expect(&other.cache, "k", None).await?;
    let strict = act!(bench, other.cache.get_strict("k").await);
    ensure!(matches!(strict, Ok(None)), "a key that another process loads gave {strict:?}");
    let listed = act!(bench, other.cache.list().await)?;
    ensure!(listed.is_empty(), "a key that another process loads is listed: {listed:?}");
    let undecodable = other.cache.space().stats().undecodable;
    ensure!(undecodable == 0, "a key that another process loads counts as damaged");
    gate.open();
    end(loading).await??;
    expect(&other.cache, "k", Some(1)).await
}

pub(super) async fn a_failed_load_is_the_next_ones_turn(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (one, other) = (bench.process().await?, bench.process().await?);
    let failing = async |_| Err::<u32, _>(7_u32);
    let told = act!(bench, one.cache.get_or_try_set_with("k", failing).await);
    ensure!(matches!(told, Err(LoadError::Load(_))), "a load that failed gave {told:?}");
    until_there(&bench.raw()?, "k", false).await?;
    let got = act!(bench, other.cache.get_or_set("k", 2_u32).await)?;
    ensure!(got == 2, "after a load that failed, another process got {got}");
    Ok(())
}

pub(super) async fn a_failure_is_told_to_others(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let remember = |builder: CacheBuilder<Space>| builder.negative_ttl(LEASE);
    let one = bench.process_with(LEASE, remember).await?;
    let other = bench.process_with(LEASE, remember).await?;
    let failing = async |_| Err::<u32, _>(7_u32);
    let told = act!(bench, one.cache.get_or_try_set_with("k", failing).await);
    ensure!(matches!(told, Err(LoadError::Load(_))), "a load that failed gave {told:?}");
    let told = act!(bench, other.cache.get_or_set("k", 2_u32).await);
    ensure!(matches!(told, Err(CacheError::Load(_))), "a remembered failure gave {told:?}");
    act!(bench, other.cache.set("k", &3).await)?;
    let got = act!(bench, one.cache.get_value("k").await)?;
    ensure!(got == Some(3), "a set after a failure is read as {got:?}");
    Ok(())
}

pub(super) async fn a_stale_value_is_served_and_refreshed_once(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let grace = |builder: CacheBuilder<Space>| builder.grace(SECOND * 1_000);
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(bench.process_with(LEASE, grace).await?);
    }
    act!(bench, processes[0].cache.set("k", &1).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    let gate = Gate::new();
    for process in &processes {
        // It is served while the loader is held.
        let got = end(bench.load(&process.cache, "k", &gate, 2)).await??;
        ensure!(got == 1, "within the grace, a process got {got}");
    }
    gate.reached(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.open();
    for process in &processes {
        at_rest(process.cache.space()).await;
        expect(&process.cache, "k", Some(2)).await?;
    }
    let entered = gate.entered();
    ensure!(entered == 1, "a stale value was refreshed {entered} times");
    Ok(())
}

pub(super) async fn a_soft_time_out_serves_stale(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let soft = |builder: CacheBuilder<Space>| builder.grace(SECOND * 1_000).soft_timeout(LEASE);
    let one = bench.process_with(LEASE, soft).await?;
    act!(bench, one.cache.set("k", &1).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    let failing = async |_| Err::<u32, _>(7_u32);
    let got = act!(bench, one.cache.get_or_try_set_with("k", failing).await);
    ensure!(matches!(got, Ok(1)), "within the grace, a load that failed gave {got:?}");
    let got = act!(bench, one.cache.get_or_set("k", 2_u32).await)?;
    ensure!(got == 2, "a fresh value that came before the soft time-out was read as {got}");
    Ok(())
}

pub(super) async fn a_deletion_gives_what_it_deleted(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (one, other) = (bench.process().await?, bench.process().await?);
    act!(bench, one.cache.set("k", &1).await)?;
    one.way.plan(Call::Delete, 1, Fault::Hang);
    let deleting = tokio::spawn({
        let cache = one.cache.clone();
        async move { cache.delete("k").await }
    });
    one.way.hanging(1).await;
    act!(bench, other.cache.set("k", &2).await)?;
    one.way.release();
    let deleted = end(deleting).await??;
    ensure!(deleted == Some(2), "2 was deleted, and {deleted:?} given");
    expect(&other.cache, "k", None).await
}

pub(super) async fn a_change_of_expiry_undoes_nothing(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (one, other) = (bench.process().await?, bench.process().await?);
    act!(bench, one.cache.set("k", &1).await)?;
    one.way.plan(Call::Set, 1, Fault::Hang);
    let changing = tokio::spawn({
        let cache = one.cache.clone();
        async move { cache.update_expiry("k", Expiry::Never).await }
    });
    one.way.hanging(1).await;
    act!(bench, other.cache.delete("k").await)?;
    one.way.release();
    let changed = end(changing).await?;
    ensure!(matches!(changed, Err(CacheError::NotFound)), "the deleted entry gave {changed:?}");
    expect(&other.cache, "k", None).await
}

pub(super) async fn a_clearing_may_keep_the_loads_of_all(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (one, other) = (bench.process().await?, bench.process().await?);
    let gate = Gate::new();
    let loading = bench.load(&one.cache, "k", &gate, 1);
    gate.reached(1).await;
    act!(bench, other.cache.set("other", &5).await)?;
    act!(bench, other.cache.clear_keeping_pending().await)?;
    expect(&other.cache, "other", None).await?;
    gate.open();
    end(loading).await??;
    at_rest(one.cache.space()).await;
    expect(&other.cache, "k", Some(1)).await
}

pub(super) async fn those_who_wait_are_patient(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (one, other) = (bench.process().await?, bench.process().await?);
    let gate = Gate::new();
    let loading = bench.load(&one.cache, "k", &gate, 1);
    gate.reached(1).await;
    let waiting: Vec<_> = (0..5).map(|_| bench.load(&other.cache, "k", &gate, 2)).collect();
    // Each of them asks once before it joins the others.
    until(|| other.way.calls(Call::Any) >= 6).await;
    let before = other.way.calls(Call::Any);
    tokio::time::sleep(SECOND).await;
    let calls = other.way.calls(Call::Any) - before;
    // Slower machines make it fewer.
    ensure!(calls <= 20, "five callers who wait made {calls} calls in a second");
    gate.open();
    end(loading).await??;
    for task in waiting {
        end(task).await??;
    }
    Ok(())
}
