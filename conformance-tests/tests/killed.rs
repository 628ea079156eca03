//! A store that acknowledges what it does not keep is seen when its process is killed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod reference;

use std::panic::catch_unwind;
use std::path::Path;

use larder_conformance::{Fixture, Handle, Harness, Variant};
use larder_core::{Durability, Result, SystemClock, async_trait};
use reference::{Reference, everything};

/// Declares that it survives, and keeps everything in memory.
struct Forgetful;

fn store() -> Reference {
    Reference::new(everything().with_durability(Durability::ProcessCrash), SystemClock)
}

#[async_trait]
impl Harness for Forgetful {
    async fn open(&self) -> Result<Fixture> {
        Ok(Fixture::flat(store()))
    }

    async fn open_folder(&self, _folder: &Path) -> Result<Option<Handle>> {
        Ok(Some(Handle::flat(store())))
    }
}

#[test]
fn what_is_lost_by_a_kill_is_seen() {
    let path = concat!(module_path!(), "::what_is_lost_by_a_kill_is_seen");
    let name = "crashes::a_killed_writer_loses_nothing_acknowledged";
    let outcome = catch_unwind(|| larder_conformance::__run(name, Variant::Root, path, Forgetful));
    // In the process that writes until it is killed, it ends well.
    if std::env::var_os("LARDER_CONFORMANCE_WRITER").is_none() {
        let panic = outcome.unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("after writer 0 of 20 was killed"), "{text}");
        assert!(text.contains("has nothing instead of"), "{text}");
    }
}
