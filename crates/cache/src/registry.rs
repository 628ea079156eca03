use std::sync::Arc;

use crate::{CacheBuilder, CacheScope, CacheSpace, CacheStoreHandle, Policy, Space};

/// The name of an entry of a registry, with the policy that its values are kept by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryEntry {
    name: Arc<str>,
    policy: Policy,
    scope: CacheScope,
}

impl RegistryEntry {
    /// An entry in the global scope.
    ///
    /// The name is that of a namespace below the store: not empty, 255 bytes at most.
    pub fn new(name: impl Into<Arc<str>>, policy: Policy) -> Self {
        Self { name: name.into(), policy, scope: CacheScope::Global }
    }

    /// An entry whose values belong to a scope, such as the current user.
    #[must_use]
    pub fn scoped(mut self, scope: CacheScope) -> Self {
        self.scope = scope;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    pub(crate) fn scope(&self) -> &CacheScope {
        &self.scope
    }
}

/// Makes the space of one registry entry, to be adjusted and built: the policy has one instance in
/// each scope.
pub fn cache_for_policy(store: impl Into<CacheStoreHandle>, policy: Policy) -> CacheBuilder<Space> {
    CacheSpace::builder(store).policy_per_scope(policy)
}
