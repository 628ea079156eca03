//! Asking for a lock that other processes may hold (L2).

use std::sync::Arc;

use larder_core::ErrorKind;

use crate::backoff::Backoff;
use crate::chance::{self, Owner};
use crate::distributed::{Coordination, Places, name};
use crate::flight::Guarded;
use crate::lease::{Attempt, Failed, Lease, abandon};
use crate::route::Route;
use crate::space::Inner;
use crate::{CacheError, CacheResult};

/// How often an error of the store is taken for one that goes by; a `Timeout`, by which nothing was
/// done, always is.
const ERRORS: usize = 3;

/// One caller who wants a lock that other processes may hold.
pub(crate) struct Asking {
    inner: Arc<Inner>,
    coordination: Arc<Coordination>,
    places: Arc<Places>,
    name: Arc<str>,
    owner: Owner,
    /// A request ended with an error; the lock may be ours.
    unsure: bool,
}

impl Asking {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        coordination: &Arc<Coordination>,
        places: Arc<Places>,
        route: &Route,
        key: &str,
    ) -> Self {
        let max_len = places.locks.capabilities().max_key_len;
        Self {
            inner: Arc::clone(inner),
            coordination: Arc::clone(coordination),
            places,
            name: name(&route.scope, key, max_len).into(),
            owner: chance::owner(),
            unsure: false,
        }
    }

    /// Asks until the lock is given.
    pub(crate) async fn take(mut self, no_wait: bool) -> CacheResult<Lease> {
        let mut backoff = Backoff::new();
        let mut errors = 0;
        loop {
            let attempt = Attempt {
                inner: Arc::clone(&self.inner),
                coordination: Arc::clone(&self.coordination),
                places: Arc::clone(&self.places),
                name: Arc::clone(&self.name),
                owner: self.owner,
                unsure: self.unsure,
            };
            // Carried through, and given back, when the caller goes away.
            match Guarded::new(Box::pin(attempt.make())).await {
                Ok(Some(lease)) => {
                    self.unsure = false;
                    return Ok(lease);
                }
                Ok(None) if no_wait => return Err(CacheError::Busy),
                Ok(None) => {}
                Err(Failed { error, may_be_ours }) => {
                    self.unsure |= may_be_ours;
                    let timed_out = error.store_kind() == Some(ErrorKind::Timeout);
                    // Nothing was done, as when another has the lock: whoever waits for that waits
                    // for this, and nobody else.
                    if timed_out && no_wait {
                        return Err(error);
                    }
                    if !timed_out {
                        errors += 1;
                        if !passes(&error) || errors > ERRORS {
                            return Err(error);
                        }
                    }
                }
            }
            backoff.wait(None).await;
        }
    }
}

fn passes(error: &CacheError) -> bool {
    error.store_error().is_some_and(|it| it.is_retryable() || it.kind() == ErrorKind::Unknown)
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Nobody is to wait for a lease that nobody knows to be theirs.
        if self.unsure
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(abandon(Arc::clone(&self.places), Arc::clone(&self.name), self.owner));
        }
    }
}
