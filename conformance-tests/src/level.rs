use std::fmt;

use crate::{Case, Need, Outcome, Report, Tally};

/// What a backend is good for, at a glance: each case counts for one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// Values, keys, expiry, bulk calls, errors and closing: what every store must do.
    Core,
    /// Namespaces and listing.
    Namespaced,
    /// Conditions, versions and what is built on them.
    Atomic,
    /// What outlives the process.
    Durable,
    /// Larder's caching layer over it.
    Cache,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Core, Self::Namespaced, Self::Atomic, Self::Durable, Self::Cache];

    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Namespaced => "namespaced",
            Self::Atomic => "atomic",
            Self::Durable => "durable",
            Self::Cache => "cache",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Case {
    /// The level for which it counts.
    pub fn level(&self) -> Level {
        let needs = |need| self.needs.contains(&need);
        if self.tries_the_cache() {
            Level::Cache
        } else if needs(Need::Reopen) || needs(Need::Durable) {
            Level::Durable
        } else if needs(Need::Conditions) {
            Level::Atomic
        } else if needs(Need::Namespaces) || needs(Need::List) || needs(Need::OrderedList) {
            Level::Namespaced
        } else {
            Level::Core
        }
    }
}

impl Case {
    /// Tells whether its rules are those of the caching layer.
    fn tries_the_cache(&self) -> bool {
        self.rules.iter().all(|rule| rule.starts_with(['V', 'F', 'P', 'Z', 'L']))
    }
}

impl Report {
    /// How the cases of each level fared.
    pub fn levels(&self) -> Vec<(Level, Tally)> {
        let tally = |level| {
            let mut tally = Tally::default();
            let cases = self.cases().iter().filter(|report| report.case.level() == level);
            cases.for_each(|report| tally.count(&report.outcome));
            tally
        };
        Level::ALL.into_iter().map(|level| (level, tally(level))).collect()
    }

    /// Tells whether the backend keeps every promise of a level, and has any of it at all.
    pub fn reaches(&self, level: Level) -> bool {
        let of_level = || self.cases().iter().filter(|report| report.case.level() == level);
        of_level().any(|report| matches!(report.outcome, Outcome::Passed))
            && !of_level().any(|report| matches!(report.outcome, Outcome::Failed(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    #[test]
    fn every_level_has_cases() {
        for level in Level::ALL.into_iter().filter(|level| *level != Level::Cache) {
            let count = cases().iter().filter(|case| case.level() == level).count();
            assert!(count >= 7, "{level} has {count}");
        }
        #[cfg(feature = "cache")]
        assert!(crate::cache_cases().iter().all(|case| case.level() == Level::Cache));
    }
}
