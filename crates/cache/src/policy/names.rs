//! Where the nodes of an index are, by the hashes of their names.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::hash::Hashed;

/// For each hash the node that was added last; a node names the one before it, if the hash is the
/// same.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<u64, usize, BuildHasherDefault<Hashed>>);

impl Names {
    /// The node that was added last under this hash.
    pub(crate) fn first(&self, hash: u64) -> Option<usize> {
        self.0.get(&hash).copied()
    }

    /// Adds a node, and gives the one before it.
    pub(crate) fn add(&mut self, hash: u64, at: usize) -> Option<usize> {
        self.0.insert(hash, at)
    }

    /// Puts another node in the place of the first one, or none.
    pub(crate) fn set_first(&mut self, hash: u64, at: Option<usize>) {
        if let Some(at) = at {
            self.0.insert(hash, at);
            return;
        }
        self.0.remove(&hash);
        if self.0.capacity() > 64 && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to_fit();
        }
    }
}
