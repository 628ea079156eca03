use std::sync::Arc;

use clap::Args;
use larder::{Error, NamespacedStore, StoreUrl};
use serde::Serialize;

use crate::address;
use crate::app::{Absent, App};
use crate::exit::Outcome;

mod overlap;
mod progress;
mod tally;
mod transfer;

pub(crate) use progress::Progress;
pub(crate) use tally::Tally;
pub(crate) use transfer::Transfer;

/// Copy all entries of one store to another, with their namespaces and remaining life
///
/// Of FROM, what lies in the namespace given by -n and below it goes to the same namespace of TO,
/// which is made where it is not there. Keys that are live in TO already are left as they are, so
/// that a copy which was stopped goes on where it was; this needs a TO with conditions, as all of
/// Larder's own stores are.
///
/// Of what a cache's processes agree on, locks and loads are left out, and counted as such: they
/// belong to processes of FROM. A counter of fencing tokens is moved on to FROM's where it is behind,
/// and never back, --overwrite or not. Left out as well are records that do not tell their key.
#[derive(Args)]
pub(crate) struct Copy {
    /// A store's URL, or env:NAME
    from: String,
    /// A store's URL, or env:NAME
    to: String,
    /// Only keys that begin so, in every namespace
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Replace keys that are live in TO already
    #[arg(long)]
    overwrite: bool,
}

#[derive(Serialize)]
struct Answer {
    copied: u64,
    already_there: u64,
    left_out: u64,
    expired: u64,
    failed: u64,
}

impl Copy {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let (from_url, to_url) = (address::parse(&self.from)?, address::parse(&self.to)?);
        overlap::refuse_nested_paths(&from_url, &to_url)?;
        let (from, to) = open(app, &from_url, &to_url).await?;
        if !self.overwrite && !to.capabilities().conditions {
            return Err(Error::unsupported("conditions")
                .with_operation("copy without --overwrite")
                .into());
        }
        let from_place = overlap::Place::new(&from_url, app.segments(), &from);
        let to_place = overlap::Place::new(&to_url, app.segments(), &to);
        overlap::refuse(&from_place, &to_place).await?;

        app.on_interrupt("what was copied is there; run it again to copy the rest");
        let transfer = Transfer { from, to, prefix: self.prefix, overwrite: self.overwrite };
        let progress = Progress::start();
        let tally = Tally::new(&progress);
        let copied = progress::beside(&transfer, &progress, transfer.run(&tally)).await;
        progress.finish();
        copied?;
        let answer = Answer {
            copied: tally.copied(),
            already_there: tally.already_there(),
            left_out: tally.left_out(),
            expired: tally.expired(),
            failed: tally.failed(),
        };
        if app.json {
            app.out.json(&answer)?;
        } else {
            app.out.line(&tally.to_string())?;
        }
        tally.first_error().map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Opens both, FROM first: where it is not there, TO is not made.
async fn open(
    app: &mut App,
    from_url: &StoreUrl,
    to_url: &StoreUrl,
) -> Outcome<(Arc<dyn NamespacedStore>, Arc<dyn NamespacedStore>)> {
    let (from, to) = if overlap::is_one_sled(from_url, to_url) {
        // It opens once, so both ends are namespaces of one handle.
        let root = app
            .open(&from_url.clone().with_namespace(larder::Namespace::root()), Absent::Refuse)
            .await?;
        let end = |url: &StoreUrl| root.with_path(&url.namespace().segments().collect::<Vec<_>>());
        (end(from_url)?, end(to_url)?)
    } else {
        let from = app.open(from_url, Absent::Refuse).await?;
        (from, app.open(to_url, Absent::Create).await?)
    };
    Ok((app.below(&from)?, app.below(&to)?))
}
