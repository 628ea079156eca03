use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{Capabilities, Durability, Error, ErrorKind, Namespace, Result, StoreContext};

use crate::address::Address;
use crate::connection::RedisConnection;
use crate::dial::Dialer;
use crate::driver::{Borrowed, Driver};
use crate::pool::Pool;
use crate::store::RedisStore;
#[cfg(feature = "tls")]
use crate::tls::TlsSettings;

/// The name of the backend in errors.
pub(crate) const BACKEND: &str = "redis";
/// The root namespace unless another is given.
const ROOT: &str = "larder";
/// The longest string that a server takes unless it is configured otherwise.
const MAX_VALUE_LEN: u64 = 512 * 1024 * 1024;
const MAX_CONNECTIONS: usize = 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Builds a [`RedisStore`].
#[must_use = "a builder does nothing until `build`"]
pub struct RedisStoreBuilder {
    source: Source,
    root: Option<String>,
    raw_keys: bool,
    connections: usize,
    connect_timeout: Duration,
    response_timeout: Duration,
    durability: Durability,
    max_value_len: u64,
    lazy: bool,
    #[cfg(feature = "tls")]
    tls: TlsSettings,
}

enum Source {
    Url(String),
    Connection(RedisConnection),
}

impl RedisStoreBuilder {
    pub(crate) fn from_url(url: String) -> Self {
        Self::new(Source::Url(url))
    }

    pub(crate) fn from_connection(connection: RedisConnection) -> Self {
        Self::new(Source::Connection(connection))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            root: None,
            raw_keys: false,
            connections: 1,
            connect_timeout: TIMEOUT,
            response_timeout: TIMEOUT,
            durability: Durability::Volatile,
            max_value_len: MAX_VALUE_LEN,
            lazy: false,
            #[cfg(feature = "tls")]
            tls: TlsSettings::default(),
        }
    }

    /// Keeps everything below the root namespace `name`, one segment of any characters; `larder`
    /// unless it is given.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.root = Some(name.into());
        self
    }

    /// Uses keys as they are, without a root namespace, to reach data of other programs.
    ///
    /// Such a store declares neither `list` nor `purge`, and refuses namespaces, listing, purging,
    /// `delete_all` and `delete_prefix`: the whole database would be at stake.
    pub fn raw_keys(mut self) -> Self {
        self.raw_keys = true;
        self
    }

    /// Opens this many connections and takes them in turn; 1 unless it is given.
    ///
    /// One connection carries any number of calls at once. More help where one socket, or the task
    /// that serves it, is the limit. A store over the application's connection has that one.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Gives up connecting after this long, the greeting and TLS included; 5 s unless it is given.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Gives up waiting for an answer after this long; 5 s unless it is given.
    ///
    /// A read is then `Timeout`, and a write `Unknown`. Bulk calls and listings wait so long for
    /// each of their steps.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// States what an `Ok` write survives; `Volatile` unless it is given.
    ///
    /// This configures nothing: with `appendonly yes` and `appendfsync always` the server's writes
    /// survive the loss of power, with `appendfsync everysec` nearly all survive its crash.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Refuses larger values as `TooLarge` before anything is sent; 512 MiB unless it is given.
    ///
    /// To be set where the server's `proto-max-bulk-len` was: it drops the connection of a client
    /// that sends more.
    pub fn max_value_len(mut self, bytes: u64) -> Self {
        self.max_value_len = bytes;
        self
    }

    /// Connects at the first call instead of in [`build`](Self::build).
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.lazy = lazy;
        self
    }

    /// Trusts the root certificates in this PEM text, and no longer those of the system.
    ///
    /// May be given several times.
    #[cfg(feature = "tls")]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.authorities.push(pem.into());
        self
    }

    /// As [`ca_certificate`](Self::ca_certificate), read from a file by [`build`](Self::build); a
    /// URL can name one as `?ca=PATH`.
    #[cfg(feature = "tls")]
    pub fn ca_certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.authority_files.push(path.into());
        self
    }

    /// Shows the server this certificate chain, with its private key, both in PEM.
    #[cfg(feature = "tls")]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        private_key: impl Into<Vec<u8>>,
    ) -> Self {
        self.tls.client = Some((chain.into(), private_key.into()));
        self
    }

    /// Builds the store and, unless it is [`lazy`](Self::lazy), connects and looks at the server.
    ///
    /// # Errors
    /// `InvalidConfig` for bad input, a server before 6.2, a cluster, or a certificate that is not
    /// trusted; `Unavailable`, `Timeout` or `PermissionDenied` when connecting fails so.
    pub async fn build(self) -> Result<RedisStore> {
        self.make().await.map_err(|error| error.with_operation("open").with_backend(BACKEND))
    }

    async fn make(self) -> Result<RedisStore> {
        let prefix = self.prefix()?;
        for (timeout, text) in [
            (self.connect_timeout, "the time limit for connecting is zero"),
            (self.response_timeout, "the time limit for an answer is zero"),
        ] {
            if timeout.is_zero() {
                return Err(invalid(text));
            }
        }
        let capabilities = Capabilities::new()
            .with_list(!self.raw_keys)
            .with_conditions(true)
            .with_renew(true)
            .with_purge(!self.raw_keys)
            .with_native_expiry(true)
            .with_shared(true)
            .with_durability(self.durability)
            .with_max_value_len(self.max_value_len)
            .with_expiry_granularity(Duration::from_millis(1));
        let lazy = self.lazy;
        let (driver, identity) = self.driver().await?;
        let context = StoreContext::new(BACKEND, capabilities);
        let store = RedisStore::new(driver, context, prefix, &identity);
        if !lazy {
            store.connect_now().await?;
        }
        Ok(store)
    }

    /// What every key begins with; `None` for keys as they are.
    fn prefix(&self) -> Result<Option<String>> {
        if self.raw_keys {
            if self.root.is_some() {
                return Err(invalid("a store with raw keys has no root namespace"));
            }
            return Ok(None);
        }
        let root = self.root.as_deref().unwrap_or(ROOT);
        let root = Namespace::root().join(root).map_err(|error| {
            let text = format!("the root namespace is not valid: {}", error.message());
            Error::new(ErrorKind::InvalidConfig, text)
        })?;
        Ok(Some(format!("{}:", root.encode())))
    }

    /// The driver, and what tells the server from others in cursors.
    #[cfg_attr(
        not(feature = "tls"),
        allow(clippy::unused_async, reason = "only certificates are waited for")
    )]
    async fn driver(self) -> Result<(Driver, String)> {
        let url = match self.source {
            Source::Url(url) => url,
            Source::Connection(connection) => {
                if self.connections != 1 {
                    return Err(invalid("the application's connection cannot be multiplied"));
                }
                #[cfg(feature = "tls")]
                if !self.tls.is_empty() {
                    return Err(invalid("certificates are for a store made from a URL"));
                }
                // The connection does not tell where it leads.
                let identity = format!("borrowed/{:x}", RandomState::new().build_hasher().finish());
                let borrowed = Borrowed::new(connection, self.response_timeout);
                return Ok((Driver::Borrowed(borrowed), identity));
            }
        };
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return Err(invalid("a store has 1 to 1,024 connections"));
        }
        let address = Address::parse(&url)?;
        #[cfg(feature = "tls")]
        let tls = prepare(self.tls, &address).await?;
        let identity = address.to_string();
        let dialer = Dialer {
            address,
            connect_timeout: self.connect_timeout,
            response_timeout: self.response_timeout,
            left_behind: Arc::default(),
            #[cfg(feature = "tls")]
            tls,
        };
        Ok((Driver::Owned(Pool::new(dialer, self.connections)), identity))
    }
}

#[cfg(feature = "tls")]
async fn prepare(
    mut settings: TlsSettings,
    address: &Address,
) -> Result<Option<Arc<rustls::ClientConfig>>> {
    if !address.is_tls() {
        return if settings.is_empty() {
            Ok(None)
        } else {
            Err(invalid("certificates are for a rediss:// URL"))
        };
    }
    crate::dial::need_runtime()?;
    settings.authority_files.extend(address.authority.clone());
    let loading = tokio::task::spawn_blocking(|| settings.load());
    let loaded = loading
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "TLS setup failed").with_source(error))?;
    loaded.map(Some)
}

fn invalid(text: &'static str) -> Error {
    Error::new(ErrorKind::InvalidConfig, text)
}

impl fmt::Debug for RedisStoreBuilder {
    // The URL may hold a password, and need not be readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RedisStoreBuilder");
        match &self.source {
            Source::Url(url) => {
                out.field("address", &Address::parse(url).ok());
            }
            Source::Connection(connection) => {
                out.field("connection", connection);
            }
        }
        out.field("root", &self.root)
            .field("raw_keys", &self.raw_keys)
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("durability", &self.durability)
            .field("lazy", &self.lazy)
            .finish_non_exhaustive()
    }
}
