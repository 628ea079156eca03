//! `cargo xtask bench`: measures Larder beside its peers, and writes `docs/performance`.

mod chart;
mod page;
mod row;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::install;
use crate::packages::Workspace;
use crate::run::{self, Result};
use crate::servers::Servers;

const FOLDER: &str = "docs/performance";
/// Every area, in the order of the pages; the bench crate knows what they are.
const AREAS: &[&str] =
    &["memory", "footprint", "layers", "cache", "hit-ratio", "file", "sled", "redis"];

/// Measures the areas that are named, or all of them, and writes their pages.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result {
    let options = ["--quick", "--render"];
    let (flags, areas): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with("--"));
    if let Some(flag) = flags.iter().find(|flag| !options.contains(&flag.as_str())) {
        return Err(format!("`{flag}` is no option of `cargo xtask bench`"));
    }
    if let Some(area) = areas.iter().find(|area| !AREAS.contains(&area.as_str())) {
        return Err(format!("`{area}` is no area; there are {}", AREAS.join(", ")));
    }
    let folder = workspace.root.join(FOLDER);
    fs::create_dir_all(&folder).map_err(|error| format!("no {FOLDER}: {error}"))?;
    if !flags.iter().any(|flag| *flag == "--render") {
        let quick = flags.iter().any(|flag| *flag == "--quick");
        let servers = Servers::start(&install::redis_server()?)?;
        for area in AREAS.iter().filter(|name| areas.is_empty() || areas.iter().any(|a| a == *name))
        {
            let measured = measure(workspace, &servers, area, quick)?;
            let text =
                serde_json::to_string_pretty(&measured).map_err(|error| error.to_string())?;
            write(&folder.join(format!("{area}.json")), &(text + "\n"))?;
        }
    }
    render(&folder)
}

fn measure(workspace: &Workspace, servers: &Servers, area: &str, quick: bool) -> Result<Value> {
    let program = if area == "footprint" { "larder-footprint" } else { "larder-bench" };
    let mut cargo = run::cargo(&workspace.root.join("crates/bench"));
    servers.describe_to(&mut cargo);
    cargo.args(["run", "--release", "--features", "peers", "--target-dir"]);
    cargo.arg(workspace.target.join("bench")).args(["--bin", program, "--", area]);
    if quick {
        cargo.arg("--quick");
    }
    let printed = run::output(&mut cargo)?;
    let mut measured: Value = serde_json::from_str(printed.trim())
        .map_err(|error| format!("the bench crate printed no JSON: {error}"))?;
    let quick = if quick { " --quick" } else { "" };
    measured["command"] = json!(format!("cargo xtask bench {area}{quick}"));
    measured["commit"] = json!(commit(&workspace.root));
    measured["machine"] = json!(machine());
    Ok(measured)
}

/// The commit that was measured, marked where the tree had changes beside those of earlier figures.
fn commit(root: &Path) -> String {
    let git = |args: &[&str]| run::output(run::command("git").current_dir(root).args(args));
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    let elsewhere = format!(":!{FOLDER}");
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", &elsewhere]);
    let changed = changed.unwrap_or_default();
    let mark = if changed.trim().is_empty() { "" } else { " with changes" };
    format!("{}{mark}", commit.trim())
}

/// What it was measured on.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {model}, {}", std::env::consts::OS)
}

/// Makes the pages and charts of whatever was measured.
fn render(folder: &Path) -> Result {
    let mut parts = Vec::new();
    for area in AREAS {
        let Ok(text) = fs::read_to_string(folder.join(format!("{area}.json"))) else { continue };
        let area =
            row::Area::read(&text).ok_or_else(|| format!("{area}.json is of another shape"))?;
        write(&folder.join(format!("{}.svg", area.name)), &chart::of(&area))?;
        parts.push(page::part(&area));
    }
    let readme = folder.join("README.md");
    let old = fs::read_to_string(&readme).unwrap_or_default();
    let new = page::with(&old, &parts.join("\n"))
        .ok_or_else(|| format!("{FOLDER}/README.md has no place for the tables"))?;
    write(&readme, &new)?;
    println!("{FOLDER} is written");
    Ok(())
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
