use larder_core::Deadline;

use crate::Refusal;
use crate::envelope::Head;
use crate::id::Id;

/// What the policy has to know about an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) weight: u64,
    pub(crate) expires: Option<Deadline>,
    pub(crate) pinned_until: Option<Deadline>,
    /// It stands for a promise; the store holds nothing.
    pub(crate) pending: bool,
}

impl Entry {
    /// One that is stored with this head.
    pub(crate) fn of(head: &Head) -> Self {
        Self {
            weight: head.weight.max(1),
            expires: head.expires,
            pinned_until: head.pin_holds_until(),
            pending: false,
        }
    }

    /// One that stands for a promise, or of which nothing is known.
    pub(crate) fn bare(pending: bool) -> Self {
        Self { weight: 1, expires: None, pinned_until: None, pending }
    }
}

/// An entry that has to go before another may come in.
#[derive(Debug, Clone)]
pub(crate) struct Victim {
    pub(crate) id: Id,
    pub(crate) entry: Entry,
    pub(crate) expired: bool,
}

/// What asking for room comes to.
#[derive(Debug)]
pub(crate) enum Room {
    /// There is room once its victims have gone.
    Made,
    /// All else is pinned or being written.
    None,
    /// It may not come in at all.
    Refused(Refusal),
}
