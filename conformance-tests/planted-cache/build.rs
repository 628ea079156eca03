//! Makes a copy of the sources of `larder-cache` in which each planted bug can be switched on.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[path = "bugs.rs"]
#[allow(dead_code, reason = "all that a build wants are names and changes")]
mod bugs;

use bugs::{BUGS, Bug};

fn main() -> io::Result<()> {
    let folder = |name| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let source = folder("CARGO_MANIFEST_DIR")?.join("../../crates/cache/src");
    let target = folder("OUT_DIR")?.join("cache");
    println!("cargo::rerun-if-changed=bugs.rs");
    println!("cargo::rerun-if-changed={}", source.display());
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    copy(&source, &target)?;
    let mut missing = Vec::new();
    for bug in BUGS {
        if !plant(bug, &target)? {
            missing.push(bug.name);
        }
    }
    // A module that is included has no inner attributes, nor docs.
    let lib = fs::read_to_string(target.join("lib.rs"))?;
    let lib: Vec<&str> = lib.lines().filter(|line| !line.starts_with("//!")).collect();
    fs::write(target.join("lib.rs"), lib.join("\n"))?;
    let missing = format!("pub const MISSING: &[&str] = &{missing:?};\n");
    fs::write(target.join("missing.rs"), missing)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            // The unit tests stay where they are.
            let text = fs::read_to_string(entry.path())?;
            fs::write(target, text.replace("#[cfg(test)]", "#[cfg(any())]"))?;
        }
    }
    Ok(())
}

/// Plants a bug; false, with nothing changed, where the text that it replaces is not there just once.
fn plant(bug: &Bug, target: &Path) -> io::Result<bool> {
    let switch = format!("crate::planted::is(\"{}\")", bug.name);
    let mut changed: Vec<(PathBuf, String)> = Vec::new();
    for edit in bug.edits {
        let path = target.join(edit.file);
        let text = match changed.iter().position(|(other, _)| *other == path) {
            Some(at) => changed.swap_remove(at).1,
            None => fs::read_to_string(&path)?,
        };
        if text.matches(edit.from).count() != 1 {
            return Ok(false);
        }
        let text = text.replacen(edit.from, &edit.to.replace("BUG", &switch), 1);
        changed.push((path, text));
    }
    for (path, text) in changed {
        fs::write(path, text)?;
    }
    Ok(true)
}
