use clap::Args;
use serde::Serialize;

use crate::app::App;
use crate::exit::Outcome;

/// Remove what has expired, in the namespace and below it, and print how many records that were
#[derive(Args)]
pub(crate) struct Purge {}

#[derive(Serialize)]
struct Answer {
    removed: u64,
}

impl Purge {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let removed = app.store().await?.delete_expired().await?;
        if app.json {
            app.out.json(&Answer { removed })
        } else {
            app.out.line(&removed.to_string())
        }
    }
}
