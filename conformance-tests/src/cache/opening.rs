//! V5: opening and closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use larder_cache::{CacheError, CacheResult, CacheStoreHandle};
use larder_core::ErrorKind;
use larder_core::testing::{Call, Fault};

use super::bench::{Bench, Gate, act, at_rest, end, expect, others, until};
use crate::trial::Trial;
use crate::verdict::{Verdict, ensure};

fn is_closed<V>(result: &CacheResult<V>) -> bool {
    result.as_ref().err().and_then(CacheError::store_kind) == Some(ErrorKind::Closed)
}

pub(super) async fn a_borrowed_store_is_left_open(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.set("k", &1).await)?;
    act!(bench, cache.space().close().await)?;
    act!(bench, cache.space().close().await)?;
    for told in [
        act!(bench, cache.get("k").await.map(|_| ())),
        act!(bench, cache.set("k", &2).await),
        act!(bench, cache.get_or_set("k", 2_u32).await.map(|_| ())),
        act!(bench, cache.set_pending("k").await.map(|_| ())),
        act!(bench, cache.lock("k").await.map(|_| ())),
    ] {
        ensure!(is_closed(&told), "a call on a space that is closed gave {told:?}");
    }
    let other = bench.numbers().await?;
    expect(&other, "k", Some(1)).await?;
    act!(bench, cache.space().connect().await)?;
    act!(bench, cache.space().connect().await)?;
    expect(&cache, "k", Some(1)).await
}

pub(super) async fn closing_ends_what_waits(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let gate = Gate::new();
    let loading = bench.load(&cache, "loaded", &gate, 1);
    gate.reached(1).await;
    let promise = act!(bench, cache.set_pending("promised").await)?;
    let waiters = bench.waiters(&cache, "promised", 2).await?;
    act!(bench, cache.space().close().await)?;
    let got = end(loading).await?;
    ensure!(matches!(got, Err(CacheError::ShutDown)), "a load's caller got {got:?}");
    for waiter in waiters {
        let got = end(waiter).await?;
        ensure!(matches!(got, Err(CacheError::Abandoned)), "one who waited got {got:?}");
    }
    let late = act!(bench, promise.resolve(1_u32).await.map(|_| ()));
    ensure!(late.is_err(), "a promise was kept in a space that is closed");
    gate.open();
    act!(bench, cache.space().connect().await)?;
    at_rest(cache.space()).await;
    expect(&cache, "loaded", None).await?;
    expect(&cache, "promised", None).await
}

pub(super) async fn closing_waits_for_calls_in_progress(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = bench.faulty_numbers().await?;
    store.plan(Call::Set, 1, Fault::Hang);
    let setting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("k", &1).await }
    });
    store.hanging(1).await;
    bench.note("a set hangs in the store, and its caller goes away");
    setting.abort();
    let _ = setting.await;
    let closing = tokio::spawn({
        let space = cache.space().clone();
        async move { space.close().await }
    });
    others().await;
    ensure!(
        !closing.is_finished(),
        "closing did not wait for a set that the store is carrying out"
    );
    bench.note("the store answers");
    store.release();
    end(closing).await??;
    act!(bench, cache.space().connect().await)?;
    expect(&cache, "k", Some(1)).await
}

pub(super) async fn a_session_closes_however_it_ends(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let opened = Arc::new(AtomicUsize::new(0));
    let handle = {
        let (tree, opened) = (t.tree()?, Arc::clone(&opened));
        // The trial's own store must stay open: each session borrows it.
        CacheStoreHandle::opened_by(move || {
            opened.fetch_add(1, SeqCst);
            let tree = tree.with_path(&["session"]);
            async move { tree }
        })
    };
    let space = larder_cache::CacheSpace::new(handle);
    let cache = space.cache::<u32>();
    ensure!(is_closed(&cache.get("k").await), "a space that was never opened is not `Closed`");
    let sum = space.session(async |space| space.cache::<u32>().get_or_set("k", 3_u32).await).await;
    let sum = act!(bench, sum)??;
    ensure!(sum == 3, "a load in a session gave {sum}");
    ensure!(is_closed(&cache.get("k").await), "after its session the space is open");

    let failed = act!(bench, space.session(async |_| Err::<(), _>("no")).await)?;
    ensure!(failed == Err("no"), "a session that fails gave {failed:?}");
    ensure!(is_closed(&cache.get("k").await), "after a session that failed the space is open");

    let panicking = tokio::spawn({
        let space = space.clone();
        async move {
            space.session(async |_| -> () { std::panic::resume_unwind(Box::new("planned")) }).await
        }
    });
    let panicked = panicking.await.is_err_and(|error| error.is_panic());
    ensure!(panicked, "a panic in a session got lost");
    ensure!(is_closed(&cache.get("k").await), "after a session that panicked the space is open");

    let before = opened.load(SeqCst);
    let entered = Gate::new();
    let cancelled = tokio::spawn({
        let (space, entered) = (space.clone(), entered.clone());
        async move { space.session(async |_| entered.pass().await).await }
    });
    entered.reached(1).await;
    ensure!(cache.get("k").await.is_ok(), "in a session, a get failed");
    ensure!(opened.load(SeqCst) == before + 1, "entering a session did not open the store");
    bench.note("a session is cancelled");
    cancelled.abort();
    let _ = cancelled.await;
    ensure!(
        is_closed(&cache.get("k").await),
        "after a session that was cancelled the space is open"
    );
    until(|| space.stats().active_keys == 0).await;
    Ok(())
}
