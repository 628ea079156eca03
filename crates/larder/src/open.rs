use std::sync::Arc;

use crate::{NamespacedStore, Result, StoreUrl};

/// Opens the store at `url`; it connects, and fails at once where it cannot.
///
/// | URL | Store | Feature |
/// |---|---|---|
/// | `memory:` | a new one in this process | `memory` |
/// | `file:PATH` | a folder, one file per key | `file` |
/// | `sled:PATH` | an embedded sled tree | `sled` |
/// | `redis://[user:password@]host[:port][/db]` | Redis 6.2 or later | `redis` |
/// | `rediss://…` | the same over TLS, certificates checked | `redis-tls` |
/// | `redis+unix:///PATH` | the same over a Unix socket | `redis` |
///
/// Paths are relative to the working folder, or absolute (`file:/srv/data`, `file:///srv/data`).
/// In them `%` and two hexadecimal digits stand for a byte, so that `%3F` is a question mark, which
/// otherwise begins the options, and `%25` a percent sign; everything else is taken as it is.
///
/// # Options
/// Query parameters, percent-encoded as paths are. Durations are a number of seconds, or numbers
/// with units such as `250ms` or `1m30s`.
///
/// | Option | Of | Meaning |
/// |---|---|---|
/// | `namespace` | all | the root namespace; repeated, one more segment each |
/// | `durability` | all | `volatile`, `process-crash` or `power-loss`, as the backend can |
/// | `create` | file, sled | `false`: a store that is not there is `NotFound` |
/// | `sweep_every` | memory | removes expired entries in the background, this often |
/// | `lock_timeout` | file | how long a write waits for another one to the same key |
/// | `cache_capacity` | sled | how many bytes its page cache may take |
/// | `connect` | redis | `lazy`: connects at the first call |
/// | `connections` | redis | how many sockets are used |
/// | `connect_timeout`, `response_timeout` | redis | time limits |
/// | `db`, `user`, `pass` | redis+unix | the database, and the login |
/// | `protocol` | redis | `resp2` or `resp3` |
/// | `max_value_len` | redis | refuses larger values, in bytes |
/// | `raw_keys` | redis | `true`: keys as they are, without namespaces and lists |
/// | `ca` | redis | a PEM file of the authorities to trust instead of the system's |
///
/// A root namespace opens that namespace of the store: the handle is the child, and closing it
/// closes the whole store. For Redis its first segment replaces `larder`, with which every physical
/// key of a store begins otherwise.
///
/// # Errors
/// `InvalidConfig` for an unknown scheme, an unknown option, a bad value, or a backend whose
/// feature is not compiled in; it names those known, and never shows a password. `NotFound`,
/// `Locked`, `Unavailable`, `Timeout`, `PermissionDenied` and others from the backend.
///
/// # Cancel safety
/// Dropped, it leaves nothing open.
///
/// # Examples
/// ```
/// use larder::{ErrorKind, prelude::*};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> larder::Result<()> {
/// # #[cfg(feature = "memory")] {
/// let shop = larder::open("memory:?namespace=shop").await?;
/// shop.set("open", "yes").await?;
/// assert!(shop.exists("open").await?);
///
/// let error = larder::open("memory:?colour=red").await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
/// # }
/// # Ok(())
/// # }
/// ```
pub async fn open(url: &str) -> Result<Arc<dyn NamespacedStore>> {
    StoreUrl::parse(url)?.open().await
}
