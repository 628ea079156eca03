use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Capabilities, Condition, Durability, Error, ErrorKind, Expiry, Result, SetOptions,
    SetOutcome, Store, Version, async_trait,
};
use tokio::task::yield_now;

use crate::shelf::{Call, Contents, Record, Twist, remember};
use crate::tamper::{At, Tamper};

/// Writes reach the disk when somebody asks for it, or the store is closed.
#[derive(Debug)]
pub(crate) struct NeverFlushes;

impl Twist for NeverFlushes {
    fn persist(&self, _: &mut Contents, _: &str, _: Call) {}

    fn flush(&self, contents: &mut Contents) {
        contents.image.clone_from(&contents.live);
    }
}

/// Every eighth write takes those before it along.
#[derive(Debug, Default)]
pub(crate) struct FlushesEveryEighth(AtomicU64);

impl Twist for FlushesEveryEighth {
    fn persist(&self, contents: &mut Contents, _: &str, _: Call) {
        if self.0.fetch_add(1, SeqCst) % 8 == 7 {
            self.flush(contents);
        }
    }

    fn flush(&self, contents: &mut Contents) {
        contents.image.clone_from(&contents.live);
    }
}

/// The place of the last write, which is written down when the next one comes.
#[derive(Debug, Default)]
struct Behind(Mutex<Option<String>>);

impl Behind {
    fn write(&self, contents: &mut Contents, next: Option<&str>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = std::mem::replace(&mut *last, next.map(str::to_owned)) {
            remember(contents, &place);
        }
    }
}

/// A write is acknowledged, and then written: the last one is always on its way.
#[derive(Debug, Default)]
pub(crate) struct AcknowledgesFirst(Behind);

impl Twist for AcknowledgesFirst {
    fn persist(&self, contents: &mut Contents, place: &str, _: Call) {
        self.0.write(contents, Some(place));
    }

    fn flush(&self, contents: &mut Contents) {
        self.0.write(contents, None);
    }
}

/// The last renewal, still on its way when the store is closed, is not waited for.
#[derive(Debug, Default)]
pub(crate) struct CloseDoesNotFlush(Behind);

impl Twist for CloseDoesNotFlush {
    fn persist(&self, contents: &mut Contents, place: &str, call: Call) {
        if call == Call::UpdateExpiry || call == Call::Renew {
            return self.0.write(contents, Some(place));
        }
        remember(contents, place);
    }
}

/// Does not write down what these calls do, until the store is flushed or closed.
macro_rules! does_not_write {
    ($($(#[$doc:meta])* $name:ident: $($call:ident)|+;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl Twist for $name {
                fn persist(&self, contents: &mut Contents, place: &str, call: Call) {
                    if !matches!(call, $(Call::$call)|+) {
                        remember(contents, place);
                    }
                }
            }
        )+
    };
}

does_not_write! {
    ClearingIsNotWritten: Clear;
    DeletionsAreNotWritten: Delete;
    RenewalsAreNotWritten: Renew | UpdateExpiry;
    ConditionalSetsAreNotWritten: ConditionalSet;
    PrefixDeletionsAreNotWritten: DeletePrefix;
}

/// The record on disk has no place for the expiry.
#[derive(Debug)]
pub(crate) struct ForgetsTheExpiry;

impl Twist for ForgetsTheExpiry {
    fn persist(&self, contents: &mut Contents, place: &str, _: Call) {
        remember(contents, place);
        let record = contents.image.get(place).and_then(|bytes| Record::decode(bytes).ok());
        if let Some(record) = record {
            let eternal = Record { deadline: None, ..record };
            contents.image.insert(place.to_owned(), eternal.encode());
        }
    }
}

/// An overwrite of the same length is written over the old value, and the old expiry stays.
#[derive(Debug)]
pub(crate) struct WritesOverInPlace;

impl Twist for WritesOverInPlace {
    fn persist(&self, contents: &mut Contents, place: &str, _: Call) {
        let old = contents.image.get(place).and_then(|bytes| Record::decode(bytes).ok());
        remember(contents, place);
        let new = contents.image.get(place).and_then(|bytes| Record::decode(bytes).ok());
        if let (Some(old), Some(new)) = (old, new)
            && old.value.len() == new.value.len()
            && old.value != new.value
        {
            let mixed = Record { deadline: old.deadline, ..new };
            contents.image.insert(place.to_owned(), mixed.encode());
        }
    }
}

/// Only the first child level is found again.
#[derive(Debug)]
pub(crate) struct ForgetsDeepNamespaces;

impl Twist for ForgetsDeepNamespaces {
    fn persist(&self, contents: &mut Contents, place: &str, _: Call) {
        let deep = place.split(':').next().is_some_and(|path| path.matches('/').count() > 4);
        if !deep {
            remember(contents, place);
        }
    }
}

/// The data is flushed in the background, and the store says that it waits for it.
#[derive(Debug)]
pub(crate) struct ClaimsToFlush;

impl Tamper for ClaimsToFlush {
    fn capabilities(&self, at: &At) -> Capabilities {
        at.inner.capabilities().with_durability(Durability::ProcessCrash)
    }
}

fn replaces(options: &SetOptions) -> bool {
    options.condition == Condition::Any && options.expiry != Expiry::Keep
}

/// The old value is cut off before the new one is written.
#[derive(Debug)]
pub(crate) struct TruncatesInPlace;

#[async_trait]
impl Tamper for TruncatesInPlace {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if replaces(&options) && at.inner.exists(key).await? {
            at.inner.set_opts(key, Bytes::new(), options.clone()).await?;
            yield_now().await;
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// All writers of a namespace write the same temporary file and rename it.
#[derive(Debug, Default)]
pub(crate) struct SharesATemporaryName(Mutex<Option<Bytes>>);

#[async_trait]
impl Tamper for SharesATemporaryName {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let temporary = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !replaces(&options) {
            return at.inner.set_opts(key, value, options).await;
        }
        *temporary() = Some(value.clone());
        yield_now().await;
        let renamed = temporary().take().unwrap_or(value);
        at.inner.set_opts(key, renamed, options).await
    }
}

/// The temporary file of a write that fails stays.
#[derive(Debug, Default)]
pub(crate) struct FailuresLeaveLitter(Mutex<BTreeMap<String, u64>>);

#[async_trait]
impl Tamper for FailuresLeaveLitter {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let outcome = at.inner.set_opts(key, value, options).await;
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull) {
            let mut litter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *litter.entry(format!("{key}.tmp")).or_default() += 1;
        }
        outcome
    }

    fn litter(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// A full disk is nobody's business.
#[derive(Debug)]
pub(crate) struct SwallowsAFullDisk;

impl Twist for SwallowsAFullDisk {
    fn put(&self, contents: &mut Contents, place: &str, bytes: Bytes) -> Result<()> {
        if !contents.full {
            contents.live.insert(place.to_owned(), bytes);
        }
        Ok(())
    }
}

/// A write that fails has made room first.
#[derive(Debug)]
pub(crate) struct AFailedWriteRemoves;

impl Twist for AFailedWriteRemoves {
    fn put(&self, contents: &mut Contents, place: &str, bytes: Bytes) -> Result<()> {
        contents.live.remove(place);
        if contents.full {
            return Err(Error::new(ErrorKind::StorageFull, "no room"));
        }
        contents.live.insert(place.to_owned(), bytes);
        Ok(())
    }
}

/// What fits is written.
#[derive(Debug)]
pub(crate) struct KeepsAShortWrite;

impl Twist for KeepsAShortWrite {
    fn put(&self, contents: &mut Contents, place: &str, bytes: Bytes) -> Result<()> {
        let mut bytes = bytes;
        let failed = contents.full;
        if let (true, Ok(record)) = (failed, Record::decode(&bytes)) {
            let half = record.value.slice(..record.value.len() / 2);
            bytes = Record { value: half, ..record }.encode();
        }
        contents.live.insert(place.to_owned(), bytes);
        if failed { Err(Error::new(ErrorKind::StorageFull, "no room")) } else { Ok(()) }
    }
}

/// Versions are numbers of sets, counted by each process from one.
#[derive(Debug)]
pub(crate) struct VersionsBeginAnew;

impl Twist for VersionsBeginAnew {
    fn open(&self, contents: &mut Contents, _: DateTime<Utc>) -> Result<()> {
        contents.sets = 0;
        Ok(())
    }

    fn version(&self, record: &Record) -> Version {
        Version::new(record.stamp.to_be_bytes().to_vec())
    }

    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        match condition {
            Condition::Matches(version) => {
                live.is_some_and(|record| self.version(record) == *version)
            }
            other => other.holds(live.map(|record| &record.value[..])),
        }
    }
}

/// As where a name has a place of fixed width in a log.
#[derive(Debug)]
pub(crate) struct LongKeysAreNotWritten;

impl Twist for LongKeysAreNotWritten {
    fn persist(&self, contents: &mut Contents, place: &str, _: Call) {
        if place.len() < 512 {
            remember(contents, place);
        }
    }
}
