use clap::Args;

use crate::app::App;
use crate::durations;
use crate::exit::{Failure, Outcome};
use crate::output::Record;

/// Print how long a value still lives: `never`, or a duration
#[derive(Args)]
pub(crate) struct ExpiresIn {
    key: String,
}

impl ExpiresIn {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let life = app.store().await?.expires_in(&self.key).await?;
        if life == larder::ExpiresIn::Missing {
            return Err(Failure::missing(&self.key));
        }
        if app.json {
            app.out.json(&Record::new(&self.key).with_life(life))
        } else {
            app.out.line(&durations::format_life(life))
        }
    }
}
