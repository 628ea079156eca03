//! One cache per registry entry, each with its policy (P3).

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_core::{BoxFuture, Codec, MessagePack, Namespace};
use tokio::sync::OnceCell;

use crate::handle::Source;
use crate::slot::lock;
use crate::{
    Cache, CacheBuilder, CacheError, CacheResult, CacheScope, CacheSpace, CacheStoreHandle,
    PendingGuard, Policy, Space,
};

/// The name of an entry of a registry, with the policy that its values are kept by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryEntry {
    name: Arc<str>,
    policy: Policy,
    scope: CacheScope,
}

impl RegistryEntry {
    /// An entry in the global scope.
    ///
    /// The name is that of a namespace below the store: not empty, 255 bytes at most.
    pub fn new(name: impl Into<Arc<str>>, policy: Policy) -> Self {
        Self { name: name.into(), policy, scope: CacheScope::Global }
    }

    /// An entry whose values belong to a scope, such as the current user.
    #[must_use]
    pub fn scoped(mut self, scope: CacheScope) -> Self {
        self.scope = scope;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Makes the space of one registry entry, to be adjusted and built: the policy has one instance in
/// each scope.
pub fn cache_for_policy(store: impl Into<CacheStoreHandle>, policy: Policy) -> CacheBuilder<Space> {
    CacheSpace::builder(store).policy_per_scope(policy)
}

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

/// The space of an entry, made on first use.
struct Made {
    policy: Policy,
    space: OnceCell<CacheSpace>,
}

/// The caches of one registry entry, one for each scope: see [`CacheStore::entry`].
#[derive(Debug)]
pub struct CacheScopeStore<V> {
    cache: Cache<V>,
}

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
            let made = entries
                .entry(Arc::clone(&entry.name))
                .or_insert_with(|| Arc::new(Made { policy: entry.policy, space: OnceCell::new() }));
            Arc::clone(made)
        };
        if made.policy != entry.policy {
            return Err(CacheError::config("this registry entry has another policy"));
        }
        let space = made.space.get_or_try_init(|| self.build(entry)).await?;
        let cache = Cache::new(space.clone(), Arc::clone(&self.codec), self.tag);
        Ok(CacheScopeStore { cache: cache.scoped(entry.scope.clone()) })
    }

    async fn build(&self, entry: &RegistryEntry) -> CacheResult<CacheSpace> {
        let root = match &self.store.0 {
            Source::Borrowed(store) => store.clone()?,
            Source::Owned(_) => {
                return Err(CacheError::config("a `CacheStore` wants a store that is open"));
            }
        };
        // Checked before the store is asked, so that every store says the same.
        Namespace::from_segments([&entry.name])?;
        let below = root.with_path(&[ENTRIES, &entry.name])?;
        (self.adjust)(cache_for_policy(below, entry.policy)).build().await
    }

    /// Reads a value; the builder can unpin it in the same step, or wait while it is pending.
    pub fn get<'a>(&'a self, entry: &'a RegistryEntry, key: &'a str) -> StoreGet<'a, V> {
        StoreGet { store: self, entry, key, unpin: false }
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
        StoreSet { store: self, entry, key, value, pin: false, ttl: None }
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
        self.entry(entry).await?.cache.fail(key, error).await
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
        self.entry(entry).await?.cache.set_pending(key).await
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
        let made: Vec<_> = lock(&self.entries).values().cloned().collect();
        for made in made {
            if let Some(space) = made.space.get() {
                space.clear(true).await?;
            }
        }
        let root = match &self.store.0 {
            Source::Borrowed(store) => store.clone()?,
            Source::Owned(_) => return Ok(()),
        };
        // Entries that are in use were emptied above, under their policies; here go the others.
        let entries = root.with_path(&[ENTRIES])?;
        let mut cursor = None;
        loop {
            let page = entries.list_child_namespaces(cursor.as_ref(), 1_000).await?;
            for name in page.segments {
                let in_use = lock(&self.entries).contains_key(&*name);
                if !in_use {
                    entries.with_namespace(&name)?.delete_all().await?;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }
}

impl<V: Send + 'static> CacheScopeStore<V> {
    /// The cache of the entry's scope, with everything that it can do.
    #[must_use]
    pub fn cache(&self) -> &Cache<V> {
        &self.cache
    }

    /// Reads a value, and unpins it in the same step where asked to.
    ///
    /// # Errors
    /// The store's; `NoScope`.
    pub async fn get(&self, key: &str, unpin: bool) -> CacheResult<Option<V>> {
        if unpin {
            let item = self.cache.get_and_unpin(key).await?;
            return Ok(item.and_then(|item| item.value().ok()));
        }
        self.cache.get_value(key).await
    }

    /// As [`Cache::get_or_wait`].
    ///
    /// # Errors
    /// As there.
    pub async fn get_or_wait(&self, key: &str) -> CacheResult<Option<V>> {
        self.cache.get_or_wait(key).await
    }

    /// As [`Cache::set`], pinned where asked to.
    ///
    /// # Errors
    /// As there.
    pub async fn set(&self, key: &str, value: &V, pin: bool) -> CacheResult<()> {
        let set = self.cache.set(key, value);
        if pin { set.pin().await } else { set.await }
    }

    /// As [`Cache::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, key: &str) -> CacheResult<Option<V>> {
        self.cache.delete(key).await
    }

    /// Empties the entry in every scope.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear(&self) -> CacheResult<()> {
        self.cache.space().clear(true).await
    }
}

/// A read that is about to happen: see [`CacheStore::get`].
#[must_use = "nothing is read until it is awaited"]
pub struct StoreGet<'a, V> {
    store: &'a CacheStore<V>,
    entry: &'a RegistryEntry,
    key: &'a str,
    unpin: bool,
}

impl<V> StoreGet<'_, V> {
    /// Unpins the value in the same step.
    pub fn unpin(mut self) -> Self {
        self.unpin = true;
        self
    }
}

impl<'a, V: Send + 'static> IntoFuture for StoreGet<'a, V> {
    type Output = CacheResult<Option<V>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.store.entry(self.entry).await?.get(self.key, self.unpin).await })
    }
}

/// A write that is about to happen: see [`CacheStore::set`].
#[must_use = "nothing is written until it is awaited"]
pub struct StoreSet<'a, V> {
    store: &'a CacheStore<V>,
    entry: &'a RegistryEntry,
    key: &'a str,
    value: &'a V,
    pin: bool,
    ttl: Option<Duration>,
}

impl<V: Send + 'static> StoreSet<'_, V> {
    /// Pins the value until it is read with [`StoreGet::unpin`].
    pub fn pin(mut self) -> Self {
        self.pin = true;
        self
    }

    /// The value lives this long.
    pub fn ttl(mut self, duration: Duration) -> Self {
        self.ttl = Some(duration);
        self
    }

    /// Fails those who wait with this error instead; nothing is stored.
    ///
    /// # Errors
    /// As [`CacheStore::set_error`].
    pub async fn error<E: StdError + Send + Sync + 'static>(self, error: E) -> CacheResult<bool> {
        self.store.set_error(self.entry, self.key, error).await
    }
}

impl<'a, V: Send + Sync + 'static> IntoFuture for StoreSet<'a, V> {
    type Output = CacheResult<()>;
    type IntoFuture = BoxFuture<'a, CacheResult<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let entry = self.store.entry(self.entry).await?;
            let mut set = entry.cache.set(self.key, self.value);
            if self.pin {
                set = set.pin();
            }
            if let Some(ttl) = self.ttl {
                set = set.ttl(ttl);
            }
            set.await
        })
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

impl<V> fmt::Debug for StoreGet<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreGet").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for StoreSet<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSet").field("entry", &self.entry).finish_non_exhaustive()
    }
}
