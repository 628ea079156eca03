use std::sync::Arc;

use larder_core::Namespace;

use crate::hash;
use crate::route::Route;

/// An entry by name.
#[derive(Debug, Clone)]
pub(crate) struct Id {
    pub(crate) scope: Namespace,
    pub(crate) key: Arc<str>,
    /// Of the key alone.
    pub(crate) key_hash: u64,
    /// Of both.
    pub(crate) hash: u64,
}

impl Id {
    pub(crate) fn new(scope: Namespace, key: Arc<str>) -> Self {
        Self::with_hash(hash::of_scope(&scope), scope, key)
    }

    /// The name of a key in a route's scope.
    pub(crate) fn on(route: &Route, key: Arc<str>) -> Self {
        Self::with_hash(route.hash, route.scope.clone(), key)
    }

    fn with_hash(scope_hash: u64, scope: Namespace, key: Arc<str>) -> Self {
        let key_hash = hash::of_key(&key);
        Self { scope, key, key_hash, hash: hash::of_both(scope_hash, key_hash) }
    }

    /// Tells whether it names this key of this scope.
    #[inline]
    pub(crate) fn is(&self, scope: &Namespace, key: &str) -> bool {
        *self.key == *key && self.scope == *scope
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.is(&other.scope, &other.key)
    }
}

impl Eq for Id {}
