//! The suite on a small honest store that is flat: its namespaces come from the core.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod reference;

use larder_conformance::{Fixture, store_conformance};
use larder_core::ManualClock;
use reference::{Reference, everything};

store_conformance! {
    harness: || async {
        let clock = ManualClock::new();
        Fixture::flat(Reference::new(everything(), clock.clone())).with_clock(clock)
    }
}
