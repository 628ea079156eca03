use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};

/// A connection of the driver, shared by its clones: what a store is built on when the application
/// brings its own, and what a store shows of itself.
///
/// It runs commands as any connection of the `redis` crate does.
///
/// ```no_run
/// # async fn example(store: larder_redis::RedisStore) -> Result<(), Box<dyn std::error::Error>> {
/// use larder_redis::redis;
/// let mut connection = store.connection().await?;
/// let size: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await?;
/// # let _ = size;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisConnection {
    kind: Kind,
    db: i64,
}

#[derive(Clone)]
enum Kind {
    Multiplexed(MultiplexedConnection),
    Manager(ConnectionManager),
}

impl RedisConnection {
    pub(crate) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match &mut self.kind {
            Kind::Multiplexed(connection) => connection.send_packed_command(command).await,
            Kind::Manager(manager) => Box::pin(manager.send_packed_command(command)).await,
        }
    }

    pub(crate) async fn send_all(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let count = pipeline.len();
        match &mut self.kind {
            Kind::Multiplexed(connection) => {
                connection.send_packed_commands(pipeline, 0, count).await
            }
            Kind::Manager(manager) => manager.send_packed_commands(pipeline, 0, count).await,
        }
    }

    /// Goes to another database and stays there: not for a manager, which connects anew to the one
    /// that it was made for.
    pub(crate) async fn select(&mut self, db: i64) -> RedisResult<Value> {
        let answer = self.send(redis::cmd("SELECT").arg(db)).await?;
        if answer == Value::Okay {
            self.db = db;
        }
        Ok(answer)
    }

    /// The same connection with a limit on answers; a manager has its own.
    pub(crate) fn with_response_timeout(mut self, limit: Duration) -> Self {
        if let Kind::Multiplexed(connection) = &mut self.kind {
            connection.set_response_timeout(limit);
        }
        self
    }

    /// Tells whether it may stand for one server process now and another one later.
    pub(crate) fn reconnects(&self) -> bool {
        matches!(self.kind, Kind::Manager(_))
    }
}

impl From<MultiplexedConnection> for RedisConnection {
    fn from(connection: MultiplexedConnection) -> Self {
        Self { db: connection.get_db(), kind: Kind::Multiplexed(connection) }
    }
}

impl From<ConnectionManager> for RedisConnection {
    fn from(manager: ConnectionManager) -> Self {
        Self { db: manager.get_db(), kind: Kind::Manager(manager) }
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.kind {
            Kind::Multiplexed(connection) => connection.req_packed_command(cmd),
            Kind::Manager(manager) => manager.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.kind {
            Kind::Multiplexed(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
            Kind::Manager(manager) => manager.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        self.db
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Multiplexed(_) => "RedisConnection(multiplexed)",
            Kind::Manager(_) => "RedisConnection(manager)",
        })
    }
}
