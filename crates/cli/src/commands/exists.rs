use clap::Args;
use serde::Serialize;

use crate::app::App;
use crate::exit::{Failure, Outcome};

/// Tell whether a key has a live value, by `true` or `false` and the exit status
#[derive(Args)]
pub(crate) struct Exists {
    key: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    key: &'a str,
    exists: bool,
}

impl Exists {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let exists = app.store().await?.exists(&self.key).await?;
        if app.json {
            app.out.json(&Answer { key: &self.key, exists })?;
        } else {
            app.out.line(if exists { "true" } else { "false" })?;
        }
        if exists { Ok(()) } else { Err(Failure::missing(&self.key)) }
    }
}
