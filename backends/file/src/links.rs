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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use larder_core::{
        DeleteOptions, Durability, Expiry, Namespace, NamespacedStore, SetItem, Store, StoreExt,
    };

    use crate::FileStore;
    use crate::layout::{FolderPath, KeyHash};
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
    async fn a_bulk_call_syncs_each_value_and_the_folder_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Durability::PowerLoss).await;
        let child = store.with_path(&["a"]).unwrap();
        let keys: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        let items = keys.iter().map(|key| SetItem::new(key, "v")).collect();
        assert!(child.set_many(items).await.unwrap().into_iter().all(|outcome| outcome.is_ok()));
        for key in &keys {
            assert_eq!(count(&file(folder.path(), &["a"], key)), 1);
        }
        let a = folder.path().join("a");
        assert_eq!((count(&a), count(folder.path())), (1, 1));
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(child.delete_many(&keys).await.unwrap().existed, 50);
        assert_eq!((count(&a), count(folder.path())), (2, 1));
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
