//! The raw calls on one key. They block, and run on a blocking thread.

use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use larder_core::{
    Clock, Condition, Deadline, DeleteOptions, Durability, Expiry, Resolved, SetOptions, Version,
};

use crate::error::{Fault, Raw};
use crate::folder::{Made, Roots, TRIES};
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

impl Live {
    fn of(record: Record, now: DateTime<Utc>) -> Self {
        Self { deadline: record.deadline(), data: record.data, now }
    }
}

/// What a look into a key's place gives, without its lock.
#[derive(Debug)]
pub(crate) enum Seen<T> {
    Live(T),
    Missing,
    /// The deadline has passed. A change under way may have found the key live before that, and be
    /// about to renew it: whether it is gone is not known before the stripe is locked (`S4`).
    Expired,
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
    pub(crate) fn get_in_place(&self, spot: &Spot) -> Option<Raw<Seen<Live>>> {
        use crate::key_file::{OPEN_KEY, decode_at};
        use crate::linux::{Cached, path_of, read_cached};
        let now = self.clock.now();
        let root = match self.roots.get() {
            Ok(root) => root,
            Err(fault) => return Some(Err(fault)),
        };
        let name = spot.hash.file_name();
        let path = path_of(&spot.folder, name.as_str());
        match read_cached(root.fd(), &path, OPEN_KEY) {
            Cached::Unsure => None,
            Cached::Missing => Some(Ok(Seen::Missing)),
            Cached::Bytes(bytes) => {
                let place = || root.place(&spot.folder, name.as_str());
                let record = decode_at(bytes, &spot.key, place);
                Some(record.map(|record| seen(Some(record), now, Live::of)))
            }
        }
    }

    /// No read is known here that surely does not wait.
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_self, reason = "the other systems' part of one method")]
    pub(crate) fn get_in_place(&self, _: &Spot) -> Option<Raw<Seen<Live>>> {
        None
    }

    pub(crate) fn get(&self, spot: &Spot) -> Raw<Seen<Live>> {
        let now = self.clock.now();
        let record = self.open(spot)?.map(|file| file.record(|own| spot.is_key(own)));
        Ok(seen(record.transpose()?, now, Live::of))
    }

    /// The head of a live key's file, and when it was found live.
    pub(crate) fn head(&self, spot: &Spot) -> Raw<Seen<(Head, DateTime<Utc>)>> {
        let now = self.clock.now();
        let head = self.open(spot)?.map(|file| file.head(|own| spot.is_key(own)));
        Ok(seen(head.transpose()?, now, |head, now| (head, now)))
    }

    /// Tells whether a key has no file.
    pub(crate) fn is_missing(&self, spot: &Spot) -> Raw<bool> {
        self.open(spot).map(|file| file.is_none())
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

    /// What a key's file holds while its stripe is locked.
    pub(crate) fn get_locked(&self, held: &Held, spot: &Spot) -> Raw<Option<Live>> {
        let record = At::open(held, spot)?.record()?;
        Ok(record.and_then(|record| self.live(record)))
    }

    /// The head of a key's file, and when it was found live, while its stripe is locked.
    pub(crate) fn head_locked(
        &self,
        held: &Held,
        spot: &Spot,
    ) -> Raw<Option<(Head, DateTime<Utc>)>> {
        let found = At::open(held, spot)?.head()?;
        let now = self.clock.now();
        Ok(found.filter(|head| head.is_live(now)).map(|head| (head, now)))
    }

    /// A record, if it is live while its stripe is locked.
    fn live(&self, record: Record) -> Option<Live> {
        let now = self.clock.now();
        record.is_live(now).then(|| Live::of(record, now))
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
            Resolved::Keep => old.deadline(now),
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

    /// Gives a live value and moves its deadline, if it has one: to now where the value is removed.
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
            if let Resolved::At(deadline) = Expiry::After(renew_for).resolve(live.now) {
                self.replace(place, Some(deadline), &live.data, self.partial_reach())?;
                live.deadline = Some(deadline);
            } else {
                place.remove(self.is_synced())?;
                live.deadline = Some(Deadline::from_micros(live.now.timestamp_micros()));
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
            let (opened, made) = match folder.take() {
                Some(folder) => (folder, Made::default()),
                None => root.make_folder(&spot.folder)?,
            };
            let sync = reach != Reach::Process;
            let place = || root.place(&spot.folder, name.as_str());
            let written = Temp::write(root, opened.as_fd(), held.stripe(), [&head, data], sync)
                .map_err(|errno| Fault::os("writing", &place())(errno))
                .and_then(|temp| temp.replace(name.as_str(), place));
            match written {
                // The folder was removed: by a clearing, which finds nothing more to clear here, or by
                // another write that had made it and failed.
                Err(fault) if fault.is_vanished() => {
                    if !root.is_current() {
                        return Err(Fault::RootGone);
                    }
                    continue;
                }
                written => written?,
            }
            made.keep();
            if reach == Reach::Everything {
                sync_change(opened.as_fd(), place)?;
                self.links.sync(root, &spot.folder, opened.as_fd())?;
            }
            return Ok(());
        }
        Err(Fault::Restless { place: root.place(&spot.folder, "") })
    }
}

/// What is to be said of a file that was read without a lock, `now` having been read before it: a
/// renewal between the two must not look like an expiry.
fn seen<R: Life, T>(
    read: Option<R>,
    now: DateTime<Utc>,
    live: impl FnOnce(R, DateTime<Utc>) -> T,
) -> Seen<T> {
    match read {
        None => Seen::Missing,
        Some(read) if read.is_live(now) => Seen::Live(live(read, now)),
        Some(_) => Seen::Expired,
    }
}

/// The version of a value is the value (`C2`).
pub(crate) fn version_of(data: &Bytes) -> Version {
    Version::new(data.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder_core::{ErrorKind, ExpiresIn, ManualClock, Store, StoreExt};

    use super::*;
    use crate::FileStore;

    /// A renewal that found the key live just before its deadline, and is not yet done after it.
    #[tokio::test]
    async fn nobody_is_told_that_a_key_is_dead_while_it_is_being_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let store = FileStore::builder(folder.path()).clock(clock.clone()).build().await.unwrap();
        let many: Vec<String> = (0..20).map(|index| format!("other {index}")).collect();
        let keys: Vec<&str> = many.iter().map(String::as_str).chain(["k"]).collect();
        let life = Duration::from_secs(1);
        for way in 0..5 {
            store.set("k", "v").ttl(life).await.unwrap();
            let (driver, node, _call) = store.parts();
            let spot = Spot::new(&node.path, "k");
            let until = tokio::time::Instant::now() + Duration::from_secs(60);
            let turn = driver.locks.turn(spot.stripe(), until).await.unwrap();
            let crate::lock::Tried::Locked(held) = turn.try_lock(&driver.roots).unwrap() else {
                panic!("another process has the lock")
            };
            clock.advance(life);
            let seen = async {
                match way {
                    0 => store.get("k").await.unwrap().is_some(),
                    1 => store.exists("k").await.unwrap(),
                    2 => store.expires_in("k").await.unwrap() == ExpiresIn::Never,
                    3 => store.get_many(&["k"]).await.unwrap().remove(0).unwrap().is_some(),
                    _ => store.get_many(&keys).await.unwrap().pop().unwrap().unwrap().is_some(),
                }
            };
            let renewed = async {
                // Whoever looks has found the key expired by now, and waits for the lock.
                tokio::time::sleep(Duration::from_millis(20)).await;
                driver.replace(
                    At::open(&held, &spot).unwrap(),
                    None,
                    &Bytes::from_static(b"v"),
                    Reach::Process,
                )?;
                drop(held);
                Raw::Ok(())
            };
            let (seen, renewed) = tokio::join!(seen, renewed);
            renewed.unwrap();
            assert!(seen, "{way}");
        }
    }

    #[tokio::test]
    async fn a_reader_who_cannot_learn_in_time_whether_a_key_is_dead_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let builder = FileStore::builder(folder.path()).clock(clock.clone());
        let store = builder.lock_timeout(Duration::ZERO).build().await.unwrap();
        store.set("k", "v").ttl(Duration::from_secs(1)).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let (driver, node, _call) = store.parts();
        let stripe = Spot::new(&node.path, "k").stripe();
        let turn = driver.locks.try_turn(stripe).unwrap();
        assert_eq!(store.get("k").await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(store.exists("k").await.unwrap_err().kind(), ErrorKind::Timeout);
        drop(turn);
        assert_eq!(store.get("k").await.unwrap(), None);
    }
}
