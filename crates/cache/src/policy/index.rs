use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use larder_core::chrono::{DateTime, Utc};
use larder_core::{Deadline, Namespace};

use super::ghosts::Ghosts;
use super::list::{Lists, Queue};
use super::{Entry, Id, Policy, Room, Settings, Victim};
use crate::Refusal;
use crate::slot::Range;

/// Counts what is stored, over all indexes: one may be dropped when empty and made anew.
static STAMPS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Node {
    id: Id,
    entry: Entry,
    /// The store holds it.
    stored: bool,
    /// Writes that are under way; it stands in no queue meanwhile, and so cannot be evicted.
    writes: u32,
    /// When it was stored last.
    stamp: u64,
    /// S3-FIFO's count of uses, 3 at most.
    uses: u8,
    /// S3-FIFO: it was evicted not long ago, or used while in the small queue.
    promoted: bool,
}

/// One instance of a policy: its entries and the order in which they go.
///
/// An entry that is being written has its room already, is in no queue, and is put into one when
/// the write is done. A pinned entry is in no queue either.
#[derive(Debug)]
pub(crate) struct Index {
    policy: Policy,
    capacity: Option<u64>,
    pin_budget: u64,
    nodes: Lists<Node>,
    ids: HashMap<Namespace, HashMap<Arc<str>, usize>>,
    weight: u64,
    expiries: BTreeSet<(Deadline, usize)>,
    pins: BTreeSet<(Deadline, usize)>,
    pins_expired: u64,
    /// Writes under way that are to pin their entry.
    pinning: u64,
    /// S3-FIFO: what was evicted not long ago.
    ghosts: Ghosts,
}

impl Index {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            policy: settings.policy,
            capacity: settings.policy.capacity(),
            pin_budget: settings.pin_budget(),
            nodes: Lists::new(),
            ids: HashMap::new(),
            weight: 0,
            expiries: BTreeSet::new(),
            pins: BTreeSet::new(),
            pins_expired: 0,
            pinning: 0,
            ghosts: Ghosts::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn pinned(&self, now: DateTime<Utc>) -> u64 {
        self.pins.iter().filter(|(until, _)| !until.is_past(now)).count() as u64
    }

    /// Takes the number of pins that have reached their greatest age since the last asking.
    pub(crate) fn take_pins_expired(&mut self) -> u64 {
        std::mem::take(&mut self.pins_expired)
    }

    fn find(&self, scope: &Namespace, key: &str) -> Option<usize> {
        self.ids.get(scope)?.get(key).copied()
    }

    pub(crate) fn is_stored(&self, scope: &Namespace, key: &str) -> bool {
        self.find(scope, key).and_then(|at| self.nodes.get(at)).is_some_and(|node| node.stored)
    }

    /// Makes room for a write of an entry, and holds it until [`commit`](Self::commit) or
    /// [`cancel`](Self::cancel). Victims are out of the index at once.
    pub(crate) fn reserve(&mut self, id: &Id, weight: u64, pin: bool, now: DateTime<Utc>) -> Room {
        self.end_pins(now);
        let known = self.find(&id.scope, &id.key);
        if let Some(capacity) = self.capacity
            && weight > capacity
        {
            return Room::Refused(Refusal::TooHeavy { weight, capacity });
        }
        let own_pin = known
            .and_then(|at| self.nodes.get(at))
            .is_some_and(|node| node.entry.pinned_until.is_some());
        // Those being pinned just now count as well.
        let pinned = self.pins.len() as u64 - u64::from(own_pin) + self.pinning;
        if pin && pinned >= self.pin_budget {
            return Room::Refused(Refusal::PinBudget { budget: self.pin_budget });
        }
        let own = known.map_or(0, |at| self.nodes.weight_of(at));
        // While it is written, the store holds the old one or the new: the heavier counts.
        let (taken, held) = (self.weight - own, own.max(weight));
        let wanted = taken.saturating_add(held);
        let victims = match self.capacity {
            Some(capacity) if wanted > capacity => {
                let own_queued =
                    known.filter(|at| self.nodes.queue_of(*at).is_some()).map_or(0, |_| own);
                let queued = self.queued_weight() - own_queued;
                if wanted - queued > capacity {
                    return if pin {
                        Room::Refused(Refusal::PinBudget { budget: self.pin_budget })
                    } else {
                        Room::None
                    };
                }
                if let Some(at) = known {
                    self.nodes.unlink(at);
                }
                self.make_room(wanted - capacity, now)
            }
            _ => Vec::new(),
        };
        let at = known.unwrap_or_else(|| {
            let promoted = self.ghosts.recall(id);
            self.insert(Node {
                id: id.clone(),
                entry: Entry { weight, expires: None, pinned_until: None, pending: false },
                stored: false,
                writes: 0,
                stamp: 0,
                uses: 0,
                promoted,
            })
        });
        self.nodes.unlink(at);
        self.weigh(at, held);
        if let Some(node) = self.nodes.get_mut(at) {
            node.writes += 1;
        }
        self.pinning += u64::from(pin);
        Room::Made(victims)
    }

    /// A write for which room was reserved is done.
    pub(crate) fn commit(&mut self, id: &Id, entry: Entry, pin: bool) {
        self.pinning -= u64::from(pin);
        let Some(at) = self.find(&id.scope, &id.key) else { return };
        let stamp = STAMPS.fetch_add(1, SeqCst) + 1;
        let Some(node) = self.nodes.get_mut(at) else { return };
        node.writes = node.writes.saturating_sub(1);
        node.uses = if node.stored { (node.uses + 1).min(3) } else { 0 };
        node.stored = true;
        node.stamp = stamp;
        self.describe(at, entry);
        self.queue(at);
    }

    /// A write for which room was reserved was not made.
    pub(crate) fn cancel(&mut self, id: &Id, pin: bool) {
        self.pinning -= u64::from(pin);
        let Some(at) = self.find(&id.scope, &id.key) else { return };
        let Some(node) = self.nodes.get_mut(at) else { return };
        node.writes = node.writes.saturating_sub(1);
        if node.stored {
            self.queue(at);
        } else if node.writes == 0 {
            self.remove(at);
        }
    }

    /// Takes a victim back that could not be removed from the store: it is the next to go.
    pub(crate) fn restore(&mut self, victim: Victim) {
        if self.find(&victim.id.scope, &victim.id.key).is_some() {
            return;
        }
        let (id, entry) = (victim.id, victim.entry);
        let node = Node { id, entry, stored: true, writes: 0, stamp: 0, uses: 0, promoted: false };
        let at = self.insert(node);
        self.describe(at, entry);
        self.nodes.push_tail(self.first_queue(false), at);
    }

    /// Takes in an entry that the store held when it was opened, the least recent ones first.
    pub(crate) fn adopt(&mut self, id: Id, entry: Entry, now: DateTime<Utc>) {
        let entry =
            Entry { pinned_until: entry.pinned_until.filter(|until| !until.is_past(now)), ..entry };
        // It may have been written anew while the store was being listed.
        if self.find(&id.scope, &id.key).is_some() {
            return;
        }
        let node = Node { id, entry, stored: true, writes: 0, stamp: 0, uses: 0, promoted: false };
        let at = self.insert(node);
        self.describe(at, entry);
        self.queue(at);
    }

    /// Takes out whatever is over the capacity, as after adopting.
    pub(crate) fn overflow(&mut self, now: DateTime<Utc>) -> Vec<Victim> {
        match self.capacity {
            Some(capacity) if self.weight > capacity => self.make_room(self.weight - capacity, now),
            _ => Vec::new(),
        }
    }

    /// An entry was read.
    pub(crate) fn touch(&mut self, scope: &Namespace, key: &str) {
        let Some(at) = self.find(scope, key) else { return };
        if let Some(node) = self.nodes.get_mut(at) {
            node.uses = (node.uses + 1).min(3);
        }
        let in_lru = !matches!(self.policy, Policy::S3Fifo { .. });
        if in_lru && self.nodes.queue_of(at).is_some() {
            self.nodes.push_head(Queue::Main, at);
        }
    }

    /// An entry is gone from the store.
    pub(crate) fn forget(&mut self, scope: &Namespace, key: &str) {
        let Some(at) = self.find(scope, key) else { return };
        self.forget_at(at);
    }

    fn forget_at(&mut self, at: usize) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        node.stored = false;
        if node.writes == 0 {
            self.remove(at);
        }
    }

    /// A promise has ended without a value.
    pub(crate) fn forget_pending(&mut self, scope: &Namespace, key: &str) {
        let Some(at) = self.find(scope, key) else { return };
        if self.nodes.get(at).is_some_and(|node| node.entry.pending) {
            self.forget_at(at);
        }
    }

    pub(crate) fn set_expiry(&mut self, scope: &Namespace, key: &str, expires: Option<Deadline>) {
        let Some(at) = self.find(scope, key) else { return };
        if let Some(node) = self.nodes.get(at) {
            self.describe(at, Entry { expires, ..node.entry });
        }
        self.touch(scope, key);
    }

    pub(crate) fn unpin(&mut self, scope: &Namespace, key: &str, expires: Option<Deadline>) {
        let Some(at) = self.find(scope, key) else { return };
        if let Some(node) = self.nodes.get(at) {
            self.describe(at, Entry { pinned_until: None, expires, ..node.entry });
        }
        if self.nodes.queue_of(at).is_none() {
            self.queue(at);
        }
    }

    pub(crate) fn mark() -> u64 {
        STAMPS.load(SeqCst)
    }

    /// A range was removed from the store; what was stored after `mark` may have come after it.
    pub(crate) fn forget_range(&mut self, range: &Range, mark: u64) {
        let gone = self.nodes.matching(|node| {
            node.stored && node.stamp <= mark && range.covers(&node.id.scope, &node.id.key)
        });
        for at in gone {
            self.forget_at(at);
        }
    }

    /// The entries in a range that were stored after `mark`, or are being written.
    pub(crate) fn stored_since(&self, range: &Range, mark: u64) -> Vec<Id> {
        let written = self.nodes.matching(|node| {
            let since = node.stored && !node.entry.pending && node.stamp > mark;
            (since || node.writes > 0) && range.covers(&node.id.scope, &node.id.key)
        });
        written.into_iter().filter_map(|at| Some(self.nodes.get(at)?.id.clone())).collect()
    }

    fn insert(&mut self, node: Node) -> usize {
        let (id, weight) = (node.id.clone(), node.entry.weight);
        let at = self.nodes.add(node, weight);
        self.weight += weight;
        self.ids.entry(id.scope).or_default().insert(id.key, at);
        at
    }

    fn remove(&mut self, at: usize) -> Option<Node> {
        let weight = self.nodes.weight_of(at);
        let node = self.nodes.remove(at)?;
        self.weight -= weight;
        if let Some(keys) = self.ids.get_mut(&node.id.scope) {
            keys.remove(&node.id.key);
            if keys.is_empty() {
                self.ids.remove(&node.id.scope);
            } else if keys.capacity() > 64 && keys.len() < keys.capacity() / 4 {
                keys.shrink_to_fit();
            }
        }
        self.expiries.retain_not(node.entry.expires, at);
        self.pins.retain_not(node.entry.pinned_until, at);
        Some(node)
    }

    /// Changes what is known about an entry, everywhere that it is kept; not its queue.
    fn describe(&mut self, at: usize, entry: Entry) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let old = std::mem::replace(&mut node.entry, entry);
        self.expiries.retain_not(old.expires, at);
        self.pins.retain_not(old.pinned_until, at);
        self.expiries.extend(entry.expires.map(|deadline| (deadline, at)));
        self.pins.extend(entry.pinned_until.map(|deadline| (deadline, at)));
        if self.nodes.weight_of(at) != entry.weight {
            let queue = self.nodes.queue_of(at);
            self.nodes.unlink(at);
            self.weigh(at, entry.weight);
            if let Some(queue) = queue {
                self.nodes.push_head(queue, at);
            }
        }
    }

    /// Changes the weight of an entry that stands in no queue.
    fn weigh(&mut self, at: usize, weight: u64) {
        self.weight = self.weight - self.nodes.weight_of(at) + weight;
        self.nodes.set_weight(at, weight);
    }

    /// Puts an entry where it belongs after a write.
    fn queue(&mut self, at: usize) {
        let Some(node) = self.nodes.get(at) else { return };
        if node.writes > 0 || node.entry.pinned_until.is_some() {
            self.nodes.unlink(at);
        } else {
            self.nodes.push_head(self.first_queue(node.promoted), at);
        }
    }

    fn first_queue(&self, promoted: bool) -> Queue {
        let small = matches!(self.policy, Policy::S3Fifo { .. }) && !promoted;
        if small { Queue::Small } else { Queue::Main }
    }

    fn queued_weight(&self) -> u64 {
        self.nodes.queued_weight(Queue::Small) + self.nodes.queued_weight(Queue::Main)
    }

    /// Pins that have reached their greatest age end; their entries are the next to go.
    fn end_pins(&mut self, now: DateTime<Utc>) {
        while let Some((until, at)) = self.pins.first().copied()
            && until.is_past(now)
        {
            self.pins.pop_first();
            self.pins_expired += 1;
            let Some(node) = self.nodes.get_mut(at) else { continue };
            node.entry.pinned_until = None;
            let (writes, promoted) = (node.writes, node.promoted);
            if self.capacity.is_none() {
                self.forget_at(at);
            } else if writes == 0 {
                self.nodes.push_tail(self.first_queue(promoted), at);
            }
        }
    }

    /// Takes out entries until so much weight is free, which the caller knows to be possible.
    fn make_room(&mut self, weight: u64, now: DateTime<Utc>) -> Vec<Victim> {
        let (mut freed, mut victims) = (0, Vec::new());
        while freed < weight {
            let expired = self.expired(now);
            let Some(at) = expired.or_else(|| self.next_to_go()) else { break };
            freed += self.nodes.weight_of(at);
            let Some(node) = self.remove(at) else { break };
            victims.push(Victim { id: node.id, entry: node.entry, expired: expired.is_some() });
        }
        victims
    }

    /// An entry whose life is over and that may go.
    fn expired(&self, now: DateTime<Utc>) -> Option<usize> {
        let past = self.expiries.iter().take_while(|(deadline, _)| deadline.is_past(now));
        past.map(|(_, at)| *at).find(|at| self.nodes.queue_of(*at).is_some())
    }

    fn next_to_go(&mut self) -> Option<usize> {
        let Policy::S3Fifo { max } = self.policy else { return self.nodes.tail(Queue::Main) };
        let (small, most) = ((max / 10).max(1), self.nodes.len());
        loop {
            let (first, second) = (self.nodes.tail(Queue::Small), self.nodes.tail(Queue::Main));
            let at = match (first, second) {
                (None, None) => return None,
                (Some(at), _)
                    if second.is_none() || self.nodes.queued_weight(Queue::Small) >= small =>
                {
                    let node = self.nodes.get_mut(at)?;
                    if node.uses <= 1 {
                        self.ghosts.remember(&node.id, most);
                        return Some(at);
                    }
                    (node.uses, node.promoted) = (0, true);
                    at
                }
                (_, Some(at)) => {
                    let node = self.nodes.get_mut(at)?;
                    if node.uses == 0 {
                        return Some(at);
                    }
                    node.uses -= 1;
                    at
                }
                (Some(at), None) => at,
            };
            self.nodes.push_head(Queue::Main, at);
        }
    }
}

/// Sets of deadlines.
trait Deadlines {
    fn retain_not(&mut self, deadline: Option<Deadline>, at: usize);
}

impl Deadlines for BTreeSet<(Deadline, usize)> {
    fn retain_not(&mut self, deadline: Option<Deadline>, at: usize) {
        if let Some(deadline) = deadline {
            self.remove(&(deadline, at));
        }
    }
}
