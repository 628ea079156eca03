//! `cargo xtask test`: every test, with the servers they need.

use std::path::Path;
use std::process::Command;

use crate::packages::{Package, Workspace};
use crate::run::{self, Result};
use crate::servers::Servers;
use crate::{install, python};

/// How many tests nextest runs at once.
const THREADS: &str = "NEXTEST_TEST_THREADS";

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result {
    let selection = Selection::read(args)?;
    let redis = install::redis_server()?;
    let python = python::interpreter(workspace)?;
    let servers = Servers::start(&redis)?;
    let cargo = || {
        let mut cargo = run::cargo(&workspace.root);
        servers.describe_to(&mut cargo);
        cargo.env("LARDER_TEST_PYTHON", &python);
        cargo
    };

    let tested = run::run(selection.describe_to(&mut tests(cargo(), &workspace.root)));
    let documented = doc_tests(workspace, &selection).map_or(Ok(()), |packages| {
        let mut cargo = cargo();
        cargo.args(["test", "--doc", "--no-fail-fast", "--all-features"]);
        run::run(cargo.args(packages))
    });
    let outside = if selection == Selection::default() {
        outsiders(workspace, |cargo| servers.describe_to(cargo))
    } else {
        Ok(())
    };
    // All have run, so that one failure does not hide another.
    tested.and(documented).and(outside)
}

/// Runs the tests of the packages that stand apart.
fn outsiders(workspace: &Workspace, describe_to: impl Fn(&mut Command)) -> Result {
    let mut done = Ok(());
    for folder in &workspace.outsiders {
        eprintln!("in {}:", folder.display());
        let mut cargo = run::cargo(folder);
        describe_to(&mut cargo);
        cargo.args(["test", "--no-fail-fast", "--target-dir"]).arg(&workspace.target);
        done = done.and(run::run(&mut cargo));
    }
    done
}

/// The runner: nextest, where it is installed, keeps a hang from blocking the rest.
fn tests(mut cargo: Command, root: &Path) -> Command {
    if run::succeeds(run::cargo(root).args(["nextest", "--version"])) {
        cargo.args(["nextest", "run", "--no-fail-fast"]);
        if std::env::var_os(THREADS).is_none() {
            // Most tests wait more than they compute.
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            cargo.env(THREADS, (2 * cores).to_string());
        }
    } else {
        cargo.args(["test", "--tests", "--no-fail-fast"]);
    }
    cargo
}

/// Where doc tests are wanted, as arguments: nowhere when particular tests are asked for.
fn doc_tests(workspace: &Workspace, selection: &Selection) -> Option<Vec<String>> {
    if !selection.others.is_empty() {
        eprintln!("doc tests are left out, as the arguments ask for particular tests");
        return None;
    }
    // Not a list of those that have some: for that selection, cargo would compile what they need with
    // other features, all over again.
    if selection.packages.is_empty() {
        let hidden = workspace.packages.iter().filter(|package| package.hides_examples);
        let hidden = hidden.flat_map(|package| ["--exclude".to_owned(), package.name.clone()]);
        return Some(["--workspace".to_owned()].into_iter().chain(hidden).collect());
    }
    let wanted =
        |package: &&Package| package.has_doc_tests && selection.packages.contains(&package.name);
    let packages = workspace.packages.iter().filter(wanted);
    let packages: Vec<_> =
        packages.flat_map(|package| ["-p".to_owned(), package.name.clone()]).collect();
    (!packages.is_empty()).then_some(packages)
}

/// What the developer's arguments ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    packages: Vec<String>,
    others: Vec<String>,
}

impl Selection {
    fn read(args: &[String]) -> Result<Self> {
        let mut args = args.iter().skip(usize::from(args.first().is_some_and(|arg| arg == "--")));
        let mut selection = Self::default();
        while let Some(arg) = args.next() {
            let package = if arg == "-p" || arg == "--package" {
                Some(
                    args.next()
                        .ok_or_else(|| format!("`{arg}` wants a package's name after it"))?
                        .as_str(),
                )
            } else {
                arg.strip_prefix("--package=")
                    .or_else(|| arg.strip_prefix("-p").filter(|name| !name.is_empty()))
            };
            match package {
                Some(package) => selection.packages.push(package.to_owned()),
                None => selection.others.push(arg.clone()),
            }
        }
        Ok(selection)
    }

    /// Hands the arguments on; what they leave open is everything.
    fn describe_to<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        if self.packages.is_empty() {
            cargo.arg("--workspace");
        }
        let chosen = ["-F", "--features", "--all-features", "--no-default-features"];
        if !self.others.iter().any(|arg| chosen.iter().any(|flag| arg.starts_with(flag))) {
            cargo.arg("--all-features");
        }
        cargo.args(self.packages.iter().flat_map(|package| ["-p", package])).args(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Selection {
        Selection::read(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn line(selection: &Selection) -> Vec<String> {
        let mut command = Command::new("cargo");
        selection.describe_to(&mut command);
        command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn without_arguments_everything_runs() {
        assert_eq!(line(&read(&[])), ["--workspace", "--all-features"]);
        assert_eq!(read(&[]), Selection::default());
    }

    #[test]
    fn packages_are_told_from_the_rest() {
        let selection = read(&["--", "-p", "a", "-pb", "--package=c", "--package", "d", "name"]);
        assert_eq!(selection.packages, ["a", "b", "c", "d"]);
        assert_eq!(selection.others, ["name"]);
        let line = line(&selection);
        assert_eq!(line, ["--all-features", "-p", "a", "-p", "b", "-p", "c", "-p", "d", "name"]);
    }

    #[test]
    fn chosen_features_stand() {
        assert_eq!(
            line(&read(&["-p", "a", "--no-default-features"])),
            ["-p", "a", "--no-default-features"]
        );
        assert_eq!(line(&read(&["--features=x"])), ["--workspace", "--features=x"]);
    }

    #[test]
    fn a_package_wants_a_name() {
        assert!(Selection::read(&["-p".to_owned()]).is_err());
    }
}
