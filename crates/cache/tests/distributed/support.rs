//! What these tests share: a store that counts as shared, and processes that are spaces.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{Cache, CacheBuilder, CacheSpace, Distributed, Space};
use larder_core::testing::Faulty;
use larder_core::{
    Bytes, Capabilities, Namespace, NamespacedStore, Result, SetOptions, SetOutcome, Store,
    StoreExt, TokioClock, async_trait, forward_store,
};
use larder_memory::MemoryStore;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const LEASE: Duration = Duration::from_secs(12);

/// A store that says that processes share it, and that may answer writes late.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    inner: Arc<dyn NamespacedStore>,
    /// How many writes are answered in time, and by how much the next one is not.
    late: Arc<Mutex<Option<(u32, Duration)>>>,
}

impl Shared {
    /// The `nth` write from now on is done in time and answered so much later.
    pub(crate) fn answer_late(&self, nth: u32, by: Duration) {
        *self.late.lock().unwrap() = Some((nth - 1, by));
    }

    fn lateness(&self) -> Duration {
        let mut late = self.late.lock().unwrap();
        match &mut *late {
            Some((0, by)) => {
                let by = *by;
                *late = None;
                by
            }
            Some((before, _)) => {
                *before -= 1;
                Duration::ZERO
            }
            None => Duration::ZERO,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Shared {
    forward_store!(inner: get_opts, delete_opts, delete_all, exists, expires_in, get_many, set_many,
        delete_many, update_expiry, list_page, list_child_namespaces, delete_prefix, delete_expired,
        flush, ping, close);

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let outcome = self.inner.set_opts(key, value, options).await;
        let late = self.lateness();
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        outcome
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().with_shared(true)
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for Shared {
    fn namespace(&self) -> &Namespace {
        self.inner.namespace()
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let inner = self.inner.with_path(segments)?;
        Ok(Arc::new(Self { inner, late: Arc::clone(&self.late) }))
    }
}

/// One store, on tokio's time, and as many processes over it as are wanted.
pub(crate) struct World {
    pub(crate) store: Arc<Shared>,
    pub(crate) clock: TokioClock,
}

/// What stands for a process: a space, and its own way to the store.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) cache: Cache<u32>,
    pub(crate) way: Arc<Faulty>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = TokioClock::new();
        let memory = MemoryStore::builder().clock(clock.clone()).build().unwrap();
        Self { clock, ..Self::over(memory) }
    }

    /// A world whose store has a clock of its own.
    pub(crate) fn over(memory: MemoryStore) -> Self {
        let store = Arc::new(Shared { inner: Arc::new(memory), late: Arc::default() });
        Self { store, clock: TokioClock::new() }
    }

    pub(crate) async fn process(&self) -> Process {
        self.process_with(|builder| builder).await
    }

    pub(crate) async fn process_with(
        &self,
        set_up: impl FnOnce(CacheBuilder<Space>) -> CacheBuilder<Space>,
    ) -> Process {
        let way = Arc::new(Faulty::new(self.store.clone()));
        let builder = CacheSpace::builder(way.clone()).clock(self.clock.clone());
        let builder = builder.distributed(Distributed::new().lease(LEASE));
        let space = set_up(builder).build().await.unwrap();
        Process { cache: space.cache(), way }
    }

    /// A namespace of what the processes agree on.
    pub(crate) fn agreed(&self, name: &str) -> Arc<dyn NamespacedStore> {
        self.store.with_path(&["d", name]).unwrap()
    }

    /// The global scope, past the cache.
    pub(crate) fn raw(&self) -> Arc<dyn NamespacedStore> {
        self.store.with_path(&["g"]).unwrap()
    }
}

pub(crate) async fn keys(store: &dyn NamespacedStore) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list_page("", cursor.as_ref(), 1_000).await.unwrap();
        keys.extend(page.keys);
        cursor = page.next;
        if cursor.is_none() {
            return keys;
        }
    }
}

/// Waits on tokio's time until it is so; the test's runner ends one that waits in vain.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    loop {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn delete(store: &dyn NamespacedStore, key: &str) {
    assert!(store.delete(key).await.unwrap(), "{key} is there");
}
