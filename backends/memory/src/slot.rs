use bytes::Bytes;

/// The longest value that lies in one allocation with its key and is copied out on a get.
///
/// Copying so much costs no more than the two contended counter updates of a shared buffer.
pub(crate) const MAX_INLINE: usize = 512;

/// No deadline. Larger than every real one.
pub(crate) const NEVER: i64 = i64::MAX;

/// The end of the list of free slots.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// A key and its value, or nothing.
#[derive(Debug)]
pub(crate) enum Payload {
    /// The key's bytes, then the value's.
    Inline(Box<[u8]>),
    /// A value that readers share, or a free slot.
    Shared(Option<Box<SharedPayload>>),
}

#[derive(Debug)]
pub(crate) struct SharedPayload {
    key: Box<[u8]>,
    value: Bytes,
}

impl Payload {
    pub(crate) const FREE: Self = Self::Shared(None);

    /// `value` is kept as it is when it is longer than [`MAX_INLINE`], else copied.
    pub(crate) fn new(key: &[u8], value: &Bytes) -> Self {
        if value.len() > MAX_INLINE {
            return Self::Shared(Some(Box::new(SharedPayload {
                key: key.into(),
                value: value.clone(),
            })));
        }
        let mut bytes = Vec::with_capacity(key.len() + value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self::Inline(bytes.into_boxed_slice())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Shared(shared) => shared.as_ref().map_or(0, |shared| shared.value.len()),
        }
    }

    /// Puts `value` in the place of the old one, and gives back what is to be dropped, best without
    /// a lock.
    pub(crate) fn replace(&mut self, key: &[u8], value: &Bytes) -> Self {
        match self {
            Self::Inline(bytes) if bytes.len() == key.len() + value.len() => {
                bytes[key.len()..].copy_from_slice(value);
                Self::FREE
            }
            _ => std::mem::replace(self, Self::new(key, value)),
        }
    }
}

/// One place of a shard: an entry, or free.
#[derive(Debug)]
pub(crate) struct Slot {
    payload: Payload,
    /// In microseconds, or [`NEVER`]. That of a free slot is what its last entry had.
    pub(crate) deadline: i64,
    /// The key's hash; of a free slot, the next free one.
    hash: u32,
    key_len: u16,
    /// The expiry index holds a record of this slot that is due at its deadline or earlier. It stays
    /// when the slot is freed, and serves the next entry.
    pub(crate) indexed: bool,
}

// What the budget of bytes per entry counts on.
const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    /// A slot for a new entry; its deadline is still to be set.
    pub(crate) fn new(hash: u32, key: &[u8], value: &Bytes) -> Self {
        let mut slot =
            Self { payload: Payload::FREE, deadline: NEVER, hash: 0, key_len: 0, indexed: false };
        slot.occupy(hash, key, value);
        slot
    }

    pub(crate) fn occupy(&mut self, hash: u32, key: &[u8], value: &Bytes) {
        self.payload = Payload::new(key, value);
        self.hash = hash;
        // Keys have at most 4,096 bytes.
        self.key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    }

    /// Frees the slot and gives back what it held.
    pub(crate) fn vacate(&mut self, next_free: u32) -> Payload {
        self.hash = next_free;
        std::mem::replace(&mut self.payload, Payload::FREE)
    }

    pub(crate) fn into_payload(self) -> Payload {
        self.payload
    }

    pub(crate) fn is_free(&self) -> bool {
        matches!(self.payload, Payload::Shared(None))
    }

    pub(crate) fn hash(&self) -> u32 {
        self.hash
    }

    pub(crate) fn next_free(&self) -> u32 {
        self.hash
    }

    pub(crate) fn key(&self) -> &[u8] {
        match &self.payload {
            Payload::Inline(bytes) => &bytes[..usize::from(self.key_len)],
            Payload::Shared(Some(shared)) => &shared.key,
            Payload::Shared(None) => &[],
        }
    }

    pub(crate) fn is(&self, hash: u32, key: &[u8]) -> bool {
        self.hash == hash && !self.is_free() && self.key() == key
    }

    /// The value: a copy of a small one, a reference to a large one.
    pub(crate) fn value(&self) -> Bytes {
        match &self.payload {
            Payload::Inline(bytes) => Bytes::copy_from_slice(&bytes[usize::from(self.key_len)..]),
            Payload::Shared(Some(shared)) => shared.value.clone(),
            Payload::Shared(None) => Bytes::new(),
        }
    }

    /// The value where it lies.
    pub(crate) fn value_ref(&self) -> &[u8] {
        match &self.payload {
            Payload::Inline(bytes) => &bytes[usize::from(self.key_len)..],
            Payload::Shared(Some(shared)) => &shared.value,
            Payload::Shared(None) => &[],
        }
    }

    pub(crate) fn replace_value(&mut self, key: &[u8], value: &Bytes) -> Payload {
        self.payload.replace(key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(slot: &Slot) -> (&[u8], Bytes) {
        (slot.key(), slot.value())
    }

    #[test]
    fn values_on_both_sides_of_the_limit_keep_key_and_value_apart() {
        for key in [&b""[..], b"k", &[b'k'; 4096]] {
            for len in [0, 1, MAX_INLINE, MAX_INLINE + 1] {
                let value = Bytes::from(vec![b'v'; len]);
                let mut slot = Slot::new(7, key, &value);
                assert_eq!(held(&slot), (key, value.clone()));
                assert!(slot.is(7, key) && !slot.is(8, key) && !slot.is(7, b"other"));
                let shorter = Bytes::from_static(b"x");
                slot.replace_value(key, &shorter);
                assert_eq!(held(&slot), (key, shorter));
                slot.replace_value(key, &value);
                assert_eq!(held(&slot), (key, value));
                slot.vacate(3);
                assert!(slot.is_free() && slot.next_free() == 3 && !slot.is(3, b""));
            }
        }
    }
}
