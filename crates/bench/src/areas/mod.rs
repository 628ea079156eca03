//! What is measured.

mod cache;
mod file;
mod footprint;
mod hits;
mod layers;
mod memory;
mod redis;
mod sled;

use std::pin::Pin;

use crate::{Row, Size};

type Rows = Pin<Box<dyn Future<Output = Vec<Row>>>>;

/// One area.
#[derive(Debug, Clone, Copy)]
pub struct Area {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    run: fn(Size) -> Rows,
}

impl Area {
    /// Measures it.
    pub async fn run(&self, size: Size) -> Vec<Row> {
        (self.run)(size).await
    }
}

/// All of them.
pub const AREAS: &[Area] = &[
    Area {
        name: "memory",
        about: "The memory backend, 100,000 keys of 20 bytes, values of 100 bytes",
        run: |size| Box::pin(memory::run(size)),
    },
    Area {
        name: "footprint",
        about: "What an entry takes up in memory: 20 bytes of key, 100 of value, a deadline",
        run: |size| Box::pin(footprint::run(size)),
    },
    Area {
        name: "layers",
        about: "What a future, a namespace and a forwarding layer add to a get from memory",
        run: |size| Box::pin(layers::run(size)),
    },
    Area {
        name: "file",
        about: "The file backend, values of 100 bytes",
        run: |size| Box::pin(file::run(size)),
    },
    Area {
        name: "sled",
        about: "The sled backend beside the driver that it stands on",
        run: |size| Box::pin(sled::run(size)),
    },
    Area {
        name: "redis",
        about: "The Redis backend beside the driver that it stands on",
        run: |size| Box::pin(redis::run(size)),
    },
    Area {
        name: "cache",
        about: "The caching layer over memory: hits, misses, waiters, policies",
        run: |size| Box::pin(cache::run(size)),
    },
    Area {
        name: "hit-ratio",
        about: "How many lookups hit, by policy, workload and capacity",
        run: |size| Box::pin(hits::run(size)),
    },
];
