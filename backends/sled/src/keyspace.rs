//! Where a key lies in sled's one ordered tree of records.
//!
//! The prefix of a namespace is, for each of its segments, the byte 1, the segment's length in one
//! byte, and the segment. One of its own keys is that prefix, the byte 0, and the key:
//!
//! ```text
//! root          "k"     00 k
//! ["foo"]       "k"     01 03 f o o 00 k
//! ["foo"]["b"]  "k"     01 03 f o o 01 01 b 00 k
//! ["foobar"]    "k"     01 06 f o o b a r 00 k
//! ```
//!
//! A length comes before what it measures, so no two paths meet and none is the beginning of
//! another unless it is its ancestor (`N1`). The own keys of a namespace are one range, in the
//! order of their bytes; the namespace with all its descendants is another.

use larder_core::{MAX_SEGMENT_LEN, Namespace};

const OWN: u8 = 0;
const CHILD: u8 = 1;

// A segment's length is kept in one byte.
const _: () = assert!(MAX_SEGMENT_LEN <= u8::MAX as usize);

/// The physical prefix of a namespace.
pub(crate) fn prefix(namespace: &Namespace) -> Box<[u8]> {
    let mut prefix = Vec::new();
    for segment in namespace.segments() {
        let len = u8::try_from(segment.len()).unwrap_or(u8::MAX);
        prefix.extend_from_slice(&[CHILD, len]);
        prefix.extend_from_slice(segment.as_bytes());
    }
    prefix.into()
}

/// The physical key of `key` in the namespace with this prefix.
pub(crate) fn physical(prefix: &[u8], key: &str) -> Vec<u8> {
    let mut physical = Vec::with_capacity(prefix.len() + 1 + key.len());
    physical.extend_from_slice(prefix);
    physical.push(OWN);
    physical.extend_from_slice(key.as_bytes());
    physical
}

/// Hands the physical key of `key` to `f`, without an allocation where it is short.
#[inline]
pub(crate) fn with_physical<T>(prefix: &[u8], key: &str, f: impl FnOnce(&[u8]) -> T) -> T {
    let mut short = [OWN; 96];
    let len = prefix.len() + 1 + key.len();
    match short.get_mut(..len) {
        Some(bytes) => {
            bytes[..prefix.len()].copy_from_slice(prefix);
            bytes[prefix.len() + 1..].copy_from_slice(key.as_bytes());
            f(bytes)
        }
        None => f(&physical(prefix, key)),
    }
}

/// The key that a physical one of this namespace stands for; `None` for one that we never write.
pub(crate) fn logical<'p>(prefix: &[u8], physical: &'p [u8]) -> Option<&'p str> {
    let (&OWN, key) = physical.strip_prefix(prefix)?.split_first()? else { return None };
    std::str::from_utf8(key).ok()
}

/// The physical prefix of all children of a namespace.
pub(crate) fn children(prefix: &[u8]) -> Vec<u8> {
    let mut children = prefix.to_vec();
    children.push(CHILD);
    children
}

/// The child of the namespace with this prefix that a physical key below it belongs to.
pub(crate) struct Child<'p> {
    /// Its name; `None` for one that we never write.
    pub(crate) segment: Option<&'p str>,
    /// Its own physical prefix.
    pub(crate) prefix: &'p [u8],
}

/// The child that `physical` lies in; `None` when it lies in none.
pub(crate) fn child_of<'p>(prefix: &[u8], physical: &'p [u8]) -> Option<Child<'p>> {
    let below = physical.strip_prefix(prefix)?;
    let (&CHILD, rest) = below.split_first()? else { return None };
    let (&len, rest) = rest.split_first()?;
    let segment = rest.get(..usize::from(len))?;
    let end = prefix.len() + 2 + segment.len();
    Some(Child { segment: std::str::from_utf8(segment).ok(), prefix: &physical[..end] })
}

/// Physical keys from one key on, up to the end of all that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) from: Vec<u8>,
    /// The first key past the range; `None` where it runs to the end of the tree.
    pub(crate) end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Everything that begins with `prefix`.
    pub(crate) fn below(prefix: &[u8]) -> Self {
        Self { from: prefix.to_vec(), end: past(prefix) }
    }

    /// The part of the range that begins at `from`; what lies before the range is not added to it.
    pub(crate) fn starting_at(mut self, from: Vec<u8>) -> Self {
        if from > self.from {
            self.from = from;
        }
        self
    }
}

/// The first key after all that begin with `prefix`.
pub(crate) fn past(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut past = prefix[..=last].to_vec();
    past[last] += 1;
    Some(past)
}

/// The first key after `key`.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    let mut successor = Vec::with_capacity(key.len() + 1);
    successor.extend_from_slice(key);
    successor.push(0);
    successor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(segments: &[&str]) -> Namespace {
        Namespace::from_segments(segments).unwrap()
    }

    fn contains(range: &KeyRange, key: &[u8]) -> bool {
        range.from.as_slice() <= key && range.end.as_deref().is_none_or(|end| key < end)
    }

    #[test]
    fn no_two_places_share_a_physical_key() {
        let longest = "x".repeat(MAX_SEGMENT_LEN);
        let paths: &[&[&str]] = &[
            &[],
            &["a"],
            &["a", "b"],
            &["ab"],
            &["foo"],
            &["foobar"],
            &["a", "b:c"],
            &["a:b", "c"],
            &["a_b", "c"],
            &["a", "b_c"],
            &["\0"],
            &["\u{1}"],
            &["\u{1}\u{1}a"],
            &[&longest],
        ];
        let keys = ["", "a", "\0", "\0k", "\u{1}\u{1}a\0k", "\u{1}", "b\0", "é"];
        let mut seen = std::collections::BTreeMap::new();
        for path in paths {
            let prefix = prefix(&namespace(path));
            for key in keys {
                let physical = physical(&prefix, key);
                assert_eq!(logical(&prefix, &physical), Some(key));
                assert_eq!(seen.insert(physical, (path, key)), None);
            }
        }
        // Each namespace's own keys and each subtree is one range with nothing else in it.
        for (physical, (path, _)) in &seen {
            for other in paths {
                let subtree = KeyRange::below(&prefix(&namespace(other)));
                assert_eq!(contains(&subtree, physical), path.starts_with(other));
                let own = KeyRange::below(&super::physical(&prefix(&namespace(other)), ""));
                assert_eq!(contains(&own, physical), path == &other);
            }
        }
    }

    #[test]
    fn own_keys_keep_the_order_of_their_bytes() {
        let prefix = prefix(&namespace(&["n"]));
        let mut keys = ["", "\0", "a", "a\0", "aa", "b", "é", "\u{10ffff}"];
        keys.sort_unstable();
        assert!(keys.windows(2).all(|w| physical(&prefix, w[0]) < physical(&prefix, w[1])));
    }

    #[test]
    fn a_child_is_found_from_any_key_below_it() {
        let parent = prefix(&namespace(&["p"]));
        let child = namespace(&["p", "c"]);
        for path in [child.clone(), child.join("deep").unwrap()] {
            let below = physical(&prefix(&path), "k");
            let found = child_of(&parent, &below).unwrap();
            assert_eq!((found.segment, found.prefix), (Some("c"), &*prefix(&child)));
        }
        assert!(child_of(&parent, &physical(&parent, "\u{1}\u{1}c")).is_none());
        for foreign in [&[1, 1, b'p', 1][..], &[1, 1, b'p', 1, 9, b'c'], b"\x01\x01q\x01\x01c\0k"] {
            assert!(child_of(&parent, foreign).is_none());
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_one() {
        assert_eq!(past(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(past(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(past(&[]), None);
        assert_eq!(KeyRange::below(b"b").starting_at(b"a".to_vec()), KeyRange::below(b"b"));
    }
}
