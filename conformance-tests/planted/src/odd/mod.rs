//! Stores that are odd and correct: no case may fail on them.

mod actor;
mod bare;
mod paced;
mod twists;

use std::sync::Arc;

use larder_conformance::{CheckOptions, Report, check_with};

use crate::stand::Stand;

pub(crate) use bare::Bare;

use actor::Actor;
use paced::{Jittery, OneAtATime, Paced, PurgesEagerly, Slow};
use twists::{
    FiveMethods, LagsAGranule, LazyPurging, NoConditions, NoListing, NoRenewal, NumberedVersions,
    SmallLimits, TinyPages, UnorderedAndRepeating, WholeSecondsOnly,
};

/// A store that is odd and correct.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Odd {
    /// Its name.
    pub name: &'static str,
    /// What is odd about it, in one sentence.
    pub oddity: &'static str,
    stand: fn() -> Stand,
}

impl Odd {
    /// Runs the suite, as far as the options say.
    pub async fn check(&self, options: CheckOptions) -> Report {
        check_with(&(self.stand)(), options).await.with_backend(self.name)
    }
}

macro_rules! odd_stores {
    ($($name:ident $base:ident($odd:expr) $([$mode:ident])? $text:literal;)+) => {
        static ODD: &[Odd] = &[$(
            Odd {
                name: stringify!($name),
                oddity: $text,
                stand: || Stand::$base(|| Arc::new($odd))$(.$mode())?,
            },
        )+];
    };
}

odd_stores! {
    slow over_memory(Paced(Slow))
        "Every call takes a while.";
    jittery over_shelf(Paced(Jittery::default()))
        "Calls pause at random, before and after they are made.";
    one_at_a_time over_shelf(Paced(OneAtATime::default()))
        "All calls go through one mutex.";
    actor over_shelf(Actor::default())
        "All calls go through a channel to one task, where dropped ones are made as well.";
    purges_eagerly over_memory(Paced(PurgesEagerly))
        "Before each call, all that has expired is removed.";
    lazy_purging shelf(LazyPurging)
        "What has expired goes when it is read, and cannot be purged.";
    whole_seconds_only shelf(WholeSecondsOnly)
        "Deadlines are at whole seconds.";
    lags_a_granule shelf(LagsAGranule) [on_its_own_clock]
        "A server with a clock of its own removes what has expired, a little late.";
    numbered_versions shelf(NumberedVersions)
        "Each set makes a new version, of the same value too.";
    unordered_and_repeating shelf(UnorderedAndRepeating)
        "Listings come in no order, and some keys twice.";
    tiny_pages shelf(TinyPages)
        "Pages have one key, whatever is asked for, and every second one has none.";
    no_listing shelf(NoListing)
        "It has namespaces, and cannot list.";
    no_conditions shelf(NoConditions)
        "It takes no conditions.";
    no_renewal shelf(NoRenewal)
        "It renews nothing.";
    small_limits shelf(SmallLimits)
        "It takes short keys and small values.";
    flat shelf(crate::shelf::Honest) [flat]
        "It has no namespaces but those of the core.";
    five_methods shelf(FiveMethods) [bare]
        "It has the five methods that are required, and the trait's defaults.";
    one_thread shelf(crate::shelf::Honest) [one_thread]
        "All runs on one thread.";
}

/// Every odd store.
pub fn odd() -> &'static [Odd] {
    ODD
}
