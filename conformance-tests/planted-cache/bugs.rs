// The planted bugs of the cache: each changes a few words of its sources.

/// A planted bug.
#[derive(Debug)]
pub struct Bug {
    /// Its name.
    pub name: &'static str,
    /// The bug, in one sentence.
    pub bug: &'static str,
    /// The case that must catch it.
    pub caught_by: &'static str,
    /// What is changed.
    pub edits: &'static [Edit],
    /// What the bug needs to show.
    pub stand: Stand,
}

/// One change.
#[derive(Debug)]
pub struct Edit {
    /// The file below `crates/cache/src`.
    pub file: &'static str,
    /// What stands there, once.
    pub from: &'static str,
    /// What stands there instead; `BUG` becomes the question whether the bug is switched on.
    pub to: &'static str,
}

/// What a bug needs to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// A store in memory, on the suite's clock.
    Memory,
    /// The same, and a short time limit: something hangs.
    Hanging,
    /// A store in memory on a clock of its own.
    OwnClock,
    /// Files.
    Files,
}

const fn edit(file: &'static str, from: &'static str, to: &'static str) -> Edit {
    Edit { file, from, to }
}

macro_rules! table {
    ($($name:ident $stand:ident $bug:literal => $caught_by:literal
        { $($file:literal: $from:literal => $to:literal;)+ })+) => {
        /// All of them.
        pub const BUGS: &[Bug] = &[$(
            Bug {
                name: stringify!($name),
                bug: $bug,
                caught_by: $caught_by,
                edits: &[$(edit($file, $from, $to)),+],
                stand: Stand::$stand,
            },
        )+];
    };
}

/// The list of bugs; the table and the tests are both made from it.
#[macro_export]
macro_rules! __cache_bugs {
    ([$($then:tt)+]) => { $($then)+! {

    a_flight_is_keyed_without_its_scope Memory
        "Callers of the same key in different scopes share one load."
        => "loads::other_keys_and_scopes_load_apart" {
        "slot.rs": "let slot = self.slot(scope, key);\n        let mut state"
            => "let root = Namespace::root();\n        let slot = self.slot(if BUG { &root } else { scope }, key);\n        let mut state";
    }
    an_overtaken_load_is_stored Memory
        "A fill does not look whether it was overtaken."
        => "overtaken::by_a_deletion" {
        "write.rs": "!flight.is_overtaken() && !self.table" => "BUG || !flight.is_overtaken() && !self.table";
    }

    } };
}
__cache_bugs! { [table] }
