//! A look for a value that is to be loaded where it is missing.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use larder_core::BoxFuture;

use crate::envelope::Envelope;
use crate::read::Fetched;
use crate::reading::Reading;
use crate::route::Route;
use crate::stale::Found;
use crate::waiter::Waiter;
use crate::{Cache, CacheError, CacheResult, LoadError, Loaded, hash};

type Find<V> = fn(&Cache<V>, &Route, &str, Fetched) -> CacheResult<Found<V>>;

/// The quick way through a loading call: a hit, of a store that answers at once, is all that it
/// handles itself.
#[must_use = "a future does nothing unless awaited"]
pub(crate) struct GetOrLoad<'a, V, F, E> {
    cache: &'a Cache<V>,
    key: &'a str,
    loader: Option<F>,
    /// What [`Table::fills`](crate::slot::Table::fills) gave before the store was asked.
    fills: Option<u64>,
    reading: Reading<'a, V, Find<V>>,
    loading: Option<BoxFuture<'a, Result<V, LoadError<E>>>>,
}

// Nothing in it is ever pinned.
impl<V, F, E> Unpin for GetOrLoad<'_, V, F, E> {}

impl<V: Send + 'static> Cache<V> {
    /// Looks for a value, live or stale.
    pub(crate) fn look<'a>(&'a self, key: &'a str) -> Reading<'a, V, Find<V>> {
        Reading::new(self, key, Self::found)
    }
}

impl<V: 'static> Cache<V> {
    async fn wait_for_load<E>(&self, waiter: Waiter) -> Result<V, LoadError<E>>
    where
        E: Send + Sync + 'static,
    {
        let bytes = waiter.wait(self.0.wait).await?;
        let envelope = Envelope::decode(bytes).map_err(CacheError::from)?;
        Ok(self.decode(envelope)?)
    }
}

impl<'a, V: Send + 'static, F, E> GetOrLoad<'a, V, F, E> {
    #[inline]
    pub(crate) fn new(cache: &'a Cache<V>, key: &'a str, loader: F) -> Self {
        let reading = cache.look(key);
        Self { cache, key, loader: Some(loader), fills: None, reading, loading: None }
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
        if let Some(loading) = &mut this.loading {
            return loading.as_mut().poll(context);
        }
        let (cache, key) = (this.cache, this.key);
        let fills = if let Some(fills) = this.fills {
            fills
        } else {
            let hash = hash::of_key(key);
            if cache.inner().table.is_busy(hash) {
                let route = cache.route()?;
                if let Some(waiter) = cache.inner().join_load(&route, key, cache.0.tag)? {
                    let loading = Box::pin(cache.wait_for_load(waiter));
                    return this.loading.insert(loading).as_mut().poll(context);
                }
            }
            *this.fills.insert(cache.inner().table.fills(hash))
        };
        let found = ready!(Pin::new(&mut this.reading).poll(context));
        if let Ok(Found::Live(value)) = found {
            return Poll::Ready(Ok(value));
        }
        // There is one until here.
        let Some(loader) = this.loader.take() else { return Poll::Pending };
        let loading = Box::pin(cache.load_missing(key, loader, fills, found));
        this.loading.insert(loading).as_mut().poll(context)
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
