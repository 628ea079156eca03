use clap::Args;
use serde::Serialize;

use crate::app::App;
use crate::exit::Outcome;

/// Tell whether the store answers
#[derive(Args)]
pub(crate) struct Ping {}

#[derive(Serialize)]
struct Answer {
    ok: bool,
}

impl Ping {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        app.store().await?.ping().await?;
        if app.json { app.out.json(&Answer { ok: true }) } else { app.out.line("ok") }
    }
}
