//! Plain, slow models of the policies: lists that are searched from end to end.

use std::collections::BTreeSet;
use std::time::Duration;

use larder_cache::Policy;
use larder_core::chrono::{DateTime, TimeDelta, Utc};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Refused,
}

#[derive(Debug, Clone)]
struct Entry {
    id: String,
    weight: u64,
    expires: Option<DateTime<Utc>>,
    explicit: bool,
    pinned_until: Option<DateTime<Utc>>,
    uses: u8,
    promoted: bool,
}

impl Entry {
    /// A pin ends with a life that was asked for.
    fn pin_ends(&self) -> Option<DateTime<Utc>> {
        let expires = self.expires.filter(|_| self.explicit);
        self.pinned_until.map(|until| expires.map_or(until, |expires| expires.min(until)))
    }

    fn is_live(&self, now: DateTime<Utc>) -> bool {
        let until = match self.pinned_until {
            Some(pinned) if !self.explicit => self.expires.map(|expires| expires.max(pinned)),
            _ => self.expires,
        };
        until.is_none_or(|until| until > now)
    }
}

/// The queues have their heads in front; pinned entries stand aside.
pub(crate) struct Model {
    policy: Policy,
    budget: usize,
    max_age: Duration,
    small: Vec<Entry>,
    main: Vec<Entry>,
    pinned: Vec<Entry>,
    ghosts: Vec<String>,
    /// Entries that are counted although they stand in no queue: the one being overwritten.
    writing: usize,
}

fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX)
}

impl Model {
    pub(crate) fn new(policy: Policy, budget: u64, max_age: Duration) -> Self {
        let (small, main, pinned, ghosts) = (vec![], vec![], vec![], vec![]);
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        Self { policy, budget, max_age, small, main, pinned, ghosts, writing: 0 }
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.small.iter().chain(&self.main).chain(&self.pinned)
    }

    fn find(&mut self, id: &str) -> Option<&mut Entry> {
        self.small
            .iter_mut()
            .chain(&mut self.main)
            .chain(&mut self.pinned)
            .find(|entry| entry.id == id)
    }

    fn take(&mut self, id: &str) -> Option<Entry> {
        for list in [&mut self.small, &mut self.main, &mut self.pinned] {
            if let Some(at) = list.iter().position(|entry| entry.id == id) {
                return Some(list.remove(at));
            }
        }
        None
    }

    fn is_s3(&self) -> bool {
        matches!(self.policy, Policy::S3Fifo { .. })
    }

    fn queue_of(&mut self, promoted: bool) -> &mut Vec<Entry> {
        if self.is_s3() && !promoted { &mut self.small } else { &mut self.main }
    }

    fn place(&mut self, entry: Entry) {
        if entry.pinned_until.is_some() {
            self.pinned.push(entry);
        } else {
            self.queue_of(entry.promoted).insert(0, entry);
        }
    }

    pub(crate) fn keys(&self) -> BTreeSet<String> {
        self.all().map(|entry| entry.id.clone()).collect()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.all().map(|entry| entry.weight).sum()
    }

    pub(crate) fn pinned(&self, now: DateTime<Utc>) -> u64 {
        self.all().filter(|entry| entry.pin_ends().is_some_and(|until| until > now)).count() as u64
    }

    fn end_pins(&mut self, now: DateTime<Utc>) {
        let pinned = std::mem::take(&mut self.pinned);
        let (mut ended, going_on): (Vec<_>, Vec<_>) = pinned
            .into_iter()
            .partition(|entry| entry.pin_ends().is_some_and(|until| until <= now));
        self.pinned = going_on;
        ended.sort_by_key(Entry::pin_ends);
        for mut entry in ended {
            entry.pinned_until = None;
            self.queue_of(entry.promoted).push(entry);
        }
    }

    /// Remembers an entry that was taken out.
    fn remember(&mut self, gone: &Entry) {
        self.ghosts.retain(|ghost| *ghost != gone.id);
        self.ghosts.push(gone.id.clone());
        // As many as there are entries, the one that goes included.
        let most = self.all().count() + 1 + self.writing;
        let over = self.ghosts.len().saturating_sub(most);
        self.ghosts.drain(..over);
    }

    fn evict(&mut self, now: DateTime<Utc>) -> Option<Entry> {
        let queued = self.small.iter().chain(&self.main);
        let expired = queued
            .filter(|entry| entry.expires.is_some_and(|expires| expires <= now))
            .min_by_key(|entry| entry.expires)
            .map(|entry| entry.id.clone());
        if let Some(id) = expired {
            let entry = self.take(&id)?;
            // What was used while it lived comes back as such.
            if self.is_s3() && (entry.promoted || entry.uses > 0) {
                self.remember(&entry);
            }
            return Some(entry);
        }
        let Policy::S3Fifo { max } = self.policy else { return self.main.pop() };
        loop {
            let small: u64 = self.small.iter().map(|entry| entry.weight).sum();
            let from_small =
                !self.small.is_empty() && (self.main.is_empty() || small >= (max / 10).max(1));
            if from_small {
                let mut entry = self.small.pop()?;
                if entry.uses == 0 {
                    self.remember(&entry);
                    return Some(entry);
                }
                (entry.uses, entry.promoted) = (0, true);
                self.main.insert(0, entry);
            } else {
                let mut entry = self.main.pop()?;
                if entry.uses == 0 {
                    return Some(entry);
                }
                entry.uses -= 1;
                self.main.insert(0, entry);
            }
        }
    }

    pub(crate) fn set(
        &mut self,
        id: &str,
        weight: u64,
        pin: bool,
        ttl: Option<Duration>,
        now: DateTime<Utc>,
    ) -> Outcome {
        self.end_pins(now);
        let capacity = self.policy.capacity().unwrap_or(u64::MAX);
        if weight > capacity {
            return Outcome::Refused;
        }
        let others = self.pinned.iter().filter(|entry| entry.id != id).count();
        if pin && others >= self.budget {
            return Outcome::Refused;
        }
        let old = self.all().find(|entry| entry.id == id).cloned();
        let held = old.as_ref().map_or(weight, |old| old.weight.max(weight));
        let fixed: u64 = self.pinned.iter().filter(|e| e.id != id).map(|e| e.weight).sum();
        if fixed + held > capacity {
            if pin {
                return Outcome::Refused;
            }
            self.take(id);
            self.forget_ghosts_when_empty();
            return Outcome::Done;
        }
        self.take(id);
        self.writing = usize::from(old.is_some());
        while self.weight() + held > capacity {
            if self.evict(now).is_none() {
                break;
            }
        }
        self.writing = 0;
        let promoted = old.as_ref().map_or_else(
            || {
                let known = self.ghosts.iter().any(|ghost| ghost == id);
                self.ghosts.retain(|ghost| ghost != id);
                known
            },
            |old| old.promoted,
        );
        self.place(Entry {
            id: id.to_owned(),
            weight,
            expires: ttl.map(|ttl| later(now, ttl)),
            explicit: ttl.is_some(),
            pinned_until: pin.then(|| later(now, self.max_age)),
            uses: old.map_or(0, |old| (old.uses + 1).min(3)),
            promoted,
        });
        Outcome::Done
    }

    fn touch(&mut self, id: &str) {
        if let Some(entry) = self.find(id) {
            entry.uses = (entry.uses + 1).min(3);
        }
        if !self.is_s3()
            && let Some(entry) = self.take(id)
        {
            self.place(entry);
        }
    }

    fn live(&mut self, id: &str, now: DateTime<Utc>) -> bool {
        self.find(id).is_some_and(|entry| entry.is_live(now))
    }

    pub(crate) fn get(&mut self, id: &str, now: DateTime<Utc>) -> bool {
        let live = self.live(id, now);
        if live {
            self.touch(id);
        }
        live
    }

    pub(crate) fn unpin(&mut self, id: &str, now: DateTime<Utc>) -> bool {
        let live = self.live(id, now);
        if live {
            self.end_pins(now);
            let at = self.pinned.iter().position(|entry| entry.id == id);
            if let Some(mut entry) = at.map(|at| self.pinned.remove(at)) {
                entry.pinned_until = None;
                self.place(entry);
            }
            self.touch(id);
        }
        live
    }

    pub(crate) fn revive(&mut self, id: &str, ttl: Duration, now: DateTime<Utc>) -> bool {
        if self.find(id).is_none() {
            return false;
        }
        self.end_pins(now);
        let Some(entry) = self.find(id) else { return false };
        entry.expires = Some(later(now, ttl));
        entry.explicit = true;
        self.touch(id);
        true
    }

    pub(crate) fn remove(&mut self, is: impl Fn(&str) -> bool) {
        for list in [&mut self.small, &mut self.main, &mut self.pinned] {
            list.retain(|entry| !is(&entry.id));
        }
        self.forget_ghosts_when_empty();
    }

    /// An empty index is dropped, with all that it remembered.
    fn forget_ghosts_when_empty(&mut self) {
        if self.all().next().is_none() {
            self.ghosts.clear();
        }
    }
}
