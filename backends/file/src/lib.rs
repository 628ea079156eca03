//! The file backend of Larder: one file per key, safe between processes, readable by Litestar.
//!
//! A key's file is `<root>/<namespace's folders>/<BLAKE2s-256 of the key in hex>`. It holds a
//! [`StorageObject`](larder_core::StorageObject) with the key and a check value besides, so that
//! Litestar's `FileStore` reads it, a listing can tell its key, and a damaged file is never taken
//! for data. The project's `docs/formats.md` fixes every byte.
//!
//! ```
//! use std::time::Duration;
//! use larder_core::StoreExt;
//! use larder_file::FileStore;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! # runtime.block_on(async {
//! let store = FileStore::builder(path).build().await?;
//! store.set("greeting", "hello").ttl(Duration::from_secs(60)).await?;
//! assert_eq!(store.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), larder_core::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Atomicity and durability
//! A value replaces another in one step: a reader sees the old one or the new one. With
//! [`Durability::PowerLoss`](larder_core::Durability), the default, a set says `Ok` once the file,
//! its folder and the chain of folders up to the root are on the disk; with `ProcessCrash` it
//! leaves that to the operating system.
//!
//! # Several processes
//! Any number of processes, and of stores in one process, may use one root. Writers lock one of 256
//! lock files in the root, chosen by the key. Readers lock nothing, but where they find that a key
//! has expired: a renewal may be under way. Whoever waits longer than
//! [`lock_timeout`](FileStoreBuilder::lock_timeout) gets `Timeout`. The file system must honour
//! `flock` among the processes that share it.
//!
//! # Runtime
//! Calls need a tokio runtime with its time enabled. Waiting for a lock occupies no thread; whatever
//! may wait for the disk runs on tokio's blocking threads, one hop to a call.
//!
//! # Platforms
//! Linux and the other Unix systems. Elsewhere `build` gives `Unsupported`: the standard library has
//! no way there to open a path without following links.

#[cfg(unix)]
mod bulk;
#[cfg(unix)]
mod clear;
#[cfg(unix)]
mod config;
#[cfg(unix)]
mod driver;
#[cfg(unix)]
mod error;
#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod key_file;
#[cfg(unix)]
mod layout;
#[cfg(unix)]
mod links;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod listing;
#[cfg(unix)]
mod lock;
#[cfg(unix)]
mod place;
#[cfg(unix)]
mod record;
#[cfg(unix)]
mod replace;
#[cfg(unix)]
mod store;
#[cfg(unix)]
mod task;
#[cfg(not(unix))]
mod unsupported;
#[cfg(unix)]
mod walk;

#[cfg(unix)]
pub use config::FileStoreBuilder;
#[cfg(unix)]
pub use store::FileStore;
#[cfg(not(unix))]
pub use unsupported::{FileStore, FileStoreBuilder};
