use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{Clock, Codec, Expiry, MessagePack, SystemClock};

use crate::distributed::Distributed;
use crate::envelope::type_tag;
use crate::handle::CacheStoreHandle;
use crate::policy::{Policy, Settings, Writers};
use crate::{Cache, CacheError, CacheResult, CacheSpace};

/// How long a value lives, and an expired one is retained, unless something else is said: 300 s.
pub const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// What a load does when the store fails (`F8`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StoreFailure {
    /// The loader runs, and its value is given, stored or not.
    #[default]
    LoadDirectly,
    /// The caller gets the store's error.
    ServeError,
}

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) default_expiry: Expiry,
    pub(crate) retain: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) grace: Duration,
    pub(crate) soft_timeout: Duration,
    pub(crate) hard_timeout: Option<Duration>,
    /// By how much of itself a time to live may be shorter.
    pub(crate) jitter: f64,
    pub(crate) max_load_time: Duration,
    pub(crate) max_pending_time: Duration,
    pub(crate) cancel_abandoned: bool,
    pub(crate) when_store_fails: StoreFailure,
    pub(crate) store_budget: Duration,
    pub(crate) circuit: (u32, Duration),
    pub(crate) enter_reconnect: Option<bool>,
    pub(crate) exit_close: Option<bool>,
    pub(crate) policy: Settings,
    pub(crate) distributed: Option<Distributed>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            default_expiry: Expiry::After(DEFAULT_TTL),
            retain: DEFAULT_TTL,
            negative_ttl: Duration::ZERO,
            grace: Duration::ZERO,
            soft_timeout: Duration::ZERO,
            hard_timeout: None,
            jitter: 0.0,
            max_load_time: Duration::from_secs(60),
            max_pending_time: DEFAULT_TTL,
            cancel_abandoned: false,
            when_store_fails: StoreFailure::default(),
            store_budget: Duration::from_secs(5),
            circuit: (5, Duration::from_secs(5)),
            enter_reconnect: None,
            exit_close: None,
            policy: Settings::default(),
            distributed: None,
        }
    }
}

impl Config {
    fn check(&self) -> CacheResult<()> {
        self.policy.policy.check()?;
        if let Some(distributed) = self.distributed {
            distributed.check()?;
            if self.policy.writers == Writers::Sole {
                return Err(CacheError::config(
                    "a store of several processes has no sole owner: choose one of \
                     `distributed` and `sole_owner`",
                ));
            }
        }
        match self.default_expiry {
            Expiry::Never => {}
            Expiry::After(ttl) if !ttl.is_zero() => {}
            _ => {
                return Err(CacheError::config(
                    "the default time to live is a duration over zero, or `Never`",
                ));
            }
        }
        // Not a number is in no range.
        if !(0.0..1.0).contains(&self.jitter) {
            return Err(CacheError::config("`ttl_jitter` is a fraction, from 0 to less than 1"));
        }
        for (duration, message) in [
            (self.max_load_time, "a load takes some time: `max_load_time` is over zero"),
            (
                self.max_pending_time,
                "a pending value takes some time: `max_pending_time` is over zero",
            ),
            (self.store_budget, "a store takes some time: `store_budget` is over zero"),
        ] {
            if duration.is_zero() {
                return Err(CacheError::config(message));
            }
        }
        Ok(())
    }
}

/// Sets up a [`CacheSpace`] or a single [`Cache`].
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use larder_cache::Cache;
/// use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder_cache::CacheError> {
/// let store = Arc::new(MemoryStore::new());
/// let cache = Cache::<Vec<u32>>::builder(store)
///     .default_ttl(Duration::from_secs(60))
///     .max_load_time(Duration::from_secs(10))
///     .build()
///     .await?;
/// cache.set("primes", &vec![2, 3, 5]).await?;
/// assert_eq!(cache.get_value("primes").await?, Some(vec![2, 3, 5]));
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is set up until it is built"]
pub struct CacheBuilder<K> {
    store: CacheStoreHandle,
    config: Config,
    kind: K,
}

/// Marks the builder of a [`CacheSpace`].
#[derive(Debug)]
pub struct Space(());

/// Marks the builder of a [`Cache`] of values of type `V`.
pub struct One<V> {
    codec: Option<Arc<dyn Codec<V>>>,
    tag: Option<u64>,
    types: PhantomData<fn() -> V>,
}

impl<V> fmt::Debug for One<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("One")
    }
}

impl CacheBuilder<Space> {
    pub(crate) fn space(store: CacheStoreHandle) -> Self {
        Self { store, config: Config::default(), kind: Space(()) }
    }

    /// Opens the store, where the cache is to open it, and makes the space.
    ///
    /// # Errors
    /// `InvalidConfig`; what the store says to being opened.
    pub async fn build(self) -> CacheResult<CacheSpace> {
        self.config.check()?;
        let space = CacheSpace::with_config(self.store, self.config);
        space.connect().await?;
        Ok(space)
    }
}

impl<V: 'static> CacheBuilder<One<V>> {
    pub(crate) fn one(store: CacheStoreHandle) -> Self {
        let kind = One { codec: None, tag: None, types: PhantomData };
        Self { store, config: Config::default(), kind }
    }

    /// The codec of the values; MessagePack unless one is given.
    pub fn codec<C: Codec<V> + 'static>(mut self, codec: C) -> Self {
        self.kind.tag.get_or_insert(type_tag([type_name::<V>(), type_name::<C>()]));
        self.kind.codec = Some(Arc::new(codec));
        self
    }

    /// The name of the stored form of `V`, in place of the name that the compiler has for the type
    /// and its codec: change it when old entries are to become misses, keep it when a type moves.
    pub fn type_tag(mut self, name: &str) -> Self {
        self.kind.tag = Some(type_tag([name, ""]));
        self
    }

    /// Opens the store, where the cache is to open it, and makes the cache.
    ///
    /// # Errors
    /// `InvalidConfig`; what the store says to being opened.
    pub async fn build(self) -> CacheResult<Cache<V>>
    where
        MessagePack: Codec<V>,
    {
        self.config.check()?;
        let space = CacheSpace::with_config(self.store, self.config);
        space.connect().await?;
        let tag = self.kind.tag.unwrap_or_else(|| default_tag::<V>());
        Ok(Cache::new(space, self.kind.codec.unwrap_or_else(|| Arc::new(MessagePack)), tag))
    }
}

pub(crate) fn default_tag<V>() -> u64 {
    type_tag([type_name::<V>(), type_name::<MessagePack>()])
}

impl<K> CacheBuilder<K> {
    /// The clock that expiry, ages and the circuit go by; give the store the same. Deadlines of
    /// waiters and loads go by tokio's time.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.config.clock = Arc::new(clock);
        self
    }

    /// How long a value lives that is set without saying so; 300 s by default (`V3`).
    pub fn default_ttl(mut self, expiry: impl Into<Expiry>) -> Self {
        self.config.default_expiry = expiry.into();
        self
    }

    /// How long an expired value is kept for [`update_expiry`](Cache::update_expiry) to revive it;
    /// 300 s by default (`V4`).
    pub fn retain_expired_for(mut self, duration: Duration) -> Self {
        self.config.retain = duration;
        self
    }

    /// For how long after its expiry the loading calls serve a value while it is loaded anew; zero,
    /// the default, means not at all (`F7`).
    ///
    /// The stale value is served at once, to everybody, and one load refreshes it in the background:
    /// one in all processes of a [`distributed`](Self::distributed) space. When that load fails, the
    /// stale value goes on being served until the grace ends. Plain reads never see it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use larder_cache::Cache;
    /// use larder_core::ManualClock;
    /// use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder_cache::CacheError> {
    /// let clock = ManualClock::new();
    /// let store = MemoryStore::builder().clock(clock.clone()).build()?;
    /// let cache = Cache::<u32>::builder(std::sync::Arc::new(store))
    ///     .clock(clock.clone())
    ///     .default_ttl(Duration::from_secs(60))
    ///     .grace(Duration::from_secs(600))
    ///     .build()
    ///     .await?;
    /// cache.set("rate", &1).await?;
    /// clock.advance(Duration::from_secs(61));
    /// let load = async |_| std::future::pending::<u32>().await;
    /// assert_eq!(cache.get_or_set_with("rate", load).await?, 1); // without waiting
    /// # Ok(())
    /// # }
    /// ```
    pub fn grace(mut self, duration: Duration) -> Self {
        self.config.grace = duration;
        self
    }

    /// How long a caller waits for the fresh value before the stale one is served, within the
    /// [`grace`](Self::grace); zero, the default, means that it does not wait (`F7`).
    pub fn soft_timeout(mut self, duration: Duration) -> Self {
        self.config.soft_timeout = duration;
        self
    }

    /// How long a caller waits for a load or a pending value before it gets `TimedOut`, unless its
    /// cache says otherwise with [`wait_at_most`](Cache::wait_at_most); the load goes on (`F7`).
    /// Without limit by default.
    pub fn hard_timeout(mut self, duration: Duration) -> Self {
        self.config.hard_timeout = Some(duration);
        self
    }

    /// By how much of itself, at most, a time to live is shortened by chance, so that values made at
    /// the same time do not expire at the same time; 0, the default, means not at all (`F7`).
    ///
    /// It applies to loaded values and to default times to live, not to a `ttl` given to
    /// [`set`](Cache::set).
    pub fn ttl_jitter(mut self, fraction: f64) -> Self {
        self.config.jitter = fraction;
        self
    }

    /// How long a loader's error is told to later callers; zero, the default, means not at all (`F3`).
    ///
    /// In a [`distributed`](Self::distributed) space it is told to other processes, too, which do not
    /// know what the error was: they get `Load` with a failure of no type that they know.
    pub fn negative_ttl(mut self, duration: Duration) -> Self {
        self.config.negative_ttl = duration;
        self
    }

    /// After how long a load is ended, whoever waits for it; 60 s by default (`F4`).
    pub fn max_load_time(mut self, duration: Duration) -> Self {
        self.config.max_load_time = duration;
        self
    }

    /// After how long a detached pending value is given up; 300 s by default (`F5`).
    pub fn max_pending_time(mut self, duration: Duration) -> Self {
        self.config.max_pending_time = duration;
        self
    }

    /// Whether a load is cancelled when the last of its callers has gone, by its own deadline
    /// included; false by default, when it runs to its end and its value is stored (`F1`).
    pub fn cancel_abandoned_loads(mut self, cancel: bool) -> Self {
        self.config.cancel_abandoned = cancel;
        self
    }

    /// What a load does when the store fails; `LoadDirectly` by default (`F8`).
    pub fn when_store_fails(mut self, failure: StoreFailure) -> Self {
        self.config.when_store_fails = failure;
        self
    }

    /// How long a read waits for the store, and a loaded value for being stored; 5 s by default.
    /// Where the read has taken it all, nobody waits for the storing (`F8`).
    pub fn store_budget(mut self, duration: Duration) -> Self {
        self.config.store_budget = duration;
        self
    }

    /// After how many failures in a row the store is left alone, and for how long; 5 and 5 s by
    /// default, and 0 failures means never (`F8`).
    pub fn circuit(mut self, failures: u32, open_for: Duration) -> Self {
        self.config.circuit = (failures, open_for);
        self
    }

    /// Works together with the other processes that use the store in the same way: loads, locks and
    /// what overtakes a load reach over all of them (`F6`, `L2`).
    ///
    /// The store has to be one that several processes share, with conditions, such as Redis or a
    /// folder. Everything that `docs/design/distributed-cache.md` promises is promised among spaces
    /// that are built with this, over the same namespace of the same store.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use larder_cache::{Cache, Distributed};
    /// use larder_file::FileStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let store = Arc::new(FileStore::builder(folder.path()).build().await?);
    /// let cache = Cache::<u32>::builder(store)
    ///     .distributed(Distributed::new().lease(Duration::from_secs(5)))
    ///     .build()
    ///     .await?;
    /// let guard = cache.lock("report").await?;
    /// assert!(guard.fence().is_some());
    /// guard.release().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn distributed(mut self, settings: Distributed) -> Self {
        self.config.distributed = Some(settings);
        self
    }

    /// Which entries stay; all of them by default (`P1`).
    ///
    /// A policy with a capacity counts every entry below the store's handle, in all scopes
    /// together, those included that are found when the store is opened.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.config.policy.policy = policy;
        self
    }

    /// As [`policy`](Self::policy), with one instance for the global scope and for each session and
    /// user: each has the capacity for itself.
    pub fn policy_per_scope(mut self, policy: Policy) -> Self {
        self.config.policy.per_scope = true;
        self.policy(policy)
    }

    /// Lets a policy with a capacity bound what this process writes, over a store that others write
    /// to as well, or that cannot list what it holds (`P1`).
    pub fn per_process(mut self) -> Self {
        self.config.policy.writers = Writers::Others;
        self
    }

    /// Says that no other process writes to the store, although it could be shared, so that a policy
    /// with a capacity counts what it holds already (`P1`).
    pub fn sole_owner(mut self) -> Self {
        self.config.policy.writers = Writers::Sole;
        self
    }

    /// Weighs each entry by the length of its encoded value, unless it is set with a weight of its
    /// own; otherwise each weighs 1.
    pub fn weigh_by_size(mut self) -> Self {
        self.config.policy.by_size = true;
        self
    }

    /// How many entries may be pinned at a time; by default as many as the policy's capacity, or
    /// 10,000 where it has none (`P2`).
    pub fn pin_budget(mut self, entries: u64) -> Self {
        self.config.policy.pin_budget = Some(entries);
        self
    }

    /// After how long a pin ends that nobody has ended; a day by default (`P2`).
    pub fn pin_max_age(mut self, duration: Duration) -> Self {
        self.config.policy.pin_max_age = duration;
        self
    }

    /// Whether [`session`](CacheSpace::session) reconnects when it begins;
    /// [`CacheSpace::ENTER_RECONNECT`] unless set (`V5`).
    pub fn reconnect_on_enter(mut self, reconnect: bool) -> Self {
        self.config.enter_reconnect = Some(reconnect);
        self
    }

    /// Whether [`session`](CacheSpace::session) closes when it ends; [`CacheSpace::EXIT_CLOSE`]
    /// unless set (`V5`).
    pub fn close_on_exit(mut self, close: bool) -> Self {
        self.config.exit_close = Some(close);
        self
    }
}

impl<K: fmt::Debug> fmt::Debug for CacheBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("store", &self.store)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
