use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Capabilities, Clock, Condition, CursorScope, Deadline, Error, ErrorKind, ExpiresIn,
    Expiry, Namespace, Resolved, Result, StoreContext, Version,
};

use super::codec::Record;
use super::medium::Contents;
use super::store::everything;

/// The decisions that a shelf makes inside its calls. Each default is honest; a planted bug replaces
/// one of them, and so the store differs from the honest one in that alone.
pub(crate) trait Twist: Debug + Send + Sync + 'static {
    fn capabilities(&self) -> Capabilities {
        everything()
    }

    /// A process opens the shelf.
    fn open(&self, contents: &mut Contents, now: DateTime<Utc>) -> Result<()> {
        let _ = (contents, now);
        Ok(())
    }

    /// The root handle is closed.
    fn closed(&self, contents: &mut Contents) {
        let _ = contents;
    }

    /// The state of a child made from a handle with this one.
    fn child_context(&self, parent: &StoreContext) -> StoreContext {
        parent.child()
    }

    /// The clock of a child made from a handle with this one.
    fn child_clock(&self, parent: &Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::clone(parent)
    }

    fn admits(&self, capabilities: Capabilities, key: &str) -> Result<()> {
        capabilities.check_key(key)
    }

    /// Where the record of a key lies.
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        format!("{}:{key}", prefix_of(namespace))
    }

    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        expiry.resolve(now)
    }

    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        let _ = call;
        deadline.is_past(now)
    }

    fn left(&self, deadline: Option<Deadline>, now: DateTime<Utc>) -> ExpiresIn {
        ExpiresIn::until(deadline, now)
    }

    /// What a get with renewal does to a live record; `None` leaves it as it is.
    fn renewed(
        &self,
        old: Option<Deadline>,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Option<Resolved> {
        old.map(|_| Expiry::After(duration).resolve(now))
    }

    /// What a get with renewal finds; `stale` is what lies there, live or expired.
    fn to_renew(&self, live: Option<Record>, stale: Option<Record>) -> Option<Record> {
        let _ = stale;
        live
    }

    /// The deadline of a set without expiry; `old` is that of a live record replaced.
    fn never(&self, old: Option<Deadline>) -> Option<Deadline> {
        let _ = old;
        None
    }

    /// The deadline that a set keeps; `stale` is what lies there, live or expired.
    fn kept(&self, live: Option<&Record>, stale: Option<&Record>) -> Option<Deadline> {
        let _ = stale;
        live.and_then(|record| record.deadline)
    }

    /// What a set that expires at once does to the record in its place.
    fn gone_at_once(&self, contents: &mut Contents, place: &str) {
        contents.live.remove(place);
    }

    /// What `update_expiry` into the past answers for a live key.
    fn updated_into_the_past(&self) -> bool {
        true
    }

    /// The value as it is encoded, which copies it.
    fn stored(&self, value: Bytes) -> Bytes {
        value
    }

    fn shown(&self, value: Bytes) -> Option<Bytes> {
        Some(value)
    }

    fn encode(&self, record: &Record) -> Bytes {
        record.encode()
    }

    fn decode(&self, bytes: &Bytes) -> Result<Record> {
        Record::decode(bytes)
    }

    fn holds(&self, condition: &Condition, live: Option<&Record>) -> bool {
        condition.holds(live.map(|record| &record.value[..]))
    }

    fn version(&self, record: &Record) -> Version {
        Version::new(record.value.clone())
    }

    /// Whether a record that a call finds expired is removed by it.
    fn tidies(&self) -> bool {
        false
    }

    /// The deadline that a set whose condition did not hold leaves on the live record.
    fn lost(&self, old: Option<Deadline>, asked: Resolved) -> Option<Deadline> {
        let _ = asked;
        old
    }

    /// Whether clearing `namespace` takes this place.
    fn covers(&self, namespace: &Namespace, place: &str) -> bool {
        is_within(namespace, place)
    }

    /// Whether purging `namespace` looks at this place.
    fn purges(&self, namespace: &Namespace, place: &str) -> bool {
        is_within(namespace, place)
    }

    /// How many records a purge says that it removed.
    fn purged(&self, removed: u64, seen: u64) -> u64 {
        let _ = seen;
        removed
    }

    /// What a purge does with a record that it cannot read.
    fn unreadable(&self, error: Error) -> Result<()> {
        let _ = error;
        Ok(())
    }

    /// Whether a listing of `namespace` takes the key at this place.
    fn lists(&self, namespace: &Namespace, place: &str) -> bool {
        place.strip_prefix(&prefix_of(namespace)).is_some_and(|rest| rest.starts_with(':'))
    }

    fn begins_with(&self, key: &str, prefix: &str) -> bool {
        key.starts_with(prefix)
    }

    /// The order of a listing.
    fn sort(&self, scanned: &mut [Scanned]) {
        scanned.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn scope(&self, store: &[u8], namespace: &Namespace, prefix: &str) -> CursorScope {
        CursorScope::keys(store, namespace, prefix)
    }

    /// One page of what was scanned, in order, after a position; and the position of the next one.
    fn page(
        &self,
        scanned: &[Scanned],
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let from = after.map_or(0, |after| scanned.partition_point(|one| *one.name <= *after));
        let mut rest = scanned[from..].iter().filter(|one| one.live).map(|one| one.name.clone());
        let keys: Vec<String> = rest.by_ref().take(limit).collect();
        let next = rest.next().and(keys.last().cloned());
        (keys, next)
    }

    fn admits_limit(&self, limit: usize) -> Result<()> {
        if limit > 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidConfig, "a page has room for at least one key"))
    }

    /// The child of `namespace` below which this place lies; `deep` if not directly in it.
    fn child(&self, segment: String, live: bool, deep: bool) -> Option<String> {
        let _ = deep;
        live.then_some(segment)
    }

    /// Writes a record, where there is room.
    fn put(&self, contents: &mut Contents, place: &str, bytes: Bytes) -> Result<()> {
        if contents.full {
            return Err(Error::new(ErrorKind::StorageFull, "no room"));
        }
        contents.live.insert(place.to_owned(), bytes);
        Ok(())
    }

    /// Makes what `call` did to this place outlive the process, before the call ends.
    fn persist(&self, contents: &mut Contents, place: &str, call: Call) {
        let _ = call;
        remember(contents, place);
    }

    /// Makes outlive the process what does not yet; honestly, there is nothing of the kind.
    fn flush(&self, contents: &mut Contents) {
        let _ = contents;
    }

    /// The address as `Debug` shows it.
    fn address(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap_or(("shelf", url));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    }
}

/// Who asks whether a record is gone, or changes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Renew,
    Set,
    ConditionalSet,
    Delete,
    ConditionalDelete,
    Clear,
    Exists,
    ExpiresIn,
    UpdateExpiry,
    List,
    Children,
    DeletePrefix,
    Purge,
}

/// A name met while listing.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    pub(crate) name: String,
    pub(crate) live: bool,
}

/// The honest choice in everything.
#[derive(Debug)]
pub(crate) struct Honest;

impl Twist for Honest {}

/// What all places in and below a namespace begin with, followed by `:` or `/`.
pub(crate) fn prefix_of(namespace: &Namespace) -> String {
    join(namespace, |segment| Namespace::escape_segment(segment).into_owned())
}

/// The segments, each escaped and after a slash.
pub(crate) fn join(namespace: &Namespace, escape: impl Fn(&str) -> String) -> String {
    namespace.segments().fold(String::new(), |mut path, segment| {
        path.push('/');
        path + &escape(segment)
    })
}

fn is_within(namespace: &Namespace, place: &str) -> bool {
    place
        .strip_prefix(&prefix_of(namespace))
        .is_some_and(|rest| rest.starts_with([':', '/']) && rest.contains(':'))
}

/// Copies a place to what is found after the process has ended.
pub(crate) fn remember(contents: &mut Contents, place: &str) {
    match contents.live.get(place).cloned() {
        Some(bytes) => contents.image.insert(place.to_owned(), bytes),
        None => contents.image.remove(place),
    };
}
