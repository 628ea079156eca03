use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_core::{Clock, Durability, Error, ErrorKind, Result, SystemClock};

use crate::SledStore;
use crate::store::BACKEND;

/// How much memory sled's page cache takes unless the builder says otherwise: 256 MiB.
const CACHE_CAPACITY: u64 = 256 << 20;
/// sled divides its cache into 256 parts, and panics when there is nothing to divide.
const LEAST_CACHE: u64 = 64 << 10;

/// Configures and opens a [`SledStore`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> larder_core::Result<()> {
/// use larder_core::{Durability, StoreExt, Store};
/// use larder_sled::SledStore;
/// let directory = tempfile::tempdir().unwrap();
/// let store = SledStore::builder(directory.path())
///     .durability(Durability::Volatile)
///     .build()
///     .await?;
/// store.set("greeting", "hello").await?;
/// store.close().await
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct SledStoreBuilder {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) create: bool,
    pub(crate) cache_capacity: u64,
}

impl SledStoreBuilder {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            durability: Durability::ProcessCrash,
            clock: Arc::new(SystemClock),
            create: true,
            cache_capacity: CACHE_CAPACITY,
        }
    }

    /// What an `Ok` write survives: [`ProcessCrash`](Durability::ProcessCrash), the default, waits
    /// for a flush that many callers share; [`Volatile`](Durability::Volatile) does not wait, and
    /// has what was written flushed half a second later.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Where the store takes its time from; the operating system by default.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Whether a store that is absent is created, as it is by default, or is `NotFound`.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How many bytes of pages sled keeps in memory, at least 64 KiB; 256 MiB by default.
    pub fn cache_capacity(mut self, bytes: u64) -> Self {
        self.cache_capacity = bytes;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// - `InvalidConfig` for a durability that sled does not give, a cache that is too small, or a path at
    ///   which something other than a sled database lies, which is left as it is.
    /// - `NotFound` when the path is absent and [`create`](Self::create) is false.
    /// - `Locked` when another store, in this process or another one, has the path open.
    /// - `Corrupt` when the files are damaged.
    ///
    /// # Cancel safety
    /// Dropped, it may still open the store, and closes it again at once.
    pub async fn build(self) -> Result<SledStore> {
        let invalid = |message| {
            let error = Error::new(ErrorKind::InvalidConfig, message);
            Err(error.with_operation("open").with_backend(BACKEND))
        };
        if !matches!(self.durability, Durability::ProcessCrash | Durability::Volatile) {
            return invalid("sled writes survive at most the crash of the process");
        }
        if self.cache_capacity < LEAST_CACHE {
            return invalid("the cache needs at least 64 KiB");
        }
        SledStore::open(self).await
    }
}
