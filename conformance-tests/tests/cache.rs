//! The cases of the caching layer on stores that are as different as stores can be.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod reference;

use larder_conformance::{Fixture, Flavor, Harness, cache_conformance};
use larder_core::{Capabilities, ManualClock, Result, async_trait};
use larder_memory::MemoryStore;
use reference::{Reference, everything};

fn memory() -> Fixture {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    Fixture::namespaced(store.expect("a clock alone is a valid choice")).with_clock(clock)
}

fn flat(capabilities: Capabilities) -> Fixture {
    let clock = ManualClock::new();
    Fixture::flat(Reference::new(capabilities, clock.clone())).with_clock(clock)
}

/// Runs in a runtime of one thread.
struct OneThread;

#[async_trait]
impl Harness for OneThread {
    async fn open(&self) -> Result<Fixture> {
        Ok(memory())
    }

    fn flavor(&self) -> Flavor {
        Flavor::CurrentThread
    }
}

mod on_the_suites_clock {
    use super::*;

    cache_conformance! { harness: || async { memory() } }
}

mod on_a_clock_of_its_own {
    use super::*;

    cache_conformance! { harness: || async { Fixture::namespaced(MemoryStore::new()) } }
}

mod on_one_thread {
    use super::*;

    cache_conformance! { harness: OneThread }
}

mod over_a_flat_store {
    use super::*;

    cache_conformance! { harness: || async { flat(everything()) } }
}

mod over_a_store_without_listing {
    use super::*;

    cache_conformance! {
        harness: || async { flat(everything().with_list(false).with_ordered_list(false)) }
    }
}

mod over_the_least_that_a_store_must_do {
    use super::*;

    cache_conformance! { harness: || async { flat(Capabilities::new()) } }
}
