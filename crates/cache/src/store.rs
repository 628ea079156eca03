//! One cache per registry entry, each with its policy (P3).

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex};

use larder_core::{Codec, MessagePack, Namespace};
use tokio::sync::OnceCell;

use crate::handle::Source;
use crate::slot::lock;
use crate::store_call::Target;
use crate::{
    Cache, CacheBuilder, CacheError, CacheResult, CacheScopeStore, CacheSpace, CacheStoreHandle,
    PendingGuard, Policy, RegistryEntry, Space, StoreGet, StoreSet, cache_for_policy,
};

type Adjust = dyn Fn(CacheBuilder<Space>) -> CacheBuilder<Space> + Send + Sync;

/// A cache for each entry of a registry, all over one store (`P3`).
///
/// Each entry has a space of its own: its keys meet those of no other, and its policy has one
/// instance for each scope, made on first use.
///
/// ```
/// use std::sync::Arc;
/// use larder_cache::{CacheStore, Policy, RegistryEntry};
/// use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder_cache::CacheError> {
/// let store = CacheStore::<u32>::new(Arc::new(MemoryStore::new()));
/// let plots = RegistryEntry::new("plots", Policy::Lru { max: 10 });
/// store.set(&plots, "first", &1).pin().await?;
/// assert_eq!(store.get(&plots, "first").unpin().await?, Some(1));
/// assert_eq!(store.delete(&plots, "first").await?, Some(1));
/// # Ok(())
/// # }
/// ```
pub struct CacheStore<V> {
    store: CacheStoreHandle,
    codec: Arc<dyn Codec<V>>,
    tag: u64,
    adjust: Arc<Adjust>,
    entries: Arc<Mutex<HashMap<Arc<str>, Arc<Made>>>>,
}

/// The space of an entry with its policy, made on first use; until that has worked, nothing binds
/// the entry to a policy.
type Made = OnceCell<(Policy, CacheSpace)>;

impl<V: Send + 'static> CacheStore<V>
where
    MessagePack: Codec<V>,
{
    /// Caches over a store, with the settings that a builder begins with.
    pub fn new(store: impl Into<CacheStoreHandle>) -> Self {
        Self::with_settings(store, |builder| builder)
    }

    /// Caches over a store, each built as `adjust` says; it is given a builder that has the policy.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use larder_cache::CacheStore;
    /// use larder_memory::MemoryStore;
    /// let store = CacheStore::<u32>::with_settings(Arc::new(MemoryStore::new()), |builder| {
    ///     builder.default_ttl(Duration::from_secs(60))
    /// });
    /// # let _ = store;
    /// ```
    pub fn with_settings<F>(store: impl Into<CacheStoreHandle>, adjust: F) -> Self
    where
        F: Fn(CacheBuilder<Space>) -> CacheBuilder<Space> + Send + Sync + 'static,
    {
        Self {
            store: store.into(),
            codec: Arc::new(MessagePack),
            tag: crate::builder::default_tag::<V>(),
            adjust: Arc::new(adjust),
            entries: Arc::default(),
        }
    }
}

/// The namespace that holds the entries, beside those of a plain space.
const ENTRIES: &str = "e";

impl<V: Send + 'static> CacheStore<V> {
    /// The caches of one entry.
    ///
    /// # Errors
    /// `InvalidConfig` when the name was used with another policy, or the policy does not fit the
    /// store or needs one that is opened; `InvalidNamespace` for a name that is none.
    pub async fn entry(&self, entry: &RegistryEntry) -> CacheResult<CacheScopeStore<V>> {
        let made = {
            let mut entries = lock(&self.entries);
            Arc::clone(entries.entry(entry.shared_name()).or_default())
        };
        let (policy, space) = made.get_or_try_init(|| self.build(entry)).await?;
        if *policy != entry.policy() {
            return Err(CacheError::config("this registry entry has another policy"));
        }
        let cache = Cache::new(space.clone(), Arc::clone(&self.codec), self.tag);
        Ok(CacheScopeStore::new(cache.scoped(entry.scope().clone())))
    }

    async fn build(&self, entry: &RegistryEntry) -> CacheResult<(Policy, CacheSpace)> {
        let root = match &self.store.0 {
            Source::Borrowed(store) => store.clone()?,
            Source::Owned(_) => {
                return Err(CacheError::config("a `CacheStore` wants a store that is open"));
            }
        };
        // Checked before the store is asked, so that every store says the same.
        Namespace::from_segments([entry.name()])?;
        let below = root.with_path(&[ENTRIES, entry.name()])?;
        let space = (self.adjust)(cache_for_policy(below, entry.policy())).build().await?;
        Ok((entry.policy(), space))
    }

    /// Reads a value; the builder can unpin it in the same step. It never waits: see
    /// [`get_or_wait`](Self::get_or_wait).
    pub fn get<'a>(&'a self, entry: &'a RegistryEntry, key: &'a str) -> StoreGet<'a, V> {
        StoreGet::new(Target::Entry(self, entry), key)
    }

    /// Reads a value, and waits for it while it is pending: see [`Cache::get_or_wait`].
    ///
    /// # Errors
    /// As there, and as [`entry`](Self::entry).
    pub async fn get_or_wait(&self, entry: &RegistryEntry, key: &str) -> CacheResult<Option<V>> {
        self.entry(entry).await?.get_or_wait(key).await
    }

    /// Stores a value; the builder can pin it, or fail those who wait instead.
    pub fn set<'a>(
        &'a self,
        entry: &'a RegistryEntry,
        key: &'a str,
        value: &'a V,
    ) -> StoreSet<'a, V> {
        StoreSet::new(Target::Entry(self, entry), key, value)
    }

    /// Fails those who wait for a key; nothing is stored: see [`Cache::fail`].
    ///
    /// # Errors
    /// As there, and as [`entry`](Self::entry).
    pub async fn set_error<E: StdError + Send + Sync + 'static>(
        &self,
        entry: &RegistryEntry,
        key: &str,
        error: E,
    ) -> CacheResult<bool> {
        self.entry(entry).await?.set_error(key, error).await
    }

    /// Promises a value: see [`Cache::set_pending`].
    ///
    /// # Errors
    /// As there, and as [`entry`](Self::entry).
    pub async fn set_pending(
        &self,
        entry: &RegistryEntry,
        key: &str,
    ) -> CacheResult<PendingGuard<V>> {
        self.entry(entry).await?.set_pending(key).await
    }

    /// Deletes a value, and gives it, pinned or not: see [`Cache::delete`].
    ///
    /// # Errors
    /// As there, and as [`entry`](Self::entry).
    pub async fn delete(&self, entry: &RegistryEntry, key: &str) -> CacheResult<Option<V>> {
        self.entry(entry).await?.delete(key).await
    }

    /// Empties all entries, in every scope, pinned and pending ones too, those included that this
    /// process has not used yet.
    ///
    /// # Errors
    /// The store's; `Unsupported` over a flat store that cannot list.
    pub async fn clear(&self) -> CacheResult<()> {
        let cleared = self.spaces();
        for space in cleared.values() {
            space.clear(true).await?;
        }
        let root = match &self.store.0 {
            Source::Borrowed(store) => store.clone()?,
            Source::Owned(_) => return Ok(()),
        };
        let entries = root.with_path(&[ENTRIES])?;
        let mut cursor = None;
        loop {
            let page = entries.list_child_namespaces(cursor.as_ref(), 1_000).await?;
            for name in page.segments.iter().filter(|name| !cleared.contains_key(name.as_str())) {
                match self.spaces().get(name.as_str()) {
                    // It has come into use since, under its policy.
                    Some(space) => space.clear(true).await?,
                    None => entries.with_namespace(name)?.delete_all().await?,
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// The spaces that are in use, by the names of their entries.
    fn spaces(&self) -> HashMap<Arc<str>, CacheSpace> {
        let entries = lock(&self.entries);
        let space = |made: &Made| made.get().map(|(_, space)| space.clone());
        entries.iter().filter_map(|(name, made)| Some((Arc::clone(name), space(made)?))).collect()
    }
}

impl<V> Clone for CacheStore<V> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            codec: Arc::clone(&self.codec),
            tag: self.tag,
            adjust: Arc::clone(&self.adjust),
            entries: Arc::clone(&self.entries),
        }
    }
}

impl<V> fmt::Debug for CacheStore<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheStore").field("store", &self.store).finish_non_exhaustive()
    }
}
