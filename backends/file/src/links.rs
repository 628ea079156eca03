//! Which folders are known to be linked durably, from the root down.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use crate::error::Raw;
use crate::folder::Root;
use crate::layout::FolderPath;
use crate::replace::sync_change;

/// More folders than this are not remembered, and synced again.
const REMEMBERED: usize = 1 << 17;

/// A folder, told from those that had its number before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    born: (i64, u32),
}

/// The folders whose entry in their parent this process has synced, whoever made them.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<HashSet<Identity>>);

impl Links {
    /// Syncs every folder above `folder` that has not been synced since `folder` was made.
    pub(crate) fn sync(&self, root: &Root, path: &FolderPath, folder: BorrowedFd<'_>) -> Raw<()> {
        let identity = identity(folder);
        if identity.is_some_and(|identity| self.is_known(identity)) {
            return Ok(());
        }
        let Some(above) = path.parent() else {
            return self.sync_root(root, identity);
        };
        let Some(parent) = root.folder(&above)? else {
            // It was removed, and with it the change that was to be kept.
            return Ok(());
        };
        self.sync(root, &above, parent.as_fd())?;
        sync_change(parent.as_fd(), || root.place(&above, ""))?;
        self.remember(identity);
        Ok(())
    }

    fn sync_root(&self, root: &Root, identity: Option<Identity>) -> Raw<()> {
        if let Some(above) = root.path().parent() {
            use rustix::fs::{Mode, OFlags, open};
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // Whoever may not read the folder above did not make the root; who made it has synced it.
            if let Ok(parent) = open(above, flags, Mode::empty()) {
                sync_change(parent.as_fd(), || above.to_owned())?;
            }
        }
        self.remember(identity);
        Ok(())
    }

    fn is_known(&self, identity: Identity) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&identity)
    }

    fn remember(&self, identity: Option<Identity>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.extend(identity);
    }
}

/// The inode alone does not do: another process may remove a folder and make it again, and the new
/// one often gets the old number. Where the time of birth is not known, nothing is remembered.
#[cfg(target_os = "linux")]
fn identity(folder: BorrowedFd<'_>) -> Option<Identity> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let stat = statx(folder, "", AtFlags::EMPTY_PATH, wanted).ok()?;
    StatxFlags::from_bits_retain(stat.stx_mask).contains(wanted).then_some(Identity {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        born: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
    })
}

#[cfg(not(target_os = "linux"))]
fn identity(_: BorrowedFd<'_>) -> Option<Identity> {
    None
}
