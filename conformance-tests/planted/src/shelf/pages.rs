use std::collections::BTreeSet;
use std::sync::Arc;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{Cursor, CursorScope, ListPage, Namespace, NamespacePage, Result};

use super::medium::{Contents, Listing};
use super::store::Shelf;
use super::twist::{Call, Scanned, prefix_of};

impl Shelf {
    /// Whether the record at a place is live; an unreadable one is `None`.
    fn is_live(&self, contents: &Contents, place: &str, now: DateTime<Utc>) -> Option<bool> {
        let record = self.twist.decode(contents.live.get(place)?).ok()?;
        let gone = |deadline| self.twist.is_gone(deadline, now, Call::Children);
        Some(!record.deadline.is_some_and(gone))
    }

    pub(super) fn list(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let twist = &self.twist;
        twist.admits_limit(limit)?;
        let scope = twist.scope(&self.medium.id(), &self.namespace, prefix);
        let after = position(scope, cursor)?;
        let now = self.now();
        let mut contents = self.medium.lock();
        let question =
            |now| (self.namespace.clone(), prefix.to_owned(), now, contents.live.changes());
        let answers = |last: &Listing| last.of == question(None) || last.of == question(Some(now));
        let (scanned, unlisted) = match &contents.listing {
            Some(last) if answers(last) => (Arc::clone(&last.scanned), last.unlisted),
            _ => {
                let (scanned, unlisted, expires) = self.scan(&contents, prefix, now);
                let of = question(expires.then_some(now));
                let listing = Listing { of, scanned: Arc::clone(&scanned), unlisted };
                contents.listing = Some(listing);
                (scanned, unlisted)
            }
        };
        drop(contents);
        let (keys, next) = twist.page(&scanned, after.as_deref(), limit);
        let page = ListPage::new(keys, next.map(|next| scope.seal(next.as_bytes())));
        Ok(page.with_unlisted(unlisted))
    }

    /// Every record that a listing looks at, in its order, how many could not be read, and whether
    /// any of them expires.
    fn scan(
        &self,
        contents: &Contents,
        prefix: &str,
        now: DateTime<Utc>,
    ) -> (Arc<[Scanned]>, u64, bool) {
        let twist = &self.twist;
        let (mut scanned, mut unlisted, mut expires) = (Vec::new(), 0, false);
        for (place, bytes) in contents.live.iter() {
            if !twist.lists(&self.namespace, place) {
                continue;
            }
            let Ok(record) = twist.decode(bytes) else {
                unlisted += 1;
                continue;
            };
            if twist.begins_with(&record.key, prefix) {
                let gone = |deadline| twist.is_gone(deadline, now, Call::List);
                let live = !record.deadline.is_some_and(gone);
                expires |= record.deadline.is_some();
                scanned.push(Scanned { name: record.key, live });
            }
        }
        twist.sort(&mut scanned);
        (scanned.into(), unlisted, expires)
    }

    pub(super) fn children(&self, cursor: Option<&Cursor>, limit: usize) -> Result<NamespacePage> {
        let twist = &self.twist;
        twist.admits_limit(limit)?;
        let scope = CursorScope::namespaces(&self.medium.id(), &self.namespace);
        let after = position(scope, cursor)?;
        let now = self.now();
        let contents = self.medium.lock();
        let below = format!("{}/", prefix_of(&self.namespace));
        let mut found = BTreeSet::new();
        for place in contents.live.keys() {
            let Some((path, _)) = place.strip_prefix(&below).and_then(|rest| rest.split_once(':'))
            else {
                continue;
            };
            let (segment, deep) =
                path.split_once('/').map_or((path, false), |(segment, _)| (segment, true));
            let Some(segment) = Namespace::unescape_segment(segment) else {
                continue;
            };
            let live = self.is_live(&contents, place, now).unwrap_or(false);
            found.extend(twist.child(segment.into_owned(), live, deep));
        }
        drop(contents);
        let from = after.as_deref().unwrap_or_default();
        let mut rest = found.into_iter().filter(|child| **child > *from);
        let segments: Vec<String> = rest.by_ref().take(limit).collect();
        let next = rest.next().and(segments.last().cloned());
        Ok(NamespacePage::new(segments, next.map(|next| scope.seal(next.as_bytes()))))
    }
}

fn position(scope: CursorScope, cursor: Option<&Cursor>) -> Result<Option<String>> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    Ok(Some(String::from_utf8_lossy(&scope.open(cursor)?).into_owned()))
}
