//! The conformance suite of Larder: what every store must pass.
//!
//! One dev-dependency and one macro line give a named test for each promise of the contract:
//!
//! ```
//! // tests/conformance.rs
//! use larder_conformance::{Fixture, store_conformance};
//! use larder_memory::MemoryStore;
//!
//! store_conformance! { harness: || async { Fixture::namespaced(MemoryStore::new()) } }
//! ```
//!
//! # The harness
//! A [`Harness`] makes fresh stores. A closure is one; a type of your own can offer more, and each
//! thing that it offers unlocks cases: a clock in the [`Fixture`] (the very instant of a death is
//! looked at, and nothing is waited for), [`reopen`](Harness::reopen) for durable stores,
//! [`second_handle`](Harness::second_handle) for shared ones, and faults to inject.
//!
//! # What is tried
//! Which cases apply is decided by the store's declared capabilities, in both directions: a flag that
//! is declared has to pass its cases, and what is not declared has to answer `Unsupported` and change
//! nothing. Each case runs in three positions: on the handle that the harness opened, inside a
//! namespace of it, and behind a layer that forwards every call ([`Variant`]). A flat store that can
//! list gets its namespaces from [`Namespaced`](larder_core::Namespaced). [`cases`] names them all,
//! with the rules of the contract that they try.
//!
//! # At run time
//! [`check`] runs the same cases without a test runner and gives a [`Report`] of every broken promise:
//! which rule and case, what was promised, what was seen, and the operations that show it. A
//! [`Matrix`] puts several reports side by side.

mod case;
mod cases;
mod check;
mod harness;
mod json;
mod layer;
mod linearizability;
mod macros;
mod matrix;
mod model;
mod random;
mod recorder;
mod report;
mod run;
mod table;
mod trace;
mod trial;
mod verdict;

pub use case::{Case, Need, Variant};
pub use cases::cases;
pub use check::{CheckOptions, check, check_with};
pub use harness::{Fixture, Flavor, Handle, Harness};
#[doc(hidden)]
pub use macros::run as __run;
pub use matrix::Matrix;
pub use report::{CaseReport, Failure, Outcome, Report, Tally};
pub use table::cases_by_rule;
