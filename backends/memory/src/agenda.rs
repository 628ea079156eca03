use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::entry::NEVER;
use crate::tree::Node;

/// Which namespaces of a store to look at when, the earliest first, so that purging the whole store
/// costs what has expired, however many namespaces there are.
///
/// A namespace has one record at most: at [`Space::next_due`], which is written under this lock.
///
/// [`Space::next_due`]: crate::space::Space
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    by_due: Mutex<BTreeMap<(i64, u64), Weak<Node>>>,
    ids: AtomicU64,
}

impl Agenda {
    /// A number that tells a node apart from all others.
    pub(crate) fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, SeqCst)
    }

    /// Sees to it that `node` is looked at when `due`. To be called after the entry is in place.
    pub(crate) fn note(&self, node: &Arc<Node>, due: i64) {
        if node.space().is_due_before(due) {
            self.enter(node, due);
        }
    }

    #[cold]
    fn enter(&self, node: &Arc<Node>, due: i64) {
        let mut by_due = self.lock();
        let entered = node.space().next_due.load(SeqCst);
        if due < entered {
            by_due.remove(&(entered, node.id()));
            by_due.insert((due, node.id()), Arc::downgrade(node));
            node.space().next_due.store(due, SeqCst);
        }
    }

    /// Takes the record of a namespace that is due at `now`. From then on every deadline set there
    /// is entered again.
    pub(crate) fn take_due(&self, now: i64) -> Option<Visit> {
        let mut by_due = self.lock();
        loop {
            let first = by_due.first_entry().filter(|first| first.key().0 <= now)?;
            let ((due, _), node) = first.remove_entry();
            if let Some(node) = node.upgrade() {
                node.space().next_due.store(NEVER, SeqCst);
                return Some(Visit { node, due });
            }
        }
    }

    /// Takes the record of this namespace, if it is due at `now`.
    pub(crate) fn take(&self, node: &Arc<Node>, now: i64) -> Option<Visit> {
        let mut by_due = self.lock();
        let due = node.space().next_due.load(SeqCst);
        if due > now {
            return None;
        }
        by_due.remove(&(due, node.id()));
        node.space().next_due.store(NEVER, SeqCst);
        Some(Visit { node: Arc::clone(node), due })
    }

    /// Drops the record of a node that is no more.
    pub(crate) fn forget(&self, due: i64, id: u64) {
        if due != NEVER {
            self.lock().remove(&(due, id));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(i64, u64), Weak<Node>>> {
        self.by_due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// A namespace taken from the agenda to be purged. On drop it is entered again, for when the next
/// entry is due or, if the visit was broken off, for at once.
#[derive(Debug)]
pub(crate) struct Visit {
    node: Arc<Node>,
    due: i64,
}

impl Visit {
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Ends the visit: nothing that is there now expires before `next_due`.
    pub(crate) fn done(mut self, next_due: i64) {
        self.due = next_due;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.node.agenda().note(&self.node, self.due);
    }
}
