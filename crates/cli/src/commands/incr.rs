use clap::Args;
use larder::StoreExt;

use crate::app::App;
use crate::exit::Outcome;
use crate::output::Record;

/// Add to the number under a key, keep its expiry, and print the sum; a missing key is 0
#[derive(Args)]
pub(crate) struct Incr {
    key: String,
    /// What to add; may be negative
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    by: i64,
}

impl Incr {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let sum = app.store().await?.increment(&self.key, self.by).await?.to_string();
        if app.json {
            app.out.json(&Record::new(&self.key).with_value(sum.as_bytes()))
        } else {
            app.out.line(&sum)
        }
    }
}
