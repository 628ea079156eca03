use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_redis::RedisStore;

use super::invalid;
use crate::options::Options;
use crate::rooted::Rooted;
use crate::{Durability, Namespace, NamespacedStore, Result, percent};

/// The scheme of a server behind a Unix socket.
const SOCKET: &str = "redis+unix";

/// `redis://…`, `rediss://…` and `redis+unix://…`
///
/// It has no `Debug`, for it holds the password.
#[derive(Clone)]
pub(crate) struct RedisUrl {
    /// Without the options that are ours.
    url: String,
    durability: Option<Durability>,
    lazy: bool,
    connections: Option<usize>,
    connect_timeout: Option<Duration>,
    response_timeout: Option<Duration>,
    max_value_len: Option<u64>,
    raw_keys: bool,
    #[cfg_attr(
        not(feature = "redis-tls"),
        expect(dead_code, reason = "only TLS has certificates")
    )]
    ca: Option<PathBuf>,
}

impl RedisUrl {
    pub(crate) fn parse(scheme: &str, rest: &str, options: &mut Options) -> Result<Self> {
        let mut query = Vec::new();
        if scheme == SOCKET {
            check_socket(rest)?;
            query.extend(take_login(options)?);
        } else {
            check_host(rest)?;
        }
        let ca = options.take("ca")?.map(PathBuf::from);
        if ca.is_some() && scheme != "rediss" {
            return Err(invalid("`ca` needs rediss://"));
        }
        let protocol =
            options.take_one_of("protocol", &[("resp2", "resp2"), ("resp3", "resp3")])?;
        query.extend(protocol.map(|protocol| format!("protocol={protocol}")));
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(Self {
            url: format!("{scheme}:{rest}{mark}{}", query.join("&")),
            durability: options.take_durability()?,
            lazy: options
                .take_one_of("connect", &[("lazy", true), ("eager", false)])?
                .unwrap_or(false),
            connections: options.take_number("connections")?,
            connect_timeout: options.take_duration("connect_timeout")?,
            response_timeout: options.take_duration("response_timeout")?,
            max_value_len: options.take_number("max_value_len")?,
            raw_keys: options.take_bool("raw_keys")?.unwrap_or(false),
            ca,
        })
    }

    /// Opens the store whose root namespace is the first segment, and in it the rest.
    pub(crate) async fn open(&self, namespace: &Namespace) -> Result<Arc<dyn NamespacedStore>> {
        let mut builder = RedisStore::builder(self.url.as_str()).lazy(self.lazy);
        let mut segments = namespace.segments();
        if let Some(root) = segments.next() {
            builder = builder.namespace(root);
        }
        if let Some(durability) = self.durability {
            builder = builder.durability(durability);
        }
        if let Some(connections) = self.connections {
            builder = builder.connections(connections);
        }
        if let Some(limit) = self.connect_timeout {
            builder = builder.connect_timeout(limit);
        }
        if let Some(limit) = self.response_timeout {
            builder = builder.response_timeout(limit);
        }
        if let Some(bytes) = self.max_value_len {
            builder = builder.max_value_len(bytes);
        }
        if self.raw_keys {
            builder = builder.raw_keys();
        }
        #[cfg(feature = "redis-tls")]
        if let Some(path) = &self.ca {
            builder = builder.ca_certificate_file(path);
        }
        let store = Arc::new(builder.build().await?);
        Rooted::open(store, &Namespace::from_segments(segments)?)
    }
}

/// Refuses what is no host with a database behind it.
fn check_host(rest: &str) -> Result<()> {
    let Some(place) = rest.strip_prefix("//") else {
        return Err(invalid("after `redis:` comes //host, as in redis://localhost:6379/0"));
    };
    check_fragment(place)?;
    let path = place.split_once('/').map_or("", |(_, path)| path);
    if path.contains('@') {
        return Err(invalid(
            "an @ follows the host (in a password, write %2F for / and %3F for ?)",
        ));
    }
    Ok(())
}

/// Refuses what is no absolute path.
fn check_socket(rest: &str) -> Result<()> {
    if !rest.starts_with("///") {
        let text = "after `redis+unix:` comes // and the socket's absolute path, as in \
                    redis+unix:///run/redis.sock; its login is `db`, `user` and `pass`";
        return Err(invalid(text));
    }
    check_fragment(rest)
}

fn check_fragment(place: &str) -> Result<()> {
    if place.contains('#') {
        return Err(invalid("a Redis URL has no fragment (in a password, write %23 for #)"));
    }
    Ok(())
}

/// What a URL of a socket says of database, user and password, as the driver reads it.
fn take_login(options: &mut Options) -> Result<Vec<String>> {
    let mut login = Vec::new();
    login.extend(options.take_number::<u32>("db")?.map(|db| format!("db={db}")));
    for name in ["user", "pass"] {
        login.extend(options.take(name)?.map(|it| format!("{name}={}", percent::encode(&it))));
    }
    Ok(login)
}
