use std::time::Duration;

use larder_core::Expiry;
use larder_core::chrono::{DateTime, TimeDelta, Utc};

/// An expiry in any of its forms, or `None` for the default one: what
/// [`Cache::update_expiry`](crate::Cache::update_expiry) takes.
///
/// It is implemented for everything that an [`Expiry`] is made from, and for nothing else.
pub trait MaybeExpiry: sealed::Sealed {
    /// The expiry that is asked for.
    fn maybe_expiry(self) -> Option<Expiry>;
}

mod sealed {
    #[allow(unreachable_pub, reason = "nobody else is to implement the trait that is public")]
    pub trait Sealed {}
}

impl sealed::Sealed for Option<Expiry> {}

impl MaybeExpiry for Option<Expiry> {
    fn maybe_expiry(self) -> Option<Expiry> {
        self
    }
}

macro_rules! expiries {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}

        impl MaybeExpiry for $type {
            fn maybe_expiry(self) -> Option<Expiry> {
                Some(self.into())
            }
        }
    )*};
}

expiries!(Expiry, Duration, TimeDelta, DateTime<Utc>);
