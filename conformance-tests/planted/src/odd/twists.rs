use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{Capabilities, Condition, Deadline, Expiry, Resolved, Version};

use crate::shelf::{Call, Honest, Record, Scanned, Twist, everything};

/// A shelf that declares less.
macro_rules! declares {
    ($($(#[$doc:meta])* $name:ident |$everything:ident| $less:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl Twist for $name {
                fn capabilities(&self) -> Capabilities {
                    let $everything = everything();
                    $less
                }
            }
        )+
    };
}

declares! {
    NoListing |all| all.with_list(false).with_ordered_list(false);
    NoConditions |all| all.with_conditions(false);
    NoRenewal |all| all.with_renew(false);
    SmallLimits |all| all.with_max_key_len(200).with_max_value_len(5_000);
    FiveMethods |all| Capabilities::new().with_durability(all.durability);
}

/// What has expired goes when it is looked at, and not otherwise.
#[derive(Debug)]
pub(crate) struct LazyPurging;

impl Twist for LazyPurging {
    fn capabilities(&self) -> Capabilities {
        everything().with_purge(false)
    }

    fn tidies(&self) -> bool {
        true
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Every deadline is at a whole second.
#[derive(Debug)]
pub(crate) struct WholeSecondsOnly;

impl WholeSecondsOnly {
    fn round(resolved: Resolved) -> Resolved {
        match resolved {
            Resolved::At(deadline) => {
                let seconds = deadline.as_micros().div_euclid(1_000_000);
                let rest = deadline.as_micros().rem_euclid(1_000_000);
                Resolved::At(Deadline::from_micros((seconds + i64::from(rest > 0)) * 1_000_000))
            }
            other => other,
        }
    }
}

impl Twist for WholeSecondsOnly {
    fn capabilities(&self) -> Capabilities {
        everything().with_expiry_granularity(SECOND)
    }

    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        Self::round(self.capabilities().round_expiry(expiry).resolve(now))
    }

    fn renewed(
        &self,
        old: Option<Deadline>,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Option<Resolved> {
        old.map(|_| self.resolve(Expiry::After(duration), now))
    }
}

/// A server that removes expired keys by itself, up to one granule late.
#[derive(Debug)]
pub(crate) struct LagsAGranule;

impl LagsAGranule {
    const GRANULE: Duration = Duration::from_millis(4);
}

impl Twist for LagsAGranule {
    fn capabilities(&self) -> Capabilities {
        everything().with_native_expiry(true).with_expiry_granularity(Self::GRANULE)
    }

    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, _: Call) -> bool {
        let late = TimeDelta::from_std(Self::GRANULE).unwrap_or_default() / 2;
        deadline.is_past(now - late)
    }

    fn left(&self, deadline: Option<Deadline>, now: DateTime<Utc>) -> larder_core::ExpiresIn {
        match larder_core::ExpiresIn::until(deadline, now) {
            // It is live still.
            larder_core::ExpiresIn::Missing => larder_core::ExpiresIn::In(Duration::from_micros(1)),
            other => other,
        }
    }

    fn purged(&self, _: u64, _: u64) -> u64 {
        0
    }
}

/// Each set makes a version that there was never before.
#[derive(Debug)]
pub(crate) struct NumberedVersions;

impl Twist for NumberedVersions {
    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        match condition {
            Condition::Matches(version) => live.is_some_and(|r| self.version(r) == *version),
            other => Honest.holds(other, live),
        }
    }

    fn version(&self, record: &Record) -> Version {
        Version::new(record.stamp.to_be_bytes().to_vec())
    }
}

fn scattered(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Keys come in the order of a hash, and some come on two pages.
#[derive(Debug)]
pub(crate) struct UnorderedAndRepeating;

impl Twist for UnorderedAndRepeating {
    fn capabilities(&self) -> Capabilities {
        everything().with_ordered_list(false)
    }

    fn sort(&self, scanned: &mut [Scanned]) {
        scanned.sort_by_key(|one| (scattered(&one.name), one.name.clone()));
    }

    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let place = |name: &str| (scattered(name), name.to_owned());
        let from = after
            .map_or(0, |after| scanned.partition_point(|one| place(&one.name) <= place(after)));
        let (mut keys, mut next) = Honest.page(&scanned[from..], None, limit);
        // The last key of a long page comes again, after the others of the next one.
        if let (Some(after), true) = (after, keys.len() > 2 && keys.len() < limit)
            && scanned.iter().any(|one| one.live && one.name == *after)
        {
            next = next.or_else(|| keys.last().cloned());
            keys.push(after.to_owned());
        }
        (keys, next)
    }
}

/// A page has one key, and every second page has none.
#[derive(Debug)]
pub(crate) struct TinyPages;

impl Twist for TinyPages {
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        _: usize,
    ) -> (Vec<String>, Option<String>) {
        // A position is a key, and before it whether that page is to be empty.
        if let Some(after) = after.and_then(|after| after.strip_prefix('-')) {
            return (Vec::new(), Some(format!("+{after}")));
        }
        let after = after.and_then(|after| after.strip_prefix('+'));
        let (keys, next) = Honest.page(scanned, after, 1);
        (keys, next.map(|next| format!("-{next}")))
    }
}
