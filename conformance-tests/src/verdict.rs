use std::error::Error as _;
use std::fmt::Write as _;

use larder_core::{Error, ErrorKind, ExpiresIn, Result, Store, StoreExt};

/// How a case ends.
pub(crate) type Verdict<T = ()> = std::result::Result<T, Stop>;

/// Why a case ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It does not apply to this store; the reason.
    Skip(String),
    /// The store broke the promise.
    Fail(Broken),
}

/// What was seen of a broken promise.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) seen: String,
    /// The operations that show it, where the case knows better than the trace.
    pub(crate) operations: Option<Vec<String>>,
}

impl Stop {
    pub(crate) fn fail(seen: impl Into<String>) -> Self {
        Self::Fail(Broken { seen: seen.into(), operations: None })
    }

    pub(crate) fn fail_with(seen: impl Into<String>, operations: Vec<String>) -> Self {
        Self::Fail(Broken { seen: seen.into(), operations: Some(operations) })
    }

    pub(crate) fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::fail(format!("an unexpected error: {}", show_error(&error)))
    }
}

/// Ends the case with what was seen, unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($seen:tt)+) => {
        if !$holds {
            return Err($crate::verdict::Stop::fail(format!($($seen)+)));
        }
    };
}
pub(crate) use ensure;

/// An error with all its causes, on one line.
pub(crate) fn show_error(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// A value as a reader wants to see it: short text as text, anything else by its length.
pub(crate) fn show_value(value: &[u8]) -> String {
    match value.len() {
        0..=24 => match std::str::from_utf8(value) {
            Ok(text) => format!("{text:?}"),
            Err(_) => format!("bytes {value:02x?}"),
        },
        len => format!("{len} bytes"),
    }
}

pub(crate) fn show_found(value: Option<&[u8]>) -> String {
    value.map_or_else(|| "nothing".to_owned(), show_value)
}

/// A key as a reader wants to see it.
pub(crate) fn show_key(key: &str) -> String {
    let shown: String = key.chars().take(48).collect();
    if shown.len() == key.len() {
        format!("\"{}\"", shown.escape_debug())
    } else {
        format!("\"{}…\" ({} bytes)", shown.escape_debug(), key.len())
    }
}

/// Reads `key` and compares.
pub(crate) async fn expect_value(store: &dyn Store, key: &str, want: &[u8]) -> Verdict {
    let found = store.get(key).await?;
    ensure!(
        found.as_deref() == Some(want),
        "get({}) gave {} instead of {}",
        show_key(key),
        show_found(found.as_deref()),
        show_value(want)
    );
    Ok(())
}

/// Sees that `key` is missing: for `get`, `exists` and `expires_in` alike.
pub(crate) async fn expect_missing(store: &dyn Store, key: &str) -> Verdict {
    let shown = show_key(key);
    let found = store.get(key).await?;
    ensure!(
        found.is_none(),
        "get({shown}) gave {} instead of nothing",
        show_found(found.as_deref())
    );
    ensure!(!store.exists(key).await?, "get({shown}) gave nothing, yet exists({shown}) gave true");
    let left = store.expires_in(key).await?;
    ensure!(
        left == ExpiresIn::Missing,
        "get({shown}) gave nothing, yet expires_in({shown}) gave {left:?}"
    );
    Ok(())
}

/// Sees that `key` is live and how long it lives.
pub(crate) async fn expect_expires_in(store: &dyn Store, key: &str, want: ExpiresIn) -> Verdict {
    let left = store.expires_in(key).await?;
    ensure!(left == want, "expires_in({}) gave {left:?} instead of {want:?}", show_key(key));
    Ok(())
}

/// Sees that a call failed with an error of `kind`.
pub(crate) fn expect_kind<T: std::fmt::Debug>(
    call: &str,
    result: Result<T>,
    kind: ErrorKind,
) -> Verdict<Error> {
    match result {
        Ok(value) => Err(Stop::fail(format!("{call} gave Ok({value:?}) instead of `{kind}`"))),
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Stop::fail(format!(
            "{call} gave the error `{}` instead of `{kind}`: {}",
            error.kind(),
            show_error(&error)
        ))),
    }
}

/// What a task gave, if it did not panic.
pub(crate) fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Verdict<T> {
    result.map_err(|error| Stop::fail(format!("a task that calls the store ended early: {error}")))
}
