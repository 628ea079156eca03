use bytes::Bytes;

/// The longest value that lies in one allocation with its key and is copied out on a get.
///
/// Copying so much costs no more than the two contended counter updates of a shared buffer.
pub(crate) const MAX_INLINE: usize = 512;

/// No deadline. Later than every real one.
pub(crate) const NEVER: i64 = i64::MAX;

/// The bytes of a deadline before an inline key.
const DEADLINE: usize = size_of::<i64>();

/// The hash of a place without an entry, larger than every other, so that no search goes beyond.
pub(crate) const NO_HASH: u32 = u32::MAX;

/// A key with its value and its deadline, or nothing.
#[derive(Debug)]
pub(crate) struct Entry {
    hash: u32,
    key_len: u16,
    /// The expiry index holds a record for this hash that is due at the deadline or earlier.
    pub(crate) indexed: bool,
    payload: Payload,
}

// What the budget of bytes per entry counts on.
const _: () = assert!(size_of::<Entry>() == 24);

#[derive(Debug)]
pub(crate) enum Payload {
    /// The deadline, the key and the value, in one allocation.
    Inline(Box<[u8]>),
    /// A value that readers share, or no entry.
    Shared(Option<Box<Shared>>),
}

#[derive(Debug)]
pub(crate) struct Shared {
    deadline: i64,
    key: Box<[u8]>,
    value: Bytes,
}

impl Default for Payload {
    fn default() -> Self {
        Self::Shared(None)
    }
}

impl Payload {
    fn new(key: &[u8], value: &Bytes, deadline: i64) -> Self {
        if value.len() > MAX_INLINE {
            let (key, value) = (key.into(), value.clone());
            return Self::Shared(Some(Box::new(Shared { deadline, key, value })));
        }
        let mut bytes = Vec::with_capacity(DEADLINE + key.len() + value.len());
        bytes.extend_from_slice(&deadline.to_ne_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self::Inline(bytes.into_boxed_slice())
    }

    /// How many bytes become free with it, about.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Shared(shared) => shared.as_ref().map_or(0, |shared| shared.value.len()),
        }
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self { hash: NO_HASH, key_len: 0, indexed: false, payload: Payload::default() }
    }
}

impl Entry {
    /// A value longer than [`MAX_INLINE`] is kept as it is, any other is copied.
    pub(crate) fn new(hash: u32, key: &[u8], value: &Bytes, deadline: i64) -> Self {
        // Keys have at most 4,096 bytes.
        let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
        Self { hash, key_len, indexed: false, payload: Payload::new(key, value, deadline) }
    }

    #[inline]
    pub(crate) fn is_nothing(&self) -> bool {
        self.hash == NO_HASH
    }

    pub(crate) fn into_payload(self) -> Payload {
        self.payload
    }

    #[inline]
    pub(crate) fn hash(&self) -> u32 {
        self.hash
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match &self.payload {
            Payload::Inline(bytes) => &bytes[DEADLINE..self.value_at()],
            Payload::Shared(Some(shared)) => &shared.key,
            Payload::Shared(None) => &[],
        }
    }

    /// Where an inline value begins.
    fn value_at(&self) -> usize {
        DEADLINE + usize::from(self.key_len)
    }

    /// In microseconds, or [`NEVER`].
    #[inline]
    pub(crate) fn deadline(&self) -> i64 {
        match &self.payload {
            Payload::Inline(bytes) => {
                bytes.first_chunk().map_or(NEVER, |deadline| i64::from_ne_bytes(*deadline))
            }
            Payload::Shared(shared) => shared.as_ref().map_or(NEVER, |shared| shared.deadline),
        }
    }

    pub(crate) fn set_deadline(&mut self, deadline: i64) {
        match &mut self.payload {
            Payload::Inline(bytes) => bytes[..DEADLINE].copy_from_slice(&deadline.to_ne_bytes()),
            Payload::Shared(Some(shared)) => shared.deadline = deadline,
            Payload::Shared(None) => {}
        }
    }

    /// The value: a copy of a small one, a reference to a large one.
    #[inline]
    pub(crate) fn value(&self) -> Bytes {
        match &self.payload {
            Payload::Inline(bytes) => Box::<[u8]>::from(&bytes[self.value_at()..]).into(),
            Payload::Shared(Some(shared)) => shared.value.clone(),
            Payload::Shared(None) => Bytes::new(),
        }
    }

    /// The value where it lies.
    pub(crate) fn value_ref(&self) -> &[u8] {
        match &self.payload {
            Payload::Inline(bytes) => &bytes[self.value_at()..],
            Payload::Shared(Some(shared)) => &shared.value,
            Payload::Shared(None) => &[],
        }
    }

    /// Puts value and deadline in the place of the old ones; gives back what is to be dropped, best
    /// without a lock.
    pub(crate) fn replace(&mut self, key: &[u8], value: &Bytes, deadline: i64) -> Payload {
        let at = self.value_at();
        match &mut self.payload {
            Payload::Inline(bytes) if bytes.len() == at + value.len() => {
                bytes[at..].copy_from_slice(value);
                bytes[..DEADLINE].copy_from_slice(&deadline.to_ne_bytes());
                Payload::default()
            }
            payload => std::mem::replace(payload, Payload::new(key, value, deadline)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(entry: &Entry) -> (&[u8], Bytes, i64) {
        assert_eq!(entry.value(), entry.value_ref());
        (entry.key(), entry.value(), entry.deadline())
    }

    #[test]
    fn values_on_both_sides_of_the_limit_keep_their_parts_apart() {
        for key in [&b""[..], b"k", &[b'k'; 4096]] {
            for len in [0, 1, MAX_INLINE, MAX_INLINE + 1] {
                let value = Bytes::from(vec![b'v'; len]);
                let mut entry = Entry::new(7, key, &value, NEVER);
                assert_eq!(held(&entry), (key, value.clone(), NEVER));
                let short = Bytes::from_static(b"x");
                for (value, deadline) in [(&short, -1), (&short, 2), (&value, 3), (&value, 4)] {
                    entry.replace(key, value, deadline);
                    assert_eq!(held(&entry), (key, value.clone(), deadline));
                }
                entry.set_deadline(i64::MIN);
                assert_eq!(held(&entry), (key, value, i64::MIN));
                assert!(!entry.is_nothing());
            }
        }
        assert!(Entry::default().is_nothing());
    }

    #[test]
    fn a_value_as_long_as_the_old_one_takes_its_place() {
        let mut entry = Entry::new(7, b"k", &Bytes::from_static(b"old"), NEVER);
        let place = entry.value_ref().as_ptr();
        let removed = entry.replace(b"k", &Bytes::from_static(b"new"), 5);
        assert_eq!((removed.len(), entry.value_ref().as_ptr()), (0, place));
        assert_eq!(held(&entry), (&b"k"[..], Bytes::from_static(b"new"), 5));
        let removed = entry.replace(b"k", &Bytes::from_static(b"newer"), 6);
        assert_eq!(removed.len(), DEADLINE + b"knew".len());
    }
}
