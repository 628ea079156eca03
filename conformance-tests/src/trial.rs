use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_core::{
    Capabilities, Clock, Durability, ErrorKind, ManualClock, Namespace, Namespaced,
    NamespacedStore, Store, SystemClock,
    chrono::{DateTime, Utc},
};
use tokio::time::Instant;

use crate::layer::Layer;
use crate::recorder::Recorder;
use crate::trace::Trace;
use crate::verdict::{Broken, Stop, Verdict, expect_missing, expect_value, show_key};
use crate::{Fixture, Handle, Harness, Need, Variant};

/// A life so long that no machine is slow enough to see its end.
pub(crate) const LONG: Duration = Duration::from_secs(24 * 3600);
/// The namespace in which the variant [`Variant::Namespace`] works: with characters that matter to
/// somebody's encoding.
const INSIDE: [&str; 2] = ["conformance", "a:b%/*"];
/// How much later than promised a server's clock may let a key go, so that no machine is too slow
/// and no clock adjustment too large; the promise itself is one granule.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many broken promises of one case are reported.
const MOST_BROKEN: usize = 20;

/// A case at work: a fresh store, seen as the variant has it, and all that a case may do to it.
pub(crate) struct Trial {
    harness: Arc<dyn Harness>,
    fixture: Fixture,
    variant: Variant,
    trace: Trace,
    broken: Arc<Mutex<Vec<Broken>>>,
    view: View,
    random_budget: Duration,
    test: Option<String>,
}

/// One handle, as the variant has it, noting every operation.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tree: Option<Arc<dyn NamespacedStore>>,
    /// The handle that was opened, whichever namespace `store` is.
    pub(crate) root: Arc<dyn Store>,
}

impl Trial {
    pub(crate) fn new(
        harness: Arc<dyn Harness>,
        fixture: Fixture,
        variant: Variant,
        trace: Trace,
        broken: Arc<Mutex<Vec<Broken>>>,
    ) -> (Self, Verdict) {
        Self::labelled(harness, fixture, variant, trace, broken, "")
    }

    fn labelled(
        harness: Arc<dyn Harness>,
        fixture: Fixture,
        variant: Variant,
        trace: Trace,
        broken: Arc<Mutex<Vec<Broken>>>,
        label: &str,
    ) -> (Self, Verdict) {
        let (view, verdict) = match view(fixture.handle(), variant, &trace, label) {
            Ok(view) => (view, Ok(())),
            Err(stop) => {
                let store = fixture.handle().store();
                (View { store: store.clone(), tree: None, root: store }, Err(stop))
            }
        };
        (
            Self {
                harness,
                fixture,
                variant,
                trace,
                broken,
                view,
                random_budget: Duration::ZERO,
                test: None,
            },
            verdict,
        )
    }

    pub(crate) fn with_random_budget(mut self, budget: Duration) -> Self {
        self.random_budget = budget;
        self
    }

    pub(crate) fn with_test(mut self, test: Option<String>) -> Self {
        self.test = test;
        self
    }

    /// The name of the test that runs the case, if one does.
    pub(crate) fn test(&self) -> Option<&str> {
        self.test.as_deref()
    }

    /// How long random calls are tried, once the least number is.
    pub(crate) fn random_budget(&self) -> Duration {
        self.random_budget
    }

    pub(crate) fn into_fixture(self) -> Fixture {
        self.fixture
    }

    /// The handle that the trial began with.
    pub(crate) fn view(&self) -> View {
        self.view.clone()
    }

    /// The store.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.view.store)
    }

    /// The store with namespaces: the case is skipped where there are none to be had.
    pub(crate) fn tree(&self) -> Verdict<Arc<dyn NamespacedStore>> {
        self.view.tree.clone().ok_or_else(|| Stop::skip("the store has no namespaces"))
    }

    /// The handle that was opened, whichever namespace [`store`](Self::store) is.
    pub(crate) fn root(&self) -> Arc<dyn Store> {
        Arc::clone(&self.view.root)
    }

    pub(crate) fn variant(&self) -> Variant {
        self.variant
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.view.store.capabilities()
    }

    pub(crate) fn harness(&self) -> &dyn Harness {
        &*self.harness
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Tells whether the store stands on the caller's clock, so that the instant of a death can be
    /// looked at.
    pub(crate) fn exact_time(&self) -> bool {
        self.fixture.clock().is_some()
    }

    /// The clock that the store was given.
    pub(crate) fn clock(&self) -> Option<&ManualClock> {
        self.fixture.clock()
    }

    /// What time the store has, as far as can be told from here.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.fixture.clock().map_or_else(|| SystemClock.now(), Clock::now)
    }

    pub(crate) async fn advance(&self, by: Duration) {
        self.trace.note(format!("{by:?} pass"));
        self.harness.advance(&self.fixture, by).await;
    }

    /// The step in which cases count time: a whole number of granules, short where it is really
    /// waited for, and long enough to be told apart where it is not.
    pub(crate) fn tick(&self) -> Duration {
        let least =
            if self.exact_time() { Duration::from_secs(1) } else { Duration::from_millis(20) };
        self.capabilities().round_up(least)
    }

    /// Moves the clock of the harness to a whole granule, where rounding a duration is rounding the
    /// deadline, too.
    pub(crate) async fn align(&self) {
        let step = self.tick().as_nanos().max(1);
        let now = self.now().timestamp_nanos_opt().unwrap_or_default();
        let over = u128::from(now.unsigned_abs()) % step;
        if over > 0 {
            let rest = u64::try_from(step - over).unwrap_or_default();
            self.advance(Duration::from_nanos(rest)).await;
        }
    }

    /// Lets a life of `ttl`, given by a call that has ended, run out, and the granule after it.
    pub(crate) async fn outlive(&self, ttl: Duration) {
        let granule = self.capabilities().expiry_granularity;
        if self.exact_time() {
            self.advance(self.capabilities().round_up(ttl)).await;
        } else {
            self.advance(ttl + granule + granule).await;
        }
    }

    /// Skips the case where the machine has taken so long that a key which was set at `since`, to live
    /// for `ttl`, may be dead before the case has done what it needed it for.
    pub(crate) fn expect_in_time(&self, since: Instant, ttl: Duration) -> Verdict {
        if !self.exact_time() && since.elapsed() >= ttl {
            return Err(Stop::skip("the machine was too slow to act on a key before its death"));
        }
        Ok(())
    }

    /// Sees that `key`, whose life has run out, is missing; where the clock is a server's, with some
    /// patience.
    pub(crate) async fn expect_gone(&self, store: &dyn Store, key: &str) -> Verdict {
        if !self.exact_time() {
            let started = Instant::now();
            while store.exists(key).await? && started.elapsed() < PATIENCE {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        expect_missing(store, key).await
    }

    /// Notes a broken promise and lets the case go on with its next part; ends it where it does not
    /// apply, or where too much is broken.
    pub(crate) fn collect(&self, verdict: Verdict) -> Verdict {
        let Err(Stop::Fail(mut broken)) = verdict else {
            return verdict;
        };
        broken.operations.get_or_insert_with(|| self.trace.shown());
        let mut all = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() + 1 == MOST_BROKEN {
            return Err(Stop::Fail(broken));
        }
        all.push(broken);
        Ok(())
    }

    /// As [`collect`](Self::collect), showing only the operations on these keys.
    pub(crate) fn collect_about(&self, keys: &[&str], verdict: Verdict) -> Verdict {
        self.collect(verdict.map_err(|stop| match stop {
            Stop::Fail(Broken { seen, operations: None }) => {
                Stop::fail_with(seen, self.trace.about(keys))
            }
            other => other,
        }))
    }

    /// Begins a part that shows its failure by itself.
    pub(crate) fn part(&self) {
        self.trace.clear();
    }

    /// Another store of the same backend, tried in the same position; it has to be closed by
    /// [`leave`](Self::leave).
    pub(crate) async fn another(&self, label: &str) -> Verdict<Self> {
        let harness = Arc::clone(&self.harness);
        let fixture = self.harness.open().await?;
        let (trial, made) = Self::labelled(
            harness,
            fixture,
            self.variant,
            self.trace.clone(),
            Arc::clone(&self.broken),
            label,
        );
        made.map(|()| trial)
    }

    /// Takes leave of [`another`](Self::another) store.
    pub(crate) async fn leave(self) {
        self.harness.cleanup(self.fixture).await;
    }

    /// Closes the store and opens its data again; skips the case where it does not outlive it.
    pub(crate) async fn reopen(&self) -> Verdict<View> {
        self.view.root.close().await?;
        self.reopen_closed().await
    }

    /// As [`reopen`](Self::reopen), after the case itself has closed the store.
    pub(crate) async fn reopen_closed(&self) -> Verdict<View> {
        self.trace.note("the store is opened again");
        self.opened("reopen", self.harness.reopen(&self.fixture).await?)
    }

    /// Ends the store as a killed process would and opens its data again.
    pub(crate) async fn crash(&self) -> Verdict<View> {
        self.trace.note("the store is killed and opened again");
        self.opened("crash", self.harness.crash(&self.fixture).await?)
    }

    /// A second, independent handle to the same data.
    pub(crate) async fn second_handle(&self) -> Verdict<View> {
        match self.harness.second_handle(&self.fixture).await? {
            Some(handle) => view(&handle, self.variant, &self.trace, "second handle: "),
            None => Err(Stop::skip("the harness does not offer `second_handle`")),
        }
    }

    fn opened(&self, hook: &str, handle: Option<Handle>) -> Verdict<View> {
        match handle {
            Some(handle) => view(&handle, self.variant, &self.trace, ""),
            None => Err(Stop::skip(format!("the harness does not offer `{hook}`"))),
        }
    }

    /// Damages the record of `key`, a key of [`store`](Self::store).
    pub(crate) async fn corrupt_record(&self, key: &str) -> Verdict {
        self.trace.note(format!("the record of {} is damaged", show_key(key)));
        let inside = match self.variant {
            Variant::Namespace => Namespace::from_segments(INSIDE)?,
            _ => Namespace::root(),
        };
        let done = match (self.fixture.handle(), self.variant) {
            (Handle::Flat(_), Variant::Namespace) => {
                let physical = format!("larder/{}:{key}", inside.encode());
                let root = Namespace::root();
                self.harness.corrupt_record(&self.fixture, &root, &physical).await?
            }
            _ => self.harness.corrupt_record(&self.fixture, &inside, key).await?,
        };
        offered(done, "corrupt_record")
    }

    pub(crate) async fn break_connection(&self, broken: bool) -> Verdict {
        self.trace.note(if broken { "the connection breaks" } else { "the connection is mended" });
        let done = self.harness.break_connection(&self.fixture, broken).await?;
        offered(done, "break_connection")
    }

    pub(crate) async fn fill_disk(&self, full: bool) -> Verdict {
        self.trace.note(if full { "the disk is full" } else { "the disk has room again" });
        offered(self.harness.fill_disk(&self.fixture, full).await?, "fill_disk")
    }

    pub(crate) async fn plant_foreign(&self) -> Verdict {
        self.trace.note("someone else puts data beside and among that of the store");
        offered(self.harness.plant_foreign(&self.fixture).await?, "plant_foreign")
    }

    pub(crate) async fn missing_foreign(&self) -> Verdict<Vec<String>> {
        Ok(self.harness.missing_foreign(&self.fixture).await?)
    }

    /// What interrupted writes have left behind; nothing where the harness cannot tell.
    pub(crate) async fn litter(&self) -> Verdict<Vec<String>> {
        Ok(self.harness.litter(&self.fixture).await?.unwrap_or_default())
    }

    /// Tells why a case with this need does not apply, if so.
    pub(crate) fn lacks(&self, need: Need) -> Option<String> {
        let has = self.capabilities();
        let undeclared = |flag: bool, name: &str| {
            (!flag).then(|| format!("the store does not declare `{name}`"))
        };
        let declared =
            |flag: bool, name: &str| flag.then(|| format!("the store declares `{name}`"));
        match need {
            Need::List => undeclared(has.list, "list"),
            Need::OrderedList => undeclared(has.ordered_list, "ordered_list"),
            Need::Conditions => undeclared(has.conditions, "conditions"),
            Need::Renew => undeclared(has.renew, "renew"),
            Need::Purge => undeclared(has.purge, "purge"),
            Need::NativeExpiry => undeclared(has.native_expiry, "native_expiry"),
            Need::Shared => undeclared(has.shared, "shared"),
            Need::Durable => (has.durability < Durability::ProcessCrash)
                .then(|| "the store declares itself volatile".to_owned()),
            Need::NoList => declared(has.list, "list"),
            Need::NoConditions => declared(has.conditions, "conditions"),
            Need::NoRenew => declared(has.renew, "renew"),
            Need::NoPurge => declared(has.purge, "purge"),
            Need::Namespaces => {
                self.view.tree.is_none().then(|| "the store has no namespaces".to_owned())
            }
            Need::ExactTime => (!self.exact_time())
                .then(|| "the store takes its time from no clock of the harness".to_owned()),
            Need::RootHandle => (self.variant == Variant::Namespace)
                .then(|| "it is about the root handle".to_owned()),
            // Found out by calling the harness.
            Need::Reopen
            | Need::Crash
            | Need::Folder
            | Need::SecondHandle
            | Need::CorruptRecord
            | Need::BreakConnection
            | Need::FillDisk
            | Need::Foreign
            | Need::Secrets => None,
        }
    }

    /// Sets `key` with an expiry after `ttl` and sees, without regard to the machine's speed, that
    /// it lives that long and not for ever.
    pub(crate) async fn expect_life(
        &self,
        store: &dyn Store,
        key: &str,
        value: &[u8],
        ttl: Duration,
        since: Instant,
    ) -> Verdict {
        if self.exact_time() {
            expect_value(store, key, value).await?;
            let nearly = ttl.saturating_sub(Duration::from_nanos(1));
            self.advance(nearly).await;
            expect_value(store, key, value).await?;
            self.advance(self.capabilities().round_up(ttl).saturating_sub(nearly)).await;
        } else {
            loop {
                let found = larder_core::StoreExt::get(store, key).await?;
                // Read after the answer: a late answer may well be that the key is gone.
                let passed = since.elapsed();
                if passed >= ttl {
                    break;
                }
                if found.is_none() {
                    return Err(Stop::fail(format!(
                        "get({}) gave nothing {passed:?} after a call that lets it live {ttl:?}",
                        show_key(key)
                    )));
                }
                tokio::time::sleep(ttl / 16).await;
            }
            self.outlive(Duration::ZERO).await;
        }
        self.expect_gone(store, key).await
    }
}

fn offered(done: bool, hook: &str) -> Verdict {
    if done { Ok(()) } else { Err(Stop::skip(format!("the harness does not offer `{hook}`"))) }
}

/// The handle as the variant has it.
fn view(handle: &Handle, variant: Variant, trace: &Trace, label: &str) -> Verdict<View> {
    let handle = match (handle, variant) {
        (Handle::Flat(store), Variant::Layer) => Handle::flat(Layer(Box::new(Arc::clone(store)))),
        (Handle::Namespaced(store), Variant::Layer) => {
            Handle::namespaced(Layer(Box::new(Arc::clone(store))))
        }
        _ => handle.clone(),
    };
    let tree = match &handle {
        Handle::Namespaced(store) => Some(Arc::clone(store)),
        Handle::Flat(store) => namespaced(store)?,
    };
    let record_tree = |tree: &Arc<dyn NamespacedStore>| {
        let hidden = tree.namespace().depth();
        let recorder = Recorder::new(Arc::clone(tree), trace.clone(), label).with_hidden(hidden);
        Arc::new(recorder) as Arc<dyn NamespacedStore>
    };
    let root: Arc<dyn Store> = match (&handle, &tree, variant) {
        (Handle::Flat(_), Some(tree), Variant::Namespace) => Arc::clone(tree) as Arc<dyn Store>,
        _ => handle.store(),
    };
    let at_root = if variant == Variant::Namespace { "root handle: " } else { "" };
    let root: Arc<dyn Store> =
        Arc::new(Recorder::new(root, trace.clone(), &format!("{label}{at_root}")));
    if variant == Variant::Namespace {
        let tree = tree.ok_or_else(|| Stop::skip("the store has no namespaces"))?;
        let inside = record_tree(&tree.with_path(&INSIDE)?);
        let store = Arc::clone(&inside) as Arc<dyn Store>;
        return Ok(View { store, tree: Some(inside), root });
    }
    let tree = tree.as_ref().map(record_tree);
    let store = match (&handle, &tree) {
        (Handle::Namespaced(_), Some(tree)) => Arc::clone(tree) as Arc<dyn Store>,
        _ => Arc::clone(&root),
    };
    Ok(View { store, tree, root })
}

/// Namespaces over a flat store, where it can list and takes keys that leave room for them.
fn namespaced(store: &Arc<dyn Store>) -> Verdict<Option<Arc<dyn NamespacedStore>>> {
    if !store.capabilities().list {
        return Ok(None);
    }
    match Namespaced::new(Arc::clone(store)) {
        Ok(tree) => Ok(Some(Arc::new(tree))),
        Err(error) if error.kind() == ErrorKind::InvalidNamespace => Ok(None),
        Err(error) => Err(error.into()),
    }
}
