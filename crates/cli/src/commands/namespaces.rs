use clap::Args;
use futures_util::TryStreamExt;
use larder::StoreExt;
use serde::Serialize;

use crate::app::App;
use crate::exit::Outcome;
use crate::text;

/// List the namespaces directly below, one a line, that hold a live key at any depth
#[derive(Args)]
pub(crate) struct Namespaces {
    /// End each name with a NUL instead of a line feed, and escape nothing
    #[arg(short = '0', long = "null", conflicts_with = "json")]
    null: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    namespace: &'a str,
}

impl Namespaces {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let store = app.store().await?;
        let mut names = store.namespaces();
        while let Some(name) = names.try_next().await? {
            if app.json {
                app.out.json(&Answer { namespace: &name })?;
            } else if self.null {
                app.out.bytes(name.as_bytes())?;
                app.out.bytes(b"\0")?;
            } else {
                app.out.line(&text::escape(&name))?;
            }
        }
        Ok(())
    }
}
