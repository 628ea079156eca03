use std::any::{Any, type_name};
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use larder_core::{Error, ErrorKind};

/// The result of a call of the cache.
pub type CacheResult<T, E = CacheError> = Result<T, E>;

/// What went wrong in the cache.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CacheError {
    /// The store below failed, or refused the call.
    Store(Error),
    /// There is no such entry, and the call was one that needs it.
    NotFound,
    /// A session or user scope was used outside a [`ScopeContext`](crate::ScopeContext) that names
    /// one.
    NoScope,
    /// The lock is held by another, and the call was told not to wait (any longer).
    Busy,
    /// Another write came between the read and the write of a [`getset`](crate::Cache::getset).
    Conflict,
    /// The lock was no longer ours when the write was due; nothing was written.
    LockLost,
    /// The counter of fencing tokens is gone from the store, though tokens were drawn: it was
    /// evicted, or deleted by hand. A new one could repeat them, so no lock is given (`L2`).
    FenceLost,
    /// A loader asked for the very key that it was loading.
    Reentrant,
    /// The pending value was given up, evicted, deleted or cleared away before it had a value.
    Abandoned,
    /// The caller's deadline passed, or the load's.
    TimedOut,
    /// The task that was to give the value was cancelled.
    Cancelled,
    /// The task that was to give the value panicked, with this message.
    Panicked(Arc<str>),
    /// The runtime, or the space, was shut down while the value was being loaded.
    ShutDown,
    /// The entry was not taken in; nothing was changed.
    Refused(Refusal),
    /// A blocking call was made on a thread that runs async tasks.
    WouldBlock,
    /// The load failed with an error of its own, told to a caller who does not know its type.
    Load(LoadFailure),
}

/// Why an entry was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It weighs more than the whole cache may.
    TooHeavy {
        /// The weight of the entry.
        weight: u64,
        /// The capacity of the cache.
        capacity: u64,
    },
    /// As many entries are pinned as may be.
    PinBudget {
        /// How many entries may be pinned.
        budget: u64,
    },
}

impl CacheError {
    pub(crate) fn config(message: &'static str) -> Self {
        Error::new(ErrorKind::InvalidConfig, message).into()
    }

    pub(crate) fn closed() -> Self {
        Error::from(ErrorKind::Closed).into()
    }

    /// The store's error, where that is what this is.
    #[must_use]
    pub fn store_error(&self) -> Option<&Error> {
        if let Self::Store(error) = self { Some(error) } else { None }
    }

    /// The kind of the store's error, where that is what this is.
    #[must_use]
    pub fn store_kind(&self) -> Option<ErrorKind> {
        self.store_error().map(Error::kind)
    }
}

impl From<Error> for CacheError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The store's error is shown whole here, so it is not the source as well.
            Self::Store(error) => error.fmt(f),
            Self::NotFound => f.write_str("there is no such entry"),
            Self::NoScope => f.write_str("no session or user is in scope"),
            Self::Busy => f.write_str("the lock is held by another"),
            Self::Conflict => f.write_str("another write came first"),
            Self::LockLost => f.write_str("the lock was lost before the write"),
            Self::FenceLost => f.write_str(
                "the counter of fencing tokens is gone from the store, evicted or deleted by hand, \
                 and a new one could repeat tokens: delete the mark beside it, in the namespace \
                 d/fence, once no holder of an old token is left",
            ),
            Self::Reentrant => f.write_str("a loader asked for the key that it was loading"),
            Self::Abandoned => f.write_str("the pending value was abandoned"),
            Self::TimedOut => f.write_str("timed out waiting for the value"),
            Self::Cancelled => f.write_str("the task that was to give the value was cancelled"),
            Self::Panicked(message) => write!(f, "the loader panicked: {message}"),
            Self::ShutDown => f.write_str("shut down while the value was being loaded"),
            Self::Refused(Refusal::TooHeavy { weight, capacity }) => {
                write!(f, "the entry weighs {weight}, and the whole cache may weigh {capacity}")
            }
            Self::Refused(Refusal::PinBudget { budget }) => {
                write!(f, "{budget} entries are pinned, and no more may be")
            }
            Self::WouldBlock => {
                f.write_str("a blocking call was made on a thread that runs async tasks")
            }
            Self::Load(failure) => failure.fmt(f),
        }
    }
}

impl StdError for CacheError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Store(error) => error.source(),
            Self::Load(failure) => failure.source(),
            _ => None,
        }
    }
}

/// The error of a loader, or of whoever failed a pending value, of a type that is not known here.
#[derive(Clone)]
pub struct LoadFailure {
    any: Arc<dyn Any + Send + Sync>,
    error: Option<Arc<dyn StdError + Send + Sync>>,
    type_name: &'static str,
}

impl LoadFailure {
    pub(crate) fn of<E: Send + Sync + 'static>(error: E) -> Self {
        Self { any: Arc::new(error), error: None, type_name: type_name::<E>() }
    }

    pub(crate) fn of_error<E: StdError + Send + Sync + 'static>(error: E) -> Self {
        let error = Arc::new(error);
        Self { any: error.clone(), error: Some(error), type_name: type_name::<E>() }
    }

    /// The failure of a load in another process, of which nothing else is known.
    pub(crate) fn elsewhere() -> Self {
        Self::of_error(FailedElsewhere)
    }

    /// The error, for a caller who knows its type.
    #[must_use]
    pub fn downcast<E: Send + Sync + 'static>(&self) -> Option<Arc<E>> {
        Arc::clone(&self.any).downcast().ok()
    }
}

#[derive(Debug)]
struct FailedElsewhere;

impl fmt::Display for FailedElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it failed in another process a short while ago")
    }
}

impl StdError for FailedElsewhere {}

impl fmt::Debug for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoadFailure").field(&self.type_name).finish()
    }
}

impl fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(_) => f.write_str("the load failed"),
            None => write!(f, "the load failed with an error of type {}", self.type_name),
        }
    }
}

impl StdError for LoadFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.as_deref().map(|error| error as &(dyn StdError + 'static))
    }
}

/// What a fallible load ends with: the loader's own error, shared by all who waited, or the cache's.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader's error.
    Load(Arc<E>),
    /// Any other reason.
    Cache(CacheError),
}

impl<E: Send + Sync + 'static> From<CacheError> for LoadError<E> {
    /// A loader's error of type `E` becomes `Load`, whoever ran the loader.
    fn from(error: CacheError) -> Self {
        match &error {
            CacheError::Load(failure) => failure.downcast().map_or(Self::Cache(error), Self::Load),
            _ => Self::Cache(error),
        }
    }
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Load(error) => Self::Load(Arc::clone(error)),
            Self::Cache(error) => Self::Cache(error.clone()),
        }
    }
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => write!(f, "the load failed: {error}"),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> StdError for LoadError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Load(_) => None,
            Self::Cache(error) => error.source(),
        }
    }
}
