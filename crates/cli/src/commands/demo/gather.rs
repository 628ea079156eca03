use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use larder::MAX_KEY_LEN;

use crate::exit::{Failure, Outcome};
use crate::text;

/// The most files that the demo takes.
const MOST_FILES: usize = 500;
/// The most bytes that it takes of one file.
const LARGEST_FILE: u64 = 16 << 20;
/// The most bytes that it takes in all.
const MOST_BYTES: u64 = 64 << 20;
/// How many of the files left out are named.
const SHOWN_SKIPS: usize = 5;

/// A file: its path below the folder, with `/` between the parts, and its content.
pub(super) struct Found {
    pub(super) key: String,
    pub(super) content: Bytes,
}

/// The files that the demo works with.
pub(super) struct Gathered {
    pub(super) from: String,
    pub(super) files: Vec<Found>,
    /// What was left out, and why.
    pub(super) skipped: Vec<String>,
}

impl Gathered {
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.content.len() as u64).sum()
    }

    /// What was left out, shortened to be read.
    pub(super) fn shown_skips(&self) -> Vec<String> {
        let mut shown: Vec<String> = self.skipped.iter().take(SHOWN_SKIPS).cloned().collect();
        let more = self.skipped.len().saturating_sub(SHOWN_SKIPS);
        if more > 0 {
            shown.push(format!("and {more} more left out"));
        }
        shown
    }

    fn skip(&mut self, path: &Path, why: &str) {
        self.skipped.push(format!("left out {}: {why}", path.display()));
    }
}

/// Reads the files of a folder, or `docs` and `README.md` of the repository around the working folder;
/// `ours` are stores, which are no input.
pub(super) fn gather(folder: Option<PathBuf>, ours: &[PathBuf]) -> Outcome<Gathered> {
    let ours: Vec<PathBuf> = ours.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let (base, starts, from) = if let Some(folder) = folder {
        if !folder.is_dir() {
            let text = format!("{} is no folder that can be read", folder.display());
            return Err(Failure::Usage(text));
        }
        let from = folder.display().to_string();
        (folder.clone(), vec![folder], from)
    } else {
        let Some(root) = repository() else {
            let text = "no docs and README.md here or above: name a folder, as in `larder demo .`";
            return Err(Failure::Usage(text.to_owned()));
        };
        let starts = vec![root.join("README.md"), root.join("docs")];
        (root, starts, "README.md and docs".to_owned())
    };
    let mut gathered = Gathered { from, files: Vec::new(), skipped: Vec::new() };
    let mut left = MOST_BYTES;
    // A stack, its top the next to look at.
    let mut paths: Vec<PathBuf> = starts.into_iter().rev().collect();
    while let Some(path) = paths.pop() {
        if gathered.files.len() == MOST_FILES {
            gathered.skip(&path, "and what follows it: the demo takes 500 files at most");
            break;
        }
        match look(&path, &base, &ours, left) {
            Ok(Seen::Folder(mut children)) => {
                children.sort_unstable_by(|a, b| b.cmp(a));
                paths.append(&mut children);
            }
            Ok(Seen::File(found)) => {
                left -= found.content.len() as u64;
                gathered.files.push(found);
            }
            Ok(Seen::Ours) => {}
            Ok(Seen::Unfit(why)) => gathered.skip(&path, why),
            Err(error) => gathered.skip(&path, &error.to_string()),
        }
    }
    if gathered.files.is_empty() {
        let (from, skips) = (&gathered.from, gathered.skipped.len() as u64);
        let skips = text::count(skips, "left out");
        return Err(Failure::Usage(format!("there is no file to take in {from} ({skips})")));
    }
    Ok(gathered)
}

enum Seen {
    Folder(Vec<PathBuf>),
    File(Found),
    /// One of our own stores, or hidden.
    Ours,
    Unfit(&'static str),
}

fn look(path: &Path, base: &Path, ours: &[PathBuf], left: u64) -> io::Result<Seen> {
    let below = path.strip_prefix(base).unwrap_or(path);
    let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
    let Some(parts) = parts else { return Ok(Seen::Unfit("its name is not UTF-8")) };
    if parts.last().is_some_and(|name| name.starts_with('.')) {
        return Ok(Seen::Ours);
    }
    let kind = fs::symlink_metadata(path)?;
    // The folder to start with may be a link: it was asked for.
    if kind.is_symlink() && !parts.is_empty() {
        return Ok(Seen::Unfit("a link"));
    }
    if kind.is_dir() || parts.is_empty() {
        if path.canonicalize().is_ok_and(|real| ours.contains(&real)) {
            return Ok(Seen::Ours);
        }
        let children: io::Result<Vec<PathBuf>> =
            fs::read_dir(path)?.map(|child| child.map(|child| child.path())).collect();
        return children.map(Seen::Folder);
    }
    if !kind.is_file() {
        return Ok(Seen::Unfit("neither file nor folder"));
    }
    let key = parts.join("/");
    if key.len() > MAX_KEY_LEN {
        return Ok(Seen::Unfit("its path is too long for a key"));
    }
    if kind.len() > LARGEST_FILE {
        return Ok(Seen::Unfit("over 16 MiB"));
    }
    if kind.len() > left {
        return Ok(Seen::Unfit("the demo takes 64 MiB at most"));
    }
    let content = fs::read(path)?;
    // It may have grown since.
    if content.len() as u64 > left {
        return Ok(Seen::Unfit("the demo takes 64 MiB at most"));
    }
    Ok(Seen::File(Found { key, content: content.into() }))
}

/// The nearest folder, from the working folder up, with a README.md and docs.
fn repository() -> Option<PathBuf> {
    let working = std::env::current_dir().ok()?;
    let is_root =
        |folder: &&Path| folder.join("README.md").is_file() && folder.join("docs").is_dir();
    working.ancestors().find(is_root).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_in_order_with_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("b/c")).unwrap();
        fs::create_dir_all(path.join("store")).unwrap();
        fs::write(path.join("store/x"), "ours").unwrap();
        fs::write(path.join(".hidden"), "no").unwrap();
        fs::write(path.join("b/c/z.bin"), [0, 255]).unwrap();
        fs::write(path.join("a"), "").unwrap();
        let gathered = gather(Some(path.to_owned()), &[path.join("store")]).unwrap();
        let keys: Vec<&str> = gathered.files.iter().map(|file| &*file.key).collect();
        assert_eq!(keys, ["a", "b/c/z.bin"]);
        assert_eq!(&gathered.files[1].content[..], [0, 255]);
        assert!(gathered.skipped.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_taken_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let file = fs::File::create(folder.path().join("large")).unwrap();
        file.set_len(LARGEST_FILE + 1).unwrap();
        let gathered = gather(Some(folder.path().to_owned()), &[]).unwrap();
        assert_eq!(gathered.files.len(), 1);
        let notes = gathered.shown_skips().join("\n");
        assert!(notes.contains("large: over 16 MiB") && notes.contains("link: a link"), "{notes}");
    }

    #[test]
    fn nothing_to_take_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        assert!(gather(Some(folder.path().to_owned()), &[]).is_err());
        assert!(gather(Some(folder.path().join("absent")), &[]).is_err());
    }
}
