//! What takes long with large values, done in turns with other tasks (`S6`).

use bytes::Bytes;

use crate::entry::MAX_INLINE;
use crate::pace::Pace;

/// The longest value that is copied in one go.
pub(crate) const MAX_AT_ONCE: usize = 1 << 20;

/// The value in a buffer of exactly its size, so that nothing else is kept alive (`S1`); one that
/// has its buffer to itself is not copied.
pub(crate) fn own(value: Bytes) -> Bytes {
    if value.len() <= MAX_INLINE {
        return value;
    }
    let bytes: Vec<u8> = value.into();
    // With an owner of our own the reference count is there from the start: a `Bytes` made of a
    // vector would allocate it at the first clone.
    Bytes::from_owner(bytes.into_boxed_slice())
}

/// As [`own`], for a value of any length. It copies in any case, as the part of a buffer that is
/// moved to its beginning could be as long.
pub(crate) async fn own_in_turns(value: Bytes) -> Bytes {
    if value.len() <= MAX_AT_ONCE {
        return own(value);
    }
    let mut pace = Pace::default();
    let mut bytes = Vec::with_capacity(value.len());
    for part in value.chunks(MAX_AT_ONCE) {
        bytes.extend_from_slice(part);
        pace.end_turn().await;
    }
    Bytes::from_owner(bytes.into_boxed_slice())
}

/// Compares two values of any length.
pub(crate) async fn same_in_turns(left: &Bytes, right: &Bytes) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut pace = Pace::default();
    for (left, right) in left.chunks(MAX_AT_ONCE).zip(right.chunks(MAX_AT_ONCE)) {
        if left != right {
            return false;
        }
        pace.end_turn().await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_length_is_kept_byte_for_byte_in_a_buffer_of_its_own() {
        for len in [0, MAX_INLINE, MAX_INLINE + 1, MAX_AT_ONCE, 2 * MAX_AT_ONCE + 1] {
            let whole: Bytes = (0..=255).cycle().take(len + 10).collect();
            let slice = whole.slice(5..len + 5);
            let owned = own_in_turns(slice.clone()).await;
            assert!(owned == slice && same_in_turns(&owned, &slice).await);
            assert!(len <= MAX_INLINE || owned.as_ptr() != slice.as_ptr());
        }
    }

    #[tokio::test]
    async fn one_differing_byte_is_found_wherever_it_is() {
        let one = vec![0; 2 * MAX_AT_ONCE + 7];
        for at in [0, MAX_AT_ONCE, one.len() - 1] {
            let mut other = one.clone();
            other[at] = 1;
            assert!(!same_in_turns(&one.clone().into(), &other.into()).await);
        }
    }

    #[test]
    fn a_value_with_its_buffer_to_itself_is_not_copied() {
        let value = vec![1; MAX_INLINE + 1].into_boxed_slice();
        let before = value.as_ptr();
        assert_eq!(own(Bytes::from(value)).as_ptr(), before);
    }
}
