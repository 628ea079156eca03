use std::fmt;
use std::sync::Arc;

use larder_core::{
    BoxFuture, Bytes, Capabilities, DeleteOptions, Entry, Error, ErrorKind, GetOptions, Namespace,
    Namespaced, NamespacedStore, Result, SetOptions, SetOutcome, Store, StoreContext, async_trait,
};

type Open = dyn Fn() -> BoxFuture<'static, Result<Arc<dyn NamespacedStore>>> + Send + Sync;

/// The store below a cache: any [`NamespacedStore`], or any flat [`Store`].
///
/// It is made from an `Arc` of either. A store handed in is borrowed: the cache never closes it. One
/// that the cache opens itself, with [`opened_by`](Self::opened_by), is closed and opened again as
/// [`close`](crate::CacheSpace::close) and [`reconnect`](crate::CacheSpace::reconnect) say.
///
/// A flat store gets namespaces from [`Namespaced`] where it can list. Where it cannot, keys get a
/// prefix and everything works but what needs a listing: clearing, removing by prefix, listing, and
/// policies with a capacity are `Unsupported`.
#[derive(Clone)]
pub struct CacheStoreHandle(pub(crate) Source);

#[derive(Clone)]
pub(crate) enum Source {
    Borrowed(Result<Arc<dyn NamespacedStore>>),
    Owned(Arc<Open>),
}

impl CacheStoreHandle {
    /// A store that the cache opens, closes and opens again by calling `open`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use larder_cache::{CacheSpace, CacheStoreHandle};
    /// use larder_core::NamespacedStore;
    /// use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder_cache::CacheError> {
    /// let handle = CacheStoreHandle::opened_by(async || {
    ///     Ok(Arc::new(MemoryStore::new()) as Arc<dyn NamespacedStore>)
    /// });
    /// let space = CacheSpace::new(handle);
    /// assert!(space.cache::<u32>().set("a", &1).await.is_err()); // not connected
    /// space.connect().await?;
    /// space.cache::<u32>().set("a", &1).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn opened_by<F, Fut>(open: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Arc<dyn NamespacedStore>>> + Send + 'static,
    {
        Self(Source::Owned(Arc::new(move || Box::pin(open()))))
    }

    fn flat(store: Arc<dyn Store>) -> Self {
        let store = if store.capabilities().list {
            Namespaced::new(store).map(|store| Arc::new(store) as Arc<dyn NamespacedStore>)
        } else {
            Prefixed::at(store, Namespace::root())
                .map(|store| Arc::new(store) as Arc<dyn NamespacedStore>)
        };
        Self(Source::Borrowed(store))
    }
}

impl From<Arc<dyn NamespacedStore>> for CacheStoreHandle {
    fn from(store: Arc<dyn NamespacedStore>) -> Self {
        Self(Source::Borrowed(Ok(store)))
    }
}

impl<S: NamespacedStore + 'static> From<Arc<S>> for CacheStoreHandle {
    fn from(store: Arc<S>) -> Self {
        Self(Source::Borrowed(Ok(store)))
    }
}

impl From<Arc<dyn Store>> for CacheStoreHandle {
    fn from(store: Arc<dyn Store>) -> Self {
        Self::flat(store)
    }
}

impl fmt::Debug for CacheStoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Borrowed(store) => f.debug_tuple("Borrowed").field(store).finish(),
            Source::Owned(_) => f.write_str("Owned"),
        }
    }
}

/// Namespaces as key prefixes over a flat store that cannot list.
#[derive(Debug)]
struct Prefixed {
    inner: Arc<dyn Store>,
    context: StoreContext,
    namespace: Namespace,
    prefix: String,
}

impl Prefixed {
    fn at(inner: Arc<dyn Store>, namespace: Namespace) -> Result<Self> {
        let below = inner.capabilities();
        let prefix = format!("larder/{}:", namespace.encode());
        let Some(max_key_len) = below.max_key_len.checked_sub(prefix.len()) else {
            let text = "the store's key length leaves no room for the namespace";
            return Err(Error::new(ErrorKind::InvalidNamespace, text));
        };
        let own = below
            .with_max_key_len(max_key_len)
            .with_list(false)
            .with_ordered_list(false)
            .with_purge(false);
        Ok(Self { inner, context: StoreContext::new("prefixed", own), namespace, prefix })
    }

    fn physical(&self, operation: &'static str, key: &str) -> Result<String> {
        self.context.check(operation, key)?;
        Ok(format!("{}{key}", self.prefix))
    }
}

#[async_trait]
impl Store for Prefixed {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let physical = self.physical("get", key)?;
        self.inner.get_opts(&physical, options).await.map_err(|error| error.replace_key(key))
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let physical = self.physical("set", key)?;
        self.inner.set_opts(&physical, value, options).await.map_err(|error| error.replace_key(key))
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let physical = self.physical("delete", key)?;
        self.inner.delete_opts(&physical, options).await.map_err(|error| error.replace_key(key))
    }

    async fn delete_all(&self) -> Result<()> {
        Err(self.context.error("delete_all", Error::unsupported("list")))
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
}

impl NamespacedStore for Prefixed {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let namespace = self.namespace.join_all(segments)?;
        Ok(Arc::new(Self::at(Arc::clone(&self.inner), namespace)?))
    }
}
