//! Chance: owners that no other process has, and delays that differ.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Keyed by the operating system's randomness, once for each process.
static SOURCE: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
static DRAWN: AtomicU64 = AtomicU64::new(0);

fn draw() -> [u64; 2] {
    let number = DRAWN.fetch_add(1, Relaxed);
    SOURCE.each_ref().map(|source| source.hash_one(number))
}

/// Who holds a lease: 128 bits that are drawn once.
pub(crate) type Owner = [u8; 16];

pub(crate) fn owner() -> Owner {
    let [high, low] = draw();
    ((u128::from(high) << 64) | u128::from(low)).to_le_bytes()
}

/// A number from 0 up to 1, 1 excluded.
pub(crate) fn fraction() -> f64 {
    let bits = u32::try_from(draw()[0] >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_owner_comes_twice_and_fractions_spread() {
        let owners: HashSet<Owner> = (0..1_000).map(|_| owner()).collect();
        assert_eq!(owners.len(), 1_000);
        let fractions: Vec<f64> = (0..1_000).map(|_| fraction()).collect();
        assert!(fractions.iter().all(|fraction| (0.0..1.0).contains(fraction)));
        let low = fractions.iter().filter(|fraction| **fraction < 0.5).count();
        assert!((300..700).contains(&low), "{low}");
    }
}
