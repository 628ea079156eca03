use std::error::Error as _;
use std::process::ExitCode;

use larder::{Error, ErrorKind};

use crate::{interrupt, text};

/// How a command ends when it does not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The key is missing, a condition did not hold, or the suite found failures.
    No(&'static str, String),
    /// The command line is wrong.
    Usage(String),
    /// The store or the system failed.
    Error(Error),
    /// Whoever read standard output has gone.
    ClosedPipe,
    /// Ctrl-C, and what to do about it.
    Interrupted(&'static str),
    /// A command that was run ended with this status, and has said why itself.
    Command(u8),
    /// A command could not be run; the status is the one that shells give.
    CannotRun(u8, String),
    /// The lock was lost while the command ran that needed it.
    LockLost(String),
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The key has no live value.
    pub(crate) fn missing(key: &str) -> Self {
        Self::No("missing", format!("no live value under \"{}\"", text::escape(key)))
    }

    /// A condition did not hold.
    pub(crate) fn condition_not_met(message: impl Into<String>) -> Self {
        Self::No("condition-not-met", message.into())
    }

    /// The exit status.
    fn status(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::No(..) => 1,
            Self::Usage(_) => 2,
            Self::Error(error) if is_usage(error.kind()) => 2,
            Self::Error(error) if error.is_retryable() => 4,
            Self::Error(_) | Self::LockLost(_) => 3,
            Self::Command(status) | Self::CannotRun(status, _) => *status,
            Self::Interrupted(_) => interrupt::STATUS,
        }
    }

    /// What is said on standard error, if anything: one line, the kind first.
    fn line(&self) -> Option<String> {
        let (kind, message) = match self {
            Self::ClosedPipe | Self::Command(_) => return None,
            Self::CannotRun(_, message) => ("cannot-run", message.clone()),
            Self::LockLost(message) => ("lock-lost", message.clone()),
            Self::No(kind, message) => (*kind, message.clone()),
            Self::Usage(message) => ("usage", message.clone()),
            Self::Error(error) => (error.kind().as_str(), with_causes(error)),
            Self::Interrupted("") => ("interrupted", "stopped by Ctrl-C".to_owned()),
            Self::Interrupted(advice) => ("interrupted", format!("stopped by Ctrl-C: {advice}")),
        };
        Some(format!("larder: {kind}: {}", text::one_line(&message)))
    }
}

/// A URL, an option or a namespace that cannot be is a mistake in the command line.
fn is_usage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidConfig | ErrorKind::InvalidNamespace)
}

fn with_causes(error: &Error) -> String {
    // Without anything before it, the kind would be said twice.
    let bare = error.operation().is_none() && error.key().is_none() && !error.message().is_empty();
    let mut message = if bare { error.message().to_owned() } else { error.to_string() };
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some drivers repeat their cause.
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Says what went wrong and gives the exit status.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if let Some(line) = failure.line() {
        note(&line);
    }
    ExitCode::from(failure.status())
}

/// Writes a line to standard error, where there is one.
pub(crate) fn note(line: &str) {
    use std::io::Write;
    // Nobody is left to be told that nobody listens.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_status() {
        let status = |kind: ErrorKind| Failure::from(Error::from(kind)).status();
        for kind in
            [ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::Locked, ErrorKind::Conflict]
        {
            assert_eq!(status(kind), 4);
        }
        for kind in [ErrorKind::Unknown, ErrorKind::NotFound, ErrorKind::Corrupt] {
            assert_eq!(status(kind), 3);
        }
        assert_eq!(status(ErrorKind::InvalidConfig), 2);
        assert_eq!(Failure::missing("k").status(), 1);
        assert_eq!(Failure::ClosedPipe.status(), 0);
        assert!(Failure::ClosedPipe.line().is_none());
    }

    #[test]
    fn the_line_is_one_line_and_begins_with_the_kind() {
        let cause = std::io::Error::other("a\nb\u{1b}[31m");
        let failure = Failure::from(Error::from_io(cause).with_key("x\ny"));
        let line = failure.line().unwrap();
        assert!(line.starts_with("larder: internal: "), "{line}");
        assert!(line.chars().all(|character| !character.is_control()), "{line}");
        assert!(line.ends_with(r"a\nb\u{1b}[31m"), "{line}");
    }
}
