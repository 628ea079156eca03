//! Where a view's entries are.

use std::ops::Deref;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use larder_core::{Namespace, NamespacedStore};

use crate::{CacheResult, hash};

/// A scope's path within the space, and the store's handle to it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) scope: Namespace,
    /// Of the scope.
    pub(crate) hash: u64,
    pub(crate) store: Arc<dyn NamespacedStore>,
    /// Which opening of the store the handle belongs to.
    pub(crate) generation: u64,
}

impl Route {
    pub(crate) fn new(
        scope: Namespace,
        store: Arc<dyn NamespacedStore>,
        generation: u64,
    ) -> Arc<Self> {
        Arc::new(Self { hash: hash::of_scope(&scope), scope, store, generation })
    }
}

/// The route of a view whose scope is the same everywhere.
#[derive(Debug, Default, Clone)]
pub(crate) struct Routes {
    /// The first one that was needed: to look at it counts no references.
    first: OnceLock<Arc<Route>>,
    /// The one that took its place when the store was opened again.
    later: Arc<RwLock<Option<Arc<Route>>>>,
}

/// A route for one call.
#[derive(Debug)]
pub(crate) enum RouteRef<'a> {
    Kept(&'a Arc<Route>),
    Made(Arc<Route>),
}

impl RouteRef<'_> {
    /// The route, to be kept beyond the call.
    pub(crate) fn into_shared(self) -> Arc<Route> {
        match self {
            Self::Kept(route) => Arc::clone(route),
            Self::Made(route) => route,
        }
    }
}

impl Deref for RouteRef<'_> {
    type Target = Arc<Route>;

    #[inline]
    fn deref(&self) -> &Arc<Route> {
        match self {
            Self::Kept(route) => route,
            Self::Made(route) => route,
        }
    }
}

impl Routes {
    /// The route as of this opening of the store, made if need be.
    #[inline]
    pub(crate) fn get_or_make(
        &self,
        generation: u64,
        make: impl FnOnce() -> CacheResult<Arc<Route>>,
    ) -> CacheResult<RouteRef<'_>> {
        match self.first.get() {
            Some(route) if route.generation == generation => Ok(RouteRef::Kept(route)),
            Some(_) => self.later(generation, make),
            None => {
                let route = make()?;
                let first = self.first.get_or_init(|| Arc::clone(&route));
                // Another caller may have put one of an earlier opening there.
                let same = first.generation == route.generation;
                Ok(if same { RouteRef::Kept(first) } else { RouteRef::Made(route) })
            }
        }
    }

    #[cold]
    fn later(
        &self,
        generation: u64,
        make: impl FnOnce() -> CacheResult<Arc<Route>>,
    ) -> CacheResult<RouteRef<'_>> {
        let later = self.later.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(route) = later.filter(|route| route.generation == generation) {
            return Ok(RouteRef::Made(route));
        }
        let route = make()?;
        *self.later.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&route));
        Ok(RouteRef::Made(route))
    }
}
