//! `cargo xtask report`: the page of the book that shows how our own backends fare.

use std::process::Command;

use crate::install;
use crate::packages::Workspace;
use crate::run::{self, Result};
use crate::servers::Servers;

const PAGE: &str = "docs/conformance-report.html";
/// Where the test servers' URL stands; the command reads it from there.
const REDIS: &str = "env:LARDER_TEST_REDIS_URL";

/// Runs the suite on memory, file, sled and Redis, and writes the page.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result {
    if let Some(arg) = args.first() {
        return Err(format!("`cargo xtask report` takes no arguments, and was given `{arg}`"));
    }
    let servers = Servers::start(&install::redis_server()?)?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let larder = || {
        let mut cargo = run::cargo(&workspace.root);
        servers.describe_to(&mut cargo);
        cargo.args(["run", "--quiet", "--release", "--package", "larder-cli", "--"]);
        cargo
    };
    let place = |scheme: &str| format!("{scheme}:{}", folder.path().join(scheme).display());
    let (file, sled) = (place("file"), place("sled"));
    // The command tries stores that exist, and makes none.
    for store in [&file, &sled] {
        run::run(larder().args(["--store", store, "set", "made", "for the report"]))?;
    }
    let mut conform: Command = larder();
    conform.args(["conform", "memory:", &file, &sled, REDIS]);
    run::run(conform.arg("--report").arg(workspace.root.join(PAGE)))?;
    println!("{PAGE} is written");
    Ok(())
}
