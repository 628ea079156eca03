//! What a registry would get: each published crate is packed, and the packed ones must build.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::packages::Workspace;
use crate::run::{self, Result};

/// Packs every published crate, and builds what was packed.
///
/// Cargo's own check unpacks each crate into its home once per version and never looks again, so
/// that a second run builds on what the first one packed; hence a workspace of our own here.
pub(crate) fn check(workspace: &Workspace) -> Result {
    let mut pack = run::cargo(&workspace.root);
    // Publishing refuses a dirty tree by itself; here it is what a developer has.
    pack.args(["package", "--workspace", "--allow-dirty", "--no-verify"]);
    let unpublished = workspace.packages.iter().filter(|package| !package.published);
    run::run(pack.args(unpublished.flat_map(|package| ["--exclude", &package.name])))?;

    let packed = workspace.target.join("package");
    let folder = packed.join("unpacked");
    unpack(workspace, &packed, &folder)
        .map_err(|error| format!("the packed crates cannot be laid out for building: {error}"))??;
    let mut build = run::cargo(&folder);
    build.args(["check", "--quiet", "--workspace", "--all-features", "--target-dir"]);
    run::run(build.arg(&workspace.target))
}

/// Makes a workspace of the packed crates: each finds the others, and the versions are ours.
fn unpack(workspace: &Workspace, packed: &Path, folder: &Path) -> std::io::Result<Result> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut members = String::new();
    let mut patches = String::new();
    for package in workspace.published() {
        let name = format!("{}-{}", package.name, package.version);
        // With the time of unpacking (`m`): packed files all bear the same, and cargo would see no
        // change.
        let mut tar = run::command("tar");
        tar.arg("-xzmf").arg(packed.join(format!("{name}.crate"))).arg("-C").arg(folder);
        if let Err(why) = run::output(&mut tar) {
            return Ok(Err(why));
        }
        // Writing to a string cannot fail.
        let _ = writeln!(members, "    \"{name}\",");
        let _ = writeln!(patches, "{} = {{ path = \"{name}\" }}", package.name);
    }
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\n{members}]\n\n[patch.crates-io]\n{patches}"
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(Ok(()))
}
