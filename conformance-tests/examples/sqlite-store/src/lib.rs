//! A Larder store in a SQLite file: one flat table, to which `Namespaced` adds namespaces.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use larder_core::chrono::{DateTime, Utc};
use larder_core::*;
use rusqlite::ffi::ErrorCode as Code;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

/// `expires_at` is in microseconds since the Unix epoch, NULL for never.
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
    CREATE TABLE IF NOT EXISTS entries
    (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires_at INTEGER) WITHOUT ROWID;";

/// A store in a SQLite file. `identity` tells its cursors from those of other stores.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    context: StoreContext,
    clock: Arc<dyn Clock>,
    connection: Arc<Mutex<Option<Connection>>>,
    identity: Arc<[u8]>,
}

impl SqliteStore {
    /// Opens the file at `path`, making it where it is missing.
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
        work: impl FnOnce(&Work<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let call = self.context.begin(operation, key)?;
        let (this, name) = (self.clone(), key.as_bytes().to_vec());
        let done = blocking(move || {
            let _call = call;
            let mut connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = connection.as_mut().ok_or(ErrorKind::Closed)?;
            let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let begun = Work { sql: sql.map_err(map)?, now: this.clock.now(), key: name };
            let result = work(&begun)?;
            begun.sql.commit().map(|()| result).map_err(map)
        });
        done.await.map_err(|error| self.context.key_error(operation, key, error))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "").with_source(error)))
}

fn map(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(Code::DiskFull) => ErrorKind::StorageFull,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => ErrorKind::Timeout,
        Some(Code::PermissionDenied | Code::ReadOnly) => ErrorKind::PermissionDenied,
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => ErrorKind::Corrupt,
        Some(Code::CannotOpen) => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, "").with_source(error)
}

/// One call: its transaction, its moment, and its key or prefix.
struct Work<'a> {
    sql: Transaction<'a>,
    now: DateTime<Utc>,
    key: Vec<u8>,
}

#[derive(Default)]
struct Row {
    value: Bytes,
    deadline: Option<Deadline>,
}

impl Work<'_> {
    /// The live row of the key.
    fn live(&self) -> Result<Option<Row>> {
        let sql = "SELECT value, expires_at FROM entries WHERE key = ?1";
        let row = self.sql.query_row(sql, [&self.key], |row| {
            let deadline = row.get::<_, Option<i64>>(1)?.map(Deadline::from_micros);
            Ok(Row { value: row.get::<_, Vec<u8>>(0)?.into(), deadline })
        });
        let row = row.optional().map_err(map)?;
        Ok(row.filter(|row| row.deadline.is_none_or(|deadline| !deadline.is_past(self.now))))
    }

    /// Stores a value, and gives its deadline; `old` is that of the row which it replaces.
    fn put(&self, value: &[u8], expiry: Expiry, old: Option<Deadline>) -> Result<Option<Deadline>> {
        let deadline = match expiry.resolve(self.now) {
            Resolved::Never => None,
            Resolved::At(deadline) => Some(deadline),
            Resolved::Keep => old,
            Resolved::Gone => return self.remove().map(|()| old),
        };
        let sql = "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3)";
        let row = params![self.key, value, deadline.map(Deadline::as_micros)];
        self.sql.execute(sql, row).map(|_| deadline).map_err(map)
    }

    fn remove(&self) -> Result<()> {
        self.sql.execute("DELETE FROM entries WHERE key = ?1", [&self.key]).map(drop).map_err(map)
    }

    /// The first key after all those that begin with the prefix; `None` when there is none.
    fn end(&self) -> Option<Vec<u8>> {
        let mut end = self.key.clone();
        *end.last_mut()? += 1; // UTF-8 has no byte 0xff
        Some(end)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let get = self.run("get", key, move |work| {
            let Some(mut row) = work.live()? else { return Ok(None) };
            if let (Some(duration), Some(_)) = (options.renew_for, row.deadline) {
                row.deadline = work.put(&row.value, Expiry::After(duration), row.deadline)?;
            }
            let expires_in = ExpiresIn::until(row.deadline, work.now);
            let mut entry = Entry::new(row.value.clone()).with_expires_in(expires_in);
            entry.version = options.version.then(|| Version::new(row.value));
            Ok(Some(entry))
        });
        get.await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.context.capabilities().check_set(value.len(), &options)?;
        let set = self.run("set", key, move |work| {
            let old = work.live()?;
            let applies = options.condition.holds(old.as_ref().map(|row| &row.value[..]));
            if applies {
                work.put(&value, options.expiry, old.unwrap_or_default().deadline)?;
            }
            Ok(SetOutcome::from_applied(applies))
        });
        set.await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let delete = self.run("delete", key, move |work| {
            let found = work.live()?.filter(|row| options.condition.holds(Some(&row.value)));
            found.map_or(Ok(false), |_| work.remove().map(|()| true))
        });
        delete.await
    }

    async fn delete_all(&self) -> Result<()> {
        self.delete_prefix("").await.map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        self.context.capabilities()
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let update = self.run("update_expiry", key, move |work| {
            let Some(row) = work.live()? else { return Ok(false) };
            work.put(&row.value, expiry, row.deadline).map(|_| true)
        });
        update.await
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
            return Err(ErrorKind::InvalidConfig.into());
        }
        let list = self.run("list_page", prefix, move |work| {
            let sql = "SELECT key FROM entries WHERE key >= ?1 AND (?2 IS NULL OR key < ?2)
                AND (?3 IS NULL OR key > ?3) AND (expires_at IS NULL OR expires_at > ?4)
                ORDER BY key LIMIT ?5";
            let mut query = work.sql.prepare_cached(sql).map_err(map)?;
            let (now, most) =
                (work.now.timestamp_micros(), i64::try_from(limit).unwrap_or(i64::MAX));
            let bounds = params![work.key, work.end(), after.as_deref(), now, most];
            let rows = query.query_map(bounds, |row| row.get::<_, Vec<u8>>(0)).map_err(map)?;
            let text = |key| String::from_utf8(key).map_err(|_| ErrorKind::Corrupt.into());
            rows.map(|key| key.map_err(map).and_then(text)).collect::<Result<Vec<_>>>()
        });
        let keys = list.await?;
        let last = keys.last().filter(|_| keys.len() == limit);
        let next = last.map(|last| scope.seal(last.as_bytes()));
        Ok(ListPage::new(keys, next))
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let delete = self.run("delete_prefix", prefix, |work| {
            let range = "FROM entries WHERE key >= ?1 AND (?2 IS NULL OR key < ?2)";
            let count = format!("SELECT count(*) {range} AND ifnull(expires_at > ?3, 1)");
            let bounds = params![work.key, work.end(), work.now.timestamp_micros()];
            let live: u64 = work.sql.query_row(&count, bounds, |row| row.get(0)).map_err(map)?;
            work.sql
                .execute(&format!("DELETE {range}"), params![work.key, work.end()])
                .map_err(map)?;
            Ok(live)
        });
        delete.await
    }

    async fn close(&self) -> Result<()> {
        self.context.lifecycle().close();
        self.context.lifecycle().idle().await;
        let connection = self.connection.clone();
        let close = blocking(move || {
            let open = connection.lock().unwrap_or_else(PoisonError::into_inner).take();
            open.map_or(Ok(()), |open| open.close().map_err(|(_, error)| map(error)))
        });
        close.await
    }
}
