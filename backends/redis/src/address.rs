use std::fmt;
use std::path::PathBuf;

use larder_core::{Error, ErrorKind, Result};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

/// Where a server is, and how to introduce ourselves: what a URL says, without the URL.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) target: Target,
    /// User name, password, database, protocol.
    pub(crate) login: RedisConnectionInfo,
    /// The file of root certificates that the URL names.
    #[cfg(feature = "tls")]
    pub(crate) authority: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
    Unix(PathBuf),
}

/// The query parameters that a URL may have.
const PARAMETERS: &str = "`protocol`, with `rediss` also `ca` (a file of root certificates), \
                          with `redis+unix` also `db`, `user` and `pass`";

impl Address {
    /// Reads a URL of the forms `redis://`, `rediss://`, `redis+unix://` (or `valkey…`, `unix://`).
    ///
    /// No message quotes any part of it: what a mistyped URL shows in another place may be a piece
    /// of its password (`X3`).
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let invalid = |text: &'static str| Error::new(ErrorKind::InvalidConfig, text);
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let (tls, unix) = match scheme {
            "redis" | "valkey" => (false, false),
            "rediss" | "valkeys" => (true, false),
            "redis+unix" | "valkey+unix" | "unix" => (false, true),
            _ => {
                return Err(invalid(
                    "a Redis URL begins with redis://, rediss:// or redis+unix://",
                ));
            }
        };
        if tls && cfg!(not(feature = "tls")) {
            return Err(invalid("rediss:// needs larder-redis's feature `tls`"));
        }
        let Some(parsed) = redis::parse_redis_url(url) else {
            return Err(invalid(
                "the URL cannot be read (characters such as #, / and ? in a password are written \
                 as %23, %2F and %3F)",
            ));
        };
        if parsed.fragment().is_some() {
            return Err(invalid("the URL has a fragment (a # in a password is written as %23)"));
        }
        #[cfg(feature = "tls")]
        let mut authority = None;
        for pair in parsed.query_pairs() {
            match &*pair.0 {
                "protocol" => {}
                "db" | "user" | "pass" if unix => {}
                #[cfg(feature = "tls")]
                "ca" if tls => authority = Some(PathBuf::from(&*pair.1)),
                _ => {
                    let text = format!("the URL has an unknown parameter; known are {PARAMETERS}");
                    return Err(Error::new(ErrorKind::InvalidConfig, text));
                }
            }
        }
        let info = parsed.into_connection_info().map_err(|_| {
            invalid("the URL has no valid host or path, database number, protocol or user name")
        })?;
        let (target, login) = Self::split(&info)?;
        Ok(Self {
            target,
            login,
            #[cfg(feature = "tls")]
            authority,
        })
    }

    fn split(info: &ConnectionInfo) -> Result<(Target, RedisConnectionInfo)> {
        let login = info.redis_settings().clone();
        if login.db() < 0 {
            return Err(Error::new(ErrorKind::InvalidConfig, "the database number is negative"));
        }
        let target = match info.addr().clone() {
            ConnectionAddr::Tcp(host, port) => Target::Tcp { host, port },
            ConnectionAddr::TcpTls { host, port, .. } => Target::Tls { host, port },
            ConnectionAddr::Unix(path) => Target::Unix(path),
            _ => return Err(Error::new(ErrorKind::InvalidConfig, "no known kind of address")),
        };
        Ok((target, login))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.target, Target::Tls { .. })
    }
}

/// The address without user name and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = self.login.db();
        match &self.target {
            Target::Tcp { host, port } if host.contains(':') => {
                write!(f, "redis://[{host}]:{port}/{db}")
            }
            Target::Tls { host, port } if host.contains(':') => {
                write!(f, "rediss://[{host}]:{port}/{db}")
            }
            Target::Tcp { host, port } => write!(f, "redis://{host}:{port}/{db}"),
            Target::Tls { host, port } => write!(f, "rediss://{host}:{port}/{db}"),
            Target::Unix(path) => write!(f, "redis+unix://{}?db={db}", path.display()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_secrets() {
        let cases = [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://user:hunter2@localhost:1/3", "redis://localhost:1/3"),
            ("redis://:hunter2@[::1]:1", "redis://[::1]:1/0"),
            ("redis://:hunter2%2F%23@127.0.0.1", "redis://127.0.0.1:6379/0"),
            ("valkey://h/2?protocol=resp3", "redis://h:6379/2"),
            #[cfg(unix)]
            ("redis+unix:///run/r.sock?db=2&pass=hunter2", "redis+unix:///run/r.sock?db=2"),
            #[cfg(feature = "tls")]
            ("rediss://:hunter2@h?ca=/etc/ca.pem", "rediss://h:6379/0"),
        ];
        for (url, shown) in cases {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), shown, "{url}");
            assert!(!format!("{address:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_bad_url_is_refused_and_not_quoted() {
        for url in [
            "",
            "hunter2",
            "http://hunter2",
            "redis:hunter2",
            "redis://",
            "redis://:hun/ter2@h",
            "redis://user:12#hunter2@h",
            "redis://user:12?hunter2@h",
            "redis://user:12/hunter2@h",
            "redis://user:hunter2@h:port",
            "redis://:hunter2@h/-1",
            "redis://:hunter2@h?db=2",
            "redis://:hunter2@h?ca=/x",
            "redis://:hunter2@0.0.0.0",
            "rediss://:hunter2@h#insecure",
            "redis://:%ff%fehunter2@h",
        ] {
            let error = Address::parse(url).map(|address| address.to_string()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("hun"), "{url}: {shown}");
        }
    }
}
