//! Serving what has expired while it is loaded anew (F7).

use larder_core::{Deadline, Error};

use crate::chance::Owner;
use crate::placeholder::Placeholder;
use crate::read::Fetched;
use crate::route::Route;
use crate::waiter::Waiter;
use crate::{Cache, CacheResult};

/// What a loading call finds.
pub(crate) enum Found<V> {
    Live(V),
    /// Expired, and within the grace.
    Stale(V),
    /// Nothing, or in a distributed space the marker of this one's load.
    Missing(Option<Owner>),
}

impl<V: 'static> Cache<V> {
    /// What a read of the store has found, as a value of this type, live or within the grace; a live
    /// one counts as a hit.
    #[inline]
    pub(crate) fn found(
        &self,
        route: &Route,
        key: &str,
        fetched: Fetched,
    ) -> CacheResult<Found<V>> {
        let loader = match &fetched {
            Ok(Some(bytes)) if self.inner().coordination.is_some() => Placeholder::loader(bytes),
            _ => None,
        };
        if !self.inner().config.grace.is_zero() {
            return Ok(self.found_in_grace(route, key, fetched, loader)?);
        }
        let value = self.value(route, key, fetched)?;
        Ok(value.map_or(Found::Missing(loader), Found::Live))
    }

    fn found_in_grace(
        &self,
        route: &Route,
        key: &str,
        fetched: Fetched,
        loader: Option<Owner>,
    ) -> Result<Found<V>, Error> {
        let inner = self.inner();
        let Some(envelope) = self.entry(fetched)? else {
            inner.counters.misses.add();
            return Ok(Found::Missing(loader));
        };
        let (now, grace) = (inner.now(), inner.config.grace);
        let live = envelope.head.is_live(now);
        let over = |until: Deadline| until.plus(grace).is_past(now);
        let serves = live || !envelope.head.served_until().is_some_and(over);
        match self.decode(envelope) {
            Ok(value) if live => {
                inner.policies.touch(route, key);
                inner.counters.hits.add();
                Ok(Found::Live(value))
            }
            Ok(value) if serves => Ok(Found::Stale(value)),
            _ => {
                inner.counters.misses.add();
                Ok(Found::Missing(loader))
            }
        }
    }

    pub(crate) fn serve_stale(&self, value: V) -> V {
        self.inner().counters.stale_hits.add();
        value
    }

    /// The value that is being loaded, where it comes in time; that counts as a miss.
    pub(crate) async fn within_soft_timeout(&self, waiter: Waiter) -> Option<V> {
        let soft = self.inner().config.soft_timeout;
        if soft.is_zero() {
            return None;
        }
        let at_most = self.0.wait.map_or(soft, |wait| wait.min(soft));
        let bytes = waiter.wait(Some(at_most)).await.ok()?;
        let fresh = self.loaded(bytes).ok()?;
        self.inner().counters.misses.add();
        Some(fresh)
    }
}
