//! The cases, area by area. [`list`] names them all.

mod basic;
mod bulk;
mod calls;
mod cancellation;
mod capabilities;
mod concurrency;
mod conditions;
mod crashes;
mod durability;
mod errors;
mod expiry;
mod heartbeat;
mod histories;
mod hostile;
mod keys;
mod lifecycle;
mod list;
mod listing;
mod namespaces;
mod sequences;
mod values;

use crate::{Case, Need};

macro_rules! registry {
    (() $($area:ident {
        $($name:ident [$($rule:ident)+] [$($need:ident)*] $promise:literal;)+
    })+) => {
        static CASES: &[Case] = &[$($(
            Case {
                name: concat!(stringify!($area), "::", stringify!($name)),
                rules: &[$(stringify!($rule)),+],
                needs: &[$(Need::$need),*],
                promise: $promise,
                run: |trial| Box::pin($area::$name(trial)),
            },
        )+)+];
    };
}
crate::__cases! { [registry] () }

/// Every case of the suite, in the order of the contract.
pub fn cases() -> &'static [Case] {
    CASES
}

/// The cases of the contract and those of the caching layer; no two share a name.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    #[cfg(feature = "cache")]
    let others = crate::cache_cases();
    #[cfg(not(feature = "cache"))]
    let others: &[Case] = &[];
    CASES.iter().chain(others)
}
