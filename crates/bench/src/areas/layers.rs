use std::sync::Arc;

use async_trait::async_trait;
use larder_core::{GetOptions, NamespacedStore, Store, forward_store};
use larder_memory::MemoryStore;

use super::memory::{filled, lasting};
use crate::{Load, Race, Row, Size, Unit, drive, value};

/// A layer that changes nothing.
#[derive(Debug)]
struct Layer(Arc<dyn Store>);

#[async_trait]
impl Store for Layer {
    forward_store!(0);
}

const ROOT: &str = "on the root";

pub(super) async fn run(size: Size) -> Vec<Row> {
    let load = Load::new(size.entries(1_000), size);
    let steps = size.of(400_000);
    let root = filled(&load.keys).await;
    let deep: Arc<dyn Store> = {
        let store = MemoryStore::new().with_path(&["tenants", "acme"]).expect("a namespace");
        for key in load.keys.iter() {
            store.set_opts(key, value(100), lasting()).await.expect("a set");
        }
        store
    };
    let layered = |count: usize| {
        (0..count).fold(Arc::clone(&root), |store, _| Arc::new(Layer(store)) as Arc<dyn Store>)
    };
    let get = async |store: &Arc<dyn Store>| {
        let rate = drive!(load, 1, steps, store = store, |key, _step| {
            std::hint::black_box(store.get_opts(key, GetOptions::default()).await.expect("a get"));
        });
        1e9 / rate
    };
    let (one, four) = (layered(1), layered(4));
    let race = |work, name, store, most| {
        Race::new(work, Unit::Nanoseconds)
            .ours(name, move || get(store))
            .ours(ROOT, || get(&root))
            .above(ROOT, most)
            .run(size.rounds())
    };
    vec![
        race("a get two namespaces down", "in a namespace", &deep, 15.0).await,
        race("a get through one layer", "through one", &one, 5.0).await,
        race("a get through four layers", "through four", &four, 20.0).await,
    ]
}
