use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use crossbeam_utils::sync::ShardedLock;
use larder_core::{Clock, Deadline, Durability, Error, InProgress, Result};

use crate::SledStoreBuilder;
use crate::blocking::hop;
use crate::claim::Claim;
use crate::driver::Driver;
use crate::error::{SledError, unknown_outcome};
use crate::flush::Flusher;
use crate::path;
use crate::record;
use crate::records::Records;
use crate::scans::Slice;

/// How many records a blocking thread handles before it is given back.
pub(crate) const SLICE: usize = 1024;

/// What all handles of one store have in common.
pub(crate) struct Shared {
    /// `None` once the store is closed.
    driver: ShardedLock<Option<Arc<Driver>>>,
    flusher: Flusher,
    clock: Arc<dyn Clock>,
    durability: Durability,
    path: PathBuf,
}

impl Shared {
    /// Opens the store; this blocks.
    pub(crate) fn open(config: SledStoreBuilder) -> Result<Self> {
        let path = path::prepare(&config.path, config.create)?;
        let claim = Claim::take(&path)?;
        let queue = Arc::default();
        let driver = Arc::new(Driver::open(&path, config.cache_capacity, &queue)?);
        let flusher = Flusher::start(queue, Arc::clone(&driver), claim).map_err(SledError::Io)?;
        Ok(Self {
            driver: ShardedLock::new(Some(driver)),
            flusher,
            clock: config.clock,
            durability: config.durability,
            path,
        })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Tells whether a deadline has passed; the exact clock is read only near it (`E7`).
    #[inline]
    pub(crate) fn is_past(&self, deadline: Deadline) -> bool {
        match self.clock.coarse() {
            Some(coarse) if coarse.is_surely_before(deadline) => false,
            _ => record::is_past(deadline, self.now()),
        }
    }

    /// The directory of the database, as an absolute path.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Runs a short step on the calling thread.
    pub(crate) fn run<T>(&self, step: impl FnOnce(&Records) -> Result<T>) -> Result<T> {
        // The guard keeps `close` waiting for the length of the step.
        let driver = self.driver.read().unwrap_or_else(PoisonError::into_inner);
        driver.as_ref().ok_or(SledError::Closed)?.run(step)
    }

    /// Runs a step on a blocking thread; the call is in progress until the step ends, even when its
    /// caller has gone.
    pub(crate) async fn hop<T: Send + 'static>(
        &self,
        call: &Arc<InProgress>,
        step: impl FnOnce(&Records) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let driver = self.driver.read().unwrap_or_else(PoisonError::into_inner).clone();
        let driver = driver.ok_or(SledError::Closed)?;
        let call = Arc::clone(call);
        hop(move || {
            let result = driver.run_blocking(step);
            // Before the call ends: closing waits for calls and then wants the driver alone.
            drop(driver);
            drop(call);
            result
        })
        .await
    }

    /// Hops with one slice after the other, from each one's end to the next, and adds them up.
    pub(crate) async fn in_slices<F>(
        &self,
        call: &Arc<InProgress>,
        mut from: Vec<u8>,
        slice: F,
    ) -> Result<u64>
    where
        F: Fn(&Records, Vec<u8>) -> Result<Slice> + Clone + Send + 'static,
    {
        let mut removed = 0;
        loop {
            let slice = slice.clone();
            let part = self.hop(call, move |records| slice(records, from)).await?;
            removed += part.removed;
            match part.next {
                Some(next) => from = next,
                None => return Ok(removed),
            }
        }
    }

    /// Takes the same step for each of many, at once or in hops, and gives each one's outcome.
    pub(crate) async fn for_each<W, T, F>(
        &self,
        call: &Arc<InProgress>,
        mut items: impl ExactSizeIterator<Item = W> + Send,
        in_place: bool,
        step: F,
    ) -> Vec<Result<T>>
    where
        W: Send + 'static,
        T: Send + 'static,
        F: Fn(&Records, &W, DateTime<Utc>) -> Result<T> + Copy + Send + 'static,
    {
        let mut outcomes = Vec::with_capacity(items.len());
        if in_place {
            let now = self.now();
            for item in items.by_ref() {
                outcomes.push(self.run(|records| step(records, &item, now)));
                // What is left goes to where writers can wait, as they have got too far ahead.
                if self.flusher.is_behind() {
                    break;
                }
            }
        }
        loop {
            let part: Vec<W> = items.by_ref().take(SLICE).collect();
            if part.is_empty() {
                return outcomes;
            }
            let len = part.len();
            let now = self.now();
            let steps = move |records: &Records| {
                Ok(part.iter().map(|item| step(records, item, now)).collect())
            };
            let done: Result<Vec<_>> = self.hop(call, steps).await;
            outcomes.extend(done.unwrap_or_else(|error| refused(&error, len)));
        }
    }

    /// Ends a call that wrote: removes what it left behind, and makes what it wrote as durable as the
    /// store declares.
    pub(crate) async fn persist(&self, call: &Arc<InProgress>) -> Result<()> {
        if self.has_discarded() {
            Box::pin(self.hop(call, |records| records.large.collect())).await?;
        }
        if self.durability == Durability::Volatile {
            self.flusher.flush_soon();
            return Ok(());
        }
        self.flusher.flush().await.map_err(unknown_outcome)
    }

    fn has_discarded(&self) -> bool {
        let driver = self.driver.read().unwrap_or_else(PoisonError::into_inner);
        driver.as_ref().is_some_and(|driver| driver.has_discarded())
    }

    /// Waits for the disk, if writers are far ahead of it: before a step that writes in place.
    pub(crate) async fn make_room(&self) {
        if self.flusher.is_behind() {
            // Should it fail, the write will say so.
            let _ = self.flusher.flush().await;
        }
    }

    /// As [`persist`](Self::persist), once for all writes that changed something.
    pub(crate) async fn persist_all(&self, call: &Arc<InProgress>, outcomes: &mut [Result<bool>]) {
        let wrote = |outcome: &Result<bool>| matches!(outcome, Ok(true));
        if !outcomes.iter().any(wrote) {
            return;
        }
        if let Err(error) = self.persist(call).await {
            outcomes.iter_mut().filter(|o| wrote(o)).for_each(|o| *o = Err(error.clone()));
        }
    }

    pub(crate) async fn flush(&self) -> Result<()> {
        self.flusher.flush().await
    }

    /// Flushes and drops the database; this blocks, and expects no further calls.
    pub(crate) fn close(&self) -> Result<()> {
        let driver = self.driver.write().unwrap_or_else(PoisonError::into_inner).take();
        let patient = driver.is_none_or(|driver| driver.health().can_be_dropped());
        self.flusher.stop();
        self.flusher.await_end(patient)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Dropping the database may block, so it is left to the flushing thread.
        self.driver.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        self.flusher.stop();
    }
}

/// One outcome for each step of a hop that failed as a whole.
fn refused<T>(error: &Error, len: usize) -> Vec<Result<T>> {
    (0..len).map(|_| Err(error.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use crate::SledStore;

    use super::*;

    /// Steps taken.
    static TAKEN: AtomicUsize = AtomicUsize::new(0);

    #[tokio::test]
    async fn of_many_items_a_slice_is_made_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::builder(directory.path()).build().await.unwrap();
        let call = Arc::new(store.context.begin_keyless("test").unwrap());
        let count = 5 * SLICE + 7;
        let items = (0..count).inspect(|made| {
            assert!(*made < TAKEN.load(SeqCst) + SLICE, "the {made}th is made too early");
        });
        let step = |_: &Records, item: &usize, _: DateTime<Utc>| {
            TAKEN.fetch_add(1, SeqCst);
            Ok(*item)
        };
        let outcomes = store.shared.for_each(&call, items, false, step).await;
        let outcomes: Vec<usize> = outcomes.into_iter().map(Result::unwrap).collect();
        assert!(outcomes.into_iter().eq(0..count));
    }
}
