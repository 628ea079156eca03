//! The loading calls of a typed cache (§2).

use std::convert::Infallible;
use std::sync::Arc;

use larder_core::ErrorKind;

use crate::builder::StoreFailure;
use crate::circuit::is_trouble;
use crate::claim::Accept;
use crate::envelope::Envelope;
use crate::error::LoadFailure;
use crate::get_or_load::{GetOrLoad, Infallibly};
use crate::hash;
use crate::load::{Fresh, Load, Miss, Reading};
use crate::route::{Route, RouteRef};
use crate::stale::Found;
use crate::write::Write;
use crate::{Cache, CacheError, CacheResult, LoadError, Loaded};

/// How often a caller looks again whose flight was one for another type, before it loads for itself.
const ATTEMPTS: usize = 8;

impl<V: Send + 'static> Cache<V> {
    /// Gives the value of a key, or stores and gives `value` where there is none.
    ///
    /// A [`Loaded`] says how long it lives.
    ///
    /// # Errors
    /// As [`get_or_try_set_with`](Self::get_or_try_set_with).
    pub async fn get_or_set(&self, key: &str, value: impl Into<Loaded<V>>) -> CacheResult<V> {
        let value = value.into();
        self.get_or_set_with(key, async move |_| value).await
    }

    /// Gives the value of a key, or stores and gives what the future does; where there is a value
    /// already, the future is dropped unpolled.
    ///
    /// # Errors
    /// As [`get_or_try_set_with`](Self::get_or_try_set_with).
    pub async fn get_or_set_future<L>(
        &self,
        key: &str,
        future: impl Future<Output = L> + Send + 'static,
    ) -> CacheResult<V>
    where
        L: Into<Loaded<V>>,
    {
        self.get_or_set_with(key, move |_| future).await
    }

    /// Gives the value of a key, or loads and stores it: once for all who ask at the same time
    /// (`F1`).
    ///
    /// # Errors
    /// As [`get_or_try_set_with`](Self::get_or_try_set_with).
    pub fn get_or_set_with<'a, F, Fut, L>(
        &'a self,
        key: &'a str,
        loader: F,
    ) -> impl Future<Output = CacheResult<V>> + Send + use<'a, V, F, Fut, L>
    where
        F: FnOnce(Arc<str>) -> Fut + Send + 'static,
        Fut: Future<Output = L> + Send + 'static,
        L: Into<Loaded<V>> + 'a,
    {
        let loader = move |key| {
            let future = loader(key);
            async move { Ok::<L, Infallible>(future.await) }
        };
        Infallibly(GetOrLoad::new(self, key, loader))
    }

    /// Gives the value of a key, or loads and stores it, where loading may fail.
    ///
    /// # Behavior
    /// - All who ask for one missing key while it is being loaded get the outcome of one load
    ///   (`F1`). It runs in a task of its own: whoever goes away harms nobody. One for another type
    ///   is waited for, too; a caller who comes upon those again and again loads unshared in the end,
    ///   and unstored.
    /// - A load that is overtaken by a set, a deletion or a clearing is not stored (`F2`): after a
    ///   set everybody gets the new value at once, after a removal those who wait get what was
    ///   loaded, and later callers load anew.
    /// - An error goes to everybody who waits, and is forgotten, unless a
    ///   [`negative_ttl`](crate::CacheBuilder::negative_ttl) is set (`F3`).
    /// - When the store fails, the loader runs all the same, unless
    ///   [`when_store_fails`](crate::CacheBuilder::when_store_fails) says otherwise (`F8`).
    ///
    /// # Errors
    /// `Load` with the loader's error. `TimedOut` after the caller's deadline
    /// ([`wait_at_most`](Self::wait_at_most)) or
    /// [`max_load_time`](crate::CacheBuilder::max_load_time); `Panicked`, `ShutDown`; `Reentrant` for a loader
    /// that asks for its own key; `Abandoned` where the key was pending and was given up.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::{Cache, LoadError, Loaded};
    /// # use larder_memory::MemoryStore;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder_cache::CacheError> {
    /// # let cache = Cache::<u32>::builder(Arc::new(MemoryStore::new())).build().await?;
    /// let answer = cache.get_or_try_set_with("answer", async |_| "42".parse::<u32>()).await;
    /// assert_eq!(answer.unwrap(), 42);
    /// let failed = cache.get_or_try_set_with("other", async |_| "x".parse::<u32>()).await;
    /// assert!(matches!(failed, Err(LoadError::Load(_))));
    /// let short = async |_| Loaded::new(7).ttl(Duration::from_secs(1));
    /// assert_eq!(cache.get_or_set_with("short", short).await?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_or_try_set_with<'a, F, Fut, L, E>(
        &'a self,
        key: &'a str,
        loader: F,
    ) -> impl Future<Output = Result<V, LoadError<E>>> + Send + use<'a, V, F, Fut, L, E>
    where
        F: FnOnce(Arc<str>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'a,
        E: Send + Sync + 'static,
    {
        GetOrLoad::new(self, key, loader)
    }

    /// What follows where the value was not there at the first look, which gave `found`.
    pub(crate) async fn load_missing<F, Fut, L, E>(
        &self,
        key: &str,
        loader: F,
        mut fills: u64,
        mut found: CacheResult<Found<V>>,
    ) -> Result<V, LoadError<E>>
    where
        F: FnOnce(Arc<str>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Send + Sync + 'static,
    {
        let inner = self.inner();
        let mut loader = Some(loader);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let route = self.route()?;
            let mut store = Reading::Answered;
            let stale = match found {
                Ok(Found::Live(value)) => return Ok(value),
                Ok(Found::Stale(value)) => Some(value),
                Ok(Found::Missing(seen)) => {
                    if inner.coordination.is_some() {
                        inner.leave_overtaken(&route, key, seen).await;
                    }
                    None
                }
                Err(CacheError::Store(error))
                    if is_trouble(error.kind())
                        && inner.config.when_store_fails == StoreFailure::LoadDirectly =>
                {
                    let timed_out = error.kind() == ErrorKind::Timeout;
                    store = if timed_out { Reading::TimedOut } else { Reading::Failed };
                    None
                }
                Err(error) => return Err(error.into()),
            };
            let accept = inner.coordination.is_some().then(|| self.acceptance());
            let refresh = stale.is_some();
            let alone = attempts > ATTEMPTS;
            let miss = Miss { fills, store, tag: self.0.tag, refresh, alone, accept };
            let make = |key, look_first| self.make_load(&route, key, loader.take(), look_first);
            let waiter = inner.load(&route, key, miss, make);
            let bytes = match (waiter, stale) {
                (Ok(waiter), None) => waiter.wait(self.0.wait).await?,
                (Ok(waiter), Some(stale)) => {
                    let fresh = self.within_soft_timeout(waiter).await;
                    return Ok(fresh.unwrap_or_else(|| self.serve_stale(stale)));
                }
                // The last refresh failed a short while ago.
                (Err(CacheError::Load(_)), Some(stale)) => return Ok(self.serve_stale(stale)),
                (Err(error), _) => return Err(error.into()),
            };
            match self.loaded(bytes) {
                Ok(value) => return Ok(value),
                // Someone else's flight, for another type: look again, and load with our own.
                Err(error) if loader.is_none() => return Err(error.into()),
                Err(_) => {}
            }
            fills = inner.table.fills(hash::of_key(key));
            found = self.look(key).await;
        }
    }

    /// Tells, without counting it, whether what is stored is a live value of this type.
    fn acceptance(&self) -> Accept {
        let cache = self.clone();
        Arc::new(move |bytes| {
            let envelope = Envelope::decode(bytes.clone());
            envelope.is_ok_and(|envelope| {
                cache.inner().is_live(&envelope.head)
                    && envelope.check_tag(cache.0.tag).is_ok()
                    && cache.0.lens.codec.decode(&envelope.payload).is_ok()
            })
        })
    }

    fn make_load<F, Fut, L, E>(
        &self,
        route: &Arc<Route>,
        key: Arc<str>,
        loader: Option<F>,
        look_first: bool,
    ) -> Load
    where
        F: FnOnce(Arc<str>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Send + Sync + 'static,
    {
        let (cache, route) = (self.clone(), Arc::clone(route));
        Box::pin(async move {
            if look_first
                && let Ok(fetch) = cache.inner().fetch(&RouteRef::Kept(&route), &key)
                && let Ok(Some(bytes)) = fetch.await
                && let Some(envelope) = cache.accept(bytes.clone())
                && cache.decode(envelope).is_ok()
            {
                return Ok(Fresh::Stored(bytes));
            }
            // A flight is made once for each loader; see the loop above.
            let Some(loader) = loader else { return Err(CacheError::Cancelled) };
            let fresh: Loaded<V> = match loader(Arc::clone(&key)).await {
                Ok(fresh) => fresh.into(),
                Err(error) => return Err(CacheError::Load(LoadFailure::of(error))),
            };
            let payload = cache.0.lens.codec.encode(&fresh.value);
            let payload = payload.map_err(|error| error.with_operation("set").with_key(&key))?;
            let write = Write {
                payload,
                tag: cache.0.tag,
                modified: None,
                expiry: fresh.expiry,
                default: cache.default_expiry(),
                jitter: true,
                pin: false,
                weight: None,
            };
            Ok(Fresh::New(write, fresh.store))
        })
    }
}
