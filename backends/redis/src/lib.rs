//! Redis backend of Larder.
//!
//! [`RedisStore`] keeps values raw, one string per key, so that any Redis client can read them. The
//! key `k` in the namespace `a`, `b` is the Redis key `larder/a/b:k`, where `%`, `/` and `:` in a
//! segment are escaped, and `larder` is the root namespace that
//! [`namespace`](RedisStoreBuilder::namespace) replaces (`R3`). It needs Redis 6.2 or later, or
//! Valkey; a single primary, not a cluster.
//!
//! ```no_run
//! use std::time::Duration;
//! use larder_core::StoreExt;
//! use larder_redis::RedisStore;
//!
//! # async fn example() -> larder_core::Result<()> {
//! let store = RedisStore::builder("redis://127.0.0.1:6379").build().await?;
//! store.set("greeting", "hello").ttl(Duration::from_secs(60)).await?;
//! assert_eq!(store.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # One store with Litestar
//! A Litestar `RedisStore` whose namespace is `X` (free of `%`, `/` and `:`) and a store of this
//! crate whose root namespace is `X` see the same keys. Mind that Litestar's `delete_all` removes
//! everything that *begins* with `X`: our child namespaces (`X/a:k`), which is right, but also those
//! of a neighbour named `X2`. A Litestar child namespace (`X_child`) is, to us, another root.
//!
//! # What is promised
//! - Time is the server's alone (`E7`): durations and deadlines are handed over in whole
//!   milliseconds, rounded up.
//! - `Ok` on a write means that the server has it in memory. What that survives is set on the
//!   server; say it with [`durability`](RedisStoreBuilder::durability), which is
//!   [`Volatile`](larder_core::Durability::Volatile) otherwise.
//! - A write that may have been sent and was not answered is
//!   [`Unknown`](larder_core::ErrorKind::Unknown) and is never repeated by this crate. A read is
//!   `Timeout` or `Unavailable` then, as is a write that was surely not sent.
//! - Operations on one key are linearizable on one primary; a failover may lose what was
//!   acknowledged (`S4`).
//! - Everything below the root namespace counts as the store's own: `delete_all` removes it, whoever
//!   wrote it, unless its name could not have come from Larder, as it is longer, deeper or escaped in
//!   another way. Such a key is not listed either, nor is one that is not UTF-8, which `delete_all`
//!   does remove. A key that holds no string is `Corrupt` on a get; it can be set and deleted.
//! - Listing and clearing walk the whole database with `SCAN`, foreign keys included, in steps that
//!   hold the server up for about a millisecond. `list_child_namespaces` walks as much.

mod address;
mod apart;
mod bulk;
mod config;
mod connection;
mod dial;
mod driver;
mod error;
mod expiry;
mod gather;
mod given_up;
mod keys;
mod left_behind;
mod listing;
mod patience;
mod per_thread;
mod pool;
mod scripts;
mod single;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod write;

pub use config::RedisStoreBuilder;
pub use connection::RedisConnection;
pub use store::RedisStore;

pub use redis;
