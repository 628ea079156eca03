use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of every fallible call in Larder.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, told as what the caller should do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing was done within the time allowed; the call may be repeated.
    Timeout,
    /// The store cannot be reached just now; the call may be repeated.
    Unavailable,
    /// Another owner holds the store or the resource; the call may be repeated.
    Locked,
    /// A conditional change lost against others too often; the call may be repeated.
    Conflict,
    /// A write was sent and its outcome cannot be known: read before you repeat it.
    Unknown,
    /// The thing named does not exist (a store to open; never a key, which is `None`).
    NotFound,
    /// The key is longer than the store takes.
    InvalidKey,
    /// The value cannot be used for this call, such as text where a number is counted up.
    InvalidValue,
    /// A namespace segment or path breaks the limits, or the store has no namespaces.
    InvalidNamespace,
    /// The cursor belongs to another listing, or is no cursor at all.
    InvalidCursor,
    /// A builder, URL or option is wrong.
    InvalidConfig,
    /// The store does not declare the capability that the call needs.
    Unsupported,
    /// The value is larger than the store takes.
    TooLarge,
    /// Stored bytes cannot be what a store wrote.
    Corrupt,
    /// The operating system or the server refused.
    PermissionDenied,
    /// No room is left for the write; the old value stands.
    StorageFull,
    /// The handle, or the store behind it, was closed.
    Closed,
    /// A defect in Larder or in a driver.
    Internal,
}

impl ErrorKind {
    /// Tells whether repeating the same call can succeed without anything else being done first.
    ///
    /// ```
    /// use larder_core::ErrorKind;
    /// assert!(ErrorKind::Timeout.is_retryable());
    /// assert!(!ErrorKind::Unknown.is_retryable());
    /// ```
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Timeout | Self::Unavailable | Self::Locked | Self::Conflict)
    }

    /// The name of the kind in `kebab-case`, as the `larder` command prints it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Locked => "locked",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
            Self::NotFound => "not-found",
            Self::InvalidKey => "invalid-key",
            Self::InvalidValue => "invalid-value",
            Self::InvalidNamespace => "invalid-namespace",
            Self::InvalidCursor => "invalid-cursor",
            Self::InvalidConfig => "invalid-config",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too-large",
            Self::Corrupt => "corrupt",
            Self::PermissionDenied => "permission-denied",
            Self::StorageFull => "storage-full",
            Self::Closed => "closed",
            Self::Internal => "internal",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Timeout => "timed out, nothing was done",
            Self::Unavailable => "the store cannot be reached",
            Self::Locked => "held by another owner",
            Self::Conflict => "lost against concurrent changes",
            Self::Unknown => "the outcome of the write is not known",
            Self::NotFound => "not found",
            Self::InvalidKey => "invalid key",
            Self::InvalidValue => "invalid value",
            Self::InvalidNamespace => "invalid namespace",
            Self::InvalidCursor => "invalid cursor",
            Self::InvalidConfig => "invalid configuration",
            Self::Unsupported => "not supported by this store",
            Self::TooLarge => "too large",
            Self::Corrupt => "corrupt data",
            Self::PermissionDenied => "permission denied",
            Self::StorageFull => "no room left",
            Self::Closed => "the store is closed",
            Self::Internal => "internal error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The one error of Larder: a kind, what was being done, and the cause.
///
/// It is one pointer wide and cheap to clone. `Display` names the operation, the key (escaped, so
/// that a terminal is safe from it) and the backend; the cause is left to [`source`].
///
/// ```
/// use larder_core::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Corrupt, "bad header")
///     .with_operation("get")
///     .with_key("a\nb")
///     .with_backend("file");
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// assert_eq!(error.to_string(), r#"get "a\nb" on file: corrupt data: bad header"#);
/// ```
///
/// [`source`]: std::error::Error::source
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    operation: Option<&'static str>,
    backend: Option<&'static str>,
    key: Option<Box<str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` adds what the kind does not say, and may be empty.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            backend: None,
            key: None,
            source: None,
        }))
    }

    /// An `Unsupported` error for a call that needs a capability the store does not declare.
    pub fn unsupported(capability: &'static str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("the capability `{capability}` is not declared"))
    }

    /// An operating system's error, with the kind that tells what to do about it.
    pub fn from_io(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::StorageFull,
            Io::FileTooLarge => ErrorKind::TooLarge,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Io::NotFound => ErrorKind::NotFound,
            Io::TimedOut => ErrorKind::Timeout,
            Io::WouldBlock | Io::ResourceBusy => ErrorKind::Locked,
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::NotConnected
            | Io::BrokenPipe
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::NetworkDown => ErrorKind::Unavailable,
            Io::InvalidData | Io::UnexpectedEof => ErrorKind::Corrupt,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, "").with_source(error)
    }

    /// Names the operation, such as `get`, unless one is named already.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        if self.0.operation.is_none() {
            Arc::make_mut(&mut self.0).operation = Some(operation);
        }
        self
    }

    /// Names the backend, such as `redis`, unless one is named already.
    #[must_use]
    pub fn with_backend(mut self, backend: &'static str) -> Self {
        if self.0.backend.is_none() {
            Arc::make_mut(&mut self.0).backend = Some(backend);
        }
        self
    }

    /// Names the key, unless one is named already.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        if self.0.key.is_none() {
            Arc::make_mut(&mut self.0).key = Some(key.into());
        }
        self
    }

    /// Names the key in place of one that a store below named, for a layer that maps keys.
    #[must_use]
    pub fn replace_key(mut self, key: &str) -> Self {
        Arc::make_mut(&mut self.0).key = Some(key.into());
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Tells whether repeating the same call can succeed; see [`ErrorKind::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// The operation that failed, such as `get`.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The backend that failed, such as `redis`.
    pub fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// The key that was asked for, exactly as it was given (escape it before you print it).
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// What the error says beyond its kind; may be empty.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

/// The most characters of a key that `Display` shows.
const SHOWN_KEY: usize = 80;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(operation) = inner.operation {
            f.write_str(operation)?;
            if let Some(key) = &inner.key {
                write!(f, " {}", EscapedKey(key))?;
            }
            if let Some(backend) = inner.backend {
                write!(f, " on {backend}")?;
            }
            f.write_str(": ")?;
        } else if let Some(key) = &inner.key {
            write!(f, "{}: ", EscapedKey(key))?;
        }
        f.write_str(inner.kind.sentence())?;
        if !inner.message.is_empty() {
            write!(f, ": {}", inner.message)?;
        }
        Ok(())
    }
}

struct EscapedKey<'a>(&'a str);

impl fmt::Display for EscapedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        let shown: String = chars.by_ref().take(SHOWN_KEY).collect();
        write!(f, "\"{}\"", shown.escape_debug())?;
        if chars.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &inner.kind);
        if !inner.message.is_empty() {
            out.field("message", &inner.message);
        }
        if let Some(operation) = inner.operation {
            out.field("operation", &operation);
        }
        if let Some(backend) = inner.backend {
            out.field("backend", &backend);
        }
        if let Some(key) = &inner.key {
            out.field("key", key);
        }
        if let Some(source) = &inner.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_context_stays() {
        let error = Error::from(ErrorKind::Closed).with_operation("get").with_operation("set");
        assert_eq!(error.operation(), Some("get"));
        assert_eq!(error.to_string(), "get: the store is closed");
    }

    #[test]
    fn display_escapes_and_shortens_keys_and_leaves_the_source_out() {
        let key = format!("\u{1b}[31m\u{202e}{}", "x".repeat(200));
        let error = Error::from_io(std::io::Error::other("secret cause"))
            .with_operation("get")
            .with_key(&key);
        let text = error.to_string();
        assert!(text.starts_with(r#"get "\u{1b}[31m\u{202e}xxx"#), "{text}");
        assert!(text.contains('…') && text.chars().count() < 140, "{text}");
        assert!(!text.contains("secret cause"));
        assert_eq!(error.source().unwrap().to_string(), "secret cause");
        assert_eq!(error.key(), Some(&*key));
    }

    #[test]
    fn only_the_four_kinds_are_retryable() {
        let retryable =
            [ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::Locked, ErrorKind::Conflict];
        assert!(retryable.iter().all(|kind| kind.is_retryable()));
        assert!(!ErrorKind::Unknown.is_retryable() && !ErrorKind::StorageFull.is_retryable());
    }

    #[test]
    fn an_error_of_the_operating_system_tells_what_to_do() {
        use std::io::ErrorKind as Io;
        let cases = [
            (ErrorKind::StorageFull, &[Io::StorageFull, Io::QuotaExceeded][..]),
            (ErrorKind::TooLarge, &[Io::FileTooLarge]),
            (ErrorKind::PermissionDenied, &[Io::PermissionDenied, Io::ReadOnlyFilesystem]),
            (ErrorKind::NotFound, &[Io::NotFound]),
            (ErrorKind::Timeout, &[Io::TimedOut]),
            (ErrorKind::Locked, &[Io::WouldBlock, Io::ResourceBusy]),
            (ErrorKind::Unavailable, &[Io::ConnectionRefused, Io::BrokenPipe, Io::NetworkDown]),
            (ErrorKind::Corrupt, &[Io::InvalidData, Io::UnexpectedEof]),
            (ErrorKind::Internal, &[Io::Other, Io::InvalidInput]),
        ];
        for (kind, causes) in cases {
            for cause in causes {
                assert_eq!(Error::from_io((*cause).into()).kind(), kind, "{cause}");
            }
        }
    }

    #[test]
    fn an_error_tells_its_backend_and_what_its_kind_does_not_say() {
        let error = Error::new(ErrorKind::Timeout, "it took 5 s").with_operation("set");
        assert_eq!((error.message(), error.backend()), ("it took 5 s", None));
        let error = error.with_backend("redis").with_backend("tiered");
        assert_eq!(error.backend(), Some("redis"));
        assert_eq!(error.to_string(), "set on redis: timed out, nothing was done: it took 5 s");
        assert_eq!(Error::from(ErrorKind::Closed).message(), "");
    }

    #[test]
    fn an_error_is_as_retryable_as_its_kind() {
        assert!(Error::from(ErrorKind::Conflict).is_retryable());
        assert!(!Error::from(ErrorKind::Unknown).is_retryable());
    }

    #[test]
    fn a_kind_is_named_as_its_variant_in_kebab_case() {
        let kinds = [
            ErrorKind::Timeout,
            ErrorKind::Unavailable,
            ErrorKind::Locked,
            ErrorKind::Conflict,
            ErrorKind::Unknown,
            ErrorKind::NotFound,
            ErrorKind::InvalidKey,
            ErrorKind::InvalidValue,
            ErrorKind::InvalidNamespace,
            ErrorKind::InvalidCursor,
            ErrorKind::InvalidConfig,
            ErrorKind::Unsupported,
            ErrorKind::TooLarge,
            ErrorKind::Corrupt,
            ErrorKind::PermissionDenied,
            ErrorKind::StorageFull,
            ErrorKind::Closed,
            ErrorKind::Internal,
        ];
        for kind in kinds {
            let mut name = String::new();
            for letter in format!("{kind:?}").chars() {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('-');
                }
                name.push(letter.to_ascii_lowercase());
            }
            assert_eq!(kind.as_str(), name);
            assert_eq!(kind.to_string(), name);
        }
    }
}
