//! Remembering what an async function gave for its arguments.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::{Cache, CacheResult, LoadError, Loaded};

/// An async function whose results are cached: see [`Cache::memoise`].
pub struct Memo<V, A, K, F> {
    cache: Cache<V>,
    key: K,
    function: Arc<F>,
    arguments: PhantomData<fn(A)>,
}

/// One call of a [`Memo`], with settings of its own.
#[must_use = "nothing is called until `run` or `try_run` is awaited"]
pub struct MemoCall<'a, V, A, K, F> {
    memo: &'a Memo<V, A, K, F>,
    arguments: A,
    key: Option<String>,
    bypass: bool,
}

/// Fills a template from the text forms of arguments: `{0}`, `{1}`, … stand for them, `{{` and `}}` for
/// braces.
///
/// Anything else between braces stays as it is, so that a mistake shows in the key.
///
/// ```
/// use larder_cache::key_template;
/// assert_eq!(key_template("user:{0}:{1}", &[&7, &"orders"]), "user:7:orders");
/// assert_eq!(key_template("{{0}} {2}", &[&7]), "{0} {2}");
/// ```
#[must_use]
pub fn key_template(template: &str, arguments: &[&dyn fmt::Display]) -> String {
    let mut key = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        key.push_str(&rest[..at]);
        rest = &rest[at..];
        let doubled = rest.starts_with("{{") || rest.starts_with("}}");
        if doubled {
            key.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let named = rest.find('}').and_then(|end| {
            let argument = arguments.get(rest.get(1..end)?.parse::<usize>().ok()?)?;
            Some((argument, end))
        });
        match named {
            Some((argument, end)) if rest.starts_with('{') => {
                key.push_str(&argument.to_string());
                rest = &rest[end + 1..];
            }
            _ => {
                key.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    key.push_str(rest);
    key
}

impl<V: Send + 'static> Cache<V> {
    /// Remembers what an async function gives, under a key made from its argument (a tuple, where it
    /// has several).
    ///
    /// The key is what `key` makes of the argument; [`key_template`] helps. Two functions over one
    /// cache need keys, or scopes, that differ.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::{Cache, key_template};
    /// # use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder_cache::CacheError> {
    /// # let cache = Cache::<u64>::builder(Arc::new(MemoryStore::new())).build().await?;
    /// let sum = cache.memoise(
    ///     |(a, b): &(u64, u64)| key_template("sum:{0}:{1}", &[a, b]),
    ///     async |(a, b): (u64, u64)| a + b,
    /// );
    /// assert_eq!(sum.call((2, 3)).run().await?, 5);
    /// assert_eq!(cache.get_value("sum:2:3").await?, Some(5));
    /// assert_eq!(sum.call((2, 4)).bypass(true).run().await?, 6); // not looked up, not stored
    /// assert_eq!(sum.call((2, 4)).key("other").run().await?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn memoise<A, K, F>(&self, key: K, function: F) -> Memo<V, A, K, F>
    where
        K: Fn(&A) -> String,
    {
        Memo { cache: self.clone(), key, function: Arc::new(function), arguments: PhantomData }
    }
}

impl<V: Send + 'static> Cache<V> {
    /// As [`memoise`](Self::memoise), under `name` and the argument in its `Debug` form.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::Cache;
    /// # use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder_cache::CacheError> {
    /// # let cache = Cache::<u64>::builder(Arc::new(MemoryStore::new())).build().await?;
    /// let double = cache.memoise_as("double", async |n: u64| n * 2);
    /// assert_eq!(double.call(4).run().await?, 8);
    /// assert_eq!(double.key_for(&4), "double:4");
    /// # Ok(())
    /// # }
    /// ```
    pub fn memoise_as<A: fmt::Debug, F>(
        &self,
        name: &str,
        function: F,
    ) -> Memo<V, A, impl Fn(&A) -> String + use<V, A, F>, F> {
        let name = name.to_owned();
        self.memoise(move |arguments: &A| format!("{name}:{arguments:?}"), function)
    }
}

impl<V, A, K: Fn(&A) -> String, F> Memo<V, A, K, F> {
    /// A call with these arguments, to be awaited with `run` or `try_run`.
    pub fn call(&self, arguments: A) -> MemoCall<'_, V, A, K, F> {
        MemoCall { memo: self, arguments, key: None, bypass: false }
    }

    /// The key for these arguments, as for deleting what is remembered.
    pub fn key_for(&self, arguments: &A) -> String {
        (self.key)(arguments)
    }
}

impl<V, A, K, F> MemoCall<'_, V, A, K, F>
where
    V: Send + 'static,
    A: Send + 'static,
    K: Fn(&A) -> String,
    F: Send + Sync + 'static,
{
    /// Remembers this call under another key.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Calls the function whatever is remembered, and remembers nothing.
    pub fn bypass(mut self, bypass: bool) -> Self {
        self.bypass = bypass;
        self
    }

    /// Gives what is remembered, or calls the function.
    ///
    /// # Errors
    /// As [`Cache::get_or_set_with`].
    pub async fn run<Fut, L>(self) -> CacheResult<V>
    where
        F: Fn(A) -> Fut,
        Fut: Future<Output = L> + Send + 'static,
        L: Into<Loaded<V>>,
    {
        let Self { memo, arguments, key, bypass } = self;
        if bypass {
            return Ok((memo.function)(arguments).await.into().value);
        }
        let key = key.unwrap_or_else(|| (memo.key)(&arguments));
        let function = Arc::clone(&memo.function);
        memo.cache.get_or_set_with(&key, move |_| function(arguments)).await
    }

    /// Gives what is remembered, or calls the function, which may fail.
    ///
    /// # Errors
    /// As [`Cache::get_or_try_set_with`].
    pub async fn try_run<Fut, L, E>(self) -> Result<V, LoadError<E>>
    where
        F: Fn(A) -> Fut,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Send + Sync + 'static,
    {
        let Self { memo, arguments, key, bypass } = self;
        if bypass {
            let outcome = (memo.function)(arguments).await;
            return outcome
                .map(|loaded| loaded.into().value)
                .map_err(|error| LoadError::Load(Arc::new(error)));
        }
        let key = key.unwrap_or_else(|| (memo.key)(&arguments));
        let function = Arc::clone(&memo.function);
        memo.cache.get_or_try_set_with(&key, move |_| function(arguments)).await
    }
}

impl<V, A, K, F> fmt::Debug for Memo<V, A, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl<V, A, K, F> fmt::Debug for MemoCall<'_, V, A, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoCall").field("key", &self.key).finish_non_exhaustive()
    }
}
