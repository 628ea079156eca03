use std::io::IsTerminal;
use std::time::Duration;

use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Transfer;

/// A bar on standard error, where that is a terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{bar:30} {human_pos} of {human_len} entries, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Progress that nobody sees.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    pub(super) fn advance(&self) {
        self.0.inc(1);
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Runs `copy`, and beside it, where there is a bar, counts how many entries there are to be.
pub(super) async fn beside<T>(
    transfer: &Transfer,
    progress: &Progress,
    copy: impl Future<Output = T>,
) -> T {
    if progress.0.is_hidden() {
        return copy.await;
    }
    let count = async {
        // A failure to count is no failure to copy, which will tell it if it matters.
        let _ = transfer
            .key_pages()
            .try_for_each(async |page| {
                progress.0.inc_length(page.keys.len() as u64);
                Ok(())
            })
            .await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        done = copy => done,
        () = count => unreachable!("it waits for ever"),
    }
}
