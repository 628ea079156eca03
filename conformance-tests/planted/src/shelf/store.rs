use std::fmt;
use std::sync::Arc;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Capabilities, Clock, Cursor, DeleteManyOutcome, DeleteOptions, Durability, Entry, Error,
    ErrorKind, ExpiresIn, Expiry, GetOptions, InProgress, ListPage, Namespace, NamespacePage,
    NamespacedStore, Result, SetItem, SetOptions, SetOutcome, Store, StoreContext, async_trait,
};

use super::calls::Found;
use super::medium::Medium;
use super::twist::{Call, Twist};

/// Values of more bytes are written by a thread that may take its time.
const LARGE: usize = 256 << 10;
/// What no output may show.
pub(crate) const SECRET: &str = "swordfish-42";
const URL: &str = "shelf://larder:swordfish-42@localhost";

/// All that a map behind a mutex can do, on a disk that outlives the process.
pub(crate) fn everything() -> Capabilities {
    Capabilities::new()
        .with_list(true)
        .with_ordered_list(true)
        .with_conditions(true)
        .with_renew(true)
        .with_purge(true)
        .with_shared(true)
        .with_durability(Durability::ProcessCrash)
}

/// A store behind one mutex, with namespaces, on a medium that outlives it.
///
/// A call on one key ends in its first poll; one that may walk through many goes to a thread where
/// it may take its time.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(super) context: StoreContext,
    pub(super) namespace: Namespace,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) medium: Medium,
    pub(super) twist: Arc<dyn Twist>,
}

impl Shelf {
    pub(crate) fn open(
        medium: Medium,
        clock: impl Clock + 'static,
        twist: Arc<dyn Twist>,
    ) -> Result<Self> {
        twist.open(&mut medium.lock(), clock.now())?;
        let context = StoreContext::new("shelf", twist.capabilities());
        Ok(Self { context, namespace: Namespace::root(), clock: Arc::new(clock), medium, twist })
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn begin(&self, operation: &'static str) -> Result<InProgress> {
        let call = self.context.begin_keyless(operation)?;
        if self.medium.lock().cut {
            let error = Error::new(ErrorKind::Unavailable, "the way to the shelf is cut");
            return Err(self.context.error(operation, error));
        }
        Ok(call)
    }

    /// Makes a call that may take long, in a place where nobody waits for the thread.
    async fn hop<T: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let guard = self.begin(operation)?;
        let handle = self.clone();
        let walk = move || {
            let _guard = guard;
            call(&handle)
        };
        let walked = tokio::task::spawn_blocking(walk).await;
        let lost =
            |error| Err(Error::new(ErrorKind::Internal, "the thread died").with_source(error));
        walked.unwrap_or_else(lost).map_err(|error| self.context.error(operation, error))
    }

    /// The keys of a batch with their places, each key seen to be valid.
    fn places(&self, keys: Vec<String>) -> Result<Vec<(String, String)>> {
        let place = |key: String| {
            self.twist.admits(self.capabilities(), &key).map_err(|error| error.with_key(&key))?;
            let place = self.twist.place(&self.namespace, &key);
            Ok((key, place))
        };
        keys.into_iter().map(place).collect()
    }

    fn begin_key(&self, operation: &'static str, key: &str) -> Result<(InProgress, String)> {
        let call = self.begin(operation).map_err(|error| error.with_key(key))?;
        let name = |error| self.context.key_error(operation, key, error);
        self.twist.admits(self.capabilities(), key).map_err(name)?;
        Ok((call, self.twist.place(&self.namespace, key)))
    }
}

fn owned<'k>(keys: impl Iterator<Item = &'k str>) -> Vec<String> {
    keys.map(str::to_owned).collect()
}

#[async_trait]
impl Store for Shelf {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let (_call, place) = self.begin_key("get", key)?;
        self.get(&place, &options).map_err(|error| self.context.key_error("get", key, error))
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let (call, place) = self.begin_key("set", key)?;
        let name = |error| self.context.key_error("set", key, error);
        if value.len() <= LARGE {
            return self.set(key, &place, value, &options).map_err(name);
        }
        drop(call);
        let key = key.to_owned();
        self.hop("set", move |shelf| shelf.set(&key, &place, value, &options)).await.map_err(name)
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let (_call, place) = self.begin_key("delete", key)?;
        self.delete(&place, &options).map_err(|error| self.context.key_error("delete", key, error))
    }

    async fn delete_all(&self) -> Result<()> {
        self.hop("delete_all", |shelf| {
            shelf.clear();
            Ok(())
        })
        .await
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        let (_call, place) = self.begin_key("exists", key)?;
        match self.find(&self.medium.lock(), &place, self.now(), Call::Exists) {
            Found::Nothing | Found::Expired(_) => Ok(false),
            Found::Live(record) => Ok(self.twist.shown(record.value).is_some()),
            Found::Damaged(error) => Err(self.context.key_error("exists", key, error)),
        }
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        let (_call, place) = self.begin_key("expires_in", key)?;
        let now = self.now();
        match self.find(&self.medium.lock(), &place, now, Call::ExpiresIn) {
            Found::Nothing | Found::Expired(_) => Ok(ExpiresIn::Missing),
            Found::Live(record) => Ok(self.twist.left(record.deadline, now)),
            Found::Damaged(error) => Err(self.context.key_error("expires_in", key, error)),
        }
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let (_call, place) = self.begin_key("update_expiry", key)?;
        self.update(&place, expiry)
            .map_err(|error| self.context.key_error("update_expiry", key, error))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let keys = owned(keys.iter().copied());
        self.hop("get_many", move |shelf| {
            let get = |(key, place): (String, String)| {
                let found = shelf.get(&place, &GetOptions::default());
                found
                    .map(|entry| entry.map(|entry| entry.value))
                    .map_err(|error| shelf.context.key_error("get_many", &key, error))
            };
            Ok(shelf.places(keys)?.into_iter().map(get).collect())
        })
        .await
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let keys = owned(items.iter().map(|item| item.key));
        let values: Vec<_> = items.into_iter().map(|item| (item.value, item.options)).collect();
        self.hop("set_many", move |shelf| {
            let places = shelf.places(keys)?;
            for (value, options) in &values {
                shelf.capabilities().check_set(value.len(), options)?;
            }
            let set = |((key, place), (value, options)): ((String, String), _)| {
                shelf
                    .set(&key, &place, value, &options)
                    .map_err(|error| shelf.context.key_error("set_many", &key, error))
            };
            Ok(places.into_iter().zip(values).map(set).collect())
        })
        .await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let keys = owned(keys.iter().copied());
        self.hop("delete_many", move |shelf| {
            let delete = |(key, place): (String, String)| {
                shelf
                    .delete(&place, &DeleteOptions::default())
                    .map_err(|error| shelf.context.key_error("delete_many", &key, error))
            };
            Ok(shelf.places(keys)?.into_iter().map(delete).collect())
        })
        .await
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let (prefix, cursor) = (prefix.to_owned(), cursor.cloned());
        self.hop("list_page", move |shelf| {
            shelf.listable()?;
            shelf.list(&prefix, cursor.as_ref(), limit)
        })
        .await
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let cursor = cursor.cloned();
        self.hop("list_child_namespaces", move |shelf| {
            shelf.listable()?;
            shelf.children(cursor.as_ref(), limit)
        })
        .await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let prefix = prefix.to_owned();
        self.hop("delete_prefix", move |shelf| {
            shelf.listable()?;
            Ok(shelf.prefix(&prefix))
        })
        .await
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.hop("delete_expired", |shelf| {
            if !shelf.capabilities().purge {
                return Err(Error::unsupported("purge"));
            }
            shelf.purge()
        })
        .await
    }

    async fn flush(&self) -> Result<()> {
        let _call = self.begin("flush")?;
        self.twist.flush(&mut self.medium.lock());
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        self.begin("ping").map(drop)
    }

    async fn close(&self) -> Result<()> {
        let lifecycle = self.context.lifecycle();
        let first = lifecycle.close();
        lifecycle.idle().await;
        if first && lifecycle.is_root() {
            let mut contents = self.medium.lock();
            self.twist.flush(&mut contents);
            self.twist.closed(&mut contents);
        }
        Ok(())
    }
}

impl Shelf {
    fn listable(&self) -> Result<()> {
        if self.capabilities().list { Ok(()) } else { Err(Error::unsupported("list")) }
    }
}

impl NamespacedStore for Shelf {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let name = |error| self.context.error("with_path", error);
        let _call = self.context.begin_keyless("with_path")?;
        let namespace = self.namespace.join_all(segments).map_err(name)?;
        let context = self.twist.child_context(&self.context);
        let clock = self.twist.child_clock(&self.clock);
        Ok(Arc::new(Self { context, namespace, clock, ..self.clone() }))
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("address", &self.twist.address(URL))
            .field("namespace", &self.namespace)
            .field("medium", &self.medium)
            .finish_non_exhaustive()
    }
}
