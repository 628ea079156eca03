//! A store that fails when told to, for tests of what stands above a store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    Capabilities, Cursor, DeleteManyOutcome, DeleteOptions, Entry, Error, ErrorKind, ExpiresIn,
    Expiry, GetOptions, ListPage, Namespace, NamespacePage, NamespacedStore, Result, SetItem,
    SetOptions, SetOutcome, Store,
};

/// The calls that a [`Fault`] can be planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Every call.
    Any,
    /// Reads of keys, one or many.
    Get,
    /// Writes of keys, one or many.
    Set,
    /// Deletions of keys, one or many, and changes of expiry.
    Delete,
    /// Deletions of whole namespaces, prefixes and expired records.
    Clear,
    /// Listings.
    List,
    /// Flushing, pinging and closing.
    Other,
}

/// What a planned call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It does nothing and gives an error of this kind.
    Fail(ErrorKind),
    /// It waits so long, by tokio's time, and is then done.
    Delay(Duration),
    /// It waits until [`Faulty::release`], and is then done.
    Hang,
    /// It is done, and its answer lost: the caller gets `Unknown`.
    LoseAnswer,
}

/// A store that passes calls on to another, except those that are planned to go wrong.
///
/// Children made by `with_namespace` share its plan.
///
/// ```
/// use std::sync::Arc;
/// use larder_core::testing::{Call, Fault, Faulty};
/// use larder_core::{ErrorKind, NamespacedStore, StoreExt};
///
/// async fn example(store: Arc<dyn NamespacedStore>) -> larder_core::Result<()> {
///     let faulty = Faulty::new(store);
///     faulty.plan(Call::Set, 2, Fault::Fail(ErrorKind::StorageFull));
///     faulty.set("a", "1").await?;
///     assert_eq!(faulty.set("a", "2").await.unwrap_err().kind(), ErrorKind::StorageFull);
///     faulty.set("a", "3").await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Arc<dyn NamespacedStore>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    state: Mutex<State>,
    /// Counts the releases.
    released: watch::Sender<u64>,
    hanging: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    /// Single faults, with how many more such calls to let pass first.
    planned: VecDeque<(Call, u64, Fault)>,
    always: Vec<(Call, Fault)>,
    seen: Vec<Call>,
}

/// One hanging call; it stops hanging however it ends.
struct Hanging<'a>(&'a watch::Sender<usize>);

impl<'a> Hanging<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Call {
    fn covers(self, call: Self) -> bool {
        self == Self::Any || self == call
    }
}

impl Faulty {
    /// A store that passes everything on, until a fault is planned.
    pub fn new(inner: Arc<dyn NamespacedStore>) -> Self {
        let plan = Plan {
            state: Mutex::default(),
            released: watch::Sender::new(0),
            hanging: watch::Sender::new(0),
        };
        Self { inner, plan: Arc::new(plan) }
    }

    /// Plans a fault for the `nth` such call from now on, the next one being the first.
    pub fn plan(&self, call: Call, nth: u64, fault: Fault) {
        self.state().planned.push_back((call, nth.saturating_sub(1), fault));
    }

    /// Plans a fault for every such call from now on.
    pub fn always(&self, call: Call, fault: Fault) {
        self.state().always.push((call, fault));
    }

    /// Forgets every plan; calls that hang already go on hanging.
    pub fn heal(&self) {
        let mut state = self.state();
        state.planned.clear();
        state.always.clear();
    }

    /// Lets the calls that hang go on.
    pub fn release(&self) {
        self.plan.released.send_modify(|releases| *releases += 1);
    }

    /// How many such calls were made so far.
    pub fn calls(&self, call: Call) -> usize {
        self.state().seen.iter().filter(|seen| call.covers(**seen)).count()
    }

    /// Completes when so many calls hang.
    pub async fn hanging(&self, calls: usize) {
        // The sender lives as long as `self`.
        let _ = self.plan.hanging.subscribe().wait_for(|hanging| *hanging == calls).await;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.plan.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault of a call that is being made now.
    fn next(&self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        state.seen.push(call);
        let mut due = None;
        for (index, (of, left, _)) in state.planned.iter_mut().enumerate() {
            if !of.covers(call) {
                continue;
            }
            if *left > 0 {
                *left -= 1;
            } else if due.is_none() {
                due = Some(index);
            }
        }
        let planned = due.and_then(|index| state.planned.remove(index)).map(|(.., fault)| fault);
        planned.or_else(|| {
            state.always.iter().find(|(of, _)| of.covers(call)).map(|(_, fault)| *fault)
        })
    }

    /// `pass_on` must do nothing before it is polled, which a store's own future may.
    async fn call<T: Send>(
        &self,
        call: Call,
        pass_on: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.next(call) {
            None => pass_on.await,
            Some(Fault::Fail(kind)) => Err(Error::new(kind, "planned").with_backend("faulty")),
            Some(Fault::Delay(duration)) => {
                tokio::time::sleep(duration).await;
                pass_on.await
            }
            Some(Fault::Hang) => {
                let mut released = self.plan.released.subscribe();
                let hanging = Hanging::new(&self.plan.hanging);
                // The sender lives as long as `self`.
                let _ = released.changed().await;
                drop(hanging);
                pass_on.await
            }
            Some(Fault::LoseAnswer) => {
                pass_on.await?;
                let text = "planned: done, and the answer lost";
                Err(Error::new(ErrorKind::Unknown, text).with_backend("faulty"))
            }
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Faulty {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.call(Call::Get, async { self.inner.get_opts(key, options).await }).await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.call(Call::Set, async { self.inner.set_opts(key, value, options).await }).await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.call(Call::Delete, async { self.inner.delete_opts(key, options).await }).await
    }

    async fn delete_all(&self) -> Result<()> {
        self.call(Call::Clear, async { self.inner.delete_all().await }).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.call(Call::Get, async { self.inner.exists(key).await }).await
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        self.call(Call::Get, async { self.inner.expires_in(key).await }).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        self.call(Call::Get, async { self.inner.get_many(keys).await }).await
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        self.call(Call::Set, async { self.inner.set_many(items).await }).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        self.call(Call::Delete, async { self.inner.delete_many(keys).await }).await
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.call(Call::Delete, async { self.inner.update_expiry(key, expiry).await }).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        self.call(Call::List, async { self.inner.list_page(prefix, cursor, limit).await }).await
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        self.call(Call::List, async { self.inner.list_child_namespaces(cursor, limit).await }).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.call(Call::Clear, async { self.inner.delete_prefix(prefix).await }).await
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.call(Call::Clear, async { self.inner.delete_expired().await }).await
    }

    async fn flush(&self) -> Result<()> {
        self.call(Call::Other, async { self.inner.flush().await }).await
    }

    async fn ping(&self) -> Result<()> {
        self.call(Call::Other, async { self.inner.ping().await }).await
    }

    async fn close(&self) -> Result<()> {
        self.call(Call::Other, async { self.inner.close().await }).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for Faulty {
    fn namespace(&self) -> &Namespace {
        self.inner.namespace()
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        self.with_path(&[segment])
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let inner = self.inner.with_path(segments)?;
        Ok(Arc::new(Self { inner, plan: Arc::clone(&self.plan) }))
    }
}
