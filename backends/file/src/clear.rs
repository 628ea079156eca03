//! Clearing and purging, in bounded slices.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use larder_core::{InProgress, Result};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::driver::Driver;
use crate::error::{Fault, Raw};
use crate::folder::Root;
use crate::key_file::KeyFile;
use crate::layout::{FolderPath, KeyHash, Stripe};
use crate::lock::Held;
use crate::place::remove_file;
use crate::record::{Head, Life};
use crate::walk::{Contents, Glance, Node, contents, glance};

/// How many files one hop looks at or removes.
const SLICE: usize = 512;

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
            if removed > 0 {
                let node = node.clone();
                self.blocking(call, move |driver| driver.sync_folder(&node.path)).await?;
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
        if removed > 0 {
            self.blocking(call, move |driver| driver.sync_folder(&node.path)).await?;
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
