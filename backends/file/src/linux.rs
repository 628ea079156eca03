//! What Linux offers besides: whole paths without symlinks in one call, and reads that never wait.

use std::io::IoSliceMut;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};

use crate::folder::is_file;
use crate::layout::FolderPath;

/// A path of this length or more is refused by the kernel.
const PATH_MAX: usize = 4096;
/// What is longer is read on a blocking thread, cached or not.
const IN_PLACE_MAX: i64 = 64 * 1024;

const BELOW: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Whether the kernel, or a sandbox, refuses `openat2` altogether.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens a path below `root` and follows no symlink; `None` where that takes several calls.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
) -> Option<rustix::io::Result<OwnedFd>> {
    open_with(root, path, flags, BELOW)
}

/// The path of a file relative to the root.
pub(crate) fn path_of(folder: &FolderPath, name: &str) -> String {
    match folder.as_str() {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

fn open_with(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Option<rustix::io::Result<OwnedFd>> {
    if path.len() >= PATH_MAX || NO_OPENAT2.load(Relaxed) {
        return None;
    }
    let path = if path.is_empty() { "." } else { path };
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {
            NO_OPENAT2.store(true, Relaxed);
            None
        }
        Err(Errno::INTR | Errno::AGAIN) if !resolve.contains(ResolveFlags::CACHED) => None,
        opened => Some(opened),
    }
}

/// What can be told about a file without waiting for a disk.
#[derive(Debug)]
pub(crate) enum Cached {
    Bytes(Vec<u8>),
    Missing,
    /// It takes a call that may wait.
    Unsure,
}

/// Reads a file if that surely does not block.
pub(crate) fn read_cached(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Cached {
    let fd = match open_with(root, path, flags, BELOW | ResolveFlags::CACHED) {
        Some(Ok(fd)) => fd,
        // A root that was removed knows no file at all; whether another took its place is not known.
        Some(Err(Errno::NOENT)) if is_linked(root) => return Cached::Missing,
        _ => return Cached::Unsure,
    };
    let Ok(stat) = rustix::fs::fstat(&fd) else { return Cached::Unsure };
    if !is_file(&stat) || stat.st_size > IN_PLACE_MAX {
        return Cached::Unsure;
    }
    let mut bytes = vec![0; usize::try_from(stat.st_size).unwrap_or(0)];
    let buffers = &mut [IoSliceMut::new(&mut bytes)];
    match rustix::io::preadv2(&fd, buffers, 0, ReadWriteFlags::NOWAIT) {
        Ok(read) if read == bytes.len() => Cached::Bytes(bytes),
        _ => Cached::Unsure,
    }
}

fn is_linked(folder: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(folder).is_ok_and(|stat| stat.st_nlink > 0)
}
