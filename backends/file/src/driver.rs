//! The raw calls on one key. They block, and run on a blocking thread.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use larder_core::{
    Clock, Condition, Deadline, DeleteOptions, Durability, Expiry, Resolved, SetOptions, Version,
};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::error::{Fault, Raw};
use crate::folder::{Roots, TRIES};
use crate::key_file::KeyFile;
use crate::layout::{FolderPath, KeyHash, Stripe};
use crate::links::Links;
use crate::listing::Snapshots;
use crate::lock::{Held, Locks};
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

    fn is_key(&self, own: &str) -> bool {
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
enum Reach {
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

    fn reach(&self) -> Reach {
        if self.is_synced() { Reach::Everything } else { Reach::Process }
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
                place.remove(self.is_synced())?;
                return Ok(true);
            }
        };
        self.replace(place, deadline, data, self.reach())?;
        Ok(true)
    }

    /// Deletes a key, and tells whether it was live and the condition held.
    pub(crate) fn delete(&self, held: &Held, spot: &Spot, options: &DeleteOptions) -> Raw<bool> {
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
        place.remove(live && self.is_synced())?;
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
                    self.replace(place, Some(deadline), &live.data, self.renewal_reach())?;
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
            self.replace(place, deadline, &live.data, self.renewal_reach())?;
        }
        Ok(true)
    }

    /// A renewal may be lost with the power (`E5`), the value may not.
    fn renewal_reach(&self) -> Reach {
        if self.is_synced() { Reach::Content } else { Reach::Process }
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

/// A key's place on the disk while its stripe is locked.
#[derive(Debug)]
struct At<'a> {
    held: &'a Held,
    spot: &'a Spot,
    /// `None` where it does not exist.
    folder: Option<OwnedFd>,
}

impl<'a> At<'a> {
    fn open(held: &'a Held, spot: &'a Spot) -> Raw<Self> {
        let folder = held.root().folder(&spot.folder)?;
        Ok(Self { held, spot, folder })
    }

    fn file(&self) -> Raw<Option<KeyFile>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let place =
            || self.held.root().place(&self.spot.folder, self.spot.hash.file_name().as_str());
        KeyFile::open_in(folder.as_fd(), self.spot.hash, place)
    }

    fn record(&self) -> Raw<Option<Record>> {
        self.file()?.map(|file| file.record(|own| self.spot.is_key(own))).transpose()
    }

    fn old(&self) -> Raw<Old> {
        match self.record() {
            Ok(record) => Ok(record.map_or(Old::Missing, Old::Record)),
            Err(fault) if fault.is_corrupt() => Ok(Old::Corrupt(fault)),
            Err(fault) => Err(fault),
        }
    }

    /// Tells whether there is a live record, or one that cannot be decoded and counts as live.
    fn is_live(&self, clock: &dyn Clock) -> Raw<bool> {
        let Some(file) = self.file()? else { return Ok(false) };
        let is_meant = |own: &str| self.spot.is_key(own);
        match file.head(is_meant) {
            Ok(head) if head.is_live(clock.now()) => return Ok(true),
            Err(fault) if !fault.is_corrupt() => return Err(fault),
            Err(_) => return Ok(true),
            Ok(_) => {}
        }
        // A damaged expiry is no reason to call a key expired.
        match file.record(is_meant) {
            Ok(record) => Ok(record.is_live(clock.now())),
            Err(fault) if fault.is_corrupt() => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    fn remove(&self, sync: bool) -> Raw<()> {
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
        Ok(stat) if !crate::folder::is_file(&stat) => {
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
enum Old {
    #[default]
    Missing,
    Record(Record),
    /// It cannot be decoded: it is there, but matches no version and has no known expiry (`R4`).
    Corrupt(Fault),
}

impl Old {
    fn meets(&self, condition: &Condition, now: DateTime<Utc>) -> bool {
        match self {
            Self::Missing => condition.holds(None),
            Self::Record(record) => {
                condition.holds(record.is_live(now).then_some(&record.data[..]))
            }
            Self::Corrupt(_) => matches!(condition, Condition::Any | Condition::Present),
        }
    }

    fn live(self, now: DateTime<Utc>) -> Raw<Option<Record>> {
        match self {
            Self::Record(record) if record.is_live(now) => Ok(Some(record)),
            Self::Record(_) | Self::Missing => Ok(None),
            Self::Corrupt(fault) => Err(fault),
        }
    }
}

/// The version of a value is the value (`C2`).
pub(crate) fn version_of(data: &Bytes) -> Version {
    Version::new(data.clone())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use larder_core::{DeleteOptions, Namespace, NamespacedStore, Store, StoreExt};

    use super::*;
    use crate::FileStore;
    use crate::replace::synced::count;

    async fn open(root: &Path, durability: Durability) -> FileStore {
        FileStore::builder(root).durability(durability).build().await.unwrap()
    }

    fn file(root: &Path, segments: &[&str], key: &str) -> PathBuf {
        let path = FolderPath::of(&Namespace::from_segments(segments).unwrap(), false);
        root.join(path.as_str()).join(KeyHash::of(key).file_name().as_str())
    }

    #[tokio::test]
    async fn power_loss_syncs_the_file_its_folder_and_once_the_chain_above() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let store = open(&root, Durability::PowerLoss).await;
        let before = count(folder.path());
        let child = store.with_path(&["a", "b"]).unwrap();
        child.set("key", "v").await.unwrap();
        let (a, b) = (root.join("a"), root.join("a/b"));
        assert_eq!(count(&file(&root, &["a", "b"], "key")), 1);
        assert_eq!((count(&b), count(&a), count(&root)), (1, 1, 1));
        assert_eq!(count(folder.path()), before + 1);

        child.set("key", "v").await.unwrap();
        assert_eq!(count(&file(&root, &["a", "b"], "key")), 1);
        assert_eq!((count(&b), count(&a), count(&root)), (2, 1, 1));

        child.delete("key").await.unwrap();
        assert_eq!(count(&b), 3);
        // Another process made this folder, and may have died before it synced it.
        std::fs::create_dir(root.join("c")).unwrap();
        store.with_path(&["c"]).unwrap().set("key", "v").await.unwrap();
        assert_eq!((count(&root.join("c")), count(&root)), (1, 2));
    }

    #[tokio::test]
    async fn a_folder_that_was_made_anew_is_linked_durably_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Durability::PowerLoss).await;
        let child = store.with_path(&["a"]).unwrap();
        child.set("key", "v").await.unwrap();
        let before = count(folder.path());
        child.set("key", "v").await.unwrap();
        assert_eq!(count(folder.path()), before);
        // The new folder may well have the inode of the old one.
        std::fs::remove_dir_all(folder.path().join("a")).unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        child.set("key", "v").await.unwrap();
        assert_eq!(count(folder.path()), before + 1);
    }

    #[tokio::test]
    async fn a_renewal_syncs_the_value_and_not_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Durability::PowerLoss).await;
        store.set("key", "v").ttl(Duration::from_secs(60)).await.unwrap();
        let before = count(folder.path());
        store.get("key").renew_for(Duration::from_secs(90)).await.unwrap();
        assert_eq!(count(&file(folder.path(), &[], "key")), 1);
        store.update_expiry("key", Expiry::Never).await.unwrap();
        assert_eq!(count(&file(folder.path(), &[], "key")), 1);
        assert_eq!(count(folder.path()), before);
    }

    #[tokio::test]
    async fn clearing_syncs_what_it_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Durability::PowerLoss).await;
        store.set("key", "v").await.unwrap();
        let before = count(folder.path());
        store.delete_all().await.unwrap();
        assert_eq!(count(folder.path()), before + 1);
        store.set("key", "v").await.unwrap();
        let before = count(folder.path());
        assert_eq!(store.delete_prefix("k").await.unwrap(), 1);
        assert_eq!(count(folder.path()), before + 1);
    }

    #[tokio::test]
    async fn process_crash_syncs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Durability::ProcessCrash).await;
        let child = store.with_path(&["a"]).unwrap();
        child.set("key", "v").await.unwrap();
        child.set("other", "v").await.unwrap();
        child.delete_opts("key", DeleteOptions::default()).await.unwrap();
        assert_eq!(count(&file(folder.path(), &["a"], "other")), 0);
        assert_eq!((count(&folder.path().join("a")), count(folder.path())), (0, 0));
    }
}
