//! What a cache sees of its space, and how it reads values there.

use std::sync::Arc;
use std::time::Duration;

use larder_core::{Clock, Codec, Expiry, Namespace};

use crate::route::{Route, RouteRef, Routes};
use crate::{CacheResult, CacheScope, CacheSpace};

/// What all clones of one [`Cache`](crate::Cache) share.
pub(crate) struct View<V> {
    pub(crate) space: CacheSpace,
    pub(crate) lens: Arc<Lens<V>>,
    pub(crate) tag: u64,
    pub(crate) wait: Option<Duration>,
    /// In place of the space's default expiry.
    pub(crate) expiry: Option<Expiry>,
    pub(crate) scope: CacheScope,
    pub(crate) nested: Vec<Arc<str>>,
    pub(crate) routes: Routes,
}

/// What an item needs of its cache; it keeps no store open.
pub(crate) struct Lens<V> {
    pub(crate) codec: Arc<dyn Codec<V>>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<V: 'static> View<V> {
    pub(crate) fn new(space: CacheSpace, codec: Arc<dyn Codec<V>>, tag: u64) -> Self {
        let config = &space.0.config;
        Self {
            wait: config.hard_timeout,
            lens: Arc::new(Lens { codec, clock: Arc::clone(&config.clock) }),
            space,
            tag,
            expiry: None,
            scope: CacheScope::Global,
            nested: Vec::new(),
            routes: Routes::default(),
        }
    }

    /// The same view in another scope.
    pub(crate) fn at(&self, scope: CacheScope, nested: Vec<Arc<str>>) -> Self {
        Self { scope, nested, routes: Routes::default(), ..self.again() }
    }

    /// The same view once more, to be changed.
    pub(crate) fn again(&self) -> Self {
        Self {
            space: self.space.clone(),
            lens: Arc::clone(&self.lens),
            tag: self.tag,
            wait: self.wait,
            expiry: self.expiry,
            scope: self.scope.clone(),
            nested: self.nested.clone(),
            routes: self.routes.clone(),
        }
    }

    #[inline]
    pub(crate) fn route(&self) -> CacheResult<RouteRef<'_>> {
        let inner = &self.space.0;
        inner.check_open()?;
        if self.scope.is_fixed() {
            self.routes.get_or_make(inner.generation(), || self.make_route())
        } else {
            self.make_route().map(RouteRef::Made)
        }
    }

    fn make_route(&self) -> CacheResult<Arc<Route>> {
        let scope = Namespace::from_segments(self.scope.path()?)?.join_all(&self.nested)?;
        self.space.0.route(scope)
    }
}
