//! The planted bugs, class by class: each type makes one decision, or hands on one call, wrongly.

pub(crate) mod atomicity;
pub(crate) mod bulk;
pub(crate) mod cancellation;
pub(crate) mod corners;
pub(crate) mod durability;
pub(crate) mod errors;
pub(crate) mod expiry;
pub(crate) mod keys;
pub(crate) mod lifecycle;
pub(crate) mod listing;
pub(crate) mod memo;
pub(crate) mod namespaces;
pub(crate) mod values;
