//! `cargo xtask ci`: every check beside the tests.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use crate::packages::Workspace;
use crate::run::{self, Result};
use crate::{cases, docs, features, imports, links, tarballs};

struct Check {
    name: &'static str,
    purpose: &'static str,
    run: fn(&Workspace) -> Result,
}

/// In the order in which they run: quick ones first, then those that share what others compiled.
const CHECKS: &[Check] = &[
    Check { name: "fmt", purpose: "formatting is cargo fmt's", run: fmt },
    Check {
        name: "imports",
        purpose: "the import rule of the architecture holds",
        run: imports::check,
    },
    Check {
        name: "links",
        purpose: "the documents' links resolve",
        run: |workspace| links::check(&workspace.root),
    },
    Check { name: "clippy", purpose: "no lint warns, with every feature on", run: clippy },
    Check {
        name: "cases",
        purpose: "the pages name the cases that prove each rule, and tests that there are",
        run: cases::check,
    },
    Check { name: "features", purpose: "each feature compiles by itself", run: features::check },
    Check { name: "rustdoc", purpose: "the API pages build without a warning", run: docs::api },
    Check {
        name: "package",
        purpose: "every published crate builds from its package",
        run: tarballs::check,
    },
    Check { name: "deny", purpose: "licences, sources and advisories are in order", run: deny },
];

/// The checks, one a line.
pub(crate) fn help() -> String {
    CHECKS.iter().fold(String::new(), |mut help, check| {
        // Writing to a string cannot fail.
        let _ = writeln!(help, "    {:<10} {}", check.name, check.purpose);
        help
    })
}

/// Runs the checks named, or all; a failing one does not keep the others from running.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a check took is a matter of the machine's own clock"
)]
pub(crate) fn run(workspace: &Workspace, names: &[String]) -> Result {
    if let Some(unknown) =
        names.iter().find(|name| !CHECKS.iter().any(|check| check.name == **name))
    {
        return Err(format!("`{unknown}` is no check; these are:\n\n{}", help()));
    }
    let mut report = String::new();
    let mut failures = Vec::new();
    for check in CHECKS
        .iter()
        .filter(|check| names.is_empty() || names.iter().any(|name| name == check.name))
    {
        eprintln!("\n== {}: {}", check.name, check.purpose);
        let started = Instant::now();
        let result = (check.run)(workspace);
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        let _ = writeln!(
            report,
            "{:<10} {word:<7} {:>5.0} s",
            check.name,
            started.elapsed().as_secs_f64()
        );
        if let Err(why) = result {
            eprintln!("{}: {why}", check.name);
            failures.push(check.name);
        }
    }
    print!("\n{report}");
    if failures.is_empty() { Ok(()) } else { Err(format!("failed: {}", failures.join(", "))) }
}

/// Where there is something to build: the workspace and the packages that stand apart.
fn folders(workspace: &Workspace) -> impl Iterator<Item = &PathBuf> {
    std::iter::once(&workspace.root).chain(&workspace.outsiders)
}

fn fmt(workspace: &Workspace) -> Result {
    folders(workspace)
        .try_for_each(|folder| run::run(run::cargo(folder).args(["fmt", "--all", "--check"])))
}

fn clippy(workspace: &Workspace) -> Result {
    folders(workspace).try_for_each(|folder| {
        let mut cargo = run::cargo(folder);
        cargo.args(["clippy", "--workspace", "--all-targets", "--target-dir"]);
        cargo.arg(&workspace.target);
        // Beyond the workspace, a feature may bring in a hundred crates to be measured against.
        if *folder == workspace.root {
            cargo.arg("--all-features");
        }
        run::run(cargo.args(["--", "-D", "warnings"]))
    })
}

fn deny(workspace: &Workspace) -> Result {
    if run::find("cargo-deny").is_none() {
        println!(
            "Left out, as cargo-deny is not installed: `cargo install --locked cargo-deny`, \
             then `cargo xtask ci deny`."
        );
        return Ok(());
    }
    let deny = || {
        let mut cargo = run::cargo(&workspace.root);
        cargo.arg("deny");
        cargo
    };
    run::run(deny().args(["check", "licenses", "bans", "sources"]))?;
    if run::run(deny().args(["fetch", "db"])).is_err() {
        println!("Advisories are left out, as their database cannot be fetched.");
        return Ok(());
    }
    run::run(deny().args(["check", "advisories"]))
}
