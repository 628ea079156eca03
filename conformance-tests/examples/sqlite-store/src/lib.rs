//! A Larder store in a SQLite file.
//!
//! One table holds every key, so this is a flat store; `larder_core::Namespaced` adds namespaces.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Capabilities, Clock, Cursor, CursorScope, Deadline, DeleteOptions, Durability, Entry,
    Error, ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, Namespace, Resolved, Result,
    SetOptions, SetOutcome, Store, StoreContext, Version, async_trait,
};
use rusqlite::ffi::ErrorCode as Code;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA busy_timeout = 5000;
    CREATE TABLE IF NOT EXISTS entries (
        key BLOB PRIMARY KEY,
        value BLOB NOT NULL,
        expires_at INTEGER  -- microseconds since the Unix epoch, NULL for never
    ) WITHOUT ROWID;";

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
    /// Opens the file at `path`, making it where it is missing; `clock` is `SystemClock`, save in
    /// tests.
    pub async fn open(path: impl AsRef<Path>, clock: impl Clock + 'static) -> Result<Self> {
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
        work: impl FnOnce(&Transaction<'_>, DateTime<Utc>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let call = self.context.begin(operation, key)?;
        let (connection, clock) = (self.connection.clone(), self.clock.clone());
        let done = blocking(move || {
            let _call = call;
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = connection.as_mut().ok_or(ErrorKind::Closed)?;
            let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let transaction = begun.map_err(map)?;
            let result = work(&transaction, clock.now())?;
            transaction.commit().map_err(map)?;
            Ok(result)
        });
        done.await.map_err(|error| self.context.key_error(operation, key, error))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Internal, "the work panicked").with_source(error)),
    }
}

fn map(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(Code::DiskFull) => ErrorKind::StorageFull,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => ErrorKind::Timeout,
        Some(Code::PermissionDenied | Code::ReadOnly) => ErrorKind::PermissionDenied,
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => ErrorKind::Corrupt,
        Some(Code::CannotOpen) => ErrorKind::NotFound,
        Some(Code::TooBig) => ErrorKind::TooLarge,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, "").with_source(error)
}

/// What is stored for a key.
#[derive(Default)]
struct Row {
    value: Bytes,
    deadline: Option<Deadline>,
}

/// The live row of a key.
fn live(transaction: &Transaction<'_>, now: DateTime<Utc>, key: &[u8]) -> Result<Option<Row>> {
    let sql = "SELECT value, expires_at FROM entries WHERE key = ?1";
    let mut query = transaction.prepare_cached(sql).map_err(map)?;
    let row = query.query_row([key], |row| {
        let deadline = row.get::<_, Option<i64>>(1)?.map(Deadline::from_micros);
        Ok(Row { value: row.get::<_, Vec<u8>>(0)?.into(), deadline })
    });
    let row = row.optional().map_err(map)?;
    Ok(row.filter(|row| row.deadline.is_none_or(|deadline| !deadline.is_past(now))))
}

/// Stores a value with an expiry that was resolved; `old` is the deadline of the row it replaces.
fn put(
    transaction: &Transaction<'_>,
    key: &[u8],
    value: &[u8],
    expiry: Resolved,
    old: Option<Deadline>,
) -> Result<Option<Deadline>> {
    let deadline = match expiry {
        Resolved::Never => None,
        Resolved::At(deadline) => Some(deadline),
        Resolved::Keep => old,
        Resolved::Gone => {
            transaction.execute("DELETE FROM entries WHERE key = ?1", [key]).map_err(map)?;
            return Ok(old);
        }
    };
    let sql = "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3)";
    let mut query = transaction.prepare_cached(sql).map_err(map)?;
    query.execute(params![key, value, deadline.map(Deadline::as_micros)]).map_err(map)?;
    Ok(deadline)
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
        self.run("get", key, move |transaction, now| {
            let Some(mut row) = live(transaction, now, &name)? else { return Ok(None) };
            if let (Some(duration), Some(_)) = (options.renew_for, row.deadline) {
                let expiry = Expiry::After(duration).resolve(now);
                row.deadline = put(transaction, &name, &row.value, expiry, row.deadline)?;
            }
            let mut entry =
                Entry::new(row.value.clone()).with_expires_in(ExpiresIn::until(row.deadline, now));
            if options.version {
                entry = entry.with_version(Version::new(row.value));
            }
            Ok(Some(entry))
        })
        .await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let checked = self.context.capabilities().check_set(value.len(), &options);
        checked.map_err(|error| self.context.key_error("set", key, error))?;
        let name = key.as_bytes().to_vec();
        self.run("set", key, move |transaction, now| {
            let old = live(transaction, now, &name)?;
            let applies = options.condition.holds(old.as_ref().map(|row| &row.value[..]));
            if applies {
                let old = old.unwrap_or_default().deadline;
                put(transaction, &name, &value, options.expiry.resolve(now), old)?;
            }
            Ok(SetOutcome::from_applied(applies))
        })
        .await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let name = key.as_bytes().to_vec();
        self.run("delete", key, move |transaction, now| {
            let Some(row) = live(transaction, now, &name)? else { return Ok(false) };
            let applies = options.condition.holds(Some(&row.value));
            if applies {
                put(transaction, &name, &[], Resolved::Gone, None)?;
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
        self.run("update_expiry", key, move |transaction, now| {
            let Some(row) = live(transaction, now, &name)? else { return Ok(false) };
            put(transaction, &name, &row.value, expiry.resolve(now), row.deadline)?;
            Ok(true)
        })
        .await
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let scope = CursorScope::keys(&self.identity, &Namespace::root(), prefix);
        let after = cursor.map(|cursor| scope.open(cursor)).transpose()?;
        if limit == 0 {
            return Err(Error::new(ErrorKind::InvalidConfig, "a page has room for a key at least"));
        }
        let (first, end) = (prefix.as_bytes().to_vec(), after_prefix(prefix));
        let keys: Vec<String> = self
            .run("list_page", "", move |transaction, now| {
                let sql = "SELECT key FROM entries WHERE key >= ?1 AND (?2 IS NULL OR key < ?2)
                    AND (?3 IS NULL OR key > ?3) AND (expires_at IS NULL OR expires_at > ?4)
                    ORDER BY key LIMIT ?5";
                let mut query = transaction.prepare_cached(sql).map_err(map)?;
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let bounds = params![first, end, after.as_deref(), now.timestamp_micros(), limit];
                let rows = query.query_map(bounds, |row| row.get::<_, Vec<u8>>(0)).map_err(map)?;
                let keys: Vec<_> = rows.collect::<Result<_, _>>().map_err(map)?;
                let texts = keys.into_iter().map(String::from_utf8);
                texts.collect::<Result<_, _>>().map_err(|_| ErrorKind::Corrupt.into())
            })
            .await?;
        let last = keys.last().filter(|_| keys.len() == limit);
        let next = last.map(|last| scope.seal(last.as_bytes()));
        Ok(ListPage::new(keys, next))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let (first, end) = (prefix.as_bytes().to_vec(), after_prefix(prefix));
        self.run("delete_prefix", "", move |transaction, now| {
            let range = "FROM entries WHERE key >= ?1 AND (?2 IS NULL OR key < ?2)";
            let live = format!("SELECT count(*) {range} AND ifnull(expires_at > ?3, 1)");
            let bounds = params![first, end, now.timestamp_micros()];
            let live: i64 = transaction.query_row(&live, bounds, |row| row.get(0)).map_err(map)?;
            transaction.execute(&format!("DELETE {range}"), params![first, end]).map_err(map)?;
            Ok(live.unsigned_abs())
        })
        .await
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
