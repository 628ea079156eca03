//! Bugs that show only where one rule meets another: a batch and its expiry, a condition and a large
//! value, a listing and a clearing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{
    Bytes, Condition, Cursor, Deadline, DeleteManyOutcome, Entry, Error, ErrorKind, ExpiresIn,
    Expiry, GetOptions, ListPage, Namespace, NamespacePage, NamespacedStore, Resolved, Result,
    SetItem, SetOptions, SetOutcome, Store, StoreExt, Version, async_trait,
};
use tokio::task::yield_now;

use crate::shelf::{Call, Contents, Record, SECRET, Twist, prefix_of, remember};
use crate::tamper::{At, Tamper};

/// A place in a namespace.
type Name = (Namespace, String);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same error, without its key.
fn keyless(error: &Error) -> Error {
    let new = Error::new(error.kind(), error.message().to_owned());
    new.with_operation(error.operation().unwrap_or("get")).with_backend("shelf")
}

/// Conditional sets go through a script that takes 64 KiB.
#[derive(Debug)]
pub(crate) struct ConditionsTakeSmallValues;

#[async_trait]
impl Tamper for ConditionsTakeSmallValues {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        mut value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if options.condition != Condition::Any {
            value.truncate(1 << 16);
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// The last batch stays in memory as it was given.
#[derive(Debug, Default)]
pub(crate) struct BatchesKeepTheirBuffers(Mutex<Vec<Bytes>>);

#[async_trait]
impl Tamper for BatchesKeepTheirBuffers {
    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        *lock(&self.0) = items.iter().map(|item| item.value.clone()).collect();
        at.inner.set_many(items).await
    }
}

/// A conditional set of the value that is there already has nothing to write.
#[derive(Debug)]
pub(crate) struct TheSameValueIsNoWrite;

#[async_trait]
impl Tamper for TheSameValueIsNoWrite {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if options.condition == Condition::Present && options.expiry == Expiry::Never {
            let found = at.inner.get(key).await?;
            if found.as_ref() == Some(&value) {
                return Ok(SetOutcome::Applied);
            }
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// Expiries lie in a table of their own, from which `delete_many` does not delete.
#[derive(Debug, Default)]
pub(crate) struct LeavesTheExpiry(Mutex<BTreeSet<Name>>);

#[async_trait]
impl Tamper for LeavesTheExpiry {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        mut options: SetOptions,
    ) -> Result<SetOutcome> {
        let left = lock(&self.0).remove(&at.name_of(key));
        if left && options.expiry == Expiry::Keep {
            options.expiry = Expiry::After(Duration::from_secs(3_600));
        }
        at.inner.set_opts(key, value, options).await
    }

    async fn delete_many(&self, at: &At, keys: &[&str]) -> Result<DeleteManyOutcome> {
        for key in keys {
            if let ExpiresIn::In(_) = at.inner.expires_in(key).await? {
                lock(&self.0).insert(at.name_of(key));
            }
        }
        at.inner.delete_many(keys).await
    }
}

/// What remains is read in seconds, and written back.
#[derive(Debug)]
pub(crate) struct KeepsWholeSeconds;

impl Twist for KeepsWholeSeconds {
    fn kept(&self, live: Option<&Record>, _stale: Option<&Record>) -> Option<Deadline> {
        let micros = live?.deadline?.as_micros();
        Some(Deadline::from_micros(micros.saturating_add(999_999) / 1_000_000 * 1_000_000))
    }
}

/// A batch looks at all that it keeps before it writes.
#[derive(Debug)]
pub(crate) struct BatchesKeepWhatWas;

#[async_trait]
impl Tamper for BatchesKeepWhatWas {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        for item in &mut items {
            if item.options.expiry == Expiry::Keep {
                item.options.expiry = match at.inner.expires_in(item.key).await? {
                    ExpiresIn::In(left) => Expiry::After(left),
                    _ => Expiry::Never,
                };
            }
        }
        at.inner.set_many(items).await
    }
}

/// A batch has nothing to write for a moment that has passed.
#[derive(Debug)]
pub(crate) struct BatchesSkipThePast;

#[async_trait]
impl Tamper for BatchesSkipThePast {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        let count = items.len();
        let dated = |item: &SetItem<'_>| matches!(item.options.expiry, Expiry::At(_));
        let mut kept = Vec::new();
        for item in items.drain(..) {
            let past = dated(&item) && {
                let probe = at.root.with_namespace("probe")?;
                probe.set_opts("k", Bytes::new(), item.options.clone()).await?;
                !probe.exists("k").await?
            };
            if !past {
                kept.push(item);
            }
        }
        let mut outcomes = at.inner.set_many(kept).await?;
        outcomes.resize_with(count, || Ok(SetOutcome::Applied));
        Ok(outcomes)
    }
}

/// A batch finds a key absent only where nobody has ever set it.
#[derive(Debug, Default)]
pub(crate) struct BatchesFindTheDead(Mutex<BTreeSet<Name>>);

#[async_trait]
impl Tamper for BatchesFindTheDead {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if options.expiry != Expiry::Never {
            lock(&self.0).insert(at.name_of(key));
        }
        at.inner.set_opts(key, value, options).await
    }

    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        for item in &mut items {
            let known = lock(&self.0).contains(&at.name_of(item.key));
            if known && item.options.condition == Condition::Absent {
                item.options.condition = Condition::Present;
            }
        }
        at.inner.set_many(items).await
    }
}

/// A prefix ends before U+FFFF, after which there are characters, too.
#[derive(Debug)]
pub(crate) struct PrefixesEndBeforeEmoji;

#[async_trait]
impl Tamper for PrefixesEndBeforeEmoji {
    async fn delete_prefix(&self, at: &At, prefix: &str) -> Result<u64> {
        let (mut count, end) = (0, format!("{prefix}\u{ffff}"));
        for key in at.inner.list_page(prefix, None, usize::MAX).await?.keys {
            if key < end {
                count += u64::from(at.inner.delete(&key).await?);
            }
        }
        Ok(count)
    }
}

/// `[ab]` in a prefix stands for one of the characters.
#[derive(Debug)]
pub(crate) struct BracketsAreAClass;

impl Twist for BracketsAreAClass {
    fn begins_with(&self, key: &str, prefix: &str) -> bool {
        let class = prefix.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match class {
            Some(class) => key.chars().next().is_some_and(|first| class.contains(first)),
            None => key.starts_with(prefix),
        }
    }
}

#[derive(Debug)]
pub(crate) struct RenewsInMilliseconds;

impl Twist for RenewsInMilliseconds {
    fn renewed(
        &self,
        old: Option<Deadline>,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Option<Resolved> {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let cut = if millis == 0 { duration } else { Duration::from_millis(millis) };
        old.map(|_| Expiry::After(cut).resolve(now))
    }
}

/// A second renewal finds a key marked as renewed.
#[derive(Debug, Default)]
pub(crate) struct RenewsOnce(Mutex<BTreeSet<Name>>);

#[async_trait]
impl Tamper for RenewsOnce {
    async fn get_opts(&self, at: &At, key: &str, mut options: GetOptions) -> Result<Option<Entry>> {
        let renewal = options.renew_for.is_some_and(|duration| !duration.is_zero());
        if renewal && !lock(&self.0).insert(at.name_of(key)) {
            options.renew_for = None;
        }
        at.inner.get_opts(key, options).await
    }
}

/// `update_expiry` counts nanoseconds in 64 bits.
#[derive(Debug)]
pub(crate) struct UpdatesEndIn2262;

#[async_trait]
impl Tamper for UpdatesEndIn2262 {
    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        let end = DateTime::from_timestamp_nanos(i64::MAX);
        let clipped = match expiry {
            Expiry::After(duration)
                if duration > Duration::from_secs(i64::MAX as u64 / 1_000_000_000) =>
            {
                Expiry::At(end)
            }
            Expiry::At(moment) => Expiry::At(moment.min(end)),
            other => other,
        };
        at.inner.update_expiry(key, clipped).await
    }
}

/// `update_expiry` takes a moment of before 1970 for none.
#[derive(Debug)]
pub(crate) struct UpdatesKnowNothingBefore1970;

#[async_trait]
impl Tamper for UpdatesKnowNothingBefore1970 {
    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        let known = match expiry {
            Expiry::At(moment) if moment < DateTime::UNIX_EPOCH => Expiry::Never,
            other => other,
        };
        at.inner.update_expiry(key, known).await
    }
}

/// The last deadline there is has a fraction of six digits.
#[derive(Debug)]
pub(crate) struct SaturatesLate;

impl Twist for SaturatesLate {
    fn left(&self, deadline: Option<Deadline>, now: DateTime<Utc>) -> ExpiresIn {
        match ExpiresIn::until(deadline, now) {
            ExpiresIn::In(left) if deadline == Some(Deadline::MAX) => {
                ExpiresIn::In(left + Duration::from_micros(999))
            }
            other => other,
        }
    }
}

/// `delete_expired` leaves what dies at this very instant.
#[derive(Debug)]
pub(crate) struct PurgesAnInstantLate;

impl Twist for PurgesAnInstantLate {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        let late = TimeDelta::microseconds(i64::from(call == Call::Purge));
        deadline.is_past(now - late)
    }
}

/// Who comes while another one purges gets the count of that one.
#[derive(Debug, Default)]
pub(crate) struct PurgesCountTogether {
    running: AtomicU64,
    last: AtomicU64,
}

#[async_trait]
impl Tamper for PurgesCountTogether {
    async fn delete_expired(&self, at: &At) -> Result<u64> {
        let alone = self.running.fetch_add(1, SeqCst) == 0;
        yield_now().await;
        let removed = at.inner.delete_expired().await;
        if let Ok(removed @ 1..) = &removed {
            self.last.store(*removed, SeqCst);
        }
        yield_now().await;
        self.running.fetch_sub(1, SeqCst);
        match removed {
            Ok(0) if !alone => Ok(self.last.load(SeqCst)),
            other => other,
        }
    }
}

/// Conditional deletions are not written down.
#[derive(Debug)]
pub(crate) struct ConditionalDeletionsComeBack;

impl Twist for ConditionalDeletionsComeBack {
    fn persist(&self, contents: &mut Contents, place: &str, call: Call) {
        if call != Call::ConditionalDelete {
            remember(contents, place);
        }
    }
}

/// What does not fit into a page of the log is not written down.
#[derive(Debug)]
pub(crate) struct LargeValuesAreLost;

impl Twist for LargeValuesAreLost {
    fn persist(&self, contents: &mut Contents, place: &str, _call: Call) {
        if contents.live.get(place).is_none_or(|bytes| bytes.len() < 3 << 19) {
            remember(contents, place);
        }
    }
}

/// Deadlines are read from the disk as seconds in 32 bits; one beyond is none.
#[derive(Debug)]
pub(crate) struct FarDeadlinesAreLost;

impl Twist for FarDeadlinesAreLost {
    fn open(&self, contents: &mut Contents, _now: DateTime<Utc>) -> Result<()> {
        let end = Deadline::from_micros(i64::from(u32::MAX) * 1_000_000);
        for bytes in contents.live.values_mut() {
            if let Ok(mut record) = Record::decode(bytes)
                && record.deadline.is_some_and(|deadline| deadline > end)
            {
                record.deadline = None;
                *bytes = record.encode();
            }
        }
        Ok(())
    }
}

fn depth(namespace: &Namespace, place: &str) -> usize {
    let below = place.strip_prefix(&prefix_of(namespace)).unwrap_or_default();
    below.split(':').next().unwrap_or_default().matches('/').count()
}

/// Clearing goes down six steps.
#[derive(Debug)]
pub(crate) struct ClearsSixDeep;

impl Twist for ClearsSixDeep {
    fn covers(&self, namespace: &Namespace, place: &str) -> bool {
        place
            .strip_prefix(&prefix_of(namespace))
            .is_some_and(|rest| rest.starts_with([':', '/']) && rest.contains(':'))
            && depth(namespace, place) <= 6
    }
}

/// Below the eighth, all segments are one folder.
#[derive(Debug)]
pub(crate) struct DeepSegmentsAreJoined;

impl Twist for DeepSegmentsAreJoined {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        let (mut path, mut last) = (String::new(), Vec::new());
        for (index, segment) in namespace.segments().enumerate() {
            if index < 8 {
                path = path + "/" + &Namespace::escape_segment(segment);
            } else {
                last.push(segment);
            }
        }
        if !last.is_empty() {
            path = path + "/" + &Namespace::escape_segment(&last.join("/"));
        }
        format!("{path}:{key}")
    }
}

/// A cursor that is not its own begins the listing of child namespaces anew.
#[derive(Debug)]
pub(crate) struct AnyChildCursorWillDo;

#[async_trait]
impl Tamper for AnyChildCursorWillDo {
    async fn list_child_namespaces(
        &self,
        at: &At,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        match at.inner.list_child_namespaces(cursor, limit).await {
            Err(error)
                if error.kind() == ErrorKind::InvalidCursor
                    && cursor.is_some_and(|cursor| cursor.as_bytes().len() < 40) =>
            {
                at.inner.list_child_namespaces(None, limit).await
            }
            page => page,
        }
    }
}

/// A cursor of child namespaces begins a listing of keys.
#[derive(Debug)]
pub(crate) struct ChildCursorsListKeys;

#[async_trait]
impl Tamper for ChildCursorsListKeys {
    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let page = at.inner.list_page(prefix, cursor, limit).await;
        if matches!(&page, Err(error) if error.kind() == ErrorKind::InvalidCursor)
            && at.inner.list_child_namespaces(cursor, 1).await.is_ok()
        {
            return at.inner.list_page(prefix, None, limit).await;
        }
        page
    }
}

/// The cursor of child namespaces tells how many were given.
#[derive(Debug)]
pub(crate) struct ChildrenByNumber;

#[async_trait]
impl Tamper for ChildrenByNumber {
    async fn list_child_namespaces(
        &self,
        at: &At,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let given = |cursor: &Cursor| std::str::from_utf8(cursor.as_bytes()).ok()?.parse().ok();
        let from: usize = cursor.and_then(given).unwrap_or_default();
        let all = at.inner.list_child_namespaces(None, usize::MAX).await?.segments;
        let segments: Vec<String> = all.iter().skip(from).take(limit).cloned().collect();
        let to = from + segments.len();
        let next = (to < all.len()).then(|| Cursor::from_bytes(to.to_string()));
        Ok(NamespacePage::new(segments, next))
    }
}

/// A closed store has no child namespaces.
#[derive(Debug)]
pub(crate) struct NoChildrenAfterClose;

#[async_trait]
impl Tamper for NoChildrenAfterClose {
    async fn list_child_namespaces(
        &self,
        at: &At,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        match at.inner.list_child_namespaces(cursor, limit).await {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(NamespacePage::default()),
            page => page,
        }
    }
}

/// The error of `exists` does not name its key.
#[derive(Debug)]
pub(crate) struct ExistsNamesNoKey;

#[async_trait]
impl Tamper for ExistsNamesNoKey {
    async fn exists(&self, at: &At, key: &str) -> Result<bool> {
        let exists = at.inner.exists(key).await;
        exists.map_err(|error| match error.kind() {
            ErrorKind::Unavailable => keyless(&error),
            _ => error,
        })
    }
}

/// In a batch, the error of a damaged record does not name its key.
#[derive(Debug)]
pub(crate) struct DamageInBatchesNamesNoKey;

#[async_trait]
impl Tamper for DamageInBatchesNamesNoKey {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let values = at.inner.get_many(keys).await?;
        Ok(values.into_iter().map(|value| value.map_err(|error| keyless(&error))).collect())
    }
}

/// A conditional set without room says that its condition did not hold.
#[derive(Debug)]
pub(crate) struct NoRoomIsNotMet;

#[async_trait]
impl Tamper for NoRoomIsNotMet {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let plain = options.condition == Condition::Any;
        match at.inner.set_opts(key, value, options).await {
            Err(error) if error.kind() == ErrorKind::StorageFull && !plain => {
                Ok(SetOutcome::ConditionNotMet)
            }
            done => done,
        }
    }
}

/// A renewal without room gives the value, and renews nothing.
#[derive(Debug)]
pub(crate) struct RenewsWithoutRoom;

#[async_trait]
impl Tamper for RenewsWithoutRoom {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        match at.inner.get_opts(key, options).await {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                at.inner.get_opts(key, GetOptions::default()).await
            }
            found => found,
        }
    }
}

/// The error of a listing without a server names the address, with the password.
#[derive(Debug)]
pub(crate) struct ListingsShowThePassword;

#[async_trait]
impl Tamper for ListingsShowThePassword {
    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let page = at.inner.list_page(prefix, cursor, limit).await;
        page.map_err(|error| error.with_key(&format!("shelf://:{SECRET}@localhost/{prefix}")))
    }
}

/// For a message, a key is cut at its 101st byte.
#[derive(Debug)]
pub(crate) struct CutsWithinACharacter;

#[async_trait]
impl Tamper for CutsWithinACharacter {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let found = at.inner.get_opts(key, options).await;
        found.map_err(|error| match error.kind() {
            ErrorKind::InvalidKey => error.replace_key(&key[..101]),
            _ => error,
        })
    }
}

/// A version is a counter of eight bits.
#[derive(Debug)]
pub(crate) struct EightBitsOfVersion;

impl Twist for EightBitsOfVersion {
    fn version(&self, record: &Record) -> Version {
        Version::new(vec![record.stamp.to_be_bytes()[7]])
    }

    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        holds(condition, live, |record| self.version(record))
    }
}

/// A version is made of the length and the ends of a value.
#[derive(Debug)]
pub(crate) struct VersionsOfBothEnds;

impl Twist for VersionsOfBothEnds {
    fn version(&self, record: &Record) -> Version {
        let value = &record.value;
        let (start, end) = (value.len().min(64), value.len().saturating_sub(64));
        let len = value.len().to_be_bytes();
        Version::new([&len[..], &value[..start], &value[end..]].concat())
    }

    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        holds(condition, live, |record| self.version(record))
    }
}

/// A version is the FNV-1a of 64 bits of a value that is not large.
#[derive(Debug)]
pub(crate) struct VersionsByFnv;

impl Twist for VersionsByFnv {
    fn version(&self, record: &Record) -> Version {
        if record.value.len() > 1 << 12 {
            return Version::new(record.value.clone());
        }
        let step =
            |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = record.value.iter().fold(0xcbf2_9ce4_8422_2325, step);
        Version::new(hash.to_be_bytes().to_vec())
    }

    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        holds(condition, live, |record| self.version(record))
    }
}

fn holds(
    condition: &Condition,
    live: Option<&Record>,
    version: impl Fn(&Record) -> Version,
) -> bool {
    match condition {
        Condition::Matches(asked) => live.is_some_and(|record| version(record) == *asked),
        other => other.holds(live.map(|record| &record.value[..])),
    }
}

/// Clearing takes the expiries first, and the values after that.
#[derive(Debug)]
pub(crate) struct ClearsExpiriesFirst;

#[async_trait]
impl Tamper for ClearsExpiriesFirst {
    async fn delete_all(&self, at: &At) -> Result<()> {
        for key in at.inner.list_page("", None, usize::MAX).await?.keys {
            at.inner.update_expiry(&key, Expiry::Never).await?;
        }
        yield_now().await;
        at.inner.delete_all().await
    }
}
