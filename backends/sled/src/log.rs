//! How far sled's log runs ahead of the disk, and keeping that small.
//!
//! sled 0.34 hands each piece of its log, at most a segment of 512 KiB, to one of seven helper threads
//! that all its databases in a process share, and puts no limit to the pieces that wait. A helper that
//! has written its piece needs the lock of the segment table. A writer may hold that lock while it
//! waits for the file to be cut shorter, and cutting is work for a helper, too, behind all pieces that
//! were handed over before: with seven of them written and waiting for the lock, nothing ever moves
//! again. It takes a burst of writes after many deletions, and a disk that is slower than the writers.
//!
//! sled keeps one free segment back when it cuts, so a writer fills at least one segment between the
//! order for a cut and the wait for it. So writers wait for the disk here long before the log is a
//! segment ahead of it: then the pieces before the cut are on the disk, and some of the seven are free
//! for it. This is no proof: helpers that have written and are yet to get the lock cannot be seen from
//! here, and one that is left alone, the other six being kept busy by other databases, can still come
//! too late.
//!
//! The two positions are not in sled's documented interface. They are in its public one:
//! `Db::context`, `Context::pagecache` and `PageCache::log` are hidden public fields of 0.34.7, the
//! last release of 0.34, and so are `LogKind` and `pin`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_core::{Error, Result};
use sled::{Db, LogKind};

use crate::error::{SledError, unknown_outcome};
use crate::flush::FlushQueue;
use crate::health::Health;

/// How far ahead the log may be before a flush is asked for, and before a writer waits for it.
const FLUSH_AT: u64 = 128 << 10;
const WAIT_AT: u64 = 256 << 10;
/// How much is written between two looks, and what a write counts beside its bytes: its share of the
/// pages that sled writes anew every few writes.
const LOOK_AFTER: u64 = 16 << 10;
const PER_WRITE: u64 = 2 << 10;

/// What the current thread does when the log is too far ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It goes on: a thread that must not block. Its caller waits before the next step.
    Never,
    /// It waits for the flushing thread.
    Waits,
    /// It flushes by itself: no other thread has the database.
    Alone,
}

thread_local! {
    static PATIENCE: Cell<Patience> = const { Cell::new(Patience::Never) };
}

/// Sets the current thread's patience until it is dropped.
pub(crate) struct PatienceGuard(Patience);

impl PatienceGuard {
    pub(crate) fn set(patience: Patience) -> Self {
        Self(PATIENCE.replace(patience))
    }
}

impl Drop for PatienceGuard {
    fn drop(&mut self) {
        PATIENCE.set(self.0);
    }
}

/// The log of one database.
pub(crate) struct Log {
    db: Db,
    health: Arc<Health>,
    queue: Arc<FlushQueue>,
    /// What was written since the last look.
    unseen: AtomicU64,
}

impl Log {
    pub(crate) fn new(db: Db, health: Arc<Health>, queue: Arc<FlushQueue>) -> Self {
        Self { db, health, queue, unseen: AtomicU64::new(0) }
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// Takes note of a write of so many bytes and its outcome; may wait, if the thread has the patience.
    #[inline]
    pub(crate) fn wrote<T>(&self, len: usize, outcome: sled::Result<T>) -> Result<T> {
        match outcome {
            Err(error) => Err(self.write_error(error)),
            Ok(written) => {
                let wrote = len as u64 + PER_WRITE;
                if self.unseen.fetch_add(wrote, Ordering::Relaxed) + wrote >= LOOK_AFTER {
                    self.keep_up()?;
                }
                Ok(written)
            }
        }
    }

    fn keep_up(&self) -> Result<()> {
        self.unseen.store(0, Ordering::Relaxed);
        let ahead = self.look();
        if ahead <= FLUSH_AT {
            return Ok(());
        }
        match PATIENCE.get() {
            Patience::Alone => drop(self.db.flush().map_err(SledError::from)?),
            Patience::Waits if ahead > WAIT_AT => {
                self.queue.wait_for_flush().map_err(unknown_outcome)?;
            }
            Patience::Waits | Patience::Never => self.queue.flush_now(),
        }
        Ok(())
    }

    /// Measures how far the log is ahead of the disk.
    fn look(&self) -> u64 {
        let log = &self.db.context.pagecache.log;
        // sled tells only the disk's position; the log's own is where a place in it would lie, which
        // is given back at once.
        let place = log.reserve(LogKind::Free, 0, &(), &sled::pin());
        // Where that fails, the next write does.
        let Ok(place) = place else { return 0 };
        let position = place.lsn();
        if place.abort().is_err() {
            return 0;
        }
        let ahead = u64::try_from(position.saturating_sub(log.stable_offset())).unwrap_or(0);
        self.queue.set_behind(ahead > WAIT_AT);
        ahead
    }

    #[cold]
    fn write_error(&self, error: sled::Error) -> Error {
        let is_io = matches!(error, sled::Error::Io(_));
        let error = Error::from(SledError::from(error));
        // When sled fails with its log, it says so to every later write, and lets go of it. Where
        // it does not know of the failure, it has left something behind.
        if is_io && self.db.context.global_error().is_ok() {
            self.health.write_lost(error.kind());
        }
        error
    }
}
