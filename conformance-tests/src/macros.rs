use std::sync::Arc;

use crate::run::{RANDOM_BUDGET, run_case};
use crate::{Harness, Outcome, Variant, cases};

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
            $crate::__cases! { [$crate::__tests] (Root) }
        }

        mod namespace {
            $crate::__cases! { [$crate::__tests] (Namespace) }
        }

        mod layer {
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
                            super::super::__larder_harness(),
                        );
                    }
                )+
            }
        )+
    };
}

/// Runs one case as a test: what [`store_conformance!`] expands to.
#[doc(hidden)]
#[track_caller]
pub fn run(name: &str, variant: Variant, harness: impl Harness) {
    let case = cases().iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case named {name}"));
    match run_case(case, variant, Arc::new(harness), RANDOM_BUDGET).outcome {
        Outcome::Passed => {}
        #[allow(clippy::print_stdout, reason = "the place where a test says that it was skipped")]
        Outcome::Skipped(reason) => println!("skipped {variant}::{name}: {reason}"),
        Outcome::Failed(failures) => {
            let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
            panic!("\n{}\n", all.join("\n\n"));
        }
    }
}
