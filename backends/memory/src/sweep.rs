use std::sync::Arc;

use larder_core::Clock;

use crate::agenda::{Agenda, Visit};
use crate::entry::{Entry, NEVER, Payload};
use crate::pace::{Pace, SLICE};
use crate::shard::Shard;
use crate::tree::{Node, Walk};

/// Removes what has expired in the whole store; tells how much.
pub(crate) async fn purge_store(agenda: &Agenda, clock: &dyn Clock) -> u64 {
    let now = clock.now().timestamp_micros();
    let (mut removed, mut pace) = (0, Pace::default());
    while let Some(visit) = agenda.take_due(now) {
        removed += purge_space(visit, now, &mut pace).await;
    }
    removed
}

/// Removes what has expired in a namespace and its descendants; tells how much.
pub(crate) async fn purge_below(node: &Arc<Node>, clock: &dyn Clock) -> u64 {
    let now = clock.now().timestamp_micros();
    let (mut removed, mut pace) = (0, Pace::default());
    for node in Walk::below(node) {
        if let Some(visit) = node.agenda().take(&node, now) {
            removed += purge_space(visit, now, &mut pace).await;
        }
        pace.did(1).await;
    }
    removed
}

async fn purge_space(visit: Visit, now: i64, pace: &mut Pace) -> u64 {
    let (mut removed, mut next_due) = (0, NEVER);
    let mut garbage = Vec::new();
    let mut number = 0;
    while let Some((looked, due)) =
        visit.node().space().write_shard(number, |shard| shard.purge(now, SLICE, &mut garbage))
    {
        if due > now {
            next_due = next_due.min(due);
            number += 1;
        }
        removed += garbage.len() as u64;
        pace.did(1 + looked).await;
        discard(garbage.drain(..), pace).await;
    }
    let node = Arc::clone(visit.node());
    visit.done(next_due);
    node.forget_if_idle();
    removed
}

/// Removes everything in a namespace and its descendants.
pub(crate) async fn clear_below(node: &Arc<Node>) {
    let mut pace = Pace::default();
    for node in Walk::below(node) {
        let mut number = 0;
        while let Some(slots) = node.space().write_shard(number, Shard::clear) {
            discard(slots.into_iter().map(Entry::into_payload), &mut pace).await;
            number += 1;
        }
        node.forget_if_idle();
        pace.did(1).await;
    }
}

/// Drops what was removed, large values counting for more: their memory goes back page by page.
pub(crate) async fn discard(garbage: impl Iterator<Item = Payload>, pace: &mut Pace) {
    for payload in garbage {
        let work = 1 + payload.len() / 4_096;
        drop(payload);
        pace.did(work).await;
    }
}
