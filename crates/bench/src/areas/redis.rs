use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_core::{GetOptions, Store};
use larder_redis::RedisStore;
use larder_redis::redis::aio::MultiplexedConnection;

use super::memory::{lasting, tasks_of};
use crate::{Load, Race, Row, Size, Unit, drive, value};

/// Where the server is, which `cargo xtask bench` starts.
const URL: &str = "LARDER_TEST_REDIS_URL";
const RAW: &str = "the redis crate";
#[cfg(feature = "peers")]
const OPENDAL: &str = "OpenDAL redis";

pub(super) async fn run(size: Size) -> Vec<Row> {
    let url = std::env::var(URL).unwrap_or_else(|_| {
        panic!("{URL} names the server to measure on: `cargo xtask bench redis` starts one")
    });
    let load = Load::new(size.entries(100_000), size);
    let store = RedisStore::builder(&*url).namespace("bench").build().await.expect("a store");
    let store: Arc<dyn Store> = Arc::new(store);
    let client = redis::Client::open(&*url).expect("a client");
    let raw = client.get_multiplexed_async_connection().await.expect("a connection");
    for keys in load.keys.chunks(1_000) {
        let items = keys
            .iter()
            .map(|key| larder_core::SetItem::new(key, value(100)).with_options(lasting()));
        for done in store.set_many(items.collect()).await.expect("a batch") {
            done.expect("a set");
        }
    }
    #[cfg(feature = "peers")]
    let opendal = {
        let service = opendal::services::Redis::default().endpoint(&url).root("/opendal");
        let operator = opendal::Operator::new(service).expect("OpenDAL").finish();
        for keys in load.keys.chunks(256) {
            let writes = keys.iter().map(|key| operator.write(key, value(100)));
            for done in futures_util::future::join_all(writes).await {
                done.expect("a write");
            }
        }
        operator
    };
    let mut rows = Vec::new();
    for tasks in [1, 64, 512] {
        let steps = size.of(if tasks == 1 { 20_000 } else { 200_000 });
        let race = Race::new(format!("get, {}", tasks_of(tasks)), Unit::PerSecond)
            .ours("Larder", async || {
                drive!(load, tasks, steps, store = store, |key, _step| {
                    std::hint::black_box(
                        store.get_opts(key, GetOptions::default()).await.expect("a get"),
                    );
                })
            })
            .peer(RAW, async || {
                drive!(load, tasks, steps, connection = raw, |key, _step| {
                    let mut connection: MultiplexedConnection = connection.clone();
                    let key = format!("bench:{key}");
                    let value: Option<Vec<u8>> = redis::cmd("GET")
                        .arg(key)
                        .query_async(&mut connection)
                        .await
                        .expect("a get");
                    std::hint::black_box(value.expect("a value"));
                })
            })
            .times(RAW, 0.97);
        #[cfg(feature = "peers")]
        let race = race.peer(OPENDAL, async || {
            drive!(load, tasks, steps / 8, store = opendal, |key, _step| {
                std::hint::black_box(store.read(key).await.expect("a read"));
            })
        });
        #[cfg(feature = "peers")]
        let race = if tasks == 64 { race.times(OPENDAL, 7.0) } else { race };
        rows.push(race.run(size.rounds()).await);
    }
    let batches = size.of(4_000);
    let race = Race::new("get of 100 keys at once, 16 tasks", Unit::PerSecond)
        .ours("Larder, get_many", async || {
            let shared = (store.clone(), Arc::clone(&load.keys));
            100.0
                * drive!(load, 16, batches, shared = shared, |_key, step| {
                    let (store, all) = &shared;
                    let keys = all.iter().cycle().skip(step * 100 % all.len()).take(100);
                    let keys: Vec<&str> = keys.map(String::as_str).collect();
                    std::hint::black_box(store.get_many(&keys).await.expect("a batch"));
                })
        })
        .peer("the redis crate, MGET", async || {
            let shared = (raw.clone(), Arc::clone(&load.keys));
            100.0
                * drive!(load, 16, batches, shared = shared, |_key, step| {
                    let (connection, all) = &shared;
                    let keys = all.iter().cycle().skip(step * 100 % all.len()).take(100);
                    let mut mget = redis::cmd("MGET");
                    for key in keys {
                        mget.arg(format!("bench:{key}"));
                    }
                    let mut connection: MultiplexedConnection = connection.clone();
                    let values: Vec<Option<Vec<u8>>> =
                        mget.query_async(&mut connection).await.expect("a batch");
                    std::hint::black_box(values);
                })
        })
        .times("the redis crate, MGET", 0.95);
    rows.push(race.run(size.rounds()).await);
    rows.extend(clearing(size, &url, &client).await);
    rows
}

const KEYS_AND_DEL: &str = "Lua KEYS and DEL";
const SCRIPT: &str = "local keys = redis.call('KEYS', ARGV[1]) \
    for first = 1, #keys, 5000 do \
      redis.call('DEL', unpack(keys, first, math.min(first + 4999, #keys))) \
    end";

/// What clearing 100,000 of 200,000 keys takes, and how long another client waits meanwhile.
async fn clearing(size: Size, url: &str, client: &redis::Client) -> Vec<Row> {
    let count = size.entries(100_000);
    let mut figures = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for _ in 0..size.rounds().min(5) {
        for by_script in [false, true] {
            let stay = RedisStore::builder(url).namespace("stays").build().await.expect("a store");
            let go = RedisStore::builder(url).namespace("goes").build().await.expect("a store");
            let keys: Vec<String> = (0..count).map(crate::key).collect();
            for keys in keys.chunks(1_000) {
                for store in [&stay, &go] {
                    let items = keys.iter().map(|key| larder_core::SetItem::new(key, value(100)));
                    for done in store.set_many(items.collect()).await.expect("a batch") {
                        done.expect("a set");
                    }
                }
            }
            let mut other = client.get_multiplexed_async_connection().await.expect("a connection");
            let over = Arc::new(AtomicBool::new(false));
            let watch = Arc::clone(&over);
            let watcher = tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                while !watch.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let _: String =
                        redis::cmd("PING").query_async(&mut other).await.expect("a pong");
                    longest = longest.max(started.elapsed());
                }
                longest.as_nanos() as f64
            });
            let started = Instant::now();
            if by_script {
                let mut connection =
                    client.get_multiplexed_async_connection().await.expect("a connection");
                let mut eval = redis::cmd("EVAL");
                eval.arg(SCRIPT).arg(0).arg("goes:*");
                let () = eval.query_async(&mut connection).await.expect("a deletion");
            } else {
                go.delete_all().await.expect("a deletion");
            }
            let took = started.elapsed().as_nanos() as f64;
            over.store(true, Ordering::Relaxed);
            figures[usize::from(by_script)][0].push(took);
            figures[usize::from(by_script)][1].push(watcher.await.expect("the watcher"));
            assert!(stay.exists(&keys[0]).await.expect("an answer"), "a neighbour was cleared");
            stay.delete_all().await.expect("a deletion");
        }
    }
    let [[ours, our_stall], [theirs, their_stall]] = figures;
    let race = |work: &str, ours: Vec<f64>, theirs: Vec<f64>| {
        let (mut ours, mut theirs) = (ours.into_iter().cycle(), theirs.into_iter().cycle());
        Race::new(work, Unit::Nanoseconds)
            .ours("Larder", move || std::future::ready(ours.next().expect("a figure")))
            .peer(KEYS_AND_DEL, move || std::future::ready(theirs.next().expect("a figure")))
    };
    let rounds = size.rounds().min(5);
    vec![
        race("delete_all of 100,000 of 200,000 keys", ours, theirs)
            .times(KEYS_AND_DEL, 1.0 / 1.6)
            .run(rounds)
            .await,
        race("the longest that another client waits meanwhile", our_stall, their_stall)
            .at_most(2e6)
            .run(rounds)
            .await,
    ]
}
