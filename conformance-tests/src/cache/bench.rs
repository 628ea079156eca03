//! What the cases of the cache share: a cache over the trial's store, gates, and callers in tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use larder_cache::{
    Cache, CacheBuilder, CacheError, CacheResult, CacheSpace, CacheStoreHandle, Lookup, Space,
};
use larder_core::chrono::{DateTime, Utc};
use larder_core::testing::Faulty;
use larder_core::{Clock, ManualClock};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::trial::Trial;
use crate::verdict::{Stop, Verdict};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// So long that no store and no machine is slow enough to see its end.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// Notes a call of the cache, as it is written, with its result.
macro_rules! act {
    ($bench:expr, $call:expr) => {{
        let running = $bench.begin(stringify!($call));
        let result = $call;
        running.end(format!("{result:?}"));
        result
    }};
}
pub(crate) use act;

impl From<CacheError> for Stop {
    fn from(error: CacheError) -> Self {
        Self::fail(format!("an unexpected error: {error} ({error:?})"))
    }
}

/// A trial whose store lies under caches.
pub(crate) struct Bench<'t> {
    pub(crate) trial: &'t Trial,
    clock: ManualClock,
}

impl<'t> Bench<'t> {
    pub(crate) fn new(trial: &'t Trial) -> Self {
        let clock = trial.clock().cloned().unwrap_or_default();
        Self { trial, clock }
    }

    pub(crate) fn begin(&self, call: &str) -> crate::trace::Running {
        let call: Vec<&str> = call.split_whitespace().collect();
        self.trial.trace().begin(format!("cache: {}", call.join(" ")))
    }

    pub(crate) fn note(&self, text: &str) {
        self.trial.trace().note(text);
    }

    /// What time the caches have.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Lets time pass for the caches, and for the store where it goes by a clock of the harness.
    pub(crate) async fn advance(&self, by: Duration) {
        if self.trial.exact_time() {
            self.trial.advance(by).await;
        } else {
            self.note(&format!("{by:?} pass for the cache"));
            self.clock.advance(by);
        }
    }

    /// The store, as an application hands it to a cache.
    pub(crate) fn handle(&self) -> CacheStoreHandle {
        let view = self.trial.view();
        view.tree.map_or_else(|| view.store.into(), CacheStoreHandle::from)
    }

    /// The builder of a space that the machine's speed does not matter to.
    pub(crate) fn builder(&self) -> CacheBuilder<Space> {
        self.builder_over(self.handle())
    }

    pub(crate) fn builder_over(&self, store: impl Into<CacheStoreHandle>) -> CacheBuilder<Space> {
        self.shared_builder_over(store).sole_owner()
    }

    /// As [`builder_over`](Self::builder_over), where others may write to the store.
    pub(crate) fn shared_builder_over(
        &self,
        store: impl Into<CacheStoreHandle>,
    ) -> CacheBuilder<Space> {
        CacheSpace::builder(store)
            .clock(self.clock.clone())
            .store_budget(FOR_EVER)
            .max_load_time(FOR_EVER)
    }

    pub(crate) async fn space(&self) -> Verdict<CacheSpace> {
        Ok(self.builder().build().await?)
    }

    /// A cache of numbers in a space of its own.
    pub(crate) async fn numbers(&self) -> Verdict<Cache<u32>> {
        Ok(self.space().await?.cache())
    }

    /// The store behind a layer that fails when told to.
    pub(crate) fn faulty(&self) -> Verdict<Arc<Faulty>> {
        Ok(Arc::new(Faulty::new(self.trial.tree()?)))
    }

    /// A cache of numbers over such a store.
    pub(crate) async fn faulty_numbers(&self) -> Verdict<(Arc<Faulty>, Cache<u32>)> {
        let store = self.faulty()?;
        let space = self.builder_over(Arc::clone(&store)).build().await?;
        Ok((store, space.cache()))
    }

    /// Starts a load that gives `value` once the gate is open.
    pub(crate) fn load(
        &self,
        cache: &Cache<u32>,
        key: &'static str,
        gate: &Gate,
        value: u32,
    ) -> JoinHandle<CacheResult<u32>> {
        self.note(&format!("a caller loads {key:?}, which is to give {value}"));
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move {
            let loader = async move |_| {
                gate.pass().await;
                value
            };
            cache.get_or_set_with(key, loader).await
        })
    }

    /// Callers who wait for a key that is pending or being loaded, and have joined when this returns.
    pub(crate) async fn waiters(
        &self,
        cache: &Cache<u32>,
        key: &str,
        count: usize,
    ) -> Verdict<Vec<JoinHandle<CacheResult<Option<u32>>>>> {
        let mut waiters = Vec::with_capacity(count);
        for _ in 0..count {
            let Lookup::Pending(value) = act!(self, cache.lookup(key).await)? else {
                return Err(Stop::fail(format!("lookup({key:?}) did not find the key pending")));
            };
            waiters.push(tokio::spawn(value.wait()));
        }
        Ok(waiters)
    }
}

/// Holds those who pass until it is opened, and counts who came.
#[derive(Clone)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    entered: Arc<AtomicUsize>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), entered: Arc::default() }
    }

    /// Counts the caller and holds it.
    pub(crate) async fn pass(&self) {
        self.entered.fetch_add(1, SeqCst);
        if let Ok(permit) = self.open.acquire().await {
            permit.forget();
        }
    }

    /// Lets everybody pass from now on.
    pub(crate) fn open(&self) {
        self.open.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(crate) fn entered(&self) -> usize {
        self.entered.load(SeqCst)
    }

    /// Waits until so many have come; in vain, the case's time limit ends it.
    pub(crate) async fn reached(&self, callers: usize) {
        until(|| self.entered() >= callers).await;
    }
}

/// Waits until the condition holds; in vain, the case's time limit ends it.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until nothing happens to any key any more, as when a load has been stored or given up.
pub(crate) async fn at_rest(space: &CacheSpace) {
    until(|| space.stats().active_keys == 0).await;
}

/// Lets other tasks go on; nothing that a case promises hangs on how far they come.
pub(crate) async fn others() {
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What a task gave.
pub(crate) async fn end<T>(task: JoinHandle<T>) -> Verdict<T> {
    task.await.map_err(|error| Stop::fail(format!("a caller's task died: {error}")))
}

/// Sees what a key holds.
pub(crate) async fn expect(cache: &Cache<u32>, key: &str, want: Option<u32>) -> Verdict {
    let found = cache.get_value(key).await?;
    if found == want {
        return Ok(());
    }
    Err(Stop::fail(format!("get_value({key:?}) gave {found:?} instead of {want:?}")))
}
