//! A Larder store in a SQLite file.
//!
//! One table holds every key, so this is a flat store; `larder_core::Namespaced` adds namespaces.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use larder_core::{
    Bytes, Capabilities, Clock, Condition, Cursor, CursorScope, Deadline, DeleteOptions, Durability,
    Entry, Error, ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, Namespace, Resolved, Result,
    SetOptions, SetOutcome, Store, StoreContext, SystemClock, Version, async_trait,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, ffi, params};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA busy_timeout = 5000;
    CREATE TABLE IF NOT EXISTS entries (
        key BLOB PRIMARY KEY,
        value BLOB NOT NULL,
        expires_at INTEGER  -- microseconds since the Unix epoch, NULL for never
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;";

/// How many expired rows one transaction removes.
const SLICE: usize = 500;

/// A store in a SQLite file; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    context: StoreContext,
    clock: Arc<dyn Clock>,
    connection: Arc<Mutex<Option<Connection>>>,
    /// Tells cursors of this store from those of others.
    identity: Arc<[u8]>,
}

impl SqliteStore {
    /// Opens the file at `path`, making it where it is missing.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with_clock(path, SystemClock).await
    }

    /// As [`open`](Self::open), with a clock of the caller's.
    pub async fn open_with_clock(path: impl AsRef<Path>, clock: impl Clock + 'static) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let identity = path.as_os_str().as_encoded_bytes().into();
        let connection = blocking(move || {
            let connection = Connection::open(path).map_err(map)?;
            connection.execute_batch(SCHEMA).map_err(map)?;
            Ok(connection)
        });
        let capabilities = Capabilities::new()
            .with_list(true)
            .with_ordered_list(true)
            .with_conditions(true)
            .with_renew(true)
            .with_purge(true)
            .with_shared(true)
            .with_durability(Durability::PowerLoss)
            .with_max_value_len(900_000_000);
        Ok(Self {
            context: StoreContext::new("sqlite", capabilities),
            clock: Arc::new(clock),
            connection: Arc::new(Mutex::new(Some(connection.await?))),
            identity,
        })
    }

    /// Runs `work` in one transaction on a blocking thread; `close` waits for it, wherever its
    /// caller went.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Transaction<'_>, &dyn Clock) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let call = self.context.begin(operation, key)?;
        let (connection, clock) = (self.connection.clone(), self.clock.clone());
        let done = blocking(move || {
            let _call = call;
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = connection.as_mut().ok_or(ErrorKind::Closed)?;
            let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let transaction = begun.map_err(map)?;
            let result = work(&transaction, &*clock)?;
            transaction.commit().map_err(map)?;
            Ok(result)
        });
        done.await.map_err(|error| self.context.key_error(operation, key, error))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Internal, "the work panicked").with_source(error)),
    }
}

fn map(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(ffi::ErrorCode::DiskFull) => ErrorKind::StorageFull,
        Some(ffi::ErrorCode::DatabaseBusy | ffi::ErrorCode::DatabaseLocked) => ErrorKind::Timeout,
        Some(ffi::ErrorCode::PermissionDenied | ffi::ErrorCode::ReadOnly) => {
            ErrorKind::PermissionDenied
        }
        Some(ffi::ErrorCode::DatabaseCorrupt | ffi::ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        Some(ffi::ErrorCode::CannotOpen) => ErrorKind::NotFound,
        Some(ffi::ErrorCode::TooBig) => ErrorKind::TooLarge,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, "").with_source(error)
}

struct Row {
    value: Bytes,
    deadline: Option<Deadline>,
}

/// The live row of a key.
fn live(transaction: &Transaction<'_>, clock: &dyn Clock, key: &[u8]) -> Result<Option<Row>> {
    let mut query = transaction
        .prepare_cached("SELECT value, expires_at FROM entries WHERE key = ?1")
        .map_err(map)?;
    let row = query
        .query_row([key], |row| {
            let deadline = row.get::<_, Option<i64>>(1)?.map(Deadline::from_micros);
            Ok(Row { value: row.get::<_, Vec<u8>>(0)?.into(), deadline })
        })
        .optional()
        .map_err(map)?;
    let now = clock.now();
    Ok(row.filter(|row| row.deadline.is_none_or(|deadline| !deadline.is_past(now))))
}

fn holds(row: Option<&Row>, condition: &Condition) -> Result<bool> {
    Ok(match condition {
        Condition::Any => true,
        Condition::Absent => row.is_none(),
        Condition::Present => row.is_some(),
        Condition::Matches(version) => row.is_some_and(|row| row.value == version.as_bytes()),
        _ => return Err(ErrorKind::Unsupported.into()),
    })
}

fn put(transaction: &Transaction<'_>, key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3)")
        .and_then(|mut put| put.execute(params![key, value, deadline.map(Deadline::as_micros)]))
        .map(drop)
        .map_err(map)
}

fn remove(transaction: &Transaction<'_>, key: &[u8]) -> Result<()> {
    transaction.execute("DELETE FROM entries WHERE key = ?1", [key]).map(drop).map_err(map)
}

/// The first key after all those that begin with `prefix`; `None` when there is none.
fn after_prefix(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut()? += 1; // UTF-8 has no byte 0xff
    Some(end)
}

#[async_trait]
impl Store for SqliteStore {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let name = key.as_bytes().to_vec();
        self.run("get", key, move |transaction, clock| {
            let Some(mut row) = live(transaction, clock, &name)? else { return Ok(None) };
            let now = clock.now();
            if let (Some(duration), Some(_)) = (options.renew_for, row.deadline) {
                match Expiry::After(duration).resolve(now) {
                    Resolved::At(deadline) => row.deadline = Some(deadline),
                    _ => remove(transaction, &name)?,
                }
                if !duration.is_zero() {
                    put(transaction, &name, &row.value, row.deadline)?;
                }
            }
            let mut entry = Entry::new(row.value.clone());
            if options.expires_in {
                entry = entry.with_expires_in(ExpiresIn::until(row.deadline, now));
            }
            if options.version {
                entry = entry.with_version(Version::new(row.value));
            }
            Ok(Some(entry))
        })
        .await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.context.capabilities().check_set(value.len(), &options)?;
        let name = key.as_bytes().to_vec();
        self.run("set", key, move |transaction, clock| {
            let old = live(transaction, clock, &name)?;
            if !holds(old.as_ref(), &options.condition)? {
                return Ok(SetOutcome::ConditionNotMet);
            }
            match options.expiry.resolve(clock.now()) {
                Resolved::Never => put(transaction, &name, &value, None)?,
                Resolved::At(deadline) => put(transaction, &name, &value, Some(deadline))?,
                Resolved::Keep => put(transaction, &name, &value, old.and_then(|old| old.deadline))?,
                Resolved::Gone => remove(transaction, &name)?,
            }
            Ok(SetOutcome::Applied)
        })
        .await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let name = key.as_bytes().to_vec();
        self.run("delete", key, move |transaction, clock| {
            let old = live(transaction, clock, &name)?;
            let applies = old.is_some() && holds(old.as_ref(), &options.condition)?;
            if applies {
                remove(transaction, &name)?;
            }
            Ok(applies)
        })
        .await
    }

    async fn delete_all(&self) -> Result<()> {
        self.delete_prefix("").await.map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let name = key.as_bytes().to_vec();
        self.run("update_expiry", key, move |transaction, clock| {
            let Some(row) = live(transaction, clock, &name)? else { return Ok(false) };
            match expiry.resolve(clock.now()) {
                Resolved::Never => put(transaction, &name, &row.value, None)?,
                Resolved::At(deadline) => put(transaction, &name, &row.value, Some(deadline))?,
                Resolved::Keep => {}
                Resolved::Gone => remove(transaction, &name)?,
            }
            Ok(true)
        })
        .await
    }

    async fn list_page(&self, prefix: &str, cursor: Option<&Cursor>, limit: usize) -> Result<ListPage> {
        let scope = CursorScope::keys(&self.identity, &Namespace::root(), prefix);
        let after = cursor.map(|cursor| scope.open(cursor)).transpose()?;
        if limit == 0 {
            return Err(Error::new(ErrorKind::InvalidConfig, "a page has room for one key at least"));
        }
        let (first, end) = (prefix.as_bytes().to_vec(), after_prefix(prefix));
        let keys: Vec<String> = self
            .run("list_page", "", move |transaction, clock| {
                let now = Deadline::at(clock.now()).as_micros();
                let mut query = transaction
                    .prepare_cached(
                        "SELECT key FROM entries WHERE key >= ?1 AND (?2 IS NULL OR key < ?2)
                         AND (?3 IS NULL OR key > ?3) AND (expires_at IS NULL OR expires_at > ?4)
                         ORDER BY key LIMIT ?5",
                    )
                    .map_err(map)?;
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let after = after.as_deref();
                let rows = query
                    .query_map(params![first, end, after, now, limit], |row| row.get::<_, Vec<u8>>(0))
                    .map_err(map)?;
                rows.map(|key| {
                    String::from_utf8(key.map_err(map)?).map_err(|_| ErrorKind::Corrupt.into())
                })
                .collect()
            })
            .await?;
        let next = keys.last().filter(|_| keys.len() == limit).map(|last| scope.seal(last.as_bytes()));
        Ok(ListPage::new(keys, next))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let (first, end) = (prefix.as_bytes().to_vec(), after_prefix(prefix));
        self.run("delete_prefix", "", move |transaction, clock| {
            let now = Deadline::at(clock.now()).as_micros();
            let range = "FROM entries WHERE key >= ?1 AND (?2 IS NULL OR key < ?2)";
            let count = format!("SELECT count(*) {range} AND (expires_at IS NULL OR expires_at > ?3)");
            let live: i64 = transaction
                .query_row(&count, params![first, end, now], |row| row.get(0))
                .map_err(map)?;
            transaction.execute(&format!("DELETE {range}"), params![first, end]).map_err(map)?;
            Ok(live.unsigned_abs())
        })
        .await
    }

    async fn delete_expired(&self) -> Result<u64> {
        let mut all = 0;
        loop {
            let slice = self.run("delete_expired", "", |transaction, clock| {
                let now = clock.now().timestamp_micros();
                let sql = "DELETE FROM entries WHERE key IN
                    (SELECT key FROM entries WHERE expires_at <= ?1 LIMIT ?2)";
                transaction.execute(sql, params![now, SLICE]).map_err(map)
            });
            let removed = slice.await?;
            all += removed as u64;
            if removed < SLICE {
                return Ok(all);
            }
        }
    }

    async fn close(&self) -> Result<()> {
        self.context.lifecycle().close();
        self.context.lifecycle().idle().await;
        let connection = self.connection.clone();
        blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner).take();
            connection.map_or(Ok(()), |open| open.close().map_err(|(_, error)| map(error)))
        })
        .await
    }
}
