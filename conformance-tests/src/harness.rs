use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{ManualClock, Namespace, NamespacedStore, Result, Store, async_trait};

/// How the suite gets stores of one backend, and what it may do to them.
///
/// Only [`open`](Self::open) is required; a closure that returns a future of a [`Fixture`] is a
/// harness too. Each further method that a harness offers unlocks the cases that need it; as long as
/// it is left out, these are skipped, and the report says so.
///
/// Cases run in parallel, each with a fixture, a thread and a runtime of its own: what a method does
/// must touch the store of the fixture that it is given, and no other.
///
/// ```
/// use larder_conformance::{Fixture, Harness};
/// use larder_core::{Result, async_trait};
/// use larder_memory::MemoryStore;
///
/// struct Memory;
///
/// #[async_trait]
/// impl Harness for Memory {
///     async fn open(&self) -> Result<Fixture> {
///         Ok(Fixture::namespaced(MemoryStore::new()))
///     }
/// }
/// ```
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Makes a fresh, empty, open store.
    async fn open(&self) -> Result<Fixture>;

    /// The backend's name in reports.
    fn name(&self) -> String {
        "store".to_owned()
    }

    /// Lets at least `by` pass for the store: moves the fixture's clock, or really waits where there
    /// is none.
    async fn advance(&self, fixture: &Fixture, by: Duration) {
        match fixture.clock() {
            Some(clock) => clock.advance(by),
            None => tokio::time::sleep(by).await,
        }
    }

    /// Opens the data of a store again that has just been closed; `None` where the data does not
    /// outlive the store. A fixture with a clock keeps it.
    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        let _ = fixture;
        Ok(None)
    }

    /// Ends the store as a killed process would, without closing it, and opens its data again;
    /// `None` where that cannot be done.
    async fn crash(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        let _ = fixture;
        Ok(None)
    }

    /// Opens the store that lies in `folder`, making it where there is none, on the system's clock;
    /// `None` where data does not lie in folders. It is called in processes of their own, too, which
    /// are killed.
    async fn open_folder(&self, folder: &Path) -> Result<Option<Handle>> {
        let _ = folder;
        Ok(None)
    }

    /// Opens the same data a second time, beside the first handle and independent of it, as another
    /// process would; `None` where that cannot be done.
    async fn second_handle(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        let _ = fixture;
        Ok(None)
    }

    /// Damages the stored record of `key`, so that it cannot be decoded; false where that cannot be
    /// done. `namespace` is seen from the fixture's handle.
    async fn corrupt_record(
        &self,
        fixture: &Fixture,
        namespace: &Namespace,
        key: &str,
    ) -> Result<bool> {
        let _ = (fixture, namespace, key);
        Ok(false)
    }

    /// Cuts the store off from its server, or mends that (`broken` is false); false where it has no
    /// server.
    async fn break_connection(&self, fixture: &Fixture, broken: bool) -> Result<bool> {
        let _ = (fixture, broken);
        Ok(false)
    }

    /// Leaves the store no room for writes, or gives it back (`full` is false); false where that
    /// cannot be done.
    async fn fill_disk(&self, fixture: &Fixture, full: bool) -> Result<bool> {
        let _ = (fixture, full);
        Ok(false)
    }

    /// Puts data of someone else beside and among that of the store; false where that cannot be
    /// done.
    async fn plant_foreign(&self, fixture: &Fixture) -> Result<bool> {
        let _ = fixture;
        Ok(false)
    }

    /// What is left of the data that [`plant_foreign`](Self::plant_foreign) put there: an error text
    /// for each piece that is gone or changed.
    async fn missing_foreign(&self, fixture: &Fixture) -> Result<Vec<String>> {
        let _ = fixture;
        Ok(Vec::new())
    }

    /// The names of what an interrupted write has left behind, such as temporary files; `None` where
    /// there is no way to tell.
    async fn litter(&self, fixture: &Fixture) -> Result<Option<Vec<String>>> {
        let _ = fixture;
        Ok(None)
    }

    /// Texts that must never be shown, such as the password in the store's URL (`X3`).
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes leave of a fixture when its case has ended. The default closes the store.
    async fn cleanup(&self, fixture: Fixture) {
        let _ = fixture.handle().store().close().await;
    }

    /// The runtime in which the cases run.
    fn flavor(&self) -> Flavor {
        Flavor::MultiThread
    }

    /// How long a case may take before it counts as hanging.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(120)
    }
}

/// The kind of tokio runtime in which cases run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavor {
    /// Several worker threads.
    MultiThread,
    /// One thread for all.
    CurrentThread,
}

/// A handle to a store: flat, or with namespaces.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Handle {
    /// A store without namespaces; the suite puts [`Namespaced`](larder_core::Namespaced) on top
    /// where it can list.
    Flat(Arc<dyn Store>),
    /// A store with namespaces.
    Namespaced(Arc<dyn NamespacedStore>),
}

impl Handle {
    /// A handle to a store without namespaces.
    pub fn flat(store: impl Store + 'static) -> Self {
        Self::Flat(Arc::new(store))
    }

    /// A handle to a store with namespaces.
    pub fn namespaced(store: impl NamespacedStore + 'static) -> Self {
        Self::Namespaced(Arc::new(store))
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Flat(store) => Arc::clone(store),
            Self::Namespaced(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }
}

/// A fresh store, with what the harness needs to know about it.
#[derive(Debug)]
pub struct Fixture {
    handle: Handle,
    clock: Option<ManualClock>,
    state: Option<Box<dyn State>>,
}

trait State: Any + Send + Sync + std::fmt::Debug {}
impl<T: Any + Send + Sync + std::fmt::Debug> State for T {}

impl Fixture {
    /// A fixture around a handle.
    pub fn new(handle: Handle) -> Self {
        Self { handle, clock: None, state: None }
    }

    /// A fixture around a store without namespaces.
    pub fn flat(store: impl Store + 'static) -> Self {
        Self::new(Handle::flat(store))
    }

    /// A fixture around a store with namespaces.
    pub fn namespaced(store: impl NamespacedStore + 'static) -> Self {
        Self::new(Handle::namespaced(store))
    }

    /// Names the clock that the store was given. With it, the suite waits for nothing and looks at
    /// the very instant at which a key dies.
    #[must_use]
    pub fn with_clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Keeps something as long as the fixture lives, such as a temporary folder.
    #[must_use]
    pub fn with_state(mut self, state: impl Any + Send + Sync + std::fmt::Debug) -> Self {
        self.state = Some(Box::new(state));
        self
    }

    /// The handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The clock, where the store takes its time from one.
    pub fn clock(&self) -> Option<&ManualClock> {
        self.clock.as_ref()
    }

    /// What [`with_state`](Self::with_state) kept, if it is a `T`.
    pub fn state<T: 'static>(&self) -> Option<&T> {
        let state: &dyn State = &**self.state.as_ref()?;
        (state as &dyn Any).downcast_ref()
    }
}

#[async_trait]
impl<F, Fut> Harness for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Fixture> + Send + 'static,
{
    async fn open(&self) -> Result<Fixture> {
        Ok(self().await)
    }
}
