//! The repository's own files.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

/// What tools have built, by path from the root or by name anywhere.
const BUILT: &[&str] = &["docs/book"];
const BUILT_ANYWHERE: &[&str] = &["target"];

/// The files below the root whose names end so, as paths relative to it, in order.
///
/// Hidden folders and those of built things are left out.
pub(crate) fn ending(root: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = folder.join(&*name);
            if entry.file_type()?.is_dir() {
                let built = BUILT_ANYWHERE.contains(&&*name)
                    || BUILT.iter().any(|built| path == Path::new(built));
                if !built && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
