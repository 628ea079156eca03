use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_core::Stream;

use crate::{
    BoxFuture, Condition, Cursor, DeleteOptions, Entry, Error, ErrorKind, Expiry, GetOptions,
    IntoValue, ListPage, MessagePack, NamespacePage, Result, SetOptions, SetOutcome, Store, Typed,
    Version, yield_now::YieldNow,
};

/// How often a condition loop tries before it reports `Conflict`.
const MAX_ATTEMPTS: u32 = 1_000;
/// How many keys a stream asks for at a time.
const PAGE: usize = 1_000;

/// What an application calls on a store: short names, builders that are awaited, and loops over
/// conditions.
///
/// Every [`Store`] has it, `dyn Store` included; nobody implements it.
///
/// ```
/// # use larder_core::{Result, Store};
/// use std::time::Duration;
/// use larder_core::StoreExt;
///
/// async fn visit(store: &dyn Store) -> Result<()> {
///     store.set("greeting", "hello").ttl(Duration::from_secs(60)).await?;
///     let value = store.get("greeting").renew_for(Duration::from_secs(60)).await?;
///     assert_eq!(value.as_deref(), Some(&b"hello"[..]));
///     assert!(!store.set("greeting", "hi").if_absent().await?.is_applied());
///     assert!(store.delete("greeting").await?);
///     assert_eq!(store.increment("visits", 1).await?, 1);
///     Ok(())
/// }
/// ```
pub trait StoreExt: Store {
    /// Reads the value of `key`; `None` when it is missing or expired.
    fn get<'a>(&'a self, key: &'a str) -> Get<'a, Self> {
        Get { store: self, key, options: GetOptions::default() }
    }

    /// Reads the value of `key` with its remaining life and, where conditions are declared, its
    /// version.
    ///
    /// # Cancel safety
    /// It changes nothing.
    fn get_entry<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        let version = self.capabilities().conditions;
        let options = GetOptions::default().with_expires_in(true).with_version(version);
        read(self, key, options)
    }

    /// Stores a value, without expiry or condition unless the builder says so.
    fn set<'a>(&'a self, key: &'a str, value: impl IntoValue) -> Set<'a, Self> {
        Set { store: self, key, value: value.into_value(), options: SetOptions::default() }
    }

    /// Deletes `key`, and tells whether it was live.
    fn delete<'a>(&'a self, key: &'a str) -> Delete<'a, Self> {
        Delete { store: self, key, options: DeleteOptions::default() }
    }

    /// Streams the keys that begin with `prefix`, each exactly once (`C3`).
    ///
    /// A key that is deleted and set again while the stream runs still comes once. To tell
    /// repetitions, the keys already given are kept in memory, unless the store lists in order.
    ///
    /// # Errors
    /// The stream ends after its first error; `Unsupported` without the capability `list`.
    fn list<'a>(&'a self, prefix: &'a str) -> List<'a, Self> {
        let seen = Seen::new(self.capabilities().ordered_list);
        List { store: self, prefix, pages: Pages::new(), seen, unlisted: 0 }
    }

    /// Streams the names of the direct child namespaces that hold a live key, each exactly once
    /// (`C4`).
    ///
    /// # Errors
    /// The stream ends after its first error; `Unsupported` without the capability `list`.
    fn namespaces(&self) -> Namespaces<'_, Self> {
        Namespaces { store: self, pages: Pages::new(), seen: Seen::new(false) }
    }

    /// Adds `by` to the number under `key`, and returns the sum; a missing key is 0, and the expiry
    /// is kept.
    ///
    /// The number is an `i64` in decimal ASCII, as Redis keeps counters.
    ///
    /// # Errors
    /// `InvalidValue`, changing nothing, when the value is no such number or the sum overflows;
    /// `Unsupported` without the capability `conditions`; `Conflict` when others win again and
    /// again.
    ///
    /// # Cancel safety
    /// Dropped, it has added once or not at all.
    fn increment(&self, key: &str, by: i64) -> impl Future<Output = Result<i64>> + Send {
        async move {
            let mut sum = 0;
            change(self, "increment", key, |current| {
                let number = current.map_or(Ok(0), parse_counter)?;
                sum = number
                    .checked_add(by)
                    .ok_or_else(|| Error::new(ErrorKind::InvalidValue, "the sum overflows"))?;
                Ok(Some(Bytes::from(sum.to_string())))
            })
            .await?;
            Ok(sum)
        }
    }

    /// Replaces the value of `key` by what `f` makes of it, as one atomic step, and returns the new
    /// value.
    ///
    /// `f` gets the live value or `None`, and gives the new one, or `None` for no value at all; it
    /// is called again whenever another writer came first. The expiry of a live key is kept.
    ///
    /// # Errors
    /// `Unsupported` without the capability `conditions`; `Conflict` when others win again and
    /// again.
    ///
    /// # Cancel safety
    /// Dropped, it has changed the value once or not at all.
    fn update<V, F>(
        &self,
        key: &str,
        mut f: F,
    ) -> impl Future<Output = Result<Option<Bytes>>> + Send
    where
        V: IntoValue,
        F: FnMut(Option<Bytes>) -> Option<V> + Send,
    {
        async move {
            change(
                self,
                "update",
                key,
                |current| Ok(f(current.cloned()).map(IntoValue::into_value)),
            )
            .await
        }
    }

    /// A view that stores values of type `T`, as MessagePack unless
    /// [`with_codec`](Typed::with_codec) says otherwise; no envelope is put around them.
    fn typed<T>(&self) -> Typed<'_, Self, T, MessagePack> {
        Typed::new(self, MessagePack)
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

fn parse_counter(value: &Bytes) -> Result<i64> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new(ErrorKind::InvalidValue, "the value is no decimal i64"))
}

/// The condition loop behind `increment` and `update`.
async fn change<S: Store + ?Sized>(
    store: &S,
    operation: &'static str,
    key: &str,
    mut f: impl FnMut(Option<&Bytes>) -> Result<Option<Bytes>> + Send,
) -> Result<Option<Bytes>> {
    let capabilities = store.capabilities();
    let name = |error: Error| capabilities.refusal(operation, error).with_key(key);
    let versions = GetOptions::default().with_version(true);
    capabilities.admit(operation, key, |declared| declared.check_get(&versions))?;
    for attempt in 0..MAX_ATTEMPTS {
        if attempt > 0 {
            YieldNow::default().await;
        }
        let entry = store.get_opts(key, versions.clone()).await?;
        let new = f(entry.as_ref().map(|entry| &entry.value)).map_err(name)?;
        let condition = match entry {
            None => Condition::Absent,
            Some(Entry { version: Some(version), .. }) => Condition::Matches(version),
            Some(_) => {
                let text = "the store declares conditions and gives no version";
                return Err(name(Error::new(ErrorKind::Internal, text)));
            }
        };
        let applied = match &new {
            Some(value) => {
                let expiry =
                    if condition == Condition::Absent { Expiry::Never } else { Expiry::Keep };
                let options = SetOptions::default().with_expiry(expiry).with_condition(condition);
                capabilities.check_set(value.len(), &options).map_err(name)?;
                store.set_opts(key, value.clone(), options).await?.is_applied()
            }
            None if condition == Condition::Absent => true,
            None => {
                let options = DeleteOptions::default().with_condition(condition);
                store.delete_opts(key, options).await?
            }
        };
        if applied {
            return Ok(new);
        }
    }
    Err(name(Error::new(ErrorKind::Conflict, format!("{MAX_ATTEMPTS} attempts were overtaken"))))
}

/// Reads from a store that declares what the options need.
#[inline]
pub(crate) fn read<'a, S: Store + ?Sized>(
    store: &'a S,
    key: &'a str,
    options: GetOptions,
) -> BoxFuture<'a, Result<Option<Entry>>> {
    match store.capabilities().admit("get", key, |declared| declared.check_get(&options)) {
        Ok(()) => store.get_opts(key, options),
        Err(error) => refused(error),
    }
}

/// A call that does not get to the store.
#[cold]
fn refused<'a, T: Send + 'a>(error: Error) -> BoxFuture<'a, Result<T>> {
    Box::pin(std::future::ready(Err(error)))
}

/// A read that is about to happen: see [`StoreExt::get`].
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct Get<'a, S: ?Sized> {
    store: &'a S,
    key: &'a str,
    options: GetOptions,
}

impl<S: ?Sized> Get<'_, S> {
    /// Renews a live key that has an expiry: it then lives this long from now on (`E4`).
    pub fn renew_for(mut self, duration: Duration) -> Self {
        self.options.renew_for = Some(duration);
        self
    }
}

impl<'a, S: Store + ?Sized> IntoFuture for Get<'a, S> {
    type Output = Result<Option<Bytes>>;
    type IntoFuture = GetFuture<'a>;

    fn into_future(self) -> GetFuture<'a> {
        GetFuture(read(self.store, self.key, self.options))
    }
}

/// The store's own boxed future, of which only the value is given: see [`Get`].
#[must_use = "a future does nothing unless awaited"]
pub struct GetFuture<'a>(BoxFuture<'a, Result<Option<Entry>>>);

impl Future for GetFuture<'_> {
    type Output = Result<Option<Bytes>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let entry = ready!(self.0.as_mut().poll(context));
        Poll::Ready(entry.map(|entry| entry.map(|entry| entry.value)))
    }
}

impl fmt::Debug for GetFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GetFuture")
    }
}

/// A write that is about to happen: see [`StoreExt::set`].
#[must_use = "nothing is written until it is awaited"]
pub struct Set<'a, S: ?Sized> {
    store: &'a S,
    key: &'a str,
    value: Bytes,
    options: SetOptions,
}

impl<S: ?Sized> fmt::Debug for Set<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set")
            .field("key", &self.key)
            .field("value_len", &self.value.len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<S: ?Sized> Set<'_, S> {
    /// The value lives this long; zero removes the key (`E2`).
    pub fn ttl(self, duration: Duration) -> Self {
        self.expiry(duration)
    }

    /// The value lives until `moment`; one in the past removes the key (`E2`).
    pub fn expires_at(self, moment: DateTime<Utc>) -> Self {
        self.expiry(moment)
    }

    /// The value lives as long as the one that it replaces would have (`E5`).
    pub fn keep_ttl(self) -> Self {
        self.expiry(Expiry::Keep)
    }

    /// Sets the expiry; of several, the last one counts.
    pub fn expiry(mut self, expiry: impl Into<Expiry>) -> Self {
        self.options.expiry = expiry.into();
        self
    }

    /// Writes only where there is no live value.
    pub fn if_absent(self) -> Self {
        self.condition(Condition::Absent)
    }

    /// Writes only over a live value.
    pub fn if_present(self) -> Self {
        self.condition(Condition::Present)
    }

    /// Writes only over the value with this version.
    pub fn if_matches(self, version: Version) -> Self {
        self.condition(Condition::Matches(version))
    }

    /// Sets the condition; of several, the last one counts.
    pub fn condition(mut self, condition: Condition) -> Self {
        self.options.condition = condition;
        self
    }
}

impl<'a, S: Store + ?Sized> IntoFuture for Set<'a, S> {
    type Output = Result<SetOutcome>;
    type IntoFuture = BoxFuture<'a, Result<SetOutcome>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { store, key, value, options } = self;
        match store.capabilities().admit("set", key, |it| it.check_set(value.len(), &options)) {
            Ok(()) => store.set_opts(key, value, options),
            Err(error) => refused(error),
        }
    }
}

/// A deletion that is about to happen: see [`StoreExt::delete`].
#[derive(Debug)]
#[must_use = "nothing is deleted until it is awaited"]
pub struct Delete<'a, S: ?Sized> {
    store: &'a S,
    key: &'a str,
    options: DeleteOptions,
}

impl<S: ?Sized> Delete<'_, S> {
    /// Deletes only the value with this version.
    pub fn if_matches(mut self, version: Version) -> Self {
        self.options.condition = Condition::Matches(version);
        self
    }
}

impl<'a, S: Store + ?Sized> IntoFuture for Delete<'a, S> {
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<'a, Result<bool>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { store, key, options } = self;
        match store.capabilities().admit("delete", key, |it| it.check_delete(&options)) {
            Ok(()) => store.delete_opts(key, options),
            Err(error) => refused(error),
        }
    }
}

/// A stream of keys: see [`StoreExt::list`].
#[must_use = "a stream does nothing unless polled"]
pub struct List<'a, S: ?Sized> {
    store: &'a S,
    prefix: &'a str,
    pages: Pages<'a, ListPage>,
    seen: Seen,
    unlisted: u64,
}

impl<S: ?Sized> List<'_, S> {
    /// How many live records the pages so far left out because they do not tell their key; see
    /// [`ListPage::unlisted`].
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }
}

impl<S: ?Sized> fmt::Debug for List<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<S: Store + ?Sized> Stream for List<'_, S> {
    type Item = Result<String>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { store, prefix, pages, seen, unlisted } = self.get_mut();
        pages.poll_next(
            context,
            seen,
            |cursor| list_page(*store, prefix, cursor),
            |page| {
                *unlisted += page.unlisted;
                (page.keys, page.next)
            },
        )
    }
}

/// A stream of child namespaces: see [`StoreExt::namespaces`].
#[must_use = "a stream does nothing unless polled"]
pub struct Namespaces<'a, S: ?Sized> {
    store: &'a S,
    pages: Pages<'a, NamespacePage>,
    seen: Seen,
}

impl<S: ?Sized> fmt::Debug for Namespaces<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespaces").finish_non_exhaustive()
    }
}

impl<S: Store + ?Sized> Stream for Namespaces<'_, S> {
    type Item = Result<String>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { store, pages, seen } = self.get_mut();
        pages.poll_next(
            context,
            seen,
            |cursor| namespace_page(*store, cursor),
            |page| (page.segments, page.next),
        )
    }
}

fn list_page<'a, S: Store + ?Sized>(
    store: &'a S,
    prefix: &'a str,
    cursor: Option<Cursor>,
) -> BoxFuture<'a, Result<ListPage>> {
    Box::pin(async move { store.list_page(prefix, cursor.as_ref(), PAGE).await })
}

fn namespace_page<S: Store + ?Sized>(
    store: &S,
    cursor: Option<Cursor>,
) -> BoxFuture<'_, Result<NamespacePage>> {
    Box::pin(async move { store.list_child_namespaces(cursor.as_ref(), PAGE).await })
}

/// The pages behind a stream: the one being asked for, and what is left of the last one.
struct Pages<'a, P> {
    ready: VecDeque<String>,
    state: PageState<'a, P>,
}

enum PageState<'a, P> {
    Ask(Option<Cursor>),
    Asking(BoxFuture<'a, Result<P>>),
    Done,
}

impl<'a, P> Pages<'a, P> {
    fn new() -> Self {
        Self { ready: VecDeque::new(), state: PageState::Ask(None) }
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        seen: &mut Seen,
        ask: impl Fn(Option<Cursor>) -> BoxFuture<'a, Result<P>>,
        mut split: impl FnMut(P) -> (Vec<String>, Option<Cursor>),
    ) -> Poll<Option<Result<String>>> {
        loop {
            while let Some(name) = self.ready.pop_front() {
                if seen.is_new(&name) {
                    return Poll::Ready(Some(Ok(name)));
                }
            }
            match &mut self.state {
                PageState::Done if seen.forgets() => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                PageState::Done => return Poll::Ready(None),
                PageState::Ask(cursor) => self.state = PageState::Asking(ask(cursor.take())),
                PageState::Asking(page) => match ready!(page.as_mut().poll(context)) {
                    Ok(page) => {
                        let (names, next) = split(page);
                        self.ready = names.into();
                        self.state = match next {
                            None => PageState::Done,
                            Some(next) => PageState::Ask(Some(next)),
                        };
                    }
                    Err(error) => {
                        self.state = PageState::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
            }
        }
    }
}

/// Tells whether a name was given before: by the last one where they come in order, else by all.
enum Seen {
    Ordered(Option<String>),
    // A hash table would have to move all of them now and then, which takes long.
    Any(BTreeSet<String>),
}

impl Seen {
    fn new(ordered: bool) -> Self {
        if ordered { Self::Ordered(None) } else { Self::Any(BTreeSet::new()) }
    }

    fn is_new(&mut self, name: &str) -> bool {
        match self {
            Self::Ordered(last) => {
                let new = last.as_deref().is_none_or(|last| last < name);
                if new {
                    *last = Some(name.to_owned());
                }
                new
            }
            Self::Any(seen) => seen.insert(name.to_owned()),
        }
    }

    /// Frees a page of names, of which all at once would take long (`S6`), and tells whether more
    /// may be left.
    fn forgets(&mut self) -> bool {
        match self {
            Self::Ordered(_) => false,
            Self::Any(seen) => (0..PAGE).all(|_| seen.pop_first().is_some()),
        }
    }
}
