//! What several callers did to one key, and what each was answered.

use std::fmt;

use larder_core::Expiry;

use crate::recorder::show_expiry;

/// What a call asked for. Values are numbers, no two of them set to a key being the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Exists,
    /// A get that renews for so many nanoseconds.
    Renew(u64),
    Set {
        value: u32,
        life: Life,
        condition: When,
    },
    Delete(When),
    UpdateExpiry(Life),
}

/// When a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Never,
    /// After so many nanoseconds.
    After(u64),
    Keep,
}

/// A condition, the version being that of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Any,
    Absent,
    Present,
    Matches(u32),
}

/// What a call answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Found(Option<u32>),
    Done(bool),
    /// The call was dropped, or its outcome cannot be known: it happened later, or not at all.
    Unknown,
}

/// A call and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) caller: usize,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
    /// Places in the order of all beginnings and ends.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// The clock before and after the call, in nanoseconds.
    pub(crate) clock: (u64, u64),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (began, ended) = (self.began, self.ended);
        write!(f, "caller {} at {began}", self.caller)?;
        if self.answer != Answer::Unknown {
            write!(f, "–{ended}")?;
        }
        write!(f, ": {} -> ", self.call)?;
        match self.answer {
            Answer::Found(Some(value)) => write!(f, "value {value}"),
            Answer::Found(None) => f.write_str("nothing"),
            Answer::Done(done) => write!(f, "{done}"),
            Answer::Unknown => f.write_str("(dropped)"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = std::time::Duration::from_nanos;
        match self {
            Self::Get => f.write_str("get"),
            Self::Exists => f.write_str("exists"),
            Self::Renew(life) => write!(f, "get, renewed for {:?}", nanos(*life)),
            Self::Set { value, life, condition } => {
                write!(f, "set value {value}")?;
                if *life != Life::Never {
                    write!(f, ", {}", show_expiry(life.expiry()))?;
                }
                write!(f, "{condition}")
            }
            Self::Delete(condition) => write!(f, "delete{condition}"),
            Self::UpdateExpiry(life) => write!(f, "update_expiry: {}", show_expiry(life.expiry())),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Absent => f.write_str(", if absent"),
            Self::Present => f.write_str(", if present"),
            Self::Matches(value) => write!(f, ", if it is value {value}"),
        }
    }
}

impl Life {
    pub(crate) fn expiry(self) -> Expiry {
        match self {
            Self::Never => Expiry::Never,
            Self::After(nanos) => Expiry::After(std::time::Duration::from_nanos(nanos)),
            Self::Keep => Expiry::Keep,
        }
    }
}

impl Event {
    pub(super) fn is_certain(&self) -> bool {
        self.answer != Answer::Unknown
    }
}
