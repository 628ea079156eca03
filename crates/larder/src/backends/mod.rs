//! One module per backend: how its URL is read, and how it is opened.

use std::path::Path;
use std::sync::Arc;

use crate::options::Options;
use crate::rooted::Rooted;
use crate::{Clock, Error, ErrorKind, Namespace, NamespacedStore, Result};

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "memory")]
mod memory;
#[cfg(any(feature = "file", feature = "sled"))]
mod path;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sled")]
mod sled;

/// What a URL says, for the backend that it names.
#[derive(Clone)]
pub(crate) enum Config {
    #[cfg(feature = "memory")]
    Memory(memory::MemoryUrl),
    #[cfg(feature = "file")]
    File(file::FileUrl),
    #[cfg(feature = "sled")]
    Sled(sled::SledUrl),
    #[cfg(feature = "redis")]
    Redis(redis::RedisUrl),
}

impl Config {
    /// Reads what follows the scheme; `None` for a scheme that nobody knows.
    pub(crate) fn parse(scheme: &str, rest: &str, options: &mut Options) -> Result<Option<Self>> {
        // Without any backend nobody reads them.
        let _ = (rest, &options);
        Ok(Some(match scheme {
            #[cfg(feature = "memory")]
            "memory" => Self::Memory(memory::MemoryUrl::parse(rest, options)?),
            #[cfg(not(feature = "memory"))]
            "memory" => return Err(not_compiled_in(scheme, "memory")),
            #[cfg(feature = "file")]
            "file" => Self::File(file::FileUrl::parse(rest, options)?),
            #[cfg(not(feature = "file"))]
            "file" => return Err(not_compiled_in(scheme, "file")),
            #[cfg(feature = "sled")]
            "sled" => Self::Sled(sled::SledUrl::parse(rest, options)?),
            #[cfg(not(feature = "sled"))]
            "sled" => return Err(not_compiled_in(scheme, "sled")),
            #[cfg(feature = "redis")]
            "redis" | "redis+unix" => Self::Redis(redis::RedisUrl::parse(scheme, rest, options)?),
            #[cfg(not(feature = "redis"))]
            "redis" | "redis+unix" => return Err(not_compiled_in(scheme, "redis")),
            #[cfg(feature = "redis-tls")]
            "rediss" => Self::Redis(redis::RedisUrl::parse(scheme, rest, options)?),
            #[cfg(not(feature = "redis-tls"))]
            "rediss" => return Err(not_compiled_in(scheme, "redis-tls")),
            _ => return Ok(None),
        }))
    }

    pub(crate) fn backend(&self) -> &'static str {
        match *self {
            #[cfg(feature = "memory")]
            Self::Memory(_) => "memory",
            #[cfg(feature = "file")]
            Self::File(_) => "file",
            #[cfg(feature = "sled")]
            Self::Sled(_) => "sled",
            #[cfg(feature = "redis")]
            Self::Redis(_) => "redis",
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match *self {
            #[cfg(feature = "memory")]
            Self::Memory(_) => None,
            #[cfg(feature = "file")]
            Self::File(ref url) => Some(&url.path),
            #[cfg(feature = "sled")]
            Self::Sled(ref url) => Some(&url.path),
            #[cfg(feature = "redis")]
            Self::Redis(_) => None,
        }
    }

    pub(crate) fn do_not_create(&mut self) {
        match *self {
            #[cfg(feature = "memory")]
            Self::Memory(_) => {}
            #[cfg(feature = "file")]
            Self::File(ref mut url) => url.create = false,
            #[cfg(feature = "sled")]
            Self::Sled(ref mut url) => url.create = false,
            #[cfg(feature = "redis")]
            Self::Redis(_) => {}
        }
    }

    pub(crate) async fn open(
        &self,
        namespace: &Namespace,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Arc<dyn NamespacedStore>> {
        let _ = (namespace, &clock);
        match *self {
            #[cfg(feature = "memory")]
            Self::Memory(ref url) => Rooted::open(url.open(clock)?, namespace),
            #[cfg(feature = "file")]
            Self::File(ref url) => Rooted::open(url.open(clock).await?, namespace),
            #[cfg(feature = "sled")]
            Self::Sled(ref url) => Rooted::open(url.open(clock).await?, namespace),
            #[cfg(feature = "redis")]
            Self::Redis(_) if clock.is_some() => {
                Err(invalid("a Redis store trusts its server's clock alone"))
            }
            #[cfg(feature = "redis")]
            Self::Redis(ref url) => url.open(namespace).await,
        }
    }
}

/// The error for a scheme whose backend is left out.
#[cfg(not(all(feature = "memory", feature = "file", feature = "sled", feature = "redis-tls")))]
fn not_compiled_in(scheme: &str, feature: &str) -> Error {
    let text = format!("`{scheme}:` needs the feature `{feature}` of the crate `larder`");
    Error::new(ErrorKind::InvalidConfig, text)
}

/// The error for something wrong between the scheme and the options.
fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
