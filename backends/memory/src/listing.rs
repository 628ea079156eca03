use std::sync::Arc;

use larder_core::{Clock, Error, ErrorKind, Result};

use crate::entry::{Entry, Payload};
use crate::moment::Moment;
use crate::pace::{Pace, SLICE};
use crate::space::Space;
use crate::sweep::discard;
use crate::tree::{Node, Walk};

/// A place in a walk over the entries of a namespace, in the order of their hashes, then of their
/// keys. As that order is the same whatever is inserted, deleted or moved, every entry that is there
/// throughout is met exactly once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// All smaller hashes are done.
    hash: u32,
    /// Of this very hash, the keys up to this one are done.
    after: Option<Box<[u8]>>,
}

impl Position {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.hash.to_be_bytes().to_vec();
        if let Some(after) = &self.after {
            bytes.push(1);
            bytes.extend_from_slice(after);
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let place = bytes.split_first_chunk().map(|(hash, after)| (*hash, after.split_first()));
        match place {
            Some((hash, None)) => Ok(Self::at(u32::from_be_bytes(hash))),
            Some((hash, Some((1, after)))) => {
                Ok(Self { hash: u32::from_be_bytes(hash), after: Some(after.into()) })
            }
            _ => Err(Error::new(ErrorKind::InvalidCursor, "it is no position of this store")),
        }
    }

    fn at(hash: u32) -> Self {
        Self { hash, after: None }
    }

    fn is_done(&self, entry: &Entry) -> bool {
        entry.hash() == self.hash
            && self.after.as_ref().is_some_and(|after| entry.key() <= &**after)
    }
}

/// At most `limit` live keys that begin with `prefix`, from `position` on, and where to go on.
pub(crate) async fn page(
    space: &Space,
    clock: &dyn Clock,
    prefix: &str,
    mut position: Position,
    limit: usize,
) -> (Vec<String>, Option<Position>) {
    let (mut keys, mut pace) = (Vec::new(), Pace::default());
    loop {
        let next = step(space, clock, &position, |entry, moment| {
            let wanted = entry.key().starts_with(prefix.as_bytes());
            if wanted && !moment.is_past(entry.deadline()) {
                // Only text is ever stored as a key.
                keys.push(String::from_utf8_lossy(entry.key()).into_owned());
            }
            keys.len() < limit
        });
        match next {
            Some(next) if keys.len() < limit => position = next,
            next => return (keys, next),
        }
        pace.did(SLICE).await;
    }
}

/// Calls `visit` with the entries from `position` on, a slice of one shard at most, until it gives
/// false; tells where to go on.
fn step(
    space: &Space,
    clock: &dyn Clock,
    position: &Position,
    mut visit: impl FnMut(&Entry, &Moment<'_>) -> bool,
) -> Option<Position> {
    let shard = space.read(position.hash);
    let moment = Moment::of(clock);
    let (mut last, mut enough) = (None::<&Entry>, false);
    let entries = shard.entries_from(position.hash).skip_while(|entry| position.is_done(entry));
    for (looked, entry) in entries.enumerate() {
        if enough || looked == SLICE {
            let twin = last.filter(|last| last.hash() == entry.hash());
            let after = twin.map(|last| last.key().into());
            return Some(Position { hash: entry.hash(), after });
        }
        enough = !visit(entry, &moment);
        last = Some(entry);
    }
    // Asked while the shard is locked: were it the only one and split meanwhile, what is done would
    // look as if it were to come.
    space.next_shard(position.hash).map(Position::at)
}

/// Removes the keys that begin with `prefix`; tells how many were live.
pub(crate) async fn delete_prefix(space: &Space, clock: &dyn Clock, prefix: &str) -> u64 {
    let (mut live, mut pace) = (0, Pace::default());
    let (mut garbage, mut hash) = (Vec::new(), Some(0));
    while let Some(from) = hash {
        let count;
        (count, hash) = delete_slice(space, clock, prefix, from, &mut garbage);
        live += count;
        pace.did(SLICE).await;
        discard(garbage.drain(..), &mut pace).await;
    }
    live
}

fn delete_slice(
    space: &Space,
    clock: &dyn Clock,
    prefix: &str,
    from: u32,
    garbage: &mut Vec<Payload>,
) -> (u64, Option<u32>) {
    let mut shard = space.write(from);
    let moment = Moment::of(clock);
    let (live, next) = shard.delete_prefix(prefix.as_bytes(), from, SLICE, &moment, garbage);
    (live, next.or_else(|| space.next_shard(from)))
}

/// The names of at most `limit` children of a namespace, after the one named `after`, that hold a
/// live key at any depth, in byte order; and whether more may follow.
pub(crate) async fn children(
    node: &Arc<Node>,
    clock: &dyn Clock,
    after: &str,
    limit: usize,
) -> (Vec<String>, bool) {
    let (mut names, mut pace) = (Vec::<String>::new(), Pace::default());
    let mut last = Box::from(after);
    while let Some((name, child)) = node.child_after(&last) {
        if names.len() == limit {
            return (names, true);
        }
        if holds_live_key(&child, clock, &mut pace).await {
            names.push(name.to_string());
        }
        last = name;
    }
    (names, false)
}

async fn holds_live_key(node: &Arc<Node>, clock: &dyn Clock, pace: &mut Pace) -> bool {
    for node in Walk::below(node) {
        let mut position = Some(Position::default());
        while let Some(from) = position {
            let (mut found, mut looked) = (false, 1);
            position = step(node.space(), clock, &from, |entry, moment| {
                looked += 1;
                found = !moment.is_past(entry.deadline());
                !found
            });
            pace.did(looked).await;
            if found {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use larder_core::{DeleteOptions, SetOptions, SystemClock};

    use super::*;

    #[test]
    fn positions_survive_their_bytes_and_other_bytes_are_refused() {
        for after in [None, Some(&b""[..]), Some(b"key")] {
            let position = Position { hash: 0x0102_0304, after: after.map(Box::from) };
            assert_eq!(Position::from_bytes(&position.to_bytes()).unwrap(), position);
        }
        for wrong in [&b""[..], b"123", &[0, 0, 0, 0, 2], &[0, 0, 0, 0, 0, 1]] {
            assert!(Position::from_bytes(wrong).is_err());
        }
    }

    #[tokio::test]
    async fn keys_of_one_hash_are_listed_once_each_whatever_goes_between_pages() {
        let (space, clock) = (Space::new(), SystemClock);
        let set = |hash, key: &str| {
            let (moment, options) = (Moment::of(&clock), SetOptions::default());
            space.write(hash).set(hash, key.as_bytes(), &Bytes::new(), &options, &moment);
        };
        let delete = |hash, key: &str| {
            let (moment, options) = (Moment::of(&clock), DeleteOptions::default());
            space.write(hash).delete(hash, key.as_bytes(), &options, &moment);
        };
        for (hash, key) in [(6, "before"), (7, "a"), (7, "b"), (7, "c"), (7, "d"), (9, "after")] {
            set(hash, key);
        }
        let (mut listed, mut position) = (Vec::new(), Some(Position::default()));
        while let Some(from) = position.filter(|_| listed.len() < 9) {
            let (keys, next) = page(&space, &clock, "", from, 1).await;
            // The last one that was listed, and one that was not yet.
            match keys.last().map(String::as_str) {
                Some("a") => delete(7, "a"),
                Some("b") => delete(7, "c"),
                _ => {}
            }
            listed.extend(keys);
            position = next;
        }
        assert_eq!(listed, ["before", "a", "b", "d", "after"]);
    }
}
