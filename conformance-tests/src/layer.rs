#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;

use larder_core::{Namespace, NamespacedStore, Result, Store, forward_store};

/// A layer as a third party writes one: it changes nothing and forwards all.
#[derive(Debug, Clone)]
pub(crate) struct Layer<S>(pub(crate) S);

impl<S: Store> Store for Layer<S> {
    forward_store!(0);
}

impl<S: NamespacedStore> NamespacedStore for Layer<S> {
    fn namespace(&self) -> &Namespace {
        self.0.namespace()
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        Ok(Arc::new(Layer(self.0.with_namespace(segment)?)))
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        Ok(Arc::new(Layer(self.0.with_path(segments)?)))
    }
}
