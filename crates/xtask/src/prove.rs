//! `cargo xtask prove-suite`: the conformance suite against stores with planted bugs.

use crate::packages::Workspace;
use crate::run::{self, Result};

/// Runs the whole suite on every planted and odd store, or on those whose name contains the
/// argument. A bug that survives fails it, and so does an odd store of which a case complains.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result {
    let mut cargo = run::cargo(&workspace.root);
    cargo.args(["run", "--release", "-p", "planted", "--bin", "prove-suite", "--"]);
    run::run(cargo.args(args))
}
