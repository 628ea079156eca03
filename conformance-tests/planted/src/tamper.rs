use std::fmt;
use std::sync::Arc;

use larder_core::{
    Bytes, Capabilities, Cursor, DeleteManyOutcome, DeleteOptions, Entry, ExpiresIn, Expiry,
    GetOptions, ListPage, Namespace, NamespacePage, NamespacedStore, Result, SetItem, SetOptions,
    SetOutcome, Store, async_trait,
};

/// What a layer does with each call. Each default hands it on; a planted bug replaces one of them
/// (or the few that make up one bug), and so the store differs from the one below in that alone.
#[async_trait]
pub(crate) trait Tamper: fmt::Debug + Send + Sync + 'static {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        at.inner.get_opts(key, options).await
    }

    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        at.inner.set_opts(key, value, options).await
    }

    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        at.inner.delete_opts(key, options).await
    }

    async fn delete_all(&self, at: &At) -> Result<()> {
        at.inner.delete_all().await
    }

    fn capabilities(&self, at: &At) -> Capabilities {
        at.inner.capabilities()
    }

    async fn exists(&self, at: &At, key: &str) -> Result<bool> {
        at.inner.exists(key).await
    }

    async fn expires_in(&self, at: &At, key: &str) -> Result<ExpiresIn> {
        at.inner.expires_in(key).await
    }

    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        at.inner.get_many(keys).await
    }

    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        at.inner.set_many(items).await
    }

    async fn delete_many(&self, at: &At, keys: &[&str]) -> Result<DeleteManyOutcome> {
        at.inner.delete_many(keys).await
    }

    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        at.inner.update_expiry(key, expiry).await
    }

    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        at.inner.list_page(prefix, cursor, limit).await
    }

    async fn list_child_namespaces(
        &self,
        at: &At,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        at.inner.list_child_namespaces(cursor, limit).await
    }

    async fn delete_prefix(&self, at: &At, prefix: &str) -> Result<u64> {
        at.inner.delete_prefix(prefix).await
    }

    async fn delete_expired(&self, at: &At) -> Result<u64> {
        at.inner.delete_expired().await
    }

    async fn flush(&self, at: &At) -> Result<()> {
        at.inner.flush().await
    }

    async fn ping(&self, at: &At) -> Result<()> {
        at.inner.ping().await
    }

    async fn close(&self, at: &At) -> Result<()> {
        at.inner.close().await
    }

    fn with_path(&self, at: &At, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        at.inner.with_path(segments)
    }

    /// Whether children made through this layer are below it, too.
    fn goes_along(&self) -> bool {
        true
    }

    /// The process was killed: what it had not done, it does no more.
    fn killed(&self) {}

    /// What interrupted writes have left behind.
    fn litter(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Where a layer stands.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) inner: Arc<dyn NamespacedStore>,
    pub(crate) root: Arc<dyn NamespacedStore>,
}

impl At {
    /// The same key in the same namespace has the same name here, whichever handle is asked.
    pub(crate) fn name_of(&self, key: &str) -> (Namespace, String) {
        (self.inner.namespace().clone(), key.to_owned())
    }
}

/// A store below a layer.
#[derive(Clone)]
pub(crate) struct Tampered {
    at: At,
    tamper: Arc<dyn Tamper>,
}

impl Tampered {
    pub(crate) fn new(inner: Arc<dyn NamespacedStore>, tamper: Arc<dyn Tamper>) -> Self {
        Self { at: At { root: Arc::clone(&inner), inner }, tamper }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Tampered {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.tamper.get_opts(&self.at, key, options).await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.tamper.set_opts(&self.at, key, value, options).await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.tamper.delete_opts(&self.at, key, options).await
    }

    async fn delete_all(&self) -> Result<()> {
        self.tamper.delete_all(&self.at).await
    }

    fn capabilities(&self) -> Capabilities {
        self.tamper.capabilities(&self.at)
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.tamper.exists(&self.at, key).await
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        self.tamper.expires_in(&self.at, key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        self.tamper.get_many(&self.at, keys).await
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        self.tamper.set_many(&self.at, items).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        self.tamper.delete_many(&self.at, keys).await
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.tamper.update_expiry(&self.at, key, expiry).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        self.tamper.list_page(&self.at, prefix, cursor, limit).await
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        self.tamper.list_child_namespaces(&self.at, cursor, limit).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.tamper.delete_prefix(&self.at, prefix).await
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.tamper.delete_expired(&self.at).await
    }

    async fn flush(&self) -> Result<()> {
        self.tamper.flush(&self.at).await
    }

    async fn ping(&self) -> Result<()> {
        self.tamper.ping(&self.at).await
    }

    async fn close(&self) -> Result<()> {
        self.tamper.close(&self.at).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for Tampered {
    fn namespace(&self) -> &Namespace {
        self.at.inner.namespace()
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let child = self.tamper.with_path(&self.at, segments)?;
        if !self.tamper.goes_along() {
            return Ok(child);
        }
        let at = At { inner: child, root: Arc::clone(&self.at.root) };
        Ok(Arc::new(Self { at, tamper: Arc::clone(&self.tamper) }))
    }
}

impl fmt::Debug for Tampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.inner.fmt(f)
    }
}
