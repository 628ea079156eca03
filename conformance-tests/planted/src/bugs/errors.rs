use std::sync::{Mutex, PoisonError};

use larder_core::{
    Bytes, Capabilities, Condition, Cursor, DeleteOptions, Entry, Error, ErrorKind, Expiry,
    GetOptions, ListPage, Result, SetItem, SetOptions, SetOutcome, Store, async_trait,
};

use crate::shelf::{Record, Twist, everything};
use crate::tamper::{At, Tamper};

fn is_corrupt<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt)
}

#[derive(Debug)]
pub(crate) struct DamagedIsMissing;

#[async_trait]
impl Tamper for DamagedIsMissing {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let entry = at.inner.get_opts(key, options).await;
        if is_corrupt(&entry) { Ok(None) } else { entry }
    }
}

#[derive(Debug)]
pub(crate) struct DamagedDoesNotExist;

#[async_trait]
impl Tamper for DamagedDoesNotExist {
    async fn exists(&self, at: &At, key: &str) -> Result<bool> {
        let found = at.inner.exists(key).await;
        if is_corrupt(&found) { Ok(false) } else { found }
    }
}

/// Indexes where it should look.
#[derive(Debug)]
pub(crate) struct PanicsOnDamage;

impl Twist for PanicsOnDamage {
    #[allow(clippy::panic, reason = "this is the bug")]
    fn decode(&self, bytes: &Bytes) -> Result<Record> {
        Ok(Record::decode(bytes).unwrap_or_else(|_| panic!("index out of bounds")))
    }
}

#[derive(Debug)]
pub(crate) struct DamagedNamesNoKey;

#[async_trait]
impl Tamper for DamagedNamesNoKey {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let entry = at.inner.get_opts(key, options).await;
        if is_corrupt(&entry) {
            let error = Error::new(ErrorKind::Corrupt, "the record is damaged");
            return Err(error.with_operation("get").with_backend("shelf"));
        }
        entry
    }
}

/// What cannot be read is neither deleted.
#[derive(Debug)]
pub(crate) struct DamagedCannotBeDeleted;

#[async_trait]
impl Tamper for DamagedCannotBeDeleted {
    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        at.inner.get_opts(key, GetOptions::default()).await?;
        at.inner.delete_opts(key, options).await
    }
}

/// The old record is read for each set.
#[derive(Debug)]
pub(crate) struct DamagedCannotBeReplaced;

#[async_trait]
impl Tamper for DamagedCannotBeReplaced {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        at.inner.expires_in(key).await?;
        at.inner.set_opts(key, value, options).await
    }
}

#[derive(Debug)]
pub(crate) struct DamageStopsThePurge;

impl Twist for DamageStopsThePurge {
    fn unreadable(&self, error: Error) -> Result<()> {
        Err(error)
    }
}

/// The server was not there for the answer, and what it did stands.
#[derive(Debug, Default)]
pub(crate) struct TimeoutThoughWritten(Mutex<Option<(String, Bytes)>>);

impl TimeoutThoughWritten {
    fn sent(&self) -> std::sync::MutexGuard<'_, Option<(String, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Tamper for TimeoutThoughWritten {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let sent = self.sent().clone();
        if let Some((key, value)) = sent
            && at.inner.set_opts(&key, value, SetOptions::default()).await.is_ok()
        {
            *self.sent() = None;
        }
        at.inner.get_opts(key, options).await
    }

    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let outcome = at.inner.set_opts(key, value.clone(), options).await;
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
            *self.sent() = Some((key.to_owned(), value));
            let error = Error::new(ErrorKind::Timeout, "no answer within the time allowed");
            return Err(error.with_operation("set").with_key(key).with_backend("shelf"));
        }
        outcome
    }
}

/// A server that cannot be reached has nothing.
#[derive(Debug)]
pub(crate) struct UnreachableIsMissing;

#[async_trait]
impl Tamper for UnreachableIsMissing {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        match at.inner.get_opts(key, options).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(None),
            other => other,
        }
    }
}

/// `ping` answers from memory.
#[derive(Debug)]
pub(crate) struct PingAsksNobody;

#[async_trait]
impl Tamper for PingAsksNobody {
    async fn ping(&self, at: &At) -> Result<()> {
        match at.inner.ping().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(()),
            other => other,
        }
    }
}

/// The address is shown as it was given.
#[derive(Debug)]
pub(crate) struct ShowsThePassword;

impl Twist for ShowsThePassword {
    fn address(&self, url: &str) -> String {
        url.to_owned()
    }
}

/// The name is hidden, and what follows it is not.
#[derive(Debug)]
pub(crate) struct ErrorsShowThePassword;

#[async_trait]
impl Tamper for ErrorsShowThePassword {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        at.inner.get_opts(key, options).await.map_err(|error| match error.kind() {
            ErrorKind::Unavailable => {
                let cause = std::io::Error::other("cannot connect to :swordfish-42@localhost");
                error.with_source(cause)
            }
            _ => error,
        })
    }
}

/// The key is put into the message as it is.
#[derive(Debug)]
pub(crate) struct ErrorsShowKeysRaw;

#[async_trait]
impl Tamper for ErrorsShowKeysRaw {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        at.inner.set_opts(key, value, options).await.map_err(|error| {
            if error.kind() != ErrorKind::InvalidKey {
                return error;
            }
            let start: String = key.chars().take(20).collect();
            let error = Error::new(ErrorKind::InvalidKey, format!("{start}… is too long"));
            error.with_operation("set").with_backend("shelf").with_key(key)
        })
    }
}

#[derive(Debug)]
pub(crate) struct ErrorsSayNothing;

#[async_trait]
impl Tamper for ErrorsSayNothing {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        at.inner.get_opts(key, options).await.map_err(|error| Error::from(error.kind()))
    }
}

/// A store without conditions, honest.
#[derive(Debug)]
pub(crate) struct NoConditions;

impl Twist for NoConditions {
    fn capabilities(&self) -> Capabilities {
        everything().with_conditions(false)
    }
}

/// A condition that the store does not know is left out.
#[derive(Debug)]
pub(crate) struct IgnoresConditions;

#[async_trait]
impl Tamper for IgnoresConditions {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        at.inner.set_opts(key, value, options.with_condition(Condition::Any)).await
    }
}

/// Of a batch, those without a condition are written.
#[derive(Debug)]
pub(crate) struct BatchesRefuseLate;

#[async_trait]
impl Tamper for BatchesRefuseLate {
    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
        at.inner.get_many(&keys).await?;
        let mut outcomes = Vec::new();
        for item in items {
            outcomes.push(Ok(at.inner.set_opts(item.key, item.value, item.options).await?));
        }
        Ok(outcomes)
    }
}

/// A store without renewal, honest.
#[derive(Debug)]
pub(crate) struct NoRenewal;

impl Twist for NoRenewal {
    fn capabilities(&self) -> Capabilities {
        everything().with_renew(false)
    }
}

/// A get with a renewal is a get.
#[derive(Debug)]
pub(crate) struct IgnoresRenewals;

#[async_trait]
impl Tamper for IgnoresRenewals {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let mut plain = options;
        plain.renew_for = None;
        at.inner.get_opts(key, plain).await
    }
}

/// Whether a call failed for want of a server.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Unknown)
}

#[derive(Debug)]
pub(crate) struct UnreachableIsEmpty;

#[async_trait]
impl Tamper for UnreachableIsEmpty {
    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        match at.inner.list_page(prefix, cursor, limit).await {
            Err(error) if is_lost(&error) => Ok(ListPage::new(Vec::new(), None)),
            page => page,
        }
    }
}

#[derive(Debug)]
pub(crate) struct UnreachableIsCleared;

#[async_trait]
impl Tamper for UnreachableIsCleared {
    async fn delete_all(&self, at: &At) -> Result<()> {
        match at.inner.delete_all().await {
            Err(error) if is_lost(&error) => Ok(()),
            cleared => cleared,
        }
    }
}

#[derive(Debug)]
pub(crate) struct DamagedIsReplacedIfAbsent;

#[async_trait]
impl Tamper for DamagedIsReplacedIfAbsent {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        mut options: SetOptions,
    ) -> Result<SetOutcome> {
        if options.condition == Condition::Absent {
            let found = at.inner.get_opts(key, GetOptions::default()).await;
            if found.is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
                options.condition = Condition::Any;
            }
        }
        at.inner.set_opts(key, value, options).await
    }
}

#[derive(Debug)]
pub(crate) struct DamagedIsMissingForRenewal;

#[async_trait]
impl Tamper for DamagedIsMissingForRenewal {
    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        match at.inner.update_expiry(key, expiry).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            live => live,
        }
    }
}

#[derive(Debug)]
pub(crate) struct BatchesSwallowAFullDisk;

#[async_trait]
impl Tamper for BatchesSwallowAFullDisk {
    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let outcomes = at.inner.set_many(items).await?.into_iter();
        let swallowed = |outcome: Result<SetOutcome>| match outcome {
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(SetOutcome::Applied),
            outcome => outcome,
        };
        Ok(outcomes.map(swallowed).collect())
    }
}

/// The error is made where the key is no longer known.
#[derive(Debug)]
pub(crate) struct DeletionErrorsNameNoKey;

#[async_trait]
impl Tamper for DeletionErrorsNameNoKey {
    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        at.inner.delete_opts(key, options).await.map_err(|error| {
            Error::new(error.kind(), "refused").with_operation("delete").with_backend("planted")
        })
    }
}
