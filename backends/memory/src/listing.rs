use std::sync::Arc;

use bytes::Bytes;
use larder_core::{Clock, Error, ErrorKind, Result};

use crate::moment::Moment;
use crate::pace::{Pace, SLICE};
use crate::slot::Slot;
use crate::space::Space;
use crate::sweep::discard;
use crate::tree::{Node, Walk};

/// A place in a walk over the slots of a namespace.
///
/// An entry stays in its slot as long as it lives, save that a shard whose slots are mostly free is
/// packed, which its epoch shows: then the walk begins that shard again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    shard: u32,
    epoch: u32,
    slot: u32,
}

impl Position {
    pub(crate) fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (part, field) in bytes.chunks_exact_mut(4).zip([self.shard, self.epoch, self.slot]) {
            part.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &Bytes) -> Result<Self> {
        let mut fields = bytes
            .chunks_exact(4)
            .map(|part| part.iter().rev().fold(0, |field, byte| (field << 8) | u32::from(*byte)));
        match (fields.next(), fields.next(), fields.next(), bytes.len()) {
            (Some(shard), Some(epoch), Some(slot), 12) => Ok(Self { shard, epoch, slot }),
            _ => Err(Error::new(ErrorKind::InvalidCursor, "it is no position of this store")),
        }
    }

    fn number(self) -> usize {
        self.shard as usize
    }

    /// Where to read in a shard of this epoch.
    fn slot_at(&mut self, epoch: u32) -> u32 {
        if self.epoch != epoch {
            (self.epoch, self.slot) = (epoch, 0);
        }
        self.slot
    }

    fn advance(&mut self, next: Option<u32>) {
        match next {
            Some(slot) => self.slot = slot,
            None => *self = Self { shard: self.shard + 1, ..Self::default() },
        }
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
        let step = space.read_shard(position.number(), |shard| {
            let moment = Moment::of(clock);
            shard.scan(position.slot_at(shard.epoch()), SLICE, |slot| {
                let wanted = slot.key().starts_with(prefix.as_bytes());
                if wanted && !moment.is_past(slot.deadline) {
                    if keys.len() == limit {
                        return false;
                    }
                    keys.push(key_of(slot));
                }
                true
            })
        });
        let Some(next) = step else { return (keys, None) };
        position.advance(next);
        if keys.len() == limit {
            return (keys, Some(position));
        }
        pace.did(SLICE).await;
    }
}

fn key_of(slot: &Slot) -> String {
    // Only text is ever stored as a key.
    String::from_utf8_lossy(slot.key()).into_owned()
}

/// Removes the keys that begin with `prefix`; tells how many were live.
pub(crate) async fn delete_prefix(space: &Space, clock: &dyn Clock, prefix: &str) -> u64 {
    let (mut live, mut pace) = (0, Pace::default());
    let (mut garbage, mut position) = (Vec::new(), Position::default());
    loop {
        let step = space.write_shard(position.number(), |shard| {
            let moment = Moment::of(clock);
            let from = position.slot_at(shard.epoch());
            shard.delete_prefix(prefix.as_bytes(), from, SLICE, &moment, &mut garbage)
        });
        let Some((count, next)) = step else { return live };
        live += count;
        position.advance(next);
        pace.did(SLICE).await;
        discard(garbage.drain(..), &mut pace).await;
    }
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
        let mut position = Position::default();
        loop {
            let (mut found, mut looked) = (false, 0);
            let step = node.space().read_shard(position.number(), |shard| {
                let moment = Moment::of(clock);
                shard.scan(position.slot_at(shard.epoch()), SLICE, |slot| {
                    looked += 1;
                    found = !moment.is_past(slot.deadline);
                    !found
                })
            });
            let Some(next) = step else { break };
            if found {
                return true;
            }
            position.advance(next);
            pace.did(1 + looked).await;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_their_bytes_and_other_bytes_are_refused() {
        let position = Position { shard: 64, epoch: u32::MAX, slot: 0x0102_0304 };
        let bytes = Bytes::copy_from_slice(&position.to_bytes());
        assert_eq!(Position::from_bytes(&bytes).unwrap(), position);
        for wrong in [&b""[..], b"12345678901", b"1234567890123", b"1234567890123456"] {
            assert!(Position::from_bytes(&Bytes::copy_from_slice(wrong)).is_err());
        }
    }
}
