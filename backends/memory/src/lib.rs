//! The in-memory backend of Larder.
//!
//! [`MemoryStore`] keeps everything in this process and nothing after it. It lists, takes
//! conditions, renews and purges; expiry follows the clock given to the
//! [builder](MemoryStore::builder) to the microsecond.
//!
//! ```
//! use std::time::Duration;
//! use larder_core::{NamespacedStore, Store, StoreExt};
//! use larder_memory::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> larder_core::Result<()> {
//! let store = MemoryStore::new();
//! store.set("greeting", "hello").ttl(Duration::from_secs(60)).await?;
//! assert_eq!(store.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
//!
//! let carts = store.with_path(&["shop", "carts"])?;
//! carts.set("7", "a pear").if_absent().await?;
//! assert_eq!(store.get("7").await?, None);
//! store.delete_all().await?;
//! assert!(!carts.exists("7").await?);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//! Each namespace has its own hash tables: one while it is small, 64 separately locked ones once it
//! has held more than a thousand entries. So a call costs the same in any namespace, and clearing or
//! listing one costs what it holds. Entries lie in the order of their keys' hashes, and so are they
//! listed: each exactly once, whatever is set and deleted meanwhile. An order by key would cost every
//! new key a search among all others, and is not declared. A value of up to 512 bytes lies in one allocation with its key
//! and is copied out; a longer one is copied in, unless the store is given the only handle to it,
//! and shared with its readers.
//!
//! Every call on a single key ends in its first poll, save with values of more than a megabyte.
//! Calls that go through many entries take locks for some tens of microseconds at a time, and let
//! other tasks run in between (`S6`); they need no particular runtime.
//!
//! An expired entry is never seen. Its memory comes free when its key is set or deleted, when a large
//! namespace would otherwise have to grow, by [`delete_expired`](larder_core::Store::delete_expired),
//! which costs what has expired, and by the [sweeper](MemoryStoreBuilder::sweep_every), which calls
//! that now and then. A namespace without entries and handles takes no memory.
//!
//! [`list_child_namespaces`](larder_core::Store::list_child_namespaces) looks, in each child, for
//! the first live key, and walks no further.

#![allow(
    clippy::inline_always,
    reason = "on the few steps of a get, of which it saves a tenth of the instructions"
)]

mod agenda;
mod config;
mod entry;
mod expiry;
mod handle;
mod large;
mod listing;
mod moment;
mod pace;
mod shard;
mod space;
mod store;
mod sweep;
mod sweeper;
mod table;
mod tree;

pub use config::MemoryStoreBuilder;
pub use store::MemoryStore;
