use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::ext::read;
use crate::{
    BoxFuture, Codec, Error, Expiry, GetOptions, Result, Set, SetOutcome, Store, StoreExt, Version,
};

/// A view of a store whose values are of type `T`: see [`StoreExt::typed`].
///
/// ```
/// # use larder_core::{Raw, Result, Store};
/// use larder_core::StoreExt;
/// # async fn example(store: &dyn Store) -> Result<()> {
/// let scores = store.typed::<Vec<u32>>();
/// scores.set("anna", &vec![1, 2, 3]).await?;
/// assert_eq!(scores.get("anna").await?, Some(vec![1, 2, 3]));
///
/// let names = store.typed::<String>().with_codec(Raw);
/// names.set("anna:name", &"Anna".to_owned()).await?;
/// # Ok(())
/// # }
/// ```
pub struct Typed<'a, S: ?Sized, T, C> {
    store: &'a S,
    codec: C,
    types: PhantomData<fn(T) -> T>,
}

impl<'a, S: Store + ?Sized, T, C> Typed<'a, S, T, C> {
    pub(crate) fn new(store: &'a S, codec: C) -> Self {
        Self { store, codec, types: PhantomData }
    }

    /// The same view through another codec.
    #[must_use]
    pub fn with_codec<D: Codec<T>>(self, codec: D) -> Typed<'a, S, T, D> {
        Typed::new(self.store, codec)
    }
}

impl<'a, S: Store + ?Sized, T, C: Codec<T>> Typed<'a, S, T, C> {
    /// Reads and decodes a value.
    ///
    /// # Errors
    /// `Corrupt` when the stored bytes are no `T`.
    pub async fn get(&self, key: &str) -> Result<Option<T>> {
        self.decode(key, GetOptions::default()).await
    }

    /// As [`get`](Self::get), renewing a key that has an expiry (`E4`).
    ///
    /// # Errors
    /// As [`get`](Self::get); `Unsupported` without the capability `renew`.
    pub async fn get_renewed(&self, key: &str, renew_for: Duration) -> Result<Option<T>> {
        self.decode(key, GetOptions::default().with_renew_for(renew_for)).await
    }

    async fn decode(&self, key: &str, options: GetOptions) -> Result<Option<T>> {
        let Some(entry) = read(self.store, key, options).await? else {
            return Ok(None);
        };
        let value = self.codec.decode(&entry.value);
        value.map(Some).map_err(|error| self.refusal("get", key, error))
    }

    /// Encodes and stores a value; the builder takes expiry and condition.
    ///
    /// # Errors
    /// On await, `InvalidValue` when the value cannot be encoded.
    pub fn set(&self, key: &'a str, value: &T) -> TypedSet<'a, S> {
        let set = self.codec.encode(value).map(|bytes| self.store.set(key, bytes));
        TypedSet(set.map_err(|error| self.refusal("set", key, error)))
    }

    #[cold]
    fn refusal(&self, operation: &'static str, key: &str, error: Error) -> Error {
        self.store.capabilities().refusal(operation, error).with_key(key)
    }
}

impl<S: ?Sized, T, C: fmt::Debug> fmt::Debug for Typed<'_, S, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// A write of a typed value that is about to happen: see [`Typed::set`].
#[derive(Debug)]
#[must_use = "nothing is written until it is awaited"]
pub struct TypedSet<'a, S: ?Sized>(Result<Set<'a, S>>);

impl<S: ?Sized> TypedSet<'_, S> {
    /// The value lives this long; see [`Set::ttl`].
    pub fn ttl(self, duration: Duration) -> Self {
        self.expiry(duration)
    }

    /// Sets the expiry; see [`Set::expiry`].
    pub fn expiry(self, expiry: impl Into<Expiry>) -> Self {
        Self(self.0.map(|set| set.expiry(expiry)))
    }

    /// Writes only where there is no live value.
    pub fn if_absent(self) -> Self {
        Self(self.0.map(Set::if_absent))
    }

    /// Writes only over a live value.
    pub fn if_present(self) -> Self {
        Self(self.0.map(Set::if_present))
    }

    /// Writes only over the value with this version.
    pub fn if_matches(self, version: Version) -> Self {
        Self(self.0.map(|set| set.if_matches(version)))
    }
}

impl<'a, S: Store + ?Sized> IntoFuture for TypedSet<'a, S> {
    type Output = Result<SetOutcome>;
    type IntoFuture = TypedSetFuture<'a>;

    fn into_future(self) -> TypedSetFuture<'a> {
        TypedSetFuture(match self.0 {
            Ok(set) => Ok(set.into_future()),
            Err(error) => Err(Some(error)),
        })
    }
}

/// The store's own boxed future, or the error of the codec: see [`TypedSet`].
#[must_use = "a future does nothing unless awaited"]
pub struct TypedSetFuture<'a>(Result<BoxFuture<'a, Result<SetOutcome>>, Option<Error>>);

impl Future for TypedSetFuture<'_> {
    type Output = Result<SetOutcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(future) => future.as_mut().poll(context),
            Err(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }
}

impl fmt::Debug for TypedSetFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedSetFuture")
    }
}
