use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_core::chrono::{DateTime, Utc};
use larder_core::{Bytes, Namespace};

use super::twist::Scanned;

/// Where the records of a shelf lie: shared by all who have opened it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Medium(Arc<Mutex<Contents>>);

/// What lies there.
#[derive(Default)]
pub(crate) struct Contents {
    /// What a running process sees, by place.
    pub(crate) live: Records,
    /// The last listing that was asked for: its other pages need not scan again.
    pub(super) listing: Option<Listing>,
    /// What is found after the process has ended.
    pub(crate) image: BTreeMap<String, Bytes>,
    /// How many sets there have been.
    pub(crate) sets: u64,
    /// No room for another write.
    pub(crate) full: bool,
    /// The way to it is cut.
    pub(crate) cut: bool,
    /// How many processes have ended here: what an earlier one still does comes too late.
    pub(crate) ended: u64,
    /// Somebody has it to himself.
    pub(crate) held: bool,
}

/// Records by place, and how often they may have changed.
#[derive(Default)]
pub(crate) struct Records {
    by_place: BTreeMap<String, Bytes>,
    changes: u64,
}

impl Records {
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }
}

impl Deref for Records {
    type Target = BTreeMap<String, Bytes>;

    fn deref(&self) -> &Self::Target {
        &self.by_place
    }
}

impl DerefMut for Records {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.changes += 1;
        &mut self.by_place
    }
}

/// What a listing found, in its order, and for which question that is the answer.
pub(super) struct Listing {
    /// The namespace, the prefix, when (`None`: nothing there expires), and after how many changes.
    pub(super) of: (Namespace, String, Option<DateTime<Utc>>, u64),
    pub(super) scanned: Arc<[Scanned]>,
    pub(super) unlisted: u64,
}

impl Medium {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells this medium from every other one.
    pub(crate) fn id(&self) -> [u8; 8] {
        (Arc::as_ptr(&self.0) as usize as u64).to_le_bytes()
    }

    /// Ends the process, in good order or not: what it had not written is lost.
    pub(crate) fn end(&self) {
        let mut contents = self.lock();
        contents.ended += 1;
        *contents.live = contents.image.clone();
    }
}

impl fmt::Debug for Contents {
    // Values do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("records", &self.live.len()).finish_non_exhaustive()
    }
}
