//! The whole conformance suite on the SQLite store, and that of the cache over it.

use std::path::Path;

use larder_conformance::{Fixture, Handle, Harness, cache_conformance, store_conformance};
use larder_core::{ManualClock, Result, SystemClock, async_trait};
use sqlite_store::SqliteStore;
use tempfile::TempDir;

struct Sqlite;

async fn open(folder: &TempDir, clock: &ManualClock) -> Result<Handle> {
    let path = folder.path().join("store.sqlite");
    Ok(Handle::flat(SqliteStore::open(path, clock.clone()).await?))
}

async fn again(fixture: &Fixture) -> Result<Option<Handle>> {
    let (Some(folder), Some(clock)) = (fixture.state(), fixture.clock()) else { return Ok(None) };
    open(folder, clock).await.map(Some)
}

#[async_trait]
impl Harness for Sqlite {
    async fn open(&self) -> Result<Fixture> {
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), ManualClock::new());
        let handle = open(&folder, &clock).await?;
        Ok(Fixture::new(handle).with_clock(clock).with_state(folder))
    }

    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        again(fixture).await
    }

    async fn open_folder(&self, folder: &Path) -> Result<Option<Handle>> {
        let path = folder.join("store.sqlite");
        Ok(Some(Handle::flat(SqliteStore::open(path, SystemClock).await?)))
    }

    async fn second_handle(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        again(fixture).await
    }
}

store_conformance! { harness: Sqlite }
cache_conformance! { harness: Sqlite }
