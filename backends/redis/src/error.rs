use std::borrow::Cow;
use std::io;

use larder_core::{Error, ErrorKind};
use redis::{ErrorKind as RedisKind, RedisError, ServerError};

/// What a command does, which decides what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Changes nothing: after a failure nothing was done.
    Read,
    /// Changes something: after a lost answer its outcome is unknown.
    Write,
}

/// The error for a command whose answer did not arrive.
pub(crate) fn lost(error: RedisError, effect: Effect) -> Error {
    // Met only with a borrowed `ConnectionManager`, which connects during the call.
    if error.is_connection_refusal() {
        return Error::new(ErrorKind::Unavailable, "no server listens there").with_source(error);
    }
    let kind = match (effect, error.kind()) {
        (_, RedisKind::AuthenticationFailed | RedisKind::InvalidClientConfig) => {
            return handshake(error);
        }
        (_, RedisKind::Server(_) | RedisKind::Extension) => {
            return match ServerError::try_from(error) {
                Ok(error) => answered(&error),
                // The driver's own: a manager that connects during the call, so that nothing was
                // sent, may not go to its database, and does not say why.
                Err(_) => Error::new(ErrorKind::Unavailable, "the server refused the database"),
            };
        }
        (_, RedisKind::Client) => ErrorKind::Internal,
        (Effect::Write, _) => ErrorKind::Unknown,
        (Effect::Read, _) if error.is_timeout() => ErrorKind::Timeout,
        (Effect::Read, _) => ErrorKind::Unavailable,
    };
    let text = match error.kind() {
        RedisKind::Io if error.is_timeout() => "no answer in time",
        RedisKind::Io => "the connection was lost",
        RedisKind::Parse => "what the server answered is not Redis's protocol",
        _ => "the driver failed",
    };
    with_io_source(Error::new(kind, text), error)
}

const NO_RESP3: &str = "the server refused RESP3, the user name or the password";
const NOT_REDIS: &str = "what answers there is not Redis";

/// The error for a connection that could not be made.
pub(crate) fn handshake(error: RedisError) -> Error {
    let (kind, text) = match error.kind() {
        RedisKind::AuthenticationFailed => {
            (ErrorKind::PermissionDenied, "the server refused the user name or the password")
        }
        RedisKind::RESP3NotSupported => (ErrorKind::InvalidConfig, NO_RESP3),
        RedisKind::Server(_) | RedisKind::Extension => {
            return match ServerError::try_from(error) {
                Ok(error) => refused(&error, NO_RESP3),
                // The driver's own: the answer to AUTH is neither yes nor no.
                Err(_) => Error::new(ErrorKind::InvalidConfig, NOT_REDIS),
            };
        }
        RedisKind::Parse if is_cut_off(&error) => (ErrorKind::Unavailable, "no connection"),
        RedisKind::Parse => (ErrorKind::InvalidConfig, NOT_REDIS),
        #[cfg(feature = "tls")]
        RedisKind::Io if is_tls(&error) => {
            (ErrorKind::PermissionDenied, "the server ended TLS: it may want a client certificate")
        }
        RedisKind::Io if error.is_timeout() => (ErrorKind::Timeout, "no connection in time"),
        RedisKind::Io => (ErrorKind::Unavailable, "no connection"),
        _ => (ErrorKind::InvalidConfig, "the driver refused the configuration"),
    };
    with_io_source(Error::new(kind, text), error)
}

/// Tells whether an answer was right as far as it came. Only the driver's words tell it from nonsense.
fn is_cut_off(error: &RedisError) -> bool {
    error.to_string().to_ascii_lowercase().contains("unexpected end of input")
}

/// Tells whether TLS failed after its handshake, as it does when the server refuses us.
#[cfg(feature = "tls")]
fn is_tls(error: &RedisError) -> bool {
    type Shared = std::sync::Arc<dyn std::error::Error + Send + Sync>;
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<Shared>()?.downcast_ref::<io::Error>()?.get_ref())
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// The error for a socket that could not be opened.
pub(crate) fn socket(error: io::Error) -> Error {
    #[cfg(feature = "tls")]
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
        let text = "TLS failed, the server's certificate or our trust in it";
        return Error::new(ErrorKind::InvalidConfig, text).with_source(error);
    }
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "no connection").with_source(error)
}

/// The error for a command that the server refused: it did nothing.
pub(crate) fn answered(error: &ServerError) -> Error {
    let (code, details) = (error.code(), error.details().unwrap_or_default());
    // Redis before 7 wraps what a command inside a script answered.
    let wrapped = ["OOM", "WRONGTYPE", "NOPERM", "READONLY", "NOREPLICAS", "MISCONF"]
        .into_iter()
        .find(|inner| code == "ERR" && details.contains("script") && has_word(details, inner));
    let code = match wrapped {
        Some(code) => code,
        // ACL's refusal of a command that a script runs has no code of its own.
        None if details.contains("user executing the script") => "NOPERM",
        None => code,
    };
    let kind = match code {
        "OOM" => ErrorKind::StorageFull,
        "READONLY" | "NOPERM" | "NOAUTH" | "WRONGPASS" | "DENIED" => ErrorKind::PermissionDenied,
        "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS"
        | "MISCONF" => ErrorKind::Unavailable,
        "WRONGTYPE" => ErrorKind::Corrupt,
        "MOVED" | "ASK" | "CROSSSLOT" => ErrorKind::InvalidConfig,
        "ERR" if details.contains("max number of clients") => ErrorKind::Unavailable,
        "ERR" if details.contains("DB index is out of range") => ErrorKind::InvalidConfig,
        "ERR" if details.contains("unknown command") => ErrorKind::Unsupported,
        "ERR" if details.contains("bulk length") || details.contains("exceeds maximum") => {
            ErrorKind::TooLarge
        }
        _ => ErrorKind::Internal,
    };
    // Only words of our own choice: what a server says can echo a password or a value (`X3`).
    let text: Cow<'static, str> = match code {
        "OOM" => "the server has reached its memory limit".into(),
        "READONLY" => "the server is a read-only replica".into(),
        "NOPERM" => "the user may not run this command or touch this key".into(),
        "NOAUTH" => "the server asks for a password".into(),
        "WRONGPASS" => "the server refused the user name or the password".into(),
        "DENIED" => "the server is in protected mode".into(),
        "LOADING" => "the server is loading its data".into(),
        "BUSY" => "the server is busy with a script".into(),
        "MASTERDOWN" => "the replica has lost its primary".into(),
        "NOREPLICAS" => "too few replicas are connected for a write".into(),
        "MISCONF" => "the server refuses writes, as it cannot save its data".into(),
        "WRONGTYPE" => "the key holds no string".into(),
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => "clusters are not supported".into(),
        "ERR" => match kind {
            ErrorKind::Unavailable => "the server has reached its number of clients".into(),
            ErrorKind::InvalidConfig => "the server has no such database".into(),
            ErrorKind::Unsupported => "the server does not know a command".into(),
            ErrorKind::TooLarge => "the server takes no value of that size".into(),
            _ => "the server answered ERR".into(),
        },
        _ => "the server answered an error of no known code".into(),
    };
    Error::new(kind, text)
}

/// The error for what the server refused on connecting, where `text` says what that was.
pub(crate) fn refused(error: &ServerError, text: &'static str) -> Error {
    let said = answered(error);
    // No reason of the server's own: it cannot do what was asked for.
    if matches!(said.kind(), ErrorKind::Internal | ErrorKind::Unsupported) {
        return Error::new(ErrorKind::InvalidConfig, text);
    }
    said
}

/// The error for an answer of a shape that the command does not have, which tells nothing of what a
/// write did.
pub(crate) fn unexpected(effect: Effect) -> Error {
    let kind = match effect {
        Effect::Read => ErrorKind::Internal,
        Effect::Write => ErrorKind::Unknown,
    };
    Error::new(kind, "the server's answer does not fit the command")
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric()).any(|part| part == word)
}

/// Only an I/O error is attached: any other can quote what was sent or received.
fn with_io_source(error: Error, source: RedisError) -> Error {
    if source.is_io_error() { error.with_source(source) } else { error }
}

#[cfg(test)]
mod tests {
    use redis::{Value, parse_redis_value};

    use super::*;

    fn kind_of(line: &str) -> ErrorKind {
        match parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap() {
            Value::ServerError(error) => {
                let error = answered(&error);
                assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
                error.kind()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_answer_has_its_kind() {
        let cases = [
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::StorageFull),
            ("READONLY You can't write against a read only replica.", ErrorKind::PermissionDenied),
            ("NOPERM User hunter2 has no permissions", ErrorKind::PermissionDenied),
            (
                "ERR The user executing the script can't run this command or subcommand",
                ErrorKind::PermissionDenied,
            ),
            ("NOAUTH Authentication required.", ErrorKind::PermissionDenied),
            ("WRONGPASS invalid username-password pair hunter2", ErrorKind::PermissionDenied),
            ("DENIED Redis is running in protected mode", ErrorKind::PermissionDenied),
            ("LOADING Redis is loading the dataset in memory", ErrorKind::Unavailable),
            ("BUSY Redis is busy running a script.", ErrorKind::Unavailable),
            ("MASTERDOWN Link with MASTER is down", ErrorKind::Unavailable),
            ("CLUSTERDOWN Hash slot not served", ErrorKind::Unavailable),
            ("TRYAGAIN Multiple keys request", ErrorKind::Unavailable),
            ("NOREPLICAS Not enough good replicas to write.", ErrorKind::Unavailable),
            ("MISCONF Redis is configured to save RDB snapshots", ErrorKind::Unavailable),
            ("WRONGTYPE Operation against a key", ErrorKind::Corrupt),
            ("MOVED 3999 127.0.0.1:6381", ErrorKind::InvalidConfig),
            ("CROSSSLOT Keys in request don't hash to the same slot", ErrorKind::InvalidConfig),
            ("ERR max number of clients reached", ErrorKind::Unavailable),
            ("ERR DB index is out of range", ErrorKind::InvalidConfig),
            ("ERR unknown command 'GETEX' with args 'hunter2'", ErrorKind::Unsupported),
            ("ERR Protocol error: invalid bulk length", ErrorKind::TooLarge),
            ("ERR string exceeds maximum allowed size", ErrorKind::TooLarge),
            ("ERR hunter2", ErrorKind::Internal),
            ("hunter2 hunter2", ErrorKind::Internal),
            // As Redis 6.2 wraps them.
            (
                "ERR Error running script (call to f_abc): @user_script:3: \
                 @user_script: 3: -OOM command not allowed when used memory > 'maxmemory'.",
                ErrorKind::StorageFull,
            ),
            (
                "ERR Error running script (call to f_abc): @user_script:1: \
                 WRONGTYPE Operation against a key holding the wrong kind of value",
                ErrorKind::Corrupt,
            ),
        ];
        for (line, kind) in cases {
            assert_eq!(kind_of(line), kind, "{line}");
        }
    }

    #[test]
    fn a_lost_answer_is_unknown_for_a_write_alone() {
        let timeout = || RedisError::from(io::Error::from(io::ErrorKind::TimedOut));
        let broken = || RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let refused = || RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(lost(timeout(), Effect::Read).kind(), ErrorKind::Timeout);
        assert_eq!(lost(timeout(), Effect::Write).kind(), ErrorKind::Unknown);
        assert_eq!(lost(broken(), Effect::Read).kind(), ErrorKind::Unavailable);
        assert_eq!(lost(broken(), Effect::Write).kind(), ErrorKind::Unknown);
        assert_eq!(lost(refused(), Effect::Write).kind(), ErrorKind::Unavailable);
    }
}
