//! Developer commands of the Larder workspace: `cargo xtask help` lists them.

mod bench;
mod cases;
mod ci;
mod docs;
mod features;
mod files;
mod imports;
mod install;
mod links;
mod markdown;
mod migration;
mod packages;
mod prove;
mod python;
mod report;
mod run;
mod servers;
mod tarballs;
mod test;
mod tls;

use std::process::ExitCode;

use packages::Workspace;

const HELP: &str = "\
Developer commands of the Larder workspace.

    cargo xtask test [-- ARGS]   run every test with the servers they need, installing what is
                                 missing; ARGS go to `cargo nextest run`, or to `cargo test`
                                 where there is no nextest
    cargo xtask ci [CHECK…]      run every check beside the tests, or those named
    cargo xtask docs             build the book and the API pages
    cargo xtask prove-suite [NAME]
                                 run the conformance suite on stores with planted bugs, each of
                                 which it has to catch, and on odd ones without a bug; NAME picks
                                 some of them, and `cache` those of the cache
    cargo xtask bench [AREA…] [--quick | --render]
                                 measure Larder beside its peers, and write docs/performance;
                                 `--render` only makes its pages anew
    cargo xtask report           run the conformance suite on our own backends, and write the page of
                                 the book that shows the outcome
    cargo xtask help             print this
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let command = args.first().map_or("help", String::as_str);
    let rest = args.get(1..).unwrap_or_default();
    let done = match command {
        "test" => Workspace::load().and_then(|workspace| test::run(&workspace, rest)),
        "ci" => Workspace::load().and_then(|workspace| ci::run(&workspace, rest)),
        "prove-suite" => Workspace::load().and_then(|workspace| prove::run(&workspace, rest)),
        "bench" => Workspace::load().and_then(|workspace| bench::run(&workspace, rest)),
        "report" => Workspace::load().and_then(|workspace| report::run(&workspace, rest)),
        "docs" => Workspace::load().and_then(|workspace| docs::run(&workspace, rest)),
        "help" | "--help" | "-h" => {
            print!("{HELP}\nThe checks of `cargo xtask ci`:\n\n{}", ci::help());
            Ok(())
        }
        other => Err(format!("`{other}` is no command: `cargo xtask help` lists them")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}
