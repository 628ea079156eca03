use std::fmt;
use std::path::Path;
use std::sync::Arc;

use larder_core::{
    BoxFuture, Bytes, Capabilities, Condition, Cursor, CursorScope, DeleteManyOutcome,
    DeleteOptions, Durability, Entry, Error, ErrorKind, ExpiresIn, Expiry, GetOptions, InProgress,
    ListPage, Namespace, NamespacePage, NamespacedStore, Result, SetItem, SetOptions, SetOutcome,
    Store, StoreContext, async_trait,
};

use crate::SledStoreBuilder;
use crate::blocking::hop;
use crate::calls::SMALL_VALUE;
use crate::found::Got;
use crate::keyspace::{self, KeyRange};
use crate::record;
use crate::records::{Records, Renewal};
use crate::scans::Walk;
use crate::shared::{SLICE, Shared};

/// The backend's name in errors.
pub(crate) const BACKEND: &str = "sled";
/// The most keys of a bulk call that are served on the caller's thread.
const SMALL_BULK: usize = 128;
/// A record's length is kept in 32 bits, and sled holds a value in memory several times over.
const MAX_VALUE_LEN: u64 = 512 << 20;

/// A store in a sled database.
///
/// Handles are cheap clones that share the database; [`close`](Store::close) on any handle of the
/// root closes it for all. A database that was not closed is flushed and closed when its last
/// handle is dropped, in the background.
#[derive(Clone)]
pub struct SledStore {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: StoreContext,
    namespace: Namespace,
    pub(crate) prefix: Arc<[u8]>,
}

impl SledStore {
    /// Configures a store in the directory `path`.
    pub fn builder(path: impl AsRef<Path>) -> SledStoreBuilder {
        SledStoreBuilder::new(path.as_ref())
    }

    pub(crate) async fn open(config: SledStoreBuilder) -> Result<Self> {
        let context = StoreContext::new(BACKEND, capabilities(config.durability));
        let opened = hop(move || Shared::open(config)).await;
        let shared = opened.map_err(|error| context.error("open", error))?;
        let namespace = Namespace::root();
        let prefix = keyspace::prefix(&namespace).into();
        Ok(Self { shared: Arc::new(shared), context, namespace, prefix })
    }

    /// The directory of the database, as an absolute path.
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    /// Writes `bytes` as the record of `key`, whatever they are: how tests damage a store that they
    /// have open. `namespace` is seen from this handle.
    #[cfg(feature = "test-util")]
    pub fn plant_record(&self, namespace: &Namespace, key: &str, bytes: &[u8]) -> Result<()> {
        let namespace = self.namespace.join_all(namespace.segments())?;
        let physical = keyspace::physical(&keyspace::prefix(&namespace), key);
        self.shared.run(|records| records.plant(&physical, bytes))
    }

    pub(crate) fn physical(&self, key: &str) -> Vec<u8> {
        keyspace::physical(&self.prefix, key)
    }

    pub(crate) fn begin(&self, operation: &'static str, key: &str) -> Result<Arc<InProgress>> {
        self.context.begin(operation, key).map(Arc::new)
    }

    pub(crate) fn begin_keyless(&self, operation: &'static str) -> Result<Arc<InProgress>> {
        self.context.begin_keyless(operation).map(Arc::new)
    }

    /// What tells this store from others in a cursor.
    fn identity(&self) -> &[u8] {
        self.shared.path().as_os_str().as_encoded_bytes()
    }

    /// Names operation and key in the errors of a bulk call.
    fn named<T>(
        &self,
        operation: &'static str,
        keys: &[&str],
        outcomes: Vec<Result<T>>,
    ) -> Vec<Result<T>> {
        let named = |(outcome, key): (Result<T>, &&str)| {
            outcome.map_err(|error| self.context.key_error(operation, key, error))
        };
        outcomes.into_iter().zip(keys).map(named).collect()
    }
}

fn capabilities(durability: Durability) -> Capabilities {
    Capabilities::new()
        .with_list(true)
        .with_ordered_list(true)
        .with_conditions(true)
        .with_renew(true)
        .with_purge(true)
        .with_durability(durability)
        .with_max_value_len(MAX_VALUE_LEN)
}

/// The part of a listing that is still to come.
fn page_range(
    below: &[u8],
    scope: CursorScope,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<KeyRange> {
    if limit == 0 {
        return Err(Error::new(ErrorKind::InvalidConfig, "a page of no keys"));
    }
    let range = KeyRange::below(below);
    Ok(match cursor {
        None => range,
        Some(cursor) => range.starting_at(scope.open(cursor)?.to_vec()),
    })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for SledStore {
    // Written out: a read that waits for nothing has a future of its own, much smaller than those
    // that may wait.
    fn get_opts<'a, 'b, 'c>(
        &'a self,
        key: &'b str,
        options: GetOptions,
    ) -> BoxFuture<'c, Result<Option<Entry>>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        match options.renew_for {
            Some(renew_for) => Box::pin(self.get_and_renew(key, renew_for, options)),
            None if options.expires_in || options.version => Box::pin(self.get_entry(key, options)),
            None => Box::pin(async move {
                match self.get(key)? {
                    Got::Live(live) => Ok(Some(Entry::new(live.value))),
                    Got::Missing => Ok(None),
                    Got::Expired | Got::TooLarge => {
                        Box::pin(self.get_entry(key, GetOptions::default())).await
                    }
                }
            }),
        }
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let named = |error| self.context.key_error("set", key, error);
        let call = self.begin("set", key)?;
        self.capabilities().check_set(value.len(), &options).map_err(named)?;
        let applied = self.set(&call, key, value, options).await.map_err(named)?;
        Ok(SetOutcome::from_applied(applied))
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let call = self.begin("delete", key)?;
        let deleted = self.delete(&call, key, options.condition).await;
        deleted.map_err(|error| self.context.key_error("delete", key, error))
    }

    async fn delete_all(&self) -> Result<()> {
        let call = self.begin_keyless("delete_all")?;
        let cleared = self.clear(&call, &self.prefix).await;
        cleared.map(drop).map_err(|error| self.context.error("delete_all", error))
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.life_of("exists", key).await? != ExpiresIn::Missing)
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        self.life_of("expires_in", key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let call = Arc::new(self.context.begin_bulk("get_many", keys.iter().copied())?);
        let physicals = keys.iter().map(|key| self.physical(key));
        let get = |most| {
            move |records: &Records, physical: &Vec<u8>, now| {
                loop {
                    let got = records.get(physical, |at| record::is_past(at, now), most)?;
                    if got != Got::Expired || records.bury_expired(physical, now)? {
                        return Ok(got);
                    }
                }
            }
        };
        let small = SMALL_VALUE / SMALL_BULK as u64;
        let mut got = Vec::new();
        if keys.len() <= SMALL_BULK {
            got = self.shared.for_each(&call, physicals.clone(), true, get(small)).await;
        }
        if keys.len() > SMALL_BULK || got.iter().any(|got| matches!(got, Ok(Got::TooLarge))) {
            got = self.shared.for_each(&call, physicals, false, get(u64::MAX)).await;
        }
        let values = got.into_iter().map(|got| got.map(|got| got.live().map(|live| live.value)));
        Ok(self.named("get_many", keys, values.collect()))
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
        let call = Arc::new(self.context.begin_bulk("set_many", keys.iter().copied())?);
        for item in &items {
            let checked = self.capabilities().check_set(item.value.len(), &item.options);
            checked.map_err(|error| self.context.key_error("set_many", item.key, error))?;
        }
        let bytes: usize = items.iter().map(|item| item.value.len()).sum();
        let in_place = items.len() <= SMALL_BULK && bytes as u64 <= SMALL_VALUE;
        let writes =
            items.into_iter().map(|item| (self.physical(item.key), item.value, item.options));
        let set = |records: &Records, write: &(Vec<u8>, Bytes, SetOptions), now| {
            records.set(&write.0, &write.1, &write.2, now)
        };
        let mut outcomes = self.shared.for_each(&call, writes, in_place, set).await;
        self.shared.persist_all(&call, &mut outcomes).await;
        let outcomes = self.named("set_many", &keys, outcomes);
        Ok(outcomes.into_iter().map(|o| o.map(SetOutcome::from_applied)).collect())
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let call = Arc::new(self.context.begin_bulk("delete_many", keys.iter().copied())?);
        let physicals = keys.iter().map(|key| self.physical(key));
        let in_place = keys.len() <= SMALL_BULK;
        let delete = |records: &Records, physical: &Vec<u8>, now| {
            records.delete(physical, &Condition::Any, now)
        };
        let mut outcomes = self.shared.for_each(&call, physicals, in_place, delete).await;
        self.shared.persist_all(&call, &mut outcomes).await;
        Ok(self.named("delete_many", keys, outcomes).into_iter().collect())
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let call = self.begin("update_expiry", key)?;
        let renewal = Renewal { expiry, only_with_expiry: false, with_value: false };
        let live = self.renew(&call, key, renewal, self.shared.now()).await;
        let live = live.map_err(|error| self.context.key_error("update_expiry", key, error))?;
        Ok(live.is_some())
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let named = |error| self.context.error("list_page", error);
        let call = self.begin_keyless("list_page")?;
        let scope = CursorScope::keys(self.identity(), &self.namespace, prefix);
        let range = page_range(&self.physical(prefix), scope, cursor, limit).map_err(named)?;
        let (own, now) = (Arc::clone(&self.prefix), self.shared.now());
        let walk = move |records: &Records| {
            let mut keys = Vec::new();
            let next = records.walk(&range, SLICE, now, |physical| {
                keys.extend(keyspace::logical(&own, physical).map(str::to_owned));
                if keys.len() < limit { Walk::On } else { Walk::StopAfter }
            })?;
            Ok(ListPage::new(keys, next.map(|next| scope.seal(&next))))
        };
        self.shared.hop(&call, walk).await.map_err(named)
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let named = |error| self.context.error("list_child_namespaces", error);
        let call = self.begin_keyless("list_child_namespaces")?;
        let scope = CursorScope::namespaces(self.identity(), &self.namespace);
        let below = keyspace::children(&self.prefix);
        let range = page_range(&below, scope, cursor, limit).map_err(named)?;
        let (own, now) = (Arc::clone(&self.prefix), self.shared.now());
        let walk = move |records: &Records| {
            let mut segments = Vec::new();
            let next = records.walk(&range, SLICE, now, |physical| {
                let Some(child) = keyspace::child_of(&own, physical) else { return Walk::On };
                segments.extend(child.segment.map(str::to_owned));
                let sibling = keyspace::past(child.prefix);
                if segments.len() < limit { Walk::Seek(sibling) } else { Walk::StopBefore(sibling) }
            })?;
            Ok(NamespacePage::new(segments, next.map(|next| scope.seal(&next))))
        };
        self.shared.hop(&call, walk).await.map_err(named)
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let call = self.begin_keyless("delete_prefix")?;
        let cleared = self.clear(&call, &self.physical(prefix)).await;
        cleared.map_err(|error| self.context.error("delete_prefix", error))
    }

    async fn delete_expired(&self) -> Result<u64> {
        let call = self.begin_keyless("delete_expired")?;
        self.purge(&call).await.map_err(|error| self.context.error("delete_expired", error))
    }

    async fn flush(&self) -> Result<()> {
        let _call = self.begin_keyless("flush")?;
        self.shared.flush().await.map_err(|error| self.context.error("flush", error))
    }

    async fn ping(&self) -> Result<()> {
        let named = |error| self.context.error("ping", error);
        self.context.lifecycle().check().map_err(named)?;
        self.shared.run(|_| Ok(())).map_err(named)
    }

    async fn close(&self) -> Result<()> {
        self.context.lifecycle().close();
        self.context.lifecycle().idle().await;
        if !self.context.lifecycle().is_root() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        hop(move || shared.close()).await.map_err(|error| self.context.error("close", error))
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for SledStore {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let named = |error| self.context.error("with_namespace", error);
        self.context.lifecycle().check().map_err(named)?;
        let namespace = self.namespace.join_all(segments).map_err(named)?;
        let prefix = keyspace::prefix(&namespace).into();
        let shared = Arc::clone(&self.shared);
        Ok(Arc::new(Self { shared, context: self.context.child(), namespace, prefix }))
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore")
            .field("path", self.shared.path())
            .field("namespace", &self.namespace)
            .field("durability", &self.shared.durability())
            .finish_non_exhaustive()
    }
}
