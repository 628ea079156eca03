use larder_core::{Bytes, Condition, Error, Result, SetOptions, SetOutcome};
use redis::{Cmd, Value};

use crate::driver::applied;
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

/// How the answer of a command in a SET's place is read.
#[derive(Clone, Copy)]
pub(crate) enum Meaning {
    /// As that of a SET, or of an UNLINK for a key that has to be there.
    Set,
    /// It applied, whatever the answer.
    Always,
    /// It applied if the key was not there.
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
                let meaning = if word.is_empty() { Meaning::Always } else { Meaning::Set };
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
        if !word.is_empty() {
            set.arg(word);
        }
        Ok(Self::Command(set, Meaning::Set))
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
                (script.by_text(Some(key), &args), Meaning::Set)
            }
        }
    }
}

impl Meaning {
    pub(crate) fn outcome(self, reply: &Value) -> Result<SetOutcome> {
        let done = applied(reply)?;
        Ok(SetOutcome::from_applied(match self {
            Self::Set => done,
            Self::Always => true,
            Self::IfAbsent => !done,
        }))
    }
}
