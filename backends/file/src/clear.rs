//! Clearing and purging, in bounded slices.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use larder_core::{Error, ErrorKind, InProgress, Result};
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
        let mut swept = Swept::default();
        let mut open = vec![(start, false)];
        while let Some((node, is_empty)) = open.pop() {
            if is_empty {
                self.blocking(call, move |driver| remove_folder(&*driver.root()?, &node)).await?;
                continue;
            }
            let Some(contents) = swept.pass(self.contents(call, &node).await)? else { continue };
            let targets = contents.keys.into_iter().map(|hash| (hash.stripe(), Target::Key(hash)));
            let temps = contents.temps.into_iter().map(|(s, name)| (s, Target::Temp(name)));
            let removed = self.remove(call, &node, targets.chain(temps), Which::All).await;
            self.sync_removed(call, &node, removed.removed).await?;
            swept.add(removed);
            swept.go_on()?;
            if node.path != stays {
                open.push((node, true));
            }
            open.extend(contents.folders.into_iter().map(|folder| (folder, false)));
        }
        swept.finish().map(|_| ())
    }

    /// Removes the expired keys of a namespace and of those below it, and tells how many.
    pub(crate) async fn purge(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        start: Node,
    ) -> Result<u64> {
        let mut swept = Swept::default();
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            let Some(contents) = swept.pass(self.contents(call, &node).await)? else { continue };
            for slice in contents.keys.chunks(SLICE) {
                let (slice, path) = (slice.to_vec(), Arc::clone(&node.path));
                let expired =
                    self.blocking(call, move |driver| driver.expired(&path, slice)).await?;
                let targets = expired.into_iter().map(|hash| (hash.stripe(), Target::Key(hash)));
                swept.add(self.remove(call, &node, targets, Which::Expired).await);
                swept.go_on()?;
            }
            let temps = contents.temps.into_iter().map(|(s, name)| (s, Target::Temp(name)));
            swept.add(self.remove(call, &node, temps, Which::Expired).await);
            swept.go_on()?;
            open.extend(contents.folders);
        }
        swept.finish()
    }

    /// Removes the keys of one namespace that begin with `prefix`, and tells how many were live.
    pub(crate) async fn clear_prefix(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        node: Node,
        prefix: &str,
    ) -> Result<u64> {
        let mut swept = Swept::default();
        let contents = self.contents(call, &node).await?;
        for slice in contents.keys.chunks(SLICE) {
            let (slice, path) = (slice.to_vec(), Arc::clone(&node.path));
            let prefix = prefix.to_owned();
            let found =
                self.blocking(call, move |driver| driver.beginning(&path, slice, &prefix)).await?;
            let targets = found.into_iter().map(|hash| (hash.stripe(), Target::Key(hash)));
            swept.add(self.remove(call, &node, targets, Which::All).await);
            swept.go_on()?;
        }
        self.sync_removed(call, &node, swept.removed).await?;
        swept.finish()
    }

    async fn sync_removed(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        node: &Node,
        removed: u64,
    ) -> Result<()> {
        if removed == 0 {
            return Ok(());
        }
        let path = Arc::clone(&node.path);
        self.blocking(call, move |driver| driver.sync_folder(&path)).await
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
            Ok(Glance::Missing | Glance::Hidden) => false,
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

    /// Removes files under their locks, slice by slice, and counts the keys among them: expired
    /// ones, or live ones where all go.
    async fn remove(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        node: &Node,
        targets: impl Iterator<Item = (Stripe, Target)>,
        which: Which,
    ) -> Swept {
        let mut targets = targets.peekable();
        let mut swept = Swept::default();
        while targets.peek().is_some() && swept.ended.is_none() {
            let mut groups = BTreeMap::<Stripe, Vec<Target>>::new();
            for (stripe, target) in targets.by_ref().take(SLICE) {
                groups.entry(stripe).or_default().push(target);
            }
            let path = Arc::clone(&node.path);
            let work = move |driver: &Self, held: &Held, targets: &Vec<Target>| {
                driver.remove_targets(held, &path, targets, which)
            };
            match self.locked_groups(call, groups.into_iter().collect(), work).await {
                Ok(groups) => groups.into_iter().for_each(|group| swept.add_outcome(group)),
                Err(error) => swept.end(error),
            }
        }
        swept
    }

    fn remove_targets(
        &self,
        held: &Held,
        path: &FolderPath,
        targets: &[Target],
        which: Which,
    ) -> Raw<Swept> {
        let mut swept = Swept::default();
        let Some(folder) = held.root().folder(path)? else { return Ok(swept) };
        for target in targets {
            let removed = match target {
                Target::Temp(name) => remove_temp(held, path, &folder, name).map(|()| false),
                Target::Key(hash) => self.remove_target(held, path, &folder, *hash, which),
            };
            match removed {
                Ok(counts) => swept.removed += u64::from(counts),
                Err(fault) if fault.is_refused() => swept.refuse(fault.into()),
                Err(fault) => return Err(fault),
            }
        }
        Ok(swept)
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
        let place = || held.root().place(path, hash.file_name().as_str());
        let is_meant = |key: &str| KeyHash::of(key) == hash;
        let clock = self.clock.as_ref();
        let live = KeyFile::open_in(folder.as_fd(), hash, place).and_then(|file| {
            let live = file.map(|file| match which {
                Which::All => file.seems_live(clock, is_meant),
                Which::Expired => file.is_live(clock, is_meant),
            });
            live.transpose()
        });
        let live = match live {
            Ok(Some(live)) => live,
            Ok(None) | Err(Fault::NotAFile { .. }) => return Ok(false),
            Err(fault) if fault.hides_content() => true,
            Err(fault) => return Err(fault),
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

/// What a call has removed, and what it has passed over to finish the rest.
#[derive(Debug, Default)]
struct Swept {
    removed: u64,
    /// The first of the errors that concern one file or folder alone.
    refused: Option<Error>,
    /// The first of the errors that end the call.
    ended: Option<Error>,
}

impl Swept {
    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    fn add(&mut self, other: Self) {
        self.removed += other.removed;
        if let Some(error) = other.refused {
            self.refuse(error);
        }
        if let Some(error) = other.ended {
            self.end(error);
        }
    }

    fn add_outcome(&mut self, outcome: Result<Self>) {
        match self.pass(outcome) {
            Ok(Some(other)) => self.add(other),
            Ok(None) => {}
            Err(error) => self.end(error),
        }
    }

    fn end(&mut self, error: Error) {
        self.ended.get_or_insert(error);
    }

    /// The error that ends the call, if there is one.
    fn go_on(&mut self) -> Result<()> {
        match self.ended.take() {
            None => Ok(()),
            // It would say that nothing was done.
            Some(error) if error.kind() == ErrorKind::Timeout && self.removed > 0 => {
                let text = "another writer holds the lock of some keys, and others are removed";
                Err(Error::new(ErrorKind::Locked, text))
            }
            Some(error) => Err(error),
        }
    }

    /// Passes over what the system does not let us do; every other error is one.
    fn pass<T>(&mut self, done: Result<T>) -> Result<Option<T>> {
        match done {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                self.refuse(error);
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// How much was removed, if nothing was refused.
    fn finish(self) -> Result<u64> {
        self.refused.map_or(Ok(self.removed), Err)
    }
}

fn remove_temp(held: &Held, path: &FolderPath, folder: &OwnedFd, name: &str) -> Raw<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Fault::os("removing", &held.root().place(path, name))(errno)),
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
        let swept = driver.remove(&call, &node, targets, Which::Expired).await;
        assert_eq!(swept.finish().unwrap(), 1);
        assert_eq!(store.get("fresh").await.unwrap().unwrap(), "new");
        assert_eq!(store.get("dead").await.unwrap(), None);
    }
}
