//! Hashes of keys and scopes, the same throughout the process.

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use foldhash::quality::RandomState;
use larder_core::Namespace;

static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The hash of a key, whatever its scope.
#[inline]
pub(crate) fn of_key(key: &str) -> u64 {
    let mut hasher = SEED.build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}

pub(crate) fn of_scope(scope: &Namespace) -> u64 {
    SEED.hash_one(scope)
}

/// The hash of a key in a scope, made of those of the two.
#[inline]
pub(crate) fn of_both(scope: u64, key: u64) -> u64 {
    // Each of them is evenly spread.
    scope.wrapping_add(key)
}

/// Takes a hash for what it is.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
