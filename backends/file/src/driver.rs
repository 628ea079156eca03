//! The raw calls on one key. They block, and run on a blocking thread.

use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use larder_core::{
    Clock, Condition, Deadline, DeleteOptions, Durability, Expiry, Resolved, SetOptions, Version,
};

use crate::error::{Fault, Raw};
use crate::folder::{Roots, TRIES};
use crate::key_file::KeyFile;
use crate::layout::{FolderPath, KeyHash, Stripe};
use crate::links::Links;
use crate::listing::Snapshots;
use crate::lock::{Held, Locks};
use crate::place::{At, Old};
use crate::record::{self, Head, Life, Record};
use crate::replace::{Temp, sync_change};

/// Everything that the handles of one store share.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) roots: Roots,
    pub(crate) locks: Locks,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) durability: Durability,
    pub(crate) lock_timeout: std::time::Duration,
    pub(crate) snapshots: Snapshots,
    links: Links,
}

/// A key and where its file lies.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) folder: Arc<FolderPath>,
    pub(crate) key: Box<str>,
    pub(crate) hash: KeyHash,
}

impl Spot {
    pub(crate) fn new(folder: &Arc<FolderPath>, key: &str) -> Self {
        Self { folder: Arc::clone(folder), key: key.into(), hash: KeyHash::of(key) }
    }

    pub(crate) fn stripe(&self) -> Stripe {
        self.hash.stripe()
    }

    pub(crate) fn is_key(&self, own: &str) -> bool {
        own == &*self.key
    }
}

/// A live value.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) data: Bytes,
    pub(crate) deadline: Option<Deadline>,
    /// When it was found live.
    pub(crate) now: DateTime<Utc>,
}

/// How far a write goes before it says that it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The process may die.
    Process,
    /// The power may fail; what is there then is the old or the new.
    Content,
    /// The power may fail; what is there then is the new.
    Everything,
}

impl Driver {
    pub(crate) fn new(
        roots: Roots,
        clock: Arc<dyn Clock>,
        durability: Durability,
        lock_timeout: std::time::Duration,
    ) -> Self {
        let (locks, snapshots, links) = (Locks::new(), Snapshots::default(), Links::default());
        Self { roots, locks, clock, durability, lock_timeout, snapshots, links }
    }

    /// Frees what the store holds; no call is in progress.
    pub(crate) fn close(&self) {
        self.locks.close();
        self.snapshots.clear();
        self.roots.close();
    }

    /// Makes the disk take what the operating system still keeps back.
    pub(crate) fn flush(&self) -> Raw<()> {
        let root = self.root()?;
        #[cfg(target_os = "linux")]
        let synced = rustix::fs::syncfs(root.fd());
        #[cfg(not(target_os = "linux"))]
        let synced = {
            rustix::fs::sync();
            Ok(())
        };
        synced.map_err(Fault::os("syncing", root.path()))
    }

    /// How far a change goes that is alone.
    pub(crate) fn reach(&self) -> Reach {
        if self.is_synced() { Reach::Everything } else { Reach::Process }
    }

    /// How far a change goes that leaves the syncing of the folder to its caller, or a renewal, which
    /// may be lost with the power (`E5`) as the value may not.
    pub(crate) fn partial_reach(&self) -> Reach {
        if self.is_synced() { Reach::Content } else { Reach::Process }
    }

    /// Syncs a folder, and the chain above, after changes that others can already see.
    pub(crate) fn sync_folder(&self, path: &FolderPath) -> Raw<()> {
        if !self.is_synced() {
            return Ok(());
        }
        let root = self.root()?;
        let Some(folder) = root.folder(path)? else { return Ok(()) };
        sync_change(folder.as_fd(), || root.place(path, ""))?;
        self.links.sync(&root, path, folder.as_fd())
    }

    /// Whether `Ok` has to survive a loss of power.
    pub(crate) fn is_synced(&self) -> bool {
        self.durability == Durability::PowerLoss
    }

    /// Reads a key without waiting for anything; `None` where that cannot be done.
    #[cfg(target_os = "linux")]
    pub(crate) fn get_in_place(&self, spot: &Spot) -> Option<Raw<Option<Live>>> {
        use crate::key_file::{OPEN_KEY, decode_at};
        use crate::linux::{Cached, path_of, read_cached};
        let root = match self.roots.get() {
            Ok(root) => root,
            Err(fault) => return Some(Err(fault)),
        };
        let name = spot.hash.file_name();
        let path = path_of(&spot.folder, name.as_str());
        match read_cached(root.fd(), &path, OPEN_KEY) {
            Cached::Unsure => None,
            Cached::Missing => Some(Ok(None)),
            Cached::Bytes(bytes) => {
                let place = || root.place(&spot.folder, name.as_str());
                let record = decode_at(bytes, &spot.key, place);
                Some(record.map(|record| self.live(record)))
            }
        }
    }

    /// No read is known here that surely does not wait.
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_self, reason = "the other systems' part of one method")]
    pub(crate) fn get_in_place(&self, _: &Spot) -> Option<Raw<Option<Live>>> {
        None
    }

    pub(crate) fn get(&self, spot: &Spot) -> Raw<Option<Live>> {
        let record =
            self.open(spot)?.map(|file| file.record(|own| spot.is_key(own))).transpose()?;
        Ok(record.and_then(|record| self.live(record)))
    }

    /// The head of a live key's file.
    pub(crate) fn head(&self, spot: &Spot) -> Raw<Option<(Head, DateTime<Utc>)>> {
        let head = self.open(spot)?.map(|file| file.head(|own| spot.is_key(own))).transpose()?;
        let now = self.clock.now();
        Ok(head.filter(|head| head.is_live(now)).map(|head| (head, now)))
    }

    fn open(&self, spot: &Spot) -> Raw<Option<KeyFile>> {
        let root = self.roots.get()?;
        if let Some(file) = KeyFile::open(&root, &spot.folder, spot.hash)? {
            return Ok(Some(file));
        }
        // Nothing there: or the root is another one by now.
        match self.roots.look()? {
            Some(current) if !Arc::ptr_eq(&current, &root) => {
                KeyFile::open(&current, &spot.folder, spot.hash)
            }
            _ => Ok(None),
        }
    }

    /// The time is read after the file: a renewal between the two must not look like an expiry.
    fn live(&self, record: Record) -> Option<Live> {
        let now = self.clock.now();
        let deadline = record.deadline();
        record.is_live(now).then_some(Live { data: record.data, deadline, now })
    }

    /// Writes a value, and tells whether the condition held.
    pub(crate) fn set(
        &self,
        held: &Held,
        spot: &Spot,
        data: &Bytes,
        options: &SetOptions,
        reach: Reach,
    ) -> Raw<bool> {
        let place = At::open(held, spot)?;
        let needs_old = options.condition != Condition::Any || options.expiry == Expiry::Keep;
        let old = if needs_old { place.old()? } else { Old::default() };
        let now = self.clock.now();
        if !old.meets(&options.condition, now) {
            return Ok(false);
        }
        let deadline = match options.expiry.resolve(now) {
            Resolved::Never => None,
            Resolved::At(deadline) => Some(deadline),
            Resolved::Keep => old.live(now)?.and_then(|old| old.deadline()),
            Resolved::Gone => {
                place.remove(reach == Reach::Everything)?;
                return Ok(true);
            }
        };
        self.replace(place, deadline, data, reach)?;
        Ok(true)
    }

    /// Deletes a key, and tells whether it was live and the condition held.
    pub(crate) fn delete(
        &self,
        held: &Held,
        spot: &Spot,
        options: &DeleteOptions,
        reach: Reach,
    ) -> Raw<bool> {
        if options.condition == Condition::Absent {
            return Ok(false);
        }
        let place = At::open(held, spot)?;
        let live = if let Condition::Matches(_) = options.condition {
            let old = place.old()?;
            if !old.meets(&options.condition, self.clock.now()) {
                return Ok(false);
            }
            true
        } else {
            place.is_live(self.clock.as_ref())?
        };
        // The record of a key that is gone already may stay until the power fails.
        place.remove(live && reach == Reach::Everything)?;
        Ok(live)
    }

    /// Gives a live value and moves its deadline, if it has one.
    pub(crate) fn renew(
        &self,
        held: &Held,
        spot: &Spot,
        renew_for: std::time::Duration,
    ) -> Raw<Option<Live>> {
        let place = At::open(held, spot)?;
        let Some(record) = place.record()? else { return Ok(None) };
        let Some(mut live) = self.live(record) else { return Ok(None) };
        if live.deadline.is_some() {
            match Expiry::After(renew_for).resolve(live.now) {
                Resolved::At(deadline) => {
                    self.replace(place, Some(deadline), &live.data, self.partial_reach())?;
                    live.deadline = Some(deadline);
                }
                _ => place.remove(self.is_synced())?,
            }
        }
        Ok(Some(live))
    }

    /// Changes the expiry of a live key, and tells whether it is live.
    pub(crate) fn update_expiry(&self, held: &Held, spot: &Spot, expiry: Expiry) -> Raw<bool> {
        let place = At::open(held, spot)?;
        let Some(record) = place.record()? else { return Ok(false) };
        let tells_key = record.tells_key;
        let Some(live) = self.live(record) else { return Ok(false) };
        let deadline = match expiry.resolve(live.now) {
            Resolved::Keep => return Ok(true),
            Resolved::Gone => {
                place.remove(self.is_synced())?;
                return Ok(true);
            }
            Resolved::Never => None,
            Resolved::At(deadline) => Some(deadline),
        };
        if deadline != live.deadline || !tells_key {
            self.replace(place, deadline, &live.data, self.partial_reach())?;
        }
        Ok(true)
    }

    fn replace(
        &self,
        at: At<'_>,
        deadline: Option<Deadline>,
        data: &Bytes,
        reach: Reach,
    ) -> Raw<()> {
        let At { held, spot, folder } = at;
        let (root, mut folder) = (held.root(), folder);
        let head = record::encode_head(deadline, &spot.key, data);
        let name = spot.hash.file_name();
        for _ in 0..TRIES {
            let opened = match folder.take() {
                Some(folder) => folder,
                None => root.make_folder(&spot.folder)?,
            };
            let sync = reach != Reach::Process;
            let place = || root.place(&spot.folder, name.as_str());
            let written = Temp::write(root, opened.as_fd(), held.stripe(), [&head, data], sync)
                .map_err(|errno| Fault::os("writing", &place())(errno))
                .and_then(|temp| temp.replace(name.as_str(), place));
            match written {
                // The folder was removed: by a clearing, which finds nothing more to clear here.
                Err(fault) if fault.is_vanished() => {
                    if !root.is_current() {
                        return Err(Fault::RootGone);
                    }
                    continue;
                }
                written => written?,
            }
            if reach == Reach::Everything {
                sync_change(opened.as_fd(), place)?;
                self.links.sync(root, &spot.folder, opened.as_fd())?;
            }
            return Ok(());
        }
        Err(Fault::Restless { place: root.place(&spot.folder, "") })
    }
}

/// The version of a value is the value (`C2`).
pub(crate) fn version_of(data: &Bytes) -> Version {
    Version::new(data.clone())
}
