use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use larder_core::{Error, ErrorKind, ManualClock, Result, async_trait};
use larder_file::FileStore;
use larder_memory::MemoryStore;
use planted_cache::planted::{BUGS, Bug, MISSING, Stand, plant};
use planted_suite::{
    CheckOptions, Fixture, Handle, Harness, Outcome, Report, Variant, cache_cases, check_cache_with,
};
use tempfile::TempDir;

/// How long a case may take where the bug is that something hangs.
const SOON: Duration = Duration::from_secs(5);
/// And where it is not, but other cases may hang on it.
const LATER: Duration = Duration::from_secs(30);

/// Held while a bug is switched on: there is one switch for the whole process.
static TURN: Mutex<()> = Mutex::new(());

/// Stores without a bug, for the cache that has one.
#[derive(Debug, Clone, Copy)]
struct Ground {
    stand: Stand,
    planted: bool,
}

#[derive(Debug)]
struct Folder(TempDir);

impl Folder {
    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }
}

async fn files(folder: &Folder, clock: ManualClock) -> Result<FileStore> {
    FileStore::builder(folder.path()).clock(clock).build().await
}

#[async_trait]
impl Harness for Ground {
    async fn open(&self) -> Result<Fixture> {
        let clock = ManualClock::new();
        match self.stand {
            Stand::OwnClock => Ok(Fixture::namespaced(MemoryStore::new())),
            Stand::Files | Stand::HangingFiles => {
                let folder = Folder(tempfile::tempdir().map_err(Error::from_io)?);
                let store = files(&folder, clock.clone()).await?;
                Ok(Fixture::namespaced(store).with_clock(clock).with_state(folder))
            }
            Stand::Memory | Stand::Hanging => {
                let store = MemoryStore::builder().clock(clock.clone()).build()?;
                Ok(Fixture::namespaced(store).with_clock(clock))
            }
        }
    }

    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        let Some(folder) = fixture.state::<Folder>() else { return Ok(None) };
        let clock = fixture.clock().ok_or(ErrorKind::Internal)?;
        Ok(Some(Handle::namespaced(files(folder, clock.clone()).await?)))
    }

    fn time_limit(&self) -> Duration {
        match self.stand {
            _ if !self.planted => Duration::from_secs(120),
            Stand::Hanging | Stand::HangingFiles => SOON,
            _ => LATER,
        }
    }
}

async fn check(bug: &Bug, planted: bool, filter: &str) -> Report {
    plant(planted.then_some(bug.name));
    let ground = Ground { stand: bug.stand, planted };
    let options = CheckOptions::default().with_variants([Variant::Root]).with_filter(filter);
    let report = check_cache_with(&ground, options).await;
    plant(None);
    report
}

/// Asserts that the named case sees a bug of the cache, and has nothing against the cache without it.
///
/// # Panics
/// When it is not so.
#[track_caller]
pub fn assert_cache_bug_caught(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let bug = BUGS.iter().find(|bug| bug.name == name);
    let bug = bug.unwrap_or_else(|| panic!("nothing is planted as {name}"));
    assert!(
        !MISSING.contains(&name),
        "the words that {name} changes are not in the cache any more: see planted-cache/bugs.rs"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime could be built: {error}"));
    let case = format!("{}::{}", Variant::Root, bug.caught_by);
    let honest = runtime.block_on(check(bug, false, &case));
    let outcome = honest.cases().iter().find(|ran| ran.case.name == bug.caught_by);
    match outcome.map(|ran| &ran.outcome) {
        Some(Outcome::Passed) => {}
        None => panic!("there is no case {}", bug.caught_by),
        Some(_) => panic!("{} complains of the honest cache:\n{honest}", bug.caught_by),
    }
    let planted = runtime.block_on(check(bug, true, &case));
    let seen = planted.failures().any(|failure| failure.case.name == bug.caught_by);
    assert!(seen, "{} does not see that: {}", bug.caught_by, bug.bug);
}

/// Runs all cases of the cache on each of its planted bugs whose name contains `filter`, on all of them
/// where that is `cache`, and on the cache without one, and prints a table of bugs and the first cases that caught them; gives the
/// number of bugs that the case named for them did not catch, and of complaints without a bug.
pub async fn prove_cache_suite(filter: &str, print: impl Fn(&str)) -> usize {
    let mut wrong = 0;
    let filter = if filter == "cache" { "" } else { filter };
    for bug in BUGS.iter().filter(|bug| bug.name.contains(filter)) {
        let report = check(bug, true, "").await;
        let failed = |name: &str| report.failures().any(|failure| failure.case.name == name);
        let caught_by: Vec<&str> =
            cache_cases().iter().map(|case| case.name).filter(|name| failed(name)).collect();
        let named = caught_by.contains(&bug.caught_by);
        let found = match caught_by.first() {
            _ if MISSING.contains(&bug.name) => "is not planted: its words are gone".to_owned(),
            None => "SURVIVES".to_owned(),
            Some(first) if named => format!("{first} ({} in all)", caught_by.len()),
            Some(first) => format!("{first}, NOT {}", bug.caught_by),
        };
        wrong += usize::from(!named);
        print(&format!("{:<13}{:<48} {found}", "cache", bug.name));
    }
    for stand in [Stand::Memory, Stand::OwnClock, Stand::Files] {
        let options = CheckOptions::default().with_variants(Variant::ALL);
        let report = check_cache_with(&Ground { stand, planted: false }, options).await;
        let tally = report.tally();
        let name = format!("none, {stand:?}");
        wrong += tally.failed;
        let line = match report.failures().next() {
            None => format!("{} passed, {} do not apply", tally.passed, tally.skipped),
            Some(failure) => format!("COMPLAINTS: {}, the first one\n{failure}", tally.failed),
        };
        print(&format!("{:<13}{name:<48} {line}", "cache"));
    }
    wrong
}
