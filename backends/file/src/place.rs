//! What lies in a key's place, and its removal.

use std::os::fd::{AsFd, OwnedFd};

use chrono::{DateTime, Utc};
use larder_core::{Clock, Condition, Deadline};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::driver::Spot;
use crate::error::{Fault, Raw};
use crate::folder::is_file;
use crate::key_file::KeyFile;
use crate::layout::{FolderPath, KeyHash};
use crate::lock::Held;
use crate::record::{Head, Life, Record};
use crate::replace::sync_change;

/// A key's place on the disk while its stripe is locked.
#[derive(Debug)]
pub(crate) struct At<'a> {
    pub(crate) held: &'a Held,
    pub(crate) spot: &'a Spot,
    /// `None` where it does not exist.
    pub(crate) folder: Option<OwnedFd>,
}

impl<'a> At<'a> {
    pub(crate) fn open(held: &'a Held, spot: &'a Spot) -> Raw<Self> {
        let folder = held.root().folder(&spot.folder)?;
        Ok(Self { held, spot, folder })
    }

    fn file(&self) -> Raw<Option<KeyFile>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let place =
            || self.held.root().place(&self.spot.folder, self.spot.hash.file_name().as_str());
        KeyFile::open_in(folder.as_fd(), self.spot.hash, place)
    }

    pub(crate) fn record(&self) -> Raw<Option<Record>> {
        self.file()?.map(|file| file.record(|own| self.spot.is_key(own))).transpose()
    }

    pub(crate) fn head(&self) -> Raw<Option<Head>> {
        self.file()?.map(|file| file.head(|own| self.spot.is_key(own))).transpose()
    }

    pub(crate) fn old(&self) -> Raw<Old> {
        match self.record() {
            Ok(record) => Ok(record.map_or(Old::Missing, Old::Record)),
            Err(fault) if fault.is_corrupt() => {
                let deadline = self.head().ok().flatten().and_then(|head| head.deadline());
                Ok(Old::Corrupt(deadline))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Tells whether there is a live record, or one that cannot be read and counts as live.
    pub(crate) fn is_live(&self, clock: &dyn Clock) -> Raw<bool> {
        let is_meant = |own: &str| self.spot.is_key(own);
        let live = self.file().and_then(|file| match file {
            Some(file) => file.is_live(clock, is_meant),
            None => Ok(false),
        });
        match live {
            Err(fault) if fault.hides_content() => Ok(true),
            live => live,
        }
    }

    pub(crate) fn remove(&self, sync: bool) -> Raw<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        remove_file(self.held, &self.spot.folder, folder, self.spot.hash, sync)
    }
}

/// Removes a key's file, if there is one.
pub(crate) fn remove_file(
    held: &Held,
    path: &FolderPath,
    folder: &OwnedFd,
    hash: KeyHash,
    sync: bool,
) -> Raw<()> {
    let name = hash.file_name();
    let place = || held.root().place(path, name.as_str());
    // Some systems let root unlink a folder, and a symlink is not ours to remove.
    match rustix::fs::statat(folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if !is_file(&stat) => {
            return Err(Fault::NotAFile { place: place() });
        }
        Ok(_) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Fault::os("removing", &place())(errno)),
    }
    match rustix::fs::unlinkat(folder, name.as_str(), AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Fault::os("removing", &place())(errno)),
    }
    if sync { sync_change(folder.as_fd(), place) } else { Ok(()) }
}

/// What a write finds in its key's place.
#[derive(Debug, Default)]
pub(crate) enum Old {
    #[default]
    Missing,
    Record(Record),
    /// It cannot be decoded: it is there, but matches no version, and ends when its head says so, if
    /// that can be read (`R4`).
    Corrupt(Option<Deadline>),
}

impl Old {
    pub(crate) fn meets(&self, condition: &Condition, now: DateTime<Utc>) -> bool {
        match self {
            Self::Missing => condition.holds(None),
            Self::Record(record) => {
                condition.holds(record.is_live(now).then_some(&record.data[..]))
            }
            Self::Corrupt(_) => matches!(condition, Condition::Any | Condition::Present),
        }
    }

    /// When it ends, if it is live and known to end.
    pub(crate) fn deadline(&self, now: DateTime<Utc>) -> Option<Deadline> {
        match self {
            Self::Record(record) if record.is_live(now) => record.deadline(),
            Self::Record(_) | Self::Missing => None,
            Self::Corrupt(deadline) => deadline.filter(|deadline| !deadline.is_past(now)),
        }
    }
}
