//! Larder beside its peers, on the same work, in one run: see `docs/performance`.
//!
//! An area is a folder's worth of rows; a row is one piece of work and those who did it, taking turns.
//! Only ratios within a row mean anything: between runs a machine differs by more than the contenders.

pub mod areas;
mod load;
mod race;
mod size;

pub use load::{LARGE, Load, TTL, Zipf, key, value};
pub use race::{Entry, Race, Row, Spread, Target, Unit};
pub use size::Size;
