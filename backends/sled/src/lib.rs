//! The sled backend of Larder: a store in an embedded [sled] database.

mod blocking;
mod calls;
mod claim;
mod config;
mod driver;
mod error;
mod flush;
mod found;
mod health;
mod index;
mod keyspace;
mod large;
mod log;
mod path;
mod record;
mod records;
mod scans;
mod shared;
mod store;
mod tree;

pub use config::SledStoreBuilder;
pub use store::SledStore;
