use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use clap::Args;
use larder::{Expiry, StoreExt};
use serde::Serialize;

use crate::app::App;
use crate::durations;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::text;

/// Store a value, making the store where there is none
#[derive(Args)]
pub(crate) struct Set {
    key: String,
    /// The value (after `--` where it begins with a hyphen)
    #[arg(required_unless_present = "file", allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Take the value from a file, or from standard input for `-`
    #[arg(long, value_name = "PATH", conflicts_with = "value")]
    file: Option<PathBuf>,
    #[command(flatten)]
    expiry: ExpiryArgs,
    /// Only where there is no live value; else exit with 1
    #[arg(long, conflicts_with = "if_present")]
    if_absent: bool,
    /// Only over a live value; else exit with 1
    #[arg(long)]
    if_present: bool,
}

#[derive(Args)]
#[group(multiple = false)]
struct ExpiryArgs {
    /// How long the value lives
    #[arg(long, visible_alias = "expires-in", value_name = "D", value_parser = durations::parse)]
    ttl: Option<Duration>,
    /// Until when it lives, as 2030-01-31T12:00:00Z; a moment in the past removes the key
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    expires_at: Option<DateTime<Utc>>,
    /// As long as the value that it replaces
    #[arg(long)]
    keep_ttl: bool,
}

impl ExpiryArgs {
    fn expiry(&self) -> Expiry {
        match (self.ttl, self.expires_at) {
            (Some(duration), _) => Expiry::After(duration),
            (None, Some(moment)) => Expiry::At(moment),
            (None, None) if self.keep_ttl => Expiry::Keep,
            (None, None) => Expiry::Never,
        }
    }
}

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|moment| moment.to_utc())
        .map_err(|_| "not a moment as in RFC 3339: write 2030-01-31T12:00:00Z".to_owned())
}

#[derive(Serialize)]
struct Answer<'a> {
    key: &'a str,
    applied: bool,
}

impl Set {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        // Read first: what cannot be read makes no store.
        let value = match (self.file, self.value) {
            (Some(path), _) => files::read(path).await?,
            (None, value) => Bytes::from(value.unwrap_or_default().into_encoded_bytes()),
        };
        let store = app.store_or_new().await?;
        let mut set = store.set(&self.key, value).expiry(self.expiry.expiry());
        if self.if_absent {
            set = set.if_absent();
        } else if self.if_present {
            set = set.if_present();
        }
        let applied = set.await?.is_applied();
        if app.json {
            app.out.json(&Answer { key: &self.key, applied })?;
        }
        if applied {
            return Ok(());
        }
        let state = if self.if_absent { "is live already" } else { "is not live" };
        Err(Failure::condition_not_met(format!("\"{}\" {state}", text::escape(&self.key))))
    }
}
