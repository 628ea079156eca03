use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use larder::Error;

use super::progress::Progress;

/// What a copy has done so far.
pub(crate) struct Tally<'a> {
    progress: &'a Progress,
    copied: AtomicU64,
    already_there: AtomicU64,
    left_out: AtomicU64,
    expired: AtomicU64,
    failed: AtomicU64,
    first_error: Mutex<Option<Error>>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(progress: &'a Progress) -> Self {
        Self {
            progress,
            copied: AtomicU64::new(0),
            already_there: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            first_error: Mutex::new(None),
        }
    }

    pub(crate) fn copied(&self) -> u64 {
        self.copied.load(Relaxed)
    }

    pub(crate) fn already_there(&self) -> u64 {
        self.already_there.load(Relaxed)
    }

    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }

    pub(crate) fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// The first of the errors that were about one entry alone.
    pub(crate) fn first_error(&self) -> Option<Error> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add_copied(&self) {
        self.count(&self.copied);
    }

    pub(super) fn add_already_there(&self) {
        self.count(&self.already_there);
    }

    pub(super) fn add_expired(&self) {
        self.count(&self.expired);
    }

    pub(super) fn add_left_out(&self, records: u64) {
        self.left_out.fetch_add(records, Relaxed);
    }

    pub(super) fn add_failed(&self, error: Error) {
        self.count(&self.failed);
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
        self.progress.advance();
    }
}

impl fmt::Display for Tally<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (copied, there) = (self.copied(), self.already_there());
        write!(f, "copied {copied}, already there {there}, left out {}", self.left_out())?;
        if self.expired() > 0 {
            write!(f, ", expired meanwhile {}", self.expired())?;
        }
        if self.failed() > 0 {
            write!(f, ", failed {}", self.failed())?;
        }
        Ok(())
    }
}
