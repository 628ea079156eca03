//! Larder's store in an embedded [sled](sled) database.

mod blocking;
mod claim;
mod config;
mod driver;
mod error;
mod flush;
mod index;
mod keyspace;
mod path;
mod record;
mod records;
mod shared;
mod store;

pub use config::SledStoreBuilder;
pub use store::SledStore;
