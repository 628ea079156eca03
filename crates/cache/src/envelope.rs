use std::time::Duration;

use bytes::Buf;
use larder_core::chrono::{DateTime, Utc};
use larder_core::{Bytes, Clock, Deadline, Error, ErrorKind};

/// Two bytes that no MessagePack or JSON text begins with, and the version of the layout.
const MAGIC: [u8; 3] = [0xC1, b'L', 1];
/// After the magic and the flags: where type tag, weight, modified and expiry are, and the value.
const TAG: usize = 4;
const WEIGHT: usize = TAG + 8;
const MODIFIED: usize = WEIGHT + 8;
const EXPIRES: usize = MODIFIED + 8;
const HEAD: usize = EXPIRES + 8;
/// Flag: the moment until which the entry is pinned follows the head.
const PINNED: u8 = 1;
/// Flag: the expiry was asked for by name, so that a pin does not outlive it.
const EXPLICIT: u8 = 2;
/// Flag: the fencing token under which the entry was last locked follows the head.
const FENCED: u8 = 4;
/// Stands for "no expiry".
const NEVER: i64 = i64::MAX;

/// What the cache keeps in front of each encoded value (`V1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) tag: u64,
    pub(crate) weight: u64,
    /// When the value was made, in microseconds since the Unix epoch.
    pub(crate) modified: i64,
    /// When the value stops being fresh; it may be retained for longer.
    pub(crate) expires: Option<Deadline>,
    pub(crate) pinned_until: Option<Deadline>,
    pub(crate) explicit_expiry: bool,
    /// The token of the lock under which the entry was last read or written (L2).
    pub(crate) fence: Option<u64>,
}

impl Head {
    /// Until when the pin holds: it ends with an expiry that was asked for by name.
    pub(crate) fn pin_holds_until(&self) -> Option<Deadline> {
        let until = self.pinned_until?;
        Some(self.expires.filter(|_| self.explicit_expiry).map_or(until, |own| own.min(until)))
    }

    /// Tells whether the entry is pinned at `now`.
    pub(crate) fn is_pinned(&self, now: DateTime<Utc>) -> bool {
        self.pin_holds_until().is_some_and(|until| !until.is_past(now))
    }

    /// When the value stops being served: a pin outlives an expiry that nobody asked for by name.
    pub(crate) fn served_until(&self) -> Option<Deadline> {
        match self.pinned_until {
            Some(until) if !self.explicit_expiry => self.expires.map(|expires| expires.max(until)),
            _ => self.expires,
        }
    }

    pub(crate) fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.served_until().is_none_or(|deadline| !deadline.is_past(now))
    }

    /// Tells the same of now, by the coarse reading of the clock where that is enough.
    #[inline]
    pub(crate) fn is_live_by(&self, clock: &dyn Clock) -> bool {
        self.served_until().is_none_or(|deadline| !deadline.has_passed(clock))
    }

    /// When the store may forget the entry: so long after it is last served.
    pub(crate) fn kept_until(&self, retain: Duration) -> Option<Deadline> {
        self.served_until().map(|deadline| deadline.plus(retain))
    }
}

/// A head and the encoded value that follows it.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) head: Head,
    pub(crate) payload: Bytes,
}

/// What the head of an ordinary entry tells a reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) expires: Option<Deadline>,
}

impl Envelope {
    /// The bytes that are stored.
    pub(crate) fn encode(&self) -> Bytes {
        let head = &self.head;
        let mut bytes = Vec::with_capacity(HEAD + 16 + self.payload.len());
        bytes.extend_from_slice(&MAGIC);
        let pinned = if head.pinned_until.is_some() { PINNED } else { 0 };
        let explicit = if head.explicit_expiry { EXPLICIT } else { 0 };
        bytes.push(pinned | explicit | if head.fence.is_some() { FENCED } else { 0 });
        bytes.extend_from_slice(&head.tag.to_le_bytes());
        bytes.extend_from_slice(&head.weight.to_le_bytes());
        bytes.extend_from_slice(&head.modified.to_le_bytes());
        bytes.extend_from_slice(&head.expires.map_or(NEVER, Deadline::as_micros).to_le_bytes());
        if let Some(until) = head.pinned_until {
            bytes.extend_from_slice(&until.as_micros().to_le_bytes());
        }
        if let Some(fence) = head.fence {
            bytes.extend_from_slice(&fence.to_le_bytes());
        }
        bytes.extend_from_slice(&self.payload);
        bytes.into()
    }

    /// The envelope that `bytes` hold; the payload is what is left of them, so that nothing is
    /// copied or allocated.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for bytes that this version of the cache never writes.
    #[inline]
    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, Error> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return Err(corrupt("too short for a cache entry"));
        };
        if fixed[..3] != MAGIC {
            return Err(corrupt("no cache entry, or one of another version"));
        }
        let flags = fixed[3];
        let further = if flags & (PINNED | FENCED) == 0 {
            Further::default()
        } else {
            Further::decode(flags, rest)?
        };
        if flags & !(PINNED | EXPLICIT | FENCED) != 0 {
            return Err(corrupt("a cache entry with unknown flags"));
        }
        let head = Head {
            tag: number(fixed, TAG),
            weight: number(fixed, WEIGHT),
            modified: number(fixed, MODIFIED).cast_signed(),
            expires: deadline(number(fixed, EXPIRES)),
            pinned_until: further.pinned_until,
            explicit_expiry: flags & EXPLICIT != 0,
            fence: further.fence,
        };
        bytes.advance(HEAD + further.len);
        Ok(Self { head, payload: bytes })
    }

    /// Takes the head off an entry of the type that `tag` stands for and gives what it tells, if the
    /// head tells nothing else that matters to a reader; leaves all other bytes as they are.
    #[inline]
    pub(crate) fn skip_plain_head(bytes: &mut Bytes, tag: u64) -> Option<Plain> {
        let fixed = bytes.first_chunk::<HEAD>()?;
        let plain = fixed[..3] == MAGIC && fixed[3] & !EXPLICIT == 0;
        if !plain || number(fixed, TAG) != tag {
            return None;
        }
        let expires = deadline(number(fixed, EXPIRES));
        bytes.advance(HEAD);
        Some(Plain { expires })
    }

    /// The payload, if it is of the type that `tag` stands for.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when it is of another.
    pub(crate) fn check_tag(&self, tag: u64) -> Result<(), Error> {
        if self.head.tag == tag {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Corrupt, "a cache entry of another type or codec"))
        }
    }
}

/// What some flags put between the head and the value.
#[derive(Default)]
struct Further {
    pinned_until: Option<Deadline>,
    fence: Option<u64>,
    len: usize,
}

impl Further {
    fn decode(flags: u8, bytes: &[u8]) -> Result<Self, Error> {
        let mut rest = bytes;
        let mut next = |flag: u8| {
            if flags & flag == 0 {
                return Ok(None);
            }
            let Some((number, after)) = rest.split_first_chunk::<8>() else {
                return Err(corrupt("too short for what its flags say"));
            };
            rest = after;
            Ok(Some(u64::from_le_bytes(*number)))
        };
        let pinned_until = next(PINNED)?;
        let fence = next(FENCED)?;
        let pinned_until = pinned_until.map(|until| Deadline::from_micros(until.cast_signed()));
        Ok(Self { pinned_until, fence, len: bytes.len() - rest.len() })
    }
}

#[cold]
fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// The number at one of the head's places.
#[inline]
fn number(head: &[u8; HEAD], at: usize) -> u64 {
    head[at..].first_chunk().map_or(0, |number| u64::from_le_bytes(*number))
}

#[inline]
fn deadline(expires: u64) -> Option<Deadline> {
    let expires = expires.cast_signed();
    (expires != NEVER).then(|| Deadline::from_micros(expires))
}

/// The tag of a type: FNV-1a over the names given, the same in every process and release.
pub(crate) fn type_tag(names: [&str; 2]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in names[0].bytes().chain([0]).chain(names[1].bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            tag: 7,
            weight: 3,
            modified: -5,
            expires: Some(Deadline::from_micros(100)),
            pinned_until: None,
            explicit_expiry: false,
            fence: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for pinned_until in [None, Some(Deadline::from_micros(1))] {
            for expires in [None, Some(Deadline::MAX)] {
                for (explicit_expiry, fence) in [(false, None), (true, None), (true, Some(9))] {
                    let head = Head { expires, pinned_until, explicit_expiry, fence, ..head() };
                    let envelope = Envelope { head, payload: Bytes::from_static(b"xyz") };
                    let read = Envelope::decode(envelope.encode()).unwrap();
                    assert_eq!(read.head, head);
                    assert_eq!(read.payload, envelope.payload);
                    let mut bytes = envelope.encode();
                    assert_eq!(Envelope::skip_plain_head(&mut bytes, head.tag + 1), None);
                    let skipped = Envelope::skip_plain_head(&mut bytes, head.tag);
                    let plain = pinned_until.is_none() && fence.is_none();
                    assert_eq!(skipped, plain.then_some(Plain { expires }));
                    let left = if plain { envelope.payload } else { envelope.encode() };
                    assert_eq!(bytes, left);
                }
            }
        }
    }

    #[test]
    fn every_shorter_and_every_foreign_text_is_corrupt() {
        let head = Head { pinned_until: Some(Deadline::MAX), fence: Some(1), ..head() };
        let bytes = Envelope { head, payload: Bytes::new() }.encode();
        for len in 0..bytes.len() {
            let error = Envelope::decode(bytes.slice(..len)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(Envelope::skip_plain_head(&mut bytes.slice(..len), 7).is_none());
        }
        for at in 0..3 {
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            assert!(Envelope::decode(other.into()).is_err());
        }
        let mut flags = bytes.to_vec();
        flags[3] |= 0x80;
        assert!(Envelope::decode(flags.into()).is_err());
    }

    #[test]
    fn a_pin_outlives_a_default_expiry_and_not_one_asked_for() {
        let late = Some(Deadline::from_micros(500));
        assert_eq!(Head { pinned_until: late, ..head() }.served_until(), late);
        let explicit = Head { pinned_until: late, explicit_expiry: true, ..head() };
        assert_eq!(explicit.served_until(), head().expires);
        assert_eq!(Head { pinned_until: late, expires: None, ..head() }.served_until(), None);
    }

    #[test]
    fn a_pin_ends_with_an_expiry_asked_for() {
        let (early, late) = (Some(Deadline::from_micros(50)), Some(Deadline::from_micros(500)));
        assert_eq!(head().pin_holds_until(), None);
        assert_eq!(Head { pinned_until: late, ..head() }.pin_holds_until(), late);
        let explicit = Head { explicit_expiry: true, ..head() };
        assert_eq!(Head { pinned_until: late, ..explicit }.pin_holds_until(), head().expires);
        assert_eq!(Head { pinned_until: early, ..explicit }.pin_holds_until(), early);
        let for_ever = Head { pinned_until: late, expires: None, ..explicit };
        assert_eq!(for_ever.pin_holds_until(), late);
    }

    #[test]
    fn tags_tell_names_apart() {
        assert_ne!(type_tag(["ab", "c"]), type_tag(["a", "bc"]));
    }
}
