use std::fmt;

use bytes::Bytes;

use crate::ExpiresIn;

/// Tells two different values of one key apart (`C2`).
///
/// The bytes are the backend's own affair: compare versions, hand them back in a condition, and
/// nothing else. Equal values may share a version.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(Bytes);

impl Version {
    /// A version made of a backend's own bytes: the content, a cryptographic hash, or a counter.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes of the version.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Version {
    // The bytes may be the value itself, and values do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({} bytes)", self.0.len())
    }
}

/// A live value and what was asked about it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// The remaining life, `Never` or `In`; `None` unless [`GetOptions::expires_in`] asked for it
    /// or the backend had it at hand. After a renewal it is the renewed one: `Missing` where the key
    /// was renewed for zero, and is gone.
    ///
    /// [`GetOptions::expires_in`]: crate::GetOptions::expires_in
    pub expires_in: Option<ExpiresIn>,
    /// The version; `None` unless [`GetOptions::version`] asked for it.
    ///
    /// [`GetOptions::version`]: crate::GetOptions::version
    pub version: Option<Version>,
}

impl Entry {
    /// An entry that tells its value alone.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: value.into(), expires_in: None, version: None }
    }

    /// Adds the remaining life.
    #[must_use]
    pub fn with_expires_in(mut self, expires_in: ExpiresIn) -> Self {
        self.expires_in = Some(expires_in);
        self
    }

    /// Adds the version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("value_len", &self.value.len())
            .field("expires_in", &self.expires_in)
            .field("version", &self.version)
            .finish()
    }
}
