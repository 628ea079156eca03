//! A lock that processes agree on: a record with an owner, for a limited time (L2).

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Condition, Deadline, Error, ErrorKind, Expiry, GetOptions, InProgress, NamespacedStore,
    SetOptions,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::CacheError;
use crate::backoff::Backoff;
use crate::chance::Owner;
use crate::compare::{delete_if, replace_if};
use crate::distributed::{Coordination, Places};
use crate::slot::lock;
use crate::space::Inner;

/// Two bytes that no cache entry begins with, and the version of the layout.
const MAGIC: [u8; 3] = [0xC1, b'K', 1];
/// What is taken off the validity, as one part in so many, for clocks that run unevenly.
const MARGIN: u32 = 64;
/// How often an owner is removed whose lock was given up before it was known to be held.
const ABANDON_ATTEMPTS: usize = 5;

/// The record of a lock: its owner, and the token once it is drawn.
fn record(owner: Owner, fence: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(MAGIC.len() + 16 + 8);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&owner);
    bytes.extend_from_slice(&fence.to_le_bytes());
    bytes.into()
}

/// Tells whether these bytes are the record of a lock, whoever has it.
pub(crate) fn is_record(bytes: &[u8]) -> bool {
    bytes.strip_prefix(&MAGIC).is_some_and(|rest| rest.len() == 16 + 8)
}

fn is_owned_by(record: &[u8], owner: Owner) -> bool {
    record.strip_prefix(&MAGIC).is_some_and(|rest| rest.starts_with(&owner))
}

/// One attempt to take a lock.
pub(crate) struct Attempt {
    pub(crate) inner: Arc<Inner>,
    pub(crate) coordination: Arc<Coordination>,
    pub(crate) places: Arc<Places>,
    pub(crate) name: Arc<str>,
    pub(crate) owner: Owner,
    /// An earlier attempt of the same owner ended with an error, and may have succeeded.
    pub(crate) unsure: bool,
}

/// An attempt that ended with an error.
pub(crate) struct Failed {
    pub(crate) error: CacheError,
    /// The record may be there all the same.
    pub(crate) may_be_ours: bool,
}

impl<E: Into<CacheError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: error.into(), may_be_ours: true }
    }
}

impl Failed {
    fn to_set(error: Error) -> Self {
        Self { may_be_ours: error.kind() != ErrorKind::Timeout, error: error.into() }
    }
}

impl Attempt {
    /// Takes the lock; `None` where it is another's.
    pub(crate) async fn make(self) -> Result<Option<Lease>, Failed> {
        let Self { inner, coordination, places, name, owner, unsure } = self;
        let (store, lease) = (&*places.locks, coordination.lease);
        let mut ours = record(owner, 0);
        let options = SetOptions::default().with_expiry(lease).with_condition(Condition::Absent);
        let set = store.set_opts(&name, ours.clone(), options).await.map_err(Failed::to_set)?;
        if !set.is_applied() {
            let found =
                if unsure { store.get_opts(&name, GetOptions::default()).await? } else { None };
            match found {
                Some(entry) if is_owned_by(&entry.value, owner) => ours = entry.value,
                _ => return Ok(None),
            }
        }
        let fence = match coordination.fences.draw(&*places.fences, &name, inner.now()).await {
            Ok(fence) => fence,
            Err(error) => {
                // Whoever asks next need not wait for a lease that nobody was given.
                let _ = delete_if(store, &name, &ours).await;
                return Err(error.into());
            }
        };
        // The token is bound to the record while that is ours: whoever holds the lock later draws a
        // later one. The lease is counted from here, before the request is sent.
        let (asked, bound) = (Instant::now(), record(owner, fence));
        if !replace_if(store, &name, &ours, &bound, lease.into()).await? {
            // Drawing the token took longer than the lease.
            return Ok(None);
        }
        let held = Arc::new(Held {
            store: Arc::clone(&places.locks),
            name,
            record: bound,
            lease,
            state: watch::Sender::new(State { until: asked + validity(lease), lost: false }),
            companion: Mutex::default(),
        });
        let id = coordination.remember(&held);
        let runtime = Handle::current();
        let keeper = runtime.spawn(keep(Arc::clone(&held), inner, asked)).abort_handle();
        Ok(Some(Lease { fence, held, keeper, runtime, coordination, id, released: false }))
    }
}

fn validity(lease: Duration) -> Duration {
    lease.saturating_sub(lease / MARGIN)
}

/// Removes the record of an owner who gave up before knowing whether the lock was taken.
pub(crate) async fn abandon(places: Arc<Places>, name: Arc<str>, owner: Owner) {
    let mut backoff = Backoff::new();
    for _ in 0..ABANDON_ATTEMPTS {
        // Looked for again after success: a request may take effect after its caller left.
        let _ = delete_owned(&*places.locks, &name, owner).await;
        backoff.wait(None).await;
    }
}

async fn delete_owned(
    store: &dyn NamespacedStore,
    name: &str,
    owner: Owner,
) -> larder_core::Result<bool> {
    match store.get_opts(name, GetOptions::default()).await? {
        Some(entry) if is_owned_by(&entry.value, owner) => {
            delete_if(store, name, &entry.value).await
        }
        _ => Ok(false),
    }
}

/// A record beside the lock's own that has to live as long as the lock is held.
#[derive(Debug, Clone)]
pub(crate) struct Companion {
    pub(crate) store: Arc<dyn NamespacedStore>,
    pub(crate) key: Arc<str>,
    pub(crate) record: Bytes,
    /// When it is over by itself.
    pub(crate) until: Deadline,
    /// It means nothing without the lock.
    pub(crate) is_placeholder: bool,
}

/// What is known of a lock that is held, or was.
pub(crate) struct Held {
    store: Arc<dyn NamespacedStore>,
    name: Arc<str>,
    record: Bytes,
    lease: Duration,
    state: watch::Sender<State>,
    companion: Mutex<Option<Companion>>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// The end of the validity, on the monotonic clock.
    until: Instant,
    lost: bool,
}

impl State {
    fn is_lost(self) -> bool {
        self.lost || Instant::now() >= self.until
    }
}

impl Held {
    pub(crate) fn is_lost(&self) -> bool {
        self.state.borrow().is_lost()
    }

    pub(crate) fn lose(&self) {
        self.state.send_modify(|state| state.lost = true);
    }

    /// Completes when the lock is lost.
    pub(crate) async fn lost(&self) {
        let mut changes = self.state.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            if state.is_lost() {
                return;
            }
            // Whatever changes, or the validity's end: then it is looked at again.
            let _ = timeout_at(state.until, changes.changed()).await;
        }
    }

    fn until(&self) -> Instant {
        self.state.borrow().until
    }

    /// The request sent at `asked` has renewed the lease; false when that came too late.
    fn extend(&self, asked: Instant) -> bool {
        let mut held = true;
        self.state.send_modify(|state| {
            // What somebody may have seen lost stays lost.
            state.lost = state.is_lost();
            state.until = state.until.max(asked + validity(self.lease));
            held = !state.lost;
        });
        held
    }

    pub(crate) fn set_companion(&self, companion: Option<Companion>) {
        *lock(&self.companion) = companion;
    }

    /// Renews the companion where it would be over before it is looked at again.
    async fn keep_companion(&self, now: DateTime<Utc>) {
        let companion = lock(&self.companion).clone();
        let Some(Companion { store, key, record, until, .. }) = companion else { return };
        if Deadline::after(now, self.lease) >= until {
            // Replaced or gone, it is for the write under the lock to notice.
            let _ = replace_if(&*store, &key, &record, &record, self.lease.into()).await;
        }
    }

    /// Deletes the record if it is still ours; tries until then, or until the lease is over.
    pub(crate) async fn release(&self) {
        let until = self.until();
        self.lose();
        let placeholder = lock(&self.companion).take().filter(|it| it.is_placeholder);
        if let Some(Companion { store, key, record, .. }) = placeholder {
            let _ = timeout_at(until, delete_if(&*store, &key, &record)).await;
        }
        let mut backoff = Backoff::new();
        loop {
            match timeout_at(until, delete_if(&*self.store, &self.name, &self.record)).await {
                Ok(Err(error)) if error.kind() != ErrorKind::Closed && Instant::now() < until => {
                    backoff.wait(None).await;
                }
                _ => return,
            }
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("state", &*self.state.borrow()).finish_non_exhaustive()
    }
}

/// Renews a lease until it is lost.
async fn keep(held: Arc<Held>, inner: Arc<Inner>, mut asked: Instant) {
    loop {
        sleep_until((asked + held.lease / 3).min(held.until())).await;
        let (until, request) = (held.until(), Instant::now());
        if request >= until {
            break;
        }
        let record = &held.record;
        let renewal = replace_if(&*held.store, &held.name, record, record, held.lease.into());
        match timeout_at(until, renewal).await {
            Ok(Ok(true)) if held.extend(request) => {
                asked = request;
                held.keep_companion(inner.now()).await;
            }
            Ok(Err(_)) => sleep_until((Instant::now() + held.lease / 12).min(until)).await,
            // It is another's, or gone, or no answer came in time.
            Ok(Ok(_)) | Err(_) => break,
        }
    }
    inner.counters.locks_lost.add();
    held.lose();
}

/// A lock that is held. Dropped, it is released in the background.
pub(crate) struct Lease {
    pub(crate) fence: u64,
    pub(crate) held: Arc<Held>,
    keeper: AbortHandle,
    runtime: Handle,
    coordination: Arc<Coordination>,
    id: u64,
    released: bool,
}

impl Lease {
    /// Gives the lock back; `keep` is kept until that is done.
    pub(crate) fn release<K: Send + 'static>(
        mut self,
        keep: K,
        call: Option<InProgress>,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.released = true;
        self.keeper.abort();
        let (held, coordination, id) =
            (Arc::clone(&self.held), Arc::clone(&self.coordination), self.id);
        async move {
            held.release().await;
            coordination.forget(id);
            drop((keep, call));
        }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        self.keeper.abort();
        let (held, coordination, id) =
            (Arc::clone(&self.held), Arc::clone(&self.coordination), self.id);
        self.runtime.spawn(async move {
            held.release().await;
            coordination.forget(id);
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("fence", &self.fence)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

/// As [`Expiry::After`], at least for so long.
pub(crate) fn at_least(until: Option<Deadline>, now: DateTime<Utc>, least: Duration) -> Expiry {
    match until {
        None => Expiry::Never,
        Some(until) => Expiry::After(until.remaining(now).unwrap_or_default().max(least)),
    }
}

#[cfg(test)]
mod tests {
    use larder_memory::MemoryStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loss_that_may_have_been_seen_is_final() {
        let lease = Duration::from_secs(64);
        let asked = Instant::now();
        let held = Held {
            store: Arc::new(MemoryStore::new()),
            name: "k".into(),
            record: record([0; 16], 1),
            lease,
            state: watch::Sender::new(State { until: asked + validity(lease), lost: false }),
            companion: Mutex::default(),
        };
        tokio::time::advance(lease / 2).await;
        assert!(held.extend(asked + lease / 4) && !held.is_lost());
        tokio::time::advance(Duration::from_millis(46_999)).await;
        assert!(!held.is_lost(), "counted from the later request");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(held.is_lost());
        assert!(!held.extend(Instant::now()) && held.is_lost(), "the answer came too late");
    }
}
