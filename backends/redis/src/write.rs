use larder_core::{Bytes, Condition, Error, Result, SetOptions, SetOutcome};
use redis::{Cmd, Value};

use crate::driver::truth;
use crate::error::{Effect, answered, unexpected};
use crate::expiry::Life;
use crate::keys::{PhysicalKey, command};
use crate::scripts::{MAX_MILLIS, SET, Script};

/// The length of the version that has to match, which is the old value.
pub(crate) fn version_len(condition: &Condition) -> usize {
    match condition {
        Condition::Matches(version) => version.as_bytes().len(),
        _ => 0,
    }
}

/// A set, as one command or one script.
pub(crate) enum Write<'a> {
    Command(Cmd, Meaning),
    Script(&'static Script, PhysicalKey<'a>, Vec<Bytes>),
}

/// How the answer of a SET, or of what stands in its place, is read. Any other answer leaves it open
/// what was done.
#[derive(Clone, Copy)]
pub(crate) enum Meaning {
    /// That of a SET without a condition.
    Set,
    /// That of a SET with a condition, where nil tells that it was not met.
    SetIf,
    /// It applied if it counted the key.
    Counted,
    /// It applied, whether or not it counted the key.
    Always,
    /// It applied if it did not count the key.
    IfAbsent,
}

impl<'a> Write<'a> {
    pub(crate) fn of(key: PhysicalKey<'a>, value: &Bytes, options: &SetOptions) -> Result<Self> {
        let life = Life::of(options.expiry)?;
        let word = match &options.condition {
            Condition::Any => "",
            Condition::Absent => "NX",
            Condition::Present => "XX",
            Condition::Matches(version) => {
                return Ok(Self::scripted(key, "=", version.as_bytes().clone(), value, life));
            }
            _ => return Err(Error::unsupported("conditions")),
        };
        let mut set = match (life, word) {
            // There is nothing to store, only something to remove or to look at.
            (Life::Gone, "NX") => {
                return Ok(Self::Command(command("EXISTS", key, 0, 0), Meaning::IfAbsent));
            }
            (Life::Gone, _) => {
                let meaning = if word.is_empty() { Meaning::Always } else { Meaning::Counted };
                return Ok(Self::Command(command("UNLINK", key, 0, 0), meaning));
            }
            (Life::Far(_), _) => return Ok(Self::scripted(key, word, Bytes::new(), value, life)),
            _ => command("SET", key, 4, value.len() + 24),
        };
        set.arg(&value[..]);
        match life {
            Life::For(millis) => {
                set.arg("PX").arg(millis);
            }
            Life::Until(millis) => {
                set.arg("PXAT").arg(millis);
            }
            Life::Keep => {
                set.arg("KEEPTTL");
            }
            Life::Never | Life::Far(_) | Life::Gone => {}
        }
        if word.is_empty() {
            return Ok(Self::Command(set, Meaning::Set));
        }
        set.arg(word);
        Ok(Self::Command(set, Meaning::SetIf))
    }

    fn scripted(
        key: PhysicalKey<'a>,
        condition: &'static str,
        version: Bytes,
        value: &Bytes,
        life: Life,
    ) -> Self {
        let (expiry, millis) = match life {
            Life::Never => ("-", 0),
            Life::For(millis) | Life::Far(millis) => ("P", millis),
            Life::Until(millis) => ("A", millis),
            Life::Keep => ("K", 0),
            Life::Gone => ("G", 0),
        };
        let args = vec![
            Bytes::from_static(condition.as_bytes()),
            version,
            value.clone(),
            Bytes::from_static(expiry.as_bytes()),
            millis.to_string().into(),
            MAX_MILLIS.to_string().into(),
        ];
        Self::Script(&SET, key, args)
    }

    /// The whole as one command that needs nothing remembered by the server.
    pub(crate) fn into_command(self) -> (Cmd, Meaning) {
        match self {
            Self::Command(command, meaning) => (command, meaning),
            Self::Script(script, key, args) => {
                let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
                (script.by_text(Some(key), &args), Meaning::Counted)
            }
        }
    }
}

impl Meaning {
    pub(crate) fn outcome(self, reply: &Value) -> Result<SetOutcome> {
        let counted = || truth(reply, Effect::Write);
        Ok(SetOutcome::from_applied(match (self, reply) {
            (Self::Set | Self::SetIf, Value::Okay) => true,
            (Self::SetIf, Value::Nil) => false,
            (Self::Set | Self::SetIf, Value::ServerError(error)) => return Err(answered(error)),
            (Self::Set | Self::SetIf, _) => return Err(unexpected(Effect::Write)),
            (Self::Counted, _) => counted()?,
            (Self::Always, _) => counted().map(|_| true)?,
            (Self::IfAbsent, _) => !counted()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use larder_core::ErrorKind;

    use super::*;

    #[test]
    fn only_the_answers_that_a_command_has_are_an_outcome() {
        use Meaning::{Always, Counted, IfAbsent, Set, SetIf};
        let answers = [Value::Okay, Value::Nil, Value::Int(1), Value::Int(0)];
        let cases = [
            (Set, [Some(true), None, None, None]),
            (SetIf, [Some(true), Some(false), None, None]),
            (Counted, [None, None, Some(true), Some(false)]),
            (Always, [None, None, Some(true), Some(true)]),
            (IfAbsent, [None, None, Some(false), Some(true)]),
        ];
        for (meaning, outcomes) in cases {
            for (answer, expected) in answers.iter().zip(outcomes) {
                let outcome = meaning.outcome(answer);
                if let Some(applied) = expected {
                    assert_eq!(outcome.unwrap().is_applied(), applied, "{answer:?}");
                } else {
                    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unknown, "{answer:?}");
                }
            }
            for answer in [Value::Int(-1), Value::Int(2), Value::BulkString(b"OK".to_vec())] {
                assert_eq!(meaning.outcome(&answer).unwrap_err().kind(), ErrorKind::Unknown);
            }
        }
    }
}
