//! A small honest store for the tests of this crate: an ordered map behind one mutex.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "shared by several test files")]
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use larder_core::{
    Bytes, Capabilities, Clock, Condition, Cursor, CursorScope, Deadline, DeleteOptions, Entry,
    Error, ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, ManualClock, Namespace, Resolved,
    Result, SetOptions, SetOutcome, Store, StoreContext, Version, async_trait,
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
