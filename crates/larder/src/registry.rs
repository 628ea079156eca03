use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::{BoxFuture, Error, ErrorKind, NamespacedStore, Result};

type Made = Arc<dyn NamespacedStore>;
type Cell = Arc<OnceCell<Made>>;
type Named = (String, Cell);
type Factory = dyn Fn(String) -> BoxFuture<'static, Result<Made>> + Send + Sync;

/// Stores by name: some registered beforehand, the others made when they are first asked for.
///
/// # Behavior
/// - [`get`](Self::get) of a name that is not registered asks the default factory, once: callers
///   that come meanwhile wait for the same store. A failure is not kept; the next call tries again.
/// - A name that is taken is refused, unless the call says that it [replaces](Self::replace).
/// - [`close_all`](Self::close_all) closes every store once, those made by the factory included,
///   whatever number of names and aliases it has. After that, `get` gives `Closed`.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use larder::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(feature = "memory")] {
/// let root = larder::open("memory:").await?;
/// let registry = StoreRegistry::below(root);
/// registry.register("cache", larder::open("memory:").await?)?;
/// registry.alias("pages", "cache")?;
///
/// let sessions = registry.get("sessions").await?; // made now, a namespace of `root`
/// assert_eq!(sessions.namespace().to_string(), "sessions");
/// assert!(Arc::ptr_eq(&sessions, &registry.get("sessions").await?));
/// assert!(Arc::ptr_eq(&registry.get("pages").await?, &registry.get("cache").await?));
///
/// registry.close_all().await?;
/// assert_eq!(sessions.get("anna").await.unwrap_err().kind(), ErrorKind::Closed);
/// # }
/// # Ok(())
/// # }
/// ```
pub struct StoreRegistry {
    factory: Option<Box<Factory>>,
    state: Mutex<State>,
    /// Held by the call that closes the stores.
    closing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    cells: HashMap<String, Cell>,
    aliases: HashMap<String, String>,
    /// Replaced ones, and the root that the factory makes namespaces of: no longer to be had by
    /// name, and still to be closed.
    unnamed: Vec<Named>,
    closed: bool,
}

impl StoreRegistry {
    /// A registry without a default factory: a name that is not registered is `NotFound`.
    #[must_use]
    pub fn new() -> Self {
        Self { factory: None, state: Mutex::default(), closing: tokio::sync::Mutex::default() }
    }

    /// A registry that makes the stores that are not registered, from their names.
    ///
    /// ```
    /// use larder::prelude::*;
    /// let registry = StoreRegistry::with_factory(|name| async move {
    ///     larder::open(&format!("file:/srv/{name}")).await
    /// });
    /// ```
    #[must_use]
    pub fn with_factory<F, Fut>(factory: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Made>> + Send + 'static,
    {
        Self {
            factory: Some(Box::new(move |name| Box::pin(factory(name)))),
            state: Mutex::default(),
            closing: tokio::sync::Mutex::default(),
        }
    }

    /// A registry that makes of each name that is not registered a namespace of `root`.
    ///
    /// [`close_all`](Self::close_all) closes `root` too, last.
    #[must_use]
    pub fn below(root: Made) -> Self {
        let parent = Arc::clone(&root);
        let registry = Self::with_factory(move |name| {
            let child = parent.with_namespace(&name);
            async move { child }
        });
        registry
            .state()
            .unnamed
            .push(("(root)".to_owned(), Arc::new(OnceCell::new_with(Some(root)))));
        registry
    }

    /// Registers a store.
    ///
    /// # Errors
    /// `InvalidConfig` when the name is taken, by an alias or by a store that the factory made
    /// included; `Closed`.
    pub fn register(&self, name: impl Into<String>, store: Made) -> Result<()> {
        let name = name.into();
        let mut state = self.open_state()?;
        if state.aliases.contains_key(&name) {
            return Err(taken(&name));
        }
        match state.cells.entry(name) {
            Slot::Occupied(slot) => Err(taken(slot.key())),
            Slot::Vacant(slot) => {
                slot.insert(Arc::new(OnceCell::new_with(Some(store))));
                Ok(())
            }
        }
    }

    /// Registers a store, in the place of the one that has the name, if any.
    ///
    /// The one replaced stays open, for others may hold it; [`close_all`](Self::close_all) closes
    /// it with the rest. An alias of this name becomes a name of its own.
    ///
    /// # Errors
    /// `Closed`.
    pub fn replace(&self, name: impl Into<String>, store: Made) -> Result<()> {
        let name = name.into();
        let mut state = self.open_state()?;
        state.aliases.remove(&name);
        let cell = Arc::new(OnceCell::new_with(Some(store)));
        if let Some(old) = state.cells.insert(name.clone(), cell) {
            state.unnamed.push((name, old));
        }
        Ok(())
    }

    /// Gives a store a second name; the store may be one that the factory has yet to make.
    ///
    /// An alias of an alias is one of the store behind it.
    ///
    /// # Errors
    /// `InvalidConfig` when the alias is taken or names itself; `NotFound` when there is no store of
    /// that name, nor a factory to make it; `Closed`.
    pub fn alias(&self, alias: impl Into<String>, name: &str) -> Result<()> {
        let alias = alias.into();
        let mut state = self.open_state()?;
        let name = state.resolve(name).to_owned();
        if alias == name || state.aliases.contains_key(&alias) || state.cells.contains_key(&alias) {
            return Err(taken(&alias));
        }
        if self.factory.is_none() && !state.cells.contains_key(&name) {
            return Err(unknown(&name));
        }
        state.aliases.insert(alias, name);
        Ok(())
    }

    /// The store of this name or alias, made now where it has to be.
    ///
    /// # Errors
    /// `NotFound` when it is not registered and there is no factory; what the factory says;
    /// `Closed`.
    ///
    /// # Cancel safety
    /// Dropped while the factory works, it leaves the making to the next caller.
    pub async fn get(&self, name: &str) -> Result<Made> {
        let asked = self.ask(name)?;
        let cell = asked.cell.as_ref().ok_or(ErrorKind::Internal)?;
        let made = cell
            .get_or_try_init(|| async {
                let Some(factory) = &self.factory else { return Err(unknown(&asked.name)) };
                // `close_all` may have come between the look-up and here.
                drop(self.open_state()?);
                factory(asked.name.clone()).await
            })
            .await?;
        Ok(Arc::clone(made))
    }

    /// The names of the stores that there are now, sorted, without aliases.
    pub fn names(&self) -> Vec<String> {
        let state = self.state();
        let made = state.cells.iter().filter(|(_, cell)| cell.initialized());
        let mut names: Vec<String> = made.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Closes every store, each once, and the registry; those that the factory is just making too.
    ///
    /// A second call waits for the first, and closes those that could not be closed.
    ///
    /// # Errors
    /// Those of the stores that could not be closed; the others are closed all the same.
    pub async fn close_all(&self) -> Result<(), CloseAllError> {
        self.state().closed = true;
        let _closing = self.closing.lock().await;
        let cells = {
            let mut state = self.state();
            let mut named: Vec<_> = state.cells.drain().collect();
            named.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
            // The root of `below` is the first of the unnamed, and closes after its children.
            named.extend(std::mem::take(&mut state.unnamed).into_iter().rev());
            VecDeque::from(named)
        };
        let mut closing = Closing { registry: self, cells, failed: Vec::new() };
        let mut failures = Vec::new();
        let mut closed: Vec<Made> = Vec::new();
        while let Some((name, cell)) = closing.cells.front().cloned() {
            // Waits for a factory at work; an empty cell stays empty.
            let made = cell.get_or_try_init(|| async { Err(Error::from(ErrorKind::Closed)) }).await;
            if let Ok(store) = made
                && !closed.iter().any(|other| Arc::ptr_eq(other, store))
            {
                closed.push(Arc::clone(store));
                if let Err(error) = store.close().await {
                    failures.push((name.clone(), error));
                    closing.failed.push((name, cell));
                }
            }
            closing.cells.pop_front();
        }
        if failures.is_empty() { Ok(()) } else { Err(CloseAllError { failures }) }
    }

    /// The cell of a name, made where there is none but a factory to fill it.
    fn ask(&self, name: &str) -> Result<Asked<'_>> {
        let mut state = self.open_state()?;
        let name = state.resolve(name).to_owned();
        let cell = match state.cells.get(&name) {
            Some(cell) => Arc::clone(cell),
            None if self.factory.is_none() => return Err(unknown(&name)),
            None => Arc::clone(state.cells.entry(name.clone()).or_default()),
        };
        Ok(Asked { registry: self, name, cell: Some(cell) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.closed {
            let text = "the registry was closed";
            return Err(Error::new(ErrorKind::Closed, text));
        }
        Ok(state)
    }
}

impl State {
    fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }
}

/// What [`StoreRegistry::close_all`] has not closed: dropped, it leaves that to a later call.
struct Closing<'a> {
    registry: &'a StoreRegistry,
    cells: VecDeque<Named>,
    failed: Vec<Named>,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let rest = self.failed.drain(..).chain(self.cells.drain(..)).rev();
        self.registry.state().unnamed.extend(rest);
    }
}

/// A cell that a caller of [`StoreRegistry::get`] wants filled.
struct Asked<'a> {
    registry: &'a StoreRegistry,
    name: String,
    cell: Option<Cell>,
}

impl Drop for Asked<'_> {
    /// Forgets a cell that stayed empty, when the last of those who asked for it goes: a name whose
    /// store could not be made is free, and takes no room.
    fn drop(&mut self) {
        let mut state = self.registry.state();
        self.cell = None;
        // Clones are made under this lock alone: one is left when only the map holds the cell.
        let unused = |cell: &Cell| !cell.initialized() && Arc::strong_count(cell) == 1;
        if state.cells.get(&self.name).is_some_and(unused) {
            state.cells.remove(&self.name);
        }
    }
}

impl Default for StoreRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StoreRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRegistry").field("names", &self.names()).finish_non_exhaustive()
    }
}

fn taken(name: &str) -> Error {
    let text = format!("the store name {name:?} is taken");
    Error::new(ErrorKind::InvalidConfig, text)
}

fn unknown(name: &str) -> Error {
    let text = format!("no store is registered as {name:?}");
    Error::new(ErrorKind::NotFound, text)
}

/// The stores that [`StoreRegistry::close_all`] could not close.
#[derive(Debug)]
pub struct CloseAllError {
    failures: Vec<(String, Error)>,
}

impl CloseAllError {
    /// The name of each such store, and why.
    pub fn failures(&self) -> &[(String, Error)] {
        &self.failures
    }
}

impl fmt::Display for CloseAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, error)) in self.failures.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{name:?} was not closed: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CloseAllError {}
