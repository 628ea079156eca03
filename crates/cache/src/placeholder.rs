use larder_core::Bytes;

use crate::chance::Owner;

/// Two bytes that no cache entry begins with, and the version of the layout.
const MAGIC: [u8; 3] = [0xC1, b'P', 1];
const LOADING: u8 = b'l';
const LOADING_LOCKED: u8 = b'L';
const LOCKED: u8 = b'f';
const FAILED: u8 = b'e';

/// What stands in an entry's place as long as there is none, so that whoever changes the key is
/// noticed by the store itself. No reader takes it for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// The owner loads the entry; others wait for it (F6). The holder of a lock that reads the key
    /// meanwhile leaves its token here.
    Loading { owner: Owner, fence: Option<u64> },
    /// The holder of the lock with this token read the key and found nothing (L2).
    Locked(u64),
    /// Loading the entry failed, which is told to others for a while (F3).
    Failed,
}

impl Placeholder {
    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = MAGIC.to_vec();
        match self {
            Self::Loading { owner, fence: None } => {
                bytes.push(LOADING);
                bytes.extend_from_slice(&owner);
            }
            Self::Loading { owner, fence: Some(fence) } => {
                bytes.push(LOADING_LOCKED);
                bytes.extend_from_slice(&owner);
                bytes.extend_from_slice(&fence.to_le_bytes());
            }
            Self::Locked(fence) => {
                bytes.push(LOCKED);
                bytes.extend_from_slice(&fence.to_le_bytes());
            }
            Self::Failed => bytes.push(FAILED),
        }
        bytes.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.strip_prefix(&MAGIC)?.split_first()?;
        match *kind {
            LOADING => Some(Self::Loading { owner: rest.try_into().ok()?, fence: None }),
            LOADING_LOCKED => {
                let (owner, fence) = rest.split_first_chunk()?;
                let fence = u64::from_le_bytes(fence.try_into().ok()?);
                Some(Self::Loading { owner: *owner, fence: Some(fence) })
            }
            LOCKED => Some(Self::Locked(u64::from_le_bytes(rest.try_into().ok()?))),
            FAILED => rest.is_empty().then_some(Self::Failed),
            _ => None,
        }
    }

    pub(crate) fn is(bytes: &[u8]) -> bool {
        Self::decode(bytes).is_some()
    }

    /// Whose load this is the marker of, with a token or without.
    pub(crate) fn loader(bytes: &[u8]) -> Option<Owner> {
        match Self::decode(bytes)? {
            Self::Loading { owner, .. } => Some(owner),
            _ => None,
        }
    }

    pub(crate) fn is_load_of(owner: Owner, bytes: &[u8]) -> bool {
        Self::loader(bytes) == Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let loading = |fence| Placeholder::Loading { owner: [7; 16], fence };
        let all = [
            loading(None),
            loading(Some(u64::MAX)),
            Placeholder::Locked(u64::MAX),
            Placeholder::Failed,
        ];
        for placeholder in all {
            let bytes = placeholder.encode();
            assert_eq!(Placeholder::decode(&bytes), Some(placeholder));
            for len in 0..bytes.len() {
                assert_eq!(Placeholder::decode(&bytes[..len]), None);
            }
            assert!(crate::envelope::Envelope::decode(bytes).is_err());
        }
    }
}
