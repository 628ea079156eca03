//! Who may import whom: one direction, so that a backend's user compiles that backend and little
//! else.

use crate::packages::{Import, Package, Workspace};
use crate::run::Result;

/// What the core may be made of; anything else would reach every user.
const CORE: &[&str] =
    &["async-trait", "bytes", "chrono", "futures-core", "rmp", "rmp-serde", "serde", "thiserror"];
/// What the core may have behind a feature: the import, and the one feature that may ask for it.
const CORE_OPTIONAL: &[(&str, &str)] =
    &[("rustix", "coarse-clock"), ("serde_json", "json"), ("tokio", "test-util")];
/// What the command alone knows.
const COMMAND_ONLY: &[&str] =
    &["clap", "clap_complete", "env_logger", "indicatif", "tracing-subscriber"];

/// Fails with every import that the rule forbids.
pub(crate) fn check(workspace: &Workspace) -> Result {
    let broken = broken(&workspace.packages);
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("the import rule is broken:\n    {}", broken.join("\n    ")))
    }
}

/// Where a member stands in the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Core,
    Backend,
    Cache,
    Conformance,
    Facade,
    Command,
    /// Unpublished: may import anything.
    Workshop,
}

impl Role {
    fn of(package: &Package) -> Option<Self> {
        Some(match package.folder.as_str() {
            "crates/core" => Self::Core,
            "crates/cache" => Self::Cache,
            "crates/larder" => Self::Facade,
            "crates/cli" => Self::Command,
            "conformance-tests" => Self::Conformance,
            folder if folder.starts_with("backends/") => Self::Backend,
            _ if !package.published => Self::Workshop,
            _ => return None,
        })
    }

    /// Whether a member of this role may import one of the other.
    fn may_import(self, other: Self, optional: bool) -> bool {
        match (self, other) {
            // What is published cannot stand on what is not.
            (Self::Workshop, _) => true,
            (_, Self::Workshop) | (Self::Core, _) => false,
            (Self::Command, _) | (_, Self::Core) | (Self::Facade, Self::Backend) => true,
            (Self::Conformance, Self::Cache) => optional,
            _ => false,
        }
    }
}

/// Every import that the rule forbids, as one sentence each.
fn broken(packages: &[Package]) -> Vec<String> {
    let mut broken = Vec::new();
    for package in packages {
        let Some(role) = Role::of(package) else {
            broken.push(format!(
                "{} in {} has no place in the rule: give it one in crates/xtask/src/imports.rs",
                package.name, package.folder
            ));
            continue;
        };
        for import in &package.imports {
            let member = packages.iter().find(|other| other.name == import.name).and_then(Role::of);
            let allowed = match member {
                Some(other) => role.may_import(other, import.optional),
                None => may_import_outsider(role, package, import),
            };
            if !allowed {
                broken.push(format!("{} imports {}", package.name, import.name));
            }
        }
    }
    broken
}

fn may_import_outsider(role: Role, package: &Package, import: &Import) -> bool {
    match role {
        Role::Core => {
            CORE.contains(&import.name.as_str())
                || CORE_OPTIONAL.iter().any(|&(name, feature)| {
                    name == import.name && import.optional && asked_for_by(package, name, feature)
                })
        }
        Role::Command | Role::Workshop => true,
        _ => !COMMAND_ONLY.contains(&import.name.as_str()),
    }
}

/// Whether the one feature alone asks for the import, and no other asks for that feature.
fn asked_for_by(package: &Package, import: &str, feature: &str) -> bool {
    package.features.iter().filter(|(name, _)| *name != feature).all(|(_, enables)| {
        enables.iter().all(|enabled| {
            let asked = enabled.split_once('/').map_or(enabled.as_str(), |(asked, _)| asked);
            asked != feature
                && asked.strip_prefix("dep:").unwrap_or(asked).trim_end_matches('?') != import
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, folder: &str, imports: &[&str]) -> Package {
        let imports = imports
            .iter()
            .map(|name| Import {
                name: name.trim_end_matches('?').to_owned(),
                optional: name.ends_with('?'),
            })
            .collect();
        Package {
            name: name.to_owned(),
            folder: folder.to_owned(),
            published: true,
            imports,
            ..Package::default()
        }
    }

    /// A workspace that keeps the rule, with some imports added to one of its packages.
    fn with(name: &str, added: &[&str]) -> Vec<Package> {
        let mut packages = vec![
            package("core", "crates/core", &["bytes", "serde", "tokio?", "serde_json?"]),
            package("memory", "backends/memory", &["core", "tokio"]),
            package("redis", "backends/redis", &["core", "tokio", "driver"]),
            package("cache", "crates/cache", &["core", "tokio"]),
            package("suite", "conformance-tests", &["core", "cache?", "tokio"]),
            package("facade", "crates/larder", &["core", "memory?", "redis?"]),
            package("command", "crates/cli", &["core", "facade", "suite", "cache", "clap"]),
        ];
        let mut bench = package("bench", "crates/bench", &["facade", "redis", "clap"]);
        bench.published = false;
        packages.push(bench);
        packages[0].features.insert("test-util".to_owned(), vec!["dep:tokio".to_owned()]);
        let chosen = packages.iter_mut().find(|package| package.name == name);
        if let Some(chosen) = chosen {
            chosen.imports.extend(package("", "", added).imports);
        }
        packages
    }

    #[test]
    fn the_layout_as_planned_passes() {
        assert_eq!(broken(&with("", &[])), [""; 0]);
    }

    #[test]
    fn forbidden_imports_are_named() {
        for (name, import) in [
            ("core", "rand"),
            ("core", "memory"),
            ("core", "memory?"),
            ("core", "rand?"),
            ("memory", "redis"),
            ("memory", "redis?"),
            ("memory", "cache"),
            ("memory", "facade"),
            ("memory", "suite"),
            ("memory", "bench"),
            ("redis", "clap"),
            ("cache", "memory"),
            ("cache", "facade"),
            ("suite", "memory"),
            ("suite", "memory?"),
            ("suite", "facade"),
            ("facade", "suite"),
            ("facade", "command"),
            ("facade", "cache"),
            ("facade", "indicatif"),
            ("command", "bench"),
        ] {
            let bare = import.trim_end_matches('?');
            assert_eq!(broken(&with(name, &[import])), [format!("{name} imports {bare}")]);
        }
    }

    #[test]
    fn the_suite_has_the_cache_behind_a_feature_alone() {
        let mut packages = with("", &[]);
        packages[4].imports = package("", "", &["core", "cache"]).imports;
        assert_eq!(broken(&packages), ["suite imports cache"]);
    }

    #[test]
    fn the_core_has_a_runtime_for_tests_alone() {
        let mut packages = with("", &[]);
        packages[0].imports = package("", "", &["tokio"]).imports;
        assert_eq!(broken(&packages), ["core imports tokio"]);
        for asks in ["dep:tokio", "tokio/time", "tokio?/time", "test-util"] {
            let mut packages = with("", &[]);
            packages[0].features.insert("default".to_owned(), vec![asks.to_owned()]);
            assert_eq!(broken(&packages), ["core imports tokio"], "{asks}");
        }
    }

    #[test]
    fn a_newcomer_is_asked_for_its_place() {
        let mut packages = with("", &[]);
        packages.push(package("new", "crates/new", &[]));
        assert_eq!(broken(&packages).len(), 1);
        packages[8].published = false;
        assert_eq!(broken(&packages), [""; 0]);
    }
}
