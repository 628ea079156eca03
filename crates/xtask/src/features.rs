//! Each feature of each published crate by itself, so that none leans on another.

use std::collections::BTreeSet;

use crate::packages::{Package, Workspace};
use crate::run::{self, Result};

/// Compiles them all, with every warning an error, and prints how many crates each brings.
pub(crate) fn check(workspace: &Workspace) -> Result {
    let mut failures = Vec::new();
    let mut counts = Vec::new();
    for package in workspace.published() {
        for feature in [None].into_iter().chain(package.features.keys().map(Some)) {
            let selection = selection(package, feature.map(String::as_str));
            let mut cargo = run::cargo(&workspace.root);
            // Clippy rather than check: it shares what the check `clippy` has compiled, and a
            // warning fails it.
            cargo.args(["clippy", "--quiet"]).args(&selection).args(["--", "-D", "warnings"]);
            failures.extend(run::run(&mut cargo).err());
            let feature = feature.map_or("(none)", String::as_str);
            counts.push(format!(
                "{:<20} {feature:<12} {:>4}",
                package.name,
                crates(workspace, &selection)?
            ));
        }
    }
    println!("\n{:<20} {:<12} {:>4}\n{}", "crate", "feature", "brings", counts.join("\n"));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n    ")) }
}

fn selection(package: &Package, feature: Option<&str>) -> Vec<String> {
    let mut selection =
        vec!["-p".to_owned(), package.name.clone(), "--no-default-features".to_owned()];
    selection.extend(feature.map(|feature| format!("--features={feature}")));
    selection
}

/// How many crates a user compiles for it, its own aside; build scripts' are left out.
fn crates(workspace: &Workspace, selection: &[String]) -> Result<usize> {
    let mut cargo = run::cargo(&workspace.root);
    cargo.args(["tree", "--edges=normal", "--prefix=none", "--format={p}"]).args(selection);
    let tree = run::output(&mut cargo)?;
    // A crate seen before is marked with a star.
    let crates: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty())
        .collect();
    Ok(crates.len().saturating_sub(1))
}
