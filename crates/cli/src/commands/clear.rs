use clap::Args;
use serde::Serialize;

use crate::app::App;
use crate::exit::{Failure, Outcome};

/// Delete every key of the namespace and of all namespaces below it
#[derive(Args)]
pub(crate) struct Clear {
    /// Yes, everything
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Answer {
    cleared: bool,
}

impl Clear {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        if !self.yes {
            let text = "clear deletes everything in the namespace and below it: add --yes";
            return Err(Failure::Usage(text.to_owned()));
        }
        app.store().await?.delete_all().await?;
        if app.json { app.out.json(&Answer { cleared: true }) } else { Ok(()) }
    }
}
