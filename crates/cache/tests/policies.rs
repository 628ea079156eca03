//! P1: policies against plain, slow models, over several backends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod model;

use std::sync::Arc;
use std::time::Duration;

use common::{Gate, SECOND, builder, kept, load, memory, settle};
use larder_cache::{Cache, CacheError, CacheScope, CacheSpace, Loaded, Policy, Refusal};
use larder_core::{Clock, ErrorKind, ExpiresIn, Expiry, ManualClock, NamespacedStore};
use larder_file::FileStore;
use larder_memory::MemoryStore;
use larder_sled::SledStore;
use model::{Model, Outcome, Random};

/// Does the same at random to a cache and to a model, and compares what is kept after every step.
async fn agrees_with_its_model(
    store: Arc<dyn NamespacedStore>,
    clock: ManualClock,
    policy: Policy,
    weighed: bool,
    seed: u64,
    steps: u32,
) {
    let budget = policy.capacity().unwrap().div_ceil(2);
    let space = builder(store.clone(), &clock)
        .policy(policy)
        .sole_owner()
        .pin_budget(budget)
        .pin_max_age(SECOND * 40)
        .retain_expired_for(SECOND * 1_000_000)
        .default_ttl(Expiry::Never)
        .build()
        .await
        .unwrap();
    let caches = [space.cache::<u32>(), space.cache::<u32>().with_scope("n")];
    let prefixes = ["g", "g/n"];
    let mut model = Model::new(policy, budget, SECOND * 40);
    let mut random = Random::new(seed);
    for step in 0..steps {
        clock.advance(Duration::from_micros(u64::from(random.below(2_000_000)) + 1));
        let now = clock.now();
        let which = usize::from(random.below(3) == 0);
        let (cache, prefix) = (&caches[which], prefixes[which]);
        let key = format!("k{}", random.skewed(14));
        let id = format!("{prefix}:{key}");
        match random.below(100) {
            0..45 => {
                let weight = if weighed { u64::from(random.below(5)) + 1 } else { 1 };
                let pin = random.below(8) == 0;
                let ttl = (random.below(3) == 0)
                    .then(|| Duration::from_micros(u64::from(random.below(30_000_000)) + 1));
                let mut set = cache.set(&key, &step).weight(weight);
                if pin {
                    set = set.pin();
                }
                if let Some(ttl) = ttl {
                    set = set.ttl(ttl);
                }
                let done = set.await;
                let expected = model.set(&id, weight, pin, ttl, now);
                match (done, expected) {
                    (Ok(()), Outcome::Done) => {}
                    (Err(CacheError::Refused(refusal)), Outcome::Refused) => {
                        let fits = matches!(refusal, Refusal::PinBudget { .. });
                        assert!(fits || weighed, "{refusal:?}");
                    }
                    (done, expected) => panic!("step {step}: {done:?} where {expected:?}"),
                }
            }
            45..75 => {
                let got = cache.get_value(&key).await.unwrap();
                assert_eq!(got.is_some(), model.get(&id, now), "step {step}: get {id}");
            }
            75..82 => {
                let got = cache.get_and_unpin(&key).await.unwrap();
                assert_eq!(got.is_some(), model.unpin(&id, now), "step {step}: unpin {id}");
            }
            82..90 => {
                cache.delete(&key).await.unwrap();
                model.remove(|other| other == id);
            }
            90..94 => {
                let revived = cache.update_expiry(&key, Expiry::After(SECOND * 9)).await;
                let known = model.revive(&id, SECOND * 9, now);
                assert_eq!(revived.is_ok(), known, "step {step}: revive {id}");
            }
            94..97 => {
                cache.remove_starting_with(&key).await.unwrap();
                model.remove(|other| other.starts_with(&id));
            }
            97 => {
                cache.clear().await.unwrap();
                let (scope, below) = (format!("{prefix}:"), format!("{prefix}/"));
                model.remove(|other| other.starts_with(&scope) || other.starts_with(&below));
            }
            _ => {
                let loaded = cache.get_or_set(&key, step).await.unwrap();
                if !model.get(&id, now) {
                    assert_eq!(loaded, step);
                    model.set(&id, 1, false, None, now);
                }
            }
        }
        assert_eq!(kept(&store).await, model.keys(), "step {step} of seed {seed}");
        let stats = space.stats();
        assert_eq!(stats.entries, Some(model.keys().len() as u64), "step {step}");
        assert_eq!(stats.weight, Some(model.weight()), "step {step}");
        assert!(stats.weight.unwrap() <= policy.capacity().unwrap(), "step {step}");
        assert_eq!(stats.pinned, model.pinned(now), "step {step}");
    }
}

#[tokio::test]
async fn lru_agrees_with_its_model() {
    for seed in 0..15 {
        for (max, weighed) in [(1, false), (3, false), (8, false), (12, true)] {
            let (store, clock) = memory();
            agrees_with_its_model(store, clock, Policy::Lru { max }, weighed, seed, 300).await;
        }
    }
}

#[tokio::test]
async fn s3_fifo_agrees_with_its_model() {
    for seed in 0..15 {
        for (max, weighed) in [(1, false), (5, false), (10, false), (16, true)] {
            let (store, clock) = memory();
            agrees_with_its_model(store, clock, Policy::S3Fifo { max }, weighed, seed, 300).await;
        }
    }
}

#[tokio::test]
async fn most_recent_agrees_with_an_lru_of_one() {
    for seed in 0..20 {
        let (store, clock) = memory();
        agrees_with_its_model(store, clock, Policy::MostRecent, false, seed, 200).await;
    }
}

#[tokio::test]
async fn files_and_sled_agree_with_the_models_too() {
    for policy in [Policy::Lru { max: 4 }, Policy::S3Fifo { max: 6 }] {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let file = FileStore::builder(folder.path().join("f")).clock(clock.clone()).build();
        agrees_with_its_model(Arc::new(file.await.unwrap()), clock.clone(), policy, false, 1, 150)
            .await;
        let sled = SledStore::builder(folder.path().join("s")).clock(clock.clone()).build();
        let sled = sled.await.unwrap();
        agrees_with_its_model(Arc::new(sled.clone()), clock, policy, false, 2, 150).await;
        larder_core::Store::close(&sled).await.unwrap();
    }
}

/// Fills a cache, opens its store again, and looks at what the new policy makes of it.
async fn is_rebuilt(open: impl AsyncFn() -> Arc<dyn NamespacedStore>, clock: &ManualClock) {
    let lru = |store, max| builder(store, clock).policy(Policy::Lru { max }).sole_owner().build();
    let store = open().await;
    let cache = lru(store.clone(), 5).await.unwrap().cache::<u32>();
    for (number, scope) in (0..5).zip(["", "x", "x", "y", ""]) {
        clock.advance(SECOND);
        let cache = if scope.is_empty() { cache.clone() } else { cache.with_scope(scope) };
        let set = cache.set(["a", "b", "c", "d", "e"][number], &1);
        if number == 0 { set.pin().await.unwrap() } else { set.await.unwrap() }
    }
    store.close().await.unwrap();

    let store = open().await;
    let space = lru(store.clone(), 3).await.unwrap();
    let cache = space.cache::<u32>();
    let stats = space.stats();
    assert_eq!((stats.entries, stats.pinned, stats.evicted_by_capacity), (Some(3), 1, 2));
    let (x, y) = (cache.with_scope("x"), cache.with_scope("y"));
    assert_eq!(x.get_value("b").await.unwrap(), None, "the least recent go");
    assert_eq!(x.get_value("c").await.unwrap(), None);
    assert_eq!(y.get_value("d").await.unwrap(), Some(1));
    assert_eq!(cache.get_value("a").await.unwrap(), Some(1), "pinned");
    cache.set("f", &1).await.unwrap();
    assert_eq!(cache.get_value("e").await.unwrap(), None);
    assert_eq!(space.stats().entries, Some(3));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_reopened_store_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let open_file = async || {
        let store = FileStore::builder(folder.path().join("f")).clock(clock.clone()).build();
        Arc::new(store.await.unwrap()) as Arc<dyn NamespacedStore>
    };
    is_rebuilt(open_file, &clock).await;
    let open_sled = async || {
        let store = SledStore::builder(folder.path().join("s")).clock(clock.clone()).build();
        Arc::new(store.await.unwrap()) as Arc<dyn NamespacedStore>
    };
    is_rebuilt(open_sled, &clock).await;
}

#[tokio::test]
async fn a_shared_store_wants_to_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn NamespacedStore> =
        Arc::new(FileStore::builder(folder.path().join("f")).build().await.unwrap());
    assert!(store.capabilities().shared);
    let lru = Policy::Lru { max: 2 };
    let refused = CacheSpace::builder(store.clone()).policy(lru).build().await.unwrap_err();
    assert_eq!(refused.store_kind(), Some(ErrorKind::InvalidConfig));
    for policy in [Policy::KeepAll, Policy::Ttl { ttl: SECOND }] {
        CacheSpace::builder(store.clone()).policy(policy).build().await.unwrap();
    }
    let other = CacheSpace::builder(store.clone()).build().await.unwrap().cache::<u32>();
    for key in ["x", "y", "z"] {
        other.set(key, &1).await.unwrap();
    }
    let own = CacheSpace::builder(store).policy(lru).per_process().build().await.unwrap();
    let cache = own.cache::<u32>();
    for key in ["a", "b", "c"] {
        cache.set(key, &1).await.unwrap();
    }
    assert_eq!(other.list().await.unwrap().len(), 5, "what others wrote is not counted");
    assert_eq!(cache.get_value("a").await.unwrap(), None);
}

#[tokio::test]
async fn bad_policies_are_refused_when_built() {
    let (store, clock) = memory();
    for policy in
        [Policy::Lru { max: 0 }, Policy::S3Fifo { max: 0 }, Policy::Ttl { ttl: Duration::ZERO }]
    {
        let error = builder(store.clone(), &clock).policy(policy).build().await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::InvalidConfig));
    }
}

#[tokio::test]
async fn every_read_is_a_use() {
    for how in ["get", "value", "strict", "unpin", "load"] {
        let (store, clock) = memory();
        let space = builder(store, &clock).policy(Policy::Lru { max: 2 }).build().await.unwrap();
        let cache = space.cache::<u32>();
        cache.set("used", &1).await.unwrap();
        cache.set("other", &1).await.unwrap();
        let found = match how {
            "get" => cache.get("used").await.unwrap().is_some(),
            "value" => cache.get_value("used").await.unwrap().is_some(),
            "strict" => cache.get_strict("used").await.unwrap().is_some(),
            "unpin" => cache.get_and_unpin("used").await.unwrap().is_some(),
            _ => cache.get_or_set("used", 2_u32).await.unwrap() == 1,
        };
        assert!(found, "{how}");
        cache.set("new", &1).await.unwrap();
        assert!(cache.get("used").await.unwrap().is_some(), "{how}");
    }
}

#[tokio::test]
async fn a_fixed_time_to_live_runs_from_the_last_set() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Ttl { ttl: SECOND * 10 }).build().await;
    let cache = space.unwrap().cache::<u32>();
    cache.set("k", &1).await.unwrap();
    clock.advance(SECOND * 8);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1), "a get does not renew");
    cache.set("k", &2).await.unwrap();
    clock.advance(SECOND * 8);
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2), "not gone at its first deadline");
    clock.advance(SECOND * 2);
    assert_eq!(cache.get_value("k").await.unwrap(), None);
    cache.set("short", &1).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    assert_eq!(cache.get_value("short").await.unwrap(), None);
    cache.update_expiry("short", None).await.unwrap();
    let revived = cache.get("short").await.unwrap().unwrap();
    assert_eq!(revived.expires_in(), ExpiresIn::In(SECOND * 10), "the policy's, like a set");
}

#[tokio::test]
async fn a_policy_per_scope_has_its_capacity_in_each() {
    let (store, clock) = memory();
    let lru = Policy::Lru { max: 2 };
    let space = builder(store.clone(), &clock).policy_per_scope(lru).build().await.unwrap();
    let cache = space.cache::<u32>();
    let scopes = [
        cache.clone(),
        cache.scoped(CacheScope::user("u")),
        cache.scoped(CacheScope::session("u")),
        cache.scoped(CacheScope::user("v")),
    ];
    for view in &scopes {
        for key in ["a", "b", "c"] {
            view.set(key, &1).await.unwrap();
        }
        view.with_scope("nested").set("d", &1).await.unwrap();
    }
    for view in &scopes {
        assert_eq!(view.get_value("b").await.unwrap(), None, "nested scopes count as well");
        assert_eq!(view.get_value("c").await.unwrap(), Some(1));
    }
    assert_eq!(space.stats().entries, Some(8));
    scopes[1].clear().await.unwrap();
    assert_eq!(space.stats().entries, Some(6));
    let again = builder(store, &clock).policy_per_scope(Policy::Lru { max: 1 }).build().await;
    assert_eq!(again.unwrap().stats().entries, Some(3));
}

#[tokio::test]
async fn a_promise_takes_room_and_is_given_up_when_it_is_pushed_out() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max: 2 }).build().await.unwrap();
    let cache = space.cache::<u32>();
    let guard = cache.set_pending("p").await.unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get_or_wait("p").await })
        })
        .collect();
    settle().await;
    cache.set("a", &1).await.unwrap();
    assert_eq!(space.stats().entries, Some(2));
    cache.set("b", &1).await.unwrap();
    for waiter in waiting {
        assert!(matches!(waiter.await.unwrap(), Err(CacheError::Abandoned)));
    }
    assert!(!guard.resolve(1_u32).await.unwrap());
    assert_eq!(space.stats().entries, Some(2));

    let guard = cache.set_pending("p").await.unwrap();
    assert_eq!(cache.get_value("a").await.unwrap(), None, "it pushes out others");
    assert!(guard.resolve(5_u32).await.unwrap());
    assert_eq!(space.stats().entries, Some(2));
    drop(cache.set_pending("q").await.unwrap());
    assert_eq!(space.stats().entries, Some(1), "given up, it takes no room");
    assert_eq!(cache.get_value("p").await.unwrap(), Some(5));
}

#[tokio::test]
async fn a_load_whose_old_entry_is_evicted_meanwhile_comes_in_again() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max: 2 }).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    let gate = Gate::new();
    let loading = load(&cache, "k", &gate, 2);
    gate.reached(1).await;
    for key in ["a", "b", "c"] {
        cache.set(key, &1).await.unwrap();
    }
    assert!(matches!(cache.update_expiry("k", None).await, Err(CacheError::NotFound)));
    gate.open(1);
    assert_eq!(loading.await.unwrap().unwrap(), 2);
    assert_eq!(space.stats().entries, Some(2));
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
    assert_eq!(space.stats().evicted_by_expiry, 1);
}

#[tokio::test]
async fn what_has_expired_goes_first() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max: 3 }).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("old", &1).await.unwrap();
    cache.set("a", &1).await.unwrap();
    cache.set("short", &1).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    cache.set("b", &1).await.unwrap();
    assert_eq!(cache.get_value("old").await.unwrap(), Some(1));
    assert!(matches!(cache.update_expiry("short", None).await, Err(CacheError::NotFound)));
    assert_eq!(space.stats().evicted_by_expiry, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_never_leave_more_than_the_capacity() {
    for policy in [Policy::Lru { max: 4 }, Policy::S3Fifo { max: 4 }, Policy::MostRecent] {
        let store: Arc<dyn NamespacedStore> = Arc::new(MemoryStore::new());
        let space = CacheSpace::builder(store.clone()).policy(policy).build().await.unwrap();
        let cache: Cache<u32> = space.cache();
        for round in 0..60_u64 {
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let cache = cache.clone();
                    tokio::spawn(async move {
                        let mut random = Random::new(round * 8 + writer);
                        for _ in 0..30 {
                            let key = format!("k{}", random.below(7));
                            match random.below(10) {
                                0 => drop(cache.delete(&key).await.unwrap().is_some()),
                                1 => cache.clear().await.unwrap(),
                                2 => {
                                    let value = Loaded::new(1_u32);
                                    cache.get_or_set(&key, value).await.unwrap();
                                }
                                3 => assert!(cache.get_value(&key).await.is_ok()),
                                _ => cache.set(&key, &1).await.unwrap(),
                            }
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
            common::until(|| space.stats().active_keys == 0).await;
            let kept = kept(&store).await.len() as u64;
            let stats = space.stats();
            assert!(kept <= policy.capacity().unwrap(), "{kept} in round {round}");
            assert_eq!(stats.entries, Some(kept), "what is kept is counted, and nothing else");
        }
    }
}
