use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_cache::{Cache, CacheSpace, Policy};
use larder_core::{Expiry, ManualClock, Raw};
use larder_memory::MemoryStore;

use crate::{Race, Row, Size, Unit, Zipf, key, value};

/// How many keys there are.
const KEYS: usize = 100_000;

/// What is asked for, the same for every contender.
struct Workload {
    name: &'static str,
    /// The keys, one after the other.
    asked: Vec<u32>,
    /// For how many lookups a value is good; after that, a lookup that finds it is a miss.
    life: Option<u64>,
}

fn workloads(size: Size) -> Vec<Workload> {
    let (keys, count) = (size.entries(KEYS), size.of(1_000_000));
    let zipf = |exponent| {
        let mut law = Zipf::new(keys, exponent, 11);
        (0..count).map(|_| law.draw() as u32).collect::<Vec<_>>()
    };
    let scans = || {
        let mut law = Zipf::new(keys, 0.99, 12);
        // A sweep over keys that are asked for once, after every so many draws.
        let (period, sweep) = (keys, keys / 4);
        let mut fresh = keys as u32;
        let draw = |index: usize| {
            if index % period < sweep {
                fresh += 1;
                fresh
            } else {
                law.draw() as u32
            }
        };
        (0..count).map(draw).collect::<Vec<_>>()
    };
    let shifting = || {
        let mut law = Zipf::new(keys, 0.99, 13);
        let phase = (count / 10).max(1);
        let draw = |index: usize| {
            let moved = index / phase * 7_919;
            ((law.draw() + moved) % keys) as u32
        };
        (0..count).map(draw).collect::<Vec<_>>()
    };
    let lasting = |name, asked| Workload { name, asked, life: None };
    let life = Some(count as u64 / 20);
    vec![
        lasting("zipf 0.9", zipf(0.9)),
        lasting("zipf 0.99", zipf(0.99)),
        lasting("zipf 0.99 with scans", scans()),
        lasting("zipf 0.99, popularity shifting", shifting()),
        Workload { name: "zipf 0.99, values good for 5 % of all lookups", asked: zipf(0.99), life },
    ]
}

/// The share of hits, in percent; `ask` is told which lookup it is.
async fn share(asked: &[u32], mut ask: impl AsyncFnMut(String, u64) -> bool) -> f64 {
    let mut hits = 0;
    for (turn, &index) in (0..).zip(asked) {
        hits += usize::from(ask(key(index as usize), turn).await);
    }
    100.0 * hits as f64 / asked.len() as f64
}

/// Every lookup takes a millisecond of the cache's time.
async fn ours(policy: Policy, work: &Workload) -> f64 {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().expect("a store");
    let life = work.life.map_or(Expiry::Never, |life| Duration::from_millis(life).into());
    let space = CacheSpace::builder(Arc::new(store))
        .clock(clock.clone())
        .policy(policy)
        .default_ttl(life)
        .retain_expired_for(Duration::ZERO)
        .build();
    let cache: Cache<Bytes> = space.await.expect("a space").cache_with_codec(Raw);
    share(&work.asked, async |key, _turn| {
        let hit = cache.get(&key).await.expect("a get").is_some();
        if !hit {
            cache.set(&key, &value(8)).await.expect("a set");
        }
        clock.advance(Duration::from_millis(1));
        hit
    })
    .await
}

pub(super) async fn run(size: Size) -> Vec<Row> {
    let mut rows = Vec::new();
    for work in &workloads(size) {
        for percent in [1, 10] {
            let max = (size.entries(KEYS) * percent / 100).max(2);
            let name = format!("{}, room for {percent} %", work.name);
            let race = Race::new(name, Unit::Percent)
                .ours("Larder S3Fifo", || ours(Policy::S3Fifo { max: max as u64 }, work))
                .ours("Larder Lru", || ours(Policy::Lru { max: max as u64 }, work));
            #[cfg(feature = "peers")]
            let race = peers(race, max, work);
            // The same keys in the same order hit the same: one round tells.
            rows.push(race.run(1).await);
        }
    }
    rows
}

/// A value that tells when it was stored, for caches that are told the time by nobody.
#[cfg(feature = "peers")]
fn stamped(turn: u64) -> Bytes {
    Bytes::copy_from_slice(&turn.to_le_bytes())
}

#[cfg(feature = "peers")]
impl Workload {
    /// Whether what was found is still good.
    fn is_good(&self, found: Option<&Bytes>, turn: u64) -> bool {
        let stored = found.and_then(|found| found.first_chunk()).map(|at| u64::from_le_bytes(*at));
        stored.is_some_and(|stored| self.life.is_none_or(|life| turn - stored < life))
    }
}

#[cfg(feature = "peers")]
fn peers<'a>(race: Race<'a>, max: usize, work: &'a Workload) -> Race<'a> {
    race.peer("moka", move || async move {
        let cache = moka::future::Cache::<String, Bytes>::new(max as u64);
        share(&work.asked, async |key, turn| {
            let hit = work.is_good(cache.get(&key).await.as_ref(), turn);
            if !hit {
                cache.insert(key, stamped(turn)).await;
            }
            if turn % 64 == 0 {
                cache.run_pending_tasks().await;
            }
            hit
        })
        .await
    })
    .peer("quick_cache", move || async move {
        let cache = quick_cache::sync::Cache::<String, Bytes>::new(max);
        share(&work.asked, async |key, turn| {
            let hit = work.is_good(cache.get(&key).as_ref(), turn);
            if !hit {
                cache.insert(key, stamped(turn));
            }
            hit
        })
        .await
    })
    .peer("foyer", move || async move {
        let cache: foyer::Cache<String, Bytes> = foyer::CacheBuilder::new(max).build();
        share(&work.asked, async |key, turn| {
            let hit =
                work.is_good(cache.get(&key).map(|entry| entry.value().clone()).as_ref(), turn);
            if !hit {
                cache.insert(key, stamped(turn));
            }
            hit
        })
        .await
    })
}
