use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::handle::Shared;
use crate::sweep::purge_store;

/// The background task that removes expired entries; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Sweeper(AbortHandle);

impl Sweeper {
    /// Starts the task on the runtime of the caller, or says why not.
    pub(crate) fn start(store: &Arc<Shared>, interval: Duration) -> Result<Self, &'static str> {
        if interval.is_zero() {
            return Err("the sweep interval is zero");
        }
        let runtime = Handle::try_current()
            .map_err(|_| "sweeping needs a tokio runtime, and there is none")?;
        // Tokio tells of a runtime without timers by a panic alone.
        catch_unwind(AssertUnwindSafe(|| drop(tokio::time::sleep(interval))))
            .map_err(|_| "sweeping needs a tokio runtime with timers")?;
        let task = runtime.spawn(sweep(Arc::downgrade(store), interval));
        Ok(Self(task.abort_handle()))
    }

    pub(crate) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// It never holds the store across an await, so that the last handle can go at any time.
async fn sweep(store: Weak<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(store) = store.upgrade() else { return };
        let (agenda, clock) = (store.root().agenda_handle(), store.clock_handle());
        drop(store);
        purge_store(&agenda, &*clock).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::MemoryStore;

    #[tokio::test]
    async fn the_task_ends_with_the_last_handle_however_long_it_sleeps() {
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = alive();
        let builder = MemoryStore::builder().sweep_every(Duration::from_secs(3600));
        let store = builder.build().unwrap();
        assert_eq!(alive(), before + 1);
        drop(store);
        tokio::task::yield_now().await;
        assert_eq!(alive(), before);
    }
}
