use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::backends::Config;
use crate::options::Options;
use crate::{Clock, Error, ErrorKind, Namespace, NamespacedStore, Result, redact};

/// The schemes there are, compiled in or not.
const SCHEMES: &str = "memory:, file:PATH, sled:PATH, redis://…, rediss://…, redis+unix://…";

/// A store's address, read and checked, but not opened: see [`open`](crate::open()) for the forms.
///
/// `Display` and `Debug` show it without its password.
///
/// ```
/// use larder::StoreUrl;
/// # #[cfg(feature = "file")] {
/// let url = StoreUrl::parse("file:/srv/data?namespace=shop&namespace=carts")?;
/// assert_eq!(url.backend(), "file");
/// assert_eq!(url.path().unwrap().to_str(), Some("/srv/data"));
/// assert_eq!(url.namespace().to_string(), "shop/carts");
/// # }
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone)]
pub struct StoreUrl {
    redacted: String,
    config: Config,
    namespace: Namespace,
    clock: Option<Arc<dyn Clock>>,
}

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// `InvalidConfig`, as at [`open`](crate::open()); `InvalidNamespace` for a root namespace that
    /// breaks the limits.
    pub fn parse(url: &str) -> Result<Self> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(invalid(format!(
                "a store URL begins with its scheme; known are {SCHEMES}"
            )));
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let mut options = Options::parse(query)?;
        let namespace = Namespace::from_segments(options.take_all("namespace"))?;
        let config =
            Config::parse(&scheme.to_ascii_lowercase(), rest, &mut options)?.ok_or_else(|| {
                invalid(format!("unknown scheme {}; known are {SCHEMES}", name(scheme)))
            })?;
        options.finish()?;
        Ok(Self { redacted: redact(url), config, namespace, clock: None })
    }

    /// The backend's name: `memory`, `file`, `sled` or `redis`.
    pub fn backend(&self) -> &'static str {
        self.config.backend()
    }

    /// Where the store lies in the file system, if it does.
    pub fn path(&self) -> Option<&Path> {
        self.config.path()
    }

    /// The root namespace, as far as the URL names one.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The same store with another root namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// The same address; a store that is not there is `NotFound` and not made.
    ///
    /// A memory store is always made, and a Redis server never.
    #[must_use]
    pub fn without_creating(mut self) -> Self {
        self.config.do_not_create();
        self
    }

    /// The same store on another clock than the system's; opening a Redis store, which trusts its
    /// server's clock alone, is then `InvalidConfig` (`E7`).
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// As [`open`](crate::open()).
    pub async fn open(&self) -> Result<Arc<dyn NamespacedStore>> {
        self.config.open(&self.namespace, self.clock.clone()).await
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({:?})", self.redacted)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

/// A scheme, unless it does not look like one.
fn name(scheme: &str) -> String {
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if scheme.len() <= 16 && scheme.bytes().all(is_scheme) {
        format!("`{scheme}:`")
    } else {
        "(not a name)".to_owned()
    }
}
