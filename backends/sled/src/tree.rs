use std::ops::Bound;
use std::sync::Arc;

use larder_core::{Error, Result};
use sled::{Db, IVec};

use crate::error::SledError;
use crate::health::Health;

/// One of sled's trees, with our errors.
#[derive(Clone)]
pub(crate) struct Tree {
    inner: sled::Tree,
    db: Db,
    health: Arc<Health>,
}

impl Tree {
    pub(crate) fn open(db: &Db, name: &str, health: &Arc<Health>) -> sled::Result<Self> {
        Ok(Self { inner: db.open_tree(name)?, db: db.clone(), health: Arc::clone(health) })
    }

    /// A number that was never given before.
    pub(crate) fn unique_number(&self) -> Result<u64> {
        self.wrote(self.db.generate_id())
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>> {
        self.inner.get(key).map_err(driver)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.inner.contains_key(key).map_err(driver)
    }

    /// What lies from `from` on, up to `end`, or to the end of the tree.
    pub(crate) fn range(
        &self,
        from: &[u8],
        end: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(IVec, IVec)>> + use<> {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.inner.range::<&[u8], _>((Bound::Included(from), end));
        entries.map(|entry| entry.map_err(driver))
    }

    /// Writes, and gives what was there.
    pub(crate) fn insert(&self, key: &[u8], value: IVec) -> Result<Option<IVec>> {
        self.wrote(self.inner.insert(key, value))
    }

    /// Removes, and gives what was there.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<Option<IVec>> {
        self.wrote(self.inner.remove(key))
    }

    /// Writes or removes if the very bytes `old` are there, and tells whether it did.
    pub(crate) fn swap(&self, key: &[u8], old: Option<&IVec>, new: Option<IVec>) -> Result<bool> {
        self.wrote(self.inner.compare_and_swap(key, old, new)).map(|outcome| outcome.is_ok())
    }

    fn wrote<T>(&self, outcome: sled::Result<T>) -> Result<T> {
        outcome.map_err(|error| self.write_error(error))
    }

    #[cold]
    fn write_error(&self, error: sled::Error) -> Error {
        let is_io = matches!(error, sled::Error::Io(_));
        let error = driver(error);
        // When sled fails with its log, it says so to every later write, and lets go of it. Where
        // it does not know of the failure, it has left something behind.
        if is_io && self.db.context.global_error().is_ok() {
            self.health.write_lost(error.kind());
        }
        error
    }
}

#[cold]
fn driver(error: sled::Error) -> Error {
    SledError::from(error).into()
}
