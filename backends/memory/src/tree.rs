use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::agenda::Agenda;
use crate::space::Space;

/// A namespace: its entries and its children.
///
/// It is kept as long as it holds an entry, has a child, or is pinned by a handle.
#[derive(Debug)]
pub(crate) struct Node {
    id: u64,
    agenda: Arc<Agenda>,
    space: Space,
    children: RwLock<Children>,
    /// The parent and the name there; `None` for the root.
    place: Option<(Weak<Node>, Box<str>)>,
    /// How many pins there are. It leaves zero only while the parent's children are locked.
    pins: AtomicUsize,
}

type Children = BTreeMap<Box<str>, Arc<Node>>;

impl Node {
    pub(crate) fn root() -> Arc<Self> {
        Arc::new(Self::new(Arc::default(), None))
    }

    fn new(agenda: Arc<Agenda>, place: Option<(Weak<Self>, Box<str>)>) -> Self {
        Self {
            id: agenda.new_id(),
            agenda,
            space: Space::new(),
            children: RwLock::default(),
            place,
            pins: AtomicUsize::new(0),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    pub(crate) fn agenda_handle(&self) -> Arc<Agenda> {
        Arc::clone(&self.agenda)
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Keeps the node until the pin is dropped. Only for the root, or while another pin is held.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin {
        self.pins.fetch_add(1, SeqCst);
        Pin(Arc::clone(self))
    }

    /// The child of this name, made where it is missing. A pin on this node must be held.
    fn child(self: &Arc<Self>, segment: &str) -> Pin {
        if let Some(child) = self.read_children(|children| children.get(segment).map(Self::pin)) {
            return child;
        }
        self.write_children(|children| {
            let child = children.entry(segment.into()).or_insert_with(|| {
                let place = (Arc::downgrade(self), segment.into());
                Arc::new(Self::new(Arc::clone(&self.agenda), Some(place)))
            });
            child.pin()
        })
    }

    /// The first child named after `after`.
    pub(crate) fn child_after(&self, after: &str) -> Option<(Box<str>, Arc<Self>)> {
        self.read_children(|children| {
            let range = (Bound::Excluded(after), Bound::Unbounded);
            let (name, child) = children.range::<str, _>(range).next()?;
            Some((name.clone(), Arc::clone(child)))
        })
    }

    pub(crate) fn has_children(&self) -> bool {
        self.read_children(|children| !children.is_empty())
    }

    /// Takes the node out of the tree if nothing keeps it, and then its ancestors likewise.
    pub(crate) fn forget_if_idle(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        while let Some((parent, segment)) = &node.place {
            if node.pins.load(SeqCst) > 0 {
                return;
            }
            let Some(parent) = parent.upgrade() else { return };
            // The lock keeps new pins away, and without a pin nothing is put into a node.
            let forgotten = parent.write_children(|children| {
                let idle =
                    node.pins.load(SeqCst) == 0 && !node.has_children() && node.space.is_empty();
                let same = children.get(segment).is_some_and(|held| Arc::ptr_eq(held, &node));
                (idle && same).then(|| children.remove(segment))
            });
            if forgotten.is_none() {
                return;
            }
            node = parent;
        }
    }

    fn read_children<R>(&self, f: impl FnOnce(&Children) -> R) -> R {
        f(&self.children.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_children<R>(&self, f: impl FnOnce(&mut Children) -> R) -> R {
        f(&mut self.children.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.agenda.forget(*self.space.next_due.get_mut(), self.id);
    }
}

/// Keeps a namespace in the tree, empty or not: what a handle holds.
#[derive(Debug)]
pub(crate) struct Pin(Arc<Node>);

impl Pin {
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }

    /// A pin on the descendant reached by these segments, which are made where missing.
    pub(crate) fn descend(&self, segments: &[&str]) -> Self {
        segments.iter().fold(self.0.pin(), |pin, segment| pin.0.child(segment))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.0.pins.fetch_sub(1, SeqCst) == 1 {
            self.0.forget_if_idle();
        }
    }
}

/// A walk over a namespace and all its descendants, parents first, which holds no lock between two
/// steps. It meets every namespace that is there throughout.
#[derive(Debug)]
pub(crate) struct Walk {
    start: Option<Arc<Node>>,
    /// The nodes on the way down, each with the child that was visited last.
    path: Vec<(Arc<Node>, Box<str>)>,
}

impl Walk {
    pub(crate) fn below(node: &Arc<Node>) -> Self {
        Self { start: Some(Arc::clone(node)), path: Vec::new() }
    }
}

impl Iterator for Walk {
    type Item = Arc<Node>;

    fn next(&mut self) -> Option<Arc<Node>> {
        if let Some(start) = self.start.take() {
            self.path.push((Arc::clone(&start), Box::default()));
            return Some(start);
        }
        while let Some((node, last)) = self.path.last_mut() {
            if let Some((name, child)) = node.child_after(last) {
                *last = name;
                self.path.push((Arc::clone(&child), Box::default()));
                return Some(child);
            }
            self.path.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Arc<Node>) -> Vec<String> {
        Walk::below(root)
            .map(|node| node.place.as_ref().map_or("", |(_, name)| &**name).to_owned())
            .collect()
    }

    #[test]
    fn a_namespace_is_kept_by_its_pins_alone_while_empty() {
        let root = Node::root();
        let pin = root.pin();
        let deep = pin.descend(&["a", "b", "c"]);
        let sibling = pin.descend(&["a", "d"]);
        let again = pin.descend(&["a", "b", "c"]);
        assert!(Arc::ptr_eq(deep.node(), again.node()));
        assert_eq!(names(&root), ["", "a", "b", "c", "d"]);
        drop(deep);
        assert_eq!(names(&root), ["", "a", "b", "c", "d"]);
        drop(again);
        assert_eq!(names(&root), ["", "a", "d"]);
        drop(sibling);
        assert_eq!(names(&root), [""]);
    }

    #[test]
    fn a_forgotten_namespace_leaves_no_record_in_the_agenda() {
        let root = Node::root();
        let pin = root.pin();
        let child = pin.descend(&["a"]);
        root.agenda().note(child.node(), 5);
        root.agenda().note(child.node(), 3);
        root.agenda().note(child.node(), 4);
        assert_eq!(root.agenda().len(), 1);
        assert!(root.agenda().take_due(2).is_none());
        let visit = root.agenda().take_due(3).unwrap();
        assert_eq!(root.agenda().len(), 0);
        drop(visit);
        assert_eq!(root.agenda().len(), 1, "broken off, it is entered again");
        drop(child);
        assert_eq!(root.agenda().len(), 0);
    }

    #[test]
    fn pinning_and_forgetting_at_once_never_detaches_a_pinned_namespace() {
        let root = Node::root();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let pin = root.pin().descend(&["a", "b"]);
                        let found = root.child_after("").and_then(|(_, a)| a.child_after(""));
                        assert!(Arc::ptr_eq(pin.node(), &found.unwrap().1));
                    }
                });
            }
        });
        assert!(!root.has_children());
    }
}
