use std::fmt;

use bytes::Bytes;

use crate::{Error, ErrorKind, Namespace, Result};

/// One page of keys (`C3`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListPage {
    /// Keys, without the namespace; there may be none although more pages follow.
    pub keys: Vec<String>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
    /// How many live records were passed over on the way because they do not tell their key, as
    /// files written by Litestar do not.
    pub unlisted: u64,
}

impl ListPage {
    /// A page of these keys.
    pub fn new(keys: Vec<String>, next: Option<Cursor>) -> Self {
        Self { keys, next, unlisted: 0 }
    }

    /// Sets [`unlisted`](Self::unlisted).
    #[must_use]
    pub fn with_unlisted(mut self, unlisted: u64) -> Self {
        self.unlisted = unlisted;
        self
    }
}

/// One page of the names of child namespaces (`C4`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespacePage {
    /// Segments; there may be none although more pages follow.
    pub segments: Vec<String>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

impl NamespacePage {
    /// A page of these segments.
    pub fn new(segments: Vec<String>, next: Option<Cursor>) -> Self {
        Self { segments, next }
    }
}

/// A place in a listing, opaque to all but the backend that made it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cursor(Bytes);

impl Cursor {
    /// A cursor from bytes that [`as_bytes`](Self::as_bytes) once gave, to carry it elsewhere.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes of the cursor.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({} bytes)", self.0.len())
    }
}

/// The listing that a cursor belongs to: a store, a kind of listing, a namespace and a prefix.
///
/// A backend seals its own position in it, and finds out on opening when a cursor comes from
/// another listing.
///
/// ```
/// use larder_core::{CursorScope, ErrorKind, Namespace};
/// let scope = CursorScope::keys(b"store 1", &Namespace::root(), "user:");
/// let cursor = scope.seal(b"position");
/// assert_eq!(&scope.open(&cursor)?[..], b"position");
/// let other = CursorScope::keys(b"store 1", &Namespace::root(), "");
/// assert_eq!(other.open(&cursor).unwrap_err().kind(), ErrorKind::InvalidCursor);
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CursorScope(u64);

impl CursorScope {
    /// The listing of the keys below `prefix` in `namespace` of the store that `store` tells apart
    /// from all others.
    #[must_use]
    pub fn keys(store: &[u8], namespace: &Namespace, prefix: &str) -> Self {
        Self::new(b'k', store, namespace, prefix)
    }

    /// The listing of the child namespaces of `namespace`.
    #[must_use]
    pub fn namespaces(store: &[u8], namespace: &Namespace) -> Self {
        Self::new(b'n', store, namespace, "")
    }

    fn new(kind: u8, store: &[u8], namespace: &Namespace, prefix: &str) -> Self {
        let encoded = namespace.encode();
        let mut hash = fnv1a(FNV_OFFSET, &[kind]);
        for part in [store, encoded.as_bytes(), prefix.as_bytes()] {
            hash = fnv1a(hash, &(part.len() as u64).to_le_bytes());
            hash = fnv1a(hash, part);
        }
        Self(hash)
    }

    /// A cursor that holds `position`.
    #[must_use]
    pub fn seal(&self, position: &[u8]) -> Cursor {
        let check = fnv1a(self.0, position);
        let mut bytes = Vec::with_capacity(16 + position.len());
        bytes.extend_from_slice(&self.0.to_le_bytes());
        bytes.extend_from_slice(&check.to_le_bytes());
        bytes.extend_from_slice(position);
        Cursor(bytes.into())
    }

    /// The position that a cursor of this listing holds.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCursor`] for any other cursor.
    pub fn open(&self, cursor: &Cursor) -> Result<Bytes> {
        let invalid = |message| Error::new(ErrorKind::InvalidCursor, message);
        let Some((head, position)) = cursor.0.split_first_chunk::<16>() else {
            return Err(invalid("it is too short"));
        };
        if head[..8] != self.0.to_le_bytes() {
            return Err(invalid("it belongs to another store, namespace or prefix"));
        }
        if head[8..] != fnv1a(self.0, position).to_le_bytes() {
            return Err(invalid("it was altered"));
        }
        Ok(cursor.0.slice(16..))
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a: the same on every machine and in every release, so that a cursor outlives its process.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_in_its_own_listing_alone() {
        let a = Namespace::from_segments(["a"]).unwrap();
        let root = Namespace::root();
        let own = CursorScope::keys(b"s", &a, "p");
        let cursor = own.seal(b"");
        assert!(own.open(&cursor).unwrap().is_empty());
        for other in [
            CursorScope::keys(b"t", &a, "p"),
            CursorScope::keys(b"s", &root, "p"),
            CursorScope::keys(b"s", &a, ""),
            CursorScope::namespaces(b"s", &a),
        ] {
            assert_eq!(other.open(&cursor).unwrap_err().kind(), ErrorKind::InvalidCursor);
        }
        for garbage in [&b""[..], b"short", &[0; 40]] {
            let garbage = Cursor::from_bytes(garbage.to_vec());
            assert_eq!(own.open(&garbage).unwrap_err().kind(), ErrorKind::InvalidCursor);
        }
        let mut altered = cursor.as_bytes().to_vec();
        altered.push(1);
        assert!(own.open(&Cursor::from_bytes(altered)).is_err());
    }

    #[test]
    fn a_cursor_carried_elsewhere_as_bytes_still_opens() {
        let scope = CursorScope::keys(b"s", &Namespace::root(), "");
        let cursor = scope.seal(b"position");
        let carried = Cursor::from_bytes(cursor.as_bytes().to_vec());
        assert_eq!(carried, cursor);
        assert_eq!(scope.open(&carried).unwrap(), "position");
    }

    #[test]
    fn cursors_are_checked_by_the_published_hash() {
        let hashes = [
            (&b""[..], 0xcbf2_9ce4_8422_2325),
            (b"a", 0xaf63_dc4c_8601_ec8c),
            (b"foobar", 0x8594_4171_f739_67e8),
        ];
        for (bytes, hash) in hashes {
            assert_eq!(fnv1a(FNV_OFFSET, bytes), hash);
        }
    }
}
