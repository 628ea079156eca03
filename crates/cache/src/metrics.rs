use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::striped::Striped;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The live counters of a space.
        #[derive(Debug)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    $($name: Counter::new(concat!("larder_cache_", stringify!($name), "_total")),)+
                }
            }
        }

        /// What a space has done so far, and what it holds: see
        /// [`CacheSpace::stats`](crate::CacheSpace::stats).
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct CacheStats {
            /// How many entries the policy knows; `None` where none counts them.
            pub entries: Option<u64>,
            /// What these entries weigh; `None` where no policy counts them.
            pub weight: Option<u64>,
            /// How many entries are pinned.
            pub pinned: u64,
            /// How many keys something is happening to just now: writes, loads, pending values and
            /// locks.
            pub active_keys: u64,
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> CacheStats {
                CacheStats { $($name: self.$name.get(),)+ ..CacheStats::default() }
            }
        }
    };
}

counters! {
    /// Reads that found a value.
    hits,
    /// Reads that found none.
    misses,
    /// Values served past their expiry, within the grace (`F7`).
    stale_hits,
    /// Misses that were entries of another version, type or codec, or damaged (`V2`).
    undecodable,
    /// Loads that were started.
    loads,
    /// Loads that ended with an error, a panic or a time-out.
    load_failures,
    /// Loads whose value was not stored because something overtook them (`F2`).
    overtaken,
    /// Calls to the store that failed or ran over their budget.
    store_failures,
    /// How often the circuit was opened after repeated failures.
    circuit_openings,
    /// Loads that were answered without the store because it failed (`F8`).
    direct_loads,
    /// Entries evicted because the cache was full.
    evicted_by_capacity,
    /// Entries evicted because they had expired and room was needed.
    evicted_by_expiry,
    /// Entries that were refused, or came in and went at once since everything else was pinned.
    not_admitted,
    /// Pins that ended unread, at their greatest age or with the life asked for.
    pins_expired,
    /// Locks held across processes that were lost: not renewed in time, taken or deleted (`L2`).
    locks_lost,
}

impl Counters {
    #[inline]
    pub(crate) fn count_read(&self, hit: bool) {
        let counter = if hit { &self.hits } else { &self.misses };
        counter.add();
    }
}

/// A number that only grows.
#[derive(Debug)]
pub(crate) struct Counter {
    count: Striped<AtomicU64>,
    #[cfg(feature = "metrics")]
    name: &'static str,
}

impl Counter {
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables, reason = "nobody to tell it"))]
    fn new(name: &'static str) -> Self {
        Self {
            count: Striped::default(),
            #[cfg(feature = "metrics")]
            name,
        }
    }

    #[inline]
    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    #[inline]
    pub(crate) fn add_many(&self, count: u64) {
        self.count.own().fetch_add(count, Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!(self.name).increment(count);
    }

    pub(crate) fn get(&self) -> u64 {
        self.count.all().map(|part| part.load(Relaxed)).sum()
    }
}
