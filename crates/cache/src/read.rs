//! What every read of the store goes through: the circuit, the budget, the counters.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use larder_core::{Bytes, Error, ErrorKind, GetOptions, NamespacedStore};
use tokio::time::Sleep;

use crate::circuit::is_trouble;
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

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.future).poll(context) {
            return Poll::Ready(Some(output));
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(context).map(|()| None)
    }
}

impl Inner {
    /// Reads what is stored under a key, whatever it is.
    pub(crate) async fn fetch(
        &self,
        store: &dyn NamespacedStore,
        key: &str,
    ) -> Result<Option<Bytes>, Error> {
        self.circuit.check(&*self.config.clock)?;
        let read = store.get_opts(key, GetOptions::default());
        let Some(read) = Budget::new(read, self.config.store_budget).await else {
            let error = Error::new(ErrorKind::Timeout, "the store took longer than its budget");
            return Err(self.store_failed(error.with_operation("get")));
        };
        self.settle(read).map(|entry| entry.map(|entry| entry.value))
    }

    /// Tells the circuit what became of a call to the store.
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
