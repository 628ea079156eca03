use clap::Args;
use clap_complete::Shell;

use crate::app::App;
use crate::args;
use crate::exit::Outcome;

/// Print a script that completes this command in a shell
#[derive(Args)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, app: &mut App) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::command(), "larder", &mut script);
        app.out.bytes(&script)
    }
}
