use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use larder_cache::{Cache, CacheSpace, Policy};
use larder_core::{GetOptions, NamespacedStore, Raw};
use larder_memory::MemoryStore;
use tokio::sync::{Notify, OnceCell};

use crate::{Load, Race, Row, Size, Unit, drive, value};

const STORE: &str = "a get of the store below";
const ONCE: &str = "tokio::sync::OnceCell";
#[cfg(feature = "peers")]
const MOKA: &str = "moka::future";
const WAITERS: usize = 1_000;

async fn cache(policy: Policy, keys: &[String]) -> Cache<Bytes> {
    cache_over(MemoryStore::new(), policy, keys).await
}

async fn cache_over(store: MemoryStore, policy: Policy, keys: &[String]) -> Cache<Bytes> {
    let store = Arc::new(store);
    let space = CacheSpace::builder(store).policy(policy).build().await.expect("a space");
    let cache = space.cache_with_codec(Raw);
    for key in keys {
        cache.set(key, &value(100)).await.expect("a set");
    }
    cache
}

/// Keys that were never asked for.
#[derive(Debug, Default, Clone)]
struct New(Arc<AtomicUsize>);

impl New {
    fn key(&self) -> String {
        format!("new {}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub(super) async fn run(size: Size) -> Vec<Row> {
    let load = Load::new(size.entries(10_000), size);
    let new = New::default();
    let store = MemoryStore::new();
    let kept = cache_over(store.clone(), Policy::KeepAll, &load.keys).await;
    #[cfg(feature = "peers")]
    let moka = {
        let moka = moka::future::Cache::<String, Bytes>::builder();
        let moka = moka.max_capacity(1_000_000).time_to_live(crate::TTL).build();
        for key in load.keys.iter() {
            moka.insert(key.clone(), value(100)).await;
        }
        moka
    };
    let mut rows = vec![hit(size, &load, &kept, &store).await];
    rows.push(
        miss(
            size,
            &load,
            &kept,
            &new,
            #[cfg(feature = "peers")]
            &moka,
        )
        .await,
    );
    for (name, end) in [
        ("1,000 waiters on one load, which ends when all wait", End::AllWait),
        ("1,000 callers of a load of 20 turns, some come after it", End::AfterTurns(20)),
    ] {
        rows.push(
            waiters(
                size,
                name,
                end,
                &kept,
                &new,
                #[cfg(feature = "peers")]
                &moka,
            )
            .await,
        );
    }
    let max = 2 * load.keys.len() as u64;
    let one = Load::new(1, size);
    let policies = [
        ("KeepAll", Policy::KeepAll, &load),
        ("Lru", Policy::Lru { max }, &load),
        ("S3Fifo", Policy::S3Fifo { max }, &load),
        ("Ttl", Policy::Ttl { ttl: crate::TTL }, &load),
        ("MostRecent and its one key", Policy::MostRecent, &one),
    ];
    for (name, policy, load) in policies {
        let cache = cache(policy, &load.keys).await;
        let steps = size.of(200_000);
        let race =
            Race::new(format!("get_or_set_with that hits, {name}, 64 tasks"), Unit::PerSecond)
                .ours("Larder", async || {
                    drive!(load, 64, steps, cache = cache, |key, _step| {
                        let hit = cache.get_or_set_with(key, |_| async { unreachable() }).await;
                        std::hint::black_box(hit.expect("a hit"));
                    })
                });
        #[cfg(feature = "peers")]
        let race = race
            .peer(MOKA, async || {
                drive!(load, 64, steps / 2, cache = moka, |key, _step| {
                    std::hint::black_box(cache.get_with_by_ref(key, async { unreachable() }).await);
                })
            })
            .times(MOKA, 4.0);
        rows.push(race.run(size.rounds()).await);
    }
    rows
}

/// The value of a loader that does not run.
fn unreachable() -> Bytes {
    panic!("there is a value already")
}

async fn hit(size: Size, load: &Load, cache: &Cache<Bytes>, store: &MemoryStore) -> Row {
    // Where the entries of the global scope are.
    let store = store.with_namespace("g").expect("a namespace");
    let (steps, rounds) = (size.of(50_000), 4 * size.rounds());
    Race::new("a get that hits, one task", Unit::Nanoseconds)
        .ours("Larder cache, get_value", async || {
            1e9 / drive!(load, 1, steps, cache = cache, |key, _step| {
                std::hint::black_box(cache.get_value(key).await.expect("a get").expect("a hit"));
            })
        })
        .ours("Larder cache, get and value", async || {
            1e9 / drive!(load, 1, steps, cache = cache, |key, _step| {
                let hit = cache.get(key).await.expect("a get").expect("a hit");
                std::hint::black_box(hit.value().expect("a value"));
            })
        })
        .ours(STORE, async || {
            1e9 / drive!(load, 1, steps, store = store, |key, _step| {
                let entry = store.get_opts(key, GetOptions::default()).await.expect("a get");
                std::hint::black_box(entry.expect("an entry"));
            })
        })
        .above(STORE, 20.0)
        .run(rounds)
        .await
}

async fn miss(
    size: Size,
    load: &Load,
    cache: &Cache<Bytes>,
    new: &New,
    #[cfg(feature = "peers")] moka: &moka::future::Cache<String, Bytes>,
) -> Row {
    let (steps, rounds) = (size.of(5_000), 4 * size.rounds());
    let race = Race::new("a miss whose loader is ready at once, one task", Unit::Nanoseconds).ours(
        "Larder",
        async || {
            let shared = (cache.clone(), new.clone());
            1e9 / drive!(load, 1, steps, shared = shared, |_key, _step| {
                let loaded =
                    shared.0.get_or_set_with(&shared.1.key(), |_| async { value(100) }).await;
                std::hint::black_box(loaded.expect("a load"));
            })
        },
    );
    #[cfg(feature = "peers")]
    let race = race
        .peer(MOKA, async || {
            let shared = (moka.clone(), new.clone());
            1e9 / drive!(load, 1, steps, shared = shared, |_key, _step| {
                std::hint::black_box(shared.0.get_with(shared.1.key(), async { value(100) }).await);
            })
        })
        .times(MOKA, 2.0);
    race.run(rounds).await
}

/// When the one load for many callers ends.
#[derive(Clone, Copy)]
enum End {
    /// When all of them have asked.
    AllWait,
    /// After a number of turns of the runtime, whoever has asked by then.
    AfterTurns(usize),
}

/// Tasks that ask for one missing value, and the load that they ask with.
#[derive(Clone)]
struct Crowd(Arc<(AtomicUsize, AtomicUsize, Notify, End)>);

impl Crowd {
    fn new(count: usize, end: End) -> Self {
        Self(Arc::new((AtomicUsize::new(count), AtomicUsize::new(0), Notify::new(), end)))
    }

    /// Called by each task right before it asks.
    fn arrive(&self) {
        if self.0.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.2.notify_one();
        }
    }

    async fn load(self) -> Bytes {
        self.0.1.fetch_add(1, Ordering::Relaxed);
        match self.0.3 {
            End::AllWait => self.0.2.notified().await,
            End::AfterTurns(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
        }
        value(100)
    }

    fn loads(&self) -> usize {
        self.0.1.load(Ordering::Relaxed)
    }
}

/// How long it takes, in nanoseconds, from the first of many tasks to the last that has its value.
macro_rules! crowd {
    ($count:expr, $end:expr, |$crowd:ident| ($($shared:ident = $value:expr),+), $ask:expr) => {{
        let crowd = Crowd::new($count, $end);
        let started = Instant::now();
        let tasks = (0..$count).map(|_| {
            let ($crowd, ($($shared,)+)) = (crowd.clone(), ($($value.clone(),)+));
            tokio::spawn(async move {
                $crowd.arrive();
                std::hint::black_box($ask);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
        let took = started.elapsed();
        assert_eq!(crowd.loads(), 1, "more than one load");
        took.as_nanos() as f64
    }};
}

/// 1,000 tasks that ask for one missing key.
async fn waiters(
    size: Size,
    name: &str,
    end: End,
    cache: &Cache<Bytes>,
    new: &New,
    #[cfg(feature = "peers")] moka: &moka::future::Cache<String, Bytes>,
) -> Row {
    let count = if size == Size::Tiny { 10 } else { WAITERS };
    let race = Race::new(name, Unit::Nanoseconds)
        .ours("Larder", async || {
            let key = Arc::<str>::from(new.key());
            crowd!(
                count,
                end,
                |crowd| (cache = cache, key = key),
                cache.get_or_set_with(&key, |_| crowd.load()).await.expect("a value")
            )
        })
        .peer(ONCE, async || {
            let cell = Arc::new(OnceCell::<Bytes>::new());
            crowd!(
                count,
                end,
                |crowd| (cell = cell),
                cell.get_or_init(|| crowd.load()).await.clone()
            )
        });
    let race = match end {
        End::AllWait => race.times(ONCE, 1.0 / 1.15),
        End::AfterTurns(_) => race,
    };
    #[cfg(feature = "peers")]
    let race = race.peer(MOKA, async || {
        let key = new.key();
        crowd!(
            count,
            end,
            |crowd| (cache = moka, key = key),
            cache.get_with(key, crowd.load()).await
        )
    });
    // A turn takes less than a millisecond.
    race.run(20 * size.rounds()).await
}
