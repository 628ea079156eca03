//! The suite that every backend passes.

use larder_conformance::{Fixture, store_conformance};
use larder_core::ManualClock;
use larder_memory::MemoryStore;

store_conformance! {
    harness: || async {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        Fixture::namespaced(store.expect("a clock alone is a valid choice")).with_clock(clock)
    }
}
