//! The caches of four other systems under their own names, for code that is carried over.
//!
//! Each type here is a thin front of [`Cache`](crate::Cache) or [`CacheStore`](crate::CacheStore):
//! `docs/cache-migration.md` lists each method, parameter and default of theirs with its counterpart,
//! and what of theirs is deliberately not kept.

/// A front can be cloned and printed whatever its values are.
macro_rules! front {
    ($front:ident) => {
        impl<V> Clone for $front<V> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<V> std::fmt::Debug for $front<V> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($front)).field(&self.0).finish()
            }
        }
    };
}

mod betty;
mod dara;
mod privex;

use front;

pub use betty::BettyCache;
pub use dara::{DaraCacheStore, DaraGet, DaraStore};
pub use privex::{AsyncCacheAdapter, CacheAdapters};
