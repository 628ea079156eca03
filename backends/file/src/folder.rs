//! The root folder and the folders below it, opened one relative to the other and never through a
//! symlink.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Fault, Raw};
use crate::layout::FolderPath;
use crate::replace::Temp;

/// How often a change is tried again when others keep removing the folder it needs.
pub(crate) const TRIES: usize = 1_000;

const FOLDER_MODE: Mode = Mode::RWXU;
const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Tells one file or folder from all others that exist at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        reason = "the fields' types differ between systems"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

pub(crate) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The folders that a call has made on the way to what it does there. Unless they are kept they are
/// removed again, the innermost first; one that others use by then stays.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<(OwnedFd, Box<str>)>);

impl Made {
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for (above, name) in self.0.iter().rev() {
            if rustix::fs::unlinkat(above, &**name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }
}

/// The root folder, as it was when it was opened.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    fd: OwnedFd,
    id: FileId,
    anonymous: OnceLock<bool>,
}

impl Root {
    /// Opens the folder at an absolute path without symlinks.
    pub(crate) fn open(path: &Path) -> Raw<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = || Fault::os("opening", path);
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed())?;
        let id = FileId::of(&rustix::fs::fstat(&fd).map_err(failed())?);
        Ok(Self { path: path.to_owned(), fd, id, anonymous: OnceLock::new() })
    }

    /// Opens the folder, or makes it anew where somebody removed it.
    pub(crate) fn open_or_make(path: &Path) -> Raw<Self> {
        for _ in 0..TRIES {
            match Self::open(path) {
                Err(Fault::Os { errno: Errno::NOENT, .. }) => make_at_path(path)?,
                opened => return opened,
            }
        }
        Err(Fault::Restless { place: path.to_owned() })
    }

    /// Tells whether this folder is still the one at its path.
    pub(crate) fn is_current(&self) -> bool {
        rustix::fs::stat(&self.path).is_ok_and(|stat| FileId::of(&stat) == self.id)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Tells whether the file system has files without a name.
    pub(crate) fn has_anonymous_files(&self) -> bool {
        *self.anonymous.get_or_init(|| Temp::has_anonymous(self.fd()))
    }

    /// Where something lies, for errors.
    pub(crate) fn place(&self, folder: &FolderPath, name: &str) -> PathBuf {
        let mut place = self.path.clone();
        for part in [folder.as_str(), name] {
            if !part.is_empty() {
                place.push(part);
            }
        }
        place
    }

    /// Opens a folder; `None` when it, or one above it, does not exist.
    pub(crate) fn folder(&self, path: &FolderPath) -> Raw<Option<OwnedFd>> {
        #[cfg(target_os = "linux")]
        if let Some(opened) = crate::linux::open(self.fd(), path.as_str(), OPEN_FOLDER) {
            return self.opened(opened, path);
        }
        self.opened(self.folder_by_steps(path, None), path)
    }

    /// Opens a folder, and makes it and those above it where they do not exist.
    pub(crate) fn make_folder(&self, path: &FolderPath) -> Raw<(OwnedFd, Made)> {
        for _ in 0..TRIES {
            if let Some(folder) = self.folder(path)? {
                return Ok((folder, Made::default()));
            }
            let mut made = Made::default();
            let opened = self.folder_by_steps(path, Some(&mut made));
            if let Some(folder) = self.opened(opened, path)? {
                return Ok((folder, made));
            }
            if !self.is_current() {
                return Err(Fault::RootGone);
            }
        }
        Err(Fault::Restless { place: self.place(path, "") })
    }

    fn opened(
        &self,
        opened: rustix::io::Result<OwnedFd>,
        path: &FolderPath,
    ) -> Raw<Option<OwnedFd>> {
        match opened {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) if errno == Errno::NOTDIR || is_link(errno) => {
                Err(Fault::NotAFolder { place: self.place(path, "") })
            }
            Err(errno) => Err(Fault::os("opening", &self.place(path, ""))(errno)),
        }
    }

    fn folder_by_steps(
        &self,
        path: &FolderPath,
        mut made: Option<&mut Made>,
    ) -> rustix::io::Result<OwnedFd> {
        let mut folder = open_at(self.fd(), ".", OPEN_FOLDER)?;
        for part in path.parts() {
            let mut next = open_at(folder.as_fd(), part, OPEN_FOLDER);
            if let (Err(Errno::NOENT), Some(made)) = (&next, made.as_deref_mut()) {
                let is_new = make_one(folder.as_fd(), &**part, FOLDER_MODE)?;
                next = open_at(folder.as_fd(), part, OPEN_FOLDER);
                if is_new {
                    made.0.push((folder, part.clone()));
                }
            }
            folder = next?;
        }
        Ok(folder)
    }
}

/// Opens what `name` means in `folder`, and no symlink.
pub(crate) fn open_at(
    folder: BorrowedFd<'_>,
    name: &str,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::io::retry_on_intr(|| {
        rustix::fs::openat(folder, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    })
}

/// Tells whether opening failed because of a symlink; the BSDs have words of their own for that.
pub(crate) fn is_link(errno: Errno) -> bool {
    #[cfg(target_os = "netbsd")]
    if errno == Errno::FTYPE {
        return true;
    }
    matches!(errno, Errno::LOOP | Errno::MLINK)
}

/// Makes a folder that is its owner's alone, whatever the umask, and tells whether it did; one that
/// exists is left as it is.
fn make_one<P: rustix::path::Arg + Copy>(
    parent: BorrowedFd<'_>,
    name: P,
    mode: Mode,
) -> rustix::io::Result<bool> {
    match rustix::fs::mkdirat(parent, name, mode) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !Mode::from_raw_mode(stat.st_mode).contains(mode) {
        // By name, since the umask may have left a folder that cannot even be opened.
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
    }
    Ok(true)
}

/// Makes the root folder and what is missing above it, each durably linked into its parent.
pub(crate) fn make_at_path(path: &Path) -> Raw<()> {
    let failed = |place| Fault::os("making", place);
    if rustix::fs::stat(path).is_ok() {
        return Ok(());
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(path)(Errno::NOENT));
    };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    make_at_path(above)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(above, flags, Mode::empty()).map_err(failed(above))?;
    make_one(parent.as_fd(), name, FOLDER_MODE).map_err(failed(path))?;
    rustix::fs::fsync(&parent).map_err(Fault::os("syncing", above))
}

/// The root of a store: opened anew where somebody removed it or put another in its place.
#[derive(Debug)]
pub(crate) struct Roots {
    path: PathBuf,
    folds_case: bool,
    current: RwLock<Option<Arc<Root>>>,
}

impl Roots {
    pub(crate) fn new(root: Root) -> Self {
        let folds_case = Temp::folds_case(&root);
        Self { path: root.path.clone(), folds_case, current: RwLock::new(Some(Arc::new(root))) }
    }

    /// Tells whether the root lies on a file system where `A` and `a` are one name.
    pub(crate) fn folds_case(&self) -> bool {
        self.folds_case
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The root as it was last seen.
    pub(crate) fn get(&self) -> Raw<Arc<Root>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or(Fault::Closed)
    }

    /// The root that is at the path now; `None` when none is.
    pub(crate) fn look(&self) -> Raw<Option<Arc<Root>>> {
        let seen = self.get()?;
        if seen.is_current() {
            return Ok(Some(seen));
        }
        match Root::open(&self.path) {
            Ok(root) => self.put(root).map(Some),
            Err(fault) if fault.is_vanished() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The root that is at the path now, made where none is.
    pub(crate) fn look_or_make(&self) -> Raw<Arc<Root>> {
        let seen = self.get()?;
        if seen.is_current() { Ok(seen) } else { self.put(Root::open_or_make(&self.path)?) }
    }

    fn put(&self, root: Root) -> Raw<Arc<Root>> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match &mut *current {
            None => Err(Fault::Closed),
            Some(seen) if seen.is_current() => Ok(Arc::clone(seen)),
            Some(seen) => {
                *seen = Arc::new(root);
                Ok(Arc::clone(seen))
            }
        }
    }

    /// Lets go of the root.
    pub(crate) fn close(&self) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
