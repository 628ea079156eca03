//! What every read of the store goes through: the circuit, the budget, the counters.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use larder_core::{BoxFuture, Bytes, Entry, Error, ErrorKind, GetOptions};
use tokio::time::Sleep;

use crate::circuit::is_trouble;
use crate::envelope::Head;
use crate::route::RouteRef;
use crate::space::Inner;

/// A future with a time limit, which costs nothing as long as it is ready at once: the timer is made
/// when it first has to wait.
pub(crate) struct Budget<F> {
    future: F,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F> Budget<F> {
    pub(crate) fn new(future: F, limit: Duration) -> Self {
        Self { future, limit, timer: None }
    }

    /// The future, to go on with it after its time.
    pub(crate) fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future + Unpin> Future for Budget<F> {
    /// `None` when the time is over.
    type Output = Option<F::Output>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.future).poll(context) {
            return Poll::Ready(Some(output));
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(context).map(|()| None)
    }
}

/// What a store gives to a read.
pub(crate) type StoreRead<'a> = BoxFuture<'a, Result<Option<Entry>, Error>>;

/// What is stored under a key, whatever it is.
pub(crate) type Fetched = Result<Option<Bytes>, Error>;

/// A read of what is stored under a key, with its time limit.
#[must_use = "a future does nothing unless awaited"]
pub(crate) struct Fetch<'a> {
    inner: &'a Inner,
    read: Budget<StoreRead<'a>>,
}

impl Future for Fetch<'_> {
    type Output = Fetched;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(read) = ready!(Pin::new(&mut self.read).poll(context)) else {
            let error = Error::new(ErrorKind::Timeout, "the store took longer than its budget");
            return Poll::Ready(Err(self.inner.store_failed(error.with_operation("get"))));
        };
        Poll::Ready(self.inner.settle_read(read))
    }
}

impl Inner {
    /// Reads what is stored under a key.
    ///
    /// # Errors
    /// `Unavailable` while the circuit is open.
    pub(crate) fn fetch<'a>(
        &'a self,
        route: &RouteRef<'a>,
        key: &'a str,
    ) -> Result<Fetch<'a>, Error> {
        Ok(self.limit(self.begin_read(route, key)?))
    }

    /// Begins to read what is stored under a key, without a time limit.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    #[inline]
    pub(crate) fn begin_read<'a>(
        &'a self,
        route: &RouteRef<'a>,
        key: &'a str,
    ) -> Result<StoreRead<'a>, Error> {
        self.circuit.check(&*self.config.clock)?;
        Ok(match route {
            RouteRef::Kept(route) => route.store.get_opts(key, GetOptions::default()),
            RouteRef::Made(route) => {
                let route = Arc::clone(route);
                Box::pin(async move { route.store.get_opts(key, GetOptions::default()).await })
            }
        })
    }

    pub(crate) fn limit<'a>(&'a self, read: StoreRead<'a>) -> Fetch<'a> {
        Fetch { inner: self, read: Budget::new(read, self.config.store_budget) }
    }

    #[inline]
    pub(crate) fn settle_read(&self, read: Result<Option<Entry>, Error>) -> Fetched {
        self.settle(read).map(|entry| entry.map(|entry| entry.value))
    }

    /// Tells whether an entry's value is still to be served.
    #[inline]
    pub(crate) fn is_live(&self, head: &Head) -> bool {
        head.is_live_by(&*self.config.clock)
    }

    /// Tells the circuit what became of a call to the store.
    #[inline]
    pub(crate) fn settle<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        match outcome {
            Ok(outcome) => {
                self.circuit.succeeded();
                Ok(outcome)
            }
            Err(error) if is_trouble(error.kind()) => Err(self.store_failed(error)),
            Err(error) => Err(error),
        }
    }

    #[cold]
    fn store_failed(&self, error: Error) -> Error {
        self.counters.store_failures.add();
        if self.circuit.failed(&*self.config.clock) {
            self.counters.circuit_openings.add();
            crate::event!(warn, kind = error.kind().as_str(), "store left alone after failures");
        }
        error
    }
}
