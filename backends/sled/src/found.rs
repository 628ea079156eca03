//! What is found under a key.

use chrono::{DateTime, Utc};
use larder_core::{Bytes, Deadline};
use sled::IVec;

use crate::record::Record;

/// A live value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) value: Bytes,
    pub(crate) expires_at: Option<Deadline>,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Missing,
    /// A record that has expired, of which nobody is told as long as it is there.
    Expired,
    Live(Live),
    /// A value of more bytes than were asked for.
    TooLarge,
}

impl Got {
    /// The live value.
    pub(crate) fn live(self) -> Option<Live> {
        match self {
            Self::Live(live) => Some(live),
            Self::Missing | Self::Expired | Self::TooLarge => None,
        }
    }
}

/// What lies under a key, at one moment.
pub(crate) enum Current<'r> {
    /// Nothing, or a record that has expired.
    Absent,
    Live(Record<'r>),
    /// Something that cannot be read: there, and equal to nothing (`R4`).
    Corrupt,
}

impl<'r> Current<'r> {
    pub(crate) fn of(bytes: Option<&'r IVec>, now: DateTime<Utc>) -> Self {
        match bytes.map(|bytes| Record::read(bytes)) {
            None => Self::Absent,
            Some(Ok(record)) if record.is_expired(now) => Self::Absent,
            Some(Ok(record)) => Self::Live(record),
            Some(Err(_)) => Self::Corrupt,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(crate) fn expires_at(&self) -> Option<Deadline> {
        match self {
            Self::Live(record) => record.expires_at,
            Self::Absent | Self::Corrupt => None,
        }
    }
}
