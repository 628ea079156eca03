//! One key/value storage contract over memory, files, sled and Redis.
//!
//! A store is picked by its URL, and everything after that is the same whichever it is:
//!
//! ```
//! use std::time::Duration;
//! use larder::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> larder::Result<()> {
//! # #[cfg(feature = "memory")] {
//! let store = larder::open("memory:").await?;
//! let sessions = store.with_namespace("sessions")?;
//!
//! sessions.set("anna", "logged in").ttl(Duration::from_secs(3600)).await?;
//! assert_eq!(sessions.get("anna").await?.as_deref(), Some(&b"logged in"[..]));
//! assert_eq!(store.get("anna").await?, None); // another namespace
//!
//! store.close().await?;
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # What is here
//! - [`open`] and [`StoreUrl`]: a store by its address, with options as query parameters.
//! - [`StoreRegistry`]: stores by name, made when they are first asked for.
//! - [`prelude`]: the one import a program needs.
//! - One module per backend, each behind the feature of its name: `memory`, `file`, `sled`,
//!   `redis`. Their builders take what a URL cannot carry, such as a clock or a client.
//! - Everything of `larder-core`: [`Store`], [`StoreExt`], [`NamespacedStore`], [`Expiry`], …
//!
//! Default features are `memory` and `file`.

#![cfg_attr(
    not(all(feature = "memory", feature = "file", feature = "sled", feature = "redis")),
    allow(
        dead_code,
        unused_imports,
        unreachable_code,
        clippy::unnecessary_wraps,
        clippy::unused_async,
        reason = "helpers of the backends that are left out"
    )
)]

mod backends;
mod open;
mod options;
mod percent;
pub mod prelude;
mod redact;
mod registry;
mod rooted;
mod url;

pub use larder_core::*;

pub use open::open;
pub use redact::redact;
pub use registry::{CloseAllError, StoreRegistry};
pub use url::StoreUrl;

#[cfg(feature = "file")]
pub use larder_file as file;
#[cfg(feature = "memory")]
pub use larder_memory as memory;
#[cfg(feature = "redis")]
pub use larder_redis as redis;
#[cfg(feature = "sled")]
pub use larder_sled as sled;
