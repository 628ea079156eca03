use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Capabilities, Cursor, DeleteManyOutcome, DeleteOptions, Entry, Error, ErrorKind, ExpiresIn,
    Expiry, GetOptions, ListPage, NamespacePage, Result, SetItem, SetOptions, SetOutcome,
    yield_now::YieldNow,
};

/// A key/value store: what a backend implements, and what an application holds as
/// `Arc<dyn Store>`.
///
/// Five methods are required; everything else has a default, either built from those five or
/// answering [`Unsupported`](crate::ErrorKind::Unsupported) where a capability is needed that is
/// not declared. Applications call the shorter methods of [`StoreExt`](crate::StoreExt).
///
/// The names and the split between `Store` and [`NamespacedStore`](crate::NamespacedStore) are
/// those of Litestar's stores; where Litestar's behaviour is vague or lossy, the contract decides.
///
/// # Behavior
/// - Values are any bytes, and empty is not missing (`S1`).
/// - Every operation on one key is linearizable among all handles of one store (`S4`).
/// - Keys are compared byte by byte; 0 to [`Capabilities::max_key_len`] bytes are taken (`K1`, `K2`).
/// - No call blocks the thread that polls it (`S6`).
/// - After [`close`](Self::close) every fallible method gives `Closed` (`S7`).
///
/// # Cancel safety
/// A future of any method may be dropped at any await. What it was doing then has happened wholly,
/// or not at all, or still happens later, once and whole, until `close` returns (`S5`).
///
/// # Errors
/// Besides those named at each method: `Closed`, `InvalidKey`, `Unavailable`, `Timeout` (nothing was
/// done), `Unknown` (a write whose outcome cannot be known), `PermissionDenied`, `Internal`.
///
/// # Examples
/// A whole backend is walked through in the project's `docs/writing-a-backend.md`.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Returns the live value of `key`, or `None` when it is missing or expired (`S2`).
    ///
    /// # Behavior
    /// - [`GetOptions::renew_for`] moves the deadline of a live key that has one to now plus that
    ///   duration, in the same atomic step; it does nothing to a key without expiry, and never
    ///   brings a key back (`E4`). Zero gives the value and removes the key (`E2`).
    /// - [`GetOptions::expires_in`] and [`GetOptions::version`] ask for more about the entry; all
    ///   parts of an [`Entry`] are of one moment.
    ///
    /// # Errors
    /// `Corrupt` when the stored record cannot be decoded (`R4`); `Unsupported` for a renewal
    /// without the capability `renew`, or a version without `conditions`.
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>>;

    /// Stores `value` under `key`, replacing the old value and its expiry together (`S3`).
    ///
    /// # Behavior
    /// - The deadline is made from the exact clock, read once, during the call; it is rounded up,
    ///   never down (`E1`), and saturates at the end of the year 9999 (`E3`).
    /// - An expiry that lies in the past removes the key at once (`E2`); this is `Applied`.
    /// - [`Expiry::Keep`] keeps the deadline of the live value that is replaced (`E5`).
    /// - A condition is decided atomically against every other operation on the key; when it does
    ///   not hold, nothing changes and the outcome says so (`C1`).
    ///
    /// # Errors
    /// `TooLarge`; `StorageFull`, which leaves the old value (`X1`); `Unsupported` for a condition
    /// without the capability `conditions`.
    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome>;

    /// Deletes `key` and tells whether it was live and the condition held (`S2`).
    ///
    /// # Behavior
    /// - A missing or expired key gives false.
    /// - A record that cannot be decoded is deleted and counts as live (`R4`).
    ///
    /// # Errors
    /// `Unsupported` for a condition without the capability `conditions`.
    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool>;

    /// Deletes every key of this namespace and of all its descendants, and nothing else (`N2`).
    ///
    /// # Behavior
    /// - Concurrent sets do not fail: each key ends wholly there or wholly gone, and whatever was
    ///   there throughout is gone (`N4`).
    /// - Data that Larder did not write, beside or among its own, is left alone.
    async fn delete_all(&self) -> Result<()>;

    /// What this store can do, as it is configured.
    fn capabilities(&self) -> Capabilities;

    /// Tells whether `key` is live.
    async fn exists(&self, key: &str) -> Result<bool> {
        self.capabilities().admit("exists", key, |_| Ok(()))?;
        Ok(self.get_opts(key, GetOptions::default()).await?.is_some())
    }

    /// Returns how long `key` still lives.
    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        self.capabilities().admit("expires_in", key, |_| Ok(()))?;
        let entry = self.get_opts(key, GetOptions::default().with_expires_in(true)).await?;
        Ok(match entry {
            None => ExpiresIn::Missing,
            Some(entry) => entry.expires_in.unwrap_or(ExpiresIn::Never),
        })
    }

    /// Returns the live values of `keys`, in their order, duplicates included (`S8`).
    ///
    /// # Errors
    /// The outer result fails before anything is read: `Closed`, `InvalidKey`. The inner ones tell
    /// what became of each key.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let capabilities = self.capabilities();
        let checked = keys.iter().try_for_each(|key| capabilities.check_key(key));
        checked.map_err(|error| capabilities.refusal("get_many", error))?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let entry = self.get_opts(key, GetOptions::default()).await;
            values.push(entry.map(|entry| entry.map(|entry| entry.value)));
            refuse_closed(&values)?;
            take_turns(values.len()).await;
        }
        Ok(values)
    }

    /// Makes several writes, as if one after the other: of two to one key the last one wins (`S8`).
    ///
    /// The writes are not one transaction.
    ///
    /// # Errors
    /// The outer result fails before anything is written: `Closed`, `InvalidKey`, `TooLarge`,
    /// `Unsupported`. The inner ones tell what became of each write, in the order given.
    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let capabilities = self.capabilities();
        let checked = items.iter().try_for_each(|item| {
            capabilities.check_key(item.key)?;
            let checked = capabilities.check_set(item.value.len(), &item.options);
            checked.map_err(|error| error.with_key(item.key))
        });
        checked.map_err(|error| capabilities.refusal("set_many", error))?;
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(self.set_opts(item.key, item.value, item.options).await);
            refuse_closed(&outcomes)?;
            take_turns(outcomes.len()).await;
        }
        Ok(outcomes)
    }

    /// Deletes several keys and tells how many existed; a key named twice counts once (`S8`).
    ///
    /// # Errors
    /// The outer result fails before anything is deleted: `Closed`, `InvalidKey`. The inner ones
    /// tell what became of each key, in the order given.
    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let capabilities = self.capabilities();
        let checked = keys.iter().try_for_each(|key| capabilities.check_key(key));
        checked.map_err(|error| capabilities.refusal("delete_many", error))?;
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            outcomes.push(self.delete_opts(key, DeleteOptions::default()).await);
            refuse_closed(&outcomes)?;
            take_turns(outcomes.len()).await;
        }
        Ok(outcomes.into_iter().collect())
    }

    /// Changes the expiry of a live key and tells whether it is live (`E5`).
    ///
    /// # Behavior
    /// - [`Expiry::Keep`] changes nothing; a moment in the past removes the key and gives true.
    /// - The change may survive less than a set does: a process crash, whatever is declared.
    ///
    /// # Errors
    /// `Unsupported` without the capability `renew`.
    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let _ = (key, expiry);
        Err(Error::unsupported("renew").with_operation("update_expiry"))
    }

    /// Returns at most `limit` live keys that begin with `prefix`, without those of child
    /// namespaces, and where to go on (`C3`).
    ///
    /// # Behavior
    /// - From the first page (`cursor` is `None`) to the one without a next cursor, every key that
    ///   is there throughout is given at least once, whatever is inserted or deleted meanwhile.
    /// - A page may be empty and not be the last.
    /// - Pages come in byte order only where `ordered_list` is declared.
    ///
    /// # Errors
    /// `InvalidCursor` for one of another store, namespace or prefix; `InvalidConfig` for a limit of
    /// zero; `Unsupported` without the capability `list`.
    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let _ = (prefix, cursor, limit);
        Err(Error::unsupported("list").with_operation("list_page"))
    }

    /// Returns the names of at most `limit` direct child namespaces that hold a live key at any
    /// depth, and where to go on (`C4`).
    ///
    /// # Errors
    /// As [`list_page`](Self::list_page).
    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let _ = (cursor, limit);
        let none =
            Error::new(ErrorKind::Unsupported, "a store without namespaces has none to list");
        Err(none.with_operation("list_child_namespaces"))
    }

    /// Deletes the keys that begin with `prefix`, without those of child namespaces, and tells how
    /// many were live (`N2`).
    ///
    /// # Errors
    /// `Unsupported` without the capability `list`.
    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let _ = prefix;
        Err(Error::unsupported("list").with_operation("delete_prefix"))
    }

    /// Removes the expired records of this namespace and of all its descendants, and tells how many
    /// this call removed: 0 where expiry is native (`E6`).
    ///
    /// # Behavior
    /// - It removes only the very record that it found expired, never one written meanwhile.
    /// - Foreign and corrupt entries are passed over.
    ///
    /// # Errors
    /// `Unsupported` without the capability `purge`.
    async fn delete_expired(&self) -> Result<u64> {
        Err(Error::unsupported("purge").with_operation("delete_expired"))
    }

    /// Makes everything acknowledged so far as durable as the store can make it.
    ///
    /// The default is for a store that has nothing to add to an acknowledged write: it only sees
    /// that the store answers.
    async fn flush(&self) -> Result<()> {
        self.ping().await
    }

    /// Tells whether the store answers; the default looks for a key.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `Closed`.
    async fn ping(&self) -> Result<()> {
        match self.exists("").await {
            // It answers, whatever it says about that key.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Closes the store (on the root handle), or the handles of one namespaced child (`S7`).
    ///
    /// # Behavior
    /// - It waits for calls in progress, flushes what was acknowledged, and frees what the store
    ///   holds; a client that the caller handed in stays open.
    /// - A second call does nothing and gives `Ok`.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Ends a bulk call whose first key found the store closed: nothing was touched.
fn refuse_closed<T>(outcomes: &[Result<T>]) -> Result<()> {
    match outcomes {
        [Err(error)] if error.kind() == ErrorKind::Closed => Err(error.clone()),
        _ => Ok(()),
    }
}

/// Lets other tasks run now and then during a bulk call on a store whose calls never wait (`S6`).
pub(crate) async fn take_turns(done: usize) {
    if done.is_multiple_of(32) {
        YieldNow::default().await;
    }
}
