//! The conformance suite on files.
#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};

use larder_conformance::{Fixture, Handle, Harness, cache_conformance, store_conformance};
use larder_core::{Durability, ManualClock, Namespace, Result, async_trait};
use larder_file::FileStore;

struct Files;

#[derive(Debug)]
struct Folder(tempfile::TempDir);

impl Folder {
    fn of(fixture: &Fixture) -> PathBuf {
        let Folder(folder) = fixture.state().expect("the fixture is of this harness");
        folder.path().join("store")
    }

    /// Somebody else's files, beside and among those of the store.
    fn foreign(fixture: &Fixture) -> Vec<PathBuf> {
        let root = Self::of(fixture);
        let beside = root.with_file_name("beside");
        let inside = ["notes.txt", "lost+found/a", ".git/config", "shop/readme", "%zz/x"];
        inside.iter().map(|name| root.join(name)).chain([beside]).collect()
    }
}

async fn open(fixture: &Fixture) -> Result<FileStore> {
    let builder = FileStore::builder(Folder::of(fixture)).durability(Durability::ProcessCrash);
    match fixture.clock() {
        Some(clock) => builder.clock(clock.clone()).build().await,
        None => builder.build().await,
    }
}

#[async_trait]
impl Harness for Files {
    async fn open(&self) -> Result<Fixture> {
        let (folder, clock) =
            (tempfile::tempdir().expect("a temporary folder"), ManualClock::new());
        let builder = FileStore::builder(folder.path().join("store")).clock(clock.clone());
        let store = builder.durability(Durability::ProcessCrash).build().await?;
        Ok(Fixture::namespaced(store).with_clock(clock).with_state(Folder(folder)))
    }

    fn name(&self) -> String {
        "file".to_owned()
    }

    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        Ok(Some(Handle::namespaced(open(fixture).await?)))
    }

    async fn crash(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        // The old handle is left as it is: its process no longer touches it.
        Ok(Some(Handle::namespaced(open(fixture).await?)))
    }

    async fn open_folder(&self, folder: &Path) -> Result<Option<Handle>> {
        let builder = FileStore::builder(folder.join("store"));
        let store = builder.durability(Durability::ProcessCrash).build().await?;
        Ok(Some(Handle::namespaced(store)))
    }

    async fn second_handle(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        Ok(Some(Handle::namespaced(open(fixture).await?)))
    }

    async fn corrupt_record(
        &self,
        fixture: &Fixture,
        namespace: &Namespace,
        key: &str,
    ) -> Result<bool> {
        let path = common::file_of(&Folder::of(fixture), namespace, key);
        let mut bytes = std::fs::read(&path).expect("the key's file");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes.truncate(last.max(1));
        std::fs::write(&path, bytes).expect("the key's file");
        Ok(true)
    }

    async fn plant_foreign(&self, fixture: &Fixture) -> Result<bool> {
        for path in Folder::foreign(fixture) {
            std::fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
            std::fs::write(&path, "somebody else's").expect("a file");
        }
        Ok(true)
    }

    async fn missing_foreign(&self, fixture: &Fixture) -> Result<Vec<String>> {
        let changed =
            |path: &PathBuf| std::fs::read(path).ok().as_deref() != Some(&b"somebody else's"[..]);
        let paths = Folder::foreign(fixture).into_iter().filter(changed);
        Ok(paths.map(|path| path.display().to_string()).collect())
    }

    async fn litter(&self, fixture: &Fixture) -> Result<Option<Vec<String>>> {
        Ok(Some(common::leftovers(&Folder::of(fixture))))
    }
}

store_conformance! { harness: Files }
cache_conformance! { harness: Files }
