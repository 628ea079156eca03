//! `larder-cache` with bugs, one of which can be switched on at a time: see [`planted`].
#![allow(warnings, clippy::all, clippy::pedantic, reason = "copied sources, looked at elsewhere")]

include!(concat!(env!("OUT_DIR"), "/cache/lib.rs"));

#[path = "../bugs.rs"]
mod bugs;

/// The bugs, and the switch.
pub mod planted {
    use std::sync::{PoisonError, RwLock};

    pub use crate::bugs::{BUGS, Bug, Edit, Stand};

    include!(concat!(env!("OUT_DIR"), "/cache/missing.rs"));

    static PLANTED: RwLock<Option<&'static str>> = RwLock::new(None);

    /// Switches a bug on, and whichever was on off.
    pub fn plant(bug: Option<&'static str>) {
        *PLANTED.write().unwrap_or_else(PoisonError::into_inner) = bug;
    }

    pub(crate) fn is(bug: &str) -> bool {
        *PLANTED.read().unwrap_or_else(PoisonError::into_inner) == Some(bug)
    }
}
