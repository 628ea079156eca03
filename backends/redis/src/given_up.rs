use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder_core::{Error, ErrorKind, Result};
use redis::RedisResult;
use tokio::sync::Mutex;

use crate::connection::RedisConnection;
use crate::dial::need_runtime;
use crate::error::{Effect, lost};

/// Whether the answer to a write on a connection was not waited for, because its caller left or its
/// time was up: that write may still take effect.
#[derive(Default)]
pub(crate) struct GivenUp {
    noted: AtomicBool,
    /// Held while it is waited for: who comes second is not to take the cleared note for the end.
    waiting: Mutex<()>,
}

impl GivenUp {
    /// Watches a command; one that is dropped unsettled was given up.
    pub(crate) fn watch(&self, effect: Effect) -> Watch<'_> {
        Watch { note: &self.noted, effect, settled: effect == Effect::Read }
    }

    /// Tells whether there is something to wait for.
    pub(crate) fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Acquire)
    }

    /// Waits until what was given up has had its effect (`S5`): sends a command after all others and
    /// waits for its answer, for the server works in order.
    ///
    /// # Cancel safety
    /// The next one waits for the same.
    pub(crate) async fn drain(
        &self,
        connection: &mut RedisConnection,
        limit: Duration,
    ) -> Result<()> {
        let _waiting = self.waiting.lock().await;
        // Cleared first, not to miss what is given up meanwhile.
        if !self.noted.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let mut watch = self.watch(Effect::Write);
        need_runtime()?;
        match tokio::time::timeout(limit, connection.send(&redis::cmd("PING"))).await {
            Ok(Err(error)) if error.is_timeout() => Err(outstanding()),
            Err(_) => Err(outstanding()),
            // Whatever it answers, it is through; and a lost connection carries nothing any more.
            Ok(_) => {
                watch.settled = true;
                Ok(())
            }
        }
    }
}

/// A command whose answer is waited for.
pub(crate) struct Watch<'a> {
    note: &'a AtomicBool,
    effect: Effect,
    settled: bool,
}

impl Watch<'_> {
    /// `None` stands for an answer that did not come in time.
    pub(crate) fn settle<T>(mut self, outcome: Option<RedisResult<T>>) -> Result<T> {
        let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
        let outcome = outcome.unwrap_or_else(late);
        outcome.inspect(|_| self.settled = true).map_err(|error| lost(error, self.effect))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.note.store(true, Ordering::Release);
        }
    }
}

fn outstanding() -> Error {
    let text = "the server does not answer, and a write that was given up may still take effect";
    Error::new(ErrorKind::Unknown, text)
}
