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
}

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
