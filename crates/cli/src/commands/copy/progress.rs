use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Transfer;

/// A bar on standard error, where that is a terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{bar:30} {human_pos} of {human_len} entries, {rate}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A bar that cannot be drawn is no reason to stop.
                let _ = write!(out, "{:.0}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate));
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
        self.expect(0);
    }

    /// Tells that there are at least so many entries; those already copied count in any case.
    fn expect(&self, entries: u64) {
        let least = entries.max(self.0.position());
        if self.0.length().is_some_and(|length| length < least) {
            self.0.set_length(least);
        }
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
        let mut pages = std::pin::pin!(transfer.key_pages());
        let mut counted = 0;
        // A failure to count is no failure to copy, which will tell it if it matters.
        while let Ok(Some(page)) = pages.try_next().await {
            counted += page.keys.len() as u64;
            progress.expect(counted);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        done = copy => done,
        () = count => unreachable!("it waits for ever"),
    }
}
