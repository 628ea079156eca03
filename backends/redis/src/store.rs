use std::fmt;
use std::sync::Arc;

use larder_core::{
    Bytes, Capabilities, Cursor, DeleteManyOutcome, DeleteOptions, Entry, Error, ExpiresIn, Expiry,
    GetOptions, ListPage, Namespace, NamespacePage, NamespacedStore, Result, SetItem, SetOptions,
    SetOutcome, Store, StoreContext, Version, async_trait,
};
use tokio::sync::Mutex;

use crate::apart::{LARGE, begin_apart};
use crate::config::RedisStoreBuilder;
use crate::connection::RedisConnection;
use crate::driver::{Driver, life, number, truth};
use crate::error::Effect;
use crate::keys::{PhysicalKey, command};
use crate::write::version_len;

/// A store on a Redis server; see the [crate's docs](crate).
///
/// Clones are cheap and share the connections. [`close`](Store::close) ends connections that were
/// made from a URL, and lets go of one that the application handed in.
#[derive(Clone)]
pub struct RedisStore(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: StoreContext,
    pub(crate) namespace: Namespace,
    /// What every key of this namespace begins with, the colon included; `None` for raw keys.
    pub(crate) prefix: Option<String>,
}

/// What all handles of one store share.
pub(crate) struct Shared {
    pub(crate) driver: Driver,
    /// Tells the server and the root namespace from others in cursors.
    pub(crate) identity: String,
    /// Held while connections are opened or closed on demand.
    gate: Mutex<()>,
}

impl RedisStore {
    /// Begins a store with connections of its own to the server at `url`.
    ///
    /// The forms are `redis://[[user]:password@]host[:port][/db]`, `rediss://…` for TLS, and
    /// `redis+unix:///path[?db=…&user=…&pass=…]`; `?protocol=resp3` chooses the protocol, and
    /// `?ca=PATH` names root certificates for TLS.
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::from_url(url.into())
    }

    /// Begins a store over the application's connection, which is never closed by the store.
    ///
    /// A cursor of its listings is good for this store and its clones alone: what else the connection
    /// is lent to may be another server.
    pub fn builder_with_connection(connection: impl Into<RedisConnection>) -> RedisStoreBuilder {
        RedisStoreBuilder::from_connection(connection.into())
    }

    pub(crate) fn new(
        driver: Driver,
        context: StoreContext,
        prefix: Option<String>,
        server: &str,
    ) -> Self {
        let identity = format!("{server} {}", prefix.as_deref().unwrap_or_default());
        let shared = Arc::new(Shared { driver, identity, gate: Mutex::new(()) });
        Self(Arc::new(Inner { shared, context, namespace: Namespace::root(), prefix }))
    }

    pub(crate) async fn connect_now(&self) -> Result<()> {
        self.driver().connect().await
    }

    /// Makes the connections that are missing; does nothing when all are there.
    ///
    /// Calls do so themselves: this is for an application that wants to know early.
    ///
    /// # Errors
    /// `Closed`; `Unavailable`, `Timeout`, `PermissionDenied`, `InvalidConfig` as in building.
    pub async fn connect(&self) -> Result<()> {
        // First the gate: a close that holds it waits for the calls in progress.
        let _gate = self.0.shared.gate.lock().await;
        let _call = self.0.context.begin_keyless("connect")?;
        self.connect_now().await.map_err(|error| self.0.context.error("connect", error))
    }

    /// Makes every connection anew, and opens the store again if it was closed.
    ///
    /// Calls in progress end on the connections on which they began.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); every connection is left as it was, and a store that was closed
    /// stays so. `Unknown` when the server does not answer and a write that was given up may still
    /// take effect; `Unsupported` for a store over the application's connection.
    pub async fn reconnect(&self) -> Result<()> {
        let _gate = self.0.shared.gate.lock().await;
        let outcome = self.driver().reconnect().await;
        outcome.map_err(|error| self.0.context.error("reconnect", error))?;
        self.0.context.lifecycle().reopen();
        Ok(())
    }

    /// The connection whose turn it is, for commands that a store has no word for.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connection(&self) -> Result<RedisConnection> {
        let _call = self.0.context.begin_keyless("connection")?;
        let lease = self.driver().lease().await;
        let lease = lease.map_err(|error| self.0.context.error("connection", error))?;
        Ok(lease.into_connection())
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.0.shared.driver
    }

    pub(crate) fn physical<'a>(&'a self, key: &'a str) -> PhysicalKey<'a> {
        PhysicalKey { prefix: self.0.prefix.as_deref().unwrap_or_default(), key }
    }

    /// The prefix of a store that has one.
    pub(crate) fn tree(&self, capability: &'static str) -> Result<&str> {
        self.0.prefix.as_deref().ok_or_else(|| Error::unsupported(capability))
    }

    pub(crate) fn error(&self, operation: &'static str) -> impl Fn(Error) -> Error + '_ {
        move |error| self.0.context.error(operation, error)
    }

    pub(crate) fn key_error<'a>(
        &'a self,
        operation: &'static str,
        key: &'a str,
    ) -> impl Fn(Error) -> Error + 'a {
        move |error| self.0.context.key_error(operation, key, error)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for RedisStore {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let _call = self.0.context.begin("get", key)?;
        let found = if options.renew_for.is_none() && !options.expires_in {
            self.get(key).await.map(|value| value.map(Entry::new))
        } else {
            let found = Box::pin(self.get_with_life(key, options.renew_for)).await;
            found.map(|found| {
                found.map(|(value, left)| {
                    let mut entry = Entry::new(value);
                    entry.expires_in = Some(left).filter(|_| options.expires_in);
                    entry
                })
            })
        };
        let mut found = found.map_err(self.key_error("get", key))?;
        if let Some(entry) = found.as_mut().filter(|_| options.version) {
            entry.version = Some(Version::new(entry.value.clone()));
        }
        Ok(found)
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let call = self.0.context.begin("set", key)?;
        let checked = self.0.context.capabilities().check_set(value.len(), &options);
        checked.map_err(self.key_error("set", key))?;
        let done = if value.len() + version_len(&options.condition) < LARGE {
            self.set(key, &value, &options).await
        } else {
            let (store, key) = (self.clone(), key.to_owned());
            Box::pin(begin_apart(async move {
                let _call = call;
                store.set(&key, &value, &options).await
            }))
            .await
        };
        done.map_err(self.key_error("set", key))
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let call = self.0.context.begin("delete", key)?;
        let done = if version_len(&options.condition) < LARGE {
            self.delete(key, &options).await
        } else {
            let (store, key) = (self.clone(), key.to_owned());
            Box::pin(begin_apart(async move {
                let _call = call;
                store.delete(&key, &options).await
            }))
            .await
        };
        done.map_err(self.key_error("delete", key))
    }

    async fn delete_all(&self) -> Result<()> {
        let _call = self.0.context.begin_keyless("delete_all")?;
        self.clear_tree().await.map_err(self.error("delete_all"))
    }

    fn capabilities(&self) -> Capabilities {
        self.0.context.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        let _call = self.0.context.begin("exists", key)?;
        let command = command("EXISTS", self.physical(key), 0, 0);
        let reply = self.driver().run(&command, Effect::Read).await;
        let there = reply.and_then(|reply| truth(&reply, Effect::Read));
        there.map_err(self.key_error("exists", key))
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        let _call = self.0.context.begin("expires_in", key)?;
        let command = command("PTTL", self.physical(key), 0, 0);
        let reply = self.driver().run(&command, Effect::Read).await;
        let left = reply.and_then(|reply| number(&reply, Effect::Read));
        Ok(life(left.map_err(self.key_error("expires_in", key))?))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let _call = self.0.context.begin_bulk("get_many", keys.iter().copied())?;
        Ok(self.read_many(keys).await)
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let keys = items.iter().map(|item| item.key);
        let call = Arc::new(self.0.context.begin_bulk("set_many", keys)?);
        for item in &items {
            let checked = self.capabilities().check_set(item.value.len(), &item.options);
            checked.map_err(self.key_error("set_many", item.key))?;
        }
        Ok(self.write_many(&items, &call).await)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let _call = self.0.context.begin_bulk("delete_many", keys.iter().copied())?;
        Ok(self.unlink_many(keys).await.into_iter().collect())
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let _call = self.0.context.begin("update_expiry", key)?;
        self.renew(key, expiry).await.map_err(self.key_error("update_expiry", key))
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let _call = self.0.context.begin_keyless("list_page")?;
        self.page_of_keys(prefix, cursor, limit).await.map_err(self.error("list_page"))
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let _call = self.0.context.begin_keyless("list_child_namespaces")?;
        let page = self.page_of_children(cursor, limit).await;
        page.map_err(self.error("list_child_namespaces"))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let _call = self.0.context.begin_keyless("delete_prefix")?;
        self.clear_prefix(prefix).await.map_err(self.error("delete_prefix"))
    }

    async fn delete_expired(&self) -> Result<u64> {
        let _call = self.0.context.begin_keyless("delete_expired")?;
        // The server removes them itself.
        self.tree("purge").map(|_| 0).map_err(self.error("delete_expired"))
    }

    async fn flush(&self) -> Result<()> {
        // An answered write is as durable as the server makes it.
        let _call = self.0.context.begin_keyless("flush")?;
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        let _call = self.0.context.begin_keyless("ping")?;
        let reply = self.driver().run(&redis::cmd("PING"), Effect::Read).await;
        reply.map(drop).map_err(self.error("ping"))
    }

    async fn close(&self) -> Result<()> {
        let lifecycle = self.0.context.lifecycle();
        if !lifecycle.is_root() {
            lifecycle.close();
            lifecycle.idle().await;
            // Not to come after this, a write that was dropped is waited for (`S5`).
            return self.driver().drain().await.map_err(self.error("close"));
        }
        let _gate = self.0.shared.gate.lock().await;
        lifecycle.close();
        lifecycle.idle().await;
        self.driver().close().await.map_err(self.error("close"))
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for RedisStore {
    fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let named = self.error("with_namespace");
        self.0.context.lifecycle().check().map_err(&named)?;
        let namespace = self.0.namespace.join_all(segments).map_err(&named)?;
        let prefix = match &self.0.prefix {
            Some(prefix) => {
                let mut prefix = prefix[..prefix.len() - 1].to_owned();
                for segment in segments {
                    prefix.push('/');
                    prefix.push_str(&Namespace::escape_segment(segment));
                }
                prefix.push(':');
                Some(prefix)
            }
            None if segments.is_empty() => None,
            None => {
                let text = "a store with raw keys has no namespaces";
                let error = Error::new(larder_core::ErrorKind::Unsupported, text);
                return Err(named(error));
            }
        };
        let shared = Arc::clone(&self.0.shared);
        let context = self.0.context.child();
        Ok(Arc::new(Self(Arc::new(Inner { shared, context, namespace, prefix }))))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("driver", &self.0.shared.driver)
            .field("prefix", &self.0.prefix)
            .field("closed", &self.0.context.lifecycle().is_closed())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_future_of_a_call_stays_small() {
        let store = RedisStore::builder("redis://localhost").lazy(true).build().await.unwrap();
        // The driver's own takes 1.1 KB of it. It is allocated for each call.
        let get = size_of_val(&*store.get_opts("k", GetOptions::default()));
        let set = size_of_val(&*store.set_opts("k", Bytes::new(), SetOptions::default()));
        let delete = size_of_val(&*store.delete_opts("k", DeleteOptions::default()));
        assert!(get.max(set).max(delete) < 2048, "{get} {set} {delete}");
    }
}
