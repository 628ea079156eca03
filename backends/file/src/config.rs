use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder_core::{Clock, Durability, Error, ErrorKind, Result, SystemClock};
use rustix::io::Errno;

use crate::driver::Driver;
use crate::error::{BACKEND, Fault, Place};
use crate::folder::{Root, Roots, make_at_path};
use crate::store::FileStore;
use crate::task::hop;

/// How long a writer waits for its key's lock unless told otherwise.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Configures a [`FileStore`]; made by [`FileStore::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct FileStoreBuilder {
    path: PathBuf,
    durability: Durability,
    clock: Arc<dyn Clock>,
    lock_timeout: Duration,
    create: bool,
}

impl FileStoreBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            durability: Durability::PowerLoss,
            clock: Arc::new(SystemClock),
            lock_timeout: LOCK_TIMEOUT,
            create: true,
        }
    }

    /// Sets what an `Ok` write survives: `PowerLoss`, the default, or `ProcessCrash`.
    ///
    /// `Volatile` is refused when the store is built: a file outlives its writer anyway.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets where the time comes from; the system's clock by default.
    ///
    /// Deadlines are kept in the files, so all processes that share a root need the same time.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets how long a writer, or a reader of an expired key, waits for the key's lock before it
    /// gives `Timeout`; 5 seconds by default, and zero to try once.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets whether an absent root folder is made, those above it included; it is by default.
    ///
    /// Folders that are made can be entered by their owner alone.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Opens the store.
    ///
    /// Symlinks in the root's own path are followed, once, here; below the root none is.
    ///
    /// # Errors
    /// `NotFound` for an absent root that is not to be made; `InvalidConfig` for an empty path, one
    /// that is no folder or cannot be one, or durability that a file cannot have; `PermissionDenied`;
    /// `StorageFull`.
    pub async fn build(self) -> Result<FileStore> {
        let context = |error: Error| error.with_operation("open").with_backend(BACKEND);
        if self.path.as_os_str().is_empty() {
            return Err(context(invalid("the path is empty")));
        }
        if !matches!(self.durability, Durability::PowerLoss | Durability::ProcessCrash) {
            let text = "the durability of files is PowerLoss or ProcessCrash";
            return Err(context(invalid(text)));
        }
        let (path, create) = (self.path, self.create);
        let opened = hop(move || open_root(&path, create).map(Roots::new)).await;
        let roots = opened.and_then(|roots| roots).map_err(context)?;
        let driver = Driver::new(roots, self.clock, self.durability, self.lock_timeout);
        Ok(FileStore::new(Arc::new(driver)))
    }
}

fn open_root(path: &Path, create: bool) -> Result<Root> {
    if create {
        make_at_path(path).map_err(root_error)?;
    }
    // Absolute, so that it keeps its meaning when the process changes its folder.
    let real = std::fs::canonicalize(path).map_err(|error| {
        // What the operating system was not even asked has a NUL in it.
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
        root_error(Fault::os("finding", path)(errno))
    })?;
    Root::open(&real).map_err(root_error)
}

fn root_error(fault: Fault) -> Error {
    match fault {
        Fault::Os { errno: Errno::NOTDIR | Errno::EXIST | Errno::LOOP, place, .. } => {
            invalid(format!("no folder: {}", Place(&place)))
        }
        Fault::Os { errno: Errno::NAMETOOLONG | Errno::INVAL, place, .. } => {
            invalid(format!("no folder can have this name: {}", Place(&place)))
        }
        fault => fault.into(),
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
