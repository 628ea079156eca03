use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::{
    BoxFuture, Capabilities, Clock, Condition, Cursor, DeleteManyOutcome, DeleteOptions,
    Durability, Entry, Error, ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, Namespace,
    NamespacePage, NamespacedStore, Result, SetItem, SetOptions, SetOutcome, Store, StoreContext,
    SystemClock,
};

use crate::MemoryStoreBuilder;
use crate::handle::{Handle, Shared};
use crate::large::{MAX_AT_ONCE, own, own_in_turns};
use crate::listing::{self, Position};
use crate::pace::Pace;
use crate::shard::Applied;
use crate::sweep;

/// The backend's name in errors.
pub(crate) const BACKEND: &str = "memory";

const CAPABILITIES: Capabilities = Capabilities::new()
    .with_list(true)
    .with_conditions(true)
    .with_renew(true)
    .with_purge(true)
    .with_durability(Durability::Volatile);

/// A store in memory, gone with its last handle.
///
/// Clones are one pointer and share everything; [`close`](Store::close) on one of them closes them
/// all. Two stores share nothing.
///
/// Dropping the last handle frees all entries at once, in the thread that drops it; `close` does it
/// in turns with other tasks.
///
/// ```
/// use larder_core::{ErrorKind, NamespacedStore, Store, StoreExt};
/// use larder_memory::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> larder_core::Result<()> {
/// let store = MemoryStore::new();
/// store.set("a", "1").await?;
/// let twin = store.clone();
/// assert!(twin.delete("a").await?);
/// twin.close().await?;
/// assert_eq!(store.get("a").await.unwrap_err().kind(), ErrorKind::Closed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Handle>);

impl MemoryStore {
    /// An empty store on the operating system's clock, without a sweeper.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// Configures a store.
    ///
    /// ```
    /// use std::time::Duration;
    /// use larder_core::{ManualClock, Store, StoreExt};
    /// use larder_memory::MemoryStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> larder_core::Result<()> {
    /// let clock = ManualClock::new();
    /// let store = MemoryStore::builder().clock(clock.clone()).build()?;
    /// store.set("k", "v").ttl(Duration::from_millis(10)).await?;
    /// clock.advance(Duration::from_millis(10));
    /// assert!(!store.exists("k").await?);
    /// assert_eq!(store.delete_expired().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::new()
    }

    pub(crate) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let context = StoreContext::new(BACKEND, CAPABILITIES);
        Self(Arc::new(Handle::root(Arc::new(Shared::new(clock)), context)))
    }

    pub(crate) fn sweep_every(&self, interval: Duration) -> Result<(), &'static str> {
        self.0.sweep_every(interval)
    }

    #[inline]
    fn check(&self, operation: &'static str, key: &str) -> Result<()> {
        self.0.context().check(operation, key)
    }

    fn open(&self, operation: &'static str) -> Result<()> {
        self.0.context().lifecycle().check().map_err(|error| self.error(operation, error))
    }

    #[cold]
    fn error(&self, operation: &'static str, error: impl Into<Error>) -> Error {
        self.0.context().error(operation, error)
    }

    #[cold]
    fn key_error(&self, operation: &'static str, key: &str, error: Error) -> Error {
        self.0.context().key_error(operation, key, error)
    }

    /// What a get does, without its future; the benchmarks tell from it what the future costs.
    ///
    /// # Errors
    /// As [`get_opts`](Store::get_opts).
    #[doc(hidden)]
    pub fn get_in_place(&self, key: &str) -> Result<Option<Entry>> {
        self.get_value(key, self.0.hash(key))
    }

    #[inline]
    fn get_value(&self, key: &str, hash: u32) -> Result<Option<Entry>> {
        self.check("get", key)?;
        let value = self.0.value(key, hash).map_err(|error| self.key_error("get", key, error))?;
        Ok(value.map(Entry::new))
    }

    fn get_more(&self, key: &str, options: &GetOptions) -> Result<Option<Entry>> {
        self.check("get", key)?;
        self.0.get(key, options).map_err(|error| self.key_error("get", key, error))
    }

    #[inline]
    fn set_now(
        &self,
        key: &str,
        hash: u32,
        value: Bytes,
        options: &SetOptions,
    ) -> Result<SetOutcome> {
        self.check("set", key)?;
        let applied = self.0.set(key, hash, &own(value), options);
        let applied = applied.map_err(|error| self.key_error("set", key, error))?;
        // Only a version can be undecided.
        Ok(SetOutcome::from_applied(matches!(applied, Applied::Yes)))
    }

    /// A set that may take long: of a large value, or with a large version to compare.
    async fn set_slowly(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let _call = self.0.context().begin("set", key)?;
        let value = own_in_turns(value).await;
        let applied = self.0.set_in_turns(key, &value, options).await;
        applied.map(SetOutcome::from_applied).map_err(|error| self.key_error("set", key, error))
    }

    async fn delete_slowly(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let _call = self.0.context().begin("delete", key)?;
        let deleted = self.0.delete_in_turns(key, options).await;
        deleted.map_err(|error| self.key_error("delete", key, error))
    }

    fn check_limit(&self, operation: &'static str, limit: usize) -> Result<()> {
        if limit > 0 {
            return Ok(());
        }
        let error = Error::new(ErrorKind::InvalidConfig, "a page of no entries was asked for");
        Err(self.error(operation, error))
    }
}

/// A future that does its work when it is polled, which is once.
#[inline]
fn at_once<T>(mut work: impl FnMut() -> T) -> impl Future<Output = T> {
    poll_fn(move |_| Poll::Ready(work()))
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("namespace", self.0.namespace())
            .field("closed", &self.0.context().lifecycle().is_closed())
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for MemoryStore {
    // These two are written as `async_trait` would. What they do is done when they are first polled,
    // and a future that does no more fits, with the hash, a block of 32 or 128 bytes: allocators have
    // those at hand.
    fn get_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        key: &'life1 str,
        options: GetOptions,
    ) -> BoxFuture<'async_trait, Result<Option<Entry>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        if options.renew_for.is_none() && !options.expires_in && !options.version {
            let hash = self.0.hash(key);
            return Box::pin(at_once(move || self.get_value(key, hash)));
        }
        Box::pin(at_once(move || self.get_more(key, &options)))
    }

    fn set_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        key: &'life1 str,
        mut value: Bytes,
        options: SetOptions,
    ) -> BoxFuture<'async_trait, Result<SetOutcome>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        if value.len() > MAX_AT_ONCE || matches!(options.condition, Condition::Matches(_)) {
            return Box::pin(self.set_slowly(key, value, options));
        }
        let hash = self.0.hash(key);
        let work = move || self.set_now(key, hash, std::mem::take(&mut value), &options);
        Box::pin(at_once(work))
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.check("delete", key)?;
        let applied = self.0.delete(key, &options);
        match applied.map_err(|error| self.key_error("delete", key, error))? {
            Applied::Yes => Ok(true),
            Applied::No => Ok(false),
            Applied::Undecided(_) => Box::pin(self.delete_slowly(key, options)).await,
        }
    }

    async fn delete_all(&self) -> Result<()> {
        let _call = self.0.context().begin_keyless("delete_all")?;
        sweep::clear_below(self.0.node()).await;
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.0.context().capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.check("exists", key)?;
        self.0.exists(key).map_err(|error| self.key_error("exists", key, error))
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        self.check("expires_in", key)?;
        self.0.expires_in(key).map_err(|error| self.key_error("expires_in", key, error))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let _call = self.0.context().begin_bulk("get_many", keys.iter().copied())?;
        let mut pace = Pace::default();
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.0.value(key, self.0.hash(key));
            values.push(value.map_err(|error| self.key_error("get_many", key, error)));
            pace.did(1).await;
        }
        Ok(values)
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let _call = self.0.context().begin_bulk("set_many", items.iter().map(|item| item.key))?;
        let mut pace = Pace::default();
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            pace.did(1 + item.value.len() / 4_096).await;
            let value = own_in_turns(item.value).await;
            let applied = self.0.set_in_turns(item.key, &value, item.options).await;
            let outcome = applied.map(SetOutcome::from_applied);
            outcomes.push(outcome.map_err(|error| self.key_error("set_many", item.key, error)));
        }
        Ok(outcomes)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let _call = self.0.context().begin_bulk("delete_many", keys.iter().copied())?;
        let mut pace = Pace::default();
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            let deleted = self.0.delete_in_turns(key, DeleteOptions::default()).await;
            outcomes.push(deleted.map_err(|error| self.key_error("delete_many", key, error)));
            pace.did(1).await;
        }
        Ok(outcomes.into_iter().collect())
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.check("update_expiry", key)?;
        let live = self.0.update_expiry(key, expiry);
        live.map_err(|error| self.key_error("update_expiry", key, error))
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let _call = self.0.context().begin_keyless("list_page")?;
        self.check_limit("list_page", limit)?;
        let scope = self.0.key_scope(prefix);
        let position = cursor
            .map_or(Ok(Position::default()), |cursor| Position::from_bytes(&scope.open(cursor)?))
            .map_err(|error| self.error("list_page", error))?;
        let (space, clock) = (self.0.space(), self.0.clock());
        let (keys, next) = listing::page(space, clock, prefix, position, limit).await;
        Ok(ListPage::new(keys, next.map(|next| scope.seal(&next.to_bytes()))))
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let _call = self.0.context().begin_keyless("list_child_namespaces")?;
        self.check_limit("list_child_namespaces", limit)?;
        let scope = self.0.child_scope();
        let after = cursor
            .map_or(Ok(String::new()), |cursor| {
                String::from_utf8(scope.open(cursor)?.into()).map_err(|error| {
                    Error::new(ErrorKind::InvalidCursor, "it is no name").with_source(error)
                })
            })
            .map_err(|error| self.error("list_child_namespaces", error))?;
        let (names, more) = listing::children(self.0.node(), self.0.clock(), &after, limit).await;
        let next = names.last().filter(|_| more).map(|last| scope.seal(last.as_bytes()));
        Ok(NamespacePage::new(names, next))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let _call = self.0.context().begin_keyless("delete_prefix")?;
        Ok(listing::delete_prefix(self.0.space(), self.0.clock(), prefix).await)
    }

    async fn delete_expired(&self) -> Result<u64> {
        let _call = self.0.context().begin_keyless("delete_expired")?;
        let (node, clock) = (self.0.node(), self.0.clock());
        if self.0.namespace().is_root() {
            return Ok(sweep::purge_store(node.agenda(), clock).await);
        }
        Ok(sweep::purge_below(node, clock).await)
    }

    async fn flush(&self) -> Result<()> {
        self.open("flush")
    }

    async fn ping(&self) -> Result<()> {
        self.open("ping")
    }

    async fn close(&self) -> Result<()> {
        let lifecycle = self.0.context().lifecycle();
        lifecycle.close();
        lifecycle.idle().await;
        if lifecycle.is_root() {
            self.0.stop_sweeping();
            sweep::clear_below(self.0.node()).await;
        }
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for MemoryStore {
    fn namespace(&self) -> &Namespace {
        self.0.namespace()
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        self.open("with_namespace")?;
        let child = self.0.descend(segments);
        let child = child.map_err(|error| self.error("with_namespace", error))?;
        Ok(Arc::new(Self(Arc::new(child))))
    }
}
