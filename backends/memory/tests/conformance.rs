//! The suite that every backend passes, and that of the cache over it.

use larder_conformance::{Fixture, cache_conformance, store_conformance};
use larder_core::ManualClock;
use larder_memory::MemoryStore;

fn fixture() -> Fixture {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    Fixture::namespaced(store.expect("a clock alone is a valid choice")).with_clock(clock)
}

store_conformance! { harness: || async { fixture() } }
cache_conformance! { harness: || async { fixture() } }
