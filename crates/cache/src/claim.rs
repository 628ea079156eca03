//! Which process loads a key, and what its fill is conditioned on (F6).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use larder_core::{
    Bytes, Condition, Entry, Error, ErrorKind, GetOptions, NamespacedStore, SetOptions,
};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::CacheResult;
use crate::backoff::Backoff;
use crate::builder::StoreFailure;
use crate::chance::{self, Owner};
use crate::circuit::is_trouble;
use crate::compare::{delete_where, holding, replace_with};
use crate::distributed::{Coordination, name};
use crate::placeholder::Placeholder;
use crate::route::Route;
use crate::space::Inner;

/// How often an answer that was lost is asked for again.
const ERRORS: usize = 3;

/// Tells whether what is stored is the value that is wanted.
pub(crate) type Accept = Arc<dyn Fn(&Bytes) -> bool + Send + Sync>;

/// What became of the wish to load a key.
pub(crate) enum Claimed {
    /// Another process has loaded it.
    Stored(Bytes),
    /// It is ours to load.
    Ours(Arc<Claim>),
    /// It failed in another process, a short while ago.
    Failed,
    /// The store is in trouble: whoever wants the value loads it, and does not store it.
    Alone,
}

/// A load that is this process's own. Dropped without a fill, it is given up in the background.
pub(crate) struct Claim {
    data: Record,
    /// Of the marker that is put where the entry is missing; the fill replaces that very record.
    owner: Owner,
    /// Where there is an entry, though none that is wanted: a lease beside it, and the condition that
    /// it is still the same.
    beside: Record,
    over: std::sync::OnceLock<Condition>,
    marked: AtomicBool,
    leased: AtomicBool,
    /// The lease beside the entry was another's when last looked at.
    waits_beside: AtomicBool,
    lease: Duration,
    runtime: Handle,
}

#[derive(Debug, Clone)]
struct Record {
    store: Arc<dyn NamespacedStore>,
    key: Arc<str>,
}

impl Inner {
    /// Waits until another process has loaded the key, or the load is this process's own.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        coordination: &Coordination,
        route: &Route,
        key: &Arc<str>,
        accept: &Accept,
    ) -> CacheResult<Claimed> {
        let places = self.places(coordination)?;
        let name = name(&route.scope, key, places.loads.capabilities().max_key_len);
        let claim = Claim {
            data: Record { store: Arc::clone(&route.store), key: Arc::clone(key) },
            owner: chance::owner(),
            beside: Record { store: Arc::clone(&places.loads), key: name.into() },
            over: std::sync::OnceLock::new(),
            marked: AtomicBool::new(false),
            leased: AtomicBool::new(false),
            waits_beside: AtomicBool::new(false),
            lease: coordination.lease,
            runtime: Handle::current(),
        };
        let (mut backoff, mut errors) = (Backoff::new(), 0);
        loop {
            match claim.step(self, accept).await {
                Ok(Step::Stored(bytes)) => return Ok(Claimed::Stored(bytes)),
                Ok(Step::Failed) => return Ok(Claimed::Failed),
                Ok(Step::Ours) => return Ok(Claimed::Ours(Arc::new(claim))),
                Ok(Step::Again) => {}
                Ok(Step::Wait(at_most)) => backoff.wait(at_most).await,
                Err(error) if error.kind() == ErrorKind::Unknown && errors < ERRORS => {
                    errors += 1;
                    backoff.wait(None).await;
                }
                Err(error)
                    if is_trouble(error.kind())
                        && self.config.when_store_fails == StoreFailure::LoadDirectly =>
                {
                    return Ok(Claimed::Alone);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sees to it that a caller joins no load of this process that another one has overtaken before,
    /// and tells whether there was one (F2). The caller has looked, and `seen` whose load is under way.
    pub(crate) async fn leave_overtaken(
        &self,
        route: &Route,
        key: &str,
        seen: Option<Owner>,
    ) -> bool {
        let Some((slot, flight, claim)) = self.table.claimed(route, key) else { return false };
        // Looked at again: the load may have been claimed since.
        let left = seen != Some(claim.owner) && matches!(claim.is_overtaken(self).await, Ok(true));
        if left {
            slot.leave(&flight);
        }
        left
    }

    /// A call to the store within its budget, counted by the circuit.
    async fn budgeted<T>(
        &self,
        call: impl Future<Output = larder_core::Result<T>>,
    ) -> larder_core::Result<T> {
        self.circuit.check(&*self.config.clock)?;
        let late = || Error::new(ErrorKind::Timeout, "the store took longer than its budget");
        let outcome = timeout(self.config.store_budget, call).await;
        self.settle(outcome.unwrap_or_else(|_| Err(late())))
    }
}

enum Step {
    Stored(Bytes),
    Ours,
    Failed,
    /// Something changed just now.
    Again,
    /// Another process loads, for so long at most without a word from it.
    Wait(Option<Duration>),
}

impl Step {
    fn wait_for(holder: &Entry) -> Self {
        if Placeholder::decode(&holder.value) == Some(Placeholder::Failed) {
            return Self::Failed;
        }
        Self::Wait(holder.expires_in.and_then(larder_core::ExpiresIn::as_duration))
    }
}

impl Claim {
    fn is_ours(&self, value: &[u8]) -> bool {
        Placeholder::is_load_of(self.owner, value)
    }

    async fn step(&self, inner: &Inner, accept: &Accept) -> larder_core::Result<Step> {
        let Some(entry) = self.read(inner).await? else {
            // Noted first: what is not answered may have been done.
            self.marked.store(true, SeqCst);
            let marked = self.put(inner, &self.data).await?;
            return Ok(if marked { Step::Ours } else { Step::Again });
        };
        if self.is_ours(&entry.value) {
            return Ok(Step::Ours);
        }
        let placeholder = Placeholder::decode(&entry.value);
        if matches!(placeholder, Some(Placeholder::Loading { .. } | Placeholder::Failed)) {
            return Ok(Step::wait_for(&entry));
        }
        if accept(&entry.value) {
            return Ok(Step::Stored(entry.value));
        }
        // An entry to be replaced, and kept until then: the lease stands beside it.
        if self.waits_beside.load(SeqCst)
            && let Some(wait) = self.anothers_lease(inner).await?
        {
            return Ok(wait);
        }
        self.leased.store(true, SeqCst);
        if !self.put(inner, &self.beside).await? {
            self.waits_beside.store(true, SeqCst);
            // Should it be ours after all, an answer was lost.
            return Ok(match inner.budgeted(self.beside.get()).await? {
                Some(holder) if self.is_ours(&holder.value) => {
                    self.begin_over(inner, &entry).await?
                }
                Some(holder) => Step::wait_for(&holder),
                None => Step::Again,
            });
        }
        self.begin_over(inner, &entry).await
    }

    /// The lease beside the entry is ours.
    async fn begin_over(&self, inner: &Inner, entry: &Entry) -> larder_core::Result<Step> {
        // Whoever had the lease before may have replaced the entry since it was read.
        let again = self.read(inner).await?;
        match again.and_then(|again| again.version) {
            Some(version) if Some(&version) == entry.version.as_ref() => {
                let _ = self.over.set(Condition::Matches(version));
                Ok(Step::Ours)
            }
            _ => {
                inner.budgeted(self.beside.delete_of(self.owner)).await?;
                self.leased.store(false, SeqCst);
                Ok(Step::Again)
            }
        }
    }

    /// What to wait for where the lease beside the entry is another's.
    async fn anothers_lease(&self, inner: &Inner) -> larder_core::Result<Option<Step>> {
        let holder = inner.budgeted(self.beside.get()).await?;
        Ok(holder.filter(|holder| !self.is_ours(&holder.value)).as_ref().map(Step::wait_for))
    }

    async fn read(&self, inner: &Inner) -> larder_core::Result<Option<Entry>> {
        match inner.budgeted(self.data.get()).await {
            // Nobody can read it, so nobody misses it (V2).
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let Record { store, key } = &self.data;
                inner
                    .budgeted(store.delete_opts(key, larder_core::DeleteOptions::default()))
                    .await?;
                inner.budgeted(self.data.get()).await
            }
            read => read,
        }
    }

    /// Puts the marker where nothing is, and tells whether nothing was.
    async fn put(&self, inner: &Inner, record: &Record) -> larder_core::Result<bool> {
        let options =
            SetOptions::default().with_expiry(self.lease).with_condition(Condition::Absent);
        let marker = Placeholder::Loading { owner: self.owner, fence: None }.encode();
        let set = record.store.set_opts(&record.key, marker, options);
        Ok(inner.budgeted(set).await?.is_applied())
    }

    /// The record that is renewed while the load runs.
    fn held(&self) -> &Record {
        if self.over.get().is_some() { &self.beside } else { &self.data }
    }

    /// What the fill is conditioned on; `None` when it was overtaken.
    pub(crate) async fn condition(&self) -> larder_core::Result<Option<Condition>> {
        if let Some(condition) = self.over.get() {
            return Ok(Some(condition.clone()));
        }
        let held = holding(&*self.data.store, &self.data.key, |it| self.is_ours(it)).await?;
        Ok(held.map(|(_, condition)| condition))
    }

    /// Tells whether what the fill is conditioned on has gone.
    async fn is_overtaken(&self, inner: &Inner) -> larder_core::Result<bool> {
        let Some(entry) = inner.budgeted(self.data.get()).await? else { return Ok(true) };
        Ok(match self.over.get() {
            Some(Condition::Matches(version)) => entry.version.as_ref() != Some(version),
            _ if Placeholder::decode(&entry.value) == Some(Placeholder::Failed) => false,
            _ => !self.is_ours(&entry.value),
        })
    }

    /// Waits for `work` and renews the lease meanwhile; `lost` is called when it is another's.
    pub(crate) async fn keep_while<T>(
        &self,
        mut work: impl Future<Output = T> + Unpin,
        lost: impl AsyncFnOnce(),
    ) -> T {
        let mut asked = Instant::now();
        loop {
            if let Ok(done) = timeout_at(asked + self.lease / 3, &mut work).await {
                return done;
            }
            asked = Instant::now();
            let Record { store, key } = self.held();
            let is_ours = |it: &[u8]| self.is_ours(it);
            let renewal = replace_with(&**store, key, is_ours, |it| it, self.lease.into());
            // An error is tried again later; should the lease end, the fill is refused by the store.
            if let Ok(Ok(false)) = timeout(self.lease / 3, renewal).await {
                break;
            }
        }
        lost().await;
        work.await
    }

    /// Tells others of the failure, for so long.
    pub(crate) async fn failed(&self, ttl: Duration) {
        let (Record { store, key }, failed) = (self.held(), Placeholder::Failed.encode());
        let is_ours = |it: &[u8]| self.is_ours(it);
        let told = replace_with(&**store, key, is_ours, |_| failed.clone(), ttl.into());
        // What is not answered in time is left to whoever removes the marker.
        if let Ok(Ok(true)) = timeout(self.lease / 3, told).await {
            self.marked.store(false, SeqCst);
            self.leased.store(false, SeqCst);
        }
    }

    /// The fill was made: the marker is gone with it.
    pub(crate) async fn filled(&self) {
        self.marked.store(false, SeqCst);
        if self.leased.load(SeqCst) && self.beside.delete_of(self.owner).await.is_ok() {
            self.leased.store(false, SeqCst);
        }
    }
}

impl Record {
    async fn get(&self) -> larder_core::Result<Option<Entry>> {
        let options = GetOptions::default().with_version(true).with_expires_in(true);
        self.store.get_opts(&self.key, options).await
    }

    async fn delete_of(&self, owner: Owner) -> larder_core::Result<bool> {
        delete_where(&*self.store, &self.key, |it| Placeholder::is_load_of(owner, it)).await
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let records = [(&self.marked, &self.data), (&self.leased, &self.beside)];
        for (there, record) in records {
            if there.load(SeqCst) {
                let (record, owner) = (record.clone(), self.owner);
                // What cannot be removed is over with its lease.
                self.runtime.spawn(async move { record.delete_of(owner).await });
            }
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("over", &self.over).finish_non_exhaustive()
    }
}
