//! The tests that each row of `docs/cache-migration.md` names.

use std::collections::BTreeSet;
use std::fs;

use crate::packages::Workspace;
use crate::run::Result;

const PAGE: &str = "docs/cache-migration.md";
const TESTS: &str = "crates/cache/tests";

/// Fails when a row names no test, or one that there is not.
pub(crate) fn check(workspace: &Workspace) -> Result {
    let read = |path: &std::path::Path| {
        fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let page = read(&workspace.root.join(PAGE))?;
    let mut tests = BTreeSet::new();
    let folder = fs::read_dir(workspace.root.join(TESTS))
        .map_err(|error| format!("{TESTS} cannot be read: {error}"))?;
    for entry in folder.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            tests.extend(tests_in(&read(&entry.path())?));
        }
    }
    let broken = broken(&page, &tests);
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("{PAGE} names tests that there are not:\n    {}", broken.join("\n    ")))
    }
}

/// The names of the tests in a source file.
fn tests_in(source: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            names.extend(rest.split(['(', '<']).next().map(str::to_owned));
            is_test = false;
        }
    }
    names
}

/// A sentence for each row whose last cell names no test, or one that there is not.
fn broken(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let mut broken = Vec::new();
    for row in rows {
        // A bar within a cell is escaped.
        let cells: Vec<String> =
            row.replace("\\|", "\u{1}").trim_matches('|').split('|').map(str::to_owned).collect();
        let [first, .., last] = &cells[..] else { continue };
        if last.trim() == "Test" {
            continue;
        }
        let named: Vec<&str> = last
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| !name.contains('.') && !name.contains(':'))
            .collect();
        if named.is_empty() {
            broken.push(format!("the row of {} names no test", first.trim()));
        }
        let absent = named.into_iter().filter(|name| !tests.contains(*name));
        broken.extend(absent.map(|name| format!("{name}, in the row of {}", first.trim())));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_test_are_told() {
        let source = "#[test]\nfn one() {}\n#[tokio::test(start_paused = true)]\n// so\n\
            async fn two() {}\nfn helper() {}\n";
        let tests = tests_in(source);
        assert_eq!(tests, BTreeSet::from(["one".to_owned(), "two".to_owned()]));
        let page = "| Dara | Here | Test |\n|---|---|---|\n| `a` | `b \\| c` | `one` |\n\
            | `d` | e | `two` (`x.rs`) |\n";
        assert_eq!(broken(page, &tests), [""; 0]);
        let page = "| Dara | Here | Test |\n|---|---|---|\n| `a` | b | `helper` |\n| `d` | e | |\n";
        assert_eq!(
            broken(page, &tests),
            ["helper, in the row of `a`", "the row of `d` names no test"]
        );
    }
}
