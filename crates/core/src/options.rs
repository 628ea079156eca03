use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{Expiry, Result, Version};

/// What must be true of a key for a set or deletion to apply (`C1`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Condition {
    /// Nothing: the change always applies.
    #[default]
    Any,
    /// The key is missing or expired.
    Absent,
    /// The key is live.
    Present,
    /// The key is live and its value still has this version.
    Matches(Version),
}

impl Condition {
    /// Tells whether the condition holds for a key with this live value, in a backend whose versions
    /// are the values themselves.
    ///
    /// ```
    /// use larder_core::{Condition, Version};
    /// assert!(Condition::Absent.holds(None));
    /// assert!(Condition::Matches(Version::new("a")).holds(Some(b"a")));
    /// assert!(!Condition::Matches(Version::new("a")).holds(None));
    /// ```
    #[must_use]
    pub fn holds(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => value.is_none(),
            Self::Present => value.is_some(),
            Self::Matches(version) => value.is_some_and(|value| version.as_bytes() == value),
        }
    }
}

/// How [`Store::get_opts`](crate::Store::get_opts) reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// Renews a live key that has an expiry: its deadline becomes now plus this (`E4`).
    pub renew_for: Option<Duration>,
    /// Asks for the remaining life; unasked, a backend may leave it out.
    pub expires_in: bool,
    /// Asks for the version.
    pub version: bool,
}

impl GetOptions {
    /// Sets [`renew_for`](Self::renew_for).
    #[must_use]
    pub fn with_renew_for(mut self, renew_for: Duration) -> Self {
        self.renew_for = Some(renew_for);
        self
    }

    /// Sets [`expires_in`](Self::expires_in).
    #[must_use]
    pub fn with_expires_in(mut self, expires_in: bool) -> Self {
        self.expires_in = expires_in;
        self
    }

    /// Sets [`version`](Self::version).
    #[must_use]
    pub fn with_version(mut self, version: bool) -> Self {
        self.version = version;
        self
    }
}

/// How [`Store::set_opts`](crate::Store::set_opts) writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SetOptions {
    /// The expiry that replaces the old one; `Never` by default (`S3`).
    pub expiry: Expiry,
    /// What must be true for the set to apply.
    pub condition: Condition,
}

impl SetOptions {
    /// Sets [`expiry`](Self::expiry).
    #[must_use]
    pub fn with_expiry(mut self, expiry: impl Into<Expiry>) -> Self {
        self.expiry = expiry.into();
        self
    }

    /// Sets [`condition`](Self::condition).
    #[must_use]
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }
}

/// How [`Store::delete_opts`](crate::Store::delete_opts) deletes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// What must be true for the deletion to apply; `Absent` never deletes anything.
    pub condition: Condition,
}

impl DeleteOptions {
    /// Sets [`condition`](Self::condition).
    #[must_use]
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }
}

/// Whether a set applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetOutcome {
    /// The value and its expiry are stored (or, with a deadline in the past, the key is gone).
    Applied,
    /// The condition did not hold, and nothing was changed.
    ConditionNotMet,
}

impl SetOutcome {
    /// `Applied` for true, `ConditionNotMet` for false.
    #[must_use]
    pub const fn from_applied(applied: bool) -> Self {
        if applied { Self::Applied } else { Self::ConditionNotMet }
    }

    /// Tells whether the set applied.
    #[must_use]
    pub const fn is_applied(self) -> bool {
        matches!(self, Self::Applied)
    }
}

/// One write of [`Store::set_many`](crate::Store::set_many).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetItem<'a> {
    /// The key.
    pub key: &'a str,
    /// The value.
    pub value: Bytes,
    /// Expiry and condition.
    pub options: SetOptions,
}

impl<'a> SetItem<'a> {
    /// A write without expiry or condition.
    pub fn new(key: &'a str, value: impl crate::IntoValue) -> Self {
        Self { key, value: value.into_value(), options: SetOptions::default() }
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(mut self, options: SetOptions) -> Self {
        self.options = options;
        self
    }
}

impl fmt::Debug for SetItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetItem")
            .field("key", &self.key)
            .field("value_len", &self.value.len())
            .field("options", &self.options)
            .finish()
    }
}

/// What [`Store::delete_many`](crate::Store::delete_many) did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DeleteManyOutcome {
    /// How many keys existed and were deleted; a key named twice counts once.
    pub existed: u64,
    /// For each key, in the order given, whether this deletion found it live.
    pub outcomes: Vec<Result<bool>>,
}

impl FromIterator<Result<bool>> for DeleteManyOutcome {
    fn from_iter<I: IntoIterator<Item = Result<bool>>>(outcomes: I) -> Self {
        let outcomes: Vec<_> = outcomes.into_iter().collect();
        let existed = outcomes.iter().filter(|outcome| matches!(outcome, Ok(true))).count() as u64;
        Self { existed, outcomes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_deletion_carries_its_condition() {
        let condition = Condition::Matches(Version::new("v"));
        let options = DeleteOptions::default().with_condition(condition.clone());
        assert_eq!(options.condition, condition);
    }

    #[test]
    fn of_several_deletions_those_that_found_a_live_key_count() {
        let outcomes = [Ok(true), Ok(false), Err(ErrorKind::Timeout.into()), Ok(true)];
        let outcome: DeleteManyOutcome = outcomes.into_iter().collect();
        assert_eq!(outcome.existed, 2);
        let kinds: Vec<_> =
            outcome.outcomes.iter().map(|one| one.as_ref().map_err(crate::Error::kind)).collect();
        assert_eq!(kinds, [Ok(&true), Ok(&false), Err(ErrorKind::Timeout), Ok(&true)]);
    }
}
