//! The suite on the memory backend, on a manual clock and on the system's.

use larder_conformance::store_conformance;

mod manual_clock {
    use larder_conformance::Fixture;
    use larder_core::ManualClock;
    use larder_memory::MemoryStore;

    super::store_conformance! {
        harness: || async {
            let clock = ManualClock::new();
            let store = MemoryStore::builder().clock(clock.clone()).build().expect("a clock is all it has");
            Fixture::namespaced(store).with_clock(clock)
        }
    }
}

mod system_clock {
    use larder_conformance::Fixture;
    use larder_memory::MemoryStore;

    super::store_conformance! { harness: || async { Fixture::namespaced(MemoryStore::new()) } }
}
