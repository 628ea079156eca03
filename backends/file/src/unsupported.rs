//! The store where there is none: it can be named and configured, but not opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder_core::{
    Bytes, Capabilities, Clock, DeleteOptions, Durability, Entry, Error, ErrorKind, GetOptions,
    Namespace, NamespacedStore, Result, SetOptions, SetOutcome, Store, async_trait,
};

/// Configures a [`FileStore`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct FileStoreBuilder(());

impl FileStoreBuilder {
    /// Sets what an `Ok` write survives.
    pub fn durability(self, _durability: Durability) -> Self {
        self
    }

    /// Sets where the time comes from.
    pub fn clock(self, _clock: impl Clock + 'static) -> Self {
        self
    }

    /// Sets how long a writer waits for its key's lock.
    pub fn lock_timeout(self, _timeout: Duration) -> Self {
        self
    }

    /// Sets whether an absent root folder is made.
    pub fn create(self, _create: bool) -> Self {
        self
    }

    /// Refuses: this platform has no way to open files below a folder without following links.
    ///
    /// # Errors
    /// `Unsupported`, always.
    #[allow(clippy::unused_async, reason = "the same signature on every platform")]
    pub async fn build(self) -> Result<FileStore> {
        let text = "the file backend needs a Unix system";
        Err(Error::new(ErrorKind::Unsupported, text).with_operation("open").with_backend("file"))
    }
}

/// A store that cannot be opened on this platform.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_enums, reason = "it has no value")]
pub enum FileStore {}

impl FileStore {
    /// Begins to configure a store, which cannot be opened on this platform.
    pub fn builder(_path: impl Into<PathBuf>) -> FileStoreBuilder {
        FileStoreBuilder(())
    }

    /// The root folder.
    pub fn path(&self) -> &Path {
        match *self {}
    }
}

#[async_trait]
impl Store for FileStore {
    async fn get_opts(&self, _key: &str, _options: GetOptions) -> Result<Option<Entry>> {
        match *self {}
    }

    async fn set_opts(&self, _: &str, _: Bytes, _: SetOptions) -> Result<SetOutcome> {
        match *self {}
    }

    async fn delete_opts(&self, _key: &str, _options: DeleteOptions) -> Result<bool> {
        match *self {}
    }

    async fn delete_all(&self) -> Result<()> {
        match *self {}
    }

    fn capabilities(&self) -> Capabilities {
        match *self {}
    }
}

impl NamespacedStore for FileStore {
    fn namespace(&self) -> &Namespace {
        match *self {}
    }

    fn with_path(&self, _segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        match *self {}
    }
}
