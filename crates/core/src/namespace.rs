use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::{Error, ErrorKind, Result};

/// The longest segment of a namespace in bytes (`N1`).
pub const MAX_SEGMENT_LEN: usize = 255;
/// The most segments of a namespace (`N1`).
pub const MAX_NAMESPACE_DEPTH: usize = 32;
/// The most bytes of all segments of a namespace together (`N1`).
pub const MAX_NAMESPACE_LEN: usize = 2048;

/// The path of a subtree of keys: segments of any characters, none of them empty.
///
/// ```
/// use larder_core::Namespace;
/// let users = Namespace::root().join("app")?.join("users: a/b")?;
/// assert_eq!(users.segments().collect::<Vec<_>>(), ["app", "users: a/b"]);
/// assert_eq!(users.to_string(), "app/users%3A a%2Fb");
/// assert!(users.starts_with(&Namespace::from_segments(["app"])?));
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Namespace(Arc<[Box<str>]>);

impl Namespace {
    /// The root: no segment.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The namespace with these segments, outermost first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidNamespace`]; see [`join`](Self::join).
    pub fn from_segments<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::root().join_all(segments)
    }

    /// The child named `segment`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidNamespace`] when the segment is empty or over 255 bytes, or the whole
    /// is deeper than 32 segments or longer than 2,048 bytes.
    pub fn join(&self, segment: &str) -> Result<Self> {
        self.join_all([segment])
    }

    /// The descendant reached by these segments.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_all<S: AsRef<str>>(&self, segments: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut all = self.0.to_vec();
        for segment in segments {
            let segment = segment.as_ref();
            if segment.is_empty() {
                return Err(invalid("a segment is empty"));
            }
            if segment.len() > MAX_SEGMENT_LEN {
                return Err(invalid(format!(
                    "a segment has {} bytes, at most {MAX_SEGMENT_LEN} are taken",
                    segment.len()
                )));
            }
            if all.len() == MAX_NAMESPACE_DEPTH {
                return Err(invalid(format!("more than {MAX_NAMESPACE_DEPTH} segments")));
            }
            all.push(segment.into());
        }
        let len: usize = all.iter().map(|segment| segment.len()).sum();
        if len > MAX_NAMESPACE_LEN {
            return Err(invalid(format!("{len} bytes, at most {MAX_NAMESPACE_LEN} are taken")));
        }
        Ok(Self(all.into()))
    }

    /// Tells whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// How many segments there are.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The segments, outermost first.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.0.iter().map(|segment| &**segment)
    }

    /// Tells whether this is `other` or lies below it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The segments, escaped and joined by `/`: one text for one namespace, whatever it holds.
    ///
    /// `%`, `/` and `:` become `%25`, `%2F` and `%3A`; nothing else changes. No encoded namespace
    /// is a prefix of another one followed by `/` or `:` unless it is its ancestor, which is what
    /// keeps `foo` apart from `foobar`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for (index, segment) in self.segments().enumerate() {
            if index > 0 {
                out.push('/');
            }
            out.push_str(&Self::escape_segment(segment));
        }
        out
    }

    /// One segment as [`encode`](Self::encode) writes it.
    #[must_use]
    pub fn escape_segment(segment: &str) -> Cow<'_, str> {
        if !segment.contains(['%', '/', ':']) {
            return Cow::Borrowed(segment);
        }
        let mut out = String::with_capacity(segment.len() + 8);
        for character in segment.chars() {
            match character {
                '%' => out.push_str("%25"),
                '/' => out.push_str("%2F"),
                ':' => out.push_str("%3A"),
                other => out.push(other),
            }
        }
        Cow::Owned(out)
    }

    /// The segment that [`escape_segment`](Self::escape_segment) turned into `escaped`; `None` for
    /// text that it never writes, which is foreign.
    #[must_use]
    pub fn unescape_segment(escaped: &str) -> Option<Cow<'_, str>> {
        if escaped.is_empty() || escaped.contains(['/', ':']) {
            return None;
        }
        let mut parts = escaped.split('%');
        let first = parts.next()?;
        if first.len() == escaped.len() {
            return Some(Cow::Borrowed(escaped));
        }
        let mut out = String::from(first);
        for part in parts {
            out.push(match part.get(..2)? {
                "25" => '%',
                "2F" => '/',
                "3A" => ':',
                _ => return None,
            });
            out.push_str(&part[2..]);
        }
        Some(Cow::Owned(out))
    }
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidNamespace, message)
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encode())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.segments()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact() {
        let longest = "x".repeat(MAX_SEGMENT_LEN);
        assert!(Namespace::root().join(&longest).is_ok());
        let eight = Namespace::from_segments(vec![longest.as_str(); 8]).unwrap();
        assert!(eight.join("12345678").is_ok());
        assert!(eight.join("123456789").is_err());
        assert!(Namespace::from_segments(["a"; MAX_NAMESPACE_DEPTH]).is_ok());
        for bad in [vec![""], vec!["a"; 33]] {
            let error = Namespace::from_segments(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidNamespace);
        }
        assert!(Namespace::root().join(&"x".repeat(256)).is_err());
    }

    #[test]
    fn escaping_is_undone_exactly_and_foreign_text_is_told() {
        for segment in ["a", "a:b", "a/b", "%", "%25", "é%3A:", "..", "\0"] {
            let escaped = Namespace::escape_segment(segment);
            assert!(!escaped.contains([':', '/']));
            assert_eq!(Namespace::unescape_segment(&escaped).unwrap(), segment);
        }
        for foreign in ["", "%", "%2", "%2f", "%41", "a:b", "a/b", "%é"] {
            assert_eq!(Namespace::unescape_segment(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn ambiguous_joins_differ() {
        let pairs = [(vec!["a", "b:c"], vec!["a:b", "c"]), (vec!["a/b"], vec!["a", "b"])];
        for (left, right) in pairs {
            let left = Namespace::from_segments(left).unwrap();
            let right = Namespace::from_segments(right).unwrap();
            assert_ne!(left, right);
            assert_ne!(left.encode(), right.encode());
        }
    }

    #[test]
    fn the_root_alone_has_no_segments() {
        let root = Namespace::root();
        assert!(root.is_root());
        assert_eq!((root.depth(), root.encode().as_str()), (0, ""));
        let below = root.join_all(["a", "b", "c"]).unwrap();
        assert!(!below.is_root());
        assert_eq!((below.depth(), below.encode().as_str()), (3, "a/b/c"));
    }

    #[test]
    fn only_a_namespace_and_what_lies_below_it_start_with_it() {
        let path = |segments: &[&str]| Namespace::from_segments(segments).unwrap();
        let foo = path(&["foo"]);
        for inside in [path(&["foo"]), path(&["foo", "a"]), path(&["foo", "a", "b"])] {
            assert!(inside.starts_with(&foo) && inside.starts_with(&Namespace::root()));
        }
        for outside in [path(&["foobar"]), path(&["a", "foo"]), Namespace::root()] {
            assert!(!outside.starts_with(&foo), "{outside}");
        }
    }

    #[test]
    fn a_namespace_is_shown_as_it_is_encoded() {
        let namespace = Namespace::from_segments(["app", "users: a/b", "100%"]).unwrap();
        assert_eq!(namespace.encode(), "app/users%3A a%2Fb/100%25");
        assert_eq!(namespace.to_string(), namespace.encode());
    }
}
