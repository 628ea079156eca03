use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Capabilities, Cursor, CursorScope, DeleteManyOutcome, DeleteOptions, Entry, Error, ErrorKind,
    ExpiresIn, Expiry, GetOptions, ListPage, Namespace, NamespacePage, Result, SetItem, SetOptions,
    SetOutcome, Store, StoreContext,
};

/// A store whose keys live in a tree of namespaces.
///
/// # Behavior
/// - A child has its parent's whole configuration (`N3`); keys of different namespaces never meet,
///   whatever their names (`N1`).
/// - `delete_all` and `delete_expired` act on a namespace and all its descendants; every other
///   operation acts on the namespace's own keys (`N2`).
/// - `close` on a child closes the handles of that child alone (`S7`).
///
/// # Examples
/// It upcasts to a plain store:
///
/// ```
/// use std::sync::Arc;
/// use larder_core::{NamespacedStore, Result, Store};
/// fn cart(root: &dyn NamespacedStore) -> Result<Arc<dyn Store>> {
///     Ok(root.with_path(&["shop", "cart"])?)
/// }
/// ```
pub trait NamespacedStore: Store {
    /// The path of this namespace, as seen from the store's root.
    fn namespace(&self) -> &Namespace;

    /// Returns a handle to the child namespace named `segment`, which need not exist.
    ///
    /// # Errors
    /// `InvalidNamespace` when the limits of [`Namespace::join`] are broken; `Closed`.
    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    /// Returns a handle to the namespace reached by `segments` from here; none of them gives another
    /// handle to this namespace.
    ///
    /// # Errors
    /// As [`with_namespace`](Self::with_namespace).
    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>>;
}

/// Namespaces over any flat store that can list.
///
/// A key `k` in the namespace `a`, `b` is kept as `ROOT/a/b:k`, where segments are escaped so that
/// no two namespaces meet ([`Namespace::encode`]). Data of the inner store that does not begin with
/// the root's name is never touched.
///
/// It declares what the inner store declares, save `purge` (the inner store purges without regard
/// to namespaces; call it there) and the key length, from which the prefix is taken.
///
/// `list_child_namespaces` walks every key below the namespace.
#[derive(Clone)]
pub struct Namespaced<S> {
    inner: S,
    context: StoreContext,
    namespace: Namespace,
    /// The root's name and the namespace, encoded, without a final separator.
    prefix: String,
}

impl<S: Store + Clone + 'static> Namespaced<S> {
    /// Namespaces below the root named `larder`.
    ///
    /// # Errors
    /// As [`with_root`](Self::with_root).
    pub fn new(inner: S) -> Result<Self> {
        Self::with_root(inner, "larder")
    }

    /// Namespaces below a root of another name, so that several can share one flat store.
    ///
    /// # Errors
    /// `InvalidNamespace` when `root` is no valid segment; `Unsupported` when `inner` cannot list.
    pub fn with_root(inner: S, root: &str) -> Result<Self> {
        if !inner.capabilities().list {
            return Err(Error::unsupported("list"));
        }
        let prefix = Namespace::root().join(root)?.encode();
        let context = StoreContext::new("namespaced", Capabilities::new());
        Self::at(inner, context, Namespace::root(), prefix)
    }

    fn at(inner: S, context: StoreContext, namespace: Namespace, prefix: String) -> Result<Self> {
        let below = inner.capabilities();
        let Some(max_key_len) = below.max_key_len.checked_sub(prefix.len() + 1) else {
            let text = "the inner store's key length leaves no room for the namespace";
            return Err(Error::new(ErrorKind::InvalidNamespace, text));
        };
        let own =
            below.with_max_key_len(max_key_len).with_purge(below.purge && below.native_expiry);
        Ok(Self { inner, context: context.with_capabilities(own), namespace, prefix })
    }

    /// The flat store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn physical(&self, operation: &'static str, key: &str) -> Result<String> {
        self.context.check(operation, key)?;
        Ok(format!("{}:{key}", self.prefix))
    }

    fn physicals(&self, operation: &'static str, keys: &[&str]) -> Result<Vec<String>> {
        self.open(operation)?;
        keys.iter().map(|key| self.physical(operation, key)).collect()
    }

    fn open(&self, operation: &'static str) -> Result<()> {
        self.context.lifecycle().check().map_err(|error| self.context.error(operation, error))
    }

    fn child_scope(&self) -> CursorScope {
        CursorScope::namespaces(self.prefix.as_bytes(), &self.namespace)
    }
}

/// Position of a child listing: the inner cursor's bytes; none of them means the start.
fn inner_cursor(position: &Bytes) -> Option<Cursor> {
    (!position.is_empty()).then(|| Cursor::from_bytes(position.clone()))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store + Clone + 'static> Store for Namespaced<S> {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let physical = self.physical("get", key)?;
        self.inner.get_opts(&physical, options).await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let physical = self.physical("set", key)?;
        self.inner.set_opts(&physical, value, options).await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let physical = self.physical("delete", key)?;
        self.inner.delete_opts(&physical, options).await
    }

    async fn delete_all(&self) -> Result<()> {
        self.open("delete_all")?;
        for separator in [':', '/'] {
            self.inner.delete_prefix(&format!("{}{separator}", self.prefix)).await?;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        let physical = self.physical("exists", key)?;
        self.inner.exists(&physical).await
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        let physical = self.physical("expires_in", key)?;
        self.inner.expires_in(&physical).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let physicals = self.physicals("get_many", keys)?;
        let keys: Vec<&str> = physicals.iter().map(String::as_str).collect();
        self.inner.get_many(&keys).await
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
        let physicals = self.physicals("set_many", &keys)?;
        let items = items
            .into_iter()
            .zip(&physicals)
            .map(|(item, key)| SetItem::new(key, item.value).with_options(item.options))
            .collect();
        self.inner.set_many(items).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let physicals = self.physicals("delete_many", keys)?;
        let keys: Vec<&str> = physicals.iter().map(String::as_str).collect();
        self.inner.delete_many(&keys).await
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let physical = self.physical("update_expiry", key)?;
        self.inner.update_expiry(&physical, expiry).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        self.open("list_page")?;
        // The inner cursor is bound to the inner store and to the whole physical prefix.
        let physical = format!("{}:{prefix}", self.prefix);
        let page = self.inner.list_page(&physical, cursor, limit).await?;
        let skip = self.prefix.len() + 1;
        let keys = page.keys.into_iter().map(|mut key| key.split_off(skip)).collect();
        Ok(ListPage::new(keys, page.next).with_unlisted(page.unlisted))
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        self.open("list_child_namespaces")?;
        let scope = self.child_scope();
        let position = cursor.map(|cursor| scope.open(cursor)).transpose()?;
        let below = format!("{}/", self.prefix);
        let inner = position.as_ref().and_then(inner_cursor);
        let page = self.inner.list_page(&below, inner.as_ref(), limit).await?;
        let mut segments: Vec<String> = page
            .keys
            .iter()
            .filter_map(|key| {
                let rest = &key[below.len()..];
                let segment = rest.split(['/', ':']).next()?;
                Some(Namespace::unescape_segment(segment)?.into_owned())
            })
            .collect();
        segments.sort_unstable();
        segments.dedup();
        Ok(NamespacePage::new(segments, page.next.map(|next| scope.seal(next.as_bytes()))))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.open("delete_prefix")?;
        self.inner.delete_prefix(&format!("{}:{prefix}", self.prefix)).await
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.open("delete_expired")?;
        if self.capabilities().purge {
            return Ok(0);
        }
        Err(self.context.error("delete_expired", Error::unsupported("purge")))
    }

    async fn flush(&self) -> Result<()> {
        self.open("flush")?;
        self.inner.flush().await
    }

    async fn ping(&self) -> Result<()> {
        self.open("ping")?;
        self.inner.ping().await
    }

    async fn close(&self) -> Result<()> {
        self.context.lifecycle().close();
        if self.context.lifecycle().is_root() { self.inner.close().await } else { Ok(()) }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store + Clone + 'static> NamespacedStore for Namespaced<S> {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        self.open("with_namespace")?;
        let namespace = self
            .namespace
            .join_all(segments)
            .map_err(|error| self.context.error("with_namespace", error))?;
        let mut prefix = self.prefix.clone();
        for segment in segments {
            prefix.push('/');
            prefix.push_str(&Namespace::escape_segment(segment));
        }
        Ok(Arc::new(Self::at(self.inner.clone(), self.context.child(), namespace, prefix)?))
    }
}

impl<S: fmt::Debug> fmt::Debug for Namespaced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespaced")
            .field("inner", &self.inner)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
