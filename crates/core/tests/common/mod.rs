//! A small honest store for the tests of this crate: an ordered map behind one mutex; and what any
//! store over one must answer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "shared by several test files")]
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_core::{
    Bytes, Capabilities, Clock, Condition, Cursor, CursorScope, Deadline, DeleteOptions, Entry,
    Error, ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, ManualClock, Namespace, Resolved,
    Result, SetItem, SetOptions, SetOutcome, Store, StoreContext, StoreExt, Version, async_trait,
    forward_store,
};

type Record = (Bytes, Option<Deadline>);

#[derive(Debug, Clone)]
pub struct MapStore {
    pub clock: ManualClock,
    context: StoreContext,
    map: Arc<Mutex<BTreeMap<String, Record>>>,
}

impl MapStore {
    pub fn new() -> Self {
        let all = Capabilities::new().with_list(true).with_ordered_list(true).with_conditions(true);
        Self::with_capabilities(all.with_renew(true))
    }

    pub fn with_capabilities(capabilities: Capabilities) -> Self {
        let context = StoreContext::new("map", capabilities);
        Self { clock: ManualClock::new(), context, map: Arc::default() }
    }

    pub fn physical_keys(&self) -> Vec<String> {
        self.map.lock().unwrap().keys().cloned().collect()
    }

    fn live(&self, key: &str) -> Option<Record> {
        let now = self.clock.now();
        let record = self.map.lock().unwrap().get(key).cloned()?;
        record.1.is_none_or(|deadline| !deadline.is_past(now)).then_some(record)
    }

    fn holds(&self, key: &str, condition: &Condition) -> bool {
        condition.holds(self.live(key).as_ref().map(|(value, _)| &value[..]))
    }
}

#[async_trait]
impl Store for MapStore {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let _call = self.context.begin("get", key)?;
        let Some((value, mut deadline)) = self.live(key) else { return Ok(None) };
        let now = self.clock.now();
        if let (Some(renew_for), Some(_)) = (options.renew_for, deadline) {
            deadline = Some(Deadline::after(now, renew_for));
            self.map.lock().unwrap().insert(key.into(), (value.clone(), deadline));
        }
        let mut entry = Entry::new(value.clone());
        if options.expires_in {
            entry = entry.with_expires_in(ExpiresIn::until(deadline, now));
        }
        if options.version {
            entry = entry.with_version(Version::new(value));
        }
        Ok(Some(entry))
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let _call = self.context.begin("set", key)?;
        if !self.holds(key, &options.condition) {
            return Ok(SetOutcome::ConditionNotMet);
        }
        let deadline = match options.expiry.resolve(self.clock.now()) {
            Resolved::Never => None,
            Resolved::At(deadline) => Some(deadline),
            Resolved::Keep => self.live(key).and_then(|(_, deadline)| deadline),
            Resolved::Gone => {
                self.map.lock().unwrap().remove(key);
                return Ok(SetOutcome::Applied);
            }
        };
        self.map.lock().unwrap().insert(key.into(), (value, deadline));
        Ok(SetOutcome::Applied)
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let _call = self.context.begin("delete", key)?;
        let live = self.live(key).is_some() && self.holds(key, &options.condition);
        if live {
            self.map.lock().unwrap().remove(key);
        }
        Ok(live)
    }

    async fn delete_all(&self) -> Result<()> {
        let _call = self.context.begin_keyless("delete_all")?;
        self.map.lock().unwrap().clear();
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let _call = self.context.begin("update_expiry", key)?;
        let Some((value, _)) = self.live(key) else { return Ok(false) };
        let options = SetOptions::default().with_expiry(expiry);
        Ok(self.set_opts(key, value, options).await?.is_applied())
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let _call = self.context.begin_keyless("list_page")?;
        let scope = CursorScope::keys(b"map", &Namespace::root(), prefix);
        let after = cursor.map(|cursor| scope.open(cursor)).transpose()?;
        if limit == 0 {
            return Err(ErrorKind::InvalidConfig.into());
        }
        let keys: Vec<String> = self
            .physical_keys()
            .into_iter()
            .filter(|key| key.starts_with(prefix) && self.live(key).is_some())
            .filter(|key| after.as_ref().is_none_or(|after| key.as_bytes() > &after[..]))
            .take(limit)
            .collect();
        let next = keys.last().filter(|_| keys.len() == limit);
        let next = next.map(|last| scope.seal(last.as_bytes()));
        Ok(ListPage::new(keys, next))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let _call = self.context.begin_keyless("delete_prefix")?;
        let keys = self.physical_keys().into_iter().filter(|key| key.starts_with(prefix));
        let mut deleted = 0;
        for key in keys {
            deleted += u64::from(self.live(&key).is_some());
            self.map.lock().unwrap().remove(&key);
        }
        Ok(deleted)
    }

    async fn close(&self) -> Result<()> {
        self.context.lifecycle().close();
        self.context.lifecycle().idle().await;
        Ok(())
    }
}

pub fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// The five methods that a store must have and no more; those on keys with a certain end fail.
#[derive(Debug, Clone)]
pub struct Picky {
    inner: MapStore,
    end: &'static str,
    fails_with: ErrorKind,
}

impl Picky {
    pub fn new(end: &'static str, fails_with: ErrorKind) -> Self {
        Self { inner: MapStore::new(), end, fails_with }
    }

    fn check(&self, key: &str) -> Result<()> {
        if !key.ends_with(self.end) {
            return Ok(());
        }
        Err(Error::from(self.fails_with).with_key(key))
    }
}

#[async_trait]
impl Store for Picky {
    forward_store!(inner: delete_all, capabilities);

    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.check(key)?;
        self.inner.get_opts(key, options).await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.check(key)?;
        self.inner.set_opts(key, value, options).await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.check(key)?;
        self.inner.delete_opts(key, options).await
    }
}

/// Counts how often another task of a runtime with one thread gets its turn.
pub fn count_turns() -> Arc<AtomicU32> {
    let turns = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            counted.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
        }
    });
    turns
}

/// Asks everything of an empty store over a `MapStore`.
pub async fn assert_answers(store: &dyn Store, clock: &ManualClock) {
    let minute = Duration::from_secs(60);
    assert!(!store.exists("a").await.unwrap());
    assert_eq!(store.expires_in("a").await.unwrap(), ExpiresIn::Missing);
    store.set("a", "1").await.unwrap();
    assert!(store.exists("a").await.unwrap());
    assert_eq!(store.expires_in("a").await.unwrap(), ExpiresIn::Never);
    assert!(store.update_expiry("a", minute.into()).await.unwrap());
    assert!(!store.update_expiry("-", minute.into()).await.unwrap());
    assert_eq!(store.expires_in("a").await.unwrap(), ExpiresIn::In(minute));
    clock.advance(minute);
    assert_eq!(store.get("a").await.unwrap(), None);

    let once = SetOptions::default().with_condition(Condition::Absent);
    let items = vec![
        SetItem::new("b", "1"),
        SetItem::new("a", "2").with_options(SetOptions::default().with_expiry(minute)),
        SetItem::new("b", "3"),
        SetItem::new("b", "4").with_options(once),
    ];
    let outcomes = store.set_many(items).await.unwrap().into_iter().map(Result::unwrap);
    assert_eq!(outcomes.map(SetOutcome::is_applied).collect::<Vec<_>>(), [true, true, true, false]);
    let values = store.get_many(&["b", "-", "a", "b"]).await.unwrap().into_iter();
    let values: Vec<_> = values.map(Result::unwrap).collect();
    let expected = [Some("3"), None, Some("2"), Some("3")];
    assert_eq!(values, expected.map(|value| value.map(Bytes::from)));
    assert_eq!(store.expires_in("a").await.unwrap(), ExpiresIn::In(minute));
    let outcome = store.delete_many(&["a", "-", "a"]).await.unwrap();
    let deleted: Vec<_> = outcome.outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!((outcome.existed, &deleted[..]), (1, &[true, false, false][..]));
    assert!(store.get_many(&[]).await.unwrap().is_empty());
    assert!(store.set_many(vec![]).await.unwrap().is_empty());
    assert_eq!(store.delete_many(&[]).await.unwrap().existed, 0);

    let version = store.get_entry("b").await.unwrap().unwrap().version.unwrap();
    store.set("b", "5").await.unwrap();
    assert!(!store.delete("b").if_matches(version).await.unwrap());
    assert!(store.delete("b").await.unwrap());
    assert!(!store.delete("b").await.unwrap());

    for key in ["p:1", "p:2", "q"] {
        store.set(key, "").await.unwrap();
    }
    assert_eq!(store.list_page("p:", None, 9).await.unwrap().keys, ["p:1", "p:2"]);
    assert_eq!(store.delete_prefix("p:").await.unwrap(), 2);
    assert_eq!(store.list_page("", None, 9).await.unwrap().keys, ["q"]);
    store.delete_all().await.unwrap();
    assert!(!store.exists("q").await.unwrap());
    store.flush().await.unwrap();
    store.ping().await.unwrap();
}

/// Asks everything of a store that was closed.
pub async fn assert_closed(store: &dyn Store) {
    let answers = [
        kind(store.get("k").await),
        kind(store.set("k", "v").await),
        kind(store.delete("k").await),
        kind(store.delete_all().await),
        kind(store.exists("k").await),
        kind(store.expires_in("k").await),
        kind(store.get_many(&["k", "l"]).await),
        kind(store.set_many(vec![SetItem::new("k", "v"), SetItem::new("l", "w")]).await),
        kind(store.delete_many(&["k", "l"]).await),
        kind(store.update_expiry("k", Expiry::Never).await),
        kind(store.list_page("", None, 1).await),
        kind(store.delete_prefix("").await),
        kind(store.flush().await),
        kind(store.ping().await),
    ];
    assert_eq!(answers, [ErrorKind::Closed; 14]);
    store.close().await.unwrap();
}
