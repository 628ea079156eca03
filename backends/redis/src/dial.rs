use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_core::{Error, ErrorKind, Result};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use redis::{AsyncConnectionConfig, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinHandle};

use crate::address::{Address, Target};
use crate::connection::RedisConnection;
use crate::error::{Effect, answered, handshake, lost, refused, socket, unexpected};
use crate::gather::Calls;
use crate::given_up::GivenUp;
use crate::left_behind::LeftBehind;

/// The oldest server whose commands suffice (`R3`).
const OLDEST: (u64, u64) = (6, 2);
/// How many commands wait for the socket before their callers do.
const QUEUE: usize = 1024;
/// How many bytes of commands are gathered for one write.
const GATHER: usize = 64 * 1024;

/// Makes connections to one address.
pub(crate) struct Dialer {
    pub(crate) address: Address,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) left_behind: Arc<LeftBehind>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

/// A connection, and the tasks that move its bytes and watch its time.
pub(crate) struct Live {
    pub(crate) connection: RedisConnection,
    pub(crate) server: Server,
    pub(crate) calls: Arc<Calls>,
    /// How long those wait.
    pub(crate) limit: Duration,
    pub(crate) given_up: Arc<GivenUp>,
    left_behind: Arc<LeftBehind>,
    /// Set when it is lost, replaced or closed.
    over: Arc<AtomicBool>,
    /// Moves the bytes; it ends when the connection is lost, or dropped everywhere.
    mover: Mutex<Option<JoinHandle<()>>>,
    clock: AbortHandle,
}

impl Live {
    /// Tells whether new calls have to look for another.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Takes it out of use; the calls in progress on it go on.
    pub(crate) fn retire(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Ends it at once, whoever uses it, and waits until its socket is closed.
    pub(crate) async fn end(&self) {
        self.retire();
        let mover = self.mover.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mover) = mover {
            mover.abort();
            // It ends at its next turn; a runtime that gives it none must not hold us.
            let _ = tokio::time::timeout(ENDING, mover).await;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clock.abort();
        let mover = self.mover.get_mut().unwrap_or_else(PoisonError::into_inner);
        // What a lost connection carried is lost with it, or done.
        if self.given_up.is_noted() && mover.as_ref().is_some_and(|mover| !mover.is_finished()) {
            self.left_behind.add(self.connection.clone(), Arc::clone(&self.given_up));
        }
    }
}

/// Notes the end of the task that it is in, however that ends.
struct Ending(Arc<AtomicBool>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// How long a connection's task may take to end once it was told to.
const ENDING: Duration = Duration::from_secs(1);

/// Tells one run of a server from another: SCAN cursors mean nothing to the next.
///
/// `None` where the server does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server(pub(crate) Option<u64>);

impl Dialer {
    /// Connects, introduces itself, and looks at what answers, all within the time for connecting.
    pub(crate) async fn dial(&self) -> Result<Live> {
        need_runtime()?;
        let outcome = match tokio::time::timeout(self.connect_timeout, self.open()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("no connection within {:?}", self.connect_timeout),
            )),
        };
        outcome.map_err(|error| self.name(&error))
    }

    /// Says where it happened.
    fn name(&self, error: &Error) -> Error {
        let text = format!("{}: {}", self.address, error.message());
        let named = Error::new(error.kind(), text);
        match std::error::Error::source(error) {
            Some(_) => named.with_source(Cause(error.clone())),
            None => named,
        }
    }

    async fn open(&self) -> Result<Live> {
        match &self.address.target {
            Target::Tcp { host, port } => self.introduce(self.tcp(host, *port).await?).await,
            #[cfg(feature = "tls")]
            Target::Tls { host, port } => {
                let Some(config) = &self.tls else {
                    return Err(Error::new(ErrorKind::Internal, "TLS was not prepared"));
                };
                let stream = self.tcp(host, *port).await?;
                self.introduce(crate::tls::handshake(config, host, stream).await?).await
            }
            #[cfg(unix)]
            Target::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await.map_err(socket)?;
                self.introduce(stream).await
            }
            #[allow(unreachable_patterns, reason = "what this platform or build leaves out")]
            _ => Err(Error::new(ErrorKind::InvalidConfig, "this build cannot connect there")),
        }
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream> {
        let stream = TcpStream::connect((host, port)).await.map_err(socket)?;
        stream.set_nodelay(true).map_err(socket)?;
        // A peer that vanished without a word is noticed by the system, not by one timed-out call
        // after the other. Where the system refuses, the timeouts remain.
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
        #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
        let keepalive = keepalive.with_interval(Duration::from_secs(10));
        let reference = SockRef::from(&stream);
        let _ = reference.set_tcp_keepalive(&keepalive);
        #[cfg(target_os = "linux")]
        let _ = reference.set_tcp_user_timeout(Some(self.response_timeout.max(UNHEARD)));
        Ok(stream)
    }

    async fn introduce<S>(&self, stream: S) -> Result<Live>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE)
            .set_write_backpressure_boundary(GATHER);
        // The driver would say that the server refused the database, and not how: we select it.
        let login = self.address.login.clone().set_db(0);
        let (connection, mover) = MultiplexedConnection::new_with_config(&login, stream, config)
            .await
            .map_err(handshake)?;
        let mut connection = RedisConnection::from(connection);
        let over = Arc::new(AtomicBool::new(false));
        let ending = Ending(Arc::clone(&over));
        let calls = Arc::new(Calls::default());
        let carried = Arc::clone(&calls);
        let mover = tokio::spawn(async move {
            let _ending = ending;
            carried.carry(mover).await;
        });
        let server = inspect(&mut connection).await?;
        select(&mut connection, self.address.login.db()).await?;
        let (watched, limit) = (Arc::clone(&calls), self.response_timeout);
        let clock = tokio::spawn(async move { watched.patience.tick(limit).await }).abort_handle();
        let mover = Mutex::new(Some(mover));
        let given_up = Arc::default();
        let left_behind = Arc::clone(&self.left_behind);
        Ok(Live { connection, server, calls, limit, given_up, left_behind, over, mover, clock })
    }
}

/// Goes to a database; a new connection is in the first.
async fn select(connection: &mut RedisConnection, db: i64) -> Result<()> {
    if db == 0 {
        return Ok(());
    }
    match connection.select(db).await.map_err(|error| lost(error, Effect::Read))? {
        Value::Okay => Ok(()),
        Value::ServerError(error) => Err(refused(&error, "the server has no such database")),
        _ => Err(unexpected(Effect::Read)),
    }
}

/// Refuses to go on where tokio would panic.
pub(crate) fn need_runtime() -> Result<()> {
    tokio::runtime::Handle::try_current().map(drop).map_err(|error| {
        let text = "a Redis store works within a tokio runtime";
        Error::new(ErrorKind::InvalidConfig, text).with_source(error)
    })
}

/// How long sent bytes may go unacknowledged before the system gives the connection up.
#[cfg(target_os = "linux")]
const UNHEARD: Duration = Duration::from_secs(30);

/// Looks at what answers: it must be one Redis server of 6.2 or later.
pub(crate) async fn inspect(connection: &mut RedisConnection) -> Result<Server> {
    let mut info = redis::cmd("INFO");
    info.arg("server");
    let said = connection.send(&info).await.map_err(|error| lost(error, Effect::Read))?;
    let properties = match said {
        Value::BulkString(text) => Properties::from_info(&String::from_utf8_lossy(&text)),
        Value::VerbatimString { text, .. } => Properties::from_info(&text),
        Value::ServerError(error) if error.code() == "NOPERM" => {
            // HELLO tells the version too, to users that INFO is kept from.
            let said = connection.send(&redis::cmd("HELLO")).await;
            match said.map_err(|error| lost(error, Effect::Read))? {
                Value::ServerError(error) if error.code() != "ERR" => {
                    return Err(answered(&error));
                }
                said => Properties::from_hello(said),
            }
        }
        Value::ServerError(error) => return Err(answered(&error)),
        _ => return Err(unexpected(Effect::Read)),
    };
    properties.check()
}

#[derive(Default)]
struct Properties {
    version: Option<String>,
    mode: Option<String>,
    run: Option<String>,
}

impl Properties {
    fn from_info(text: &str) -> Self {
        let find = |name: &str| {
            text.lines().find_map(|line| {
                line.split_once(':')
                    .filter(|(found, _)| *found == name)
                    .map(|(_, it)| it.to_owned())
            })
        };
        Self { version: find("redis_version"), mode: find("redis_mode"), run: find("run_id") }
    }

    fn from_hello(said: Value) -> Self {
        let pairs = match said {
            Value::Map(pairs) => pairs,
            Value::Array(flat) => {
                let mut flat = flat.into_iter();
                std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
            }
            // Before 6.2 it takes no empty arguments, before 6.0 it does not exist.
            _ => Vec::new(),
        };
        let mut properties = Self::default();
        for pair in pairs {
            let (Some(name), Some(value)) = (text(pair.0), text(pair.1)) else { continue };
            match &*name {
                "version" => properties.version = Some(value),
                "mode" => properties.mode = Some(value),
                _ => {}
            }
        }
        properties
    }

    fn check(&self) -> Result<Server> {
        let invalid = |text: String| Err(Error::new(ErrorKind::InvalidConfig, text));
        let version = self.version.as_deref().unwrap_or("of no stated version");
        let mut numbers = version.split('.').map_while(|part| part.parse().ok());
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < OLDEST {
            let shown: String = version.escape_debug().take(40).collect();
            return invalid(format!("the server is Redis {shown}; 6.2 or later is needed"));
        }
        match self.mode.as_deref() {
            Some("cluster") => invalid("the server is part of a cluster: not supported yet".into()),
            Some("sentinel") => invalid("the server is a sentinel, which holds no data".into()),
            _ => Ok(Server(
                self.run.as_deref().and_then(|run| u64::from_str_radix(run.get(..16)?, 16).ok()),
            )),
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// Hands on the cause of an error that was named anew.
#[derive(Debug)]
struct Cause(Error);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match std::error::Error::source(&self.0) {
            Some(source) => write!(f, "{source}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)?.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(info: &str) -> Result<Server> {
        Properties::from_info(info).check()
    }

    #[test]
    fn only_a_single_server_of_6_2_or_later_is_taken() {
        let id = "run_id:0123456789abcdef0123456789abcdef01234567";
        let server = checked(&format!("# Server\r\nredis_version:6.2.0\r\n{id}\r\n")).unwrap();
        assert_eq!(server, Server(Some(0x0123_4567_89ab_cdef)));
        assert_eq!(checked("redis_version:10.0\nredis_mode:standalone\n").unwrap(), Server(None));
        for (info, named) in [
            ("redis_version:6.0.16\r\n", "6.0.16"),
            ("redis_version:5\r\n", "6.2"),
            ("", "no stated version"),
            ("redis_version:7.2.0\r\nredis_mode:cluster\r\n", "cluster"),
            ("redis_version:7.2.0\r\nredis_mode:sentinel\r\n", "sentinel"),
        ] {
            let error = checked(info).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.message().contains(named), "{error}");
        }
    }

    #[test]
    fn hello_tells_the_version_in_both_protocols() {
        let word = |text: &str| Value::BulkString(text.into());
        let flat = vec![word("version"), word("7.0.1"), word("mode"), word("standalone")];
        let map = Value::Map(vec![(word("version"), word("6.0.9"))]);
        assert!(Properties::from_hello(Value::Array(flat)).check().is_ok());
        assert!(Properties::from_hello(map).check().is_err());
        assert!(Properties::from_hello(Value::Nil).check().is_err());
    }
}
