//! The plain, slow models that the conformance suite has too, and numbers to try them with.
#![allow(unreachable_pub, reason = "shared by several test files")]

#[path = "../../../../conformance-tests/src/cache/model.rs"]
mod plain;

pub(crate) use plain::{Model, Outcome};

/// Numbers that only look random, the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(limit)).unwrap_or(0)
    }

    /// Small numbers more often than large ones.
    pub fn skewed(&mut self, limit: u32) -> u32 {
        let most = self.below(limit) + 1;
        self.below(most)
    }
}
