use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use crate::hash::Hashed;
use crate::id::Id;

/// The names of entries that went not long ago, as hashes: from S3-FIFO's small queue, or because their
/// life was over though they were used.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// In the order of their going; a number that is not the one in `known` stands for an entry that
    /// has come back since.
    order: VecDeque<(u64, u64)>,
    known: HashMap<u64, u64, BuildHasherDefault<Hashed>>,
    count: u64,
}

impl Ghosts {
    /// Keeps the name of an entry that goes, and `most` names in all.
    pub(crate) fn remember(&mut self, id: &Id, most: usize) {
        let hash = id.hash;
        self.count += 1;
        self.known.insert(hash, self.count);
        self.order.push_back((hash, self.count));
        while self.known.len() > most {
            let Some(oldest) = self.order.pop_front() else { break };
            self.lay(oldest);
        }
        if self.order.len() > 2 * self.known.len() + 16 {
            let known = &self.known;
            self.order.retain(|(hash, count)| known.get(hash) == Some(count));
        }
    }

    fn lay(&mut self, (hash, count): (u64, u64)) {
        if self.known.get(&hash) == Some(&count) {
            self.known.remove(&hash);
        }
    }

    /// Tells whether an entry went not long ago, and forgets that.
    pub(crate) fn recall(&mut self, id: &Id) -> bool {
        if self.known.is_empty() {
            return false;
        }
        self.known.remove(&id.hash).is_some()
    }
}
