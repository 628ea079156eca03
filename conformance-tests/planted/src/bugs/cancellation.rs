use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_core::{
    Bytes, DeleteOptions, Expiry, GetOptions, Namespace, Result, SetItem, SetOptions, SetOutcome,
    Store, async_trait,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::tamper::{At, Tamper};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock on the key that only the end of the call releases.
#[derive(Debug, Default)]
pub(crate) struct LeaksALock(Mutex<HashSet<(Namespace, String)>>);

#[async_trait]
impl Tamper for LeaksALock {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let name = at.name_of(key);
        while !lock(&self.0).insert(name.clone()) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        yield_now().await;
        let outcome = at.inner.set_opts(key, value, options).await;
        lock(&self.0).remove(&name);
        outcome
    }
}

/// A lock that is handed to the next in the queue, be he gone.
#[derive(Debug, Default)]
pub(crate) struct HandsALockToTheGone(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    held: bool,
    waiting: VecDeque<oneshot::Sender<()>>,
}

/// The lock of a [`HandsALockToTheGone`], held.
struct Held<'a>(&'a Mutex<Queue>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut queue = lock(self.0);
        match queue.waiting.pop_front() {
            Some(next) => drop(next.send(())),
            None => queue.held = false,
        }
    }
}

#[async_trait]
impl Tamper for HandsALockToTheGone {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let turn = {
            let mut queue = lock(&self.0);
            if std::mem::replace(&mut queue.held, true) {
                let (sender, turn) = oneshot::channel();
                queue.waiting.push_back(sender);
                Some(turn)
            } else {
                None
            }
        };
        if let Some(turn) = turn {
            let _ = turn.await;
        }
        let _held = Held(&self.0);
        yield_now().await;
        at.inner.set_opts(key, value, options).await
    }
}

/// A temporary file that only the end of the call removes.
#[derive(Debug, Default)]
pub(crate) struct LeavesATemporaryFile(Mutex<BTreeSet<String>>, AtomicU64);

#[async_trait]
impl Tamper for LeavesATemporaryFile {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let name = format!("{}.tmp", self.1.fetch_add(1, SeqCst));
        lock(&self.0).insert(name.clone());
        yield_now().await;
        let outcome = at.inner.set_opts(key, value, options).await;
        lock(&self.0).remove(&name);
        outcome
    }

    fn litter(&self) -> Vec<String> {
        lock(&self.0).iter().cloned().collect()
    }
}

/// All keys of a batch are deleted before they are written.
#[derive(Debug)]
pub(crate) struct BatchesBeginWithADeletion;

#[async_trait]
impl Tamper for BatchesBeginWithADeletion {
    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
        let plain = items.iter().all(|item| item.options == SetOptions::default());
        if plain {
            at.inner.delete_many(&keys).await?;
            yield_now().await;
        }
        at.inner.set_many(items).await
    }
}

/// A deletion empties the value, and then removes it.
#[derive(Debug)]
pub(crate) struct DeletionsBeginWithAnEmptyValue;

#[async_trait]
impl Tamper for DeletionsBeginWithAnEmptyValue {
    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        if options == DeleteOptions::default() && at.inner.exists(key).await? {
            let empty = SetOptions::default().with_expiry(Expiry::Keep);
            let present = empty.with_condition(larder_core::Condition::Present);
            at.inner.set_opts(key, Bytes::new(), present).await?;
            yield_now().await;
        }
        at.inner.delete_opts(key, options).await
    }
}

/// A change of expiry takes the key away and puts it back.
#[derive(Debug)]
pub(crate) struct RenewalsTakeTheKeyAway;

#[async_trait]
impl Tamper for RenewalsTakeTheKeyAway {
    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        let entry = at.inner.get_opts(key, GetOptions::default()).await?;
        let (Some(entry), false) = (entry, expiry == Expiry::Keep) else {
            return at.inner.update_expiry(key, expiry).await;
        };
        if !at.inner.delete_opts(key, DeleteOptions::default()).await? {
            return Ok(false);
        }
        yield_now().await;
        at.inner.set_opts(key, entry.value, SetOptions::default().with_expiry(expiry)).await?;
        Ok(true)
    }
}

/// A second close waits for the first one, be it gone.
#[derive(Debug, Default)]
pub(crate) struct ClosesWaitForTheGone {
    begun: AtomicBool,
    done: AtomicBool,
}

#[async_trait]
impl Tamper for ClosesWaitForTheGone {
    async fn close(&self, at: &At) -> Result<()> {
        if !at.inner.namespace().is_root() {
            return at.inner.close().await;
        }
        if self.begun.swap(true, SeqCst) {
            while !self.done.load(SeqCst) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            return Ok(());
        }
        yield_now().await;
        let closed = at.inner.close().await;
        self.done.store(true, SeqCst);
        closed
    }
}

/// An increment of the number of readers that only the end of a listing takes back; clearing waits
/// until there are none.
#[derive(Debug, Default)]
pub(crate) struct CountsReadersForEver(AtomicU64);

#[async_trait]
impl Tamper for CountsReadersForEver {
    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&larder_core::Cursor>,
        limit: usize,
    ) -> Result<larder_core::ListPage> {
        self.0.fetch_add(1, SeqCst);
        yield_now().await;
        let page = at.inner.list_page(prefix, cursor, limit).await;
        self.0.fetch_sub(1, SeqCst);
        page
    }

    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        while self.0.load(SeqCst) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// A pool of a few places, of which one that is dropped in use does not come back.
#[derive(Debug)]
pub(crate) struct Pool(tokio::sync::Semaphore);

impl Default for Pool {
    fn default() -> Self {
        Self(tokio::sync::Semaphore::new(16))
    }
}

impl Pool {
    async fn run<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if let Ok(place) = self.0.acquire().await {
            place.forget();
        }
        yield_now().await;
        let result = call.await;
        self.0.add_permits(1);
        result
    }
}

#[derive(Debug, Default)]
pub(crate) struct BatchesUseUpThePool(Pool);

#[async_trait]
impl Tamper for BatchesUseUpThePool {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        self.0.run(at.inner.get_many(keys)).await
    }
}

#[derive(Debug, Default)]
pub(crate) struct FlushesUseUpThePool(Pool);

#[async_trait]
impl Tamper for FlushesUseUpThePool {
    async fn flush(&self, at: &At) -> Result<()> {
        self.0.run(at.inner.flush()).await
    }
}
