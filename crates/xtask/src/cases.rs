//! The table in `docs/contract.md` of the cases that prove each rule.

use std::fs;

use crate::packages::Workspace;
use crate::run::{self, Result};

const PAGE: &str = "docs/contract.md";
const BEGIN: &str = "<!-- cases: begin -->\n";
const END: &str = "<!-- cases: end -->";

/// Fails when the page's table is not the one that the suite prints.
pub(crate) fn check(workspace: &Workspace) -> Result {
    let (page, current) = pages(workspace)?;
    if page == current {
        return Ok(());
    }
    Err(format!("the table of cases in {PAGE} is out of date: `cargo xtask docs` writes it anew"))
}

/// Writes the page's table anew.
pub(crate) fn write(workspace: &Workspace) -> Result {
    let (page, current) = pages(workspace)?;
    if page != current {
        fs::write(workspace.root.join(PAGE), current)
            .map_err(|error| format!("{PAGE} cannot be written: {error}"))?;
    }
    Ok(())
}

/// The page as it is, and as it should be.
fn pages(workspace: &Workspace) -> Result<(String, String)> {
    let page = fs::read_to_string(workspace.root.join(PAGE))
        .map_err(|error| format!("{PAGE} cannot be read: {error}"))?;
    let mut cargo = run::cargo(&workspace.root);
    cargo.args(["run", "--quiet", "--package", "larder-conformance", "--example", "cases"]);
    let table = run::output(&mut cargo)?;
    let current = with_table(&page, &table)
        .ok_or_else(|| format!("{PAGE} has no place for the table of cases, `{}`", BEGIN.trim()))?;
    Ok((page, current))
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
