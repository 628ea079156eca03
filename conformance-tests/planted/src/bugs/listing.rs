use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_core::{
    Bytes, Cursor, CursorScope, Deadline, ErrorKind, ListPage, Namespace, Result, SetOptions,
    SetOutcome, Store, async_trait,
    chrono::{DateTime, Utc},
};

use crate::shelf::{Call, Honest, Scanned, Twist, prefix_of};
use crate::tamper::{At, Tamper};

/// A window in which everything has expired is taken for the end.
#[derive(Debug)]
pub(crate) struct StopsAtAnEmptyPage;

impl Twist for StopsAtAnEmptyPage {
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let from = after.map_or(0, |after| scanned.partition_point(|one| *one.name <= *after));
        let window = &scanned[from..scanned.len().min(from.saturating_add(limit))];
        let keys: Vec<String> =
            window.iter().filter(|one| one.live).map(|one| one.name.clone()).collect();
        let more = from + window.len() < scanned.len() && !keys.is_empty();
        let next = window.last().filter(|_| more).map(|last| last.name.clone());
        (keys, next)
    }
}

/// A cursor tells how many keys were given.
#[derive(Debug)]
pub(crate) struct CursorIsAnOffset;

impl Twist for CursorIsAnOffset {
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let from: usize = after.and_then(|after| after.parse().ok()).unwrap_or_default();
        let live = scanned.iter().filter(|one| one.live).map(|one| one.name.clone());
        let mut rest = live.skip(from);
        let keys: Vec<String> = rest.by_ref().take(limit).collect();
        let next = rest.next().map(|_| (from + keys.len()).to_string());
        (keys, next)
    }
}

#[derive(Debug)]
pub(crate) struct OneTooMany;

impl Twist for OneTooMany {
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        Honest.page(scanned, after, limit.saturating_add(usize::from(after.is_some())))
    }
}

/// A last page that is full is cut by the key that would tell whether there is more.
#[derive(Debug)]
pub(crate) struct LosesTheLastOfAFullPage;

impl Twist for LosesTheLastOfAFullPage {
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let (mut keys, next) = Honest.page(scanned, after, limit);
        if next.is_none() && keys.len() == limit && limit > 1 {
            keys.pop();
        }
        (keys, next)
    }
}

/// Each page begins with the last key of the page before.
#[derive(Debug)]
pub(crate) struct RepeatsTheLastKey;

impl Twist for RepeatsTheLastKey {
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let (mut keys, mut next) = Honest.page(scanned, after, limit);
        if let (Some(after), 2..) = (after, keys.len())
            && scanned.iter().any(|one| one.live && one.name == *after)
        {
            keys.insert(0, after.to_owned());
            if keys.len() > limit {
                keys.pop();
                next = keys.last().cloned();
            }
        }
        (keys, next)
    }
}

/// The order of UTF-16 text, which differs from that of bytes beyond the first plane.
#[derive(Debug)]
pub(crate) struct SortsAsUtf16;

fn utf16(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

impl Twist for SortsAsUtf16 {
    fn sort(&self, scanned: &mut [Scanned]) {
        scanned.sort_by(|a, b| utf16(&a.name, &b.name));
    }

    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let before = |one: &Scanned, after| utf16(&one.name, after) != Ordering::Greater;
        let from = after.map_or(0, |after| scanned.partition_point(|one| before(one, after)));
        Honest.page(&scanned[from..], None, limit)
    }
}

/// A `*` at the end of a prefix stands for any text, as it does in a pattern.
#[derive(Debug)]
pub(crate) struct PrefixIsAPattern;

impl Twist for PrefixIsAPattern {
    fn begins_with(&self, key: &str, prefix: &str) -> bool {
        key.starts_with(prefix.strip_suffix('*').unwrap_or(prefix))
    }
}

#[derive(Debug)]
pub(crate) struct PrefixIgnoresCase;

impl Twist for PrefixIgnoresCase {
    fn begins_with(&self, key: &str, prefix: &str) -> bool {
        key.starts_with(prefix)
            || key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    }
}

/// The keys of direct children are listed as well.
#[derive(Debug)]
pub(crate) struct ListsTheChildren;

impl Twist for ListsTheChildren {
    fn lists(&self, namespace: &Namespace, place: &str) -> bool {
        place.strip_prefix(&prefix_of(namespace)).is_some_and(|rest| {
            rest.split_once(':').is_some_and(|(path, _)| path.matches('/').count() <= 1)
        })
    }
}

#[derive(Debug)]
pub(crate) struct CursorForgetsTheNamespace;

impl Twist for CursorForgetsTheNamespace {
    fn scope(&self, store: &[u8], _: &Namespace, prefix: &str) -> CursorScope {
        CursorScope::keys(store, &Namespace::root(), prefix)
    }
}

#[derive(Debug)]
pub(crate) struct CursorForgetsThePrefix;

impl Twist for CursorForgetsThePrefix {
    fn scope(&self, store: &[u8], namespace: &Namespace, _: &str) -> CursorScope {
        CursorScope::keys(store, namespace, "")
    }
}

#[derive(Debug)]
pub(crate) struct CursorForgetsTheStore;

impl Twist for CursorForgetsTheStore {
    fn scope(&self, _: &[u8], namespace: &Namespace, prefix: &str) -> CursorScope {
        CursorScope::keys(b"shelf", namespace, prefix)
    }
}

/// A cursor of keys serves for namespaces, and the other way round.
#[derive(Debug)]
pub(crate) struct CursorForgetsItsKind;

impl Twist for CursorForgetsItsKind {
    fn scope(&self, store: &[u8], namespace: &Namespace, prefix: &str) -> CursorScope {
        if prefix.is_empty() {
            return CursorScope::namespaces(store, namespace);
        }
        CursorScope::keys(store, namespace, prefix)
    }
}

/// A listing works on a snapshot, and its cursor has the snapshot's number, which begins with 1 in
/// each process.
#[derive(Debug, Default)]
pub(crate) struct NumbersItsSnapshots(Mutex<Vec<Vec<String>>>);

#[async_trait]
impl Tamper for NumbersItsSnapshots {
    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        if limit == 0 {
            return at.inner.list_page(prefix, cursor, limit).await;
        }
        let scope = CursorScope::keys(b"snapshots", at.inner.namespace(), prefix);
        let place = |bytes: &[u8]| u32::from_ne_bytes(*bytes.first_chunk().unwrap_or(&[0; 4]));
        let (number, from) = match cursor {
            None => (u32::MAX, 0),
            Some(cursor) => {
                let position = scope.open(cursor)?;
                (place(&position), place(&position[4.min(position.len())..]) as usize)
            }
        };
        let keys =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get(number as usize).cloned();
        let (number, keys) = if let Some(keys) = keys {
            (number, keys)
        } else {
            let keys = at.inner.list_page(prefix, None, usize::MAX).await?.keys;
            let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            taken.push(keys.clone());
            (u32::try_from(taken.len() - 1).unwrap_or(0), keys)
        };
        let to = keys.len().min(from.saturating_add(limit));
        let next = (to < keys.len()).then(|| {
            let to = u32::try_from(to).unwrap_or(u32::MAX);
            scope.seal(&[number.to_ne_bytes(), to.to_ne_bytes()].concat())
        });
        Ok(ListPage::new(keys.get(from..to).unwrap_or(&[]).to_vec(), next))
    }
}

/// Whatever cannot be read as a cursor means the beginning.
#[derive(Debug)]
pub(crate) struct BadCursorBeginsAnew;

#[async_trait]
impl Tamper for BadCursorBeginsAnew {
    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        match at.inner.list_page(prefix, cursor, limit).await {
            Err(error)
                if error.kind() == ErrorKind::InvalidCursor
                    && cursor.is_some_and(|cursor| cursor.as_bytes().len() < 16) =>
            {
                at.inner.list_page(prefix, None, limit).await
            }
            page => page,
        }
    }
}

#[derive(Debug)]
pub(crate) struct PageOfNoKeys;

impl Twist for PageOfNoKeys {
    fn admits_limit(&self, _: usize) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct ListsTheDead;

impl Twist for ListsTheDead {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        call != Call::List && deadline.is_past(now)
    }
}

#[derive(Debug)]
pub(crate) struct CountsTheDead;

impl Twist for CountsTheDead {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        call != Call::DeletePrefix && deadline.is_past(now)
    }
}

/// A thousand keys of a prefix are deleted.
#[derive(Debug)]
pub(crate) struct DeletesOnePage;

#[async_trait]
impl Tamper for DeletesOnePage {
    async fn delete_prefix(&self, at: &At, prefix: &str) -> Result<u64> {
        let page = at.inner.list_page(prefix, None, 1_000).await?;
        let keys: Vec<&str> = page.keys.iter().map(String::as_str).collect();
        Ok(at.inner.delete_many(&keys).await?.existed)
    }
}

/// What begins with the prefix is deleted, child namespaces included.
#[derive(Debug)]
pub(crate) struct PrefixTakesChildren;

#[async_trait]
impl Tamper for PrefixTakesChildren {
    async fn delete_prefix(&self, at: &At, prefix: &str) -> Result<u64> {
        let children = at.inner.list_child_namespaces(None, 1_000).await?.segments;
        for child in children.iter().filter(|child| child.starts_with(prefix)) {
            at.inner.with_namespace(child)?.delete_all().await?;
        }
        at.inner.delete_prefix(prefix).await
    }
}

#[derive(Debug)]
pub(crate) struct ChildrenWithKeysOfTheirOwn;

impl Twist for ChildrenWithKeysOfTheirOwn {
    fn child(&self, segment: String, live: bool, deep: bool) -> Option<String> {
        (live && !deep).then_some(segment)
    }
}

#[derive(Debug)]
pub(crate) struct ChildrenOfTheDead;

impl Twist for ChildrenOfTheDead {
    fn child(&self, segment: String, _: bool, _: bool) -> Option<String> {
        Some(segment)
    }
}

#[derive(Debug)]
pub(crate) struct ChildrenAsTheyAreStored;

impl Twist for ChildrenAsTheyAreStored {
    fn child(&self, segment: String, live: bool, _: bool) -> Option<String> {
        live.then(|| Namespace::escape_segment(&segment).into_owned())
    }
}

/// After a thousand keys a listing ends.
#[derive(Debug)]
pub(crate) struct EndsAfterAThousand;

#[async_trait]
impl Tamper for EndsAfterAThousand {
    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let mut page = at.inner.list_page(prefix, cursor, limit.min(1_000)).await?;
        if page.keys.len() == 1_000 {
            page.next = None;
        }
        Ok(page)
    }
}

/// What was written after a listing began is left out, be it written over an older value.
#[derive(Debug, Default)]
pub(crate) struct ListsWhatIsOlder(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    writes: u64,
    last: HashMap<(Namespace, String), u64>,
    began: u64,
}

impl ListsWhatIsOlder {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Tamper for ListsWhatIsOlder {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let outcome = at.inner.set_opts(key, value, options).await?;
        let mut written = self.lock();
        written.writes += 1;
        let now = written.writes;
        written.last.insert(at.name_of(key), now);
        Ok(outcome)
    }

    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let mut page = at.inner.list_page(prefix, cursor, limit).await?;
        let mut written = self.lock();
        if cursor.is_none() {
            written.began = written.writes;
        }
        let old = |key: &String| {
            written.last.get(&at.name_of(key)).is_none_or(|last| *last <= written.began)
        };
        page.keys.retain(old);
        Ok(page)
    }
}

/// A prefix with a slash in it is a folder.
#[derive(Debug)]
pub(crate) struct PrefixIsAFolder;

impl Twist for PrefixIsAFolder {
    fn begins_with(&self, key: &str, prefix: &str) -> bool {
        let ends =
            key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        key.starts_with(prefix) && (ends || !prefix.contains('/') || prefix.ends_with('/'))
    }
}

/// A listing goes on from the place of the key that it ended with, or, where that is gone, begins anew.
#[derive(Debug)]
pub(crate) struct CursorNeedsItsKey;

impl Twist for CursorNeedsItsKey {
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let after = after.filter(|after| scanned.iter().any(|one| one.name == *after));
        Honest.page(scanned, after, limit)
    }
}

/// A cursor whose key has expired ends the listing.
#[derive(Debug)]
pub(crate) struct CursorDiesWithItsKey;

impl Twist for CursorDiesWithItsKey {
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let dead = |one: &Scanned| !one.live && Some(&*one.name) == after;
        if scanned.iter().any(dead) {
            return (Vec::new(), None);
        }
        Honest.page(scanned, after, limit)
    }
}
