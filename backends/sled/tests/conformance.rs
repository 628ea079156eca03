//! The conformance suite on sled.

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use common::{close_raw, copy_directory, open_raw};
use larder_conformance::{Fixture, Handle, Harness, cache_conformance, store_conformance};
use larder_core::{Durability, ManualClock, Namespace, Result, Store, async_trait};
use larder_sled::SledStore;
use tempfile::TempDir;

/// The tree of somebody else, in the store's own database.
const FOREIGN_TREE: &str = "accounts";
/// And a file of somebody else.
const FOREIGN_FILE: &str = "notes.txt";

struct Sled(Durability);

#[derive(Debug)]
struct State {
    directory: TempDir,
    /// The store that was opened last, and where it lies.
    latest: Mutex<(SledStore, PathBuf)>,
}

impl State {
    fn of(fixture: &Fixture) -> &Self {
        fixture.state().expect("the fixture is of this harness")
    }

    fn latest(&self) -> (SledStore, PathBuf) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sled {
    async fn open_at(&self, path: &Path, clock: &ManualClock) -> Result<SledStore> {
        SledStore::builder(path).durability(self.0).clock(clock.clone()).build().await
    }

    async fn open_again(&self, fixture: &Fixture, path: PathBuf) -> Result<Option<Handle>> {
        let clock = fixture.clock().expect("the fixture has a clock");
        let store = self.open_at(&path, clock).await?;
        let latest = &State::of(fixture).latest;
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = (store.clone(), path);
        Ok(Some(Handle::namespaced(store)))
    }
}

/// Puts a tree of somebody else into a database that is not open.
fn plant_tree(path: &Path) {
    let db = open_raw(path);
    let tree = db.open_tree(FOREIGN_TREE).expect("a tree");
    for key in [&b""[..], b"\0k", b"\x01\x01ak", b"alice"] {
        tree.insert(key, "somebody else's").expect("an entry");
    }
    drop(tree);
    close_raw(db, path);
}

#[async_trait]
impl Harness for Sled {
    async fn open(&self) -> Result<Fixture> {
        let (directory, clock) =
            (tempfile::tempdir().expect("a temporary directory"), ManualClock::new());
        let path = directory.path().join("store");
        plant_tree(&path);
        let store = self.open_at(&path, &clock).await?;
        let latest = Mutex::new((store.clone(), path));
        let state = State { directory, latest };
        Ok(Fixture::namespaced(store).with_clock(clock).with_state(state))
    }

    fn name(&self) -> String {
        "sled".to_owned()
    }

    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        let (_, path) = State::of(fixture).latest();
        self.open_again(fixture, path).await
    }

    async fn open_folder(&self, folder: &Path) -> Result<Option<Handle>> {
        if self.0 == Durability::Volatile {
            return Ok(None);
        }
        let store = SledStore::builder(folder.join("store")).durability(self.0).build().await?;
        Ok(Some(Handle::namespaced(store)))
    }

    async fn crash(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        if self.0 == Durability::Volatile {
            return Ok(None);
        }
        let (_, path) = State::of(fixture).latest();
        let copy = path.with_extension("crashed");
        copy_directory(&path, &copy);
        self.open_again(fixture, copy).await
    }

    async fn corrupt_record(
        &self,
        fixture: &Fixture,
        namespace: &Namespace,
        key: &str,
    ) -> Result<bool> {
        let (store, _) = State::of(fixture).latest();
        store.plant_record(namespace, key, b"\x82\xaaexpires_at\xc0\xa4data\xc4\x09short")?;
        Ok(true)
    }

    async fn plant_foreign(&self, fixture: &Fixture) -> Result<bool> {
        // The tree is there already.
        let (_, path) = State::of(fixture).latest();
        std::fs::write(path.join(FOREIGN_FILE), "somebody else's").expect("a file");
        Ok(true)
    }

    async fn missing_foreign(&self, fixture: &Fixture) -> Result<Vec<String>> {
        let state = State::of(fixture);
        let (store, path) = state.latest();
        store.flush().await?;
        let copy = state.directory.path().join("looked-at");
        copy_directory(&path, &copy);
        let db = open_raw(&copy);
        let tree = db.open_tree(FOREIGN_TREE).expect("a tree");
        let left = tree.iter().flatten().filter(|(_, value)| value == b"somebody else's").count();
        let mut missing = Vec::new();
        if left != 4 || tree.len() != 4 {
            missing.push(format!("the tree has {left} of 4 entries"));
        }
        if std::fs::read(copy.join(FOREIGN_FILE)).ok().as_deref() != Some(b"somebody else's") {
            missing.push(FOREIGN_FILE.to_owned());
        }
        Ok(missing)
    }
}

mod process_crash {
    use super::*;

    store_conformance! { harness: Sled(Durability::ProcessCrash) }
    cache_conformance! { harness: Sled(Durability::ProcessCrash) }
}

mod volatile {
    use super::*;

    store_conformance! { harness: Sled(Durability::Volatile) }
}
