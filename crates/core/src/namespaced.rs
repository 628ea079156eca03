use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Capabilities, Cursor, CursorScope, DeleteManyOutcome, DeleteOptions, Entry, Error, ErrorKind,
    ExpiresIn, Expiry, GetOptions, InProgress, ListPage, Namespace, NamespacePage, Result, SetItem,
    SetOptions, SetOutcome, Store, StoreContext, store::take_turns,
};

/// How many keys are looked at, and deleted, at a time.
const PAGE: usize = 1_000;

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
/// `list_child_namespaces` and `delete_all` walk every key below the namespace.
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

    /// Namespaces below a root of another name, so that several can share one flat store. Closing one
    /// of them closes the flat store, and so ends them all (`S7`).
    ///
    /// # Errors
    /// `InvalidNamespace` when `root` is no valid segment; `Unsupported` when `inner` cannot list.
    pub fn with_root(inner: S, root: &str) -> Result<Self> {
        let context = StoreContext::new("namespaced", Capabilities::new());
        let named = |error| context.error("open", error);
        if !inner.capabilities().list {
            return Err(named(Error::unsupported("list")));
        }
        let prefix = Namespace::root().join(root).map_err(named)?.encode();
        Self::at(inner, context.clone(), Namespace::root(), prefix).map_err(named)
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

    /// Begins a call on one key, and gives the key's physical name.
    fn begin(&self, operation: &'static str, key: &str) -> Result<(InProgress, String)> {
        Ok((self.context.begin(operation, key)?, self.physical(key)))
    }

    /// Begins a bulk call, and gives the physical names of its keys.
    async fn begin_bulk(
        &self,
        operation: &'static str,
        keys: &[&str],
    ) -> Result<(InProgress, Vec<String>)> {
        let call = self.context.begin_bulk(operation, keys.iter().copied())?;
        let mut physicals = Vec::with_capacity(keys.len());
        for key in keys {
            physicals.push(self.physical(key));
            take_turns(physicals.len()).await;
        }
        Ok((call, physicals))
    }

    fn physical(&self, key: &str) -> String {
        format!("{}:{key}", self.prefix)
    }

    /// The namespaces below this one in what follows its name in a physical name; `None` where
    /// Larder cannot have written that.
    fn segments_of<'k>(&self, rest: &'k str) -> Option<Vec<Cow<'k, str>>> {
        let (path, _key) = rest.split_once(':')?;
        let segments: Option<Vec<_>> = path.split('/').map(Namespace::unescape_segment).collect();
        segments.filter(|segments| self.namespace.join_all(segments).is_ok())
    }

    /// Names a key as the caller did in the error of a bulk call that touched none.
    fn name_key(&self, error: Error) -> Error {
        let own = error.key().and_then(|key| key.strip_prefix(&*self.prefix)?.strip_prefix(':'));
        match own.map(str::to_owned) {
            Some(key) => error.replace_key(&key),
            None => error,
        }
    }

    fn child_scope(&self) -> CursorScope {
        CursorScope::namespaces(self.prefix.as_bytes(), &self.namespace)
    }
}

/// Puts the keys that the caller gave in the place of their physical names.
fn name_keys<T>(outcomes: &mut [Result<T>], keys: &[&str]) {
    for (outcome, key) in outcomes.iter_mut().zip(keys) {
        if let Err(error) = outcome {
            *error = error.clone().replace_key(key);
        }
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
        let (_call, physical) = self.begin("get", key)?;
        self.capabilities().admit("get", key, |declared| declared.check_get(&options))?;
        self.inner.get_opts(&physical, options).await.map_err(|error| error.replace_key(key))
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let (_call, physical) = self.begin("set", key)?;
        let checks = |declared: &Capabilities| declared.check_set(value.len(), &options);
        self.capabilities().admit("set", key, checks)?;
        self.inner.set_opts(&physical, value, options).await.map_err(|error| error.replace_key(key))
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let (_call, physical) = self.begin("delete", key)?;
        self.capabilities().admit("delete", key, |declared| declared.check_delete(&options))?;
        self.inner.delete_opts(&physical, options).await.map_err(|error| error.replace_key(key))
    }

    async fn delete_all(&self) -> Result<()> {
        let _call = self.context.begin_keyless("delete_all")?;
        self.inner.delete_prefix(&self.physical("")).await?;
        let below = format!("{}/", self.prefix);
        let mut cursor = None;
        loop {
            let page = self.inner.list_page(&below, cursor.as_ref(), PAGE).await?;
            let keys = page.keys.iter().map(String::as_str);
            let ours: Vec<&str> =
                keys.filter(|key| self.segments_of(&key[below.len()..]).is_some()).collect();
            for deleted in self.inner.delete_many(&ours).await?.outcomes {
                deleted?;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        let (_call, physical) = self.begin("exists", key)?;
        self.inner.exists(&physical).await.map_err(|error| error.replace_key(key))
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        let (_call, physical) = self.begin("expires_in", key)?;
        self.inner.expires_in(&physical).await.map_err(|error| error.replace_key(key))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let (_call, physicals) = self.begin_bulk("get_many", keys).await?;
        let below: Vec<&str> = physicals.iter().map(String::as_str).collect();
        let mut values = self.inner.get_many(&below).await.map_err(|error| self.name_key(error))?;
        name_keys(&mut values, keys);
        Ok(values)
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
        let (_call, physicals) = self.begin_bulk("set_many", &keys).await?;
        let items = items
            .into_iter()
            .zip(&physicals)
            .map(|(item, key)| SetItem::new(key, item.value).with_options(item.options))
            .collect();
        let mut outcomes =
            self.inner.set_many(items).await.map_err(|error| self.name_key(error))?;
        name_keys(&mut outcomes, &keys);
        Ok(outcomes)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let (_call, physicals) = self.begin_bulk("delete_many", keys).await?;
        let below: Vec<&str> = physicals.iter().map(String::as_str).collect();
        let outcome = self.inner.delete_many(&below).await;
        let mut outcome = outcome.map_err(|error| self.name_key(error))?;
        name_keys(&mut outcome.outcomes, keys);
        Ok(outcome)
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let (_call, physical) = self.begin("update_expiry", key)?;
        self.inner.update_expiry(&physical, expiry).await.map_err(|error| error.replace_key(key))
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let _call = self.context.begin_keyless("list_page")?;
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
        let _call = self.context.begin_keyless("list_child_namespaces")?;
        let scope = self.child_scope();
        let position = cursor.map(|cursor| scope.open(cursor)).transpose();
        let position =
            position.map_err(|error| self.context.error("list_child_namespaces", error))?;
        let below = format!("{}/", self.prefix);
        let inner = position.as_ref().and_then(inner_cursor);
        let page = self.inner.list_page(&below, inner.as_ref(), limit).await?;
        let mut segments: Vec<String> = page
            .keys
            .iter()
            .filter_map(|key| {
                let segments = self.segments_of(&key[below.len()..])?;
                segments.into_iter().next().map(Cow::into_owned)
            })
            .collect();
        segments.sort_unstable();
        segments.dedup();
        Ok(NamespacePage::new(segments, page.next.map(|next| scope.seal(next.as_bytes()))))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let _call = self.context.begin_keyless("delete_prefix")?;
        self.inner.delete_prefix(&format!("{}:{prefix}", self.prefix)).await
    }

    async fn delete_expired(&self) -> Result<u64> {
        let _call = self.context.begin_keyless("delete_expired")?;
        if self.capabilities().purge {
            return Ok(0);
        }
        Err(self.context.error("delete_expired", Error::unsupported("purge")))
    }

    async fn flush(&self) -> Result<()> {
        let _call = self.context.begin_keyless("flush")?;
        self.inner.flush().await
    }

    async fn ping(&self) -> Result<()> {
        let _call = self.context.begin_keyless("ping")?;
        self.inner.ping().await
    }

    async fn close(&self) -> Result<()> {
        let lifecycle = self.context.lifecycle();
        lifecycle.close();
        lifecycle.idle().await;
        if lifecycle.is_root() { self.inner.close().await } else { Ok(()) }
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
        let _call = self.context.begin_keyless("with_namespace")?;
        let named = |error| self.context.error("with_namespace", error);
        let namespace = self.namespace.join_all(segments).map_err(named)?;
        let mut prefix = self.prefix.clone();
        for segment in segments {
            prefix.push('/');
            prefix.push_str(&Namespace::escape_segment(segment));
        }
        let child = Self::at(self.inner.clone(), self.context.child(), namespace, prefix);
        Ok(Arc::new(child.map_err(named)?))
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
