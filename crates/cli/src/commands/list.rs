use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use larder::{Entry, Error, ErrorKind, ExpiresIn, GetOptions, NamespacedStore, StoreExt};
use serde::Serialize;

use crate::app::App;
use crate::durations;
use crate::exit::{self, Outcome};
use crate::output::{Output, Record};
use crate::text;

/// How many values `--long` reads at a time.
const READERS: usize = 16;

/// List the live keys of the namespace, one a line
#[derive(Args)]
pub(crate) struct List {
    /// Only keys that begin so
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    prefix: String,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Show size in bytes and remaining life too; with --json, the value as well
    #[arg(short, long)]
    long: bool,
    /// End each key with a NUL instead of a line feed, and escape nothing
    #[arg(short = '0', long = "null", conflicts_with_all = ["long", "json"])]
    null: bool,
}

/// A key with what `--long` tells about it.
#[derive(Serialize)]
struct Long<'a> {
    #[serde(flatten)]
    record: Record<'a>,
    size: usize,
}

impl List {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let store = app.store().await?;
        let limit = self.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let mut keys = store.list(&self.prefix);
        let (mut left, mut failed) = (limit, None);
        while left > 0 {
            let batch: Vec<String> = (&mut keys).take(left.min(READERS)).try_collect().await?;
            if batch.is_empty() {
                break;
            }
            left -= batch.len();
            if self.long {
                let unread = self.print_long(app, &*store, batch).await?;
                failed = failed.or(unread);
            } else {
                batch.iter().try_for_each(|key| self.print(app.json, &mut app.out, key))?;
            }
        }
        let unlisted = keys.unlisted();
        app.out.flush()?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        if unlisted > 0 {
            let records = text::count(unlisted, "live record");
            exit::note(&format!("larder: {records} left out, whose keys are not stored with them"));
        }
        Ok(())
    }

    fn print(&self, json: bool, out: &mut Output, key: &str) -> Outcome {
        if json {
            return out.json(&Record::new(key));
        }
        if self.null {
            out.bytes(key.as_bytes())?;
            return out.bytes(b"\0");
        }
        out.line(&text::escape(key))
    }

    /// Prints the keys that can be read, and gives the first error of those that cannot.
    async fn print_long(
        &self,
        app: &mut App,
        store: &dyn NamespacedStore,
        keys: Vec<String>,
    ) -> Outcome<Option<Error>> {
        let options = GetOptions::default().with_expires_in(true);
        let reads = keys.iter().map(|key| store.get_opts(key, options.clone()));
        let entries = futures_util::future::join_all(reads).await;
        let mut failed = None;
        for (key, entry) in keys.iter().zip(entries) {
            let entry = match entry {
                Err(error) if is_of_one_key(error.kind()) => {
                    failed.get_or_insert(error);
                    continue;
                }
                entry => entry?,
            };
            // One that expired since it was listed is not listed.
            let Some(Entry { value, expires_in, .. }) = entry else { continue };
            let life = expires_in.unwrap_or(ExpiresIn::Never);
            if app.json {
                let record = Record::new(key).with_value(&value).with_life(life);
                app.out.json(&Long { record, size: value.len() })?;
            } else {
                let (size, life) = (value.len(), durations::format_life(life));
                app.out.line(&format!("{size:>10}  {life:>12}  {}", text::escape(key)))?;
            }
        }
        Ok(failed)
    }
}

/// What is wrong with one record says nothing about the others.
fn is_of_one_key(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::PermissionDenied)
}
