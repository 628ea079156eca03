//! The workspace as `cargo metadata` describes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files;
use crate::run::{self, Result};

/// The members and where things lie.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
    /// The folders of packages that are no members, as a third party's would be.
    pub(crate) outsiders: Vec<PathBuf>,
}

/// One member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Its folder, relative to the workspace's, with `/`.
    pub(crate) folder: String,
    pub(crate) published: bool,
    /// It has a library, whose examples are run.
    pub(crate) has_doc_tests: bool,
    /// It has a library, whose examples are not to be run.
    pub(crate) hides_examples: bool,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    /// What it imports outside its tests and build script.
    pub(crate) imports: Vec<Import>,
}

/// One dependency of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) optional: bool,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut cargo = run::cargo(here);
        let text = run::output(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata = serde_json::from_str(&text)
            .map_err(|error| format!("`cargo metadata` gave no JSON: {error}"))?;
        let mut workspace = Self::read(&metadata).ok_or_else(|| {
            "`cargo metadata` gave JSON of another shape than expected".to_owned()
        })?;
        workspace.outsiders = outsiders(&workspace.root)
            .map_err(|error| format!("the manifests cannot be read: {error}"))?;
        Ok(workspace)
    }

    fn read(metadata: &Value) -> Option<Self> {
        let root = PathBuf::from(metadata["workspace_root"].as_str()?);
        let target = PathBuf::from(metadata["target_directory"].as_str()?);
        let packages = metadata["packages"].as_array()?;
        let mut packages: Vec<_> =
            packages.iter().map(|package| Package::read(package, &root)).collect::<Option<_>>()?;
        packages.sort_by(|one, other| one.name.cmp(&other.name));
        Some(Self { root, target, packages, outsiders: Vec::new() })
    }

    /// The members that go to the registry.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.published)
    }
}

/// The packages below the root that say by a `[workspace]` of their own that they are not of ours.
fn outsiders(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut outsiders = Vec::new();
    for manifest in files::ending(root, "Cargo.toml")? {
        let text = fs::read_to_string(root.join(&manifest))?;
        let apart = text.lines().any(|line| line.trim() == "[workspace]");
        if let Some(folder) = manifest.parent().filter(|folder| apart && *folder != Path::new("")) {
            outsiders.push(root.join(folder));
        }
    }
    Ok(outsiders)
}

impl Package {
    fn read(package: &Value, root: &Path) -> Option<Self> {
        let folder =
            Path::new(package["manifest_path"].as_str()?).parent()?.strip_prefix(root).ok()?;
        let folder: Vec<_> = folder.iter().map(|part| part.to_string_lossy()).collect();
        let texts = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let features = package["features"].as_object()?;
        let targets = package["targets"].as_array()?;
        let libraries = || {
            targets.iter().filter(|target| {
                texts(&target["kind"]).is_some_and(|kinds| {
                    kinds.iter().any(|kind| kind == "lib" || kind == "proc-macro")
                })
            })
        };
        Some(Self {
            name: package["name"].as_str()?.to_owned(),
            version: package["version"].as_str()?.to_owned(),
            folder: folder.join("/"),
            // `null` is anywhere, a list of none is nowhere.
            published: package["publish"]
                .as_array()
                .is_none_or(|registries| !registries.is_empty()),
            has_doc_tests: libraries().any(|library| library["doctest"].as_bool() == Some(true)),
            hides_examples: libraries().any(|library| library["doctest"].as_bool() == Some(false)),
            features: features
                .iter()
                .map(|(name, enables)| Some((name.clone(), texts(enables)?)))
                .collect::<Option<_>>()?,
            imports: package["dependencies"]
                .as_array()?
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| {
                    Some(Import {
                        name: dependency["name"].as_str()?.to_owned(),
                        optional: dependency["optional"].as_bool()?,
                    })
                })
                .collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_is_read() {
        let workspace = Workspace::read(&json!({
            "workspace_root": "/w",
            "target_directory": "/t",
            "packages": [{
                "name": "x",
                "version": "1.2.3",
                "manifest_path": "/w/a/x/Cargo.toml",
                "publish": [],
                "targets": [{ "kind": ["lib"], "doctest": true }],
                "features": { "f": ["dep:y"] },
                "dependencies": [
                    { "name": "y", "kind": null, "optional": true },
                    { "name": "z", "kind": "dev", "optional": false },
                ],
            }],
        }))
        .unwrap();
        let package = &workspace.packages[0];
        assert_eq!((package.name.as_str(), package.folder.as_str()), ("x", "a/x"));
        assert!(!package.published && package.has_doc_tests && !package.hides_examples);
        assert_eq!(package.features["f"], ["dep:y"]);
        assert_eq!(package.imports, [Import { name: "y".to_owned(), optional: true }]);
    }

    #[test]
    fn outsiders_are_those_with_a_workspace_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (path, text) in [
            ("Cargo.toml", "[workspace]\n"),
            ("a/Cargo.toml", "[package]\nversion.workspace = true\n"),
            ("b/c/Cargo.toml", "[package]\n[workspace]\n"),
            ("target/package/Cargo.toml", "[workspace]\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(outsiders(root).unwrap(), [root.join("b/c")]);
    }

    #[test]
    fn this_workspace_is_read() {
        let workspace = Workspace::load().unwrap();
        assert!(
            workspace
                .published()
                .any(|package| package.name == "larder-core" && package.has_doc_tests)
        );
        assert!(
            workspace.packages.iter().any(|package| package.name == "xtask" && !package.published)
        );
        // Its sources are those of another crate, and so are its examples.
        let copy = workspace.packages.iter().find(|package| package.name == "planted-cache");
        assert!(copy.is_some_and(|package| !package.has_doc_tests && package.hides_examples));
    }
}
