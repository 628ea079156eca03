//! From what the operating system says to what the caller should do.

use std::fmt;
use std::path::{Path, PathBuf};

use larder_core::{Error, ErrorKind};
use rustix::io::Errno;

/// The name of this backend in errors.
pub(crate) const BACKEND: &str = "file";

/// The result of the raw calls.
pub(crate) type Raw<T> = Result<T, Fault>;

/// What can go wrong below the store, and where.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A system call failed.
    Os { errno: Errno, doing: &'static str, place: PathBuf },
    /// A symlink, folder, FIFO, device or socket is where a key's file belongs.
    NotAFile { place: PathBuf },
    /// Something else is where a folder belongs.
    NotAFolder { place: PathBuf },
    /// A file holds no record, or not this key's.
    Corrupt { cause: Error, place: PathBuf },
    /// The change is visible, but whether it would survive a loss of power is not known.
    NotSynced { errno: Errno, place: PathBuf },
    /// Others kept changing folders or lock files under the call's feet.
    Restless { place: PathBuf },
    /// The root folder was removed or replaced under the call's feet: lock and try again.
    RootGone,
    /// The store was closed meanwhile.
    Closed,
}

impl Fault {
    pub(crate) fn os(doing: &'static str, place: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Os { errno, doing, place: place.to_owned() }
    }

    /// A file's content is at fault, so that setting and deleting the key still work (`R4`).
    pub(crate) fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// The system does not let us, as far as one file or folder is concerned.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Os { errno: Errno::ACCESS | Errno::PERM, .. })
    }

    /// A file is there and does not tell what it holds, damaged or closed to us.
    pub(crate) fn hides_content(&self) -> bool {
        self.is_corrupt() || self.is_refused()
    }

    /// The folder, or a file in it, went away between two steps.
    pub(crate) fn is_vanished(&self) -> bool {
        matches!(self, Self::Os { errno: Errno::NOENT, .. })
    }
}

impl From<Fault> for Error {
    #[cold]
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Os { errno, doing, place } => {
                Self::new(os_kind(errno), format!("{doing} {}", Place(&place)))
                    .with_source(std::io::Error::from(errno))
            }
            Fault::NotAFile { place } => corrupt("something that is no file lies at", &place),
            Fault::NotAFolder { place } => corrupt("something that is no folder lies at", &place),
            // As the source the cause would say the same once more.
            Fault::Corrupt { cause, place } => {
                Self::new(ErrorKind::Corrupt, format!("{}: {}", Place(&place), cause.message()))
            }
            Fault::NotSynced { errno, place } => {
                let text = format!("written, but not surely to the disk: {}", Place(&place));
                Self::new(ErrorKind::Unknown, text).with_source(std::io::Error::from(errno))
            }
            Fault::Restless { place } => {
                let text = format!("it keeps changing: {}", Place(&place));
                Self::new(ErrorKind::Conflict, text)
            }
            Fault::RootGone => Self::new(ErrorKind::Conflict, "the root folder keeps changing"),
            Fault::Closed => ErrorKind::Closed.into(),
        }
    }
}

fn corrupt(what: &str, place: &Path) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} {}", Place(place)))
}

fn os_kind(errno: Errno) -> ErrorKind {
    match errno {
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOLCK | Errno::STALE => {
            ErrorKind::Unavailable
        }
        Errno::NOSYS | Errno::OPNOTSUPP => ErrorKind::Unsupported,
        Errno::LOOP | Errno::NOTDIR | Errno::ISDIR => ErrorKind::Corrupt,
        // Otherwise a call that was never made, or one of ours that was interrupted.
        Errno::AGAIN | Errno::INTR => ErrorKind::Internal,
        errno => Error::from_io(errno.into()).kind(),
    }
}

/// A path as one line of printable text.
pub(crate) struct Place<'a>(pub(crate) &'a Path);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.to_string_lossy().escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(errno: Errno) -> ErrorKind {
        Error::from(Fault::os("opening", Path::new("/x"))(errno)).kind()
    }

    #[test]
    fn errors_say_what_to_do() {
        assert_eq!(kind(Errno::NOSPC), ErrorKind::StorageFull);
        assert_eq!(kind(Errno::DQUOT), ErrorKind::StorageFull);
        assert_eq!(kind(Errno::FBIG), ErrorKind::TooLarge);
        assert_eq!(kind(Errno::ACCESS), ErrorKind::PermissionDenied);
        assert_eq!(kind(Errno::ROFS), ErrorKind::PermissionDenied);
        assert_eq!(kind(Errno::MFILE), ErrorKind::Unavailable);
        assert_eq!(kind(Errno::LOOP), ErrorKind::Corrupt);
        assert_eq!(kind(Errno::IO), ErrorKind::Internal);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_once() {
        let cause = Error::new(ErrorKind::Corrupt, "the check does not match");
        let error = Error::from(Fault::Corrupt { cause, place: PathBuf::from("/data") });
        assert_eq!(error.to_string(), "corrupt data: \"/data\": the check does not match");
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn places_are_named_and_made_safe_to_print() {
        let place = PathBuf::from("/data/\u{1b}[31m");
        let error = Error::from(Fault::NotAFile { place });
        assert!(error.to_string().contains(r#""/data/\u{1b}[31m""#), "{error}");
    }
}
