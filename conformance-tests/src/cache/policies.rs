//! P1: policies, against plain and slow models.

use std::collections::BTreeSet;
use std::time::Duration;

use larder_cache::{Cache, CacheError, CacheScope, CacheSpace, Loaded, Policy, Refusal};
use larder_core::{ErrorKind, Expiry, Store, StoreExt};

use super::bench::{Bench, SECOND, act, at_rest, end, expect};
use super::model::{Model, Outcome};
use crate::random::{Random, Seeds};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// How long what has expired is retained where the store's contents are looked at.
const LONG: Duration = Duration::from_secs(1_000_000);
const PIN_AGE: Duration = Duration::from_secs(40);

/// The keys that the store holds in two scopes, live or retained.
async fn kept(t: &Trial) -> Verdict<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for (path, name) in [(&["g"][..], "g"), (&["g", "n"], "g/n")] {
        let scope = t.tree()?.with_path(path)?;
        let mut cursor = None;
        loop {
            let page = scope.list_page("", cursor.as_ref(), 1_000).await?;
            keys.extend(page.keys.into_iter().map(|key| format!("{name}:{key}")));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(keys)
}

/// Small numbers more often than large ones.
fn skewed(random: &mut Random, limit: usize) -> usize {
    let most = random.below(limit) + 1;
    random.below(most)
}

fn micros(random: &mut Random, limit: usize) -> Duration {
    Duration::from_micros(random.below(limit) as u64 + 1)
}

/// Does the same at random to a cache and to a model, and compares what is kept after every step.
async fn agrees(t: &Trial, policy: Policy, weighed: bool, seed: u64, steps: u32) -> Verdict {
    t.part();
    let bench = Bench::new(t);
    let capacity = policy.capacity().unwrap_or_default();
    let budget = capacity.div_ceil(2);
    bench.note(&format!("{policy:?}, {budget} pins at most, seed {seed}"));
    let space = bench
        .builder()
        .policy(policy)
        .pin_budget(budget)
        .pin_max_age(PIN_AGE)
        .retain_expired_for(LONG)
        .default_ttl(Expiry::Never)
        .build()
        .await?;
    space.clear(true).await?;
    let caches = [space.cache::<u32>(), space.cache::<u32>().with_scope("n")];
    let mut model = Model::new(policy, budget, PIN_AGE);
    let mut random = Random::new(seed);
    for step in 0..steps {
        bench.advance(micros(&mut random, 2_000_000)).await;
        let now = bench.now();
        let which = usize::from(random.once_in(3));
        let (cache, prefix) = (&caches[which], ["g", "g/n"][which]);
        let key = format!("k{}", skewed(&mut random, 14));
        let id = format!("{prefix}:{key}");
        let what = format!("step {step} of seed {seed} under {policy:?}");
        match random.below(100) {
            0..45 => {
                let weight = if weighed { random.below(5) as u64 + 1 } else { 1 };
                let pin = random.once_in(8);
                let ttl = random.once_in(3).then(|| micros(&mut random, 30_000_000));
                let mut set = cache.set(&key, &step).weight(weight);
                set = if pin { set.pin() } else { set };
                set = if let Some(ttl) = ttl { set.ttl(ttl) } else { set };
                bench.note(&format!("set of {id}: weight {weight}, pin {pin}, life {ttl:?}"));
                let done = set.await;
                let want = model.set(&id, weight, pin, ttl, now);
                let same = match &done {
                    Ok(()) => want == Outcome::Done,
                    Err(CacheError::Refused(_)) => want == Outcome::Refused,
                    Err(_) => false,
                };
                ensure!(same, "{what}: a set gave {done:?}, the model {want:?}");
            }
            45..75 => {
                bench.note(&format!("get of {id}"));
                let got = cache.get_value(&key).await?.is_some();
                let want = model.get(&id, now);
                ensure!(got == want, "{what}: get of {id} gave {got}, the model {want}");
            }
            75..82 => {
                bench.note(&format!("get and unpin of {id}"));
                let got = cache.get_and_unpin(&key).await?.is_some();
                let want = model.unpin(&id, now);
                ensure!(got == want, "{what}: unpinning {id} gave {got}, the model {want}");
            }
            82..90 => {
                bench.note(&format!("delete of {id}"));
                cache.delete(&key).await?;
                model.remove(|other| other == id);
            }
            90..94 => {
                bench.note(&format!("update_expiry of {id}"));
                let got = cache.update_expiry(&key, Expiry::After(SECOND * 9)).await.is_ok();
                let want = model.revive(&id, SECOND * 9, now);
                ensure!(got == want, "{what}: reviving {id} gave {got}, the model {want}");
            }
            94..97 => {
                bench.note(&format!("removal of what begins with {id}"));
                cache.remove_starting_with(&key).await?;
                model.remove(|other| other.starts_with(&id));
            }
            97 => {
                bench.note(&format!("clearing of {prefix}"));
                cache.clear().await?;
                let (scope, below) = (format!("{prefix}:"), format!("{prefix}/"));
                model.remove(|other| other.starts_with(&scope) || other.starts_with(&below));
            }
            _ => {
                bench.note(&format!("load of {id}"));
                let got = cache.get_or_set(&key, step).await?;
                if !model.get(&id, now) {
                    ensure!(got == step, "{what}: a load gave {got}");
                    model.set(&id, 1, false, None, now);
                }
            }
        }
        let stats = space.stats();
        let weight = stats.weight.unwrap_or(u64::MAX);
        ensure!(weight <= capacity, "{what}: {weight} is more than the capacity {capacity}");
        let (kept, want) = (kept(t).await?, model.keys());
        ensure!(kept == want, "{what}: the store keeps {kept:?}, the model {want:?}");
        let counted = (stats.entries, weight, stats.pinned);
        let want = (Some(want.len() as u64), model.weight(), model.pinned(now));
        ensure!(counted == want, "{what}: counted are {counted:?}, by the model {want:?}");
    }
    Ok(())
}

async fn all_agree(t: &Trial, policies: &[(Policy, bool)]) -> Verdict {
    for seed in Seeds::new(3, 200, t.random_budget()) {
        for (policy, weighed) in policies {
            agrees(t, *policy, *weighed, seed, 120).await?;
        }
    }
    Ok(())
}

pub(super) async fn lru_agrees_with_its_model(t: &Trial) -> Verdict {
    let lru = |max| Policy::Lru { max };
    all_agree(t, &[(lru(1), false), (lru(3), false), (lru(8), false), (lru(12), true)]).await
}

pub(super) async fn s3_fifo_agrees_with_its_model(t: &Trial) -> Verdict {
    let s3 = |max| Policy::S3Fifo { max };
    all_agree(t, &[(s3(1), false), (s3(5), false), (s3(10), false), (s3(16), true)]).await
}

pub(super) async fn most_recent_agrees_with_its_model(t: &Trial) -> Verdict {
    all_agree(t, &[(Policy::MostRecent, false)]).await
}

pub(super) async fn concurrent_writers_keep_to_the_capacity(t: &Trial) -> Verdict {
    for policy in [Policy::Lru { max: 4 }, Policy::S3Fifo { max: 4 }, Policy::MostRecent] {
        let bench = Bench::new(t);
        let space = bench.builder().policy(policy).build().await?;
        let cache = space.cache::<u32>();
        for round in 0..8_u64 {
            t.part();
            let writers: Vec<_> = (0..8_u64)
                .map(|writer| {
                    let cache = cache.clone();
                    tokio::spawn(async move {
                        let mut random = Random::new(round * 8 + writer);
                        for _ in 0..20 {
                            let key = format!("k{}", random.below(7));
                            match random.below(10) {
                                0 => drop(cache.delete(&key).await?.map(|_| ())),
                                1 => cache.clear().await?,
                                2 => {
                                    cache.get_or_set(&key, Loaded::new(1_u32)).await?;
                                }
                                3 => {
                                    cache.get_value(&key).await?;
                                }
                                _ => cache.set(&key, &1).await?,
                            }
                        }
                        Ok::<_, CacheError>(())
                    })
                })
                .collect();
            for writer in writers {
                end(writer).await??;
            }
            at_rest(&space).await;
            let kept = kept(t).await?.len() as u64;
            let capacity = policy.capacity().unwrap_or_default();
            ensure!(kept <= capacity, "{policy:?}: {kept} entries were left by 8 writers");
            let counted = space.stats().entries;
            ensure!(
                counted == Some(kept),
                "{policy:?}: of {kept} entries, {counted:?} are counted"
            );
        }
        act!(bench, cache.clear().await)?;
    }
    Ok(())
}

pub(super) async fn a_scan_does_not_push_out_what_is_used(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().policy(Policy::S3Fifo { max: 10 }).build().await?;
    let cache = space.cache::<u32>();
    for key in ["a", "b", "c"] {
        act!(bench, cache.set(key, &1).await)?;
        for _ in 0..3 {
            expect(&cache, key, Some(1)).await?;
        }
    }
    for number in 0..50 {
        cache.set(&format!("scan{number}"), &number).await?;
    }
    bench.note("50 keys are set that nobody reads");
    for key in ["a", "b", "c"] {
        expect(&cache, key, Some(1)).await?;
    }
    Ok(())
}

pub(super) async fn reopening_rebuilds_the_index(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().policy(Policy::Lru { max: 5 }).build().await?;
    let cache = space.cache::<u32>();
    for (key, scope) in [("a", ""), ("b", "x"), ("c", "x"), ("d", "y"), ("e", "")] {
        bench.advance(SECOND).await;
        let view = if scope.is_empty() { cache.clone() } else { cache.with_scope(scope) };
        let set = view.set(key, &1);
        if key == "a" { set.pin().await? } else { set.await? }
    }
    bench.note("a (pinned), x/b, x/c, y/d and e are set, one after the other");
    act!(bench, space.close().await)?;

    let view = t.reopen().await?;
    let tree = view.tree.ok_or_else(|| Stop::skip("the store has no namespaces"))?;
    let opened: Verdict = async {
        let builder = bench.builder_over(std::sync::Arc::clone(&tree));
        let space = builder.policy(Policy::Lru { max: 3 }).build().await?;
        let cache = space.cache::<u32>();
        let stats = space.stats();
        let counted = (stats.entries, stats.pinned, stats.evicted_by_capacity);
        let want = (Some(3), 1, 2);
        ensure!(counted == want, "entries, pinned, evicted: {counted:?} instead of {want:?}");
        let (x, y) = (cache.with_scope("x"), cache.with_scope("y"));
        expect(&x, "b", None).await?;
        expect(&x, "c", None).await?;
        expect(&y, "d", Some(1)).await?;
        expect(&cache, "a", Some(1)).await?;
        act!(bench, cache.set("f", &1).await)?;
        expect(&cache, "e", None).await?;
        expect(&y, "d", Some(1)).await?;
        expect(&cache, "a", Some(1)).await?;
        let entries = space.stats().entries;
        ensure!(entries == Some(3), "with a capacity of 3, {entries:?} entries are counted");
        Ok(())
    }
    .await;
    // Whatever was seen: the harness finds it closed, as it was.
    view.root.close().await?;
    opened
}

pub(super) async fn too_heavy_an_entry_is_refused(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().policy(Policy::Lru { max: 10 }).build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.set("a", &1).weight(4).await)?;
    act!(bench, cache.set("b", &1).weight(6).await)?;
    for key in ["c", "a"] {
        let told = act!(bench, cache.set(key, &2).weight(11).await);
        let refused = matches!(
            told,
            Err(CacheError::Refused(Refusal::TooHeavy { weight: 11, capacity: 10 }))
        );
        ensure!(refused, "an entry heavier than the whole cache gave {told:?}");
    }
    expect(&cache, "a", Some(1)).await?;
    expect(&cache, "b", Some(1)).await?;
    expect(&cache, "c", None).await?;
    // A load is not refused: it is only not stored.
    let space = bench.builder().policy(Policy::Lru { max: 100 }).weigh_by_size().build().await?;
    let texts = space.cache::<String>();
    let big = "x".repeat(1_000);
    let got = act!(bench, texts.get_or_set("big", big.clone()).await)?;
    ensure!(got == big, "a load too heavy to be kept gave {} bytes", got.len());
    let kept = act!(bench, texts.get_value("big").await)?;
    ensure!(kept.is_none(), "an entry heavier than the whole cache was kept");
    Ok(())
}

pub(super) async fn what_has_expired_goes_first(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().policy(Policy::Lru { max: 3 }).build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.set("old", &1).await)?;
    act!(bench, cache.set("a", &1).await)?;
    act!(bench, cache.set("short", &1).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    act!(bench, cache.set("b", &1).await)?;
    for key in ["old", "a", "b"] {
        expect(&cache, key, Some(1)).await?;
    }
    let gone = act!(bench, cache.update_expiry("short", None).await);
    ensure!(
        matches!(gone, Err(CacheError::NotFound)),
        "the expired entry is still there: {gone:?}"
    );
    Ok(())
}

pub(super) async fn a_fixed_life_runs_from_the_last_set(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().policy(Policy::Ttl { ttl: SECOND * 10 }).build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.set("k", &1).await)?;
    bench.advance(SECOND * 8).await;
    expect(&cache, "k", Some(1)).await?;
    act!(bench, cache.set("k", &2).await)?;
    bench.advance(SECOND * 8).await;
    expect(&cache, "k", Some(2)).await?;
    bench.advance(SECOND * 2).await;
    expect(&cache, "k", None).await?;
    act!(bench, cache.set("short", &1).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    expect(&cache, "short", None).await
}

pub(super) async fn each_scope_can_have_its_own(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let lru = Policy::Lru { max: 2 };
    let space = bench.builder().policy_per_scope(lru).build().await?;
    let cache = space.cache::<u32>();
    let scopes = [
        cache.clone(),
        cache.scoped(CacheScope::user("u")),
        cache.scoped(CacheScope::session("u")),
        cache.scoped(CacheScope::user("v")),
    ];
    for view in &scopes {
        for key in ["a", "b", "c"] {
            act!(bench, view.set(key, &1).await)?;
        }
        // What is nested counts as well.
        act!(bench, view.with_scope("n").set("d", &1).await)?;
    }
    for view in &scopes {
        expect(view, "a", None).await?;
        expect(view, "b", None).await?;
        expect(view, "c", Some(1)).await?;
        expect(&view.with_scope("n"), "d", Some(1)).await?;
    }
    let entries = space.stats().entries;
    ensure!(entries == Some(8), "in four scopes of two entries each, {entries:?} are counted");
    Ok(())
}

pub(super) async fn a_shared_store_wants_to_be_told(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let lru = Policy::Lru { max: 2 };
    let told = CacheSpace::builder(bench.handle()).policy(lru).build().await;
    let kind = told.err().and_then(|error| error.store_kind());
    let want = Some(ErrorKind::InvalidConfig);
    ensure!(kind == want, "a capacity over a shared store gave {kind:?}");
    for policy in [Policy::KeepAll, Policy::Ttl { ttl: SECOND }] {
        let told = CacheSpace::builder(bench.handle()).policy(policy).build().await;
        ensure!(told.is_ok(), "{policy:?} over a shared store gave {told:?}");
    }
    let others = CacheSpace::builder(bench.handle()).build().await?.cache::<u32>();
    for key in ["x", "y", "z"] {
        act!(bench, others.set(key, &1).await)?;
    }
    let own = CacheSpace::builder(bench.handle()).policy(lru).per_process().build().await?;
    let own: Cache<u32> = own.cache();
    for key in ["a", "b", "c"] {
        act!(bench, own.set(key, &1).await)?;
    }
    let listed: Vec<String> = others.list().await?.into_iter().map(|it| it.key).collect();
    ensure!(
        listed == ["b", "c", "x", "y", "z"],
        "of this process's two and others', {listed:?} stay"
    );
    Ok(())
}

pub(super) async fn without_listing_a_capacity_is_refused(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let told = bench.builder().policy(Policy::Lru { max: 2 }).build().await;
    let kind = told.err().and_then(|error| error.store_kind());
    let want = Some(ErrorKind::InvalidConfig);
    ensure!(kind == want, "a capacity over a store that cannot list gave {kind:?}");
    let own = bench.builder().policy(Policy::Lru { max: 2 }).per_process().build().await?;
    let cache = own.cache::<u32>();
    for key in ["a", "b", "c"] {
        act!(bench, cache.set(key, &1).await)?;
    }
    expect(&cache, "a", None).await?;
    expect(&cache, "b", Some(1)).await?;
    expect(&cache, "c", Some(1)).await
}

pub(super) async fn impossible_ones_are_refused(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    for policy in
        [Policy::Lru { max: 0 }, Policy::S3Fifo { max: 0 }, Policy::Ttl { ttl: Duration::ZERO }]
    {
        let told = bench.builder().policy(policy).build().await;
        let kind = told.err().and_then(|error| error.store_kind());
        let want = Some(ErrorKind::InvalidConfig);
        ensure!(kind == want, "{policy:?} gave {kind:?}");
    }
    // Nothing was changed by asking.
    ensure!(t.store().get("k").await?.is_none(), "building a cache has written something");
    Ok(())
}
