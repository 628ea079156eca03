//! A read of one key, as short as it can be where the store answers at once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::read::{Fetch, Fetched};
use crate::route::{Route, RouteRef};
use crate::{Cache, CacheResult};

/// Asks the store for a key, and has `then` make something of what it gives.
//
// Written out, as it is most of what a hit does: an `async fn` puts by what it may need after a wait
// before it knows that there is one.
#[must_use = "a future does nothing unless awaited"]
pub(crate) struct Reading<'a, V, F> {
    pub(crate) cache: &'a Cache<V>,
    pub(crate) key: &'a str,
    then: F,
    /// Apart, as most never wait.
    waiting: Option<Box<(RouteRef<'a>, Fetch<'a>)>>,
}

impl<'a, V: 'static, F> Reading<'a, V, F> {
    #[inline]
    pub(crate) fn new(cache: &'a Cache<V>, key: &'a str, then: F) -> Self {
        Self { cache, key, then, waiting: None }
    }
}

impl<V: 'static, T, F> Future for Reading<'_, V, F>
where
    F: Fn(&Cache<V>, &Route, &str, Fetched) -> CacheResult<T> + Unpin,
{
    type Output = CacheResult<T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (cache, key) = (this.cache, this.key);
        if let Some(waiting) = &mut this.waiting {
            let (route, fetch) = &mut **waiting;
            let fetched = ready!(Pin::new(fetch).poll(context));
            return Poll::Ready((this.then)(cache, route, key, fetched));
        }
        let (route, inner) = (cache.route()?, cache.inner());
        let mut read = inner.begin_read(&route, key)?;
        match read.as_mut().poll(context) {
            Poll::Ready(read) => {
                let fetched = inner.settle_read(read);
                Poll::Ready((this.then)(cache, &route, key, fetched))
            }
            Poll::Pending => {
                let waiting = Box::new((route, inner.limit(read)));
                let (route, fetch) = &mut **this.waiting.insert(waiting);
                // Asked again, for the time limit to begin.
                let fetched = ready!(Pin::new(fetch).poll(context));
                Poll::Ready((this.then)(cache, route, key, fetched))
            }
        }
    }
}
