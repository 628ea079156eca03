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
//! # From the beginning
//! A whole backend, all that it must have and nothing more, and the suite on it:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//!
//! use larder_conformance::{CheckOptions, Fixture, Variant, check_with};
//! use larder_core::{
//!     Bytes, Capabilities, Clock, Deadline, DeleteOptions, Entry, ExpiresIn, GetOptions, Resolved,
//!     Result, SetOptions, SetOutcome, Store, StoreContext, async_trait,
//! };
//!
//! /// Values with their deadlines, in one map behind a lock.
//! #[derive(Debug, Clone)]
//! struct MapStore {
//!     context: StoreContext,
//!     clock: Arc<dyn Clock>,
//!     map: Arc<Mutex<HashMap<String, (Bytes, Option<Deadline>)>>>,
//! }
//!
//! impl MapStore {
//!     fn new(clock: impl Clock + 'static) -> Self {
//!         let context = StoreContext::new("map", Capabilities::new());
//!         Self { context, clock: Arc::new(clock), map: Arc::default() }
//!     }
//! }
//!
//! #[async_trait]
//! impl Store for MapStore {
//!     async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
//!         self.context.check("get", key)?;
//!         self.capabilities().check_get(&options)?;
//!         let (map, now) = (self.map.lock().unwrap(), self.clock.now());
//!         Ok(map.get(key).and_then(|(value, deadline)| {
//!             match ExpiresIn::until(*deadline, now) {
//!                 ExpiresIn::Missing => None,
//!                 left => Some(Entry::new(value.clone()).with_expires_in(left)),
//!             }
//!         }))
//!     }
//!
//!     async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
//!         self.context.check("set", key)?;
//!         self.capabilities().check_set(value.len(), &options)?;
//!         let (mut map, now) = (self.map.lock().unwrap(), self.clock.now());
//!         let live = map.get(key).and_then(|(_, deadline)| *deadline).filter(|end| !end.is_past(now));
//!         let deadline = match options.expiry.resolve(now) {
//!             Resolved::Never => None,
//!             Resolved::At(deadline) => Some(deadline),
//!             Resolved::Keep => live,
//!             Resolved::Gone => {
//!                 map.remove(key);
//!                 return Ok(SetOutcome::Applied);
//!             }
//!         };
//!         // Copied, so that a slice does not keep the buffer that it was cut out of.
//!         map.insert(key.to_owned(), (Bytes::copy_from_slice(&value), deadline));
//!         Ok(SetOutcome::Applied)
//!     }
//!
//!     async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
//!         self.context.check("delete", key)?;
//!         self.capabilities().check_delete(&options)?;
//!         let (mut map, now) = (self.map.lock().unwrap(), self.clock.now());
//!         let removed = map.remove(key);
//!         Ok(removed.is_some_and(|(_, end)| end.is_none_or(|end| !end.is_past(now))))
//!     }
//!
//!     async fn delete_all(&self) -> Result<()> {
//!         let _call = self.context.begin_keyless("delete_all")?;
//!         self.map.lock().unwrap().clear();
//!         Ok(())
//!     }
//!
//!     fn capabilities(&self) -> Capabilities {
//!         self.context.capabilities()
//!     }
//!
//!     async fn close(&self) -> Result<()> {
//!         self.context.lifecycle().close();
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let harness = || async {
//!     let clock = larder_core::ManualClock::new();
//!     Fixture::flat(MapStore::new(clock.clone())).with_clock(clock)
//! };
//! // In a test file: store_conformance! { harness: harness }
//! let options = CheckOptions::default().with_variants([Variant::Root]);
//! let report = check_with(&harness, options).await;
//! assert!(report.is_ok(), "{report}");
//! assert!(report.tally().passed > 70);
//! # }
//! ```
//!
//! # The harness
//! A [`Harness`] makes fresh stores. A closure is one; a type of your own can offer more, and each
//! thing that it offers unlocks cases: a clock in the [`Fixture`] (the very instant of a death is
//! looked at, and nothing is waited for), [`reopen`](Harness::reopen) for durable stores,
//! [`open_folder`](Harness::open_folder) for those whose writers are to be killed,
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
//! # The caching layer
//! With the feature `cache`, one more line shows that a store carries Larder's cache as well: see
#![cfg_attr(feature = "cache", doc = "[`cache_conformance!`], and [`check_cache`] at run time.")]
#![cfg_attr(not(feature = "cache"), doc = "`cache_conformance!`.")]
//!
//! # At run time
//! [`check`] runs the same cases without a test runner and gives a [`Report`] of every broken promise:
//! which rule and case, what was promised, what was seen, and the operations that show it. A
//! [`Matrix`] puts several reports side by side, for a terminal, as JSON or as an HTML page. Four
//! [`Level`]s say at a glance what a backend is good for.
//!
//! # What is random
//! Some cases make up calls, from the same seeds in every run. `LARDER_CONFORMANCE_SEED` names another
//! one, which a failure tells (`random` takes a new one each time), and `LARDER_CONFORMANCE_RUNS` how
//! many to try. `LARDER_CONFORMANCE_KILLS` says how many writing processes are killed, 20 without it.

#[cfg(feature = "cache")]
mod cache;
mod case;
mod cases;
mod check;
mod harness;
mod html;
mod json;
mod layer;
mod level;
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
mod writer;

#[cfg(feature = "cache")]
pub use cache::cache_cases;
pub use case::{Case, Need, Variant};
pub use cases::cases;
pub use check::{CheckOptions, check, check_with};
#[cfg(feature = "cache")]
pub use check::{check_cache, check_cache_with};
pub use harness::{Fixture, Flavor, Handle, Harness};
pub use level::Level;
#[doc(hidden)]
pub use macros::run as __run;
pub use matrix::Matrix;
pub use report::{CaseReport, Failure, Outcome, Report, Tally};
#[cfg(feature = "cache")]
pub use table::cache_cases_by_rule;
pub use table::cases_by_rule;
