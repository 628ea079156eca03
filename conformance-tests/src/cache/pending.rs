//! F5: every fate of a pending value, with several who wait, some of them with deadlines.

use std::fmt;
use std::time::Duration;

use larder_cache::{Cache, CacheError, CacheResult, Loaded, Lookup, PendingGuard, Policy};
use tokio::task::JoinHandle;

use super::bench::{Bench, Gate, SECOND, act, at_rest, end, expect, others};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// An error to fail with.
#[derive(Debug, PartialEq, Eq)]
struct Oops(u32);

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oops {}", self.0)
    }
}

impl std::error::Error for Oops {}

/// A promise for `k`, and those who wait for it.
struct Promised<'t> {
    bench: Bench<'t>,
    cache: Cache<u32>,
    waiters: Vec<JoinHandle<CacheResult<Option<u32>>>>,
}

/// Three who wait without a deadline and three with a late one; one whose deadline passes has gone.
async fn join(
    bench: &Bench<'_>,
    cache: &Cache<u32>,
) -> Verdict<Vec<JoinHandle<CacheResult<Option<u32>>>>> {
    let hurried = cache.wait_at_most(Duration::from_millis(2));
    let gone = act!(bench, hurried.get_or_wait("k").await);
    ensure!(matches!(gone, Err(CacheError::TimedOut)), "after its deadline a waiter got {gone:?}");
    let mut waiters = bench.waiters(cache, "k", 3).await?;
    let late = cache.wait_at_most(Duration::from_secs(3_600));
    waiters.extend(bench.waiters(&late, "k", 3).await?);
    Ok(waiters)
}

impl<'t> Promised<'t> {
    async fn over(bench: Bench<'t>, cache: Cache<u32>) -> Verdict<(Self, PendingGuard<u32>)> {
        let promise = act!(bench, cache.set_pending("k").await)?;
        let found = act!(bench, cache.get_value("k").await)?;
        ensure!(found.is_none(), "get of a pending key gave {found:?}");
        let waiters = join(&bench, &cache).await?;
        Ok((Self { bench, cache, waiters }, promise))
    }

    async fn new(t: &'t Trial) -> Verdict<(Self, PendingGuard<u32>)> {
        let bench = Bench::new(t);
        let cache = bench.numbers().await?;
        act!(bench, cache.delete("k").await)?;
        Self::over(bench, cache).await
    }

    /// Sees that everybody gets `value`.
    async fn all_get(&mut self, value: u32) -> Verdict {
        for waiter in self.waiters.drain(..) {
            let got = end(waiter).await?;
            ensure!(
                matches!(got, Ok(Some(it)) if it == value),
                "a waiter got {got:?}, not {value}"
            );
        }
        Ok(())
    }

    /// Sees that everybody gets such an error.
    async fn all_fail(&mut self, what: &str, is: impl Fn(&CacheError) -> bool) -> Verdict {
        for waiter in self.waiters.drain(..) {
            let got = end(waiter).await?;
            ensure!(got.as_ref().is_err_and(&is), "a waiter got {got:?} instead of {what}");
        }
        Ok(())
    }

    async fn all_abandoned(&mut self) -> Verdict {
        self.all_fail("`Abandoned`", |error| matches!(error, CacheError::Abandoned)).await
    }

    /// Sees that nothing is left of the promise, and that the key holds `want`.
    async fn leaves(&self, want: Option<u32>) -> Verdict {
        at_rest(self.cache.space()).await;
        expect(&self.cache, "k", want).await?;
        let found = act!(self.bench, self.cache.lookup("k").await)?;
        ensure!(!matches!(found, Lookup::Pending(_)), "the key is still pending");
        if want.is_none() {
            let anew = act!(self.bench, self.cache.get_or_set("k", 55_u32).await)?;
            ensure!(anew == 55, "a later load of 55 gave {anew}");
        }
        Ok(())
    }
}

fn is_oops(error: &CacheError, number: u32) -> bool {
    matches!(error, CacheError::Load(it) if it.downcast::<Oops>().as_deref() == Some(&Oops(number)))
}

pub(super) async fn resolved(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    let bench = &promised.bench;
    let cache = promised.cache.clone();
    let loading = bench.load(&cache, "k", &Gate::new(), 99);
    others().await;
    let kept = act!(promised.bench, promise.resolve(Loaded::new(7).ttl(SECOND)).await)?;
    ensure!(kept, "resolving an undisturbed promise gave false");
    promised.all_get(7).await?;
    let got = end(loading).await?;
    ensure!(matches!(got, Ok(7)), "a caller who would load otherwise got {got:?}");
    promised.leaves(Some(7)).await?;
    promised.bench.advance(SECOND).await;
    expect(&promised.cache, "k", None).await
}

pub(super) async fn resolved_without_storing(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    act!(promised.bench, promise.resolve(Loaded::new(7).do_not_store()).await)?;
    promised.all_get(7).await?;
    promised.leaves(None).await
}

pub(super) async fn failed_by_its_owner(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    let told = act!(promised.bench, promise.fail(Oops(1)));
    ensure!(told, "failing an undisturbed promise gave false");
    promised.all_fail("the error", |error| is_oops(error, 1)).await?;
    promised.leaves(None).await
}

pub(super) async fn failed_from_anywhere(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    let elsewhere = promised.cache.space().clone().cache::<String>();
    let told = act!(promised.bench, elsewhere.fail("k", Oops(2)).await)?;
    ensure!(told, "failing a promise gave false");
    promised.all_fail("the error", |error| is_oops(error, 2)).await?;
    let late = act!(promised.bench, promise.resolve(7_u32).await)?;
    ensure!(!late, "a promise that was failed could be resolved");
    promised.leaves(None).await
}

pub(super) async fn overwritten(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    act!(promised.bench, promised.cache.set("k", &8).await)?;
    promised.all_get(8).await?;
    let late = act!(promised.bench, promise.resolve(7_u32).await)?;
    ensure!(!late, "a promise whose key was set could be resolved");
    promised.leaves(Some(8)).await
}

pub(super) async fn taken_over(t: &Trial) -> Verdict {
    let (mut promised, first) = Promised::new(t).await?;
    let second = act!(promised.bench, promised.cache.set_pending("k").await)?;
    let more = join(&promised.bench, &promised.cache).await?;
    promised.waiters.extend(more);
    let late = act!(promised.bench, first.resolve(7_u32).await)?;
    ensure!(!late, "a promise that was taken over could be resolved");
    let kept = act!(promised.bench, second.resolve(8_u32).await)?;
    ensure!(kept, "resolving the promise that took over gave false");
    promised.all_get(8).await?;
    promised.leaves(Some(8)).await
}

pub(super) async fn taken_over_and_given_up(t: &Trial) -> Verdict {
    let (mut promised, first) = Promised::new(t).await?;
    let second = act!(promised.bench, promised.cache.set_pending("k").await)?;
    promised.bench.note("both promises are dropped, the first one first");
    drop(first);
    others().await;
    ensure!(promised.waiters.iter().all(|it| !it.is_finished()), "the first promise gave them up");
    drop(second);
    promised.all_abandoned().await?;
    promised.leaves(None).await
}

pub(super) async fn given_up(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    promised.bench.note("the promise is dropped");
    drop(promise);
    promised.all_abandoned().await?;
    promised.leaves(None).await
}

pub(super) async fn deleted(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    act!(promised.bench, promised.cache.delete("k").await)?;
    promised.all_abandoned().await?;
    let late = act!(promised.bench, promise.resolve(7_u32).await)?;
    ensure!(!late, "a promise whose key was deleted could be resolved");
    promised.leaves(None).await
}

pub(super) async fn prefix_removed(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    act!(promised.bench, promised.cache.remove_starting_with("other").await)?;
    act!(promised.bench, promised.cache.remove_starting_with("k").await)?;
    promised.all_abandoned().await?;
    let late = act!(promised.bench, promise.resolve(7_u32).await)?;
    ensure!(!late, "a promise whose prefix was removed could be resolved");
    promised.leaves(None).await
}

pub(super) async fn emptied(t: &Trial) -> Verdict {
    for whole_space in [false, true] {
        let (mut promised, promise) = Promised::new(t).await?;
        if whole_space {
            act!(promised.bench, promised.cache.space().clear(true).await)?;
        } else {
            act!(promised.bench, promised.cache.clear().await)?;
        }
        promised.all_abandoned().await?;
        let late = act!(promised.bench, promise.resolve(7_u32).await)?;
        ensure!(!late, "a promise that was cleared away could be resolved");
        promised.leaves(None).await?;
    }
    Ok(())
}

pub(super) async fn emptied_but_for_what_is_pending(t: &Trial) -> Verdict {
    for whole_space in [false, true] {
        let (mut promised, promise) = Promised::new(t).await?;
        let (bench, cache) = (&promised.bench, promised.cache.clone());
        let gate = Gate::new();
        let loading = bench.load(&cache, "loaded", &gate, 3);
        gate.reached(1).await;
        act!(bench, cache.set("other", &1).await)?;
        if whole_space {
            act!(bench, cache.space().clear(false).await)?;
        } else {
            act!(bench, cache.clear_keeping_pending().await)?;
        }
        expect(&cache, "other", None).await?;
        bench.note("the load ends");
        gate.open();
        let got = end(loading).await?;
        ensure!(matches!(got, Ok(3)), "the load's caller got {got:?}");
        let kept = act!(promised.bench, promise.resolve(7_u32).await)?;
        ensure!(kept, "a promise that was to be spared could not be resolved");
        promised.all_get(7).await?;
        promised.leaves(Some(7)).await?;
        expect(&cache, "loaded", Some(3)).await?;
        act!(promised.bench, cache.clear().await)?;
    }
    Ok(())
}

pub(super) async fn evicted(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().policy(Policy::Lru { max: 2 }).build().await?;
    let (mut promised, promise) = Promised::over(bench, space.cache()).await?;
    act!(promised.bench, promised.cache.set("a", &1).await)?;
    act!(promised.bench, promised.cache.set("b", &1).await)?;
    promised.all_abandoned().await?;
    let late = act!(promised.bench, promise.resolve(7_u32).await)?;
    ensure!(!late, "a promise that was evicted could be resolved");
    expect(&promised.cache, "a", Some(1)).await?;
    expect(&promised.cache, "b", Some(1)).await?;
    promised.leaves(None).await
}

pub(super) async fn detached_and_never_kept(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    // Long enough for those who wait to join, or the case starts anew.
    for millis in [100, 2_000, 60_000] {
        let most = Duration::from_millis(millis);
        let cache = bench.builder().max_pending_time(most).build().await?.cache::<u32>();
        let promise = act!(bench, cache.set_pending("k").await)?;
        act!(bench, promise.detach());
        let mut waiters = Vec::new();
        for _ in 0..3 {
            if let Lookup::Pending(value) = act!(bench, cache.lookup("k").await)? {
                waiters.push(tokio::spawn(value.wait()));
            }
        }
        if waiters.len() < 3 {
            continue;
        }
        let mut promised = Promised { bench: Bench::new(t), cache, waiters };
        promised.all_abandoned().await?;
        return promised.leaves(None).await;
    }
    Err(Stop::fail("a detached promise was never pending"))
}

pub(super) async fn detached_and_kept_later(t: &Trial) -> Verdict {
    let (mut promised, promise) = Promised::new(t).await?;
    act!(promised.bench, promise.detach());
    others().await;
    ensure!(promised.waiters.iter().all(|it| !it.is_finished()), "detaching ended the waiting");
    act!(promised.bench, promised.cache.set("k", &8).await)?;
    promised.all_get(8).await?;
    promised.leaves(Some(8)).await?;

    let (mut promised, promise) = Promised::new(t).await?;
    act!(promised.bench, promise.detach());
    act!(promised.bench, promised.cache.fail("k", Oops(3)).await)?;
    promised.all_fail("the error", |error| is_oops(error, 3)).await?;
    promised.leaves(None).await
}

/// A promise that a task keeps, once the gate is open.
async fn task(
    t: &Trial,
    work: impl Future<Output = Result<u32, u8>> + Send + 'static,
) -> Verdict<(Promised<'_>, Gate, tokio::task::AbortHandle)> {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.delete("k").await)?;
    let gate = Gate::new();
    let task = tokio::spawn({
        let gate = gate.clone();
        async move {
            gate.pass().await;
            work.await
        }
    });
    let abort = task.abort_handle();
    act!(bench, cache.set_pending_task("k", task).await)?;
    let waiters = join(&bench, &cache).await?;
    Ok((Promised { bench, cache, waiters }, gate, abort))
}

pub(super) async fn kept_or_failed_by_a_task(t: &Trial) -> Verdict {
    let (mut promised, gate, _) = task(t, async { Ok(7) }).await?;
    promised.bench.note("the task gives 7");
    gate.open();
    promised.all_get(7).await?;
    promised.leaves(Some(7)).await?;
    let (mut promised, gate, _) = task(t, async { Err(9) }).await?;
    promised.bench.note("the task fails with 9");
    gate.open();
    let nine = |error: &CacheError| matches!(error, CacheError::Load(it) if it.downcast::<u8>().as_deref() == Some(&9));
    promised.all_fail("the task's error", nine).await?;
    promised.leaves(None).await
}

pub(super) async fn its_task_is_cancelled(t: &Trial) -> Verdict {
    let (mut promised, _gate, abort) = task(t, async { Ok(7) }).await?;
    promised.bench.note("the task is cancelled");
    abort.abort();
    let cancelled = |error: &CacheError| matches!(error, CacheError::Cancelled);
    promised.all_fail("`Cancelled`", cancelled).await?;
    promised.leaves(None).await
}

pub(super) async fn its_task_panics(t: &Trial) -> Verdict {
    let panics = async { std::panic::resume_unwind(Box::new("no promise kept")) };
    let (mut promised, gate, _) = task(t, panics).await?;
    promised.bench.note("the task panics");
    gate.open();
    let told =
        |error: &CacheError| matches!(error, CacheError::Panicked(text) if text.contains("kept"));
    promised.all_fail("`Panicked`", told).await?;
    promised.leaves(None).await
}
