use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use larder_core::{Error, Result};
use tokio::sync::Mutex;

use crate::connection::RedisConnection;
use crate::dial::{Dialer, Live, need_runtime};
use crate::per_thread::PerThread;

/// How many lines each thread's part of a slot keeps.
const LINES: usize = 512;

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
    live: RwLock<Option<Arc<Live>>>,
    /// What calls have handed back, so that threads that take from it seldom meet.
    lines: PerThread<Vec<Line>>,
    /// Held while a connection is made; the last failure, for those who waited for it.
    dialing: Mutex<Option<Error>>,
    /// How many attempts have failed.
    failures: AtomicU64,
}

/// A clone of a connection: the driver sends through an exclusive one, and to make it costs more
/// than to keep it.
pub(crate) struct Line {
    pub(crate) connection: RedisConnection,
    pub(crate) live: Arc<Live>,
}

impl Line {
    fn to(live: &Arc<Live>) -> Self {
        Self { connection: live.connection.clone(), live: Arc::clone(live) }
    }

    /// The connection, with a time limit of its own.
    pub(crate) fn into_connection(self) -> RedisConnection {
        self.connection.with_response_timeout(self.live.limit)
    }
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

    /// Makes every connection anew, or none; calls in progress end on the old ones.
    pub(crate) async fn reconnect(&self) -> Result<()> {
        // Not to gather them. One that still holds a write takes its time limit here, and is for `close`.
        let _ = self.dialer.left_behind.drain(self.dialer.response_timeout).await;
        let mut dialing = Vec::with_capacity(self.len());
        for slot in &self.slots {
            dialing.push(slot.dialing.lock().await);
        }
        let mut fresh = Vec::with_capacity(self.len());
        for _ in &self.slots {
            fresh.push(Arc::new(self.dialer.dial().await?));
        }
        for slot in &self.slots {
            slot.drain(self.dialer.response_timeout).await?;
        }
        for (slot, fresh) in self.slots.iter().zip(fresh) {
            slot.replace(Some(fresh));
        }
        Ok(())
    }

    /// Waits for writes that were given up, and ends every connection. One that does not answer stays:
    /// the next call waits for it again.
    pub(crate) async fn close(&self) -> Result<()> {
        let mut outcome = Ok(());
        for slot in &self.slots {
            let _dialing = slot.dialing.lock().await;
            outcome = outcome.and(slot.close(self.dialer.response_timeout).await);
        }
        outcome.and(self.dialer.left_behind.drain(self.dialer.response_timeout).await)
    }

    /// Waits for writes that were given up, and leaves the connections in use.
    pub(crate) async fn drain(&self) -> Result<()> {
        for slot in &self.slots {
            slot.drain(self.dialer.response_timeout).await?;
        }
        self.dialer.left_behind.drain(self.dialer.response_timeout).await
    }
}

impl Slot {
    /// A line, if there is a connection.
    pub(crate) fn ready(&self) -> Option<Line> {
        loop {
            let line = self.lines.lock().pop();
            match line {
                Some(line) if line.live.is_over() => {}
                Some(line) => return Some(line),
                None => break,
            }
        }
        self.fresh_line()
    }

    /// A line that is none of those handed back, if there is a connection.
    fn fresh_line(&self) -> Option<Line> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| !live.is_over()).map(Line::to)
    }

    /// Takes back what `ready` or `connect` gave.
    pub(crate) fn put_back(&self, line: Line) {
        let mut lines = self.lines.lock();
        // Looked at under the lock: what is retired afterwards is swept out by `replace`.
        if !line.live.is_over() && lines.len() < LINES {
            lines.push(line);
        }
    }

    /// A line to the connection, which is made if there is none.
    ///
    /// One caller connects while the others wait; they share its failure, so that none waits longer
    /// than for one attempt.
    pub(crate) async fn connect(&self, dialer: &Dialer) -> Result<Line> {
        let failures = self.failures.load(Ordering::Acquire);
        if let Some(line) = self.ready() {
            return Ok(line);
        }
        let mut last = self.dialing.lock().await;
        if let Some(line) = self.ready() {
            return Ok(line);
        }
        if self.failures.load(Ordering::Acquire) != failures
            && let Some(error) = &*last
        {
            return Err(error.clone());
        }
        match dialer.dial().await {
            Ok(made) => {
                let made = Arc::new(made);
                let line = Line::to(&made);
                self.replace(Some(made));
                Ok(line)
            }
            Err(error) => {
                *last = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Puts another connection in the place of the one that was there, or none.
    fn replace(&self, new: Option<Arc<Live>>) -> Option<Arc<Live>> {
        let mut place = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, new);
        drop(place);
        if let Some(old) = &old {
            // From here on no line of it comes back: it ends with the last call on it.
            old.retire();
        }
        for mut lines in self.lines.all() {
            lines.retain(|line| !line.live.is_over());
        }
        old
    }

    /// Waits for writes that were given up, and ends the connection.
    async fn close(&self, timeout: Duration) -> Result<()> {
        self.drain(timeout).await?;
        if self.live.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            need_runtime()?;
        }
        if let Some(live) = self.replace(None) {
            live.end().await;
        }
        Ok(())
    }

    /// Waits until writes that were given up on this connection have had their effect.
    async fn drain(&self, timeout: Duration) -> Result<()> {
        let Some(Line { mut connection, live }) = self.fresh_line() else { return Ok(()) };
        live.given_up.drain(&mut connection, timeout).await
    }
}
