use std::sync::Arc;

use larder_core::{Namespace, NamespacedStore, Result, Store, async_trait, forward_store};

/// A namespace of a store that nobody else holds: closing it closes the store.
///
/// Without it the store behind `open("file:data?namespace=shop")` could never be closed, for a child
/// closes its own handles alone (`S7`).
#[derive(Debug)]
pub(crate) struct Rooted {
    root: Arc<dyn NamespacedStore>,
    child: Arc<dyn NamespacedStore>,
}

impl Rooted {
    /// `root` itself for the root namespace, else the namespace of `root`.
    pub(crate) fn open(
        root: Arc<dyn NamespacedStore>,
        namespace: &Namespace,
    ) -> Result<Arc<dyn NamespacedStore>> {
        if namespace.is_root() {
            return Ok(root);
        }
        let segments: Vec<&str> = namespace.segments().collect();
        let child = root.with_path(&segments)?;
        Ok(Arc::new(Self { root, child }))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Rooted {
    forward_store!(child: get_opts, set_opts, delete_opts, delete_all, capabilities, exists,
        expires_in, get_many, set_many, delete_many, update_expiry, list_page,
        list_child_namespaces, delete_prefix, delete_expired, flush, ping);

    async fn close(&self) -> Result<()> {
        let child = self.child.close().await;
        self.root.close().await.and(child)
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for Rooted {
    fn namespace(&self) -> &Namespace {
        self.child.namespace()
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.child.with_namespace(segment)
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        self.child.with_path(segments)
    }
}
