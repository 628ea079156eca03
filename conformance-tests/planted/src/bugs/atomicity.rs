use std::time::Duration;

use larder_core::{
    Bytes, Condition, Deadline, DeleteOptions, Entry, ExpiresIn, Expiry, GetOptions, Resolved,
    Result, SetOptions, SetOutcome, Store, Version, async_trait,
};
use tokio::task::yield_now;

use crate::shelf::{Record, Twist};
use crate::tamper::{At, Tamper};

fn plain(options: SetOptions) -> SetOptions {
    options.with_condition(Condition::Any)
}

async fn holds(at: &At, key: &str, condition: &Condition) -> Result<bool> {
    let options = GetOptions::default().with_version(true);
    let entry = at.inner.get_opts(key, options).await?;
    Ok(match condition {
        Condition::Absent => entry.is_none(),
        Condition::Present => entry.is_some(),
        Condition::Matches(version) => {
            entry.and_then(|entry| entry.version).is_some_and(|found| found == *version)
        }
        _ => true,
    })
}

/// Looks, and then sets.
#[derive(Debug)]
pub(crate) struct LooksThenCreates;

#[async_trait]
impl Tamper for LooksThenCreates {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if options.condition != Condition::Absent {
            return at.inner.set_opts(key, value, options).await;
        }
        if at.inner.exists(key).await? {
            return Ok(SetOutcome::ConditionNotMet);
        }
        yield_now().await;
        at.inner.set_opts(key, value, plain(options)).await
    }
}

/// Compares, and then sets: the lock is released before the write.
#[derive(Debug)]
pub(crate) struct ComparesThenSets;

#[async_trait]
impl Tamper for ComparesThenSets {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if !matches!(options.condition, Condition::Matches(_)) {
            return at.inner.set_opts(key, value, options).await;
        }
        if !holds(at, key, &options.condition).await? {
            return Ok(SetOutcome::ConditionNotMet);
        }
        yield_now().await;
        at.inner.set_opts(key, value, plain(options)).await
    }
}

/// A lock that conditional sets take, and plain ones do not.
#[derive(Debug, Default)]
pub(crate) struct PlainSetsTakeNoLock(tokio::sync::Mutex<()>);

#[async_trait]
impl Tamper for PlainSetsTakeNoLock {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if options.condition == Condition::Any {
            return at.inner.set_opts(key, value, options).await;
        }
        let _held = self.0.lock().await;
        if !holds(at, key, &options.condition).await? {
            return Ok(SetOutcome::ConditionNotMet);
        }
        yield_now().await;
        at.inner.set_opts(key, value, plain(options)).await
    }
}

/// A lock of the process, where others share the data.
#[derive(Debug, Default)]
pub(crate) struct LocksWithinTheProcess(tokio::sync::Mutex<()>);

#[async_trait]
impl Tamper for LocksWithinTheProcess {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let _held = self.0.lock().await;
        if options.condition == Condition::Any {
            return at.inner.set_opts(key, value, options).await;
        }
        if !holds(at, key, &options.condition).await? {
            return Ok(SetOutcome::ConditionNotMet);
        }
        yield_now().await;
        at.inner.set_opts(key, value, plain(options)).await
    }

    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        let _held = self.0.lock().await;
        at.inner.delete_opts(key, options).await
    }
}

#[derive(Debug)]
pub(crate) struct ComparesThenDeletes;

#[async_trait]
impl Tamper for ComparesThenDeletes {
    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        if !matches!(options.condition, Condition::Matches(_)) {
            return at.inner.delete_opts(key, options).await;
        }
        if !holds(at, key, &options.condition).await? {
            return Ok(false);
        }
        yield_now().await;
        at.inner.delete_opts(key, DeleteOptions::default()).await
    }
}

/// Looks, and then deletes, and tells what it saw.
#[derive(Debug)]
pub(crate) struct LooksThenDeletes;

#[async_trait]
impl Tamper for LooksThenDeletes {
    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        if options.condition != Condition::Any || !at.inner.exists(key).await? {
            return at.inner.delete_opts(key, options).await;
        }
        yield_now().await;
        at.inner.delete_opts(key, options).await?;
        Ok(true)
    }
}

fn replaces(options: &SetOptions) -> bool {
    options.condition == Condition::Any && options.expiry != Expiry::Keep
}

/// An overwrite is a deletion and a set.
#[derive(Debug)]
pub(crate) struct DeletesThenSets;

#[async_trait]
impl Tamper for DeletesThenSets {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if replaces(&options) && at.inner.delete_opts(key, DeleteOptions::default()).await? {
            yield_now().await;
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// A large value is written in two parts.
#[derive(Debug)]
pub(crate) struct WritesInHalves;

#[async_trait]
impl Tamper for WritesInHalves {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if replaces(&options) && value.len() > 4_096 {
            let half = value.slice(..value.len() / 2);
            at.inner.set_opts(key, half, options.clone()).await?;
            yield_now().await;
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// The new value is there before its expiry is.
#[derive(Debug)]
pub(crate) struct ValueThenExpiry;

#[async_trait]
impl Tamper for ValueThenExpiry {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if !replaces(&options) {
            return at.inner.set_opts(key, value, options).await;
        }
        let first = SetOptions::default().with_expiry(Expiry::Keep);
        at.inner.set_opts(key, value, first).await?;
        yield_now().await;
        at.inner.update_expiry(key, options.expiry).await?;
        Ok(SetOutcome::Applied)
    }
}

/// A renewal reads the value and writes it back with another expiry.
#[derive(Debug)]
pub(crate) struct RenewalWritesBack;

#[async_trait]
impl Tamper for RenewalWritesBack {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let Some(life) = options.renew_for.filter(|life| !life.is_zero()) else {
            return at.inner.get_opts(key, options).await;
        };
        let mut asked = options;
        asked.renew_for = None;
        let entry = at.inner.get_opts(key, asked.with_expires_in(true)).await?;
        let Some(mut entry) = entry else {
            return Ok(None);
        };
        if matches!(entry.expires_in, Some(ExpiresIn::In(_))) {
            yield_now().await;
            let renewed =
                SetOptions::default().with_expiry(life).with_condition(Condition::Present);
            at.inner.set_opts(key, entry.value.clone(), renewed).await?;
            entry.expires_in = Some(at.inner.expires_in(key).await?);
        }
        Ok(Some(entry))
    }
}

/// An update of the expiry reads the value and writes it back, missing or not.
#[derive(Debug)]
pub(crate) struct UpdateWritesBack;

#[async_trait]
impl Tamper for UpdateWritesBack {
    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        let Some(entry) = at.inner.get_opts(key, GetOptions::default()).await? else {
            return Ok(false);
        };
        yield_now().await;
        let options = SetOptions::default().with_expiry(expiry);
        at.inner.set_opts(key, entry.value, options).await?;
        Ok(true)
    }
}

/// The remaining life to keep is read before the write.
#[derive(Debug)]
pub(crate) struct KeepsAnEarlierExpiry;

#[async_trait]
impl Tamper for KeepsAnEarlierExpiry {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        mut options: SetOptions,
    ) -> Result<SetOutcome> {
        if options.expiry == Expiry::Keep {
            options.expiry = match at.inner.expires_in(key).await? {
                ExpiresIn::In(left) => Expiry::After(left),
                ExpiresIn::Missing | ExpiresIn::Never => Expiry::Never,
            };
            yield_now().await;
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// A set is answered when it is under way, twenty milliseconds before it arrives.
#[derive(Debug)]
pub(crate) struct WritesALittleLater;

#[async_trait]
impl Tamper for WritesALittleLater {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if options.condition != Condition::Any || at.inner.capabilities().check_key(key).is_err() {
            return at.inner.set_opts(key, value, options).await;
        }
        at.inner.ping().await?;
        let (inner, key) = (at.inner.clone(), key.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            inner.set_opts(&key, value, options).await
        });
        Ok(SetOutcome::Applied)
    }
}

#[derive(Debug)]
pub(crate) struct ComparesLengths;

impl Twist for ComparesLengths {
    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        let value = live.map(|record| &record.value[..]);
        match condition {
            Condition::Matches(version) => {
                value.is_some_and(|value| value.len() == version.as_bytes().len())
            }
            other => other.holds(value),
        }
    }
}

/// The first kilobyte stands for the whole.
#[derive(Debug)]
pub(crate) struct VersionOfTheBeginning;

impl Twist for VersionOfTheBeginning {
    fn version(&self, Record { value, .. }: &Record) -> Version {
        Version::new(value.slice(..value.len().min(1_024)))
    }

    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        let value = live.map(|record| &record.value[..]);
        match condition {
            Condition::Matches(_) => {
                condition.holds(value.map(|value| &value[..value.len().min(1_024)]))
            }
            other => other.holds(value),
        }
    }
}

/// A sum of all bytes, each times its place.
#[derive(Debug)]
pub(crate) struct VersionOfFourBytes;

fn sum(value: &[u8]) -> [u8; 4] {
    let add = |sum: u32, byte: &u8| sum.wrapping_mul(31).wrapping_add(u32::from(*byte));
    value.iter().fold(0, add).to_be_bytes()
}

impl Twist for VersionOfFourBytes {
    fn version(&self, Record { value, .. }: &Record) -> Version {
        Version::new(sum(value).to_vec())
    }

    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        let value = live.map(|record| &record.value[..]);
        match condition {
            Condition::Matches(_) => condition.holds(value.map(sum).as_ref().map(|sum| &sum[..])),
            other => other.holds(value),
        }
    }
}

#[derive(Debug)]
pub(crate) struct EmptyCountsAsAbsent;

impl Twist for EmptyCountsAsAbsent {
    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        let value = live.map(|record| &record.value[..]);
        condition.holds(
            value.filter(|value| !value.is_empty() || !matches!(condition, Condition::Absent)),
        )
    }
}

/// A missing key is compared as if it were empty.
#[derive(Debug)]
pub(crate) struct MissingMatchesEmpty;

impl Twist for MissingMatchesEmpty {
    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        let value = live.map(|record| &record.value[..]);
        match condition {
            Condition::Matches(_) => condition.holds(Some(value.unwrap_or_default())),
            other => other.holds(value),
        }
    }
}

/// The expiry is set before the condition is looked at.
#[derive(Debug)]
pub(crate) struct LoserSetsTheExpiry;

impl Twist for LoserSetsTheExpiry {
    fn lost(&self, old: Option<Deadline>, asked: Resolved) -> Option<Deadline> {
        match asked {
            Resolved::At(deadline) => Some(deadline),
            _ => old,
        }
    }
}

/// Large values are copied where everybody waits, and slowly.
#[derive(Debug)]
pub(crate) struct BlocksOnLargeValues;

#[async_trait]
impl Tamper for BlocksOnLargeValues {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if value.len() > 4 << 20 {
            std::thread::sleep(Duration::from_millis(150));
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// One script clears everything, and nobody else is served until it ends.
#[derive(Debug)]
pub(crate) struct BlocksWhileClearing;

#[async_trait]
impl Tamper for BlocksWhileClearing {
    async fn delete_all(&self, at: &At) -> Result<()> {
        let keys = at.inner.list_page("", None, 1_000).await?;
        if keys.next.is_some() {
            std::thread::sleep(Duration::from_millis(150));
        }
        at.inner.delete_all().await
    }
}

/// The server is asked by a client that knows no other way to wait.
#[derive(Debug)]
pub(crate) struct BlocksOnPing;

#[async_trait]
impl Tamper for BlocksOnPing {
    async fn ping(&self, at: &At) -> Result<()> {
        std::thread::sleep(Duration::from_millis(150));
        at.inner.ping().await
    }
}

/// What is still to be written is written by whoever closes.
#[derive(Debug)]
pub(crate) struct BlocksWhileClosing;

#[async_trait]
impl Tamper for BlocksWhileClosing {
    async fn close(&self, at: &At) -> Result<()> {
        if at.inner.ping().await.is_ok() {
            std::thread::sleep(Duration::from_millis(150));
        }
        at.inner.close().await
    }
}
