//! Serving what has expired while it is loaded anew (F7).

use larder_core::{Deadline, Error};

use crate::Cache;
use crate::envelope::Envelope;
use crate::slot::Waiter;
use crate::space::Route;

/// What a loading call finds.
pub(crate) enum Found<V> {
    Live(V),
    /// Expired, and within the grace.
    Stale(V),
    Missing,
}

impl<V: 'static> Cache<V> {
    /// A value of this type, live or within the grace; a live one counts as a hit.
    pub(crate) async fn find_or_stale(&self, route: &Route, key: &str) -> Result<Found<V>, Error> {
        let inner = &self.space.0;
        let grace = inner.config.grace;
        if grace.is_zero() {
            let value = self.find_value(route, key).await?;
            return Ok(value.map_or(Found::Missing, Found::Live));
        }
        let Some(envelope) = self.read(route, key).await? else {
            inner.counters.misses.add();
            return Ok(Found::Missing);
        };
        let now = inner.now();
        let live = envelope.head.is_live(now);
        let over = |until: Deadline| Deadline::after(until.to_datetime(), grace).is_past(now);
        let serves = live || !envelope.head.served_until().is_some_and(over);
        match self.decode(&envelope) {
            Ok(value) if live => {
                inner.policies.touch(&route.scope, key);
                inner.counters.hits.add();
                Ok(Found::Live(value))
            }
            Ok(value) if serves => Ok(Found::Stale(value)),
            _ => {
                inner.counters.misses.add();
                Ok(Found::Missing)
            }
        }
    }

    pub(crate) fn serve_stale(&self, value: V) -> V {
        self.space.0.counters.stale_hits.add();
        value
    }

    /// The value that is being loaded, where it comes in time.
    pub(crate) async fn within_soft_timeout(&self, waiter: Waiter) -> Option<V> {
        let soft = self.space.0.config.soft_timeout;
        if soft.is_zero() {
            return None;
        }
        let at_most = self.wait.map_or(soft, |wait| wait.min(soft));
        let bytes = waiter.wait(Some(at_most)).await.ok()?;
        Envelope::decode(bytes).ok().and_then(|envelope| self.decode(&envelope).ok())
    }
}
