use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use larder_core::{Error, ErrorKind, Result};
use tokio::sync::Mutex;

use crate::connection::RedisConnection;
use crate::dial::{Dialer, Live, Server};

/// How long a connection's task may take to end once it was told to.
const ENDING: Duration = Duration::from_secs(1);

/// The connections of a store made from a URL: made when first needed, replaced when lost, taken in
/// turn.
pub(crate) struct Pool {
    dialer: Dialer,
    slots: Box<[Slot]>,
    next: AtomicUsize,
}

/// The place of one connection.
#[derive(Default)]
pub(crate) struct Slot {
    live: RwLock<Option<Live>>,
    /// Held while a connection is made; the last failure, for those who waited for it.
    dialing: Mutex<Option<Error>>,
    /// How many attempts have failed.
    failures: AtomicU64,
    /// Set when the answer to a write was not waited for: that write may still take effect.
    pub(crate) given_up: AtomicBool,
}

impl Pool {
    pub(crate) fn new(dialer: Dialer, connections: usize) -> Self {
        let slots = (0..connections).map(|_| Slot::default()).collect();
        Self { dialer, slots, next: AtomicUsize::new(0) }
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot whose turn it is.
    pub(crate) fn slot(&self) -> &Slot {
        match &*self.slots {
            [only] => only,
            slots => &slots[self.next.fetch_add(1, Ordering::Relaxed) % slots.len()],
        }
    }

    /// Makes every connection that is missing.
    pub(crate) async fn connect(&self) -> Result<()> {
        for slot in &self.slots {
            slot.connect(&self.dialer).await?;
        }
        Ok(())
    }

    /// Makes every connection anew; calls in progress end on the old ones.
    pub(crate) async fn reconnect(&self) -> Result<()> {
        for slot in &self.slots {
            let _dialing = slot.dialing.lock().await;
            let fresh = self.dialer.dial().await?;
            let drained = slot.drain(self.dialer.response_timeout).await;
            *slot.live.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
            drained?;
        }
        Ok(())
    }

    /// Waits for writes that were given up, and ends every connection.
    pub(crate) async fn close(&self) -> Result<()> {
        let mut outcome = Ok(());
        for slot in &self.slots {
            let _dialing = slot.dialing.lock().await;
            let drained = slot.drain(self.dialer.response_timeout).await;
            let live = slot.live.write().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(live) = live {
                live.task.abort();
                drop(live.connection);
                // It ends at its next turn; a runtime that gives it none must not hold us.
                let _ = tokio::time::timeout(ENDING, live.task).await;
            }
            outcome = outcome.and(drained);
        }
        outcome
    }
}

impl Slot {
    /// The connection, if there is one that is not lost.
    pub(crate) fn ready(&self) -> Option<(RedisConnection, Server)> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let live = live.as_ref().filter(|live| !live.is_lost())?;
        Some((live.connection.clone(), live.server))
    }

    /// The connection, made anew if there is none.
    ///
    /// One caller connects while the others wait; they share its failure, so that none waits longer
    /// than for one attempt.
    pub(crate) async fn connect(&self, dialer: &Dialer) -> Result<(RedisConnection, Server)> {
        let failures = self.failures.load(Ordering::Acquire);
        if let Some(ready) = self.ready() {
            return Ok(ready);
        }
        let mut last = self.dialing.lock().await;
        if let Some(ready) = self.ready() {
            return Ok(ready);
        }
        if let Some(error) =
            last.as_ref().filter(|_| self.failures.load(Ordering::Acquire) != failures)
        {
            return Err(error.clone());
        }
        match dialer.dial().await {
            Ok(live) => {
                let ready = (live.connection.clone(), live.server);
                self.given_up.store(false, Ordering::Release);
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live);
                Ok(ready)
            }
            Err(error) => {
                *last = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Waits until writes that were given up on this connection have had their effect (`S5`).
    async fn drain(&self, timeout: Duration) -> Result<()> {
        if !self.given_up.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let Some((mut connection, _)) = self.ready() else { return Ok(()) };
        drain(&mut connection, timeout).await
    }
}

/// Sends a command after all others and waits for its answer: the server works in order.
pub(crate) async fn drain(connection: &mut RedisConnection, timeout: Duration) -> Result<()> {
    match tokio::time::timeout(timeout, connection.send(&redis::cmd("PING"))).await {
        Ok(Err(error)) if error.is_timeout() => Err(outstanding()),
        Err(_) => Err(outstanding()),
        // Whatever it answers, it is through; and a lost connection carries nothing any more.
        Ok(_) => Ok(()),
    }
}

fn outstanding() -> Error {
    let text = "the server does not answer, and a write that was given up may still take effect";
    Error::new(ErrorKind::Unknown, text)
}
