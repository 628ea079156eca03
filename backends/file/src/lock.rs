//! The locks that writers of one key take: first their turn in this process, then a lock file that
//! keeps other processes out.
//!
//! A turn is waited for asynchronously. A lock file is only ever tried: whoever finds it held goes
//! back to the runtime, sleeps, and tries again, so that waiting occupies no thread.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::error::{Fault, Raw};
use crate::folder::{FileId, Root, Roots, TRIES, is_file, is_link, open_at};
use crate::layout::{STRIPES, Stripe};
use crate::replace::{Temp, harmless};

/// How many lock files a store keeps open between calls.
const KEPT: usize = 64;
/// The pause between two tries for a lock file: short, since whoever has it lets go of it only for a
/// moment between two calls.
pub(crate) const RETRY: Duration = Duration::from_millis(1);

/// All locks of a store.
#[derive(Debug)]
pub(crate) struct Locks {
    slots: Box<[Arc<Mutex<Slot>>]>,
    kept: Arc<AtomicUsize>,
}

/// The lock file, if it is kept open.
type Slot = Option<LockFile>;

/// An open lock file, not necessarily locked.
#[derive(Debug)]
struct LockFile {
    fd: OwnedFd,
    id: FileId,
    root: Arc<Root>,
    kept: Arc<AtomicUsize>,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        self.kept.fetch_sub(1, Relaxed);
    }
}

impl Locks {
    pub(crate) fn new() -> Self {
        let slots = (0..STRIPES).map(|_| Arc::default()).collect();
        Self { slots, kept: Arc::default() }
    }

    /// This process's turn, if nobody else has it.
    pub(crate) fn try_turn(&self, stripe: Stripe) -> Option<Turn> {
        let slot = Arc::clone(&self.slots[stripe.index()]).try_lock_owned().ok()?;
        Some(Turn { slot, stripe, kept: Arc::clone(&self.kept) })
    }

    /// Waits for this process's turn; `None` when it does not come in time.
    ///
    /// # Cancel safety
    /// A dropped wait leaves the queue.
    pub(crate) async fn turn(&self, stripe: Stripe, until: Instant) -> Option<Turn> {
        if let Some(turn) = self.try_turn(stripe) {
            return Some(turn);
        }
        let slot = Arc::clone(&self.slots[stripe.index()]).lock_owned();
        let slot = tokio::time::timeout_at(until, slot).await.ok()?;
        Some(Turn { slot, stripe, kept: Arc::clone(&self.kept) })
    }

    /// Closes the lock files that are kept open.
    pub(crate) fn close(&self) {
        for slot in &self.slots {
            if let Ok(mut slot) = slot.try_lock() {
                *slot = None;
            }
        }
    }
}

/// This process's turn at a stripe.
#[derive(Debug)]
pub(crate) struct Turn {
    slot: OwnedMutexGuard<Slot>,
    stripe: Stripe,
    kept: Arc<AtomicUsize>,
}

/// What came of a try for a lock file.
#[derive(Debug)]
pub(crate) enum Tried {
    Locked(Held),
    /// Another process, or another store in this one, has it.
    Taken(Turn),
}

impl Turn {
    /// Tries to lock the stripe's file; blocks for the disk but not for the lock.
    pub(crate) fn try_lock(mut self, roots: &Roots) -> Raw<Tried> {
        for _ in 0..TRIES {
            let root = roots.get()?;
            let file = match self.slot.take() {
                Some(file) if Arc::ptr_eq(&file.root, &root) => file,
                _ => match LockFile::open(&root, self.stripe, &self.kept) {
                    Err(fault) if fault.is_vanished() => {
                        roots.look_or_make()?;
                        continue;
                    }
                    opened => opened?,
                },
            };
            match rustix::fs::flock(&file.fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    *self.slot = Some(file);
                    return Ok(Tried::Taken(self));
                }
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Fault::os("locking", &file.path(self.stripe))(errno)),
            }
            // Somebody may have removed the file, or the whole root, before it was locked: then the
            // lock keeps nobody out.
            if file.is_current(self.stripe) {
                let stripe = self.stripe;
                return Ok(Tried::Locked(Held { turn: self, file: Some(file), root, stripe }));
            }
            drop(file);
            roots.look_or_make()?;
        }
        Err(Fault::RootGone)
    }
}

impl LockFile {
    fn open(root: &Arc<Root>, stripe: Stripe, kept: &Arc<AtomicUsize>) -> Raw<Self> {
        let name = stripe.lock_name();
        let place = root.path().join(&name);
        let failed = || Fault::os("opening", &place);
        for _ in 0..TRIES {
            // For writing, since some network file systems want that of an exclusive lock.
            match open_at(root.fd(), &name, OFlags::RDWR | OFlags::NONBLOCK) {
                Ok(fd) => {
                    let stat = rustix::fs::fstat(&fd).map_err(failed())?;
                    if !is_file(&stat) {
                        return Err(Fault::NotAFile { place });
                    }
                    kept.fetch_add(1, Relaxed);
                    let (id, root) = (FileId::of(&stat), Arc::clone(root));
                    return Ok(Self { fd, id, root, kept: Arc::clone(kept) });
                }
                Err(Errno::NOENT) => Self::make(root, stripe, &name).map_err(failed())?,
                Err(errno) if is_link(errno) || matches!(errno, Errno::ISDIR | Errno::NXIO) => {
                    return Err(Fault::NotAFile { place });
                }
                Err(errno) => return Err(failed()(errno)),
            }
        }
        Err(Fault::Restless { place })
    }

    /// Makes a lock file, which appears whole.
    fn make(root: &Root, stripe: Stripe, name: &str) -> rustix::io::Result<()> {
        let temp = Temp::write(root, root.fd(), stripe, [&harmless(), b""], false)?;
        temp.publish_new(name).map(|_| ())
    }

    fn path(&self, stripe: Stripe) -> std::path::PathBuf {
        self.root.path().join(stripe.lock_name())
    }

    /// Tells whether the file is the one at its path, from the root's own path on.
    fn is_current(&self, stripe: Stripe) -> bool {
        rustix::fs::lstat(self.path(stripe)).is_ok_and(|stat| FileId::of(&stat) == self.id)
    }
}

/// A locked stripe: no other writer of Larder touches its keys until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    turn: Turn,
    file: Option<LockFile>,
    root: Arc<Root>,
    stripe: Stripe,
}

impl Held {
    /// The root folder that holds the lock.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn stripe(&self) -> Stripe {
        self.stripe
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let unlocked = rustix::fs::flock(file.fd.as_fd(), FlockOperation::Unlock).is_ok();
        // Closing the file unlocks it, too.
        if unlocked && self.turn.kept.load(Relaxed) <= KEPT {
            *self.turn.slot = Some(file);
        }
    }
}
