use larder_core::{NamespacedStore, Store};
use larder_memory::MemoryStore;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use super::memory::lasting;
use crate::{Race, Row, Size, Unit, key, value};

/// The bytes that are allocated and not freed while something is filled, for each entry. Needs the
/// counting allocator, which the program takes for this area alone.
async fn held<T>(entries: usize, fill: impl Future<Output = T>) -> f64 {
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let filled = fill.await;
    let change = region.change();
    drop(filled);
    (change.bytes_allocated as f64 - change.bytes_deallocated as f64) / entries as f64
}

pub(super) async fn run(size: Size) -> Vec<Row> {
    let count = size.entries(100_000);
    let keys: Vec<String> = (0..count).map(key).collect();
    let one = async || {
        let store = MemoryStore::new();
        for key in &keys {
            store.set_opts(key, value(100), lasting()).await.expect("a set");
        }
        store
    };
    let race = Race::new("100,000 entries in one namespace", Unit::Bytes)
        .ours("Larder", || held(count, one()))
        .at_most(210.0);
    #[cfg(feature = "peers")]
    let race = peers(race, &keys);
    let together = race.run(1).await;

    let many = apart("10,000 namespaces of 100 entries", size.entries(10_000), 100).at_most(210.0);
    let many = many.run(1).await;
    // A few more than are kept in one table: what 64 take up shows most.
    let split = apart("40 namespaces of 2,100 entries", size.entries(40), 2_100).run(1).await;
    vec![together, many, split]
}

fn apart(work: &str, namespaces: usize, each: usize) -> Race<'static> {
    Race::new(work, Unit::Bytes)
        .ours("Larder", move || held(namespaces * each, spread(namespaces, each)))
}

async fn spread(namespaces: usize, each: usize) -> MemoryStore {
    let store = MemoryStore::new();
    for index in 0..namespaces {
        let child = store.with_namespace(&format!("namespace-{index:06}")).expect("a namespace");
        for index in 0..each {
            child.set_opts(&key(index), value(100), lasting()).await.expect("a set");
        }
    }
    store
}

#[cfg(feature = "peers")]
fn peers<'a>(race: Race<'a>, keys: &'a [String]) -> Race<'a> {
    let capacity = 2 * keys.len();
    race.peer("quick_cache", move || {
        held(keys.len(), async move {
            let cache = quick_cache::sync::Cache::<String, bytes::Bytes>::new(capacity);
            for key in keys {
                cache.insert(key.clone(), value(100));
            }
            cache
        })
    })
    .peer("moka::future", move || {
        held(keys.len(), async move {
            let cache = moka::future::Cache::<String, bytes::Bytes>::builder();
            let cache = cache.max_capacity(capacity as u64).time_to_live(crate::TTL).build();
            for key in keys {
                cache.insert(key.clone(), value(100)).await;
            }
            cache.run_pending_tasks().await;
            cache
        })
    })
}
