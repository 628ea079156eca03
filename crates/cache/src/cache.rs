use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{Codec, Error, Expiry, MessagePack};

use crate::builder::{CacheBuilder, One};
use crate::reading::Reading;
use crate::route::{Route, RouteRef};
use crate::slot::Range;
use crate::view::View;
use crate::write::Locked;
use crate::{
    CacheError, CacheItem, CacheResult, CacheScope, CacheSpace, CacheStoreHandle, MaybeExpiry,
    SetValue,
};

/// Cached values of one type, in one scope of a [`CacheSpace`].
///
/// A cache is a view: clones, scoped views and views of other types over one space share flights,
/// pending values and locks. [`Cache::builder`] makes a space and a view of it in one go.
///
/// # Cancel safety
/// A call may be dropped at any await. What it was doing then has happened wholly or not at all, or
/// is carried through in the background; no key stays locked, and nobody who waits is forgotten.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use larder_cache::{Cache, CacheError};
/// use larder_memory::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), CacheError> {
/// let cache = Cache::<String>::builder(Arc::new(MemoryStore::new())).build().await?;
/// let greeting = cache.get_or_set_with("anna", async |key| format!("hello, {key}")).await?;
/// assert_eq!(greeting, "hello, anna");
/// let item = cache.get("anna").await?.ok_or(CacheError::NotFound)?;
/// assert_eq!(item.value()?, "hello, anna");
/// assert!(cache.remove(["anna"]).await?);
/// # Ok(())
/// # }
/// ```
pub struct Cache<V>(pub(crate) Arc<View<V>>);

impl<V: 'static> Cache<V> {
    pub(crate) fn new(space: CacheSpace, codec: Arc<dyn Codec<V>>, tag: u64) -> Self {
        Self(Arc::new(View::new(space, codec, tag)))
    }

    /// Sets up a cache with a space of its own.
    pub fn builder(store: impl Into<CacheStoreHandle>) -> CacheBuilder<One<V>>
    where
        MessagePack: Codec<V>,
    {
        CacheBuilder::one(store.into())
    }

    /// The space that this is a view of.
    #[must_use]
    pub fn space(&self) -> &CacheSpace {
        &self.0.space
    }

    /// The same cache in another scope, out of all nested ones (`Z1`).
    #[must_use]
    pub fn scoped(&self, scope: CacheScope) -> Self {
        Self(Arc::new(self.0.at(scope, Vec::new())))
    }

    /// The same cache in a scope nested in this one (`Z2`).
    ///
    /// A name that no namespace can have, such as an empty one, is refused by the calls that use it.
    #[must_use]
    pub fn with_scope(&self, name: &str) -> Self {
        let mut nested = self.0.nested.clone();
        nested.push(name.into());
        Self(Arc::new(self.0.at(self.0.scope.clone(), nested)))
    }

    /// The same cache, whose values have another expiry unless they are given one.
    #[must_use]
    pub fn with_default_ttl(&self, expiry: impl Into<Expiry>) -> Self {
        Self(Arc::new(View { expiry: Some(expiry.into()), ..self.0.again() }))
    }

    /// The same cache, whose callers wait for loads and pending values so long at most and then get
    /// `TimedOut`; the load goes on (`F4`).
    #[must_use]
    pub fn wait_at_most(&self, duration: Duration) -> Self {
        Self(Arc::new(View { wait: Some(duration), ..self.0.again() }))
    }

    #[inline]
    pub(crate) fn route(&self) -> CacheResult<RouteRef<'_>> {
        self.0.route()
    }

    /// The expiry of a value that is given none.
    pub(crate) fn default_expiry(&self) -> Expiry {
        self.0.expiry.unwrap_or_else(|| self.inner().default_expiry())
    }

    /// Reads an entry; `None` when it is missing, expired, or no entry of this cache's type (`V2`).
    ///
    /// It never waits for a load or a pending value.
    ///
    /// # Errors
    /// The store's.
    pub fn get<'a>(
        &'a self,
        key: &'a str,
    ) -> impl Future<Output = CacheResult<Option<CacheItem<V>>>> + Send + use<'a, V> {
        Reading::new(self, key, |cache: &Self, route: &Route, key: &str, fetched| {
            Ok(cache.live(route, key, fetched)?.map(|envelope| cache.item(envelope)))
        })
    }

    /// As [`get`](Self::get), and gives the error where an entry is there and cannot be decoded.
    ///
    /// # Errors
    /// `Corrupt` for an entry that is damaged, or of another version, type or codec, unless it has
    /// expired.
    pub async fn get_strict(&self, key: &str) -> CacheResult<Option<CacheItem<V>>> {
        let route = self.route()?;
        let found = self.inner().fetch(&route, key)?.await?;
        let name = |error: Error| error.with_operation("get").with_key(key);
        let envelope = self.live_or_corrupt(found).map_err(name)?;
        self.count_read(&route, key, envelope.is_some());
        Ok(envelope.map(|envelope| self.item(envelope)))
    }

    /// Reads and decodes a value; one that cannot be decoded is a miss.
    ///
    /// # Errors
    /// The store's.
    pub fn get_value<'a>(
        &'a self,
        key: &'a str,
    ) -> impl Future<Output = CacheResult<Option<V>>> + Send + use<'a, V> {
        Reading::new(self, key, Self::value)
    }

    /// Reads a value, or gives `default` (`V4`).
    ///
    /// # Errors
    /// The store's.
    pub async fn get_or(&self, key: &str, default: V) -> CacheResult<V> {
        Ok(self.get_value(key).await?.unwrap_or(default))
    }

    /// Reads a value that has to be there (`V4`).
    ///
    /// # Errors
    /// `NotFound`; the store's.
    pub async fn get_or_fail(&self, key: &str) -> CacheResult<V> {
        self.get_value(key).await?.ok_or(CacheError::NotFound)
    }

    /// Stores a value; the builder takes expiry and modified time, and is awaited.
    ///
    /// It overtakes a load of the same key, whose callers get this value (`F2`).
    pub fn set<'a>(&'a self, key: &'a str, value: &V) -> SetValue<'a, V> {
        SetValue::new(self, key, self.0.lens.codec.encode(value))
    }

    /// Deletes an entry, and gives its value if it was live: to one of several who do so at once
    /// (`V4`). A value that cannot be decoded is deleted and not given.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, key: &str) -> CacheResult<Option<V>> {
        let route = self.route()?;
        let envelope = self.inner().locked(&route, key, Locked::delete).await?;
        Ok(envelope.and_then(|envelope| self.decode(envelope).ok()))
    }

    /// Deletes entries, and tells whether all of them existed: true for no key at all, and a key
    /// named twice counts once (`V4`).
    ///
    /// # Errors
    /// The store's; keys before the one that failed are deleted, but for `InvalidKey`, before which
    /// nothing is.
    pub async fn remove<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> CacheResult<bool> {
        let route = self.route()?;
        let keys: Vec<K> = keys.into_iter().collect();
        let keys: BTreeSet<&str> = keys.iter().map(AsRef::as_ref).collect();
        for key in &keys {
            route.store.capabilities().check_key(key)?;
        }
        let mut all = true;
        for key in keys {
            let envelope = self.inner().locked(&route, key, Locked::delete).await?;
            all &= envelope.is_some_and(|envelope| envelope.check_tag(self.0.tag).is_ok());
        }
        Ok(all)
    }

    /// Gives an entry another expiry, such as a `Duration`, or the default one for `None`, and gives
    /// its value (`V4`).
    ///
    /// It brings back an entry that has expired and is still retained; see
    /// [`retain_expired_for`](CacheBuilder::retain_expired_for). An expiry that is over at once
    /// removes the entry.
    ///
    /// # Errors
    /// `NotFound`; the store's.
    pub async fn update_expiry(&self, key: &str, expiry: impl MaybeExpiry) -> CacheResult<V> {
        let (route, expiry, tag) = (self.route()?, expiry.maybe_expiry(), self.0.tag);
        let default = self.default_expiry();
        let update = async move |locked: Locked| locked.update_expiry(expiry, default, tag).await;
        let envelope = self.inner().locked(&route, key, update).await?;
        self.decode(envelope).map_err(|_| CacheError::NotFound)
    }

    /// Deletes the entries of this scope whose keys begin with `prefix`, without those of nested
    /// scopes, and tells how many there were, expired and retained ones included, and in a distributed
    /// space what stands in the place of entries that are loaded or locked (`Z3`).
    ///
    /// Loads that are running are not stored, and pending values are given up.
    ///
    /// # Errors
    /// The store's; `Unsupported` over a flat store that cannot list.
    pub async fn remove_starting_with(&self, prefix: &str) -> CacheResult<u64> {
        let route = self.route()?;
        let range = Range { scope: route.scope.clone(), prefix: Some(prefix.into()) };
        self.inner().remove_range(&route, range, true).await
    }

    /// Deletes the entries of this scope and of all scopes nested in it, and nothing else (`Z2`).
    ///
    /// Loads that are running are not stored, and pending values are given up; see
    /// [`clear_keeping_pending`](Self::clear_keeping_pending).
    ///
    /// # Errors
    /// The store's; `Unsupported` over a flat store that cannot list.
    pub async fn clear(&self) -> CacheResult<()> {
        self.clear_range(true).await
    }

    /// As [`clear`](Self::clear), but loads that are running are stored when they end, and pending
    /// values stay pending (`F5`).
    ///
    /// # Errors
    /// As [`clear`](Self::clear).
    pub async fn clear_keeping_pending(&self) -> CacheResult<()> {
        self.clear_range(false).await
    }

    async fn clear_range(&self, include_pending: bool) -> CacheResult<()> {
        let route = self.route()?;
        let range = Range { scope: route.scope.clone(), prefix: None };
        self.inner().remove_range(&route, range, include_pending).await.map(|_| ())
    }
}

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("space", &self.0.space)
            .field("scope", &self.0.scope)
            .field("nested", &self.0.nested)
            .finish_non_exhaustive()
    }
}
