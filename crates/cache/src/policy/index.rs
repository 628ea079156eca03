use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use larder_core::Deadline;
use larder_core::chrono::{DateTime, Utc};

use super::ghosts::Ghosts;
use super::list::{Lists, Queue};
use super::names::Names;
use super::{Entry, Policy, Room, Settings, Victim};
use crate::Refusal;
use crate::id::Id;
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
    /// Who has to go from the store before it is written, whoever writes it.
    victims: Vec<Victim>,
    /// One of the writes waits for nobody any more, and may have been made.
    being_stored: bool,
    /// Another one whose name has the same hash.
    twin: Option<usize>,
}

impl Node {
    fn new(id: Id, entry: Entry) -> Self {
        Self {
            id,
            entry,
            stored: false,
            writes: 0,
            stamp: 0,
            uses: 0,
            promoted: false,
            victims: Vec::new(),
            being_stored: false,
            twin: None,
        }
    }

    fn stored(id: Id, entry: Entry) -> Self {
        Self { stored: true, ..Self::new(id, entry) }
    }
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
    names: Names,
    /// Wider than the weights that it is the sum of, so that no sum is too much for it.
    weight: u128,
    expiries: BTreeSet<(Deadline, usize)>,
    pins: BTreeSet<(Deadline, usize)>,
    pins_expired: u64,
    /// Entries with writes under way that are to pin them, and how many writes.
    pinning: HashMap<usize, u32>,
    /// Entries that are written once their victims have gone.
    waiting: BTreeSet<usize>,
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
            names: Names::default(),
            weight: 0,
            expiries: BTreeSet::new(),
            pins: BTreeSet::new(),
            pins_expired: 0,
            pinning: HashMap::new(),
            waiting: BTreeSet::new(),
            ghosts: Ghosts::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn weight(&self) -> u128 {
        self.weight
    }

    pub(crate) fn pinned(&self, now: DateTime<Utc>) -> u64 {
        self.pins.iter().filter(|(until, _)| !until.is_past(now)).count() as u64
    }

    /// Takes the number of pins whose time was over since the last asking.
    pub(crate) fn take_pins_expired(&mut self) -> u64 {
        std::mem::take(&mut self.pins_expired)
    }

    fn find(&self, id: &Id) -> Option<usize> {
        let mut next = self.names.first(id.hash);
        while let Some(at) = next {
            let node = self.nodes.get(at)?;
            if node.id == *id {
                return Some(at);
            }
            next = node.twin;
        }
        None
    }

    pub(crate) fn is_stored(&self, id: &Id) -> bool {
        self.find(id).and_then(|at| self.nodes.get(at)).is_some_and(|node| node.stored)
    }

    /// Makes room for a write of an entry, and holds it until [`commit`](Self::commit) or
    /// [`cancel`](Self::cancel). Victims are out of the index at once; the room is there when they are
    /// [gone](Self::gone) from the store, too.
    pub(crate) fn reserve(&mut self, id: &Id, weight: u64, pin: bool, now: DateTime<Utc>) -> Room {
        self.end_pins(now);
        let known = self.find(id);
        if let Some(capacity) = self.capacity
            && weight > capacity
        {
            return Room::Refused(Refusal::TooHeavy { weight, capacity });
        }
        if pin && self.others_pinned(known) >= self.pin_budget {
            return Room::Refused(Refusal::PinBudget { budget: self.pin_budget });
        }
        let own = known.map_or(0, |at| self.nodes.weight_of(at));
        let held = own.max(weight);
        // While it is written, the store holds the old one or the new: the heavier counts.
        let wanted = self.weight - u128::from(own) + u128::from(held);
        let victims = match self.capacity.map(u128::from) {
            Some(capacity) if wanted > capacity => {
                let own_queued =
                    known.filter(|at| self.nodes.queue_of(*at).is_some()).map_or(0, |_| own);
                let queued = self.queued_weight() - u128::from(own_queued);
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
            let entry = Entry { weight, ..Entry::bare(false) };
            self.insert(Node { promoted, ..Node::new(id.clone(), entry) })
        });
        self.nodes.unlink(at);
        self.weigh(at, held);
        if let Some(node) = self.nodes.get_mut(at) {
            node.being_stored |= node.writes > 0 && node.victims.is_empty();
            node.writes += 1;
            node.victims.extend(victims);
        }
        self.wait_for_others(at);
        if pin {
            *self.pinning.entry(at).or_default() += 1;
        }
        Room::Made
    }

    /// Has an entry wait for the victims of others, too, where it is to be written into room that
    /// these leave: a victim may be heavier than what it makes room for.
    fn wait_for_others(&mut self, at: usize) {
        let others = || self.waiting.iter().copied().filter(|other| *other != at);
        let spare: u128 = others().map(|other| self.spare(other)).sum();
        let is_short = self.capacity.is_some_and(|it| self.weight + spare > u128::from(it));
        let shared: Vec<Victim> = if is_short && self.growth(at) > 0 {
            let victims = others().filter_map(|other| Some(&self.nodes.get(other)?.victims));
            victims.flatten().cloned().collect()
        } else {
            Vec::new()
        };
        let Some(node) = self.nodes.get_mut(at) else { return };
        for victim in shared {
            if node.victims.iter().all(|own| own.id != victim.id) {
                node.victims.push(victim);
            }
        }
        if !node.victims.is_empty() {
            self.waiting.insert(at);
        }
    }

    /// By how much the store grows when an entry is written.
    fn growth(&self, at: usize) -> u64 {
        let stored = self.nodes.get(at).filter(|node| node.stored);
        let stored = stored.map_or(0, |node| node.entry.weight);
        self.nodes.weight_of(at).saturating_sub(stored)
    }

    /// How much room the victims of an entry leave besides its own.
    fn spare(&self, at: usize) -> u128 {
        let Some(node) = self.nodes.get(at) else { return 0 };
        let leaving: u128 = node.victims.iter().map(|it| u128::from(it.entry.weight)).sum();
        let growth = if node.being_stored { 0 } else { self.growth(at) };
        leaving.saturating_sub(u128::from(growth))
    }

    /// One of those who have to go before an entry is written.
    pub(crate) fn victim(&self, id: &Id) -> Option<Victim> {
        self.nodes.get(self.find(id)?)?.victims.last().cloned()
    }

    /// A victim is gone from the store, for everyone that waits for it; false where that was said
    /// before.
    pub(crate) fn gone(&mut self, victim: &Id) -> bool {
        let mut news = false;
        for at in self.waiting.clone() {
            let Some(node) = self.nodes.get_mut(at) else { continue };
            let before = node.victims.len();
            node.victims.retain(|own| own.id != *victim);
            news |= node.victims.len() < before;
            if node.victims.is_empty() {
                self.waiting.remove(&at);
            }
        }
        news
    }

    /// How many entries are pinned, or are just being pinned, apart from one.
    fn others_pinned(&self, own: Option<usize>) -> u64 {
        let is_pinned =
            |at: &usize| self.nodes.get(*at).is_some_and(|node| node.entry.pinned_until.is_some());
        let being_pinned = self.pinning.keys().filter(|at| Some(**at) != own && !is_pinned(at));
        let own_pin = own.as_ref().is_some_and(is_pinned);
        self.pins.len() as u64 - u64::from(own_pin) + being_pinned.count() as u64
    }

    /// A write under way that was to pin its entry is over.
    fn end_pinning(&mut self, at: usize) {
        if let Some(writes) = self.pinning.get_mut(&at) {
            *writes -= 1;
            if *writes == 0 {
                self.pinning.remove(&at);
            }
        }
    }

    /// A write for which room was reserved is done.
    pub(crate) fn commit(&mut self, id: &Id, entry: Entry, pin: bool) {
        let Some(at) = self.find(id) else { return };
        if pin {
            self.end_pinning(at);
        }
        let stamp = STAMPS.fetch_add(1, SeqCst) + 1;
        let unneeded = self.end_write(at);
        let Some(node) = self.nodes.get_mut(at) else { return };
        node.uses = if node.stored { (node.uses + 1).min(3) } else { 0 };
        node.stored = true;
        node.stamp = stamp;
        self.describe(at, entry);
        self.queue(at);
        self.restore(unneeded);
    }

    /// One write less of an entry. After the last, gives the victims that have not gone: those of
    /// another write, which was given up.
    fn end_write(&mut self, at: usize) -> Vec<Victim> {
        let Some(node) = self.nodes.get_mut(at) else { return Vec::new() };
        node.writes = node.writes.saturating_sub(1);
        if node.writes > 0 {
            return Vec::new();
        }
        node.being_stored = false;
        self.waiting.remove(&at);
        std::mem::take(&mut node.victims)
    }

    /// A write for which room was reserved may be done: the old entry and the new are both allowed
    /// for.
    pub(crate) fn commit_unsure(&mut self, id: &Id, entry: Entry, pin: bool) {
        let held = self.find(id).map_or(0, |at| self.nodes.weight_of(at));
        self.commit(id, Entry { weight: entry.weight.max(held), ..entry }, pin);
    }

    /// A write for which room was reserved was not made. Where it was the only one, whoever has not gone
    /// yet to make room stays.
    pub(crate) fn cancel(&mut self, id: &Id, pin: bool) {
        let Some(at) = self.find(id) else { return };
        if pin {
            self.end_pinning(at);
        }
        let unneeded = self.end_write(at);
        let Some(node) = self.nodes.get(at) else { return };
        if node.stored {
            // It may have been held at the weight of what was to replace it.
            let entry = node.entry;
            self.describe(at, entry);
            self.queue(at);
        } else if node.writes == 0 {
            self.remove(at);
        }
        self.restore(unneeded);
    }

    /// Takes victims back that could not be removed from the store: they are the next to go. Those that
    /// another write waits for go all the same.
    fn restore(&mut self, victims: Vec<Victim>) {
        for victim in victims {
            let mut waiting = self.waiting.iter().filter_map(|at| self.nodes.get(*at));
            let goes = waiting.any(|node| node.victims.iter().any(|own| own.id == victim.id));
            if goes {
                continue;
            }
            let entry = victim.entry;
            let Some(at) = self.find(&victim.id) else {
                let at = self.insert(Node::stored(victim.id, entry));
                self.describe(at, entry);
                self.nodes.push_tail(self.first_queue(false), at);
                continue;
            };
            // It is just being written anew, and until it is, the old one is there.
            let Some(node) = self.nodes.get_mut(at) else { continue };
            if !std::mem::replace(&mut node.stored, true) {
                self.describe(at, entry);
            }
        }
    }

    /// Takes in an entry that the store held when it was opened, the least recent ones first.
    pub(crate) fn adopt(&mut self, id: Id, entry: Entry, now: DateTime<Utc>) {
        let entry =
            Entry { pinned_until: entry.pinned_until.filter(|until| !until.is_past(now)), ..entry };
        // It may have been written anew while the store was being listed.
        if self.find(&id).is_some() {
            return;
        }
        let at = self.insert(Node::stored(id, entry));
        self.describe(at, entry);
        self.queue(at);
    }

    /// Takes out whatever is over the capacity, as after adopting.
    pub(crate) fn overflow(&mut self, now: DateTime<Utc>) -> Vec<Victim> {
        match self.capacity.map(u128::from) {
            Some(capacity) if self.weight > capacity => self.make_room(self.weight - capacity, now),
            _ => Vec::new(),
        }
    }

    /// The entry whose name has this hash was read; of several, the one that came last.
    pub(crate) fn touch(&mut self, hash: u64) {
        let Some(at) = self.names.first(hash) else { return };
        if let Some(node) = self.nodes.get_mut(at) {
            node.uses = (node.uses + 1).min(3);
        }
        if !self.is_s3_fifo() && self.nodes.queue_of(at).is_some() {
            self.nodes.push_head(Queue::Main, at);
        }
    }

    /// An entry is gone from the store.
    pub(crate) fn forget(&mut self, id: &Id) {
        self.gone(id);
        let Some(at) = self.find(id) else { return };
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
    pub(crate) fn forget_pending(&mut self, id: &Id) {
        let Some(at) = self.find(id) else { return };
        if self.nodes.get(at).is_some_and(|node| node.entry.pending) {
            self.forget_at(at);
        }
    }

    /// What is known about an entry has changed, but for its value.
    pub(crate) fn update(&mut self, id: &Id, entry: Entry, now: DateTime<Utc>) {
        self.end_pins(now);
        let Some(at) = self.find(id) else { return };
        self.describe(at, entry);
        if entry.pinned_until.is_some() || self.nodes.queue_of(at).is_none() {
            self.queue(at);
        }
    }

    pub(crate) fn mark() -> u64 {
        STAMPS.load(SeqCst)
    }

    /// A range was removed from the store; what was stored after `mark` may have come after it.
    pub(crate) fn forget_range(&mut self, range: &Range, mark: u64) {
        let gone =
            self.nodes.matching(|node| node.stored && node.stamp <= mark && range.covers(&node.id));
        for at in gone {
            self.forget_at(at);
        }
    }

    /// The entries in a range that were stored after `mark`, or are being written.
    pub(crate) fn stored_since(&self, range: &Range, mark: u64) -> Vec<Id> {
        let written = self.nodes.matching(|node| {
            let since = node.stored && !node.entry.pending && node.stamp > mark;
            (since || node.writes > 0) && range.covers(&node.id)
        });
        written.into_iter().filter_map(|at| Some(self.nodes.get(at)?.id.clone())).collect()
    }

    fn insert(&mut self, node: Node) -> usize {
        let (hash, weight) = (node.id.hash, node.entry.weight);
        let at = self.nodes.add(node, weight);
        self.weight += u128::from(weight);
        let twin = self.names.add(hash, at);
        if let Some(node) = self.nodes.get_mut(at) {
            node.twin = twin;
        }
        at
    }

    fn remove(&mut self, at: usize) -> Option<Node> {
        let weight = self.nodes.weight_of(at);
        let node = self.nodes.remove(at)?;
        self.weight -= u128::from(weight);
        self.forget_name(at, &node);
        self.expiries.retain_not(node.entry.expires, at);
        self.pins.retain_not(node.entry.pinned_until, at);
        Some(node)
    }

    /// A node that was removed is found no more.
    fn forget_name(&mut self, at: usize, node: &Node) {
        let first = self.names.first(node.id.hash);
        if first == Some(at) {
            self.names.set_first(node.id.hash, node.twin);
            return;
        }
        let mut next = first;
        while let Some(before) = next.and_then(|at| self.nodes.get_mut(at)) {
            if before.twin == Some(at) {
                before.twin = node.twin;
                return;
            }
            next = before.twin;
        }
    }

    /// Changes what is known about an entry, everywhere that it is kept; not its queue.
    fn describe(&mut self, at: usize, entry: Entry) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let old = std::mem::replace(&mut node.entry, entry);
        let being_written = node.writes > 0;
        self.expiries.retain_not(old.expires, at);
        self.pins.retain_not(old.pinned_until, at);
        self.expiries.extend(entry.expires.map(|deadline| (deadline, at)));
        self.pins.extend(entry.pinned_until.map(|deadline| (deadline, at)));
        let held = self.nodes.weight_of(at);
        // Whoever still writes it has room up to what is held.
        let weight = if being_written { held.max(entry.weight) } else { entry.weight };
        if held != weight {
            let queue = self.nodes.queue_of(at);
            self.nodes.unlink(at);
            self.weigh(at, weight);
            if let Some(queue) = queue {
                self.nodes.push_head(queue, at);
            }
        }
    }

    /// Changes the weight of an entry that stands in no queue.
    fn weigh(&mut self, at: usize, weight: u64) {
        self.weight = self.weight - u128::from(self.nodes.weight_of(at)) + u128::from(weight);
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
        if self.is_s3_fifo() && !promoted { Queue::Small } else { Queue::Main }
    }

    fn is_s3_fifo(&self) -> bool {
        matches!(self.policy, Policy::S3Fifo { .. })
    }

    fn queued_weight(&self) -> u128 {
        self.nodes.queued_weight(Queue::Small) + self.nodes.queued_weight(Queue::Main)
    }

    /// Pins whose time is over end; their entries are the next to go.
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
    fn make_room(&mut self, weight: u128, now: DateTime<Utc>) -> Vec<Victim> {
        let (mut freed, mut victims) = (0, Vec::new());
        while freed < weight {
            let expired = self.expired(now);
            let Some(at) = expired.or_else(|| self.next_to_go()) else { break };
            freed += u128::from(self.nodes.weight_of(at));
            let most = self.nodes.len();
            let Some(node) = self.remove(at) else { break };
            if expired.is_some() && self.is_s3_fifo() && (node.promoted || node.uses > 0) {
                // Used while it lived: it comes back as such.
                self.ghosts.remember(&node.id, most);
            }
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
        let (small, most) = (u128::from(max / 10).max(1), self.nodes.len());
        loop {
            let (first, second) = (self.nodes.tail(Queue::Small), self.nodes.tail(Queue::Main));
            let at = match (first, second) {
                (None, None) => return None,
                (Some(at), _)
                    if second.is_none() || self.nodes.queued_weight(Queue::Small) >= small =>
                {
                    let node = self.nodes.get_mut(at)?;
                    if node.uses == 0 {
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

#[cfg(test)]
mod tests {
    use larder_core::Namespace;

    use super::*;

    #[test]
    fn names_with_the_same_hash_are_told_apart() {
        let policy = Policy::Lru { max: 8 };
        let mut index = Index::new(&Settings { policy, ..Settings::default() });
        let entry = Entry::bare(false);
        let ids = ["a", "b", "c", "d"]
            .map(|key| Id { hash: 7, ..Id::new(Namespace::root(), key.into()) });
        let now = DateTime::UNIX_EPOCH;
        for id in &ids {
            index.adopt(id.clone(), entry, now);
        }
        // One in the middle, the first, and the last that came.
        for (gone, at) in [1, 0, 3].into_iter().enumerate() {
            assert!(index.is_stored(&ids[at]));
            index.forget(&ids[at]);
            assert!(!index.is_stored(&ids[at]));
            assert_eq!(ids.iter().filter(|id| index.is_stored(id)).count(), 3 - gone);
        }
        index.touch(7);
        index.forget(&ids[2]);
        assert_eq!((index.len(), index.names.first(7)), (0, None));
    }
}
