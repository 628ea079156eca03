//! The tables in `docs/contract.md` and `docs/cache.md` of the cases that prove each rule, and the
//! tests that `docs/cache-migration.md` names.

use std::fs;

use serde_json::Value;

use crate::migration;
use crate::packages::Workspace;
use crate::run::{self, Result};

/// The pages with a table, each with what is asked for it.
const PAGES: [(&str, &str); 2] = [("docs/contract.md", "contract"), ("docs/cache.md", "cache")];
const BEGIN: &str = "<!-- cases: begin -->\n";
const END: &str = "<!-- cases: end -->";

/// Fails when a page's table is not the one that the suite prints, or names a test that there is not.
pub(crate) fn check(workspace: &Workspace) -> Result {
    for (name, which) in PAGES {
        let (page, current) = pages(workspace, name, which)?;
        if page != current {
            return Err(format!(
                "the table of cases in {name} is out of date: `cargo xtask docs` writes it anew"
            ));
        }
    }
    migration::check(workspace)
}

/// Writes the pages' tables anew.
pub(crate) fn write(workspace: &Workspace) -> Result {
    for (name, which) in PAGES {
        let (page, current) = pages(workspace, name, which)?;
        if page != current {
            fs::write(workspace.root.join(name), current)
                .map_err(|error| format!("{name} cannot be written: {error}"))?;
        }
    }
    Ok(())
}

/// A page as it is, and as it should be.
fn pages(workspace: &Workspace, name: &str, which: &str) -> Result<(String, String)> {
    let page = fs::read_to_string(workspace.root.join(name))
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    let table = run::output(run::command(program(workspace)?).arg(which))?;
    let current = with_table(&page, &table)
        .ok_or_else(|| format!("{name} has no place for the table of cases, `{}`", BEGIN.trim()))?;
    Ok((page, current))
}

/// Builds the program that prints the tables, as the tests do, so that nothing is compiled again.
fn program(workspace: &Workspace) -> Result<String> {
    let mut cargo = run::cargo(&workspace.root);
    cargo.args(["build", "--quiet", "--workspace", "--all-features", "--example", "cases"]);
    let messages = run::output(cargo.arg("--message-format=json-render-diagnostics"))?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut built = messages.filter(|message| message["target"]["name"] == "cases");
    let program = built.find_map(|message| message["executable"].as_str().map(str::to_owned));
    program.ok_or_else(|| "cargo did not say where it put the program `cases`".to_owned())
}

fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let page = format!("before {BEGIN}old\n{END} after");
        let new = format!("before {BEGIN}new\n{END} after");
        assert_eq!(with_table(&page, "new\n"), Some(new.clone()));
        assert_eq!(with_table(&new, "new\n"), Some(new));
        assert_eq!(with_table("no marks", "new\n"), None);
    }
}
