use std::sync::Arc;

use async_trait::async_trait;
use larder_core::{GetOptions, NamespacedStore, Store, forward_store};
use larder_memory::MemoryStore;

use super::memory::lasting;
use crate::{Load, Race, Row, Size, Unit, drive, value};

/// A layer that changes nothing.
#[derive(Debug)]
struct Layer(Arc<dyn Store>);

#[async_trait]
impl Store for Layer {
    forward_store!(0);
}

const ROOT: &str = "on the root";
const CALLED: &str = "the same, as a plain function";

pub(super) async fn run(size: Size) -> Vec<Row> {
    let load = Load::new(size.entries(1_000), size);
    let plain = MemoryStore::new();
    fill(&plain, &load.keys).await;
    let root: Arc<dyn Store> = Arc::new(plain.clone());
    let deep: Arc<dyn Store> = {
        let store = MemoryStore::new().with_path(&["tenants", "acme"]).expect("a namespace");
        fill(&*store, &load.keys).await;
        store
    };
    let layered = |count: usize| {
        (0..count).fold(Arc::clone(&root), |store, _| Arc::new(Layer(store)) as Arc<dyn Store>)
    };
    let (one, four) = (layered(1), layered(4));
    let (load, plain) = (&load, &plain);
    // A difference of a few nanoseconds shows in many short turns, not in few long ones.
    let (steps, rounds) = (size.of(100_000), 4 * size.rounds());
    let get = async |store: &Arc<dyn Store>| {
        let rate = drive!(load, 1, steps, store = store, |key, _step| {
            std::hint::black_box(store.get_opts(key, GetOptions::default()).await.expect("a get"));
        });
        1e9 / rate
    };
    let race = |work, name, store, most| {
        Race::new(work, Unit::Nanoseconds)
            .ours(name, move || get(store))
            .ours(ROOT, || get(&root))
            .above(ROOT, most)
            .run(rounds)
    };
    let future = Race::new("a get", Unit::Nanoseconds)
        .ours("awaited", || get(&root))
        .ours(CALLED, async || {
            1e9 / drive!(load, 1, steps, store = plain, |key, _step| {
                std::hint::black_box(store.get_in_place(key).expect("a get"));
            })
        })
        .above(CALLED, 20.0)
        .run(rounds);
    vec![
        future.await,
        race("a get two namespaces down", "in a namespace", &deep, 15.0).await,
        race("a get through one layer", "through one", &one, 5.0).await,
        race("a get through four layers", "through four", &four, 20.0).await,
    ]
}

async fn fill(store: &dyn Store, keys: &[String]) {
    for key in keys {
        store.set_opts(key, value(100), lasting()).await.expect("a set");
    }
}
