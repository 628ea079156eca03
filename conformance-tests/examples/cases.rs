//! Prints the suite's cases as the table of `docs/contract.md`: each rule, and the cases that try it.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

fn main() {
    print!("{}", larder_conformance::cases_by_rule());
}
