use clap::{Args, builder::NonEmptyStringValueParser};
use serde::Serialize;

use crate::app::App;
use crate::exit::{Failure, Outcome};
use crate::text;

/// Delete keys, or all that begin with a prefix, and print how many existed
#[derive(Args)]
pub(crate) struct Delete {
    #[arg(value_name = "KEY", required_unless_present = "prefix")]
    keys: Vec<String>,
    /// Delete every key of the namespace that begins so (for all keys, see `clear`)
    #[arg(long, value_name = "P", conflicts_with = "keys", value_parser = NonEmptyStringValueParser::new())]
    prefix: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    deleted: u64,
}

impl Delete {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let store = app.store().await?;
        let (deleted, failed) = if let Some(prefix) = &self.prefix {
            (store.delete_prefix(prefix).await?, None)
        } else {
            let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
            let outcome = store.delete_many(&keys).await?;
            (outcome.existed, outcome.outcomes.into_iter().find_map(Result::err))
        };
        if app.json {
            app.out.json(&Answer { deleted })?;
        } else {
            app.out.line(&deleted.to_string())?;
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        if deleted > 0 {
            return Ok(());
        }
        Err(Failure::No(
            "missing",
            match (&self.prefix, &*self.keys) {
                (Some(prefix), _) => {
                    format!("no live key begins with \"{}\"", text::escape(prefix))
                }
                (None, [key]) => return Err(Failure::missing(key)),
                (None, _) => "none of the keys is live".to_owned(),
            },
        ))
    }
}
