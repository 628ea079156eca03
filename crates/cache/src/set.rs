use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{BoxFuture, Bytes, Error, Expiry};

use crate::lock::Seen;
use crate::route::Route;
use crate::write::{Mode, Put, Write};
use crate::{Cache, CacheError, CacheResult, GetSet, LockGuard};

/// A write that is about to happen: see [`Cache::set`].
#[must_use = "nothing is written until it is awaited"]
pub struct SetValue<'a, V> {
    cache: &'a Cache<V>,
    key: &'a str,
    write: Result<Write, Error>,
    /// Where it is a write under a lock: the lock, the route it was taken on, and what was seen.
    held: Option<(&'a LockGuard, Arc<Route>, &'a mut Seen)>,
}

impl<'a, V: 'static> SetValue<'a, V> {
    pub(crate) fn held(held: &'a mut GetSet<V>, value: &V) -> Self {
        let GetSet { cache, route, seen, lock, .. } = held;
        let set = Self::new(cache, lock.key(), cache.0.lens.codec.encode(value));
        Self { held: Some((lock, Arc::clone(route), seen)), ..set }
    }

    pub(crate) fn new(cache: &'a Cache<V>, key: &'a str, payload: Result<Bytes, Error>) -> Self {
        let write = payload.map(|payload| Write {
            payload,
            tag: cache.0.tag,
            modified: None,
            expiry: None,
            default: cache.default_expiry(),
            jitter: true,
            pin: false,
            weight: None,
        });
        Self { cache, key, write, held: None }
    }

    fn with(mut self, change: impl FnOnce(&mut Write)) -> Self {
        if let Ok(write) = &mut self.write {
            change(write);
        }
        self
    }

    /// The value lives this long; zero removes the entry.
    pub fn ttl(self, duration: Duration) -> Self {
        self.expiry(duration)
    }

    /// Sets the expiry, in place of the default one.
    ///
    /// `Expiry::Keep` keeps that of the live entry which is replaced, and is `Never` where there is
    /// none. A pin outlives it if it outlived it before; where the old entry lived by its pin alone,
    /// and the new one has none, that lives for the default time.
    pub fn expiry(self, expiry: impl Into<Expiry>) -> Self {
        let expiry = expiry.into();
        self.with(|write| {
            write.expiry = Some(expiry);
            write.jitter = false;
        })
    }

    /// Keeps the entry from eviction, and from an expiry that is not asked for here, until it is
    /// read with [`get_and_unpin`](Cache::get_and_unpin) or reaches
    /// [`pin_max_age`](crate::CacheBuilder::pin_max_age) (`P2`); an expiry asked for ends the pin
    /// too. Set again without it, the entry is unpinned; deleting and clearing take no heed of it.
    pub fn pin(self) -> Self {
        self.with(|write| write.pin = true)
    }

    /// What the entry weighs against the policy's capacity; at least 1.
    pub fn weight(self, weight: u64) -> Self {
        self.with(|write| write.weight = Some(weight))
    }

    /// When the value was made, where that was not now.
    pub fn modified(self, moment: DateTime<Utc>) -> Self {
        self.with(|write| write.modified = Some(moment))
    }
}

impl<'a, V: Send + 'static> IntoFuture for SetValue<'a, V> {
    type Output = CacheResult<()>;
    type IntoFuture = BoxFuture<'a, CacheResult<()>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { cache, key, write, held } = self;
        Box::pin(async move {
            let write = write.map_err(|error| error.with_operation("set").with_key(key))?;
            if let Some((lock, route, seen)) = held {
                if lock.is_lost() {
                    return Err(CacheError::LockLost);
                }
                let mode = Mode::Held(Box::new(seen.clone()));
                let put = cache.inner().put(&route, key, write, mode).await;
                return match put {
                    Ok(Put::Held(now)) => {
                        lock.accompany(&now);
                        *seen = *now;
                        Ok(())
                    }
                    Ok(Put::Done(_) | Put::NotWanted) => Err(CacheError::Conflict),
                    // The space was closed just now, and with it the lock was lost.
                    Err(_) | Ok(Put::Failed(..)) if lock.is_lost() => Err(CacheError::LockLost),
                    Ok(Put::Failed(now, error)) => {
                        *seen = *now;
                        Err(error)
                    }
                    Err(error) => Err(error),
                };
            }
            let route = cache.route()?;
            cache.inner().put(&route, key, write, Mode::Set).await.map(|_| ())
        })
    }
}

impl<V> fmt::Debug for SetValue<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetValue").field("key", &self.key).finish_non_exhaustive()
    }
}
