use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{Codec, Expiry, Lifecycle, MessagePack, Namespace, NamespacedStore};
use tokio::sync::watch;

use crate::builder::{CacheBuilder, Config, Space, default_tag};
use crate::circuit::Circuit;
use crate::distributed::{Coordination, Places};
use crate::handle::Source;
use crate::metrics::{CacheStats, Counters};
use crate::policy::{Policies, Policy};
use crate::route::Route;
use crate::slot::{Range, Table};
use crate::watch::Watch;
use crate::{Cache, CacheError, CacheResult, CacheStoreHandle};

/// One store with everything that is shared between the caches over it: flights, pending values,
/// locks and policies.
///
/// Clones are handles to the same space. Typed views come from [`cache`](Self::cache); two of them
/// over one space share their keys, so that a write through either overtakes a load through the
/// other (`F2`). Two *spaces* over one store know nothing of each other: make one, and clone it.
///
/// ```
/// use std::sync::Arc;
/// use larder_cache::CacheSpace;
/// use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder_cache::CacheError> {
/// let space = CacheSpace::new(Arc::new(MemoryStore::new()));
/// let names = space.cache::<String>();
/// let squares = space.cache::<u64>();
/// names.set("anna", &"Anna".to_owned()).await?;
/// assert_eq!(squares.get_or_set_with("12", async |_| 144_u64).await?, 144);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CacheSpace(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: u64,
    pub(crate) config: Config,
    pub(crate) source: Source,
    pub(crate) opened: RwLock<Option<Arc<dyn NamespacedStore>>>,
    /// Counts the times the store was opened, so that handles know theirs is out of date.
    pub(crate) generation: AtomicU64,
    /// Held by whoever opens or closes the space.
    pub(crate) reopening: Arc<tokio::sync::Mutex<()>>,
    pub(crate) lifecycle: Lifecycle,
    /// Counts the closings, each of which takes all locks away.
    pub(crate) shut: watch::Sender<u64>,
    pub(crate) table: Arc<Table>,
    pub(crate) watch: Watch,
    pub(crate) circuit: Circuit,
    pub(crate) counters: Counters,
    pub(crate) policies: Policies,
    /// In a distributed space.
    pub(crate) coordination: Option<Arc<Coordination>>,
    /// The policy's index is not that of the store just opened.
    pub(crate) needs_index: AtomicBool,
}

static NEXT_SPACE: AtomicU64 = AtomicU64::new(1);

/// The names of the namespaces below the store's handle that belong to a space.
pub(crate) const ROOTS: [&str; 3] = ["g", "s", "u"];

impl CacheSpace {
    /// A space with the settings that a [`builder`](Self::builder) begins with.
    ///
    /// Over a store that the cache is to open itself, [`connect`](Self::connect) before use.
    pub fn new(store: impl Into<CacheStoreHandle>) -> Self {
        Self::with_config(store.into(), Config::default())
    }

    /// Sets up a space.
    pub fn builder(store: impl Into<CacheStoreHandle>) -> CacheBuilder<Space> {
        CacheBuilder::space(store.into())
    }

    pub(crate) fn with_config(store: CacheStoreHandle, config: Config) -> Self {
        let opened = match &store.0 {
            Source::Borrowed(Ok(store)) => Some(Arc::clone(store)),
            _ => None,
        };
        let policies = Policies::new(config.policy);
        let circuit = Circuit::new(config.circuit.0, config.circuit.1);
        let coordination = config.distributed.map(|it| Arc::new(Coordination::new(it)));
        Self(Arc::new(Inner {
            id: NEXT_SPACE.fetch_add(1, SeqCst),
            config,
            source: store.0,
            opened: RwLock::new(opened),
            generation: AtomicU64::new(0),
            reopening: Arc::default(),
            lifecycle: Lifecycle::new(),
            shut: watch::Sender::new(0),
            table: Table::new(),
            watch: Watch::default(),
            circuit,
            counters: Counters::default(),
            policies,
            coordination,
            needs_index: AtomicBool::new(true),
        }))
    }

    /// A view whose values are of type `V`, as MessagePack, in the global scope.
    #[must_use]
    pub fn cache<V: 'static>(&self) -> Cache<V>
    where
        MessagePack: Codec<V>,
    {
        Cache::new(self.clone(), Arc::new(MessagePack), default_tag::<V>())
    }

    /// A view whose values of type `V` go through another codec.
    ///
    /// The codec's type belongs to the type tag: entries written through another are misses.
    #[must_use]
    pub fn cache_with_codec<V: 'static, C: Codec<V> + 'static>(&self, codec: C) -> Cache<V> {
        let names = [std::any::type_name::<V>(), std::any::type_name::<C>()];
        Cache::new(self.clone(), Arc::new(codec), crate::envelope::type_tag(names))
    }

    /// Removes every entry of every scope: see [`Cache::clear`].
    ///
    /// # Errors
    /// The store's; `Unsupported` over a flat store that cannot list.
    pub async fn clear(&self, include_pending: bool) -> CacheResult<()> {
        for root in ROOTS {
            let scope = Namespace::from_segments([root])?;
            let route = self.0.route(scope.clone())?;
            let range = Range { scope, prefix: None };
            self.0.remove_range(&route, range, include_pending).await?;
        }
        Ok(())
    }

    /// What the space has done so far, and what it holds.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let policies = &self.0.policies;
        let (entries, weight, pinned) = policies.totals(self.0.now());
        let counted = |count| policies.is_bounded().then_some(count);
        CacheStats {
            entries: counted(entries),
            weight: counted(weight),
            pinned,
            active_keys: self.0.table.len() as u64,
            ..self.0.counters.snapshot()
        }
    }
}

impl Inner {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.config.clock.now()
    }

    /// The expiry of a value that is set without saying so.
    pub(crate) fn default_expiry(&self) -> Expiry {
        match self.policies.settings.policy {
            Policy::Ttl { ttl } => Expiry::After(ttl),
            _ => self.config.default_expiry,
        }
    }

    /// How long the store keeps an entry whose life is over.
    pub(crate) fn retention(&self) -> Duration {
        self.config.retain.max(self.config.grace)
    }

    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// The store's handle to a scope.
    pub(crate) fn route(&self, scope: Namespace) -> CacheResult<Arc<Route>> {
        let (root, generation) = self.root()?;
        let path: Vec<&str> = scope.segments().collect();
        let store = root.with_path(&path)?;
        Ok(Route::new(scope, store, generation))
    }

    /// The store's handles to what processes agree on.
    pub(crate) fn places(&self, coordination: &Coordination) -> CacheResult<Arc<Places>> {
        let (root, generation) = self.root()?;
        coordination.places(generation, &root)
    }

    fn root(&self) -> CacheResult<(Arc<dyn NamespacedStore>, u64)> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation();
        match (&*opened, &self.source) {
            (Some(root), _) => Ok((Arc::clone(root), generation)),
            (None, Source::Borrowed(Err(error))) => Err(error.clone().into()),
            (None, _) => Err(CacheError::closed()),
        }
    }

    #[inline]
    pub(crate) fn check_open(&self) -> CacheResult<()> {
        Ok(self.lifecycle.check()?)
    }
}

impl fmt::Debug for CacheSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSpace")
            .field("id", &self.0.id)
            .field("table", &self.0.table)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("id", &self.id).finish_non_exhaustive()
    }
}
