use std::time::Duration;

use crate::{
    Condition, DeleteOptions, Error, ErrorKind, Expiry, GetOptions, MAX_KEY_LEN, Result, SetOptions,
};

/// What an `Ok` write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: the value lives as long as the process (or server) that holds it.
    Volatile,
    /// The death of the writing process at any moment.
    ProcessCrash,
    /// The loss of power at any moment, as far as the disk keeps its word on a sync.
    PowerLoss,
}

/// What a store can do, as it is configured; fixed once the store is built.
///
/// Each flag is true in both directions: what is declared passes its conformance cases, what is not
/// answers [`ErrorKind::Unsupported`].
///
/// ```
/// use larder_core::{Capabilities, Durability};
/// let capabilities = Capabilities::new().with_list(true).with_durability(Durability::PowerLoss);
/// assert!(capabilities.list && !capabilities.renew);
/// assert_eq!(capabilities.max_key_len, 4096);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "independent flags, each with a name of its own")]
pub struct Capabilities {
    /// `list_page`, `list_child_namespaces` and `delete_prefix` work.
    pub list: bool,
    /// Pages come in byte order of the keys.
    pub ordered_list: bool,
    /// Conditions other than `Any` work on sets and deletions.
    pub conditions: bool,
    /// `renew_for` on a get and `update_expiry` work.
    pub renew: bool,
    /// `delete_expired` works.
    pub purge: bool,
    /// The driver or server removes expired keys by itself.
    pub native_expiry: bool,
    /// Other processes can use the same data at the same time.
    pub shared: bool,
    /// What an `Ok` write survives.
    pub durability: Durability,
    /// The longest key in bytes.
    pub max_key_len: usize,
    /// The largest value in bytes; `u64::MAX` where only memory or disk limits it.
    pub max_value_len: u64,
    /// The step to which deadlines are rounded up.
    pub expiry_granularity: Duration,
    /// Whose they are, for errors.
    backend: Backend,
}

/// A backend's name, where it is known; no part of what a store can do.
#[derive(Debug, Clone, Copy, Default)]
struct Backend(Option<&'static str>);

impl PartialEq for Backend {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Backend {}

impl Capabilities {
    /// No flag set, volatile, keys up to [`MAX_KEY_LEN`], any value, deadlines of 1 µs.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            list: false,
            ordered_list: false,
            conditions: false,
            renew: false,
            purge: false,
            native_expiry: false,
            shared: false,
            durability: Durability::Volatile,
            max_key_len: MAX_KEY_LEN,
            max_value_len: u64::MAX,
            expiry_granularity: Duration::from_micros(1),
            backend: Backend(None),
        }
    }

    /// Sets [`list`](Self::list).
    #[must_use]
    pub const fn with_list(mut self, list: bool) -> Self {
        self.list = list;
        self
    }

    /// Sets [`ordered_list`](Self::ordered_list).
    #[must_use]
    pub const fn with_ordered_list(mut self, ordered_list: bool) -> Self {
        self.ordered_list = ordered_list;
        self
    }

    /// Sets [`conditions`](Self::conditions).
    #[must_use]
    pub const fn with_conditions(mut self, conditions: bool) -> Self {
        self.conditions = conditions;
        self
    }

    /// Sets [`renew`](Self::renew).
    #[must_use]
    pub const fn with_renew(mut self, renew: bool) -> Self {
        self.renew = renew;
        self
    }

    /// Sets [`purge`](Self::purge).
    #[must_use]
    pub const fn with_purge(mut self, purge: bool) -> Self {
        self.purge = purge;
        self
    }

    /// Sets [`native_expiry`](Self::native_expiry).
    #[must_use]
    pub const fn with_native_expiry(mut self, native_expiry: bool) -> Self {
        self.native_expiry = native_expiry;
        self
    }

    /// Sets [`shared`](Self::shared).
    #[must_use]
    pub const fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Sets [`durability`](Self::durability).
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets [`max_key_len`](Self::max_key_len).
    #[must_use]
    pub const fn with_max_key_len(mut self, max_key_len: usize) -> Self {
        self.max_key_len = max_key_len;
        self
    }

    /// Sets [`max_value_len`](Self::max_value_len).
    #[must_use]
    pub const fn with_max_value_len(mut self, max_value_len: u64) -> Self {
        self.max_value_len = max_value_len;
        self
    }

    /// Sets [`expiry_granularity`](Self::expiry_granularity).
    #[must_use]
    pub const fn with_expiry_granularity(mut self, expiry_granularity: Duration) -> Self {
        self.expiry_granularity = expiry_granularity;
        self
    }

    /// The same, with the name of the backend for the errors of those who check them.
    pub(crate) const fn of_backend(mut self, backend: &'static str) -> Self {
        self.backend = Backend(Some(backend));
        self
    }

    /// Refuses a call on one key that needs more than is declared, for those who call a store.
    #[inline]
    pub(crate) fn admit(
        &self,
        operation: &'static str,
        key: &str,
        options: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let admitted = self.check_key(key).and_then(|()| options(self));
        admitted.map_err(|error| self.refusal(operation, error).with_key(key))
    }

    /// Names the operation and the backend in an error.
    #[cold]
    pub(crate) fn refusal(&self, operation: &'static str, error: Error) -> Error {
        let error = error.with_operation(operation);
        match self.backend.0 {
            Some(backend) => error.with_backend(backend),
            None => error,
        }
    }

    /// Refuses a key that is longer than declared, before any I/O (`K1`).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`].
    #[inline]
    pub fn check_key(&self, key: &str) -> Result<()> {
        if key.len() <= self.max_key_len { Ok(()) } else { Err(self.key_too_long(key)) }
    }

    #[cold]
    fn key_too_long(&self, key: &str) -> Error {
        let (len, most) = (key.len(), self.max_key_len);
        Error::new(ErrorKind::InvalidKey, format!("{len} bytes, at most {most} are taken"))
            .with_key(key)
    }

    /// Refuses options of a get that need an undeclared capability.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a renewal without `renew`, and for a version without
    /// `conditions`.
    #[inline]
    pub fn check_get(&self, options: &GetOptions) -> Result<()> {
        if options.renew_for.is_some() && !self.renew {
            return Err(Error::unsupported("renew"));
        }
        if options.version && !self.conditions {
            return Err(Error::unsupported("conditions"));
        }
        Ok(())
    }

    /// Refuses a value that is too large, and options of a set that need an undeclared capability.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`]; [`ErrorKind::Unsupported`] for a condition without `conditions`.
    #[inline]
    pub fn check_set(&self, value_len: usize, options: &SetOptions) -> Result<()> {
        if value_len as u64 > self.max_value_len {
            let most = self.max_value_len;
            let text = format!("{value_len} bytes, at most {most} are taken");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        self.check_condition(&options.condition)
    }

    /// Refuses options of a deletion that need an undeclared capability.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a condition without `conditions`.
    #[inline]
    pub fn check_delete(&self, options: &DeleteOptions) -> Result<()> {
        self.check_condition(&options.condition)
    }

    #[inline]
    fn check_condition(&self, condition: &Condition) -> Result<()> {
        if self.conditions || *condition == Condition::Any {
            Ok(())
        } else {
            Err(Error::unsupported("conditions"))
        }
    }

    /// Rounds a duration up to a whole number of declared granules, saturating (`E1`).
    ///
    /// ```
    /// use std::time::Duration;
    /// use larder_core::Capabilities;
    /// let second = Capabilities::new().with_expiry_granularity(Duration::from_secs(1));
    /// assert_eq!(second.round_up(Duration::from_millis(1_001)), Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn round_up(&self, duration: Duration) -> Duration {
        let step = self.expiry_granularity.as_nanos().max(1);
        let granules = duration.as_nanos().div_ceil(step);
        let nanos = granules.saturating_mul(step);
        let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
        if seconds == u64::MAX { Duration::MAX } else { Duration::new(seconds, rest) }
    }

    /// Rounds the duration of an `Expiry::After` up; other expiries stay as they are.
    #[must_use]
    pub fn round_expiry(&self, expiry: Expiry) -> Expiry {
        match expiry {
            Expiry::After(duration) => Expiry::After(self.round_up(duration)),
            other => other,
        }
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    fn refused<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn a_get_may_ask_only_for_what_is_declared() {
        let nothing = Capabilities::new();
        let renewal = GetOptions::default().with_renew_for(Duration::from_secs(1));
        let version = GetOptions::default().with_version(true);
        assert!(nothing.check_get(&GetOptions::default().with_expires_in(true)).is_ok());
        assert_eq!(refused(nothing.check_get(&renewal)), ErrorKind::Unsupported);
        assert_eq!(refused(nothing.check_get(&version)), ErrorKind::Unsupported);
        let renews = nothing.with_renew(true);
        assert!(renews.check_get(&renewal).is_ok());
        assert_eq!(refused(renews.check_get(&version)), ErrorKind::Unsupported);
        let conditional = nothing.with_conditions(true);
        assert!(conditional.check_get(&version).is_ok());
        assert_eq!(refused(conditional.check_get(&renewal)), ErrorKind::Unsupported);
    }

    #[test]
    fn a_value_may_be_as_large_as_declared_and_no_larger() {
        let small = Capabilities::new().with_max_value_len(10);
        for len in [0, 9, 10] {
            assert!(small.check_set(len, &SetOptions::default()).is_ok(), "{len}");
        }
        for len in [11, usize::MAX] {
            let error = small.check_set(len, &SetOptions::default());
            assert_eq!(refused(error), ErrorKind::TooLarge, "{len}");
        }
        assert!(Capabilities::new().check_set(usize::MAX, &SetOptions::default()).is_ok());
    }

    #[test]
    fn a_change_may_have_a_condition_only_where_they_are_declared() {
        let nothing = Capabilities::new();
        let conditional = nothing.with_conditions(true);
        let matches = Condition::Matches(Version::new("v"));
        for condition in [Condition::Absent, Condition::Present, matches] {
            let set = SetOptions::default().with_condition(condition.clone());
            let delete = DeleteOptions::default().with_condition(condition);
            assert_eq!(refused(nothing.check_set(0, &set)), ErrorKind::Unsupported);
            assert_eq!(refused(nothing.check_delete(&delete)), ErrorKind::Unsupported);
            assert!(conditional.check_set(0, &set).is_ok());
            assert!(conditional.check_delete(&delete).is_ok());
        }
        for capabilities in [nothing, conditional] {
            assert!(capabilities.check_set(0, &SetOptions::default()).is_ok());
            assert!(capabilities.check_delete(&DeleteOptions::default()).is_ok());
        }
    }

    #[test]
    fn durations_round_up_to_whole_granules() {
        let millis = Duration::from_millis;
        let coarse = Capabilities::new().with_expiry_granularity(millis(300));
        for (asked, given) in [(0, 0), (1, 300), (300, 300), (301, 600), (1_000, 1_200)] {
            assert_eq!(coarse.round_up(millis(asked)), millis(given), "{asked}");
        }
        assert_eq!(coarse.round_up(Duration::from_nanos(1)), millis(300));
        assert_eq!(coarse.round_up(millis(7_199_999)), millis(7_200_000));
        assert_eq!(coarse.round_up(Duration::MAX), Duration::MAX);
        let exact = Capabilities::new().with_expiry_granularity(Duration::ZERO);
        assert_eq!(exact.round_up(Duration::new(5, 7)), Duration::new(5, 7));
    }

    #[test]
    fn of_all_expiries_a_duration_alone_is_rounded() {
        let second = Capabilities::new().with_expiry_granularity(Duration::from_secs(1));
        let after = Expiry::After(Duration::from_millis(1_001));
        assert_eq!(second.round_expiry(after), Expiry::After(Duration::from_secs(2)));
        let moment = Expiry::At(chrono::DateTime::from_timestamp(1, 1).unwrap());
        for expiry in [Expiry::Never, Expiry::Keep, moment] {
            assert_eq!(second.round_expiry(expiry), expiry);
        }
    }
}
