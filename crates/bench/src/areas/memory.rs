use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_core::{GetOptions, NamespacedStore, SetItem, SetOptions, Store};
use larder_memory::MemoryStore;
use tokio::runtime::Handle;

use crate::{LARGE, Load, Race, Row, Size, TTL, Unit, drive, key, value};

pub(super) fn lasting() -> SetOptions {
    SetOptions::default().with_expiry(TTL)
}

/// A value of its own for each set, as a caller would bring it.
fn fresh(len: usize) -> Bytes {
    Bytes::from(vec![b'w'; len])
}

async fn filled(keys: &[String], len: usize) -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for key in keys {
        store.set_opts(key, value(len), lasting()).await.expect("a set");
    }
    store
}

pub(super) async fn run(size: Size) -> Vec<Row> {
    let load = Load::new(size.entries(100_000), size);
    let work = Work::new(load, size.of(400_000), 100).await;
    let mut rows = Vec::new();
    for tasks in [1, 64, 512] {
        let race = work.get(format!("get, {}", tasks_of(tasks)), tasks);
        #[cfg(feature = "peers")]
        let race = if tasks == 64 {
            race.times(QUICK, 1.5).times(MOKA, 5.0).times(OPENDAL, 12.0)
        } else {
            race
        };
        rows.push(race.run(size.rounds()).await);
    }
    let alone = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
    let alone = alone.expect("a runtime");
    rows.push(work.get_on(alone.handle()).run(size.rounds()).await);
    alone.shutdown_background();
    rows.push(work.mixed("get and set 90:10, 64 tasks", 10).run(size.rounds()).await);
    let race = work.mixed("set, 64 tasks", 1);
    #[cfg(feature = "peers")]
    let race = race.times(MOKA, 6.0);
    rows.push(race.run(size.rounds()).await);
    let load = Load::new(size.entries(2_000), size);
    let large = Work::new(load, size.of(100_000), LARGE).await;
    rows.push(large.get("get of 10 KB, 64 tasks".to_owned(), 64).run(size.rounds()).await);
    rows.push(large.mixed("set of 10 KB, 64 tasks", 1).run(size.rounds()).await);
    rows.push(storm(size).await);
    rows.push(clearing(size).await);
    rows
}

/// Keys with values of one length, and all who keep them.
struct Work {
    load: Load,
    steps: usize,
    len: usize,
    store: Arc<dyn Store>,
    #[cfg(feature = "peers")]
    peers: Peers,
}

impl Work {
    async fn new(load: Load, steps: usize, len: usize) -> Self {
        let store = filled(&load.keys, len).await;
        #[cfg(feature = "peers")]
        let peers = Peers::filled(&load.keys, len).await;
        Self {
            load,
            steps,
            len,
            store,
            #[cfg(feature = "peers")]
            peers,
        }
    }

    fn get(&self, work: String, tasks: usize) -> Race<'_> {
        let race = Race::new(work, Unit::PerSecond).ours("Larder", move || async move {
            drive!(self.load, tasks, self.steps, store = self.store, |key, _step| {
                std::hint::black_box(
                    store.get_opts(key, GetOptions::default()).await.expect("a get"),
                );
            })
        });
        #[cfg(feature = "peers")]
        let race = self.peers.get(race, &self.load, tasks, self.steps);
        race
    }

    /// Gets on a runtime of one worker thread.
    fn get_on<'a>(&'a self, alone: &'a Handle) -> Race<'a> {
        let work = "get, 64 tasks, one worker thread";
        let race = Race::new(work, Unit::PerSecond).ours("Larder", move || {
            let (load, steps, store) = (self.load.clone(), self.steps, Arc::clone(&self.store));
            on(alone, async move {
                drive!(load, 64, steps, store = store, |key, _step| {
                    std::hint::black_box(
                        store.get_opts(key, GetOptions::default()).await.expect("a get"),
                    );
                })
            })
        });
        #[cfg(feature = "peers")]
        let race = self.peers.get_on(race, alone, &self.load, self.steps);
        race
    }

    /// One set in so many steps.
    fn mixed(&self, work: &str, sets: usize) -> Race<'_> {
        let len = self.len;
        let race = Race::new(work, Unit::PerSecond).ours("Larder", move || async move {
            drive!(self.load, 64, self.steps, store = self.store, |key, step| {
                if step % sets == 0 {
                    store.set_opts(key, fresh(len), lasting()).await.expect("a set");
                } else {
                    std::hint::black_box(
                        store.get_opts(key, GetOptions::default()).await.expect("a get"),
                    );
                }
            })
        });
        #[cfg(feature = "peers")]
        let race = self.peers.mixed(race, &self.load, sets, len, self.steps);
        race
    }
}

async fn on(runtime: &Handle, work: impl Future<Output = f64> + Send + 'static) -> f64 {
    runtime.spawn(work).await.expect("a task that does not panic")
}

pub(super) fn tasks_of(tasks: usize) -> String {
    if tasks == 1 { "one task".to_owned() } else { format!("{tasks} tasks") }
}

/// The slowest gets while a million other entries expire, beside those of a store at rest.
async fn storm(size: Size) -> Row {
    let count = size.of(1_000_000);
    let mut rounds = vec![Vec::new(), Vec::new()];
    for _ in 0..size.rounds().min(5) {
        for (expires, slowest) in [true, false].into_iter().zip(&mut rounds) {
            let store = MemoryStore::builder().sweep_every(Duration::from_millis(50)).build();
            let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
            let kept: Vec<String> = (0..1_000).map(|index| format!("kept {index}")).collect();
            for key in &kept {
                store.set_opts(key, value(100), lasting()).await.expect("a set");
            }
            let life = if expires { Duration::from_secs(4) } else { TTL };
            let deadline = std::time::SystemTime::now() + life;
            let options =
                SetOptions::default().with_expiry(larder_core::Expiry::At(deadline.into()));
            let keys: Vec<String> = (0..count).map(key).collect();
            for keys in keys.chunks(1_000) {
                let items = keys
                    .iter()
                    .map(|key| SetItem::new(key, value(100)).with_options(options.clone()));
                for done in store.set_many(items.collect()).await.expect("a batch") {
                    done.expect("a set");
                }
            }
            if size != Size::Tiny && expires {
                let left =
                    deadline.duration_since(std::time::SystemTime::now()).unwrap_or_default();
                tokio::time::sleep(left.saturating_sub(Duration::from_millis(100))).await;
            }
            let end = Instant::now()
                + if size == Size::Tiny { Duration::ZERO } else { Duration::from_secs(2) };
            let mut took = Vec::new();
            loop {
                for key in &kept {
                    let started = Instant::now();
                    std::hint::black_box(
                        store.get_opts(key, GetOptions::default()).await.expect("a get"),
                    );
                    took.push(started.elapsed().as_nanos() as f64);
                }
                tokio::task::yield_now().await;
                if Instant::now() > end {
                    break;
                }
            }
            took.sort_by(f64::total_cmp);
            slowest.push(took[(took.len() - 1) * 9_999 / 10_000]);
            store.close().await.expect("a close");
        }
    }
    let mut rounds = rounds.into_iter();
    let mut race =
        Race::new("get while a million entries expire, 99.99th percentile", Unit::Nanoseconds);
    for name in ["Larder", IDLE] {
        let mut figures = rounds.next().expect("two of them").into_iter().cycle();
        race = race.ours(name, move || std::future::ready(figures.next().expect("a figure")));
    }
    race.above(IDLE, 1e6).run(size.rounds().min(5)).await
}

const IDLE: &str = "Larder, at rest";

/// What clearing one namespace of a hundred keys takes: among ten thousand others, and alone.
async fn clearing(size: Size) -> Row {
    let options = lasting();
    let fill = async |store: &Arc<dyn NamespacedStore>| {
        for index in 0..100 {
            store.set_opts(&key(index), value(100), options.clone()).await.expect("a set");
        }
    };
    let child = |tree: &MemoryStore, name: &str| tree.with_namespace(name).expect("a namespace");
    let (many, alone) = (MemoryStore::new(), MemoryStore::new());
    for index in 0..size.entries(10_000) {
        fill(&child(&many, &format!("namespace {index}"))).await;
    }
    let clear = async |tree: &MemoryStore| {
        let child = child(tree, "namespace 7");
        fill(&child).await;
        let started = Instant::now();
        child.delete_all().await.expect("a deletion");
        started.elapsed().as_nanos() as f64
    };
    let work = "clear a namespace of 100 keys among 10,000 such";
    Race::new(work, Unit::Nanoseconds)
        .ours("Larder", || clear(&many))
        .ours(ALONE, || clear(&alone))
        .times(ALONE, 0.5)
        .run(size.rounds())
        .await
}

const ALONE: &str = "Larder, with no other namespace";

#[cfg(feature = "peers")]
const QUICK: &str = "quick_cache, called directly";
#[cfg(feature = "peers")]
const MOKA: &str = "moka::future";
#[cfg(feature = "peers")]
const OPENDAL: &str = "OpenDAL memory";

#[cfg(feature = "peers")]
struct Peers {
    quick: Arc<quick_cache::sync::Cache<String, Bytes>>,
    moka: moka::future::Cache<String, Bytes>,
    opendal: opendal::Operator,
}

#[cfg(feature = "peers")]
impl Peers {
    async fn filled(keys: &[String], len: usize) -> Self {
        let capacity = 2 * keys.len();
        let quick = Arc::new(quick_cache::sync::Cache::new(capacity));
        let moka = moka::future::Cache::builder();
        let moka = moka.max_capacity(capacity as u64).time_to_live(TTL).build();
        let opendal =
            opendal::Operator::new(opendal::services::Memory::default()).expect("OpenDAL").finish();
        for key in keys {
            quick.insert(key.clone(), value(len));
            moka.insert(key.clone(), value(len)).await;
            opendal.write(key, value(len)).await.expect("a write");
        }
        Self { quick, moka, opendal }
    }

    fn get<'a>(&'a self, race: Race<'a>, load: &'a Load, tasks: usize, steps: usize) -> Race<'a> {
        race.peer(QUICK, move || async move {
            drive!(load, tasks, steps, cache = self.quick, |key, _step| {
                std::hint::black_box(cache.get(key).expect("a hit"));
            })
        })
        .peer(MOKA, move || async move {
            drive!(load, tasks, steps / 3, cache = self.moka, |key, _step| {
                std::hint::black_box(cache.get(key).await.expect("a hit"));
            })
        })
        .peer(OPENDAL, move || async move {
            drive!(load, tasks, steps / 6, store = self.opendal, |key, _step| {
                std::hint::black_box(store.read(key).await.expect("a read"));
            })
        })
    }

    fn get_on<'a>(
        &'a self,
        race: Race<'a>,
        alone: &'a Handle,
        load: &'a Load,
        steps: usize,
    ) -> Race<'a> {
        race.peer(QUICK, move || {
            let (load, cache) = (load.clone(), Arc::clone(&self.quick));
            on(alone, async move {
                drive!(load, 64, steps, cache = cache, |key, _step| {
                    std::hint::black_box(cache.get(key).expect("a hit"));
                })
            })
        })
        .peer(MOKA, move || {
            let (load, cache) = (load.clone(), self.moka.clone());
            on(alone, async move {
                drive!(load, 64, steps / 3, cache = cache, |key, _step| {
                    std::hint::black_box(cache.get(key).await.expect("a hit"));
                })
            })
        })
    }

    fn mixed<'a>(
        &'a self,
        race: Race<'a>,
        load: &'a Load,
        sets: usize,
        len: usize,
        steps: usize,
    ) -> Race<'a> {
        race.peer(QUICK, move || async move {
            drive!(load, 64, steps, cache = self.quick, |key, step| {
                if step % sets == 0 {
                    cache.insert(key.to_owned(), fresh(len));
                } else {
                    std::hint::black_box(cache.get(key).expect("a hit"));
                }
            })
        })
        .peer(MOKA, move || async move {
            drive!(load, 64, steps / 4, cache = self.moka, |key, step| {
                if step % sets == 0 {
                    cache.insert(key.to_owned(), fresh(len)).await;
                } else {
                    std::hint::black_box(cache.get(key).await.expect("a hit"));
                }
            })
        })
        .peer(OPENDAL, move || async move {
            drive!(load, 64, steps / 8, store = self.opendal, |key, step| {
                if step % sets == 0 {
                    store.write(key, fresh(len)).await.expect("a write");
                } else {
                    std::hint::black_box(store.read(key).await.expect("a read"));
                }
            })
        })
    }
}
