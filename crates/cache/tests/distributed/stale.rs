//! F7: stale while revalidate, time-outs, jitter, and failures that are remembered; in one process
//! and across several.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use larder_cache::{Cache, CacheBuilder, CacheError, CacheSpace, LoadError, Loaded, Space};
use larder_core::{ErrorKind, ExpiresIn, Expiry};
use larder_memory::MemoryStore;
use tokio::time::Instant;

use crate::support::{LEASE, SECOND, World, eventually, keys};

const TTL: Duration = Duration::from_secs(100);
const GRACE: Duration = Duration::from_secs(1_000);

/// An upstream that takes its time, and may fail.
#[derive(Clone, Default)]
struct Upstream {
    asked: Arc<AtomicUsize>,
    takes: Duration,
    fails: bool,
}

impl Upstream {
    fn taking(takes: Duration) -> Self {
        Self { takes, ..Self::default() }
    }

    fn failing() -> Self {
        Self { fails: true, ..Self::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    async fn ask(&self, cache: &Cache<u32>, value: u32) -> Result<u32, LoadError<&'static str>> {
        let upstream = self.clone();
        let load = async move |_| {
            upstream.asked.fetch_add(1, SeqCst);
            tokio::time::sleep(upstream.takes).await;
            if upstream.fails { Err("no") } else { Ok(value) }
        };
        cache.get_or_try_set_with("k", load).await
    }
}

type SetUp = fn(CacheBuilder<Space>) -> CacheBuilder<Space>;

fn with_grace(builder: CacheBuilder<Space>) -> CacheBuilder<Space> {
    builder.default_ttl(TTL).grace(GRACE).retain_expired_for(Duration::ZERO)
}

/// The same behaviour is wanted of one process for itself, and of one among others.
async fn caches(set_up: SetUp) -> [Cache<u32>; 2] {
    let world = World::new();
    let alone = MemoryStore::builder().clock(world.clock.clone()).build().unwrap();
    let alone = CacheSpace::builder(Arc::new(alone)).clock(world.clock.clone());
    let alone = set_up(alone).build().await.unwrap();
    [alone.cache(), world.process_with(set_up).await.cache]
}

async fn idle(cache: &Cache<u32>) {
    eventually(async || (cache.space().stats().active_keys == 0).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn within_the_grace_the_stale_value_is_served_at_once_and_refreshed_once() {
    for cache in caches(with_grace).await {
        cache.set("k", &1).await.unwrap();
        tokio::time::sleep(TTL).await;
        let upstream = Upstream::taking(SECOND * 5);
        let began = Instant::now();
        for _ in 0..10 {
            assert_eq!(upstream.ask(&cache, 2).await.unwrap(), 1);
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(cache.get_value("k").await.unwrap(), None, "a plain read never sees it");
        tokio::time::sleep(SECOND).await;
        assert_eq!(upstream.asked(), 1);
        assert_eq!(cache.space().stats().stale_hits, 10);
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!(upstream.ask(&cache, 3).await.unwrap(), 2);
        assert_eq!(upstream.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_load_fails_the_stale_value_is_served_until_the_grace_ends() {
    for cache in caches(with_grace).await {
        cache.set("k", &1).await.unwrap();
        tokio::time::sleep(TTL).await;
        let upstream = Upstream::failing();
        for hundredth in 0..100 {
            assert_eq!(upstream.ask(&cache, 2).await.unwrap(), 1);
            idle(&cache).await;
            assert!(upstream.asked() > hundredth, "it goes on being tried");
            tokio::time::sleep(GRACE / 101).await;
        }
        tokio::time::sleep(GRACE / 50).await;
        assert!(matches!(upstream.ask(&cache, 2).await, Err(LoadError::Load(_))));
        assert_eq!(Upstream::default().ask(&cache, 2).await.unwrap(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_grace_callers_wait() {
    for cache in caches(with_grace).await {
        cache.set("k", &1).await.unwrap();
        tokio::time::sleep(TTL + GRACE).await;
        assert_eq!(Upstream::taking(SECOND).ask(&cache, 2).await.unwrap(), 2);
        assert_eq!(cache.space().stats().stale_hits, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_time_out_serves_stale_and_a_hard_one_is_an_error() {
    let set_up: SetUp = |it| with_grace(it).soft_timeout(SECOND).hard_timeout(SECOND * 3);
    for cache in caches(set_up).await {
        cache.set("k", &1).await.unwrap();
        tokio::time::sleep(TTL).await;
        // Fresh where that comes in time, stale where it does not or fails.
        assert_eq!(Upstream::failing().ask(&cache, 2).await.unwrap(), 1);
        assert_eq!(Upstream::taking(SECOND / 2).ask(&cache, 2).await.unwrap(), 2);
        tokio::time::sleep(TTL).await;
        let slow = Upstream::taking(SECOND * 5);
        let began = Instant::now();
        assert_eq!(slow.ask(&cache, 3).await.unwrap(), 2);
        assert_eq!(began.elapsed(), SECOND);
        idle(&cache).await;
        assert_eq!(slow.ask(&cache, 4).await.unwrap(), 3, "the load went on");
        cache.delete("k").await.unwrap();
        let began = Instant::now();
        let error = slow.ask(&cache, 5).await.unwrap_err();
        assert!(matches!(error, LoadError::Cache(CacheError::TimedOut)));
        assert_eq!(began.elapsed(), SECOND * 3);
        idle(&cache).await;
        assert_eq!(cache.get_value("k").await.unwrap(), Some(5), "the load went on");
        let patient = cache.wait_at_most(SECOND * 9);
        cache.delete("k").await.unwrap();
        assert_eq!(slow.ask(&patient, 6).await.unwrap(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_is_not_served_stale_nor_brought_back_by_the_refresh() {
    for cache in caches(with_grace).await {
        for how in ["delete", "clear", "prefix"] {
            cache.set("k", &1).await.unwrap();
            tokio::time::sleep(TTL).await;
            let slow = Upstream::taking(SECOND * 5);
            assert_eq!(slow.ask(&cache, 2).await.unwrap(), 1);
            tokio::time::sleep(SECOND).await;
            match how {
                "delete" => assert_eq!(cache.delete("k").await.unwrap(), None),
                "clear" => cache.clear().await.unwrap(),
                _ => drop(cache.remove_starting_with("k").await.unwrap()),
            }
            idle(&cache).await;
            let fresh = Upstream::default();
            assert_eq!(fresh.ask(&cache, 3).await.unwrap(), 3, "{how}");
            assert_eq!(fresh.asked(), 1, "{how}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_outlives_those_who_asked() {
    let set_up: SetUp = |it| with_grace(it).cancel_abandoned_loads(true);
    for cache in caches(set_up).await {
        cache.set("k", &1).await.unwrap();
        tokio::time::sleep(TTL).await;
        assert_eq!(Upstream::taking(SECOND * 5).ask(&cache, 2).await.unwrap(), 1);
        idle(&cache).await;
        assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_for_the_negative_time_to_live() {
    let set_up: SetUp = |it| with_grace(it).negative_ttl(SECOND * 10);
    for cache in caches(set_up).await {
        let upstream = Upstream::failing();
        for _ in 0..5 {
            assert!(matches!(upstream.ask(&cache, 1).await, Err(LoadError::Load(_))));
        }
        assert_eq!(upstream.asked(), 1);
        tokio::time::sleep(SECOND * 11).await;
        assert!(upstream.ask(&cache, 1).await.is_err());
        assert_eq!(upstream.asked(), 2);
        cache.set("k", &1).await.unwrap();
        assert_eq!(upstream.ask(&cache, 2).await.unwrap(), 1, "a set ends it");
        tokio::time::sleep(TTL).await;
        for _ in 0..5 {
            assert_eq!(upstream.ask(&cache, 2).await.unwrap(), 1, "stale");
            tokio::time::sleep(SECOND).await;
        }
        assert_eq!(upstream.asked(), 3, "and the upstream is left in peace");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_other_processes() {
    for stale in [false, true] {
        let world = World::new();
        let set_up: SetUp = |it| with_grace(it).negative_ttl(SECOND * 30);
        let (one, other) = (world.process_with(set_up).await, world.process_with(set_up).await);
        if stale {
            one.cache.set("k", &1).await.unwrap();
            tokio::time::sleep(TTL).await;
        }
        let upstream = Upstream::failing();
        let first = upstream.ask(&one.cache, 2).await;
        tokio::time::sleep(SECOND).await;
        let second = upstream.ask(&other.cache, 2).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(upstream.asked(), 1, "stale: {stale}");
        if stale {
            assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
        } else {
            assert!(matches!(first, Err(LoadError::Load(_))));
            let error = second.unwrap_err();
            assert!(matches!(&error, LoadError::Cache(CacheError::Load(_))), "{error:?}");
            assert!(other.cache.get("k").await.unwrap().is_none());
            assert!(other.cache.getset("k").await.unwrap().item().is_none());
        }
        tokio::time::sleep(SECOND * 30).await;
        let fresh = Upstream::default();
        let _ = fresh.ask(&other.cache, 3).await.unwrap();
        tokio::time::sleep(SECOND).await;
        assert_eq!(fresh.asked(), 1, "over with its time");
        assert_eq!(one.cache.get_value("k").await.unwrap(), Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn one_background_refresh_in_all_processes() {
    let world = World::new();
    let mut processes = Vec::new();
    for _ in 0..8 {
        processes.push(world.process_with(with_grace).await);
    }
    processes[0].cache.set("k", &1).await.unwrap();
    tokio::time::sleep(TTL).await;
    let upstream = Upstream::taking(LEASE * 3);
    let began = Instant::now();
    for _ in 0..3 {
        for process in &processes {
            assert_eq!(upstream.ask(&process.cache, 2).await.unwrap(), 1);
        }
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    tokio::time::sleep(LEASE).await;
    for process in &processes {
        assert_eq!(upstream.ask(&process.cache, 2).await.unwrap(), 1);
    }
    tokio::time::sleep(LEASE * 2 + SECOND).await;
    for process in &processes {
        assert_eq!(upstream.ask(&process.cache, 3).await.unwrap(), 2);
        idle(&process.cache).await;
    }
    assert_eq!(upstream.asked(), 1);
    assert!(keys(&*world.agreed("load")).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn jitter_shortens_loaded_and_default_lives_and_no_others() {
    let set_up: SetUp = |it| it.default_ttl(TTL).ttl_jitter(0.2);
    for cache in caches(set_up).await {
        let mut lives = BTreeSet::new();
        for number in 0..100 {
            let [set, loaded, updated, own] =
                ["set", "loaded", "updated", "own"].map(|how| format!("{how} {number}"));
            cache.set(&set, &1).await.unwrap();
            let load = async |_| Loaded::new(1).ttl(TTL);
            cache.get_or_set_with(&loaded, load).await.unwrap();
            cache.set(&own, &1).ttl(TTL).await.unwrap();
            cache.set(&updated, &1).ttl(TTL).await.unwrap();
            cache.update_expiry(&updated, None).await.unwrap();
            for key in [set, loaded, updated] {
                let item = cache.get(&key).await.unwrap().unwrap();
                let ExpiresIn::In(life) = item.expires_in() else { panic!("it expires") };
                assert!(life > TTL * 8 / 10 && life <= TTL, "{life:?}");
                lives.insert(life);
            }
            let item = cache.get(&own).await.unwrap().unwrap();
            assert_eq!(item.expires_in(), ExpiresIn::In(TTL));
        }
        assert!(lives.len() > 250, "they differ");
    }
}

#[tokio::test]
async fn a_jitter_that_is_no_fraction_is_refused() {
    for fraction in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        let space = CacheSpace::builder(Arc::new(MemoryStore::new()));
        let error = space.ttl_jitter(fraction).build().await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::InvalidConfig), "{fraction}");
    }
}

#[tokio::test(start_paused = true)]
async fn values_that_never_expire_are_never_stale() {
    for cache in caches(with_grace).await {
        cache.set("k", &1).expiry(Expiry::Never).await.unwrap();
        tokio::time::sleep(GRACE * 9).await;
        let upstream = Upstream::default();
        assert_eq!(upstream.ask(&cache, 2).await.unwrap(), 1);
        assert_eq!((upstream.asked(), cache.space().stats().stale_hits), (0, 0));
    }
}
