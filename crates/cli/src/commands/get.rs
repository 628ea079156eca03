use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use larder::{ExpiresIn, GetOptions};

use crate::app::App;
use crate::durations;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::output::{Record, json_line};

/// Print a value: its bytes and nothing else
#[derive(Args)]
pub(crate) struct Get {
    key: String,
    /// Let a value that expires live this long from now on
    #[arg(long, value_name = "D", value_parser = durations::parse)]
    renew_for: Option<Duration>,
    /// Write to this file, which then has its old content or the whole new one
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Get {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let store = app.store().await?;
        let mut options = GetOptions::default().with_expires_in(app.json);
        options.renew_for = self.renew_for;
        let Some(entry) = store.get_opts(&self.key, options).await? else {
            return Err(Failure::missing(&self.key));
        };
        let bytes = if app.json {
            let life = entry.expires_in.unwrap_or(ExpiresIn::Never);
            let record = Record::new(&self.key).with_value(&entry.value).with_life(life);
            Bytes::from(json_line(&record)?)
        } else {
            entry.value
        };
        match self.output {
            Some(path) => files::write_atomically(path, bytes).await,
            None => app.out.bytes(&bytes),
        }
    }
}
