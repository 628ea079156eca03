//! Runs the whole suite on every planted and every odd store: `cargo xtask prove-suite`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let print = |line: &str| println!("{line}");
    let missed = planted::prove_suite(&filter, print).await
        + planted::prove_cache_suite(&filter, print).await;
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
