//! Each planted bug is seen by the case that is named for it, which has nothing against the honest
//! store below.

macro_rules! tests {
    ($($class:ident {
        $($name:ident $base:ident($bug:expr) $([$mode:ident])? $text:literal => $case:literal;)+
    })+) => {
        $($(
            #[test]
            fn $name() {
                planted::assert_caught(stringify!($name));
            }
        )+)+
    };
}
planted::__planted! { [tests] }
