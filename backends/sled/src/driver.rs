//! The opened sled database, and the wall around it: no panic of sled's gets past here.

use std::fs::OpenOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fs2::FileExt;
use larder_core::{Error, ErrorKind, Result};

use crate::error::SledError;
use crate::flush::FlushQueue;
use crate::health::Health;
use crate::index::ExpiryIndex;
use crate::large::LargeValues;
use crate::log::{Log, Patience, PatienceGuard};
use crate::records::Records;
use crate::tree::Tree;

/// The trees' names end with the version of what is in them.
const RECORDS: &str = "larder.records.1";
const EXPIRY_INDEX: &str = "larder.expiry.1";
const LARGE_VALUES: &str = "larder.large.1";

/// The file that sled locks.
const DATA_FILE: &str = "db";

/// How long a database that was dropped may hold on to its file lock: sled's helper threads let go
/// of the file when they end their last piece of work.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(1);

/// One opened database.
pub(crate) struct Driver {
    records: Records,
    log: Arc<Log>,
    directory: PathBuf,
    health: Arc<Health>,
}

impl Driver {
    /// Opens or creates the database in `directory`; whoever takes flushes from `queue` begins later.
    pub(crate) fn open(
        directory: &Path,
        cache_capacity: u64,
        queue: &Arc<FlushQueue>,
    ) -> Result<Self> {
        let health = Arc::<Health>::default();
        let _patience = PatienceGuard::set(Patience::Alone);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let db = open_database(directory, cache_capacity).map_err(|error| match error {
                sled::Error::Unsupported(_) => SledError::OtherSettings(error),
                error => SledError::Driver(error),
            })?;
            let log = Arc::new(Log::new(db, Arc::clone(&health), Arc::clone(queue)));
            let open = |name| Tree::open(&log, name);
            let records = Records {
                tree: open(RECORDS)?,
                index: ExpiryIndex::new(open(EXPIRY_INDEX)?),
                large: LargeValues::new(open(LARGE_VALUES)?),
            };
            records.recover()?;
            Ok((log, records))
        }));
        let failed: Error = match opened {
            Ok(Ok((log, records))) => {
                let directory = directory.to_owned();
                return Ok(Self { records, log, directory, health });
            }
            Ok(Err(error)) => error,
            Err(_) => health.panicked(),
        };
        if failed.kind() != ErrorKind::Locked {
            await_unlocked(&directory.join(DATA_FILE));
        }
        Err(failed)
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Runs a step on the records; once sled has failed for good, every step is refused.
    #[inline]
    pub(crate) fn run<T>(&self, step: impl FnOnce(&Records) -> Result<T>) -> Result<T> {
        self.health.check()?;
        match catch_unwind(AssertUnwindSafe(|| step(&self.records))) {
            Ok(result) => result,
            Err(_) => Err(self.health.panicked()),
        }
    }

    /// As [`run`](Self::run), on a thread that may block: it waits for the disk where it must.
    pub(crate) fn run_blocking<T>(&self, step: impl FnOnce(&Records) -> Result<T>) -> Result<T> {
        let _patience = PatienceGuard::set(Patience::Waits);
        self.run(step)
    }

    /// Tells whether values wait for being removed.
    pub(crate) fn has_discarded(&self) -> bool {
        self.records.large.has_discarded()
    }

    /// Writes everything that was set so far to the operating system, and waits until it took it.
    pub(crate) fn flush(&self) -> Result<()> {
        self.run(|_| self.log.db().flush().map(drop).map_err(|error| SledError::from(error).into()))
    }

    /// Tells whether sled knows that it can write no more.
    pub(crate) fn has_write_error(&self) -> bool {
        self.log.db().context.global_error().is_err()
    }

    /// Writes what is left, drops the database, and waits until its file can be locked again.
    pub(crate) fn close(self) -> Result<()> {
        let _patience = PatienceGuard::set(Patience::Alone);
        let last_words = self.health.check().is_ok().then(|| {
            self.run(|records| {
                records.large.collect()?;
                records.large.mark_clean()
            })?;
            self.flush()
        });
        if !self.health.can_be_dropped() {
            // Dropping it would never end; so it stays, and so does its lock.
            std::mem::forget(self);
            return Err(SledError::CloseStuck.into());
        }
        let file = self.directory.join(DATA_FILE);
        let health = Arc::clone(&self.health);
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(self)));
        await_unlocked(&file);
        dropped.map_err(|_| health.panicked())?;
        last_words.unwrap_or(Ok(()))
    }
}

fn open_database(directory: &Path, cache_capacity: u64) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(directory)
        .cache_capacity(cache_capacity)
        // sled's own flushing thread, when it panics, makes dropping the database hang; flushing is
        // done by `Flusher`.
        .flush_every_ms(None)
        .open()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_panic_every_step_is_refused_and_the_path_is_let_go_of() {
        let directory = tempfile::tempdir().unwrap();
        let driver = Driver::open(directory.path(), 1 << 20, &Arc::default()).unwrap();
        let panics = driver.run(|_| -> Result<()> { panic!("as sled does on damaged files") });
        assert_eq!(panics.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(driver.run(|_| Ok(())).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(driver.flush().unwrap_err().kind(), ErrorKind::Corrupt);
        driver.close().unwrap();
        Driver::open(directory.path(), 1 << 20, &Arc::default()).unwrap().close().unwrap();
    }

    #[test]
    fn a_database_that_cannot_be_dropped_is_kept_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let driver = Driver::open(directory.path(), 1 << 20, &Arc::default()).unwrap();
        driver.health().write_lost(ErrorKind::StorageFull);
        assert_eq!(driver.run(|_| Ok(())).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(driver.close().unwrap_err().kind(), ErrorKind::Internal);
        let again = Driver::open(directory.path(), 1 << 20, &Arc::default()).map(drop);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Locked);
    }

    #[test]
    fn a_database_opens_again_at_once_however_often() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let driver = Driver::open(directory.path(), 1 << 20, &Arc::default()).unwrap();
            let options = larder_core::SetOptions::default();
            let now = chrono::DateTime::UNIX_EPOCH;
            let set = driver.run(|records| records.set(b"\0k", &[round; 9_000], &options, now));
            assert!(set.unwrap());
            driver.close().unwrap();
        }
    }
}
