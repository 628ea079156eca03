//! The cases of the caching layer, area by area. [`list`] names them all.

mod bench;
mod distributed;
mod faults;
mod formats;
mod items;
mod list;
mod loads;
mod locks;
mod model;
mod opening;
mod overtaken;
mod pending;
mod pins;
mod policies;
mod registry;
mod scopes;

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
crate::__cache_cases! { [registry] () }

/// Every case of the caching layer, in the order of its rules.
pub fn cache_cases() -> &'static [Case] {
    CASES
}
