//! Global, session and user scopes.

use std::sync::Arc;

use larder_core::Namespace;

use crate::{CacheError, CacheResult};

/// Whose entries a cache sees (`Z1`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CacheScope {
    /// Everybody's.
    #[default]
    Global,
    /// Those of the current session, which [`ScopeContext`] names.
    Session,
    /// Those of the current user, whom [`ScopeContext`] names.
    User,
    /// Those of one session, for jobs and administration.
    SessionOf(Arc<str>),
    /// Those of one user, for jobs and administration.
    UserOf(Arc<str>),
}

impl CacheScope {
    /// The scope of the session with this identifier.
    pub fn session(id: impl Into<Arc<str>>) -> Self {
        Self::SessionOf(id.into())
    }

    /// The scope of the user with this identifier.
    pub fn user(id: impl Into<Arc<str>>) -> Self {
        Self::UserOf(id.into())
    }

    /// Tells whether the scope is the same wherever it is used.
    pub(crate) fn is_fixed(&self) -> bool {
        !matches!(self, Self::Session | Self::User)
    }

    /// The namespace of the scope; no two scopes share one, whatever their identifiers.
    pub(crate) fn path(&self) -> CacheResult<Vec<Arc<str>>> {
        let context = || ScopeContext::current().ok_or(CacheError::NoScope);
        let (root, id) = match self {
            Self::Global => return Ok(vec!["g".into()]),
            Self::Session => ("s", context()?.session.ok_or(CacheError::NoScope)?),
            Self::User => ("u", context()?.user.ok_or(CacheError::NoScope)?),
            Self::SessionOf(id) => ("s", Arc::clone(id)),
            Self::UserOf(id) => ("u", Arc::clone(id)),
        };
        Ok(vec![root.into(), id])
    }
}

/// Tells whether a namespace can be that of a scope, or of one within it, of a cache that lies
/// anywhere.
pub(crate) fn holds_entries(namespace: &Namespace) -> bool {
    let has_id = |segment| matches!(segment, "s" | "u");
    namespace.segments().any(|segment| segment == "g")
        || namespace.segments().rev().skip(1).any(has_id)
}

tokio::task_local! {
    static CONTEXT: ScopeContext;
}

/// The current session and user, for everything that runs within [`run`](Self::run), the loads that
/// it starts included (`Z1`).
///
/// ```
/// use std::sync::Arc;
/// use larder_cache::{Cache, CacheError, CacheScope, CacheSpace, ScopeContext};
/// use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), CacheError> {
/// let space = CacheSpace::new(Arc::new(MemoryStore::new()));
/// let carts = space.cache::<Vec<u32>>().scoped(CacheScope::User);
/// assert!(matches!(carts.get("cart").await, Err(CacheError::NoScope)));
/// let anna = ScopeContext::new().user("anna");
/// anna.run(async { carts.set("cart", &vec![17]).await }).await?;
/// let ben = ScopeContext::new().user("ben");
/// assert_eq!(ben.run(carts.get_value("cart")).await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeContext {
    session: Option<Arc<str>>,
    user: Option<Arc<str>>,
}

impl ScopeContext {
    /// A context that names nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the current session.
    #[must_use]
    pub fn session(mut self, id: impl Into<Arc<str>>) -> Self {
        self.session = Some(id.into());
        self
    }

    /// Names the current user.
    #[must_use]
    pub fn user(mut self, id: impl Into<Arc<str>>) -> Self {
        self.user = Some(id.into());
        self
    }

    /// Runs a future in this context; within it, an inner `run` replaces the whole.
    pub async fn run<F: Future>(self, future: F) -> F::Output {
        CONTEXT.scope(self, future).await
    }

    /// The context that the current task runs in.
    #[must_use]
    pub fn current() -> Option<Self> {
        CONTEXT.try_with(Clone::clone).ok()
    }

    /// Runs a future, in a task of its own, in the context of the caller.
    pub(crate) fn carry<F>(future: F) -> impl Future<Output = F::Output> + Send
    where
        F: Future + Send,
        F::Output: Send,
    {
        let context = Self::current();
        async move {
            match context {
                Some(context) => CONTEXT.scope(context, future).await,
                None => future.await,
            }
        }
    }
}
