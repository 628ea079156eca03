//! The cases of the caching layer on a store with a clock of the suite's, and on one without.

use larder_conformance::{Fixture, cache_conformance};
use larder_core::ManualClock;
use larder_memory::MemoryStore;

mod exact {
    use super::*;

    cache_conformance! {
        harness: || async {
            let clock = ManualClock::new();
            let store = MemoryStore::builder().clock(clock.clone()).build();
            Fixture::namespaced(store.expect("a clock alone is a valid choice")).with_clock(clock)
        }
    }
}

mod real {
    use super::*;

    cache_conformance! { harness: || async { Fixture::namespaced(MemoryStore::new()) } }
}
