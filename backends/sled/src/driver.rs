//! The opened sled database, and the wall around it: no panic of sled's gets past here.

use std::fs::OpenOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use fs2::FileExt;
use larder_core::Result;

use crate::error::SledError;
use crate::index::ExpiryIndex;
use crate::records::Records;

/// The trees' names end with the version of what is in them.
const RECORDS: &str = "larder.records.1";
const EXPIRY_INDEX: &str = "larder.expiry.1";

/// The file that sled locks.
const DATA_FILE: &str = "db";

/// How long a database that was dropped may hold on to its file lock: sled's helper threads let go
/// of the file when they end their last piece of work.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(1);

/// Why the store does no more work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Panicked,
    FlushStuck,
}

impl Broken {
    fn error(self) -> SledError {
        match self {
            Self::Panicked => SledError::Panicked,
            Self::FlushStuck => SledError::FlushStuck,
        }
    }
}

/// One opened database.
pub(crate) struct Driver {
    records: Records,
    db: sled::Db,
    directory: PathBuf,
    /// 0, or 1 + the reason.
    broken: AtomicU8,
}

impl Driver {
    /// Opens or creates the database in `directory`.
    pub(crate) fn open(directory: &Path, cache_capacity: u64) -> Result<Self, SledError> {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let db = sled::Config::new()
                .path(directory)
                .cache_capacity(cache_capacity)
                // sled's own flushing thread, when it panics, makes dropping the database hang;
                // flushing is done by `Flusher`.
                .flush_every_ms(None)
                .open()?;
            let records = db.open_tree(RECORDS)?;
            let index = ExpiryIndex::new(db.open_tree(EXPIRY_INDEX)?);
            Ok((db, Records::new(records, index)))
        }));
        let failed = match opened {
            Ok(Ok((db, records))) => {
                let directory = directory.to_owned();
                return Ok(Self { records, db, directory, broken: AtomicU8::new(0) });
            }
            Ok(Err(error)) => SledError::Driver(error),
            Err(_) => SledError::Panicked,
        };
        if !failed.is_locked() {
            await_unlocked(&directory.join(DATA_FILE));
        }
        Err(failed)
    }

    /// Runs a step on the records; once sled has panicked, every step is refused.
    pub(crate) fn run<T>(&self, step: impl FnOnce(&Records) -> Result<T>) -> Result<T> {
        if let Some(broken) = self.broken() {
            return Err(broken.error().into());
        }
        match catch_unwind(AssertUnwindSafe(|| step(&self.records))) {
            Ok(result) => result,
            Err(_) => Err(self.break_down(Broken::Panicked).into()),
        }
    }

    /// Writes everything that was set so far to the operating system, and waits until it took it.
    pub(crate) fn flush(&self) -> Result<(), SledError> {
        if let Some(broken) = self.broken() {
            return Err(broken.error());
        }
        match catch_unwind(AssertUnwindSafe(|| self.db.flush())) {
            Ok(result) => result.map(drop).map_err(SledError::from),
            Err(_) => Err(self.break_down(Broken::Panicked)),
        }
    }

    /// The error that made sled stop writing, if there is one.
    pub(crate) fn write_error(&self) -> Option<sled::Error> {
        self.db.context.global_error().err()
    }

    /// Tells whether, and why, the store does no more work.
    pub(crate) fn broken(&self) -> Option<Broken> {
        match self.broken.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Broken::Panicked),
            _ => Some(Broken::FlushStuck),
        }
    }

    /// Refuses all further work; the first reason stays.
    pub(crate) fn break_down(&self, broken: Broken) -> SledError {
        let code = if broken == Broken::Panicked { 1 } else { 2 };
        let _ = self.broken.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.broken().unwrap_or(broken).error()
    }

    /// Writes what is left, drops the database, and waits until its file can be locked again.
    pub(crate) fn close(self) -> Result<(), SledError> {
        let flushed = if self.broken().is_some() { Ok(()) } else { self.flush() };
        let file = self.directory.join(DATA_FILE);
        let Self { records, db, .. } = self;
        let dropped = catch_unwind(AssertUnwindSafe(move || {
            drop(records);
            drop(db);
        }));
        await_unlocked(&file);
        flushed.and(dropped.map_err(|_| SledError::Panicked))
    }
}

/// Waits until nobody holds the lock on sled's file, or patience ends.
fn await_unlocked(file: &Path) {
    let attempts = LOCK_PATIENCE.as_millis() / LOCK_POLL.as_millis();
    for _ in 0..attempts {
        // Whatever else is wrong with the file, it is not our lock.
        let Ok(file) = OpenOptions::new().read(true).write(true).open(file) else { return };
        match file.try_lock_exclusive() {
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => {
                thread::sleep(LOCK_POLL);
            }
            _ => return,
        }
    }
}
