//! Loads that one process makes for all (F6).

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::claim::{Accept, Claimed};
use crate::error::LoadFailure;
use crate::flight::{Outcome, panic_message};
use crate::load::{Fresh, Supervisor};
use crate::route::Route;
use crate::{CacheError, CacheResult};

/// A task that does not outlive whoever waits for it.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Supervisor {
    /// Waits until the load is ours or has been done, loads, and ends the flight.
    ///
    /// The loader has a task of its own below the supervisor's, so that one that blocks its thread
    /// keeps the supervisor neither from renewing the lease nor from ending the flight in time.
    pub(crate) fn start_claiming(
        self,
        route: &Arc<Route>,
        load: impl Future<Output = CacheResult<Fresh>> + Send + 'static,
        accept: Accept,
    ) {
        // Without a runtime the supervisor is dropped, which ends the flight.
        let Ok(runtime) = Handle::try_current() else { return };
        let (flight, route) = (Arc::clone(&self.flight), Arc::clone(route));
        // Made here, where the span is the caller's.
        let load = Box::pin(crate::in_span(load));
        let task = runtime.spawn(crate::in_span(self.run_claiming(route, load, accept)));
        flight.set_task(task.abort_handle());
    }

    async fn run_claiming(
        self,
        route: Arc<Route>,
        load: impl Future<Output = CacheResult<Fresh>> + Send + 'static,
        accept: Accept,
    ) {
        let inner = &self.inner;
        let claim = match self.claim(&route, &accept).await {
            Ok(Claimed::Stored(envelope)) => return self.give(envelope),
            Ok(Claimed::Ours(claim)) => {
                self.flight.set_claim(&claim);
                Some(claim)
            }
            Ok(Claimed::Failed) => {
                let error = CacheError::Load(LoadFailure::elsewhere());
                self.slot.finish(&self.flight, Outcome::Failed(error));
                return;
            }
            Ok(Claimed::Alone) => {
                inner.counters.direct_loads.add();
                None
            }
            Err(error) => return self.fail(error),
        };
        inner.counters.loads.add();
        let mut loader = Owned(tokio::spawn(load));
        let end = async {
            match &claim {
                Some(claim) => {
                    let lost = async || self.give_what_came(&route, &accept).await;
                    claim.keep_while(&mut loader.0, lost).await
                }
                None => (&mut loader.0).await,
            }
        };
        let fresh = match tokio::time::timeout(inner.config.max_load_time, end).await {
            Err(_) => Err(CacheError::TimedOut),
            Ok(Ok(fresh)) => fresh,
            Ok(Err(ended)) => Err(match ended.try_into_panic() {
                Ok(panic) => CacheError::Panicked(panic_message(&*panic)),
                Err(_) => CacheError::ShutDown,
            }),
        };
        drop(loader);
        // Where processes claim their loads, one that did not has no right to store.
        let may_store = claim.is_some();
        self.settle(&route, fresh, may_store, claim.map(|claim| (claim, accept))).await;
    }

    /// Waits, no longer than a load may take, until the load is ours or has been done.
    async fn claim(&self, route: &Route, accept: &Accept) -> CacheResult<Claimed> {
        let inner = &self.inner;
        let Some(coordination) = &inner.coordination else { return Ok(Claimed::Alone) };
        let claim = inner.claim(coordination, route, &self.slot.id.key, accept);
        let claimed = tokio::time::timeout(inner.config.max_load_time, claim).await;
        claimed.unwrap_or(Err(CacheError::TimedOut))
    }
}
