//! Prints the suite's cases as the table of `docs/contract.md`: each rule, and the cases that try it;
//! with the argument `cache`, those of the caching layer, for `docs/cache.md`.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

fn main() {
    match std::env::args().nth(1).as_deref() {
        #[cfg(feature = "cache")]
        Some("cache") => print!("{}", larder_conformance::cache_cases_by_rule()),
        _ => print!("{}", larder_conformance::cases_by_rule()),
    }
}
