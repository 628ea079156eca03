//! From asynchronous calls to blocking ones.

use std::sync::Arc;

use larder_core::{Error, ErrorKind, InProgress, Result};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::driver::Driver;
use crate::error::{Fault, Raw};
use crate::folder::TRIES;
use crate::layout::Stripe;
use crate::lock::{Held, RETRY, Tried, Turn};

/// Further away than any wait.
const FAR: std::time::Duration = std::time::Duration::from_secs(30 * 365 * 24 * 3600);

/// Runs blocking work on a thread made for that.
///
/// # Cancel safety
/// Dropped, the work still ends, and with it the guards that it took along.
pub(crate) async fn hop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let Ok(runtime) = Handle::try_current() else {
        return Err(Error::new(ErrorKind::Unavailable, "the file backend needs a tokio runtime"));
    };
    runtime.spawn_blocking(work).await.map_err(|error| {
        if error.is_panic() {
            Error::new(ErrorKind::Internal, "a call panicked").with_source(error)
        } else {
            Error::new(ErrorKind::Unavailable, "the runtime is shutting down").with_source(error)
        }
    })
}

/// How a try to do something under a lock ended.
enum Outcome<T, W, C> {
    Done(Raw<T>),
    /// Another process has the lock.
    Taken(Turn, W, C),
    /// The root was replaced meanwhile, and the lock with it.
    Again(W, C),
}

impl Driver {
    /// Does something while a stripe is locked: one hop, if nobody else has the lock.
    ///
    /// # Cancel safety
    /// Dropped while it waits, nothing is done; later, it is done wholly.
    pub(crate) async fn locked<T, W>(
        self: &Arc<Self>,
        call: Arc<InProgress>,
        stripe: Stripe,
        work: W,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: Fn(&Self, &Held) -> Raw<T> + Send + 'static,
    {
        let start = Instant::now();
        let until = start.checked_add(self.lock_timeout).unwrap_or(start + FAR);
        let timed_out = || Error::new(ErrorKind::Timeout, "another writer holds the key's lock");
        let (mut work, mut call) = (work, call);
        for _ in 0..TRIES {
            let mut turn = self.locks.turn(stripe, until).await.ok_or_else(timed_out)?;
            loop {
                let driver = Arc::clone(self);
                match hop(move || driver.attempt(turn, work, call)).await? {
                    Outcome::Done(done) => return done.map_err(Error::from),
                    Outcome::Again(again, same) => {
                        (work, call) = (again, same);
                        break;
                    }
                    Outcome::Taken(mine, again, same) => {
                        (turn, work, call) = (mine, again, same);
                        if Instant::now() >= until {
                            return Err(timed_out());
                        }
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        }
        Err(Fault::RootGone.into())
    }

    fn attempt<T, W, C>(&self, turn: Turn, work: W, call: C) -> Outcome<T, W, C>
    where
        W: Fn(&Self, &Held) -> Raw<T>,
    {
        // The lock is given back before the call ends.
        let done = match turn.try_lock(&self.roots) {
            Ok(Tried::Locked(held)) => work(self, &held),
            Ok(Tried::Taken(turn)) => return Outcome::Taken(turn, work, call),
            Err(fault) => Err(fault),
        };
        match done {
            Err(Fault::RootGone) => Outcome::Again(work, call),
            done => Outcome::Done(done),
        }
    }

    /// Does something for each group of items while the group's stripe is locked: one hop for all
    /// whose locks are free. The results come in the order of the groups.
    pub(crate) async fn locked_groups<I, T, W>(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        groups: Vec<(Stripe, I)>,
        work: W,
    ) -> Result<Vec<Result<T>>>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        W: Fn(&Self, &Held, &I) -> Raw<T> + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        let tried = {
            let (driver, work, call) = (Arc::clone(self), Arc::clone(&work), Arc::clone(call));
            hop(move || {
                let tried = groups.into_iter().map(|(stripe, item)| {
                    let Some(turn) = driver.locks.try_turn(stripe) else {
                        return Err((stripe, item));
                    };
                    match driver.attempt(turn, |driver, held| work(driver, held, &item), ()) {
                        Outcome::Done(done) => Ok(done),
                        Outcome::Taken(..) | Outcome::Again(..) => Err((stripe, item)),
                    }
                });
                let tried: Vec<_> = tried.collect();
                drop(call);
                tried
            })
            .await?
        };
        let mut results = Vec::with_capacity(tried.len());
        for tried in tried {
            results.push(match tried {
                Ok(done) => done.map_err(Error::from),
                Err((stripe, item)) => {
                    let work = Arc::clone(&work);
                    let work = move |driver: &Self, held: &Held| work(driver, held, &item);
                    self.locked(Arc::clone(call), stripe, work).await
                }
            });
        }
        Ok(results)
    }
}
