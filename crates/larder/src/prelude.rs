//! The one import a program needs: `use larder::prelude::*`.
//!
//! It brings the traits with their methods and the types that their calls take and give. `Result`
//! is left out, for it would hide the standard one; write `larder::Result`.

pub use crate::{
    Bytes, Capabilities, Condition, Cursor, DeleteManyOutcome, DeleteOptions, Durability, Entry,
    Error, ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, Namespace, NamespacePage,
    NamespacedStore, SetItem, SetOptions, SetOutcome, Store, StoreExt, StoreRegistry, Version,
};
