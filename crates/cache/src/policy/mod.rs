//! Which entries stay (P1, P2): an index beside the store, in this process.

mod entry;
mod ghosts;
mod index;
mod list;
mod names;
mod rebuild;
mod reserve;
mod touches;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{Capabilities, Namespace};

use crate::hash;
use crate::id::Id;
use crate::route::Route;
use crate::slot::{Range, lock};
use crate::{CacheError, CacheResult};

pub(crate) use entry::{Entry, Room, Victim};
pub(crate) use index::Index;
pub(crate) use reserve::Admitted;

use touches::Touches;

/// Which entries a cache keeps (`P1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// All of them, as long as they live.
    #[default]
    KeepAll,
    /// Those that were used last, up to a capacity.
    Lru {
        /// The capacity, in entries unless they are weighed.
        max: u64,
    },
    /// The last one set or read: `Lru` with a capacity of one.
    MostRecent,
    /// Each for a fixed time from when it was set, in place of the default time to live.
    Ttl {
        /// How long.
        ttl: Duration,
    },
    /// Those that were used more than once, up to a capacity: three queues, as in "FIFO queues are
    /// all you need for cache eviction" (SOSP 2023). A scan of entries used once does not push out
    /// what is used again and again. Here one use is enough to stay, and what expired while it was in
    /// use comes back to its place when it is stored again soon.
    S3Fifo {
        /// The capacity, in entries unless they are weighed.
        max: u64,
    },
}

impl Policy {
    /// The capacity; `None` where there is none.
    #[must_use]
    pub fn capacity(&self) -> Option<u64> {
        match *self {
            Self::KeepAll | Self::Ttl { .. } => None,
            Self::MostRecent => Some(1),
            Self::Lru { max } | Self::S3Fifo { max } => Some(max),
        }
    }

    pub(crate) fn check(&self) -> CacheResult<()> {
        match *self {
            Self::Lru { max: 0 } | Self::S3Fifo { max: 0 } => {
                Err(CacheError::config("a capacity is over zero"))
            }
            Self::Ttl { ttl } if ttl.is_zero() => {
                Err(CacheError::config("the time to live of a policy is over zero"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a store that the policy cannot work over.
    pub(crate) fn check_store(
        &self,
        capabilities: &Capabilities,
        settings: &Settings,
    ) -> CacheResult<()> {
        if self.capacity().is_none() {
            return Ok(());
        }
        if capabilities.shared && settings.writers == Writers::Unsaid {
            return Err(CacheError::config(
                "other processes can write to this store, so that a capacity cannot be kept; \
                 `per_process` bounds what this one writes, and `sole_owner` says that none does",
            ));
        }
        if !capabilities.list && settings.writers != Writers::Others {
            return Err(CacheError::config(
                "this store cannot list, so that a capacity cannot be kept over what it holds \
                 already; `per_process` bounds what this process writes",
            ));
        }
        Ok(())
    }
}

/// Who writes to a store that several processes could share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    Unsaid,
    /// This process alone.
    Sole,
    /// Others as well, whose entries are not counted.
    Others,
}

/// How a space applies its policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) writers: Writers,
    /// One instance for each session, user and the global scope, in place of one for all.
    pub(crate) per_scope: bool,
    pub(crate) by_size: bool,
    pub(crate) pin_budget: Option<u64>,
    pub(crate) pin_max_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::KeepAll,
            writers: Writers::Unsaid,
            per_scope: false,
            by_size: false,
            pin_budget: None,
            pin_max_age: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Pins that may be held where no capacity says how many entries there are at all.
const DEFAULT_PIN_BUDGET: u64 = 10_000;

impl Settings {
    /// How many entries of one instance may be pinned.
    pub(crate) fn pin_budget(&self) -> u64 {
        let capacity = self.policy.capacity().unwrap_or(DEFAULT_PIN_BUDGET);
        self.pin_budget.unwrap_or(capacity)
    }
}

/// The instances of a space's policy.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) settings: Settings,
    indexes: Mutex<HashMap<Namespace, Index>>,
    /// Without a capacity, only pinned entries are known; none means nothing to look up.
    known: AtomicU64,
    /// Of the only instance, where there is one for all.
    touches: Touches,
}

impl Policies {
    pub(crate) fn new(settings: Settings) -> Self {
        let in_order = !matches!(settings.policy, Policy::S3Fifo { .. });
        Self {
            settings,
            indexes: Mutex::default(),
            known: AtomicU64::new(0),
            touches: Touches::new(in_order),
        }
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.settings.policy.capacity().is_some()
    }

    /// The instance that a scope belongs to.
    fn instance(&self, scope: &Namespace) -> Namespace {
        if !self.settings.per_scope {
            return Namespace::root();
        }
        let depth = if scope.segments().next() == Some("g") { 1 } else { 2 };
        // A part of a valid path is one.
        Namespace::from_segments(scope.segments().take(depth)).unwrap_or_default()
    }

    /// Works on the index of a scope; `None` where there is none and none is to be made.
    pub(crate) fn with<T>(
        &self,
        scope: &Namespace,
        make: bool,
        work: impl FnOnce(&mut Index) -> T,
    ) -> Option<T> {
        if !make && self.known.load(SeqCst) == 0 {
            return None;
        }
        let mut indexes = lock(&self.indexes);
        let (before, after, done);
        // Without instances, no path has to be made for the only one.
        let instance =
            if self.settings.per_scope { self.instance(scope) } else { Namespace::root() };
        if make && !indexes.contains_key(&instance) {
            indexes.insert(instance.clone(), Index::new(&self.settings));
        }
        {
            let index = indexes.get_mut(&instance)?;
            if !self.settings.per_scope {
                // What was read before is read before.
                self.touches.take(|hash| index.touch(hash));
            }
            before = index.len() as u64;
            done = work(index);
            after = index.len() as u64;
        }
        if after == 0 {
            indexes.remove(&instance);
        }
        self.known.fetch_add(after.wrapping_sub(before), SeqCst);
        Some(done)
    }

    /// An entry was read.
    #[inline]
    pub(crate) fn touch(&self, route: &Route, key: &str) {
        if self.is_bounded() {
            self.touch_bounded(route, hash::of_both(route.hash, hash::of_key(key)));
        }
    }

    fn touch_bounded(&self, route: &Route, hash: u64) {
        if self.settings.per_scope {
            self.with(&route.scope, false, |index| index.touch(hash));
        } else if self.touches.add(hash) {
            self.with(&route.scope, false, |_| ());
        }
    }

    /// An entry is gone from the store.
    pub(crate) fn forget(&self, id: &Id) {
        self.with(&id.scope, false, |index| index.forget(id));
    }

    /// A victim need not be removed any more; false where no write waited for that.
    pub(crate) fn settle(&self, victim: &Id) -> bool {
        self.with(&victim.scope, false, |index| index.gone(victim)).unwrap_or(false)
    }

    /// An entry that stood for a promise is gone.
    pub(crate) fn forget_pending(&self, id: &Id) {
        self.with(&id.scope, false, |index| index.forget_pending(id));
    }

    /// An entry was given another expiry, or unpinned.
    pub(crate) fn update(&self, id: &Id, entry: Entry, now: DateTime<Utc>) {
        let known = self.is_bounded() || entry.pinned_until.is_some();
        self.with(&id.scope, false, |index| {
            index.update(id, entry, now);
            if !known {
                index.forget(id);
            }
        });
    }

    /// Tells whether the store holds the entry, as far as the policy knows.
    pub(crate) fn is_stored(&self, id: &Id) -> bool {
        self.with(&id.scope, false, |index| index.is_stored(id)).unwrap_or(false)
    }

    /// A range was removed from the store; gives what was stored after `mark` or is being written,
    /// which may have come before the removal or after it.
    pub(crate) fn forget_range(&self, range: &Range, mark: u64) -> Vec<Id> {
        let forget = |instance: &Namespace| {
            self.with(instance, false, |index| {
                index.forget_range(range, mark);
                index.stored_since(range, mark)
            })
        };
        if !self.settings.per_scope {
            return forget(&range.scope).unwrap_or_default();
        }
        let instances: Vec<Namespace> = lock(&self.indexes).keys().cloned().collect();
        instances.iter().filter_map(forget).flatten().collect()
    }

    /// Forgets everything: another store is opened.
    pub(crate) fn reset(&self) {
        let mut indexes = lock(&self.indexes);
        indexes.clear();
        self.touches.take(|_| ());
        self.known.store(0, SeqCst);
    }

    /// Entries, their weight, and how many are pinned.
    pub(crate) fn totals(&self, now: DateTime<Utc>) -> (u64, u64, u64) {
        let indexes = lock(&self.indexes);
        let (entries, weight, pinned) =
            indexes.values().fold((0, 0, 0), |(entries, weight, pinned), index| {
                (entries + index.len() as u64, weight + index.weight(), pinned + index.pinned(now))
            });
        (entries, u64::try_from(weight).unwrap_or(u64::MAX), pinned)
    }
}
