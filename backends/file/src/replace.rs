//! Files that appear whole or not at all.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use larder_core::StorageObject;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Fault, Raw};
use crate::folder::{Root, TRIES, is_file};
use crate::layout::{KeyHash, Stripe};

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A complete file without its final name, removed unless it gets one.
///
/// Whoever holds its stripe's lock and finds one may remove it. A key's writer makes it while it
/// holds the lock itself; whoever makes one without has to bear its loss.
#[derive(Debug)]
pub(crate) struct Temp<'a> {
    folder: BorrowedFd<'a>,
    fd: OwnedFd,
    stripe: Stripe,
    /// Its name; `None` for a file that has none yet.
    name: Option<String>,
}

impl<'a> Temp<'a> {
    /// Writes a file, and with `sync` waits until the disk has it.
    ///
    /// Where the system has files without a name it has none, so that nobody ever sees it half
    /// written and a crash leaves nothing behind.
    pub(crate) fn write(
        root: &Root,
        folder: BorrowedFd<'a>,
        stripe: Stripe,
        parts: [&[u8]; 2],
        sync: bool,
    ) -> rustix::io::Result<Self> {
        let anonymous =
            if root.has_anonymous_files() { Self::anonymous(folder, stripe) } else { None };
        let mut temp = match anonymous {
            Some(temp) => temp,
            None => Self::named(folder, stripe)?,
        };
        temp.fill(parts, sync)?;
        Ok(temp)
    }

    /// Tells whether files without a name work in `folder`, from their making to their naming.
    pub(crate) fn has_anonymous(folder: BorrowedFd<'a>) -> bool {
        let Some(mut temp) = Self::anonymous(folder, KeyHash::of("").stripe()) else {
            return false;
        };
        temp.fill([&harmless(), b""], false).is_ok() && temp.show().is_ok()
    }

    /// Tells whether two names that differ by case alone are one name in the root; where no file can
    /// be made to find out, what is usual for the system.
    pub(crate) fn folds_case(root: &Root) -> bool {
        let folder = root.fd();
        for _ in 0..TRIES {
            let temp =
                Temp::write(root, folder, KeyHash::of("").stripe(), [&harmless(), b""], false);
            let Ok(mut temp) = temp else { break };
            let Ok(name) = temp.show() else { break };
            let is_there =
                |name: &str| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
            if is_there(&name.to_ascii_uppercase()) {
                return true;
            }
            // Unless somebody who cleans up took it away.
            if is_there(&name) {
                return false;
            }
        }
        cfg!(target_vendor = "apple")
    }

    #[cfg(target_os = "linux")]
    fn anonymous(folder: BorrowedFd<'a>, stripe: Stripe) -> Option<Self> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        // Whatever is wrong, a named file will find it out, too, and tell it better: in a folder that
        // was removed, this here is "not permitted" on ext4.
        let fd = rustix::fs::openat(folder, ".", flags, FILE_MODE).ok()?;
        Some(Self { folder, fd, stripe, name: None })
    }

    #[cfg(not(target_os = "linux"))]
    fn anonymous(_: BorrowedFd<'a>, _: Stripe) -> Option<Self> {
        None
    }

    fn named(folder: BorrowedFd<'a>, stripe: Stripe) -> rustix::io::Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        loop {
            let name = stripe.temp_name(unique());
            match rustix::fs::openat(folder, &*name, flags | OFlags::NOFOLLOW, FILE_MODE) {
                Err(Errno::EXIST | Errno::INTR) => {}
                Ok(fd) => return Ok(Self { folder, fd, stripe, name: Some(name) }),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn fill(&mut self, [first, second]: [&[u8]; 2], sync: bool) -> rustix::io::Result<()> {
        let stat = rustix::fs::fstat(&self.fd)?;
        if Mode::from_raw_mode(stat.st_mode) != FILE_MODE {
            rustix::fs::fchmod(&self.fd, FILE_MODE)?;
        }
        let (mut first, mut second) = (first, second);
        while !(first.is_empty() && second.is_empty()) {
            match rustix::io::writev(&self.fd, &[IoSlice::new(first), IoSlice::new(second)]) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(written) => {
                    let of_first = written.min(first.len());
                    first = &first[of_first..];
                    second = &second[written - of_first..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if sync { self::sync(self.fd.as_fd()) } else { Ok(()) }
    }

    /// Gives the file its name if nothing has it yet, and tells whether it did.
    pub(crate) fn publish_new(mut self, name: &str) -> rustix::io::Result<bool> {
        match self.link(name) {
            Err(Errno::EXIST) => Ok(false),
            linked => linked.map(|()| true),
        }
    }

    /// Gives the file its name, and removes the file that had it.
    ///
    /// Whatever else had it stays there, and is an error.
    pub(crate) fn replace(mut self, name: &str, place: impl Fn() -> PathBuf) -> Raw<()> {
        let failed = |errno| Fault::os("writing", &place())(errno);
        match rustix::fs::statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if !is_file(&stat) => return Err(Fault::NotAFile { place: place() }),
            Ok(_) => {}
            Err(Errno::NOENT) => match self.link(name) {
                // Somebody who takes no lock was faster.
                Err(Errno::EXIST) => {}
                linked => return linked.map_err(failed),
            },
            Err(errno) => return Err(failed(errno)),
        }
        self.rename_over(name).map_err(|errno| match errno {
            Errno::ISDIR => Fault::NotAFile { place: place() },
            errno => failed(errno),
        })
    }

    /// Names the file where nothing has that name.
    fn link(&mut self, name: &str) -> rustix::io::Result<()> {
        if let Some(own) = &self.name {
            rename_new(self.folder, own, name)?;
            self.name = None;
            return Ok(());
        }
        link_anonymous(self.fd.as_fd(), self.folder, name)
    }

    /// Gives the file a temporary name, if it has none yet.
    fn show(&mut self) -> rustix::io::Result<String> {
        if let Some(own) = &self.name {
            return Ok(own.clone());
        }
        loop {
            let own = self.stripe.temp_name(unique());
            match self.link(&own) {
                Ok(()) => {
                    self.name = Some(own.clone());
                    return Ok(own);
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn rename_over(&mut self, name: &str) -> rustix::io::Result<()> {
        let own = self.show()?;
        #[cfg(target_os = "linux")]
        if exchange(self.folder, &own, name)? {
            return match rustix::fs::unlinkat(self.folder, &*own, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {
                    self.name = None;
                    Ok(())
                }
                Err(errno) => {
                    // What came back is no file, or may not be removed: it keeps its place.
                    exchange(self.folder, &own, name)?;
                    Err(errno)
                }
            };
        }
        rustix::fs::renameat(self.folder, &*own, self.folder, name)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What fails here is removed by the next purge.
            let _ = rustix::fs::unlinkat(self.folder, &**name, AtFlags::empty());
        }
    }
}

/// Swaps two names; false where the file system cannot.
///
/// Over a plain rename it saves what ext4 does for those who forget to sync: writing the new file's
/// data out at once.
#[cfg(target_os = "linux")]
fn exchange(folder: BorrowedFd<'_>, one: &str, other: &str) -> rustix::io::Result<bool> {
    use rustix::fs::{RenameFlags, renameat_with};
    match renameat_with(folder, one, folder, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        // The name was free after all: a plain rename does.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(target_os = "linux")]
fn link_anonymous(
    file: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &str,
) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    match rustix::fs::linkat(file, "", folder, name, AtFlags::EMPTY_PATH) {
        // Older kernels want a capability for that.
        Err(Errno::NOENT | Errno::PERM) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(rustix::fs::CWD, &*path, folder, name, AtFlags::SYMLINK_FOLLOW)
        }
        linked => linked,
    }
}

#[cfg(not(target_os = "linux"))]
fn link_anonymous(_: BorrowedFd<'_>, _: BorrowedFd<'_>, _: &str) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// Renames to a name that must be free.
fn rename_new(folder: BorrowedFd<'_>, old: &str, new: &str) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(folder, old, folder, new, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            renamed => return renamed,
        }
    }
    match rustix::fs::linkat(folder, old, folder, new, AtFlags::empty()) {
        // No hard links here. Larder's other writers are kept out by the lock.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
            rustix::fs::renameat(folder, old, folder, new)
        }
        linked => linked.and_then(|()| rustix::fs::unlinkat(folder, old, AtFlags::empty())),
    }
}

/// Waits until the disk has a file's or folder's content.
pub(crate) fn sync(fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    #[cfg(test)]
    synced::note(fd);
    // There a plain sync leaves the data in the drive's cache.
    #[cfg(target_vendor = "apple")]
    if rustix::fs::fcntl_fullfsync(fd).is_ok() {
        return Ok(());
    }
    rustix::io::retry_on_intr(|| rustix::fs::fsync(fd))
}

/// Syncs a folder after a change that others can already see.
pub(crate) fn sync_change(folder: BorrowedFd<'_>, place: impl Fn() -> PathBuf) -> Raw<()> {
    sync(folder).map_err(|errno| Fault::NotSynced { errno, place: place() })
}

/// What Litestar takes for an empty value that never expires: the content of files that are none of
/// its business, since its `delete_expired` stumbles over any other.
pub(crate) fn harmless() -> Bytes {
    StorageObject::new("", None).to_bytes()
}

/// A number that no other temporary file of this process has, and hardly one of another process.
fn unique() -> u64 {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;
    use std::sync::OnceLock;
    static START: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start = START.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    start.wrapping_add(NEXT.fetch_add(1, Relaxed))
}

/// What was synced, for tests.
#[cfg(test)]
pub(crate) mod synced {
    use std::fs::{File, Metadata};
    use std::os::fd::BorrowedFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::sync::Mutex;
    use std::time::SystemTime;

    /// Numbers are given again; the time of birth tells the new one from the old.
    type Identity = (u64, u64, Option<SystemTime>);

    static SYNCED: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

    fn identity(metadata: &Metadata) -> Identity {
        (metadata.dev(), metadata.ino(), metadata.created().ok())
    }

    pub(super) fn note(fd: BorrowedFd<'_>) {
        let file = File::from(fd.try_clone_to_owned().unwrap());
        SYNCED.lock().unwrap().push(identity(&file.metadata().unwrap()));
    }

    /// How often a file or folder was synced so far.
    pub(crate) fn count(path: &Path) -> usize {
        let own = identity(&path.metadata().unwrap());
        SYNCED.lock().unwrap().iter().filter(|synced| **synced == own).count()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Writes a file in each of the ways that there are, whatever the file system offers.
    fn each_way(test: impl Fn(&Path, &dyn Fn(&[u8]) -> Temp<'static>)) {
        for is_named in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let root = Box::leak(Box::new(Root::open(folder.path()).unwrap()));
            let stripe = KeyHash::of("key").stripe();
            let write = |content: &[u8]| {
                if !is_named {
                    return Temp::write(root, root.fd(), stripe, [content, b"!"], true).unwrap();
                }
                let mut temp = Temp::named(root.fd(), stripe).unwrap();
                temp.fill([content, b"!"], true).unwrap();
                temp
            };
            test(folder.path(), &write);
        }
    }

    #[test]
    fn a_file_gets_its_name_and_replaces_another() {
        each_way(|folder, write| {
            let place = || folder.join("key");
            for content in ["first", "second", "third"] {
                write(content.as_bytes()).replace("key", place).unwrap();
                assert_eq!(std::fs::read_to_string(place()).unwrap(), format!("{content}!"));
                assert_eq!(names(folder), ["key"]);
            }
            assert!(!write(b"fourth").publish_new("key").unwrap());
            assert!(write(b"fourth").publish_new("other").unwrap());
            assert_eq!(std::fs::read_to_string(place()).unwrap(), "third!");
            assert_eq!(names(folder), ["key", "other"]);
        });
    }

    #[test]
    fn a_file_that_gets_no_name_is_gone() {
        each_way(|folder, write| {
            drop(write(b"unused"));
            let mut shown = write(b"shown");
            let name = shown.show().unwrap();
            assert_eq!(names(folder), [&*name]);
            assert!(Stripe::of_temp(name.as_bytes()).is_some());
            drop(shown);
            assert_eq!(names(folder), [""; 0]);
        });
    }

    #[test]
    fn what_is_no_file_keeps_its_place() {
        each_way(|folder, write| {
            let place = || folder.join("key");
            std::fs::create_dir(place()).unwrap();
            let fault = write(b"new").replace("key", place).unwrap_err();
            assert!(matches!(fault, Fault::NotAFile { .. }), "{fault:?}");
            // Also when it appeared after the look.
            let errno = write(b"new").rename_over("key").unwrap_err();
            assert!(matches!(errno, Errno::ISDIR | Errno::PERM), "{errno:?}");
            assert!(place().is_dir());
            assert_eq!(names(folder), ["key"]);
        });
    }

    #[test]
    fn a_small_file_system_question_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(!Temp::folds_case(&root) || cfg!(target_vendor = "apple"));
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
