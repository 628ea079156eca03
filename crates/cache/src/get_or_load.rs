//! A look for a value that is to be loaded where it is missing.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use larder_core::BoxFuture;

use crate::read::Fetched;
use crate::reading::Reading;
use crate::route::Route;
use crate::stale::Found;
use crate::waiter::Waiter;
use crate::{Cache, CacheResult, LoadError, Loaded, hash};

type Find<V> = fn(&Cache<V>, &Route, &str, Fetched) -> CacheResult<Found<V>>;

/// The quick way through a loading call: a hit, of a store that answers at once, and joining
/// another's load are all that it handles itself.
#[must_use = "a future does nothing unless awaited"]
pub(crate) struct GetOrLoad<'a, V, F, E> {
    reading: Reading<'a, V, Find<V>>,
    /// What [`Table::fills`](crate::slot::Table::fills) gave before the store was asked.
    fills: Option<u64>,
    loader: Option<F>,
    loading: Option<Loading<'a, V, E>>,
}

/// What follows where the value is not there.
enum Loading<'a, V, E> {
    /// Another's load, for as long as it takes.
    Joined(Waiter),
    /// Everything else.
    Own(BoxFuture<'a, Result<V, LoadError<E>>>),
}

// Nothing in it is ever pinned.
impl<V, F, E> Unpin for GetOrLoad<'_, V, F, E> {}

impl<V: Send + 'static> Cache<V> {
    /// Looks for a value, live or stale.
    pub(crate) fn look<'a>(&'a self, key: &'a str) -> Reading<'a, V, Find<V>> {
        Reading::new(self, key, Self::found)
    }
}

impl<'a, V: Send + 'static, E: Send + Sync + 'static> Loading<'a, V, E> {
    /// Joins the load of a key, if there is one that has to be waited for.
    #[cold]
    fn join(cache: &'a Cache<V>, key: &str, hash: u64) -> CacheResult<Option<Self>> {
        let route = cache.route()?;
        let waiter = cache.inner().join_load(&route, key, hash, cache.0.tag)?;
        Ok(waiter.map(|waiter| match cache.0.wait {
            None => Self::Joined(waiter),
            at_most => Self::Own(Box::pin(async move {
                let bytes = waiter.wait(at_most).await?;
                Ok(cache.loaded(bytes)?)
            })),
        }))
    }

    fn poll(
        &mut self,
        cache: &Cache<V>,
        context: &mut Context<'_>,
    ) -> Poll<Result<V, LoadError<E>>> {
        match self {
            Self::Joined(waiter) => {
                let loaded = ready!(Pin::new(waiter).poll(context));
                Poll::Ready(loaded.and_then(|bytes| cache.loaded(bytes)).map_err(LoadError::from))
            }
            Self::Own(future) => future.as_mut().poll(context),
        }
    }
}

impl<'a, V: Send + 'static, F, E> GetOrLoad<'a, V, F, E> {
    #[inline]
    pub(crate) fn new(cache: &'a Cache<V>, key: &'a str, loader: F) -> Self {
        let reading = cache.look(key);
        Self { reading, fills: None, loader: Some(loader), loading: None }
    }
}

impl<'a, V, F, Fut, L, E> Future for GetOrLoad<'a, V, F, E>
where
    V: Send + 'static,
    F: FnOnce(Arc<str>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<L, E>> + Send + 'static,
    L: Into<Loaded<V>> + 'a,
    E: Send + Sync + 'static,
{
    type Output = Result<V, LoadError<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (cache, key) = (this.reading.cache, this.reading.key);
        if let Some(loading) = &mut this.loading {
            return loading.poll(cache, context);
        }
        let fills = if let Some(fills) = this.fills {
            fills
        } else {
            let hash = hash::of_key(key);
            if cache.inner().table.is_busy(hash)
                && let Some(joined) = Loading::join(cache, key, hash)?
            {
                return this.loading.insert(joined).poll(cache, context);
            }
            *this.fills.insert(cache.inner().table.fills(hash))
        };
        let found = ready!(Pin::new(&mut this.reading).poll(context));
        if let Ok(Found::Live(value)) = found {
            return Poll::Ready(Ok(value));
        }
        // There is one until here.
        let Some(loader) = this.loader.take() else { return Poll::Pending };
        let loading = Loading::Own(Box::pin(cache.load_missing(key, loader, fills, found)));
        this.loading.insert(loading).poll(cache, context)
    }
}

/// A load that cannot fail.
#[must_use = "a future does nothing unless awaited"]
pub(crate) struct Infallibly<T>(pub(crate) T);

impl<V, T> Future for Infallibly<T>
where
    T: Future<Output = Result<V, LoadError<Infallible>>> + Unpin,
{
    type Output = CacheResult<V>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let loaded = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(loaded.map_err(|error| match error {
            LoadError::Load(never) => match *never {},
            LoadError::Cache(error) => error,
        }))
    }
}
