//! `cargo xtask docs`: the table of cases, the book and the API pages.

use crate::cases;
use crate::packages::Workspace;
use crate::run::{self, Result};

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result {
    if let Some(arg) = args.first() {
        return Err(format!("`cargo xtask docs` takes no arguments, and was given `{arg}`"));
    }
    cases::write(workspace)?;
    api(workspace)?;
    println!("API pages: {}", workspace.target.join("doc/larder/index.html").display());
    if run::find("mdbook").is_none() {
        println!(
            "The book is left out, as mdbook is not installed: `cargo install --locked mdbook`, \
             then run this again."
        );
        return Ok(());
    }
    run::run(run::command("mdbook").arg("build").arg(workspace.root.join("docs")))?;
    println!("Book: {}", workspace.root.join("docs/book/index.html").display());
    Ok(())
}

/// Builds the API pages with every warning an error.
///
/// Libraries alone: the command and the facade are both named `larder` and would write to one
/// place.
pub(crate) fn api(workspace: &Workspace) -> Result {
    let mut cargo = run::cargo(&workspace.root);
    cargo.args(["doc", "--workspace", "--lib", "--no-deps", "--all-features"]);
    run::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}
