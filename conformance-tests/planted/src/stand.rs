use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_conformance::{Fixture, Flavor, Handle, Harness};
use larder_core::{
    Bytes, Clock, Durability, Error, ErrorKind, ManualClock, Namespace, NamespacedStore, Result,
    SystemClock, async_trait,
};
use larder_file::FileStore;
use larder_memory::MemoryStore;
use larder_sled::SledStore;
use tempfile::TempDir;

use crate::bugs::errors::{NoConditions, NoRenewal};
use crate::odd::Bare;
use crate::shelf::{Honest, Medium, SECRET, Shelf, Twist};
use crate::tamper::{Tamper, Tampered};

/// How long a case may take where the bug is that something hangs.
const SOON: Duration = Duration::from_secs(4);

/// A harness whose stores have a base, and a twist or a layer in which the bug lies.
#[derive(Clone)]
pub(crate) struct Stand {
    base: Base,
    twist: fn() -> Arc<dyn Twist>,
    tamper: Option<fn() -> Arc<dyn Tamper>>,
    shape: Shape,
    flavor: Flavor,
    own_clock: bool,
    hangs: bool,
    volatile: bool,
}

/// How the store is handed to the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Tree,
    Flat,
    Bare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Shelf,
    Memory,
    File,
    Sled,
}

impl Stand {
    const fn on(base: Base, tamper: Option<fn() -> Arc<dyn Tamper>>) -> Self {
        Self {
            base,
            twist: || Arc::new(Honest),
            tamper,
            shape: Shape::Tree,
            flavor: Flavor::MultiThread,
            own_clock: false,
            hangs: false,
            volatile: false,
        }
    }

    /// A shelf that makes its decisions as `twist` has them.
    pub(crate) const fn shelf(twist: fn() -> Arc<dyn Twist>) -> Self {
        let mut stand = Self::on(Base::Shelf, None);
        stand.twist = twist;
        stand
    }

    /// A layer over an honest shelf.
    pub(crate) const fn over_shelf(tamper: fn() -> Arc<dyn Tamper>) -> Self {
        Self::on(Base::Shelf, Some(tamper))
    }

    /// A layer over the memory backend.
    pub(crate) const fn over_memory(tamper: fn() -> Arc<dyn Tamper>) -> Self {
        Self::on(Base::Memory, Some(tamper))
    }

    /// A layer over the file backend.
    pub(crate) const fn over_file(tamper: fn() -> Arc<dyn Tamper>) -> Self {
        Self::on(Base::File, Some(tamper))
    }

    /// A layer over the sled backend.
    pub(crate) const fn over_sled(tamper: fn() -> Arc<dyn Tamper>) -> Self {
        Self::on(Base::Sled, Some(tamper))
    }

    /// The bug is that something hangs: that is found out soon.
    pub(crate) const fn hangs(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// The shelf below the layer takes no conditions.
    pub(crate) fn no_conditions(mut self) -> Self {
        self.twist = || Arc::new(NoConditions);
        self
    }

    /// The shelf below the layer renews nothing.
    pub(crate) fn no_renewal(mut self) -> Self {
        self.twist = || Arc::new(NoRenewal);
        self
    }

    /// The sled store below the layer does not wait for its writes to be flushed.
    pub(crate) const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Without namespaces.
    pub(crate) const fn flat(mut self) -> Self {
        self.shape = Shape::Flat;
        self
    }

    /// With the required methods alone.
    pub(crate) const fn bare(mut self) -> Self {
        self.shape = Shape::Bare;
        self
    }

    /// In a runtime of one thread.
    pub(crate) const fn one_thread(mut self) -> Self {
        self.flavor = Flavor::CurrentThread;
        self
    }

    /// With a clock that the suite cannot move.
    pub(crate) const fn on_its_own_clock(mut self) -> Self {
        self.own_clock = true;
        self
    }

    /// The same without the bug.
    pub(crate) fn honest(&self) -> Self {
        let honest = Self { hangs: false, volatile: false, tamper: None, ..self.clone() };
        // Without a layer, the bug is in the shelf.
        match self.tamper {
            Some(_) => honest,
            None => Self { twist: || Arc::new(Honest), ..honest },
        }
    }

    fn wrap(&self, store: Arc<dyn NamespacedStore>, state: &Ground) -> Handle {
        let store = match self.tamper {
            None => store,
            Some(tamper) => {
                let tamper = tamper();
                state.enter(Arc::clone(&tamper));
                Arc::new(Tampered::new(store, tamper))
            }
        };
        match self.shape {
            Shape::Tree => Handle::Namespaced(store),
            Shape::Flat => Handle::Flat(store),
            Shape::Bare => Handle::flat(Bare(store)),
        }
    }

    async fn start(&self, ground: &Ground) -> Result<Handle> {
        let clock: Arc<dyn Clock> =
            if self.own_clock { Arc::new(SystemClock) } else { Arc::new(ground.clock.clone()) };
        let store: Arc<dyn NamespacedStore> = match self.base {
            Base::Shelf => {
                let twist = (self.twist)();
                *lock(&ground.twist) = Some(Arc::clone(&twist));
                Arc::new(Shelf::open(ground.medium.clone(), clock, twist)?)
            }
            Base::Memory => Arc::new(MemoryStore::builder().clock(clock).build()?),
            Base::File => {
                let builder = FileStore::builder(ground.path()?).clock(clock);
                Arc::new(builder.durability(Durability::ProcessCrash).build().await?)
            }
            Base::Sled => {
                let builder = SledStore::builder(ground.path()?).clock(clock);
                let durability =
                    if self.volatile { Durability::Volatile } else { Durability::ProcessCrash };
                Arc::new(builder.durability(durability).cache_capacity(1 << 20).build().await?)
            }
        };
        Ok(self.wrap(store, ground))
    }

    async fn start_again(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        self.start(ground(fixture)?).await.map(Some)
    }
}

/// What the stores of one fixture stand on.
#[derive(Debug, Default)]
struct Ground {
    clock: ManualClock,
    medium: Medium,
    folders: Mutex<Vec<TempDir>>,
    twist: Mutex<Option<Arc<dyn Twist>>>,
    /// The layers of the processes that were started, the running one last.
    tampers: Mutex<Vec<Arc<dyn Tamper>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ground(fixture: &Fixture) -> Result<&Ground> {
    fixture.state().ok_or_else(|| ErrorKind::Internal.into())
}

impl Ground {
    fn enter(&self, tamper: Arc<dyn Tamper>) {
        lock(&self.tampers).push(tamper);
    }

    /// The folder of the running process.
    fn path(&self) -> Result<PathBuf> {
        let mut folders = lock(&self.folders);
        if folders.is_empty() {
            folders.push(tempfile::tempdir().map_err(Error::from_io)?);
        }
        let folder = folders.last().ok_or(ErrorKind::Internal)?;
        Ok(folder.path().join("store"))
    }

    /// Leaves the folder to the process that ends, and gives the next one what is in it by now.
    fn copy_folder(&self) -> Result<()> {
        let from = self.path()?;
        let to = tempfile::tempdir().map_err(Error::from_io)?;
        copy(&from, &to.path().join("store")).map_err(Error::from_io)?;
        lock(&self.folders).push(to);
        Ok(())
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Somebody else's data on a shelf, beside and among the store's own.
const FOREIGN: [&str; 5] = ["notes", "lock", "/a/unfinished", "/lost+found", "/%zz/x"];
const FOREIGN_BYTES: Bytes = Bytes::from_static(b"somebody else's");

#[async_trait]
impl Harness for Stand {
    async fn open(&self) -> Result<Fixture> {
        let ground = Ground::default();
        let handle = self.start(&ground).await?;
        let fixture = Fixture::new(handle);
        let clock = ground.clock.clone();
        let fixture = if self.own_clock { fixture } else { fixture.with_clock(clock) };
        Ok(fixture.with_state(ground))
    }

    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        match self.base {
            Base::Memory => Ok(None),
            Base::Shelf => {
                ground(fixture)?.medium.end();
                self.start_again(fixture).await
            }
            Base::File | Base::Sled => self.start_again(fixture).await,
        }
    }

    async fn crash(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        let ground = ground(fixture)?;
        for tamper in &*lock(&ground.tampers) {
            tamper.killed();
        }
        match self.base {
            Base::Memory => return Ok(None),
            Base::Shelf => ground.medium.end(),
            // The old handle is left as it is: its process no longer touches it.
            Base::File => {}
            // Only one can have it open: the next one gets what a killed process would leave.
            Base::Sled => ground.copy_folder()?,
        }
        self.start_again(fixture).await
    }

    async fn second_handle(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        match self.base {
            Base::Shelf | Base::File => self.start_again(fixture).await,
            Base::Memory | Base::Sled => Ok(None),
        }
    }

    async fn corrupt_record(
        &self,
        fixture: &Fixture,
        namespace: &Namespace,
        key: &str,
    ) -> Result<bool> {
        let ground = ground(fixture)?;
        let Some(twist) = lock(&ground.twist).clone() else {
            return Ok(false);
        };
        let place = twist.place(namespace, key);
        let mut contents = ground.medium.lock();
        let bytes = contents.live.get(&place).ok_or(ErrorKind::Internal)?;
        let damaged = bytes.slice(..bytes.len() - 1);
        contents.live.insert(place.clone(), damaged.clone());
        contents.image.insert(place, damaged);
        Ok(true)
    }

    async fn break_connection(&self, fixture: &Fixture, broken: bool) -> Result<bool> {
        ground(fixture)?.medium.lock().cut = broken;
        Ok(self.base == Base::Shelf)
    }

    async fn fill_disk(&self, fixture: &Fixture, full: bool) -> Result<bool> {
        ground(fixture)?.medium.lock().full = full;
        Ok(self.base == Base::Shelf)
    }

    async fn plant_foreign(&self, fixture: &Fixture) -> Result<bool> {
        let mut contents = ground(fixture)?.medium.lock();
        for place in FOREIGN {
            contents.live.insert(place.to_owned(), FOREIGN_BYTES);
            contents.image.insert(place.to_owned(), FOREIGN_BYTES);
        }
        Ok(self.base == Base::Shelf)
    }

    async fn missing_foreign(&self, fixture: &Fixture) -> Result<Vec<String>> {
        let contents = ground(fixture)?.medium.lock();
        let gone = |place: &&&str| contents.live.get(**place) != Some(&FOREIGN_BYTES);
        Ok(FOREIGN.iter().filter(gone).map(ToString::to_string).collect())
    }

    async fn litter(&self, fixture: &Fixture) -> Result<Option<Vec<String>>> {
        let tampers = lock(&ground(fixture)?.tampers);
        Ok(Some(tampers.iter().flat_map(|tamper| tamper.litter()).collect()))
    }

    fn secrets(&self) -> Vec<String> {
        if self.base == Base::Shelf { vec![SECRET.to_owned()] } else { Vec::new() }
    }

    fn flavor(&self) -> Flavor {
        self.flavor
    }

    fn time_limit(&self) -> Duration {
        if self.hangs { SOON } else { Duration::from_secs(120) }
    }
}

impl fmt::Debug for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stand").field("base", &self.base).finish_non_exhaustive()
    }
}
