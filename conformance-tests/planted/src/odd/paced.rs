use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use larder_core::{
    Bytes, Cursor, DeleteManyOutcome, DeleteOptions, Entry, ExpiresIn, Expiry, GetOptions,
    ListPage, NamespacePage, Result, SetItem, SetOptions, SetOutcome, Store, async_trait,
};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::yield_now;

use crate::tamper::{At, Tamper};

/// What happens before each call, and what is held until it ends.
#[async_trait]
pub(crate) trait Pace: Debug + Send + Sync + 'static {
    async fn begin(&self, at: &At) -> Option<MutexGuard<'_, ()>>;

    async fn end(&self) {}
}

/// A layer that makes every call at a pace of its own.
#[derive(Debug, Default)]
pub(crate) struct Paced<P>(pub(crate) P);

macro_rules! paced {
    ($this:ident, $at:ident, $call:expr) => {{
        let _held = $this.0.begin($at).await;
        let done = $call.await;
        $this.0.end().await;
        done
    }};
}

#[async_trait]
impl<P: Pace> Tamper for Paced<P> {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        paced!(self, at, at.inner.get_opts(key, options))
    }

    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        paced!(self, at, at.inner.set_opts(key, value, options))
    }

    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        paced!(self, at, at.inner.delete_opts(key, options))
    }

    async fn delete_all(&self, at: &At) -> Result<()> {
        paced!(self, at, at.inner.delete_all())
    }

    async fn exists(&self, at: &At, key: &str) -> Result<bool> {
        paced!(self, at, at.inner.exists(key))
    }

    async fn expires_in(&self, at: &At, key: &str) -> Result<ExpiresIn> {
        paced!(self, at, at.inner.expires_in(key))
    }

    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        paced!(self, at, at.inner.get_many(keys))
    }

    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        paced!(self, at, at.inner.set_many(items))
    }

    async fn delete_many(&self, at: &At, keys: &[&str]) -> Result<DeleteManyOutcome> {
        paced!(self, at, at.inner.delete_many(keys))
    }

    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        paced!(self, at, at.inner.update_expiry(key, expiry))
    }

    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        paced!(self, at, at.inner.list_page(prefix, cursor, limit))
    }

    async fn list_child_namespaces(
        &self,
        at: &At,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        paced!(self, at, at.inner.list_child_namespaces(cursor, limit))
    }

    async fn delete_prefix(&self, at: &At, prefix: &str) -> Result<u64> {
        paced!(self, at, at.inner.delete_prefix(prefix))
    }

    async fn delete_expired(&self, at: &At) -> Result<u64> {
        paced!(self, at, at.inner.delete_expired())
    }

    async fn flush(&self, at: &At) -> Result<()> {
        paced!(self, at, at.inner.flush())
    }

    async fn ping(&self, at: &At) -> Result<()> {
        paced!(self, at, at.inner.ping())
    }

    async fn close(&self, at: &At) -> Result<()> {
        paced!(self, at, at.inner.close())
    }
}

/// Every call takes a while.
#[derive(Debug)]
pub(crate) struct Slow;

#[async_trait]
impl Pace for Slow {
    async fn begin(&self, _: &At) -> Option<MutexGuard<'_, ()>> {
        tokio::time::sleep(Duration::from_micros(300)).await;
        None
    }
}

/// Calls take turns of random lengths with everything else.
#[derive(Debug, Default)]
pub(crate) struct Jittery(AtomicU64);

impl Jittery {
    async fn dawdle(&self) {
        // A full period over all of the states: the pauses differ from call to call.
        let next = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let state = self.0.fetch_update(Relaxed, Relaxed, |state| Some(next(state)));
        let random = state.unwrap_or_else(|state| state) >> 33;
        for _ in 0..random % 5 {
            yield_now().await;
        }
        if random.is_multiple_of(64) {
            tokio::time::sleep(Duration::from_micros(random % 700)).await;
        }
    }
}

#[async_trait]
impl Pace for Jittery {
    async fn begin(&self, _: &At) -> Option<MutexGuard<'_, ()>> {
        self.dawdle().await;
        None
    }

    async fn end(&self) {
        self.dawdle().await;
    }
}

/// One call at a time.
#[derive(Debug, Default)]
pub(crate) struct OneAtATime(Mutex<()>);

#[async_trait]
impl Pace for OneAtATime {
    async fn begin(&self, _: &At) -> Option<MutexGuard<'_, ()>> {
        Some(self.0.lock().await)
    }
}

/// Before each call, all that has expired is removed.
#[derive(Debug)]
pub(crate) struct PurgesEagerly;

#[async_trait]
impl Pace for PurgesEagerly {
    async fn begin(&self, at: &At) -> Option<MutexGuard<'_, ()>> {
        // Should it fail, so will the call itself.
        let _ = at.root.delete_expired().await;
        None
    }
}
