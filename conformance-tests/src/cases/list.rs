/// Every case: its area and name, the rules that it tries, what it needs, and what is promised.
///
/// The registry and the tests of `store_conformance!` are both made from this list, and so cannot
/// differ.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ([$($then:tt)+] $args:tt) => { $($then)+! { $args

basic {
    a_missing_key_reads_as_none [S2] []
        "Getting a missing key gives `None`, it does not exist, and it has no remaining life.";
    a_value_set_is_read [S1] []
        "What was set is what is read, by `get`, `exists` and `expires_in` alike.";
    a_set_replaces_the_value [S3] []
        "A set replaces the old value wholly, be the new one longer, shorter or empty.";
    a_delete_tells_whether_the_key_was_live [S2] []
        "Deleting a live key gives true and a missing one false.";
    delete_all_empties_the_store [N2] []
        "`delete_all` removes every key, may be repeated, and leaves a store that works.";
    get_tells_only_what_is_asked [C2] []
        "An entry has a remaining life when it is asked for, and a version only then.";
    flush_and_ping_answer [X1] []
        "`flush` and `ping` succeed on a store that works.";
}

values {
    any_bytes_come_back [S1] []
        "A value is any bytes: each single byte, all bytes at once, empty, text, numbers.";
    empty_is_not_missing [S1] []
        "An empty value is a live value and not a missing one.";
}

expiry {
    dies_at_its_deadline [E1] []
        "A key set to live for a duration lives that long and is gone at its deadline.";
    an_overwrite_clears_the_expiry [S3] []
        "A plain overwrite clears the expiry of the value that it replaces.";
}

    } };
}
