use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Capabilities, Cursor, CursorScope, Deadline, DeleteManyOutcome, DeleteOptions, Entry,
    Error, ErrorKind, ExpiresIn, Expiry, GetOptions, InProgress, ListPage, Namespace,
    NamespacePage, NamespacedStore, Result, SetItem, SetOptions, SetOutcome, Store, StoreContext,
    async_trait,
};

use crate::bulk::BULK;
use crate::config::FileStoreBuilder;
use crate::driver::{Driver, Live, Seen, Spot, version_of};
use crate::error::{BACKEND, Fault, Raw};
use crate::layout::FolderPath;
use crate::lock::Held;
use crate::record::{Life, MAX_VALUE_LEN};
use crate::task::hop;
use crate::walk::Node;

/// So few keys are read as single ones are: in place, where that does not wait.
const FEW: usize = 8;

/// A handle to a folder of files, or to one namespace in it.
///
/// It declares `list`, `conditions`, `renew`, `purge` and `shared`, keys of up to 4,096 bytes,
/// values of up to 4 GiB − 1, and deadlines of 1 µs. Clones share one store.
///
/// # Behavior
/// - Files that Litestar wrote are got, renewed, cleared and purged; they do not tell their keys, so
///   that a listing counts them and leaves them out.
/// - What Larder did not write is left alone, save files whose name is that of a key (64 lower-case
///   hex digits) in a namespace's folder: those are taken for damaged records.
/// - `list_page` looks at no more than 4,096 files a page, and remembers a folder's names between
///   pages. `list_child_namespaces` walks down each child to its first live key.
/// - `exists` and `expires_in` read the beginning of a file alone.
#[derive(Clone)]
pub struct FileStore {
    driver: Arc<Driver>,
    context: StoreContext,
    namespace: Namespace,
    folder: Arc<FolderPath>,
}

impl FileStore {
    /// Begins to configure a store whose root folder is `path`.
    pub fn builder(path: impl Into<PathBuf>) -> FileStoreBuilder {
        FileStoreBuilder::new(path.into())
    }

    pub(crate) fn new(driver: Arc<Driver>) -> Self {
        let capabilities = Capabilities::new()
            .with_list(true)
            .with_conditions(true)
            .with_renew(true)
            .with_purge(true)
            .with_shared(true)
            .with_durability(driver.durability)
            .with_max_value_len(MAX_VALUE_LEN);
        let context = StoreContext::new(BACKEND, capabilities);
        Self { driver, context, namespace: Namespace::root(), folder: Arc::default() }
    }

    /// The root folder, absolute and without symlinks.
    pub fn path(&self) -> &Path {
        self.driver.roots.path()
    }

    fn spot(&self, key: &str) -> Spot {
        Spot::new(&self.folder, key)
    }

    fn node(&self) -> Node {
        Node::new(Arc::clone(&self.folder), self.namespace.clone(), self.driver.roots.folds_case())
    }

    /// What tells this store's cursors from those of others.
    fn identity(&self) -> &[u8] {
        self.path().as_os_str().as_encoded_bytes()
    }

    fn begin(&self, operation: &'static str, key: &str) -> Result<(Arc<InProgress>, Spot)> {
        let call = self.context.begin(operation, key)?;
        Ok((Arc::new(call), self.spot(key)))
    }

    fn begin_keyless(&self, operation: &'static str) -> Result<Arc<InProgress>> {
        self.context.begin_keyless(operation).map(Arc::new)
    }

    /// Reads in place where that surely does not wait, and on a blocking thread elsewhere.
    async fn read(&self, call: &Arc<InProgress>, spot: &Spot) -> Result<Option<Live>> {
        let seen = if let Some(read) = self.driver.get_in_place(spot) {
            // A loop of such reads would never let another task run.
            tokio::task::coop::consume_budget().await;
            read?
        } else {
            let spot = spot.clone();
            self.driver.blocking(call, move |driver| driver.get(&spot)).await?
        };
        match seen {
            Seen::Live(live) => Ok(Some(live)),
            Seen::Missing => Ok(None),
            Seen::Expired => self.read_locked(call, spot, Driver::get_locked).await,
        }
    }

    /// Reads again what has been found expired, once no change of it is under way.
    async fn read_locked<T: Send + 'static>(
        &self,
        call: &Arc<InProgress>,
        spot: &Spot,
        read: fn(&Driver, &Held, &Spot) -> Raw<Option<T>>,
    ) -> Result<Option<T>> {
        let (call, spot) = (Arc::clone(call), spot.clone());
        // Apart, as it needs much room in the future of a call that seldom gets here.
        let read = Box::pin(self.change(call, spot, move |driver, held, spot| {
            match read(driver, held, spot) {
                Err(Fault::RootGone) => Err(Fault::RootGone),
                read => Ok(read),
            }
        }));
        match read.await {
            Ok(read) => Ok(read?),
            // One can only go by what there is to see.
            Err(error) if means_no_lock(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a deletion comes to. Without a lock nothing can be deleted; but where there is no file,
    /// there is nothing to delete.
    async fn deleted(
        &self,
        call: &Arc<InProgress>,
        key: &str,
        deleted: Result<bool>,
    ) -> Result<bool> {
        match deleted {
            Err(error) if means_no_lock(&error) => {
                let spot = self.spot(key);
                // Apart, as it needs much room in the future of a call that seldom gets here.
                let missing =
                    Box::pin(self.driver.blocking(call, move |driver| driver.is_missing(&spot)));
                if matches!(missing.await, Ok(true)) { Ok(false) } else { Err(error) }
            }
            deleted => deleted,
        }
    }

    /// The deadline of a live key, and when it was found live.
    async fn head(
        &self,
        call: &Arc<InProgress>,
        spot: Spot,
    ) -> Result<Option<(Option<Deadline>, DateTime<Utc>)>> {
        let looked = spot.clone();
        let found = match self.driver.blocking(call, move |driver| driver.head(&looked)).await? {
            Seen::Live(found) => Some(found),
            Seen::Missing => None,
            Seen::Expired => self.read_locked(call, &spot, Driver::head_locked).await?,
        };
        Ok(found.map(|(head, now)| (head.deadline(), now)))
    }

    /// Changes one key while its stripe is locked.
    async fn change<T: Send + 'static>(
        &self,
        call: Arc<InProgress>,
        spot: Spot,
        work: impl Fn(&Driver, &Held, &Spot) -> Raw<T> + Send + 'static,
    ) -> Result<T> {
        let stripe = spot.stripe();
        let work = move |driver: &Driver, held: &Held| work(driver, held, &spot);
        self.driver.locked(call, stripe, work).await
    }

    async fn get_entry(
        &self,
        call: Arc<InProgress>,
        spot: Spot,
        options: &GetOptions,
    ) -> Result<Option<Entry>> {
        let mut live = self.read(&call, &spot).await?;
        if let Some(renew_for) = options.renew_for {
            // Only a live key that has an expiry is renewed.
            if live.as_ref().is_some_and(|live| live.deadline.is_some()) {
                let work = move |driver: &Driver, held: &Held, spot: &Spot| {
                    driver.renew(held, spot, renew_for)
                };
                live = self.change(call, spot, work).await?;
            }
        }
        Ok(live.map(|live| {
            let mut entry = Entry::new(live.data.clone());
            if options.expires_in {
                entry = entry.with_expires_in(ExpiresIn::until(live.deadline, live.now));
            }
            if options.version {
                entry = entry.with_version(version_of(&live.data));
            }
            entry
        }))
    }

    /// What a test of the parts below needs.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (Arc<Driver>, Node, Arc<InProgress>) {
        let call = self.begin_keyless("test").expect("an open store");
        (Arc::clone(&self.driver), self.node(), call)
    }

    fn check_page(limit: usize) -> Result<()> {
        if limit > 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidConfig, "a page of no entries cannot be asked for"))
    }
}

/// Whoever may not write in the root, or finds no room for a lock file that nobody has made yet, gets
/// no lock.
fn means_no_lock(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::StorageFull)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for FileStore {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let (call, spot) = self.begin("get", key)?;
        let entry = self.get_entry(call, spot, &options).await;
        entry.map_err(|error| self.context.key_error("get", key, error))
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let (call, spot) = self.begin("set", key)?;
        let context = |error| self.context.key_error("set", key, error);
        self.context.capabilities().check_set(value.len(), &options).map_err(context)?;
        let work = move |driver: &Driver, held: &Held, spot: &Spot| {
            driver.set(held, spot, &value, &options, driver.reach())
        };
        let applied = self.change(call, spot, work).await.map_err(context)?;
        Ok(SetOutcome::from_applied(applied))
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let (call, spot) = self.begin("delete", key)?;
        let work = move |driver: &Driver, held: &Held, spot: &Spot| {
            driver.delete(held, spot, &options, driver.reach())
        };
        let deleted = self.change(Arc::clone(&call), spot, work).await;
        let deleted = self.deleted(&call, key, deleted).await;
        deleted.map_err(|error| self.context.key_error("delete", key, error))
    }

    async fn delete_all(&self) -> Result<()> {
        let call = self.begin_keyless("delete_all")?;
        let cleared = self.driver.clear(&call, self.node()).await;
        cleared.map_err(|error| self.context.error("delete_all", error))
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        let (call, spot) = self.begin("exists", key)?;
        let head = self.head(&call, spot).await;
        head.map(|head| head.is_some())
            .map_err(|error| self.context.key_error("exists", key, error))
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        let (call, spot) = self.begin("expires_in", key)?;
        let head = self.head(&call, spot).await;
        head.map(|head| match head {
            None => ExpiresIn::Missing,
            Some((deadline, now)) => ExpiresIn::until(deadline, now),
        })
        .map_err(|error| self.context.key_error("expires_in", key, error))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let call = Arc::new(self.context.begin_bulk("get_many", keys.iter().copied())?);
        let mut values = Vec::with_capacity(keys.len());
        if keys.len() <= FEW {
            for key in keys {
                values.push(self.read(&call, &self.spot(key)).await);
            }
        }
        for slice in keys[values.len()..].chunks(BULK) {
            let owned: Vec<Box<str>> = slice.iter().map(|key| (*key).into()).collect();
            let folder = Arc::clone(&self.folder);
            let read = move |driver: &Driver| {
                let read = |key: Box<str>| driver.get(&Spot::new(&folder, &key));
                Ok(owned.into_iter().map(read).collect::<Vec<_>>())
            };
            match self.driver.blocking(&call, read).await {
                Ok(read) => {
                    for (key, seen) in slice.iter().zip(read) {
                        values.push(match seen {
                            Ok(Seen::Live(live)) => Ok(Some(live)),
                            Ok(Seen::Missing) => Ok(None),
                            Ok(Seen::Expired) => {
                                self.read_locked(&call, &self.spot(key), Driver::get_locked).await
                            }
                            Err(fault) => Err(fault.into()),
                        });
                    }
                }
                Err(error) => values.extend(slice.iter().map(|_| Err(error.clone()))),
            }
        }
        let values = keys.iter().zip(values).map(|(key, live)| {
            let context = |error| self.context.key_error("get_many", key, error);
            live.map(|live| live.map(|live| live.data)).map_err(context)
        });
        Ok(values.collect())
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let call = self.context.begin_bulk("set_many", items.iter().map(|item| item.key))?;
        for item in &items {
            let checked = self.capabilities().check_set(item.value.len(), &item.options);
            checked.map_err(|error| self.context.key_error("set_many", item.key, error))?;
        }
        let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
        let changes =
            items.into_iter().map(|item| (item.key, (item.value, item.options))).collect();
        let work =
            |driver: &Driver, held: &Held, spot: &Spot, (value, options): &(Bytes, SetOptions)| {
                driver.set(held, spot, value, options, driver.partial_reach())
            };
        let outcomes = self.driver.change_many(&Arc::new(call), &self.folder, changes, work).await;
        let outcomes = keys.into_iter().zip(outcomes).map(|(key, outcome)| {
            let context = |error| self.context.key_error("set_many", key, error);
            outcome.map(SetOutcome::from_applied).map_err(context)
        });
        Ok(outcomes.collect())
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let call = Arc::new(self.context.begin_bulk("delete_many", keys.iter().copied())?);
        let changes = keys.iter().map(|key| (*key, ())).collect();
        let work = |driver: &Driver, held: &Held, spot: &Spot, (): &()| {
            driver.delete(held, spot, &DeleteOptions::default(), driver.partial_reach())
        };
        let made = self.driver.change_many(&call, &self.folder, changes, work).await;
        let mut outcomes = Vec::with_capacity(keys.len());
        for (key, deleted) in keys.iter().zip(made) {
            let context = |error| self.context.key_error("delete_many", key, error);
            outcomes.push(self.deleted(&call, key, deleted).await.map_err(context));
        }
        Ok(outcomes.into_iter().collect())
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let (call, spot) = self.begin("update_expiry", key)?;
        let work = move |driver: &Driver, held: &Held, spot: &Spot| {
            driver.update_expiry(held, spot, expiry)
        };
        let live = self.change(call, spot, work).await;
        live.map_err(|error| self.context.key_error("update_expiry", key, error))
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let call = self.begin_keyless("list_page")?;
        let context = |error| self.context.error("list_page", error);
        Self::check_page(limit).map_err(context)?;
        let scope = CursorScope::keys(self.identity(), &self.namespace, prefix);
        let after = cursor.map(|cursor| scope.open(cursor)).transpose().map_err(context)?;
        let (node, prefix) = (self.node(), prefix.to_owned());
        let page = self.driver.blocking(&call, move |driver| {
            driver.list(scope, &node, &prefix, after.as_deref(), limit)
        });
        page.await.map_err(context)
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let call = self.begin_keyless("list_child_namespaces")?;
        let context = |error| self.context.error("list_child_namespaces", error);
        Self::check_page(limit).map_err(context)?;
        let scope = CursorScope::namespaces(self.identity(), &self.namespace);
        let after = cursor.map(|cursor| scope.open(cursor)).transpose().map_err(context)?;
        let node = self.node();
        let page = self.driver.blocking(&call, move |driver| {
            driver.list_children(scope, &node, after.as_deref(), limit)
        });
        page.await.map_err(context)
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let call = self.begin_keyless("delete_prefix")?;
        let removed = self.driver.clear_prefix(&call, self.node(), prefix).await;
        removed.map_err(|error| self.context.error("delete_prefix", error))
    }

    async fn delete_expired(&self) -> Result<u64> {
        let call = self.begin_keyless("delete_expired")?;
        let removed = self.driver.purge(&call, self.node()).await;
        removed.map_err(|error| self.context.error("delete_expired", error))
    }

    async fn flush(&self) -> Result<()> {
        let call = self.begin_keyless("flush")?;
        let flushed = self.driver.blocking(&call, Driver::flush).await;
        flushed.map_err(|error| self.context.error("flush", error))
    }

    async fn ping(&self) -> Result<()> {
        let call = self.begin_keyless("ping")?;
        let ping = self.driver.blocking(&call, |driver| driver.roots.look()).await;
        let context = |error| self.context.error("ping", error);
        match ping.map_err(context)? {
            Some(_) => Ok(()),
            None => Err(context(Error::new(ErrorKind::Unavailable, "the root folder is gone"))),
        }
    }

    async fn close(&self) -> Result<()> {
        let lifecycle = self.context.lifecycle();
        lifecycle.close();
        lifecycle.idle().await;
        if lifecycle.is_root() {
            // Closing a descriptor rarely waits, but it may.
            let driver = Arc::clone(&self.driver);
            if hop(move || driver.close()).await.is_err() {
                self.driver.close();
            }
        }
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for FileStore {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let context = |error| self.context.error("with_namespace", error);
        self.context.lifecycle().check().map_err(context)?;
        let namespace = self.namespace.join_all(segments).map_err(context)?;
        let folder = Arc::new(FolderPath::of(&namespace, self.driver.roots.folds_case()));
        let (driver, context) = (Arc::clone(&self.driver), self.context.child());
        Ok(Arc::new(Self { driver, context, namespace, folder }))
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("path", &self.path())
            .field("namespace", &self.namespace)
            .field("durability", &self.context.capabilities().durability)
            .finish_non_exhaustive()
    }
}
