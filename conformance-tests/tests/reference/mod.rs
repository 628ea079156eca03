//! A small honest store: a map behind a mutex, with settings that make it odd and leave it correct.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_core::{
    Bytes, Capabilities, Clock, Condition, Cursor, CursorScope, Deadline, DeleteOptions, Entry,
    Error, ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, Namespace, NamespacePage, Resolved,
    Result, SetOptions, SetOutcome, Store, StoreContext, Version, async_trait,
    chrono::{DateTime, Utc},
};

#[derive(Debug, Clone)]
pub(crate) struct Reference {
    context: StoreContext,
    clock: Arc<dyn Clock>,
    records: Arc<Mutex<BTreeMap<String, Record>>>,
    /// Gives every write a number.
    writes: Arc<AtomicU64>,
    /// How often each key was written.
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
    oddities: Oddities,
}

/// What makes the store odd.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Oddities {
    /// A page looks at no more than so many records; 0 for no such limit.
    pub(crate) page: usize,
    /// What versions are.
    pub(crate) versions: Versions,
    /// Every call on a key purges first.
    pub(crate) eager: bool,
    /// Listings go backwards.
    pub(crate) backwards: bool,
}

/// What versions are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Versions {
    #[default]
    Contents,
    /// Numbers of writes.
    Numbers,
    /// Numbers of writes to the key, which begin anew for each key.
    NumbersByKey,
}

#[derive(Debug, Clone)]
struct Record {
    value: Bytes,
    deadline: Option<Deadline>,
    write: u64,
}

impl Record {
    fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.deadline.is_none_or(|end| !end.is_past(now))
    }
}

type Records = BTreeMap<String, Record>;

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
    pub(crate) fn new(capabilities: Capabilities, clock: impl Clock + 'static) -> Self {
        Self {
            context: StoreContext::new("reference", capabilities),
            clock: Arc::new(clock),
            records: Arc::default(),
            writes: Arc::default(),
            counts: Arc::default(),
            oddities: Oddities::default(),
        }
    }

    pub(crate) fn with_oddities(mut self, oddities: Oddities) -> Self {
        self.oddities = oddities;
        self
    }

    /// The records and the time, which is read once they are held.
    fn begin(&self) -> (MutexGuard<'_, Records>, DateTime<Utc>) {
        let (mut records, now) = self.look();
        if self.oddities.eager {
            records.retain(|_, record| record.is_live(now));
        }
        (records, now)
    }

    fn look(&self) -> (MutexGuard<'_, Records>, DateTime<Utc>) {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        (records, now)
    }

    fn needs(&self, operation: &'static str, declared: bool, name: &'static str) -> Result<()> {
        self.context.check(operation, "")?;
        if declared { Ok(()) } else { Err(self.context.error(operation, Error::unsupported(name))) }
    }

    fn scope(&self, prefix: &str) -> CursorScope {
        let id = (Arc::as_ptr(&self.records) as usize).to_le_bytes();
        CursorScope::keys(&id, &Namespace::root(), prefix)
    }

    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        self.context.capabilities().round_expiry(expiry).resolve(now)
    }

    fn version(&self, record: &Record) -> Version {
        match self.oddities.versions {
            Versions::Contents => Version::new(record.value.clone()),
            _ => Version::new(record.write.to_be_bytes().to_vec()),
        }
    }

    fn holds(&self, condition: &Condition, found: Option<&Record>) -> bool {
        match condition {
            Condition::Absent => found.is_none(),
            Condition::Present => found.is_some(),
            Condition::Matches(version) => {
                found.is_some_and(|record| self.version(record) == *version)
            }
            _ => true,
        }
    }
}

fn live<'a>(records: &'a mut Records, key: &str, now: DateTime<Utc>) -> Option<&'a mut Record> {
    records.get_mut(key).filter(|record| record.is_live(now))
}

#[async_trait]
impl Store for Reference {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.context.check("get", key)?;
        self.capabilities().check_get(&options)?;
        let (mut records, now) = self.begin();
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
            entry = entry.with_version(self.version(record));
        }
        if gone {
            records.remove(key);
        }
        Ok(Some(entry))
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.context.check("set", key)?;
        self.capabilities().check_set(value.len(), &options)?;
        let (mut records, now) = self.begin();
        let found = live(&mut records, key, now);
        if !self.holds(&options.condition, found.as_deref()) {
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
        let write = if self.oddities.versions == Versions::NumbersByKey {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(key.to_owned()).or_default();
            *count += 1;
            *count
        } else {
            self.writes.fetch_add(1, Ordering::Relaxed)
        };
        let value = Bytes::copy_from_slice(&value);
        records.insert(key.to_owned(), Record { value, deadline, write });
        Ok(SetOutcome::Applied)
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.context.check("delete", key)?;
        self.capabilities().check_delete(&options)?;
        let (mut records, now) = self.begin();
        let found = live(&mut records, key, now);
        let applies = found.is_some() && self.holds(&options.condition, found.as_deref());
        if applies {
            records.remove(key);
        }
        Ok(applies)
    }

    async fn delete_all(&self) -> Result<()> {
        self.context.check("delete_all", "")?;
        self.begin().0.clear();
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.context.check("update_expiry", key)?;
        self.needs("update_expiry", self.capabilities().renew, "renew")?;
        let (mut records, now) = self.begin();
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
        self.needs("list_page", self.capabilities().list, "list")?;
        if limit == 0 {
            return Err(Error::new(ErrorKind::InvalidConfig, "a limit of zero"));
        }
        let scope = self.scope(prefix);
        let last = match cursor {
            None => None,
            Some(cursor) => Some(String::from_utf8_lossy(&scope.open(cursor)?).into_owned()),
        };
        let (records, now) = self.look();
        let start = Bound::Included(prefix.to_owned());
        // No text that begins with the prefix comes after this.
        let end = Bound::Excluded(format!("{prefix}\u{10ffff}\u{10ffff}"));
        let following: Box<dyn Iterator<Item = (&String, &Record)>> = match last {
            None if self.oddities.backwards => {
                Box::new(records.range::<String, _>((start, end)).rev())
            }
            None => Box::new(records.range::<String, _>((start, end))),
            Some(last) if self.oddities.backwards => {
                Box::new(records.range::<String, _>((start, Bound::Excluded(last))).rev())
            }
            Some(last) => Box::new(records.range::<String, _>((Bound::Excluded(last), end))),
        };
        let following = following.take_while(|(key, _)| key.starts_with(prefix));
        let most = if self.oddities.page == 0 { usize::MAX } else { self.oddities.page };
        let (mut keys, mut looked_at) = (Vec::new(), None);
        for (index, (key, record)) in following.enumerate() {
            if keys.len() == limit || index == most {
                let next = looked_at.map(|last: &String| scope.seal(last.as_bytes()));
                return Ok(ListPage::new(keys, next));
            }
            if record.is_live(now) {
                keys.push(key.clone());
            }
            looked_at = Some(key);
        }
        Ok(ListPage::new(keys, None))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.needs("delete_prefix", self.capabilities().list, "list")?;
        let (mut records, now) = self.begin();
        let mut count = 0;
        records.retain(|key, record| {
            let hit = key.starts_with(prefix);
            count += u64::from(hit && record.is_live(now));
            !hit
        });
        Ok(count)
    }

    async fn list_child_namespaces(
        &self,
        _cursor: Option<&Cursor>,
        _limit: usize,
    ) -> Result<NamespacePage> {
        self.needs("list_child_namespaces", self.capabilities().list, "list")?;
        Ok(NamespacePage::default())
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.needs("delete_expired", self.capabilities().purge, "purge")?;
        let (mut records, now) = self.begin();
        let before = records.len();
        records.retain(|_, record| record.is_live(now));
        let native = self.capabilities().native_expiry;
        Ok(if native { 0 } else { (before - records.len()) as u64 })
    }

    async fn close(&self) -> Result<()> {
        self.context.lifecycle().close();
        Ok(())
    }
}
