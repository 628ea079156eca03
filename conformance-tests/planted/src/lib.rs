//! What proves the conformance suite: stores with one planted bug each, which it has to catch, and
//! odd stores without a bug, of which it may not complain.
//!
//! [`planted()`] names each bug, its [`Class`], and the case that must catch it. The tests of this
//! package run that one case on each; `cargo xtask prove-suite` runs the whole suite on all of them
//! and prints which case was the first to see each bug.
//!
//! # How a bug is planted
//! The base of most is a small honest store with every capability, a *shelf*, whose inner decisions
//! (whether a record is gone, where a key lies, what a prefix is) are methods of one trait. A planted
//! store replaces one of them. The others are layers, over the shelf or over a real backend, that
//! hand on every call but one.
//!
//! The bugs of the cache are in the cache: `planted-cache` is a copy of its sources, made when it is
//! built, in which a few words are changed for each bug, and one bug at a time is switched on.

mod bugs;
mod cache;
mod class;
mod odd;
mod planted;
mod prove;
mod shelf;
mod stand;
mod table;
mod tamper;

pub use cache::{assert_cache_bug_caught, prove_cache_suite};
pub use class::Class;
pub use odd::{Odd, odd};
pub use planted::{Named, Planted, Proof};
pub use prove::{assert_caught, prove_suite};
pub use table::planted;
