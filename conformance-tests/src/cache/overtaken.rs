//! F2: a load that was overtaken is never stored, whatever overtook it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use larder_cache::{Cache, CacheScope, Loaded};
use larder_core::testing::{Call, Fault};
use larder_core::{ErrorKind, Expiry};

use super::bench::{Bench, Gate, SECOND, act, at_rest, end, expect, others};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// The number that the overtaken load gives.
const OLD: u32 = 1;

/// Starts a load of `k`, lets `winner` do its work meanwhile, and gives what the load's caller and one
/// who joined him got, once everything has come to rest.
async fn race(
    bench: &Bench<'_>,
    cache: &Cache<u32>,
    winner: impl AsyncFnOnce() -> Verdict,
) -> Verdict<[Option<u32>; 2]> {
    let gate = Gate::new();
    let loading = bench.load(cache, "k", &gate, OLD);
    gate.reached(1).await;
    let waiting = bench.waiters(cache, "k", 1).await?;
    let won = winner().await;
    bench.note("the load ends");
    gate.open();
    won?;
    let first = end(loading).await??;
    let mut second = None;
    for waiter in waiting {
        second = end(waiter).await??;
    }
    at_rest(cache.space()).await;
    Ok([Some(first), second])
}

/// Sees that the load that `winner` overtakes is given to those who wait, and is not stored.
async fn is_removed(
    t: &Trial,
    winner: impl AsyncFnOnce(&Bench<'_>, &Cache<u32>) -> Verdict,
) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?.with_scope("below");
    act!(bench, cache.delete("k").await)?;
    let got = race(&bench, &cache, async || winner(&bench, &cache).await).await?;
    ensure!(got == [Some(OLD); 2], "those who waited for the overtaken load got {got:?}");
    expect(&cache, "k", None).await?;
    let anew = act!(bench, cache.get_or_set("k", 3_u32).await)?;
    ensure!(anew == 3, "after that, a caller who loads 3 got {anew}");
    Ok(())
}

pub(super) async fn by_a_set(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let gate = Gate::new();
    let loading = bench.load(&cache, "k", &gate, OLD);
    gate.reached(1).await;
    let waiting = bench.waiters(&cache, "k", 3).await?;
    act!(bench, cache.set("k", &2).await)?;
    // The loader is still held: whoever waited must not have to wait for it.
    let got = end(loading).await??;
    ensure!(got == 2, "the load's caller got {got} instead of what was set meanwhile");
    for waiter in waiting {
        let got = end(waiter).await??;
        ensure!(got == Some(2), "a waiter got {got:?} instead of what was set meanwhile");
    }
    bench.note("the load ends");
    gate.open();
    at_rest(cache.space()).await;
    expect(&cache, "k", Some(2)).await
}

pub(super) async fn by_a_deletion(t: &Trial) -> Verdict {
    is_removed(t, async |bench, cache| {
        act!(bench, cache.delete("k").await)?;
        Ok(())
    })
    .await
}

pub(super) async fn by_a_removal(t: &Trial) -> Verdict {
    is_removed(t, async |bench, cache| {
        act!(bench, cache.remove(["other", "k"]).await)?;
        Ok(())
    })
    .await
}

pub(super) async fn by_a_prefix_removal(t: &Trial) -> Verdict {
    is_removed(t, async |bench, cache| {
        act!(bench, cache.remove_starting_with("k").await)?;
        Ok(())
    })
    .await?;
    is_removed(t, async |bench, cache| {
        act!(bench, cache.remove_starting_with("").await)?;
        Ok(())
    })
    .await
}

pub(super) async fn by_clearing_its_scope(t: &Trial) -> Verdict {
    is_removed(t, async |bench, cache| Ok(act!(bench, cache.clear().await)?)).await
}

pub(super) async fn by_clearing_an_outer_scope(t: &Trial) -> Verdict {
    is_removed(t, async |bench, cache| {
        let outer = cache.scoped(CacheScope::Global);
        Ok(act!(bench, outer.clear().await)?)
    })
    .await
}

pub(super) async fn by_clearing_everything(t: &Trial) -> Verdict {
    is_removed(t, async |bench, cache| Ok(act!(bench, cache.space().clear(true).await)?)).await
}

pub(super) async fn by_a_set_that_is_over_at_once(t: &Trial) -> Verdict {
    is_removed(t, async |bench, cache| {
        act!(bench, cache.set("k", &OLD).ttl(Duration::ZERO).await)?;
        Ok(())
    })
    .await
}

pub(super) async fn by_a_set_that_has_expired_since(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let got = race(&bench, &cache, async || {
        act!(bench, cache.set("k", &2).ttl(SECOND).await)?;
        bench.advance(SECOND).await;
        Ok(())
    })
    .await?;
    ensure!(got == [Some(2); 2], "those who waited got {got:?} instead of what was set");
    expect(&cache, "k", None).await
}

pub(super) async fn by_a_set_that_was_evicted_since(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let policy = larder_cache::Policy::Lru { max: 2 };
    let cache = bench.builder().policy(policy).build().await?.cache::<u32>();
    let got = race(&bench, &cache, async || {
        for key in ["k", "a", "b"] {
            act!(bench, cache.set(key, &2).await)?;
        }
        Ok(())
    })
    .await?;
    ensure!(got == [Some(2); 2], "those who waited got {got:?} instead of what was set");
    expect(&cache, "k", None).await?;
    expect(&cache, "a", Some(2)).await?;
    expect(&cache, "b", Some(2)).await
}

pub(super) async fn not_by_an_eviction_of_the_old_value(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let policy = larder_cache::Policy::Lru { max: 2 };
    let cache = bench.builder().policy(policy).build().await?.cache::<u32>();
    act!(bench, cache.set("k", &9).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    let got = race(&bench, &cache, async || {
        for key in ["a", "b", "c"] {
            act!(bench, cache.set(key, &2).await)?;
        }
        Ok(())
    })
    .await?;
    ensure!(got == [Some(OLD); 2], "those who waited got {got:?} instead of what was loaded");
    expect(&cache, "k", Some(OLD)).await?;
    let entries = cache.space().stats().entries;
    ensure!(entries == Some(2), "with a capacity of 2, {entries:?} entries are counted");
    Ok(())
}

pub(super) async fn by_a_change_of_expiry(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    act!(bench, cache.set("k", &7).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    let got = race(&bench, &cache, async || {
        act!(bench, cache.update_expiry("k", Expiry::After(SECOND * 9)).await)?;
        Ok(())
    })
    .await?;
    ensure!(got == [Some(7); 2], "those who waited got {got:?} instead of the revived value");
    expect(&cache, "k", Some(7)).await
}

pub(super) async fn by_a_promise(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let gate = Gate::new();
    let loading = bench.load(&cache, "k", &gate, OLD);
    gate.reached(1).await;
    let promise = act!(bench, cache.set_pending("k").await)?;
    bench.note("the load ends");
    gate.open();
    let got = end(loading).await??;
    ensure!(got == OLD, "the load's caller got {got}");
    expect(&cache, "k", None).await?;
    act!(bench, promise.resolve(2_u32).await)?;
    at_rest(cache.space()).await;
    expect(&cache, "k", Some(2)).await
}

pub(super) async fn by_a_set_under_a_lock(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let got = race(&bench, &cache, async || {
        let mut held = act!(bench, cache.getset("k").await)?;
        act!(bench, held.set(&2).await)?;
        Ok(())
    })
    .await?;
    ensure!(got == [Some(2); 2], "those who waited got {got:?} instead of what was set");
    expect(&cache, "k", Some(2)).await
}

pub(super) async fn by_a_write_of_another_type(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let texts = cache.space().clone().cache::<String>();
    let got = race(&bench, &cache, async || {
        act!(bench, texts.set("k", &"seven".to_owned()).await)?;
        Ok(())
    })
    .await?;
    ensure!(got[0] == Some(OLD), "the load's caller got {got:?} instead of what was loaded");
    let left = act!(bench, texts.get_value("k").await)?;
    ensure!(left.as_deref() == Some("seven"), "the text that was set has become {left:?}");
    Ok(())
}

pub(super) async fn however_long_ago_it_began(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let gate = Gate::new();
    let loading = bench.load(&cache, "k", &gate, OLD);
    gate.reached(1).await;
    for round in 2..60_u32 {
        act!(bench, cache.set("k", &round).await)?;
        let deleted = act!(bench, cache.delete("k").await)?;
        ensure!(deleted == Some(round), "delete gave {deleted:?} for {round}");
        let other = Loaded::new(round).do_not_store();
        let other = act!(bench, cache.get_or_set("k", other).await)?;
        ensure!(other == round, "a later load of {round} gave {other}");
        bench.advance(SECOND).await;
    }
    bench.note("the load ends");
    gate.open();
    let got = end(loading).await??;
    ensure!(got == 2, "the load's caller got {got} instead of what was set first");
    at_rest(cache.space()).await;
    expect(&cache, "k", None).await
}

pub(super) async fn not_by_what_happens_to_other_keys(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let outside = bench.numbers().await?;
    let cache = outside.with_scope("here");
    let got = race(&bench, &cache, async || {
        act!(bench, cache.delete("other").await)?;
        act!(bench, cache.remove_starting_with("kk").await)?;
        act!(bench, cache.with_scope("deeper").clear().await)?;
        act!(bench, outside.with_scope("her").clear().await)?;
        act!(bench, outside.remove_starting_with("").await)?;
        act!(bench, outside.set("k", &5).await)?;
        act!(bench, outside.scoped(CacheScope::user("here")).clear().await)?;
        act!(bench, cache.clear_keeping_pending().await)?;
        Ok(())
    })
    .await?;
    ensure!(got == [Some(OLD); 2], "those who waited got {got:?}");
    expect(&cache, "k", Some(OLD)).await
}

pub(super) async fn its_error_is_not_remembered(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.builder().negative_ttl(SECOND).build().await?.cache::<u32>();
    let gate = Gate::new();
    let failing = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let loader = async move |_| {
                gate.pass().await;
                Err::<u32, _>("down")
            };
            cache.get_or_try_set_with("k", loader).await
        }
    });
    gate.reached(1).await;
    act!(bench, cache.delete("k").await)?;
    bench.note("the load fails");
    gate.open();
    let failed = end(failing).await?;
    ensure!(failed.is_err(), "a load that failed gave {failed:?}");
    let got = act!(bench, cache.get_or_set("k", 2_u32).await)?;
    ensure!(got == 2, "a later load of 2 gave {got}");
    Ok(())
}

/// What comes between, when the store takes its time.
const WINNERS: [&str; 4] = ["set", "delete", "clear", "prefix"];

fn win(
    bench: &Bench<'_>,
    cache: &Cache<u32>,
    how: &'static str,
) -> tokio::task::JoinHandle<Verdict> {
    bench.note(&format!("meanwhile: {how} of \"k\""));
    let cache = cache.clone();
    tokio::spawn(async move {
        match how {
            "set" => cache.set("k", &2).await?,
            "delete" => drop(cache.delete("k").await?),
            "clear" => cache.clear().await?,
            _ => drop(cache.remove_starting_with("k").await?.to_string()),
        }
        Ok(())
    })
}

pub(super) async fn while_its_value_is_being_stored(t: &Trial) -> Verdict {
    for how in WINNERS {
        let bench = Bench::new(t);
        let (store, cache) = bench.faulty_numbers().await?;
        act!(bench, cache.clear().await)?;
        store.plan(Call::Set, 1, Fault::Hang);
        let gate = Gate::new();
        gate.open();
        let loading = bench.load(&cache, "k", &gate, OLD);
        store.hanging(1).await;
        let winner = win(&bench, &cache, how);
        others().await;
        ensure!(!winner.is_finished(), "a {how} did not wait for the value being stored");
        bench.note("the store answers");
        store.release();
        end(winner).await??;
        end(loading).await??;
        at_rest(cache.space()).await;
        expect(&cache, "k", (how == "set").then_some(2)).await?;
    }
    Ok(())
}

pub(super) async fn by_one_that_is_being_carried_out(t: &Trial) -> Verdict {
    for how in WINNERS {
        let bench = Bench::new(t);
        let (store, cache) = bench.faulty_numbers().await?;
        act!(bench, cache.clear().await)?;
        let gate = Gate::new();
        let loading = bench.load(&cache, "k", &gate, OLD);
        gate.reached(1).await;
        store.plan(Call::Set, 1, Fault::Hang);
        store.plan(Call::Delete, 1, Fault::Hang);
        store.plan(Call::Clear, 1, Fault::Hang);
        let winner = win(&bench, &cache, how);
        store.hanging(1).await;
        bench.note("the load ends");
        gate.open();
        others().await;
        bench.note("the store answers");
        store.heal();
        store.release();
        end(winner).await??;
        end(loading).await??;
        at_rest(cache.space()).await;
        expect(&cache, "k", (how == "set").then_some(2)).await?;
    }
    Ok(())
}

pub(super) async fn by_one_whose_caller_has_gone(t: &Trial) -> Verdict {
    for how in ["set", "delete"] {
        let bench = Bench::new(t);
        let (store, cache) = bench.faulty_numbers().await?;
        act!(bench, cache.clear().await)?;
        let gate = Gate::new();
        let loading = bench.load(&cache, "k", &gate, OLD);
        gate.reached(1).await;
        store.plan(Call::Set, 1, Fault::Hang);
        store.plan(Call::Delete, 1, Fault::Hang);
        let winner = win(&bench, &cache, how);
        store.hanging(1).await;
        bench.note("its caller goes away");
        winner.abort();
        let _ = winner.await;
        bench.note("the load ends");
        gate.open();
        others().await;
        bench.note("the store answers");
        store.heal();
        store.release();
        end(loading).await??;
        at_rest(cache.space()).await;
        expect(&cache, "k", (how == "set").then_some(2)).await?;
        act!(bench, cache.set("k", &9).await)?;
    }
    Ok(())
}

pub(super) async fn by_one_whose_outcome_is_unknown(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = bench.faulty_numbers().await?;
    let got = race(&bench, &cache, async || {
        store.plan(Call::Set, 1, Fault::LoseAnswer);
        let error = act!(bench, cache.set("k", &2).await);
        let kind = error.err().and_then(|error| error.store_kind());
        ensure!(kind == Some(ErrorKind::Unknown), "a set whose answer is lost gave {kind:?}");
        Ok(())
    })
    .await?;
    ensure!(got == [Some(OLD); 2], "those who waited got {got:?} instead of what was loaded");
    expect(&cache, "k", Some(2)).await
}

pub(super) async fn in_no_interleaving(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    for round in 0..60_u32 {
        t.part();
        let source = Arc::new(AtomicU32::new(round));
        let mut readers = Vec::new();
        for reader in 0..6 {
            let (cache, source) = (cache.clone(), Arc::clone(&source));
            readers.push(tokio::spawn(async move {
                for _ in 0..3 {
                    let source = Arc::clone(&source);
                    let loader = async move |_| {
                        let value = source.load(SeqCst);
                        for _ in 0..reader {
                            tokio::task::yield_now().await;
                        }
                        value
                    };
                    cache.get_or_set_with("k", loader).await?;
                }
                Ok::<_, Stop>(())
            }));
        }
        for change in 1..4 {
            source.store(round + change * 1_000, SeqCst);
            match change {
                1 => drop(act!(bench, cache.delete("k").await)?),
                2 => act!(bench, cache.clear().await)?,
                _ => drop(act!(bench, cache.remove_starting_with("").await)?.to_string()),
            }
        }
        for reader in readers {
            end(reader).await??;
        }
        at_rest(cache.space()).await;
        let left = cache.get_value("k").await?;
        ensure!(
            left.is_none_or(|left| left == round + 3_000),
            "after its source has become {}, the cache keeps {left:?}",
            round + 3_000
        );
        act!(bench, cache.clear().await)?;
    }
    Ok(())
}
