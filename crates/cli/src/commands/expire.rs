use clap::Args;
use larder::Expiry;
use serde::Serialize;

use crate::app::App;
use crate::durations;
use crate::exit::{Failure, Outcome};

/// Change how long a live value lives
#[derive(Args)]
pub(crate) struct Expire {
    key: String,
    /// A duration from now, or `never`
    #[arg(value_name = "D|never", value_parser = durations::parse_or_never, allow_negative_numbers = true)]
    expiry: Expiry,
}

#[derive(Serialize)]
struct Answer<'a> {
    key: &'a str,
    exists: bool,
}

impl Expire {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let exists = app.store().await?.update_expiry(&self.key, self.expiry).await?;
        if app.json {
            app.out.json(&Answer { key: &self.key, exists })?;
        }
        if exists { Ok(()) } else { Err(Failure::missing(&self.key)) }
    }
}
