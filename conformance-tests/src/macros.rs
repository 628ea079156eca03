use std::sync::Arc;

use crate::cases::all;
use crate::run::{RANDOM_BUDGET, run_case};
use crate::writer::is_writer;
use crate::{Harness, Outcome, Variant};

/// Makes one test of each case, in each position, on the stores of a harness.
///
/// The tests are named after the cases, such as `root::expiry::dies_at_its_deadline`,
/// `namespace::…` and `layer::…`, so that a test runner's filter picks one, an area or a position. A
/// case that does not apply to the store passes, and prints why it was skipped.
///
/// The harness is made anew for each test. For several configurations, put each macro call in a
/// module of its own.
///
/// ```
/// // tests/conformance.rs
/// use larder_conformance::{Fixture, store_conformance};
/// use larder_memory::MemoryStore;
///
/// store_conformance! { harness: || async { Fixture::namespaced(MemoryStore::new()) } }
/// ```
#[macro_export]
macro_rules! store_conformance {
    (harness: $harness:expr $(,)?) => {
        fn __larder_harness() -> impl $crate::Harness {
            $harness
        }

        mod root {
            #[cfg(test)]
            use super::__larder_harness;

            $crate::__cases! { [$crate::__tests] (Root) }
        }

        mod namespace {
            #[cfg(test)]
            use super::__larder_harness;

            $crate::__cases! { [$crate::__tests] (Namespace) }
        }

        mod layer {
            #[cfg(test)]
            use super::__larder_harness;

            $crate::__cases! { [$crate::__tests] (Layer) }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    (($variant:ident) $($area:ident { $($name:ident $rules:tt $needs:tt $promise:literal;)+ })+) => {
        $(
            mod $area {
                $(
                    #[test]
                    fn $name() {
                        $crate::__run(
                            concat!(stringify!($area), "::", stringify!($name)),
                            $crate::Variant::$variant,
                            concat!(module_path!(), "::", stringify!($name)),
                            super::__larder_harness(),
                        );
                    }
                )+
            }
        )+
    };
}

/// Makes one test of each case of the caching layer, on the stores of a harness: what shows that a
/// backend carries `larder-cache`.
///
/// The tests are named after the cases, such as `cache::overtaken::by_a_deletion`. The harness is the
/// one of [`store_conformance!`]; a store that is flat, or lacks a capability, is tried with the cases
/// that it can have.
///
/// The cache goes by the fixture's clock, or by one of its own that the suite moves: nothing is waited
/// for.
///
/// ```
/// // tests/conformance.rs
/// use larder_conformance::{Fixture, cache_conformance, store_conformance};
/// use larder_memory::MemoryStore;
///
/// store_conformance! { harness: || async { Fixture::namespaced(MemoryStore::new()) } }
/// cache_conformance! { harness: || async { Fixture::namespaced(MemoryStore::new()) } }
/// ```
#[cfg(feature = "cache")]
#[macro_export]
macro_rules! cache_conformance {
    (harness: $harness:expr $(,)?) => {
        #[cfg(test)]
        mod cache {
            #[allow(unused_imports, reason = "the harness may name what lies around it")]
            use super::*;

            fn __larder_harness() -> impl $crate::Harness {
                $harness
            }

            $crate::__cache_cases! { [$crate::__tests] (Root) }
        }
    };
}

/// Runs one case as a test: what [`store_conformance!`] expands to.
#[doc(hidden)]
#[track_caller]
pub fn run(name: &str, variant: Variant, path: &str, harness: impl Harness) {
    let harness: Arc<dyn Harness> = Arc::new(harness);
    if is_writer(Arc::clone(&harness)) {
        return;
    }
    // Test runners leave out the crate's name.
    let test = path.split_once("::").map(|(_, test)| test.to_owned());
    let case = all().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case named {name}"));
    match run_case(case, variant, harness, RANDOM_BUDGET, test).outcome {
        Outcome::Passed => {}
        #[allow(clippy::print_stdout, reason = "the place where a test says that it was skipped")]
        Outcome::Skipped(reason) => println!("skipped {variant}::{name}: {reason}"),
        Outcome::Failed(failures) => {
            let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
            panic!("\n{}\n", all.join("\n\n"));
        }
    }
}
