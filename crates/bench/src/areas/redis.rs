mod clearing;

use std::sync::Arc;

use larder_core::{GetOptions, Store};
use larder_redis::RedisStore;
use larder_redis::redis::aio::MultiplexedConnection;

use super::memory::{lasting, tasks_of};
use crate::{LARGE, Load, Race, Row, Size, Unit, drive, value};

/// Where the server is, which `cargo xtask bench` starts.
const URL: &str = "LARDER_TEST_REDIS_URL";
const RAW: &str = "the redis crate";
#[cfg(feature = "peers")]
const OPENDAL: &str = "OpenDAL redis";

pub(super) async fn run(size: Size) -> Vec<Row> {
    let url = std::env::var(URL).unwrap_or_else(|_| {
        panic!("{URL} names the server to measure on: `cargo xtask bench redis` starts one")
    });
    let client = redis::Client::open(&*url).expect("a client");
    // First, while the server holds nothing else.
    let clearing = clearing::rows(size, &url, &client).await;
    let load = Load::new(size.entries(100_000), size);
    let store = RedisStore::builder(&*url).namespace("bench").build().await.expect("a store");
    let store: Arc<dyn Store> = Arc::new(store);
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
                    raw_get(&connection, key).await;
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
    rows.push(large(size, &store, &raw).await);
    rows.extend(clearing);
    rows
}

/// Values of 10 KB.
async fn large(size: Size, store: &Arc<dyn Store>, raw: &MultiplexedConnection) -> Row {
    let load = Load::new(size.entries(2_000), size);
    for key in load.keys.iter() {
        store.set_opts(key, value(LARGE), lasting()).await.expect("a set");
    }
    let steps = size.of(50_000);
    Race::new("get of 10 KB, 64 tasks", Unit::PerSecond)
        .ours("Larder", async || {
            drive!(load, 64, steps, store = store, |key, _step| {
                std::hint::black_box(
                    store.get_opts(key, GetOptions::default()).await.expect("a get"),
                );
            })
        })
        .peer(RAW, async || {
            drive!(load, 64, steps, connection = raw, |key, _step| raw_get(&connection, key).await)
        })
        .run(size.rounds())
        .await
}

async fn raw_get(connection: &MultiplexedConnection, key: &str) {
    let mut connection = connection.clone();
    let key = format!("bench:{key}");
    let value: Option<Vec<u8>> =
        redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("a get");
    std::hint::black_box(value.expect("a value"));
}
