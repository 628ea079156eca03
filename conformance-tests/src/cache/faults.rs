//! F8: the store is allowed to fail.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Cache, StoreFailure};
use larder_core::testing::{Call, Fault, Faulty};
use larder_core::{ErrorKind, StoreExt};

use super::bench::{Bench, Gate, SECOND, act, at_rest, end, expect, others, until};
use crate::trial::Trial;
use crate::verdict::{Verdict, ensure};

/// So many failures in a row leave the store alone, or none does.
async fn cache_with(bench: &Bench<'_>, circuit: u32) -> Verdict<(Arc<Faulty>, Cache<u32>)> {
    let store = bench.faulty()?;
    let builder = bench.builder_over(Arc::clone(&store)).circuit(circuit, SECOND);
    Ok((store, builder.build().await?.cache()))
}

const DOWN: Fault = Fault::Fail(ErrorKind::Unavailable);

pub(super) async fn loads_go_on_together(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = cache_with(&bench, 0).await?;
    bench.note("the store fails from now on");
    store.always(Call::Any, DOWN);
    let gate = Gate::new();
    let loads: Vec<_> = (0..5).map(|_| bench.load(&cache, "k", &gate, 7)).collect();
    until(|| gate.entered() >= 1).await;
    others().await;
    let entered = gate.entered();
    ensure!(entered == 1, "with a store that fails, 5 callers have started {entered} loads");
    gate.open();
    for load in loads {
        let got = end(load).await?;
        ensure!(matches!(got, Ok(7)), "with a store that fails, a load of 7 gave {got:?}");
    }
    let stats = cache.space().stats();
    ensure!(stats.direct_loads >= 1, "no load around the store was counted");
    ensure!(stats.store_failures >= 2, "{} failures were counted", stats.store_failures);
    bench.note("the store works again");
    store.heal();
    at_rest(cache.space()).await;
    let got = act!(bench, cache.get_or_set("other", 8_u32).await)?;
    ensure!(got == 8, "a load of 8 gave {got}");
    expect(&cache, "other", Some(8)).await
}

pub(super) async fn all_else_is_told(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = cache_with(&bench, 0).await?;
    act!(bench, cache.set("k", &1).await)?;
    bench.note("the store fails from now on");
    store.always(Call::Any, DOWN);
    for told in [
        act!(bench, cache.get("k").await.map(|_| ())),
        act!(bench, cache.set("k", &2).await),
        act!(bench, cache.delete("k").await.map(|_| ())),
        act!(bench, cache.update_expiry("k", None).await.map(|_| ())),
        act!(bench, cache.get_and_unpin("k").await.map(|_| ())),
        act!(bench, cache.set_pending("k").await.map(|_| ())),
        act!(bench, cache.clear().await),
        act!(bench, cache.list().await.map(|_| ())),
    ] {
        let kind = told.err().and_then(|error| error.store_kind());
        ensure!(
            kind == Some(ErrorKind::Unavailable),
            "with a store that fails, a call gave {kind:?}"
        );
    }
    bench.note("the store works again");
    store.heal();
    at_rest(cache.space()).await;
    expect(&cache, "k", Some(1)).await
}

pub(super) async fn its_error_is_served_where_asked(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let store = bench.faulty()?;
    let builder = bench.builder_over(Arc::clone(&store));
    let space = builder.when_store_fails(StoreFailure::ServeError).build().await?;
    let cache = space.cache::<u32>();
    store.plan(Call::Get, 1, DOWN);
    let told = act!(bench, cache.get_or_set("k", 1_u32).await);
    let kind = told.err().and_then(|error| error.store_kind());
    ensure!(kind == Some(ErrorKind::Unavailable), "a load over a store that fails gave {kind:?}");
    let loads = space.stats().loads;
    ensure!(loads == 0, "{loads} loads ran although the store's error was to be served");
    store.plan(Call::Set, 1, Fault::Fail(ErrorKind::StorageFull));
    let told = act!(bench, cache.get_or_set("k", 1_u32).await);
    let kind = told.err().and_then(|error| error.store_kind());
    ensure!(kind == Some(ErrorKind::StorageFull), "a load that is not stored gave {kind:?}");
    let got = act!(bench, cache.get_or_set("k", 2_u32).await)?;
    ensure!(got == 2, "a later load of 2 gave {got}");
    Ok(())
}

pub(super) async fn a_value_that_is_not_stored_is_given(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = cache_with(&bench, 0).await?;
    for fault in [DOWN, Fault::Fail(ErrorKind::StorageFull), Fault::Fail(ErrorKind::Unknown)] {
        store.plan(Call::Set, 1, fault);
        let got = act!(bench, cache.get_or_set("k", 3_u32).await);
        ensure!(matches!(got, Ok(3)), "a load of 3 that cannot be stored gave {got:?}");
        at_rest(cache.space()).await;
        expect(&cache, "k", None).await?;
    }
    let got = act!(bench, cache.get_or_set("k", 4_u32).await)?;
    ensure!(got == 4, "a later load of 4 gave {got}");
    expect(&cache, "k", Some(4)).await
}

pub(super) async fn one_that_hangs_costs_its_budget(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let store = bench.faulty()?;
    let builder = bench.builder_over(Arc::clone(&store)).circuit(0, SECOND);
    let space = builder.store_budget(Duration::from_millis(20)).build().await?;
    let cache = space.cache::<u32>();
    // It is never released while somebody waits: only the budget ends the waiting.
    bench.note("the store hangs from now on");
    store.always(Call::Any, Fault::Hang);
    let told = act!(bench, cache.get("k").await);
    let kind = told.err().and_then(|error| error.store_kind());
    ensure!(kind == Some(ErrorKind::Timeout), "a get from a store that hangs gave {kind:?}");
    let got = act!(bench, cache.get_or_set("k", 7_u32).await);
    ensure!(matches!(got, Ok(7)), "a load of 7 over a store that hangs gave {got:?}");
    let failures = space.stats().store_failures;
    ensure!(failures >= 2, "{failures} of two reads that took too long were counted");
    bench.note("the store answers again");
    store.heal();
    store.release();
    at_rest(&space).await;
    Ok(())
}

pub(super) async fn a_slow_one_is_waited_for(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = cache_with(&bench, 1).await?;
    act!(bench, cache.set("k", &1).await)?;
    store.always(Call::Any, Fault::Delay(Duration::from_millis(10)));
    expect(&cache, "k", Some(1)).await?;
    let got = act!(bench, cache.get_or_set("other", 2_u32).await)?;
    ensure!(got == 2, "a load of 2 gave {got}");
    expect(&cache, "other", Some(2)).await?;
    let failures = cache.space().stats().store_failures;
    ensure!(failures == 0, "{failures} calls to a slow store were counted as failures");
    Ok(())
}

pub(super) async fn after_repeated_ones_it_is_left_alone(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = cache_with(&bench, 3).await?;
    bench.note("the store fails from now on");
    store.always(Call::Any, DOWN);
    for _ in 0..3 {
        let told = act!(bench, cache.get("k").await);
        ensure!(told.is_err(), "a get from a store that fails gave {told:?}");
    }
    let calls = store.calls(Call::Any);
    for _ in 0..5 {
        let told = act!(bench, cache.get("k").await);
        ensure!(told.is_err(), "a get from a store that fails gave {told:?}");
        let got = act!(bench, cache.get_or_set("k", 7_u32).await);
        ensure!(matches!(got, Ok(7)), "a load of 7 without the store gave {got:?}");
    }
    at_rest(cache.space()).await;
    let more = store.calls(Call::Any) - calls;
    ensure!(more == 0, "after three failures in a row, the store was called {more} times more");
    let openings = cache.space().stats().circuit_openings;
    ensure!(openings == 1, "{openings} openings of the circuit were counted");
    bench.advance(SECOND).await;
    let told = act!(bench, cache.get("k").await);
    ensure!(told.is_err(), "a get from a store that fails gave {told:?}");
    let _ = act!(bench, cache.get("k").await);
    let more = store.calls(Call::Any) - calls;
    ensure!(more == 1, "after its time, the store was tried {more} times instead of once");
    bench.note("the store works again");
    store.heal();
    bench.advance(SECOND).await;
    let found = act!(bench, cache.get_value("k").await);
    ensure!(matches!(found, Ok(None)), "a get from the mended store gave {found:?}");
    let got = act!(bench, cache.get_or_set("k", 8_u32).await)?;
    ensure!(got == 8, "a load of 8 gave {got}");
    expect(&cache, "k", Some(8)).await
}

pub(super) async fn writes_are_never_held_back(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = cache_with(&bench, 1).await?;
    act!(bench, cache.set("k", &1).await)?;
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Timeout));
    let told = act!(bench, cache.get("k").await);
    ensure!(told.is_err(), "a get that fails gave {told:?}");
    // A stale value must not come back when the store does.
    act!(bench, cache.delete("k").await)?;
    expect(&cache, "k", None).await?;
    let below = t.tree()?.with_path(&["g"])?;
    ensure!(below.get("k").await?.is_none(), "a deletion was not carried out");
    Ok(())
}

pub(super) async fn errors_of_the_call_are_none(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = cache_with(&bench, 1).await?;
    for kind in [ErrorKind::TooLarge, ErrorKind::InvalidKey, ErrorKind::Unsupported] {
        store.plan(Call::Set, 1, Fault::Fail(kind));
        let told = act!(bench, cache.set("k", &1).await);
        let told = told.err().and_then(|error| error.store_kind());
        ensure!(told == Some(kind), "a set that the store refuses gave {told:?}");
    }
    let failures = cache.space().stats().store_failures;
    ensure!(failures == 0, "{failures} refusals were counted as failures of the store");
    let long = "x".repeat(t.tree()?.with_path(&["g"])?.capabilities().max_key_len + 1);
    let told = cache.get_or_set(&long, 1_u32).await;
    ensure!(told.is_err(), "a load of a key that is too long gave {told:?}");
    let loads = cache.space().stats().loads;
    ensure!(loads == 0, "a key that the store refuses was loaded all the same");
    Ok(())
}
