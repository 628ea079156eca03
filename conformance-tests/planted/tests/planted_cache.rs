//! Each planted bug of the cache is seen by the case that is named for it, which has nothing against
//! the cache without it.

macro_rules! tests {
    ($($name:ident $stand:ident $bug:literal => $caught_by:literal $edits:tt)+) => {
        $(
            #[test]
            fn $name() {
                planted::assert_cache_bug_caught(stringify!($name));
            }
        )+
    };
}
planted_cache::__cache_bugs! { [tests] }
