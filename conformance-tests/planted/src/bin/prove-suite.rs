//! Runs the whole suite on every planted and every odd store: `cargo xtask prove-suite`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let missed = planted::prove_suite(&filter, |line| println!("{line}")).await;
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
