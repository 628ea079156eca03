use std::fmt;

/// What a bug is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// When a value stops being live.
    Expiry,
    /// Which texts are the same key.
    Keys,
    /// Which bytes come back.
    Values,
    /// What is separate from what.
    Namespaces,
    /// What happens at the same time.
    Atomicity,
    /// Several keys in one call.
    Bulk,
    /// What is there.
    Listing,
    /// What survives.
    Durability,
    /// What is said when something fails.
    Errors,
    /// What a dropped call leaves behind.
    Cancellation,
    /// What closing closes.
    Lifecycle,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expiry => "expiry",
            Self::Keys => "keys",
            Self::Values => "values",
            Self::Namespaces => "namespaces",
            Self::Atomicity => "atomicity",
            Self::Bulk => "bulk",
            Self::Listing => "listing",
            Self::Durability => "durability",
            Self::Errors => "errors",
            Self::Cancellation => "cancellation",
            Self::Lifecycle => "lifecycle",
        })
    }
}
