use std::ops::Bound;
use std::sync::Arc;

use larder_core::{Error, Result};
use sled::IVec;

use crate::error::SledError;
use crate::log::Log;

/// One of sled's trees, with our errors.
#[derive(Clone)]
pub(crate) struct Tree {
    inner: sled::Tree,
    log: Arc<Log>,
}

impl Tree {
    pub(crate) fn open(log: &Arc<Log>, name: &str) -> Result<Self, SledError> {
        Ok(Self { inner: log.db().open_tree(name)?, log: Arc::clone(log) })
    }

    /// A number that was never given before.
    pub(crate) fn unique_number(&self) -> Result<u64> {
        self.log.wrote(0, self.log.db().generate_id())
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
        self.log.wrote(key.len() + value.len(), self.inner.insert(key, value))
    }

    /// Removes, and gives what was there.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<Option<IVec>> {
        self.log.wrote(key.len(), self.inner.remove(key))
    }

    /// Writes or removes if the very bytes `old` are there, and tells whether it did.
    pub(crate) fn swap(&self, key: &[u8], old: Option<&IVec>, new: Option<IVec>) -> Result<bool> {
        let len = key.len() + new.as_ref().map_or(0, |new| new.len());
        let outcome = self.inner.compare_and_swap(key, old, new);
        self.log.wrote(len, outcome).map(|outcome| outcome.is_ok())
    }
}

#[cold]
fn driver(error: sled::Error) -> Error {
    SledError::from(error).into()
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use super::*;

    /// A tree in a database of its own.
    pub(crate) fn open(directory: &Path) -> Tree {
        let db = sled::Config::new().path(directory).flush_every_ms(None).open().unwrap();
        let log = Log::new(db, Arc::default(), Arc::default());
        Tree::open(&Arc::new(log), "tree").unwrap()
    }
}
