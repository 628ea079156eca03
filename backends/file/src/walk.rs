//! What lies in folders: reading, clearing and purging them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use larder_core::{InProgress, Namespace, Result};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use crate::driver::{Driver, remove_file};
use crate::error::{Fault, Raw};
use crate::folder::Root;
use crate::key_file::KeyFile;
use crate::layout::{FolderPath, KeyHash, Stripe, Subfolder, read_subfolder};
use crate::lock::Held;
use crate::record::{Head, Life};
use crate::replace::sync_change;

/// How many files one hop looks at or removes.
const SLICE: usize = 512;

/// A folder of the tree: a namespace's, or one with pieces of a segment on the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) path: Arc<FolderPath>,
    pub(crate) namespace: Namespace,
    pieces: Option<String>,
    folds_case: bool,
}

impl Node {
    pub(crate) fn new(path: Arc<FolderPath>, namespace: Namespace, folds_case: bool) -> Self {
        Self { path, namespace, pieces: None, folds_case }
    }

    /// Whether it is a namespace's folder.
    pub(crate) fn is_namespace(&self) -> bool {
        self.pieces.is_none()
    }

    /// The folder `name` in this one; `None` when it is foreign.
    pub(crate) fn child(&self, name: &str) -> Option<Self> {
        let found = read_subfolder(self.pieces.as_deref(), name, self.folds_case)?;
        let (namespace, pieces) = match found {
            Subfolder::Pieces(pieces) => (self.namespace.clone(), Some(pieces)),
            Subfolder::Namespace(segment) => (self.namespace.join(&segment).ok()?, None),
        };
        let path = Arc::new(self.path.child(name));
        Some(Self { path, namespace, pieces, folds_case: self.folds_case })
    }
}

/// Something of ours in a folder.
#[derive(Debug)]
pub(crate) enum Item {
    Key(KeyHash),
    Temp(Stripe, String),
    Folder(Node),
}

/// Gives everything of ours in a folder, in no order; false when the folder does not exist.
pub(crate) fn read_folder(
    root: &Root,
    node: &Node,
    mut give: impl FnMut(Item) -> Raw<ControlFlow<()>>,
) -> Raw<bool> {
    let Some(folder) = root.folder(&node.path)? else { return Ok(false) };
    let place = root.place(&node.path, "");
    let failed = || Fault::os("reading", &place);
    // A directory stream takes the descriptor for itself; another is needed to look at entries.
    for entry in Dir::read_from(&folder).map_err(failed())? {
        let entry = match entry {
            Ok(entry) => entry,
            // Removed meanwhile: it holds nothing any more.
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(failed()(errno)),
        };
        let name = entry.file_name().to_bytes();
        let Some((item, wanted)) = read_name(node, name) else { continue };
        let kind = match entry.file_type() {
            FileType::Unknown => {
                match rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(failed()(errno)),
                }
            }
            kind => kind,
        };
        if kind == wanted && give(item)?.is_break() {
            break;
        }
    }
    Ok(true)
}

fn read_name(node: &Node, name: &[u8]) -> Option<(Item, FileType)> {
    if node.is_namespace() {
        if let Some(hash) = KeyHash::parse(name) {
            return Some((Item::Key(hash), FileType::RegularFile));
        }
        if let Some(stripe) = Stripe::of_temp(name) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Some((Item::Temp(stripe, name), FileType::RegularFile));
        }
    }
    let child = node.child(std::str::from_utf8(name).ok()?)?;
    Some((Item::Folder(child), FileType::Directory))
}

/// Everything of ours in one folder.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) keys: Vec<KeyHash>,
    temps: Vec<(Stripe, String)>,
    pub(crate) folders: Vec<Node>,
}

pub(crate) fn contents(root: &Root, node: &Node) -> Raw<Contents> {
    let mut contents = Contents::default();
    read_folder(root, node, |item| {
        match item {
            Item::Key(hash) => contents.keys.push(hash),
            Item::Temp(stripe, name) => contents.temps.push((stripe, name)),
            Item::Folder(node) => contents.folders.push(node),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(contents)
}

/// What a file says about itself to someone who does not know its key.
#[derive(Debug)]
pub(crate) enum Glance {
    Missing,
    Head(Head),
    /// It holds no record.
    Corrupt,
}

pub(crate) fn glance(root: &Root, path: &FolderPath, hash: KeyHash) -> Raw<Glance> {
    let head = KeyFile::open(root, path, hash)
        .and_then(|file| file.map(|file| file.head(|key| KeyHash::of(key) == hash)).transpose());
    match head {
        Ok(None) | Err(Fault::NotAFile { .. }) => Ok(Glance::Missing),
        Ok(Some(head)) => Ok(Glance::Head(head)),
        Err(fault) if fault.is_corrupt() => Ok(Glance::Corrupt),
        Err(fault) => Err(fault),
    }
}

/// Something to remove.
#[derive(Debug)]
enum Target {
    Key(KeyHash),
    Temp(String),
}

/// Which keys' files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Expired,
}

impl Driver {
    /// Removes all keys of a namespace and of those below it, and what crashed writers left.
    pub(crate) async fn clear(self: &Arc<Self>, call: &Arc<InProgress>, start: Node) -> Result<()> {
        // The folder where the clearing begins stays, as it does when Litestar clears.
        let stays = Arc::clone(&start.path);
        let mut open = vec![(start, false)];
        while let Some((node, is_empty)) = open.pop() {
            if is_empty {
                self.blocking(call, move |driver| remove_folder(&*driver.root()?, &node)).await?;
                continue;
            }
            let contents = self.contents(call, &node).await?;
            let targets = contents.keys.into_iter().map(|hash| (hash.stripe(), Target::Key(hash)));
            let temps = contents.temps.into_iter().map(|(s, name)| (s, Target::Temp(name)));
            let removed = self.remove(call, &node, targets.chain(temps), Which::All).await?;
            if removed > 0 && self.is_synced() {
                let node = node.clone();
                self.blocking(call, move |driver| sync_folder(&*driver.root()?, &node)).await?;
            }
            if node.path != stays {
                open.push((node, true));
            }
            open.extend(contents.folders.into_iter().map(|folder| (folder, false)));
        }
        Ok(())
    }

    /// Removes the expired keys of a namespace and of those below it, and tells how many.
    pub(crate) async fn purge(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        start: Node,
    ) -> Result<u64> {
        let mut purged = 0;
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            let contents = self.contents(call, &node).await?;
            for slice in contents.keys.chunks(SLICE) {
                let (slice, path) = (slice.to_vec(), Arc::clone(&node.path));
                let expired =
                    self.blocking(call, move |driver| driver.expired(&path, slice)).await?;
                let targets = expired.into_iter().map(|hash| (hash.stripe(), Target::Key(hash)));
                purged += self.remove(call, &node, targets, Which::Expired).await?;
            }
            let temps = contents.temps.into_iter().map(|(s, name)| (s, Target::Temp(name)));
            self.remove(call, &node, temps, Which::Expired).await?;
            open.extend(contents.folders);
        }
        Ok(purged)
    }

    /// Removes the keys of one namespace that begin with `prefix`, and tells how many were live.
    pub(crate) async fn clear_prefix(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        node: Node,
        prefix: &str,
    ) -> Result<u64> {
        let mut removed = 0;
        let contents = self.contents(call, &node).await?;
        for slice in contents.keys.chunks(SLICE) {
            let (slice, path) = (slice.to_vec(), Arc::clone(&node.path));
            let prefix = prefix.to_owned();
            let found =
                self.blocking(call, move |driver| driver.beginning(&path, slice, &prefix)).await?;
            let targets = found.into_iter().map(|hash| (hash.stripe(), Target::Key(hash)));
            removed += self.remove(call, &node, targets, Which::All).await?;
        }
        if removed > 0 && self.is_synced() {
            self.blocking(call, move |driver| sync_folder(&*driver.root()?, &node)).await?;
        }
        Ok(removed)
    }

    async fn contents(self: &Arc<Self>, call: &Arc<InProgress>, node: &Node) -> Result<Contents> {
        let node = node.clone();
        self.blocking(call, move |driver| contents(&*driver.root()?, &node)).await
    }

    /// Runs a blocking call in one hop.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        work: impl FnOnce(&Self) -> Raw<T> + Send + 'static,
    ) -> Result<T> {
        let (driver, call) = (Arc::clone(self), Arc::clone(call));
        let done = crate::task::hop(move || {
            let done = work(&driver);
            drop(call);
            done
        });
        Ok(done.await??)
    }

    /// The root that is at the path now, or, where none is, the one that was.
    pub(crate) fn root(&self) -> Raw<Arc<Root>> {
        match self.roots.look()? {
            Some(root) => Ok(root),
            None => self.roots.get(),
        }
    }

    fn expired(&self, path: &FolderPath, mut hashes: Vec<KeyHash>) -> Raw<Vec<KeyHash>> {
        let (root, now) = (self.root()?, self.clock.now());
        let mut fault = Ok(());
        hashes.retain(|hash| match glance(&root, path, *hash) {
            Ok(Glance::Head(head)) => !head.is_live(now),
            Ok(Glance::Missing | Glance::Corrupt) => false,
            Err(found) => {
                fault = Err(found);
                false
            }
        });
        fault.map(|()| hashes)
    }

    fn beginning(
        &self,
        path: &FolderPath,
        hashes: Vec<KeyHash>,
        prefix: &str,
    ) -> Raw<Vec<KeyHash>> {
        if prefix.is_empty() {
            // Every key begins so, also one that its file does not tell.
            return Ok(hashes);
        }
        let root = self.root()?;
        let mut found = Vec::new();
        for hash in hashes {
            if let Glance::Head(Head { key: Some(key), .. }) = glance(&root, path, hash)?
                && key.starts_with(prefix)
            {
                found.push(hash);
            }
        }
        Ok(found)
    }

    /// Removes files under their locks, slice by slice, and tells how many keys that were: expired
    /// ones, or live ones where all go.
    async fn remove(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        node: &Node,
        targets: impl Iterator<Item = (Stripe, Target)>,
        which: Which,
    ) -> Result<u64> {
        let mut targets = targets.peekable();
        let mut removed = 0;
        while targets.peek().is_some() {
            let mut groups = BTreeMap::<Stripe, Vec<Target>>::new();
            for (stripe, target) in targets.by_ref().take(SLICE) {
                groups.entry(stripe).or_default().push(target);
            }
            let path = Arc::clone(&node.path);
            let work = move |driver: &Self, held: &Held, targets: &Vec<Target>| {
                driver.remove_targets(held, &path, targets, which)
            };
            for group in self.locked_groups(call, groups.into_iter().collect(), work).await? {
                removed += group?;
            }
        }
        Ok(removed)
    }

    fn remove_targets(
        &self,
        held: &Held,
        path: &FolderPath,
        targets: &[Target],
        which: Which,
    ) -> Raw<u64> {
        let Some(folder) = held.root().folder(path)? else { return Ok(0) };
        let mut removed = 0;
        for target in targets {
            match target {
                Target::Temp(name) => {
                    match rustix::fs::unlinkat(&folder, &**name, AtFlags::empty()) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(errno) => {
                            let place = held.root().place(path, name);
                            return Err(Fault::os("removing", &place)(errno));
                        }
                    }
                }
                Target::Key(hash) => {
                    removed += u64::from(self.remove_target(held, path, &folder, *hash, which)?);
                }
            }
        }
        Ok(removed)
    }

    /// Looks once more, now that nobody else writes, and removes what is still to go.
    fn remove_target(
        &self,
        held: &Held,
        path: &FolderPath,
        folder: &OwnedFd,
        hash: KeyHash,
        which: Which,
    ) -> Raw<bool> {
        use std::os::fd::AsFd;
        let place = || held.root().place(path, hash.file_name().as_str());
        let file = match KeyFile::open_in(folder.as_fd(), hash, place) {
            Ok(Some(file)) => file,
            Ok(None) | Err(Fault::NotAFile { .. }) => return Ok(false),
            Err(fault) => return Err(fault),
        };
        let is_meant = |key: &str| KeyHash::of(key) == hash;
        let live = match (file.head(is_meant), which) {
            (Ok(found), _) if found.is_live(self.clock.now()) => true,
            // A damaged expiry is no reason to call a key expired.
            (Ok(_), Which::Expired) => match file.record(is_meant) {
                Ok(record) => record.is_live(self.clock.now()),
                Err(fault) if fault.is_corrupt() => true,
                Err(fault) => return Err(fault),
            },
            (Ok(_), Which::All) => false,
            (Err(fault), _) if fault.is_corrupt() => true,
            (Err(fault), _) => return Err(fault),
        };
        if which == Which::Expired && live {
            return Ok(false);
        }
        match remove_file(held, path, folder, hash, false) {
            Err(Fault::NotAFile { .. }) => Ok(false),
            removed => removed.map(|()| live || which == Which::Expired),
        }
    }
}

fn sync_folder(root: &Root, node: &Node) -> Raw<()> {
    use std::os::fd::AsFd;
    match root.folder(&node.path)? {
        Some(folder) => sync_change(folder.as_fd(), || root.place(&node.path, "")),
        None => Ok(()),
    }
}

/// Removes a folder if nothing is in it.
#[allow(clippy::unnecessary_wraps, reason = "a step among fallible ones")]
fn remove_folder(root: &Root, node: &Node) -> Raw<()> {
    if let (Some(above), Some(name)) = (node.path.parent(), node.path.parts().last())
        && let Ok(Some(parent)) = root.folder(&above)
    {
        // It may hold what is not ours, or what was written meanwhile; then it stays.
        let _ = rustix::fs::unlinkat(&parent, &**name, AtFlags::REMOVEDIR);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder_core::{ManualClock, StoreExt};

    use super::*;
    use crate::FileStore;

    #[tokio::test]
    async fn what_was_written_since_the_look_is_not_purged() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let store = FileStore::builder(folder.path()).clock(clock.clone()).build().await.unwrap();
        store.set("fresh", "old").ttl(Duration::from_secs(1)).await.unwrap();
        store.set("dead", "old").ttl(Duration::from_secs(1)).await.unwrap();
        clock.advance(Duration::from_secs(1));

        let (driver, node, call) = store.parts();
        let hashes = vec![KeyHash::of("fresh"), KeyHash::of("dead")];
        assert_eq!(driver.expired(&node.path, hashes.clone()).unwrap(), hashes);
        store.set("fresh", "new").await.unwrap();
        let targets = hashes.into_iter().map(|hash| (hash.stripe(), Target::Key(hash)));
        assert_eq!(driver.remove(&call, &node, targets, Which::Expired).await.unwrap(), 1);
        assert_eq!(store.get("fresh").await.unwrap().unwrap(), "new");
        assert_eq!(store.get("dead").await.unwrap(), None);
    }
}
