//! Pages of keys and of child namespaces.
//!
//! The first page reads the folder's names once and keeps them, sorted, for those that follow. They
//! are kept for a while only; a page that finds them gone, or that comes from another store on the
//! same root, reads the folder again and goes on after the last name that its cursor knows, so that a
//! whole listing costs what it walks.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_core::{CursorScope, ListPage, NamespacePage};
use tokio::time::Instant;

use crate::driver::Driver;
use crate::error::Raw;
use crate::folder::Root;
use crate::layout::{FolderPath, KeyHash};
use crate::record::Life;
use crate::walk::{Glance, Item, Node, contents, glance, read_folder};

/// How many files one page looks at, at most, unless it may give more keys than that.
const LOOKS: usize = 4_096;
/// How many listings are remembered, …
const KEPT: usize = 16;
/// … with how many names in all, …
const KEPT_NAMES: usize = 1 << 22;
/// … and for how long after their last page.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The names that listings in progress have still to look at.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    kept: Mutex<Kept>,
    /// Makes the numbers random, so that a cursor of another store on the same root, in this process
    /// or another, finds nothing here.
    ids: RandomState,
}

#[derive(Debug, Default)]
struct Kept {
    made: u64,
    /// In the order of their last use.
    all: Vec<Snapshot>,
}

#[derive(Debug, Clone)]
struct Snapshot {
    id: u64,
    listing: Listing,
    names: Names,
    used: Instant,
}

/// What a snapshot was made for, and is good for alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listing {
    folder: Arc<FolderPath>,
    /// How the keys begin; `None` for a listing of child namespaces.
    prefix: Option<Box<str>>,
}

impl Listing {
    fn keys(node: &Node, prefix: &str) -> Self {
        Self { folder: Arc::clone(&node.path), prefix: Some(prefix.into()) }
    }

    fn children(node: &Node) -> Self {
        Self { folder: Arc::clone(&node.path), prefix: None }
    }
}

#[derive(Debug, Clone)]
enum Names {
    Keys(Arc<[KeyHash]>),
    Children(Arc<[Node]>),
}

impl Names {
    fn len(&self) -> usize {
        match self {
            Self::Keys(keys) => keys.len(),
            Self::Children(children) => children.len(),
        }
    }
}

impl Snapshots {
    /// Takes the names of a listing, if they are still there.
    fn take(&self, id: u64, listing: &Listing) -> Option<Names> {
        let mut kept = self.kept();
        kept.tidy();
        let is_meant = |kept: &Snapshot| kept.id == id && kept.listing == *listing;
        let at = kept.all.iter().position(is_meant)?;
        Some(kept.all.remove(at).names)
    }

    fn put(&self, id: Option<u64>, listing: Listing, names: Names) -> u64 {
        let mut kept = self.kept();
        let id = id.unwrap_or_else(|| {
            kept.made += 1;
            self.ids.hash_one(kept.made)
        });
        kept.all.push(Snapshot { id, listing, names, used: Instant::now() });
        kept.tidy();
        id
    }

    pub(crate) fn clear(&self) {
        self.kept().all.clear();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn tidy(&mut self) {
        let now = Instant::now();
        self.all.retain(|snapshot| now.duration_since(snapshot.used) < KEPT_FOR);
        while self.all.len() > KEPT
            || self.all.len() > 1
                && self.all.iter().map(|snapshot| snapshot.names.len()).sum::<usize>() > KEPT_NAMES
        {
            self.all.remove(0);
        }
    }
}

/// Where a listing goes on: the number of its names in memory, and the last name that was looked at.
fn position(id: u64, last: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes(), last].concat()
}

fn read_position(position: &[u8]) -> (u64, &[u8]) {
    match position.split_first_chunk::<8>() {
        Some((id, last)) => (u64::from_le_bytes(*id), last),
        None => (0, &[]),
    }
}

impl Driver {
    /// One page of the keys that begin with `prefix`.
    pub(crate) fn list(
        &self,
        scope: CursorScope,
        node: &Node,
        prefix: &str,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Raw<ListPage> {
        let root = self.root()?;
        let (id, last) = after.map_or((0, None), |position| {
            let (id, last) = read_position(position);
            (id, KeyHash::from_bytes(last))
        });
        let listing = Listing::keys(node, prefix);
        let known = after.and_then(|_| self.snapshots.take(id, &listing));
        let (id, names) = if let Some(Names::Keys(names)) = known {
            (Some(id), names)
        } else {
            let mut names = contents(&root, node)?.keys;
            names.sort_unstable();
            (None, names.into())
        };
        let start = last.map_or(0, |last| names.partition_point(|name| *name <= last));
        let now = self.clock.now();
        let mut page = ListPage::default();
        let mut looked = start;
        for hash in names[start..].iter().take(LOOKS.max(limit)) {
            if page.keys.len() == limit {
                break;
            }
            looked += 1;
            match glance(&root, &node.path, *hash)? {
                Glance::Missing => {}
                Glance::Hidden => page.unlisted += 1,
                Glance::Head(head) if !head.is_live(now) => {}
                Glance::Head(head) => match head.key {
                    None => page.unlisted += 1,
                    Some(key) if key.starts_with(prefix) => page.keys.push(key),
                    Some(_) => {}
                },
            }
        }
        if looked < names.len() {
            let last = names[looked - 1];
            let id = self.snapshots.put(id, listing, Names::Keys(names));
            page.next = Some(scope.seal(&position(id, last.as_bytes())));
        }
        Ok(page)
    }

    /// One page of the child namespaces that hold a live key at any depth.
    pub(crate) fn list_children(
        &self,
        scope: CursorScope,
        node: &Node,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Raw<NamespacePage> {
        let root = self.root()?;
        let (id, last) = after.map_or((0, &[][..]), read_position);
        let listing = Listing::children(node);
        let known = after.and_then(|_| self.snapshots.take(id, &listing));
        let (id, children) = match known {
            Some(Names::Children(children)) => (Some(id), children),
            _ => (None, children(&root, node)?.into()),
        };
        let start = children.partition_point(|child| segment(child).as_bytes() <= last);
        let mut page = NamespacePage::default();
        let mut looked = start;
        for child in children[start..].iter().take(LOOKS.max(limit)) {
            if page.segments.len() == limit {
                break;
            }
            looked += 1;
            if self.has_live_key(&root, child.clone())? {
                page.segments.push(segment(child).to_owned());
            }
        }
        if looked < children.len() {
            let last = segment(&children[looked - 1]).to_owned();
            let id = self.snapshots.put(id, listing, Names::Children(children));
            page.next = Some(scope.seal(&position(id, last.as_bytes())));
        }
        Ok(page)
    }

    /// Walks down to the first live key; what may not be read may well be one, or hold one.
    fn has_live_key(&self, root: &Root, start: Node) -> Raw<bool> {
        let now = self.clock.now();
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            let mut found = false;
            let read = read_folder(root, &node, |item| {
                match item {
                    Item::Temp(..) => {}
                    Item::Folder(folder) => open.push(folder),
                    Item::Key(hash) => {
                        found = match glance(root, &node.path, hash)? {
                            Glance::Missing => false,
                            Glance::Hidden => true,
                            Glance::Head(head) => head.is_live(now),
                        };
                    }
                }
                Ok(if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            match read {
                Ok(()) if !found => {}
                Err(fault) if !fault.is_refused() => return Err(fault),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// The direct children, in the order of their names.
fn children(root: &Root, node: &Node) -> Raw<Vec<Node>> {
    let mut children = Vec::new();
    let mut open = contents(root, node)?.folders;
    while let Some(folder) = open.pop() {
        if folder.is_namespace() {
            children.push(folder);
        } else {
            open.extend(contents(root, &folder)?.folders);
        }
    }
    children.sort_unstable_by(|one, other| segment(one).cmp(segment(other)));
    Ok(children)
}

fn segment(child: &Node) -> &str {
    child.namespace.segments().next_back().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use larder_core::Namespace;

    use super::*;

    fn node(segment: &str) -> Node {
        let namespace = Namespace::from_segments([segment]).unwrap();
        Node::new(Arc::new(FolderPath::of(&namespace, false)), namespace, false)
    }

    #[test]
    fn a_snapshot_serves_its_own_listing_alone_and_outlasts_the_others() {
        let snapshots = Snapshots::default();
        let names = || Names::Keys([KeyHash::of("key")].into());
        let own = Listing::keys(&node("a"), "k");
        let id = snapshots.put(None, own.clone(), names());
        for other in [
            Listing::keys(&node("b"), "k"),
            Listing::keys(&node("a"), ""),
            Listing::children(&node("a")),
        ] {
            assert!(snapshots.take(id, &other).is_none(), "{other:?}");
        }
        assert!(snapshots.take(id, &own).is_some());
        assert!(snapshots.take(id, &own).is_none());
    }

    #[test]
    fn two_stores_give_their_snapshots_different_numbers() {
        let numbers = || {
            let snapshots = Snapshots::default();
            let own = || Listing::children(&node("a"));
            [(); 100].map(|()| snapshots.put(None, own(), Names::Children([].into())))
        };
        let (one, other) = (numbers(), numbers());
        assert!(one.iter().all(|number| !other.contains(number)));
    }
}
