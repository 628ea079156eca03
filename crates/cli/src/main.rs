//! The `larder` command: look into, fill, copy and check any Larder store.

mod address;
mod app;
mod args;
mod commands;
mod durations;
mod exit;
mod files;
mod interrupt;
mod output;
mod signals;
mod text;

use std::process::ExitCode;

use app::App;
use args::Cli;
use exit::{Failure, Outcome};

fn main() -> ExitCode {
    let cli = match args::parse(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    keep_sled_quiet();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(Err(larder::Error::from_io(error).into())),
    };
    let outcome = runtime.block_on(run(cli));
    // A thread that waits for standard input must not keep the process.
    runtime.shutdown_background();
    exit::report(outcome)
}

/// Says nothing of the panics of sled, which damaged files lead to: the store makes an error of them,
/// and that is what is told.
fn keep_sled_quiet() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|location| location.file().contains("/sled-0.")) {
            hook(panic);
        }
    }));
}

/// Runs the command, or drops it at the first Ctrl-C; closes what it opened either way.
async fn run(cli: Cli) -> Outcome {
    let mut app = App::new(cli.global);
    let minds_signals = cli.command.minds_signals();
    let outcome = tokio::select! {
        // In this order, so that Ctrl-C is listened to before anything is done.
        biased;
        () = interrupt::asked(), if !minds_signals => None,
        outcome = cli.command.run(&mut app) => Some(outcome),
    };
    let outcome = outcome.unwrap_or_else(|| Err(Failure::Interrupted(app.if_interrupted())));
    let flushed = app.out.flush();
    let closed = app.close().await;
    outcome.and(flushed).and(closed)
}
