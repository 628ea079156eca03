use std::fmt::Write as _;

use crate::cases::all;
use crate::report::rule_order;
use crate::{Case, cases};

/// The rules that these cases try, in their order, each with the names of its cases.
fn rules(cases: &'static [Case]) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut rules: Vec<&str> = cases.iter().flat_map(|case| case.rules).copied().collect();
    rules.sort_unstable_by_key(|rule| (rule_order(rule), *rule));
    rules.dedup();
    let named = |rule| {
        let trying = cases.iter().filter(|case| case.rules.contains(&rule));
        trying.map(|case| case.name).collect()
    };
    rules.into_iter().map(|rule| (rule, named(rule))).collect()
}

/// The promise of the first case that tries `rule`.
pub(crate) fn first_promise(rule: &str) -> &'static str {
    let case = all().find(|case| case.rules.contains(&rule));
    case.map_or("", |case| case.promise)
}

/// A Markdown table of the rules of the contract and the cases that try them.
///
/// ```
/// let table = larder_conformance::cases_by_rule();
/// assert!(table.contains("| E3 | `expiry::the_longest_lives_saturate`"));
/// ```
pub fn cases_by_rule() -> String {
    table(cases())
}

/// As [`cases_by_rule`], of the rules of the caching layer.
#[cfg(feature = "cache")]
pub fn cache_cases_by_rule() -> String {
    table(crate::cache_cases())
}

fn table(cases: &'static [Case]) -> String {
    let mut table = String::from("| Rule | Cases |\n| --- | --- |\n");
    for (rule, names) in rules(cases) {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(table, "| {rule} | {} |", names.join(", "));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_case() {
        let numbered = |letter: char, last: u32| (1..=last).map(move |n| format!("{letter}{n}"));
        // R2 and R3 are the formats of Larder's own file and Redis backends.
        let all = numbered('S', 8)
            .chain(numbered('K', 3))
            .chain(numbered('E', 7))
            .chain(numbered('N', 4))
            .chain(numbered('C', 4))
            .chain(["R1".to_owned(), "R4".to_owned()])
            .chain(numbered('X', 3));
        let tried: Vec<&str> = rules(cases()).into_iter().map(|(rule, _)| rule).collect();
        assert_eq!(tried, all.collect::<Vec<_>>());
    }

    #[cfg(feature = "cache")]
    #[test]
    fn every_rule_of_the_cache_within_one_process_has_a_case() {
        let all = ["V1", "V2", "V3", "V4", "V5", "V6", "F1", "F2", "F3", "F4", "F5", "F8"];
        let all =
            all.into_iter().chain(["P1", "P2", "P3", "P4", "Z1", "Z2", "Z3", "L1", "L2", "L3"]);
        let tried: Vec<&str> =
            rules(crate::cache_cases()).into_iter().map(|(rule, _)| rule).collect();
        for rule in all {
            assert!(tried.contains(&rule), "{rule} has no case");
        }
        let ours = cases().iter().flat_map(|case| case.rules);
        assert!(ours.into_iter().all(|rule| !tried.contains(rule)), "a rule of both");
    }

    #[test]
    fn names_are_unique_and_promises_are_sentences() {
        let names: BTreeSet<&str> = all().map(|case| case.name).collect();
        assert_eq!(names.len(), all().count());
        for case in all() {
            assert!(case.promise.ends_with('.') && case.promise.len() < 110, "{}", case.name);
        }
    }
}
