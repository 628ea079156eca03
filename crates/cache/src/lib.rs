//! The caching layer of Larder: typed values, single flight, scopes and more, over any store.
//!
//! A [`CacheSpace`] is one store with everything that caches over it share; a [`Cache`] is a view of
//! it for values of one type, in one scope. [`Cache::builder`] makes both.
//!
//! The rules behind the short names in these docs (`F2`, `V4`, …) are written out in the project's
//! `docs/cache.md`. The futures here want a tokio runtime with time enabled.

mod asking;
mod backoff;
mod blocking;
mod builder;
mod cache;
mod carry;
mod chance;
mod change;
mod circuit;
mod claim;
mod claiming;
mod compare;
pub mod compat;
mod distributed;
mod envelope;
mod error;
mod fence;
mod fill;
mod find;
mod flight;
mod get_or_load;
mod handle;
mod hash;
mod id;
mod item;
mod keeping;
mod lease;
mod lifecycle;
mod load;
mod lock;
mod maybe_expiry;
mod memo;
mod metrics;
mod pending;
mod pins;
mod placeholder;
mod policy;
mod read;
mod reading;
mod registry;
mod route;
mod scope;
mod scope_store;
mod set;
mod slot;
mod space;
mod stale;
mod stamp;
mod store;
mod store_call;
mod striped;
mod trace;
mod view;
mod waiter;
mod wakers;
mod watch;
mod write;

pub use blocking::{BlockingCache, Slot as BlockingSlot};
pub use builder::{CacheBuilder, DEFAULT_TTL, One, Space, StoreFailure};
pub use cache::Cache;
pub use carry::{CarriedOver, belongs_to_a_process, carry_counter};
pub use distributed::Distributed;
pub use error::{CacheError, CacheResult, LoadError, LoadFailure, Refusal};
pub use handle::CacheStoreHandle;
pub use item::{CacheItem, Freshness};
pub use load::Loaded;
pub use lock::{GetSet, GetSetKey, LockGuard, LockKey};
pub use maybe_expiry::MaybeExpiry;
pub use memo::{Memo, MemoCall, key_template};
pub use metrics::CacheStats;
pub use pending::{ListedKey, Lookup, PendingGuard, PendingValue};
pub use policy::Policy;
pub use registry::{RegistryEntry, cache_for_policy};
pub use scope::{CacheScope, ScopeContext};
pub use scope_store::CacheScopeStore;
pub use set::SetValue;
pub use space::CacheSpace;
pub use store::CacheStore;
pub use store_call::{StoreGet, StoreSet};

pub(crate) use trace::{event, in_span};
