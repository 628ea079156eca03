use std::io;

use larder_core::{Error, ErrorKind};

/// What can go wrong below the trait, before it becomes the one public error.
#[derive(Debug)]
pub(crate) enum SledError {
    /// What sled itself reports.
    Driver(sled::Error),
    /// A step panicked outside the wall around sled: a defect of ours.
    Panicked,
    /// The database was not dropped within the time that closing takes; its path stays locked.
    CloseStuck,
    /// The store was closed, and its driver is gone.
    Closed,
    /// Another owner, in this process or another one, has the path open.
    Locked,
    /// Something that is not a sled database lies at the path.
    NotSled(&'static str),
    /// A sled database lies at the path, and its settings or its layout make no sense.
    DamagedSettings,
    /// A sled database lies at the path that this version of sled, set up as it is, does not read.
    OtherSettings(sled::Error),
    /// The path is absent and may not be created.
    Absent,
    /// The operating system refused a call of our own.
    Io(io::Error),
    /// A blocking step was asked for outside a tokio runtime, or while that shuts down.
    NoRuntime,
}

impl SledError {
    /// Tells whether it says that another owner has the path.
    pub(crate) fn is_locked(&self) -> bool {
        match self {
            // sled gives the refused file lock no kind of its own.
            Self::Driver(sled::Error::Io(error)) => {
                error.to_string().starts_with("could not acquire lock")
            }
            Self::Locked => true,
            _ => false,
        }
    }
}

impl From<sled::Error> for SledError {
    fn from(error: sled::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<SledError> for Error {
    fn from(error: SledError) -> Self {
        let text = |kind, message: &'static str| Self::new(kind, message);
        match error {
            error if error.is_locked() => {
                text(ErrorKind::Locked, "another store has the path open")
            }
            SledError::Driver(error) => from_driver(error),
            SledError::Panicked => text(ErrorKind::Internal, "a blocking step panicked"),
            SledError::CloseStuck => text(
                ErrorKind::Internal,
                "sled did not stop; the path may stay locked until the process ends",
            ),
            SledError::Closed => ErrorKind::Closed.into(),
            SledError::Locked => ErrorKind::Locked.into(),
            SledError::NotSled(why) => text(ErrorKind::InvalidConfig, why),
            SledError::DamagedSettings => text(
                ErrorKind::Corrupt,
                "the settings or the layout of the sled database are damaged",
            ),
            SledError::OtherSettings(error) => text(
                ErrorKind::InvalidConfig,
                "the sled database was made by another version or with other settings",
            )
            .with_source(error),
            SledError::Absent => text(ErrorKind::NotFound, "there is no store at the path"),
            SledError::Io(error) => Self::from_io(error),
            SledError::NoRuntime => {
                text(ErrorKind::Unavailable, "a running tokio runtime is needed for this call")
            }
        }
    }
}

fn from_driver(error: sled::Error) -> Error {
    let (kind, message) = match error {
        sled::Error::Io(error) => return Error::from_io(error),
        sled::Error::Corruption { .. } => (ErrorKind::Corrupt, "sled found a damaged page"),
        sled::Error::CollectionNotFound(_) => (ErrorKind::Internal, "sled lost a tree"),
        sled::Error::Unsupported(_) => (ErrorKind::Internal, "sled refused the call"),
        sled::Error::ReportableBug(_) => (ErrorKind::Internal, "sled found a defect of its own"),
    };
    Error::new(kind, message).with_source(error)
}

/// The error of a write that was applied in memory, and whose way to the disk failed: what a later
/// opening will find cannot be known.
pub(crate) fn unknown_outcome(cause: Error) -> Error {
    Error::new(ErrorKind::Unknown, "applied, and then not written to disk").with_source(cause)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_refused_file_lock_is_locked_and_other_io_keeps_its_kind() {
        let refused = io::Error::other("could not acquire lock on \"/x/db\": WouldBlock");
        let public = |error| Error::from(SledError::Driver(sled::Error::Io(error)));
        assert_eq!(public(refused).kind(), ErrorKind::Locked);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(public(full).kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn what_sled_says_is_the_source_and_not_the_text() {
        let error = from_driver(sled::Error::ReportableBug("details".to_owned()));
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(!error.to_string().contains("details"));
        assert!(error.source().is_some_and(|source| source.to_string().contains("details")));
    }
}
