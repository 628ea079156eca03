use std::sync::{Mutex, PoisonError};

use larder_core::{
    Bytes, Cursor, Entry, Expiry, GetOptions, ListPage, Result, SetItem, SetOptions, SetOutcome,
    StorageObject, Store, StoreExt, async_trait,
};

use crate::shelf::Twist;
use crate::tamper::{At, Tamper};

#[derive(Debug)]
pub(crate) struct EmptyIsMissing;

impl Twist for EmptyIsMissing {
    fn shown(&self, value: Bytes) -> Option<Bytes> {
        (!value.is_empty()).then_some(value)
    }
}

/// A value that looks like a record is taken for one.
#[derive(Debug)]
pub(crate) struct UnwrapsRecords;

impl Twist for UnwrapsRecords {
    fn shown(&self, value: Bytes) -> Option<Bytes> {
        match StorageObject::from_bytes(value.clone()) {
            Ok(record) => Some(record.data),
            Err(_) => Some(value),
        }
    }
}

/// As a padded column.
#[derive(Debug)]
pub(crate) struct TrimsTrailingNul;

impl Twist for TrimsTrailingNul {
    fn shown(&self, value: Bytes) -> Option<Bytes> {
        let len = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(value.slice(..len))
    }
}

/// As text with a replacement character for each byte that is none.
#[derive(Debug)]
pub(crate) struct ReadsAsText;

impl Twist for ReadsAsText {
    fn shown(&self, value: Bytes) -> Option<Bytes> {
        Some(String::from_utf8_lossy(&value).into_owned().into())
    }
}

#[derive(Debug)]
pub(crate) struct TextLineEnds;

impl Twist for TextLineEnds {
    fn stored(&self, value: Bytes) -> Bytes {
        match std::str::from_utf8(&value) {
            Ok(text) => text.replace("\r\n", "\n").into(),
            Err(_) => value,
        }
    }
}

/// Values go in chunks of 64 KiB; the last one is not written where it is a full one.
#[derive(Debug)]
pub(crate) struct LosesTheLastChunk;

impl Twist for LosesTheLastChunk {
    fn stored(&self, value: Bytes) -> Bytes {
        let chunk = 65_536;
        let whole = !value.is_empty() && value.len().is_multiple_of(chunk);
        value.slice(..value.len() - if whole { chunk } else { 0 })
    }
}

/// A length in 24 bits.
#[derive(Debug)]
pub(crate) struct CutsAtEightMebibytes;

impl Twist for CutsAtEightMebibytes {
    fn stored(&self, value: Bytes) -> Bytes {
        let most = (8 << 20) - 1;
        value.slice(..value.len().min(most))
    }
}

/// What was given, where it is large, is kept itself and not a copy of it.
#[derive(Debug, Default)]
pub(crate) struct KeepsTheWholeBuffer(Mutex<Vec<Bytes>>);

impl Twist for KeepsTheWholeBuffer {
    fn stored(&self, value: Bytes) -> Bytes {
        if value.len() > 32 << 10 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value.clone());
        }
        value
    }
}

/// A batch goes another way than a set.
#[derive(Debug)]
pub(crate) struct BatchesLeaveOutTheEmpty;

#[async_trait]
impl Tamper for BatchesLeaveOutTheEmpty {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        let count = items.len();
        items.retain(|item| !item.value.is_empty());
        let mut outcomes = at.inner.set_many(items).await?;
        outcomes.resize_with(count, || Ok(SetOutcome::Applied));
        Ok(outcomes)
    }
}

#[derive(Debug)]
pub(crate) struct BatchesReadTheEmptyAsMissing;

#[async_trait]
impl Tamper for BatchesReadTheEmptyAsMissing {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let values = at.inner.get_many(keys).await?.into_iter();
        let full = |value: Option<Bytes>| value.filter(|value| !value.is_empty());
        Ok(values.map(|value| value.map(full)).collect())
    }
}

/// The keys without an empty value, asked for one by one.
async fn full(at: &At, keys: Vec<String>) -> Result<Vec<String>> {
    let mut full = Vec::new();
    for key in keys {
        if at.inner.get(&key).await?.is_some_and(|value| !value.is_empty()) {
            full.push(key);
        }
    }
    Ok(full)
}

/// A length of zero means that a row has been read to its end.
#[derive(Debug)]
pub(crate) struct ListingsHideTheEmpty;

#[async_trait]
impl Tamper for ListingsHideTheEmpty {
    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let page = at.inner.list_page(prefix, cursor, limit).await?;
        Ok(ListPage::new(full(at, page.keys).await?, page.next))
    }
}

#[derive(Debug)]
pub(crate) struct PurgesTheEmpty;

#[async_trait]
impl Tamper for PurgesTheEmpty {
    async fn delete_expired(&self, at: &At) -> Result<u64> {
        let removed = at.inner.delete_expired().await?;
        let page = at.inner.list_page("", None, 1_000).await?;
        let full = full(at, page.keys.clone()).await?;
        for key in page.keys.iter().filter(|key| !full.contains(key)) {
            at.inner.delete(key).await?;
        }
        Ok(removed)
    }
}

#[derive(Debug)]
pub(crate) struct RenewsNothingEmpty;

#[async_trait]
impl Tamper for RenewsNothingEmpty {
    async fn get_opts(&self, at: &At, key: &str, mut options: GetOptions) -> Result<Option<Entry>> {
        if at.inner.get(key).await?.is_some_and(|value| value.is_empty()) {
            options.renew_for = None;
        }
        at.inner.get_opts(key, options).await
    }
}

#[derive(Debug)]
pub(crate) struct UpdatesNothingEmpty;

#[async_trait]
impl Tamper for UpdatesNothingEmpty {
    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        let empty = at.inner.get(key).await?.is_some_and(|value| value.is_empty());
        if empty { Ok(false) } else { at.inner.update_expiry(key, expiry).await }
    }
}

#[derive(Debug)]
pub(crate) struct KeepsNoLifeOfTheEmpty;

#[async_trait]
impl Tamper for KeepsNoLifeOfTheEmpty {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        mut options: SetOptions,
    ) -> Result<SetOutcome> {
        let replaced = at.inner.get(key).await?;
        if options.expiry == Expiry::Keep && replaced.is_some_and(|value| value.is_empty()) {
            options.expiry = Expiry::Never;
        }
        at.inner.set_opts(key, value, options).await
    }
}

#[derive(Debug)]
pub(crate) struct BatchesCutLargeValues;

#[async_trait]
impl Tamper for BatchesCutLargeValues {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        for item in &mut items {
            item.value.truncate(65_536);
        }
        at.inner.set_many(items).await
    }
}
