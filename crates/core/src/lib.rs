//! The traits, types and records of Larder.
//!
//! [`Store`] is what a backend implements; [`StoreExt`] is what an application calls. A backend
//! that can hold separate trees of keys implements [`NamespacedStore`] too, and any flat store that
//! can list gets it from [`Namespaced`]. The rules behind the short names in these docs (`S3`, `E1`,
//! …) are written out in the project's `docs/contract.md`.
//!
//! This crate brings no runtime and no storage driver.

mod capabilities;
mod clock;
mod codec;
mod context;
mod entry;
mod error;
mod expiry;
mod ext;
mod forward;
mod key;
mod lifecycle;
mod listing;
mod namespace;
mod namespaced;
mod options;
mod record;
mod storage_object;
mod store;
#[cfg(feature = "test-util")]
pub mod testing;
mod typed;
mod value;
mod yield_now;

pub use capabilities::{Capabilities, Durability};
pub use clock::{Clock, CoarseTime, SystemClock};
#[cfg(feature = "test-util")]
pub use clock::{ManualClock, TokioClock};
#[cfg(feature = "json")]
pub use codec::Json;
pub use codec::{Codec, MessagePack, Raw};
pub use context::StoreContext;
pub use entry::{Entry, Version};
pub use error::{Error, ErrorKind, Result};
pub use expiry::{Deadline, ExpiresIn, Expiry, Resolved};
pub use ext::{Delete, Get, GetFuture, List, Namespaces, Set, StoreExt};
pub use key::MAX_KEY_LEN;
pub use lifecycle::{Idle, InProgress, Lifecycle};
pub use listing::{Cursor, CursorScope, ListPage, NamespacePage};
pub use namespace::{MAX_NAMESPACE_DEPTH, MAX_NAMESPACE_LEN, MAX_SEGMENT_LEN, Namespace};
pub use namespaced::{Namespaced, NamespacedStore};
pub use options::{
    Condition, DeleteManyOutcome, DeleteOptions, GetOptions, SetItem, SetOptions, SetOutcome,
};
pub use record::{RecordReader, write_expires_at};
pub use storage_object::StorageObject;
pub use store::Store;
pub use typed::{Typed, TypedSet, TypedSetFuture};
pub use value::IntoValue;

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use chrono;

/// A boxed, sendable future: what every method of [`Store`] returns once `async_trait` has written
/// it out.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
