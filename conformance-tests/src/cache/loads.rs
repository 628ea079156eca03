//! F1, F3, F4: single flight.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use larder_cache::{Cache, CacheError, CacheResult, CacheScope, LoadError, Loaded};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::bench::{Bench, Gate, SECOND, act, at_rest, end, expect, others, until};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// Many callers of one missing key: how often it was loaded, and what they got.
async fn together(t: &Trial, callers: u32) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.builder().circuit(0, SECOND).build().await?.cache::<u32>();
    let gate = Gate::new();
    let tasks: Vec<JoinHandle<CacheResult<u32>>> = (0..callers)
        .map(|caller| {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move {
                let loader = async move |_| {
                    gate.pass().await;
                    caller
                };
                cache.get_or_set_with("k", loader).await
            })
        })
        .collect();
    // Each has missed, and has joined the flight or is about to.
    until(|| cache.space().stats().misses >= u64::from(callers)).await;
    let entered = gate.entered();
    ensure!(entered <= 1, "{callers} callers of one key have started {entered} loads");
    bench.note(&format!("{callers} callers wait, and the load ends"));
    gate.open();
    let mut got = BTreeSet::new();
    for task in tasks {
        got.insert(end(task).await??);
    }
    let entered = gate.entered();
    ensure!(entered == 1, "{callers} callers of one key have run {entered} loads");
    ensure!(got.len() == 1, "{callers} callers of one key got {} different values", got.len());
    at_rest(cache.space()).await;
    expect(&cache, "k", got.first().copied()).await
}

pub(super) async fn callers_at_the_same_time_share_one(t: &Trial) -> Verdict {
    together(t, 50).await
}

pub(super) async fn ten_thousand_callers_share_one(t: &Trial) -> Verdict {
    together(t, 10_000).await
}

pub(super) async fn other_keys_and_scopes_load_apart(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    let views = [
        (global.clone(), "k"),
        (global.clone(), "other"),
        (global.with_scope("n"), "k"),
        (global.with_scope("n").with_scope("m"), "k"),
        (global.scoped(CacheScope::user("u")), "k"),
        (global.scoped(CacheScope::session("u")), "k"),
    ];
    let gate = Gate::new();
    let mut loads = Vec::new();
    for (number, (view, key)) in (0..).zip(&views) {
        loads.push(bench.load(view, key, &gate, number));
    }
    // All of them, or those that did not join another's flight.
    until(|| global.space().stats().misses >= 6).await;
    others().await;
    gate.open();
    for (number, load) in (0..).zip(loads) {
        let got = end(load).await??;
        ensure!(got == number, "the load of key or scope {number} gave {got}");
    }
    at_rest(global.space()).await;
    for (number, (view, key)) in (0..).zip(&views) {
        expect(view, key, Some(number)).await?;
    }
    Ok(())
}

pub(super) async fn callers_of_other_types_get_their_own(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let numbers = bench.numbers().await?;
    let texts: Cache<String> = numbers.space().cache();
    let gate = Gate::new();
    let number = bench.load(&numbers, "k", &gate, 1);
    gate.reached(1).await;
    let text = tokio::spawn(async move { texts.get_or_set("k", "one".to_owned()).await });
    others().await;
    gate.open();
    let number = end(number).await??;
    let text = end(text).await??;
    ensure!((number, &*text) == (1, "one"), "a number and a text of one key: {number}, {text:?}");
    Ok(())
}

pub(super) async fn callers_who_go_away_harm_nobody(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    drop(cache.get_or_set("k", 9_u32));
    let gate = Gate::new();
    let first = bench.load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    let others_waiting = bench.waiters(&cache, "k", 3).await?;
    let leaving = bench.waiters(&cache, "k", 3).await?;
    bench.note("the caller who started the load goes away, and three who wait");
    first.abort();
    let _ = first.await;
    for waiter in leaving {
        waiter.abort();
        let _ = waiter.await;
    }
    gate.open();
    for waiter in others_waiting {
        let got = end(waiter).await??;
        ensure!(got == Some(1), "a waiter got {got:?} after others had gone away");
    }
    at_rest(cache.space()).await;
    expect(&cache, "k", Some(1)).await?;
    let after = bench.load(&cache, "k", &gate, 2);
    let got = end(after).await??;
    ensure!(got == 1, "a later caller got {got}");
    Ok(())
}

pub(super) async fn one_without_callers_is_finished(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let gate = Gate::new();
    let only = bench.load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    bench.note("its only caller goes away");
    only.abort();
    let _ = only.await;
    gate.open();
    at_rest(cache.space()).await;
    expect(&cache, "k", Some(1)).await
}

pub(super) async fn one_without_callers_is_cancelled_where_asked(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().cancel_abandoned_loads(true).build().await?;
    let cache = space.cache::<u32>();
    let gate = Gate::new();
    let first = bench.load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    let mut waiting = bench.waiters(&cache, "k", 1).await?;
    first.abort();
    let _ = first.await;
    others().await;
    ensure!(space.stats().active_keys == 1, "the load ended although somebody waits for it");
    bench.note("its last caller goes away");
    if let Some(last) = waiting.pop() {
        last.abort();
        let _ = last.await;
    }
    // The gate is never opened.
    at_rest(&space).await;
    expect(&cache, "k", None).await?;
    let got = act!(bench, cache.get_or_set("k", 2_u32).await)?;
    ensure!(got == 2, "a later load of 2 gave {got}");
    Ok(())
}

pub(super) async fn an_error_goes_to_all_and_is_forgotten(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let gate = Gate::new();
    let failing = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let loader = async move |_| {
                gate.pass().await;
                Err::<u32, _>(17_u8)
            };
            cache.get_or_try_set_with("k", loader).await
        }
    });
    gate.reached(1).await;
    let waiting = bench.waiters(&cache, "k", 5).await?;
    bench.note("the load fails with 17");
    gate.open();
    match end(failing).await? {
        Err(LoadError::Load(error)) if *error == 17 => {}
        other => return Err(Stop::fail(format!("the load's caller got {other:?}"))),
    }
    for waiter in waiting {
        match end(waiter).await? {
            Err(CacheError::Load(failure)) if failure.downcast::<u8>().as_deref() == Some(&17) => {}
            other => return Err(Stop::fail(format!("a waiter got {other:?}"))),
        }
    }
    at_rest(cache.space()).await;
    expect(&cache, "k", None).await?;
    bench.advance(SECOND).await;
    let got = act!(bench, cache.get_or_set("k", 2_u32).await);
    ensure!(matches!(got, Ok(2)), "a caller after the error, whose load gives 2, got {got:?}");
    Ok(())
}

pub(super) async fn an_error_is_remembered_as_long_as_asked(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().negative_ttl(SECOND * 60).build().await?;
    let cache = space.cache::<u32>();
    let runs = Arc::new(AtomicUsize::new(0));
    let fail = async |key: &'static str| {
        let runs = Arc::clone(&runs);
        let loader = async move |_| {
            runs.fetch_add(1, SeqCst);
            Err::<u32, _>(17_u8)
        };
        cache.get_or_try_set_with(key, loader).await
    };
    for _ in 0..3 {
        let failed = act!(bench, fail("k").await);
        ensure!(matches!(failed, Err(LoadError::Load(_))), "a load that fails gave {failed:?}");
    }
    let ran = runs.load(SeqCst);
    ensure!(ran == 1, "with its error remembered, a load ran {ran} times");
    bench.advance(SECOND * 60).await;
    let _ = act!(bench, fail("k").await);
    let ran = runs.load(SeqCst);
    ensure!(ran == 2, "when its error was to be forgotten, a load had run {ran} times");
    act!(bench, cache.set("k", &3).await)?;
    let got = act!(bench, fail("k").await);
    ensure!(matches!(got, Ok(3)), "after a set, a caller got {got:?}");
    Ok(())
}

pub(super) async fn a_panic_is_an_error_for_all(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let gate = Gate::new();
    let first = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let loader = async move |_| {
                gate.pass().await;
                std::panic::resume_unwind(Box::new("no loading today"));
                #[allow(unreachable_code, reason = "the loader's type")]
                0_u32
            };
            cache.get_or_set_with("k", loader).await
        }
    });
    gate.reached(1).await;
    let waiting = bench.waiters(&cache, "k", 3).await?;
    bench.note("the loader panics");
    gate.open();
    let told =
        |got: &CacheError| matches!(got, CacheError::Panicked(text) if text.contains("today"));
    let got = end(first).await?;
    ensure!(got.as_ref().is_err_and(told), "the load's caller got {got:?}");
    for waiter in waiting {
        let got = end(waiter).await?;
        ensure!(got.as_ref().is_err_and(told), "a waiter got {got:?}");
    }
    at_rest(cache.space()).await;
    let got = act!(bench, cache.get_or_set("k", 2_u32).await)?;
    ensure!(got == 2, "a later load of 2 gave {got}");
    Ok(())
}

/// A runtime besides the case's own; dropped, it shuts down and is not waited for.
struct Elsewhere(Option<Runtime>);

impl Elsewhere {
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        self.0.as_ref().map(|runtime| runtime.spawn(work))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) async fn a_runtime_that_shuts_down_is_an_error_for_all(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let other = other.map_err(|error| Stop::fail(format!("no runtime could be built: {error}")))?;
    let other = Elsewhere(Some(other));
    let gate = Gate::new();
    let first = other.spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let loader = async move |_| {
                gate.pass().await;
                1_u32
            };
            cache.get_or_set_with("k", loader).await
        }
    });
    gate.reached(1).await;
    let waiting = bench.waiters(&cache, "k", 3).await?;
    bench.note("the runtime in which the load runs shuts down");
    drop(other);
    if let Some(first) = first {
        let _ = first.await;
    }
    for waiter in waiting {
        let got = end(waiter).await?;
        ensure!(matches!(got, Err(CacheError::ShutDown)), "a waiter got {got:?}");
    }
    at_rest(cache.space()).await;
    let got = act!(bench, cache.get_or_set("k", 2_u32).await)?;
    ensure!(got == 2, "a later load of 2 gave {got}");
    Ok(())
}

pub(super) async fn one_that_never_ends_is_ended(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().max_load_time(Duration::from_millis(50)).build().await?;
    let cache = space.cache::<u32>();
    let (first, second) = (Gate::new(), Gate::new());
    let zombie = bench.load(&cache, "k", &first, 1);
    let got = end(zombie).await?;
    ensure!(matches!(got, Err(CacheError::TimedOut)), "the caller of an endless load got {got:?}");
    at_rest(&space).await;
    // It is not only its caller who is rid of it.
    second.open();
    let got = end(bench.load(&cache, "k", &second, 2)).await?;
    ensure!(matches!(got, Ok(2)), "a later load of 2 gave {got:?}");
    first.open();
    others().await;
    expect(&cache, "k", Some(2)).await
}

pub(super) async fn waiters_have_deadlines_of_their_own(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let gate = Gate::new();
    let patient = bench.load(&cache, "k", &gate, 1);
    gate.reached(1).await;
    let waiting = bench.waiters(&cache, "k", 2).await?;
    for millis in [1, 5, 20] {
        let hurried = cache.wait_at_most(Duration::from_millis(millis));
        let got = act!(bench, hurried.get_or_set("k", 2_u32).await);
        ensure!(
            matches!(got, Err(CacheError::TimedOut)),
            "after its deadline a caller got {got:?}"
        );
        let got = act!(bench, hurried.get_or_wait("k").await);
        ensure!(
            matches!(got, Err(CacheError::TimedOut)),
            "after its deadline a waiter got {got:?}"
        );
    }
    bench.note("the load ends");
    gate.open();
    let got = end(patient).await?;
    ensure!(matches!(got, Ok(1)), "the load's caller, who has no deadline, got {got:?}");
    for waiter in waiting {
        let got = end(waiter).await?;
        ensure!(matches!(got, Ok(Some(1))), "a waiter who has no deadline got {got:?}");
    }
    expect(&cache, "k", Some(1)).await
}

pub(super) async fn one_that_asks_for_its_own_key_is_told(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let inner = cache.clone();
    let loader = async move |_| {
        let own = inner.get_or_set("k", 2_u32).await;
        let waited = inner.get_or_wait("k").await;
        let elsewhere = inner.with_scope("n").get_or_set("k", 3_u32).await;
        (own, waited, elsewhere)
    };
    // The loader's value is what it saw.
    let seen = Arc::new(std::sync::Mutex::new(None));
    let told = Arc::clone(&seen);
    let got = cache
        .get_or_set_with("k", async move |key| {
            let all = loader(key).await;
            if let Ok(mut told) = told.lock() {
                *told = Some(all);
            }
            1_u32
        })
        .await?;
    ensure!(got == 1, "the outer load gave {got}");
    let seen = seen.lock().ok().and_then(|mut seen| seen.take());
    ensure!(
        matches!(seen, Some((Err(CacheError::Reentrant), Err(CacheError::Reentrant), Ok(3)))),
        "a loader that asks for its own key, waits for it, and asks for another got {seen:?}"
    );
    expect(&cache, "k", Some(1)).await
}

pub(super) async fn two_that_ask_for_each_other_are_ended(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().max_load_time(Duration::from_millis(100)).build().await?;
    let cache = space.cache::<u32>();
    let both = Gate::new();
    let ask = |key: &'static str, other: &'static str| {
        let (cache, both) = (cache.clone(), both.clone());
        tokio::spawn(async move {
            let inner = cache.clone();
            let loader = async move |_| {
                both.pass().await;
                inner.get_or_set(other, 0_u32).await
            };
            cache.get_or_try_set_with(key, loader).await
        })
    };
    let (a, b) = (ask("a", "b"), ask("b", "a"));
    both.reached(2).await;
    bench.note("each of two loaders asks for the key of the other");
    both.open();
    let (a, b) = (end(a).await?, end(b).await?);
    ensure!(a.is_err() && b.is_err(), "the two gave {a:?} and {b:?}");
    at_rest(&space).await;
    let got = act!(bench, cache.get_or_set("a", 2_u32).await)?;
    ensure!(got == 2, "a later load of 2 gave {got}");
    Ok(())
}

pub(super) async fn its_result_says_how_it_is_stored(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let unstored = Loaded::new(1_u32).do_not_store();
    let got = act!(bench, cache.get_or_set("a", unstored).await)?;
    ensure!(got == 1, "an unstored load of 1 gave {got}");
    expect(&cache, "a", None).await?;
    let got = act!(bench, cache.get_or_set("b", Loaded::new(2_u32).ttl(SECOND)).await)?;
    ensure!(got == 2, "a load of 2 gave {got}");
    expect(&cache, "b", Some(2)).await?;
    bench.advance(SECOND).await;
    expect(&cache, "b", None).await?;
    let got = act!(bench, cache.get_or_set("c", Loaded::new(3_u32).ttl(Duration::ZERO)).await)?;
    ensure!(got == 3, "a load of 3 gave {got}");
    expect(&cache, "c", None).await
}

pub(super) async fn no_table_grows(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().cancel_abandoned_loads(true).build().await?;
    let cache = space.cache::<u32>();
    let closed = Gate::new();
    for number in 0..200_u32 {
        let key = format!("k{number}");
        cache.get_or_set(&key, Loaded::new(number).do_not_store()).await?;
        let failed = cache.get_or_try_set_with(&key, async |_| Err::<u32, _>("down")).await;
        ensure!(failed.is_err(), "a load that fails gave {failed:?}");
        let (gone, gate) = (cache.clone(), closed.clone());
        let hurried = gone.wait_at_most(Duration::from_millis(1));
        let never = async move |_| {
            gate.pass().await;
            1_u32
        };
        let late = hurried.get_or_set_with(&key, never).await;
        ensure!(late.is_err(), "a load that does not end gave {late:?}");
        drop(cache.set_pending(&key).await?);
        drop(cache.lock(&key).await?);
        cache.delete(&key).await?;
        drop(cache.with_scope(&key).get_or_set("k", number).await?.to_string());
    }
    bench.note("200 keys were loaded, failed, given up, promised, locked and deleted");
    at_rest(&space).await;
    Ok(())
}
