use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::record::{BytesOf, ExpiresAt, RecordReader, corrupt};
use crate::{ExpiresIn, Result};

/// A value with its expiry, in the format that Litestar's stores keep (`R1`).
///
/// ```
/// use larder_core::{StorageObject, chrono::DateTime};
/// let object = StorageObject::new("bar", None);
/// let bytes = object.to_bytes();
/// assert_eq!(&bytes[..], b"\x82\xaaexpires_at\xc0\xa4data\xc4\x03bar");
/// assert_eq!(StorageObject::from_bytes(bytes)?, object);
/// assert!(!object.is_expired(DateTime::UNIX_EPOCH));
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StorageObject {
    /// The value.
    pub data: Bytes,
    /// When it stops being live; `None` for never.
    pub expires_at: Option<DateTime<Utc>>,
}

impl StorageObject {
    /// A value with the moment at which it stops being live.
    pub fn new(data: impl Into<Bytes>, expires_at: Option<DateTime<Utc>>) -> Self {
        Self { data: data.into(), expires_at }
    }

    /// Tells whether the value is gone at `now`; at the very moment of its deadline it is.
    #[must_use]
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|deadline| deadline <= now)
    }

    /// How long the value still lives at `now`: `Missing` when it is gone.
    #[must_use]
    pub fn expires_in(&self, now: DateTime<Utc>) -> ExpiresIn {
        match self.expires_at {
            None => ExpiresIn::Never,
            Some(deadline) => match (deadline - now).to_std() {
                Ok(left) if left > Duration::ZERO => ExpiresIn::In(left),
                _ => ExpiresIn::Missing,
            },
        }
    }

    /// The remaining seconds at `now`, rounded up: −1 without expiry, 0 when it is gone.
    ///
    /// Litestar's `expires_in` gives −1 for a value that expired a second ago, too; this does not.
    #[must_use]
    pub fn expires_in_secs(&self, now: DateTime<Utc>) -> i64 {
        match self.expires_in(now) {
            ExpiresIn::Never => -1,
            ExpiresIn::Missing => 0,
            in_time @ ExpiresIn::In(_) => in_time
                .as_secs()
                .and_then(|seconds| i64::try_from(seconds).ok())
                .unwrap_or(i64::MAX),
        }
    }

    /// The bytes that Litestar writes for this object: a MessagePack map of `expires_at` (nil, or a
    /// timestamp in its shortest form) and `data`.
    ///
    /// Fractions of a microsecond of the expiry round up; an expiry outside the years 1 to 9999 is
    /// moved to their end.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        /// The fields in the order in which Litestar writes them.
        #[derive(Serialize)]
        struct Wire<'a> {
            expires_at: ExpiresAt,
            data: BytesOf<'a>,
        }
        let wire = Wire { expires_at: ExpiresAt(self.expires_at), data: BytesOf(&self.data) };
        let mut out = Vec::with_capacity(self.data.len() + 40);
        rmp_serde::encode::write_named(&mut out, &wire)
            .unwrap_or_else(|error| unreachable!("a vector takes every write: {error}"));
        out.into()
    }

    /// Reads an object; `data` is a slice of `bytes`, not a copy.
    ///
    /// Any order of the fields is taken, and fields of other names, fields given twice (the last one
    /// counts), lengths in longer forms than needed, and RFC 3339 text for the expiry.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) for anything else.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        let mut reader = RecordReader::new(&bytes)?;
        let (mut expires_at, mut data) = (None, None);
        while let Some(field) = reader.next_field()? {
            match field {
                "expires_at" => expires_at = Some(reader.expires_at()?),
                "data" => data = Some(reader.bin()?),
                _ => reader.skip()?,
            }
        }
        reader.finish()?;
        let expires_at = expires_at.ok_or_else(|| corrupt("the field expires_at is missing"))?;
        let data = data.ok_or_else(|| corrupt("the field data is missing"))?;
        Ok(Self { data: bytes.slice(data), expires_at })
    }
}

impl fmt::Debug for StorageObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageObject")
            .field("data_len", &self.data.len())
            .field("expires_at", &self.expires_at)
            .finish()
    }
}
