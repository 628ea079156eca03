use bytes::Bytes;
use larder_cache::{Cache, CacheSpace, Policy};
use larder_core::Raw;

use super::memory::filled;
use crate::{Race, Row, Size, Unit, Zipf, key, value};

/// How many keys there are.
const KEYS: usize = 100_000;

/// The keys that are asked for, one after the other; the same for every contender.
fn workloads(size: Size) -> Vec<(&'static str, Vec<u32>)> {
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
    vec![
        ("zipf 0.9", zipf(0.9)),
        ("zipf 0.99", zipf(0.99)),
        ("zipf 0.99 with scans", scans()),
        ("zipf 0.99, popularity shifting", shifting()),
    ]
}

/// The share of hits, in percent.
async fn share(asked: &[u32], mut ask: impl AsyncFnMut(String) -> bool) -> f64 {
    let mut hits = 0;
    for &index in asked {
        hits += usize::from(ask(key(index as usize)).await);
    }
    100.0 * hits as f64 / asked.len() as f64
}

async fn ours(policy: Policy, asked: &[u32]) -> f64 {
    let store = filled(&[]).await;
    let space = CacheSpace::builder(store).policy(policy).build().await.expect("a space");
    let cache: Cache<Bytes> = space.cache_with_codec(Raw);
    share(asked, async |key| {
        let hit = cache.get(&key).await.expect("a get").is_some();
        if !hit {
            cache.set(&key, &value(8)).await.expect("a set");
        }
        hit
    })
    .await
}

pub(super) async fn run(size: Size) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, asked) in &workloads(size) {
        for percent in [1, 10] {
            let max = (size.entries(KEYS) * percent / 100).max(2);
            let race = Race::new(format!("{name}, room for {percent} %"), Unit::Percent)
                .ours("Larder S3Fifo", || ours(Policy::S3Fifo { max: max as u64 }, asked))
                .ours("Larder Lru", || ours(Policy::Lru { max: max as u64 }, asked));
            #[cfg(feature = "peers")]
            let race = peers(race, max, asked);
            // The same keys in the same order hit the same: one round tells.
            rows.push(race.run(1).await);
        }
    }
    rows
}

#[cfg(feature = "peers")]
fn peers<'a>(race: Race<'a>, max: usize, asked: &'a [u32]) -> Race<'a> {
    race.peer("moka", move || async move {
        let cache = moka::future::Cache::<String, Bytes>::new(max as u64);
        let mut turn = 0;
        share(asked, async |key| {
            let hit = cache.get(&key).await.is_some();
            if !hit {
                cache.insert(key, value(8)).await;
            }
            turn += 1;
            if turn % 64 == 0 {
                cache.run_pending_tasks().await;
            }
            hit
        })
        .await
    })
    .peer("quick_cache", move || async move {
        let cache = quick_cache::sync::Cache::<String, Bytes>::new(max);
        share(asked, async |key| {
            let hit = cache.get(&key).is_some();
            if !hit {
                cache.insert(key, value(8));
            }
            hit
        })
        .await
    })
    .peer("foyer", move || async move {
        let cache: foyer::Cache<String, Bytes> = foyer::CacheBuilder::new(max).build();
        share(asked, async |key| {
            let hit = cache.get(&key).is_some();
            if !hit {
                cache.insert(key, value(8));
            }
            hit
        })
        .await
    })
}
