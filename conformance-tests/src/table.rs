use std::fmt::Write as _;

use crate::cases;
use crate::report::rule_order;

/// The rules that have cases, in the order of the contract, each with the names of its cases.
pub(crate) fn rules() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut rules: Vec<&str> = cases().iter().flat_map(|case| case.rules).copied().collect();
    rules.sort_unstable_by_key(|rule| (rule_order(rule), *rule));
    rules.dedup();
    let named = |rule| {
        let trying = cases().iter().filter(|case| case.rules.contains(&rule));
        trying.map(|case| case.name).collect()
    };
    rules.into_iter().map(|rule| (rule, named(rule))).collect()
}

/// The promise of the first case that tries `rule`.
pub(crate) fn first_promise(rule: &str) -> &'static str {
    let case = cases().iter().find(|case| case.rules.contains(&rule));
    case.map_or("", |case| case.promise)
}

/// A Markdown table of the rules of the contract and the cases that try them.
///
/// ```
/// let table = larder_conformance::cases_by_rule();
/// assert!(table.contains("| E3 | `expiry::the_longest_lives_saturate`"));
/// ```
pub fn cases_by_rule() -> String {
    let mut table = String::from("| Rule | Cases |\n| --- | --- |\n");
    for (rule, names) in rules() {
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
        let tried: Vec<&str> = rules().into_iter().map(|(rule, _)| rule).collect();
        assert_eq!(tried, all.collect::<Vec<_>>());
    }

    #[test]
    fn names_are_unique_and_promises_are_sentences() {
        let names: BTreeSet<&str> = cases().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases().len());
        for case in cases() {
            assert!(case.promise.ends_with('.') && case.promise.len() < 110, "{}", case.name);
        }
    }
}
