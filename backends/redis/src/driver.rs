use std::fmt;
use std::pin::pin;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use larder_core::{Bytes, Error, ErrorKind, ExpiresIn, Result};
use redis::{Cmd, Pipeline, Value};
use tokio::time::timeout;

use crate::connection::RedisConnection;
use crate::dial::{Server, inspect, need_runtime};
use crate::error::{Effect, answered, unexpected};
use crate::given_up::GivenUp;
use crate::keys::PhysicalKey;
use crate::pool::{Line, Pool, Slot};
use crate::scripts::Script;

/// How commands reach the server.
pub(crate) enum Driver {
    /// Connections of our own.
    Owned(Pool),
    /// A connection of the application's.
    Borrowed(Borrowed),
}

/// A connection that we use and never close; `None` once the store was closed.
pub(crate) struct Borrowed {
    connection: RwLock<Option<RedisConnection>>,
    /// Looked up when first needed.
    server: RwLock<Option<Server>>,
    response_timeout: Duration,
    given_up: GivenUp,
}

impl Borrowed {
    pub(crate) fn new(connection: RedisConnection, response_timeout: Duration) -> Self {
        Self {
            connection: RwLock::new(Some(connection)),
            server: RwLock::new(None),
            response_timeout,
            given_up: GivenUp::default(),
        }
    }

    fn lease(&self) -> Result<Lease<'_>> {
        need_runtime()?;
        let server = *self.server.read().unwrap_or_else(PoisonError::into_inner);
        let connection = self.get()?;
        let (limit, given_up) = (self.response_timeout, &self.given_up);
        Ok(Lease { way: Way::Borrowed { connection, limit, server, given_up } })
    }

    fn get(&self) -> Result<RedisConnection> {
        let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner);
        connection.clone().ok_or_else(|| ErrorKind::Closed.into())
    }

    /// Waits until writes that were given up have had their effect.
    async fn drain(&self) -> Result<()> {
        let Ok(mut connection) = self.get() else { return Ok(()) };
        self.given_up.drain(&mut connection, self.response_timeout).await
    }

    /// Lets go of the connection, once writes that were given up have had their effect.
    async fn close(&self) -> Result<()> {
        self.drain().await?;
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

/// A connection for one call.
pub(crate) struct Lease<'a> {
    way: Way<'a>,
}

enum Way<'a> {
    /// A line of ours.
    Owned { slot: &'a Slot, line: Line },
    Borrowed {
        connection: RedisConnection,
        limit: Duration,
        server: Option<Server>,
        given_up: &'a GivenUp,
    },
}

impl Driver {
    /// A connection to send one or more commands on, if one is there.
    fn ready(&self) -> Option<Lease<'_>> {
        match self {
            Self::Owned(pool) => {
                let slot = pool.slot();
                slot.ready().map(|line| Lease::owned(slot, line))
            }
            Self::Borrowed(borrowed) => borrowed.lease().ok(),
        }
    }

    /// A connection to send one or more commands on, made if need be.
    async fn make(&self) -> Result<Lease<'_>> {
        match self {
            Self::Owned(pool) => {
                let slot = pool.slot();
                Ok(Lease::owned(slot, slot.connect(pool.dialer()).await?))
            }
            Self::Borrowed(borrowed) => borrowed.lease(),
        }
    }

    /// As `ready`, or else `make`.
    //
    // What is seldom done is boxed, here and below: a call's future holds room for all that it may
    // do, and it is allocated for each call.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>> {
        match self.ready() {
            Some(lease) => Ok(lease),
            None => Box::pin(self.make()).await,
        }
    }

    /// Runs one command.
    pub(crate) async fn run(&self, command: &Cmd, effect: Effect) -> Result<Value> {
        let mut lease = self.lease().await?;
        let outcome = lease.run(command, effect).await;
        lease.hand_back();
        outcome
    }

    /// Runs a script.
    pub(crate) async fn script(
        &self,
        script: &Script,
        key: Option<PhysicalKey<'_>>,
        args: &[&[u8]],
        effect: Effect,
    ) -> Result<Value> {
        let mut lease = self.lease().await?;
        let outcome = lease.script(script, key, args, effect).await;
        lease.hand_back();
        outcome
    }

    /// Makes the connections that are missing; a borrowed one is looked at.
    pub(crate) async fn connect(&self) -> Result<()> {
        match self {
            Self::Owned(pool) => pool.connect().await,
            Self::Borrowed(borrowed) => {
                need_runtime()?;
                let mut connection = borrowed.get()?;
                let looked = timeout(borrowed.response_timeout, inspect(&mut connection)).await;
                let server = looked.unwrap_or_else(|_| Err(late()))?;
                if !connection.reconnects() {
                    let mut known = borrowed.server.write().unwrap_or_else(PoisonError::into_inner);
                    *known = Some(server);
                }
                Ok(())
            }
        }
    }

    /// Makes the connections anew.
    pub(crate) async fn reconnect(&self) -> Result<()> {
        match self {
            Self::Owned(pool) => pool.reconnect().await,
            Self::Borrowed(_) => {
                let text = "the connection is the application's, which makes it anew";
                Err(Error::new(ErrorKind::Unsupported, text))
            }
        }
    }

    /// Ends owned connections and lets go of a borrowed one, once writes that were given up have had
    /// their effect. What failed or was dropped goes on with the next call.
    pub(crate) async fn close(&self) -> Result<()> {
        match self {
            Self::Owned(pool) => pool.close().await,
            Self::Borrowed(borrowed) => borrowed.close().await,
        }
    }

    /// Waits until writes that were given up have had their effect. What failed or was dropped goes on
    /// with the next call.
    pub(crate) async fn drain(&self) -> Result<()> {
        match self {
            Self::Owned(pool) => pool.drain().await,
            Self::Borrowed(borrowed) => borrowed.drain().await,
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned(pool) => f
                .debug_struct("Owned")
                .field("address", &pool.dialer().address)
                .field("connections", &pool.len())
                .finish(),
            Self::Borrowed(_) => f.write_str("Borrowed"),
        }
    }
}

impl<'a> Lease<'a> {
    fn owned(slot: &'a Slot, line: Line) -> Self {
        Self { way: Way::Owned { slot, line } }
    }

    /// Keeps the line for another call. One that is dropped instead is made anew when needed.
    fn hand_back(self) {
        if let Way::Owned { slot, line } = self.way {
            slot.put_back(line);
        }
    }

    /// A connection for the application's own commands.
    pub(crate) fn into_connection(self) -> RedisConnection {
        match self.way {
            Way::Owned { line, .. } => line.into_connection(),
            Way::Borrowed { connection, .. } => connection,
        }
    }

    /// Runs one command; an error that the server answers is an error.
    pub(crate) async fn run(&mut self, command: &Cmd, effect: Effect) -> Result<Value> {
        match self.send(command, effect).await? {
            Value::ServerError(error) => Err(answered(&error)),
            value => Ok(value),
        }
    }

    /// Runs a script by its name, or by its text where the server has lost it.
    pub(crate) async fn script(
        &mut self,
        script: &Script,
        key: Option<PhysicalKey<'_>>,
        args: &[&[u8]],
        effect: Effect,
    ) -> Result<Value> {
        match self.send(&script.by_name(key, args), effect).await? {
            // It did not run, so to run it now is no repetition.
            Value::ServerError(error) if error.code() == "NOSCRIPT" => {
                self.run(&script.by_text(key, args), effect).await
            }
            Value::ServerError(error) => Err(answered(&error)),
            value => Ok(value),
        }
    }

    /// Runs several commands; among the answers are the server's errors.
    pub(crate) async fn run_all(
        &mut self,
        pipeline: &Pipeline,
        effect: Effect,
    ) -> Result<Vec<Value>> {
        let values = match &mut self.way {
            Way::Owned { line: Line { connection, live }, .. } => {
                let watch = live.given_up.watch(effect);
                watch.settle(live.calls.wait(pin!(connection.send_all(pipeline))).await)
            }
            Way::Borrowed { connection, limit, given_up, .. } => {
                let watch = given_up.watch(effect);
                watch.settle(timeout(*limit, connection.send_all(pipeline)).await.ok())
            }
        }?;
        if values.len() == pipeline.len() { Ok(values) } else { Err(unexpected(effect)) }
    }

    /// Which run of which server answers; looked up anew for a connection that may reconnect.
    pub(crate) async fn server(&mut self) -> Result<Server> {
        match &mut self.way {
            Way::Owned { line, .. } => Ok(line.live.server),
            Way::Borrowed { server: Some(server), .. } => Ok(*server),
            Way::Borrowed { connection, limit, .. } => {
                timeout(*limit, inspect(connection)).await.unwrap_or_else(|_| Err(late()))
            }
        }
    }

    async fn send(&mut self, command: &Cmd, effect: Effect) -> Result<Value> {
        match &mut self.way {
            Way::Owned { line: Line { connection, live }, .. } => {
                let watch = live.given_up.watch(effect);
                watch.settle(live.calls.wait(pin!(connection.send(command))).await)
            }
            Way::Borrowed { connection, limit, given_up, .. } => {
                let watch = given_up.watch(effect);
                watch.settle(Box::pin(timeout(*limit, connection.send(command))).await.ok())
            }
        }
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "no answer in time")
}

/// The number that a command answers.
pub(crate) fn number(value: &Value, effect: Effect) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(unexpected(effect)),
    }
}

/// What a command answers that tells of one key whether it was there, or a script in its place.
pub(crate) fn truth(value: &Value, effect: Effect) -> Result<bool> {
    match value {
        Value::Int(1) => Ok(true),
        Value::Int(0) => Ok(false),
        Value::ServerError(error) => Err(answered(error)),
        _ => Err(unexpected(effect)),
    }
}

/// The value that a command answers, if there is one; made without copying.
pub(crate) fn bytes(value: Value, effect: Effect) -> Result<Option<Bytes>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes.into())),
        Value::ServerError(error) => Err(answered(&error)),
        _ => Err(unexpected(effect)),
    }
}

/// The remaining life that PTTL answers.
pub(crate) fn life(millis: i64) -> ExpiresIn {
    match millis {
        -1 => ExpiresIn::Never,
        // The server keeps a key through the whole of its last millisecond.
        0.. => ExpiresIn::In(Duration::from_millis(millis.unsigned_abs().max(1))),
        _ => ExpiresIn::Missing,
    }
}
