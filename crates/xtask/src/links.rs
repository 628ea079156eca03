//! Whether the documents' links to one another resolve, and the book lists all of its pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::files;
use crate::markdown::Document;
use crate::run::Result;

/// The book's own table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Checks every Markdown file below the folder.
pub(crate) fn check(root: &Path) -> Result {
    let documents = read(root)?;
    let broken = broken(root, &documents);
    if broken.is_empty() {
        println!("{} documents, every link between them resolves", documents.len());
        Ok(())
    } else {
        Err(format!("the documents do not hang together:\n    {}", broken.join("\n    ")))
    }
}

/// Reads the documents, by their paths relative to the root.
fn read(root: &Path) -> Result<BTreeMap<PathBuf, Document>> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root.join(&path))?;
        Ok((path, Document::read(&text)))
    };
    files::ending(root, ".md")
        .and_then(|paths| paths.into_iter().map(read).collect())
        .map_err(|error| format!("the documents cannot be read: {error}"))
}

fn broken(root: &Path, documents: &BTreeMap<PathBuf, Document>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut listed = BTreeSet::new();
    for (path, document) in documents {
        for link in &document.links {
            let (file, anchor) = match link.split_once('#') {
                Some((file, anchor)) => (file, Some(anchor)),
                None => (link.as_str(), None),
            };
            let Some(target) = resolve(path, file) else {
                broken.push(format!("{}: {link} leads out of the repository", path.display()));
                continue;
            };
            if path == Path::new(SUMMARY) {
                listed.insert(target.clone());
            }
            let known = match (documents.get(&target), anchor) {
                (Some(document), Some(anchor)) => document.anchors.contains(anchor),
                (Some(_), None) => true,
                (None, _) => root.join(&target).exists(),
            };
            if !known {
                broken.push(format!("{}: {link} leads nowhere", path.display()));
            }
        }
    }
    if documents.contains_key(Path::new(SUMMARY)) {
        for page in
            documents.keys().filter(|path| path.starts_with("docs") && *path != Path::new(SUMMARY))
        {
            if !listed.contains(page) {
                broken.push(format!("{}: not listed in {SUMMARY}", page.display()));
            }
        }
    }
    broken
}

/// The path a link leads to, relative to the root; `None` when that is outside of it.
fn resolve(from: &Path, link: &str) -> Option<PathBuf> {
    if link.is_empty() {
        return Some(from.to_owned());
    }
    let mut target = match link.strip_prefix('/') {
        Some(_) => PathBuf::new(),
        None => from.parent()?.to_owned(),
    };
    for part in Path::new(link.trim_start_matches('/')).components() {
        match part {
            Component::ParentDir => target.pop().then_some(())?,
            Component::Normal(name) => target.push(name),
            _ => {}
        }
    }
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(documents: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in documents {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        broken(folder.path(), &read(folder.path()).unwrap())
    }

    #[test]
    fn good_links_pass() {
        let broken = check(&[
            (
                "README.md",
                "[a](docs/a.md#the-end) [b](docs/data.json) [c](#top) [d](https://x.org)\n# Top\n",
            ),
            ("docs/SUMMARY.md", "[A](a.md) [Later]()\n"),
            ("docs/a.md", "# The end\n[up](../README.md) [folder](../docs)\n"),
            ("docs/data.json", ""),
            ("target/x.md", "[gone](gone.md)"),
            ("docs/book/x.md", "[gone](gone.md)"),
        ]);
        assert_eq!(broken, [""; 0]);
    }

    #[test]
    fn bad_links_are_named() {
        let broken = check(&[
            ("README.md", "[a](docs/gone.md) [b](docs/a.md#gone) [c](../x.md) [d](#gone)\n"),
            ("docs/a.md", "\n"),
        ]);
        assert_eq!(
            broken,
            [
                "README.md: docs/gone.md leads nowhere",
                "README.md: docs/a.md#gone leads nowhere",
                "README.md: ../x.md leads out of the repository",
                "README.md: #gone leads nowhere",
            ]
        );
    }

    #[test]
    fn the_book_lists_its_pages() {
        let broken =
            check(&[("docs/SUMMARY.md", "[A](a.md)\n"), ("docs/a.md", ""), ("docs/b/c.md", "")]);
        assert_eq!(broken, ["docs/b/c.md: not listed in docs/SUMMARY.md"]);
    }
}
