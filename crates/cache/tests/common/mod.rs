//! What the tests of the cache share: stores, spaces and gates.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "shared by several test files")]
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use larder_cache::{Cache, CacheBuilder, CacheSpace, Space};
use larder_core::testing::Faulty;
use larder_core::{ManualClock, NamespacedStore};
use larder_memory::MemoryStore;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub const SECOND: Duration = Duration::from_secs(1);

/// A store in memory and its clock.
pub fn memory() -> (Arc<dyn NamespacedStore>, ManualClock) {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    (Arc::new(store), clock)
}

/// A store in memory that fails when told to, and its clock.
pub fn faulty() -> (Arc<Faulty>, ManualClock) {
    let (store, clock) = memory();
    (Arc::new(Faulty::new(store)), clock)
}

/// The builder of a space over a store, by the store's clock.
pub fn builder(store: Arc<dyn NamespacedStore>, clock: &ManualClock) -> CacheBuilder<Space> {
    CacheSpace::builder(store).clock(clock.clone())
}

/// A space over memory.
pub async fn space() -> (CacheSpace, ManualClock) {
    let (store, clock) = memory();
    (builder(store, &clock).build().await.unwrap(), clock)
}

/// A cache of numbers over memory.
pub async fn numbers() -> (Cache<u32>, ManualClock) {
    let (space, clock) = space().await;
    (space.cache(), clock)
}

/// Holds a loader until it is opened, and counts who came.
#[derive(Clone)]
pub struct Gate {
    open: Arc<Semaphore>,
    entered: Arc<AtomicUsize>,
}

impl Gate {
    pub fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), entered: Arc::default() }
    }

    /// Counts the caller and holds it.
    pub async fn pass(&self) {
        self.entered.fetch_add(1, SeqCst);
        self.open.acquire().await.unwrap().forget();
    }

    /// Lets so many pass.
    pub fn open(&self, callers: usize) {
        self.open.add_permits(callers);
    }

    pub fn entered(&self) -> usize {
        self.entered.load(SeqCst)
    }

    /// Waits until so many have come.
    pub async fn reached(&self, callers: usize) {
        until(|| self.entered() >= callers).await;
    }
}

/// Lets other tasks run until the condition holds; a test that waits in vain is ended by its runner,
/// or by the limit here.
pub async fn until(condition: impl Fn() -> bool) {
    for _ in 0..1_000_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come true");
}

/// Lets every other task run until all of them wait.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Starts a load that gives `value` once the gate is open.
pub fn load(
    cache: &Cache<u32>,
    key: &'static str,
    gate: &Gate,
    value: u32,
) -> JoinHandle<larder_cache::CacheResult<u32>> {
    let (cache, gate) = (cache.clone(), gate.clone());
    tokio::spawn(async move {
        cache
            .get_or_set_with(key, async move |_| {
                gate.pass().await;
                value
            })
            .await
    })
}

/// An error to fail with.
#[derive(Debug, PartialEq, Eq)]
pub struct Oops(pub u32);

impl std::fmt::Display for Oops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "oops {}", self.0)
    }
}

impl std::error::Error for Oops {}

/// The keys that the store holds, live or retained.
pub async fn kept(store: &Arc<dyn NamespacedStore>) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for scope in [vec!["g"], vec!["g", "n"]] {
        let scope = store.with_path(&scope).unwrap();
        let page = scope.list_page("", None, 10_000).await.unwrap();
        assert!(page.next.is_none());
        let path = scope.namespace().to_string();
        keys.extend(page.keys.into_iter().map(|key| format!("{path}:{key}")));
    }
    keys
}
