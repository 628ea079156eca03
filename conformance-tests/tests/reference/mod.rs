//! A small honest store: a map behind a mutex, with settings that make it odd and leave it correct.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_core::{
    Bytes, Capabilities, Clock, Condition, Cursor, CursorScope, Deadline, DeleteOptions, Entry,
    Error, ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, ManualClock, Namespace, Resolved,
    Result, SetOptions, SetOutcome, Store, StoreContext, Version, async_trait,
    chrono::{DateTime, Utc},
};

#[derive(Debug, Clone)]
pub(crate) struct Reference {
    context: StoreContext,
    clock: ManualClock,
    records: Arc<Mutex<BTreeMap<String, Record>>>,
    /// The most keys of a page, whatever is asked for; every second page is empty if it is 0.
    page: usize,
}

#[derive(Debug, Clone)]
struct Record {
    value: Bytes,
    deadline: Option<Deadline>,
}

type Records<'a> = MutexGuard<'a, BTreeMap<String, Record>>;

/// Everything that a map behind a mutex can do.
pub(crate) fn everything() -> Capabilities {
    Capabilities::new()
        .with_list(true)
        .with_ordered_list(true)
        .with_conditions(true)
        .with_renew(true)
        .with_purge(true)
}

impl Reference {
    pub(crate) fn new(capabilities: Capabilities, clock: ManualClock) -> Self {
        let context = StoreContext::new("reference", capabilities);
        Self { context, clock, records: Arc::default(), page: usize::MAX }
    }

    pub(crate) fn with_page(mut self, page: usize) -> Self {
        self.page = page;
        self
    }

    fn lock(&self) -> Records<'_> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scope(&self, prefix: &str) -> CursorScope {
        let id = (Arc::as_ptr(&self.records) as usize).to_le_bytes();
        CursorScope::keys(&id, &Namespace::root(), prefix)
    }

    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        self.context.capabilities().round_expiry(expiry).resolve(now)
    }
}

fn live<'a>(records: &'a mut Records<'_>, key: &str, now: DateTime<Utc>) -> Option<&'a mut Record> {
    records.get_mut(key).filter(|record| record.deadline.is_none_or(|end| !end.is_past(now)))
}

fn holds(condition: &Condition, found: Option<&Record>) -> bool {
    match condition {
        Condition::Absent => found.is_none(),
        Condition::Present => found.is_some(),
        Condition::Matches(version) => found.is_some_and(|r| r.value == version.as_bytes()),
        _ => true,
    }
}

#[async_trait]
impl Store for Reference {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.context.check("get", key)?;
        self.capabilities().check_get(&options)?;
        let now = self.clock.now();
        let mut records = self.lock();
        let Some(record) = live(&mut records, key, now) else {
            return Ok(None);
        };
        let mut gone = false;
        if let (Some(renew), Some(_)) = (options.renew_for, record.deadline) {
            match self.resolve(Expiry::After(renew), now) {
                Resolved::At(deadline) => record.deadline = Some(deadline),
                _ => gone = true,
            }
        }
        let mut entry = Entry::new(record.value.clone());
        if options.expires_in && !gone {
            entry = entry.with_expires_in(ExpiresIn::until(record.deadline, now));
        }
        if options.version {
            entry = entry.with_version(Version::new(record.value.clone()));
        }
        if gone {
            records.remove(key);
        }
        Ok(Some(entry))
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.context.check("set", key)?;
        self.capabilities().check_set(value.len(), &options)?;
        let now = self.clock.now();
        let mut records = self.lock();
        let found = live(&mut records, key, now);
        if !holds(&options.condition, found.as_deref()) {
            return Ok(SetOutcome::ConditionNotMet);
        }
        let kept = found.and_then(|record| record.deadline);
        let deadline = match self.resolve(options.expiry, now) {
            Resolved::Gone => {
                records.remove(key);
                return Ok(SetOutcome::Applied);
            }
            Resolved::Never => None,
            Resolved::At(deadline) => Some(deadline),
            Resolved::Keep => kept,
        };
        let value = Bytes::copy_from_slice(&value);
        records.insert(key.to_owned(), Record { value, deadline });
        Ok(SetOutcome::Applied)
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.context.check("delete", key)?;
        self.capabilities().check_delete(&options)?;
        let now = self.clock.now();
        let mut records = self.lock();
        let found = live(&mut records, key, now);
        let applies = found.is_some() && holds(&options.condition, found.as_deref());
        if applies {
            records.remove(key);
        }
        Ok(applies)
    }

    async fn delete_all(&self) -> Result<()> {
        self.context.check("delete_all", "")?;
        self.lock().clear();
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.context.check("update_expiry", key)?;
        if !self.capabilities().renew {
            return Err(Error::unsupported("renew"));
        }
        let now = self.clock.now();
        let mut records = self.lock();
        let Some(record) = live(&mut records, key, now) else {
            return Ok(false);
        };
        match self.resolve(expiry, now) {
            Resolved::Keep => {}
            Resolved::Never => record.deadline = None,
            Resolved::At(deadline) => record.deadline = Some(deadline),
            Resolved::Gone => {
                records.remove(key);
            }
        }
        Ok(true)
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        self.context.check("list_page", "")?;
        if !self.capabilities().list {
            return Err(Error::unsupported("list"));
        }
        if limit == 0 {
            return Err(Error::new(ErrorKind::InvalidConfig, "a limit of zero"));
        }
        let scope = self.scope(prefix);
        let from = match cursor {
            None => Bound::Included(prefix.to_owned()),
            Some(cursor) => {
                let position = scope.open(cursor)?;
                Bound::Excluded(String::from_utf8_lossy(&position).into_owned())
            }
        };
        let now = self.clock.now();
        let records = self.lock();
        let (mut keys, mut last, mut seen) = (Vec::new(), None, 0);
        for (key, record) in records.range::<String, _>((from, Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            if keys.len() == limit || seen == self.page {
                return Ok(ListPage::new(
                    keys,
                    last.map(|last: &String| scope.seal(last.as_bytes())),
                ));
            }
            seen += 1;
            if record.deadline.is_none_or(|end| !end.is_past(now)) {
                keys.push(key.clone());
            }
            last = Some(key);
        }
        Ok(ListPage::new(keys, None))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.context.check("delete_prefix", "")?;
        if !self.capabilities().list {
            return Err(Error::unsupported("list"));
        }
        let now = self.clock.now();
        let mut records = self.lock();
        let mut count = 0;
        records.retain(|key, record| {
            let hit = key.starts_with(prefix);
            count += u64::from(hit && record.deadline.is_none_or(|end| !end.is_past(now)));
            !hit
        });
        Ok(count)
    }

    async fn list_child_namespaces(
        &self,
        _cursor: Option<&Cursor>,
        _limit: usize,
    ) -> Result<larder_core::NamespacePage> {
        self.context.check("list_child_namespaces", "")?;
        if !self.capabilities().list {
            return Err(Error::unsupported("list"));
        }
        Ok(larder_core::NamespacePage::default())
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.context.check("delete_expired", "")?;
        if !self.capabilities().purge {
            return Err(Error::unsupported("purge"));
        }
        let now = self.clock.now();
        let mut records = self.lock();
        let before = records.len();
        records.retain(|_, record| record.deadline.is_none_or(|end| !end.is_past(now)));
        Ok((before - records.len()) as u64)
    }

    async fn flush(&self) -> Result<()> {
        self.context.check("flush", "")
    }

    async fn ping(&self) -> Result<()> {
        self.context.check("ping", "")
    }

    async fn close(&self) -> Result<()> {
        self.context.lifecycle().close();
        Ok(())
    }
}
