//! The slots of one part of the table.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use larder_core::Namespace;

use super::Slot;
use crate::hash::Hashed;
use crate::id::Id;

/// Slots by the hashes of their names, each with the number of its users.
#[derive(Default)]
pub(crate) struct Shelf {
    held: HashMap<u64, Held, BuildHasherDefault<Hashed>>,
    len: usize,
}

pub(crate) struct Held {
    slot: Arc<Slot>,
    users: usize,
    /// One whose name has the same hash.
    twin: Option<Box<Held>>,
}

impl Shelf {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The slot of a key, if there is one.
    pub(crate) fn get(&self, hash: u64, scope: &Namespace, key: &str) -> Option<&Arc<Slot>> {
        self.all(hash).find(|held| held.slot.id.is(scope, key)).map(|held| &held.slot)
    }

    /// One more user of the slot of a key, if there is one.
    pub(crate) fn hold(&mut self, hash: u64, scope: &Namespace, key: &str) -> Option<Arc<Slot>> {
        let mut held = self.held.get_mut(&hash)?;
        while !held.slot.id.is(scope, key) {
            held = held.twin.as_deref_mut()?;
        }
        held.users += 1;
        Some(Arc::clone(&held.slot))
    }

    /// Puts a slot in that was not there, with one user.
    pub(crate) fn add(&mut self, slot: &Arc<Slot>) {
        let (hash, slot) = (slot.id.hash, Arc::clone(slot));
        let twin = self.held.remove(&hash).map(Box::new);
        self.held.insert(hash, Held { slot, users: 1, twin });
        self.len += 1;
    }

    /// One user less; the slot goes with the last.
    pub(crate) fn release(&mut self, slot: &Arc<Slot>) {
        let hash = slot.id.hash;
        let Some(first) = self.held.get_mut(&hash) else { return };
        if Arc::ptr_eq(&first.slot, slot) {
            first.users -= 1;
            if first.users > 0 {
                return;
            }
            self.len -= 1;
            if let Some(twin) = first.twin.take() {
                *first = *twin;
            } else {
                self.held.remove(&hash);
                self.shrink();
            }
            return;
        }
        let mut link = &mut first.twin;
        while link.as_ref().is_some_and(|held| !Arc::ptr_eq(&held.slot, slot)) {
            let Some(held) = link else { return };
            link = &mut held.twin;
        }
        let Some(held) = link else { return };
        held.users -= 1;
        if held.users == 0 {
            *link = held.twin.take();
            self.len -= 1;
        }
    }

    /// One more user of every slot that is wanted.
    pub(crate) fn hold_matching(&mut self, wanted: impl Fn(&Id) -> bool) -> Vec<Arc<Slot>> {
        let mut found = Vec::new();
        for first in self.held.values_mut() {
            let mut next = Some(first);
            while let Some(held) = next {
                if wanted(&held.slot.id) {
                    held.users += 1;
                    found.push(Arc::clone(&held.slot));
                }
                next = held.twin.as_deref_mut();
            }
        }
        found
    }

    fn all(&self, hash: u64) -> impl Iterator<Item = &Held> {
        std::iter::successors(self.held.get(&hash), |held| held.twin.as_deref())
    }

    fn shrink(&mut self) {
        if self.held.capacity() > 64 && self.held.len() < self.held.capacity() / 4 {
            self.held.shrink_to(16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_whose_hashes_are_the_same_are_kept_apart() {
        let mut shelf = Shelf::default();
        let scope = Namespace::root();
        let slots = ["a", "b", "c", "d"].map(|key| {
            let id = Id { hash: 7, ..Id::new(scope.clone(), key.into()) };
            let slot = Arc::new(Slot::new(id));
            shelf.add(&slot);
            slot
        });
        assert_eq!(
            shelf.hold(7, &scope, "b").map(|slot| Arc::ptr_eq(&slot, &slots[1])),
            Some(true)
        );
        assert!(shelf.hold(7, &scope, "e").is_none());
        assert_eq!((shelf.len(), shelf.hold_matching(|id| *id.key > *"c").len()), (4, 1));
        // The first in the chain, one in the middle, the last.
        for (at, users) in [(3, 2), (1, 2), (0, 1), (2, 1)] {
            for _ in 0..users {
                assert!(shelf.get(7, &scope, &slots[at].id.key).is_some());
                shelf.release(&slots[at]);
            }
            assert!(shelf.get(7, &scope, &slots[at].id.key).is_none());
        }
        assert_eq!(shelf.len(), 0);
    }
}
