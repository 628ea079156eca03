/// Every case of the caching layer: its area and name, the rules of `docs/cache.md` that it tries, what
/// it needs, and what is promised.
///
/// The registry and the tests of `cache_conformance!` are both made from this list, and so cannot
/// differ.
#[doc(hidden)]
#[macro_export]
macro_rules! __cache_cases {
    ([$($then:tt)+] $args:tt) => { $($then)+! { $args

loads {
    callers_at_the_same_time_share_one [F1] []
        "Callers of one missing key at the same time run one load and get its value.";
    ten_thousand_callers_share_one [F1] []
        "Ten thousand callers of one missing key run one load and get its value.";
    other_keys_and_scopes_load_apart [F1 Z1] []
        "Loads of other keys, and of the same key in other scopes, have nothing to do with each other.";
    callers_of_other_types_get_their_own [F1] []
        "A flight is keyed by the key and not by the type, and each caller gets a value of his own type.";
    callers_who_go_away_harm_nobody [F1] []
        "Callers who go away before or while a key is loaded harm nobody who waits.";
    one_without_callers_is_finished [F1] []
        "A load whose last caller has gone is finished, and its value is stored.";
    one_without_callers_is_cancelled_where_asked [F1] []
        "Where asked for, a load is cancelled with its last caller, and not before.";
    its_result_says_how_it_is_stored [F1] []
        "A loader says how long its value lives, or that it is not to be stored.";
    an_error_goes_to_all_and_is_forgotten [F3] []
        "A loader's error goes to everybody who waits, and the next caller loads anew.";
    an_error_is_remembered_as_long_as_asked [F3] []
        "With a negative time to live an error is told until it is over, or a value is set.";
    a_panic_is_an_error_for_all [F3] []
        "A loader that panics is an error for everybody who waits, and for nobody afterwards.";
    a_runtime_that_shuts_down_is_an_error_for_all [F3] []
        "When the runtime of a load shuts down, nobody is left waiting.";
    one_that_never_ends_is_ended [F4] []
        "A load that never ends is ended by `max_load_time`, and its key can be loaded anew.";
    waiters_have_deadlines_of_their_own [F4] []
        "A waiter's deadline ends his own waiting, and neither the load nor anybody else's.";
    one_that_asks_for_its_own_key_is_told [F4] []
        "A loader that asks for its own key gets `Reentrant`, and other keys as ever.";
    two_that_ask_for_each_other_are_ended [F4] []
        "Two loaders that ask for each other's key are ended.";
    no_table_grows [F1 F3 F4] []
        "Whatever becomes of loads, promises and locks, nothing is kept of them.";
}

overtaken {
    by_a_set [F2] []
        "A set during a load gives its value to all who wait, at once, and stays.";
    by_a_deletion [F2] []
        "A load during which its key is deleted is given to those who wait, and not stored.";
    by_a_removal [F2] []
        "A load during which its key is removed among others is not stored.";
    by_a_prefix_removal [F2 Z3] [List]
        "A load during which its key's prefix is removed is not stored.";
    by_clearing_its_scope [F2 Z2] [List]
        "A load during which its scope is cleared is not stored.";
    by_clearing_an_outer_scope [F2 Z2] [List]
        "A load during which a scope around its own is cleared is not stored.";
    by_clearing_everything [F2 Z3] [List]
        "A load during which the whole space is cleared is not stored.";
    by_a_set_that_is_over_at_once [F2] []
        "A load during which its key is set with a life of zero is not stored.";
    by_a_set_that_has_expired_since [F2] []
        "A load during which its key was set is not stored, even when that value has expired since.";
    by_a_set_that_was_evicted_since [F2 P1] [List]
        "A load during which its key was set is not stored, even when that value was evicted since.";
    not_by_an_eviction_of_the_old_value [F2 P1] [List]
        "A load whose old value is evicted meanwhile is given and stored, within the capacity.";
    by_a_change_of_expiry [F2 V4] []
        "A load during which its expired key is revived gives the revived value, which stays.";
    by_a_promise [F2 F5] []
        "A load during which its key is promised is not stored.";
    by_a_set_under_a_lock [F2 L1] []
        "A set under a lock overtakes a load like any other.";
    by_a_write_of_another_type [F2] []
        "A load is overtaken by a write through any handle of the space, of another type too.";
    however_long_ago_it_began [F2] []
        "A load is not stored, however long ago it began and was overtaken.";
    not_by_what_happens_to_other_keys [F2 Z2] [List]
        "What happens to other keys and scopes overtakes nothing.";
    its_error_is_not_remembered [F2 F3] []
        "The error of a load that was overtaken is not remembered.";
    while_its_value_is_being_stored [F2] [List]
        "What comes while a loaded value is just being stored waits for that, and wins.";
    by_one_that_is_being_carried_out [F2] [List]
        "A load that ends while the store is carrying out its overtaker is not stored.";
    by_one_whose_caller_has_gone [F2] [List]
        "A change whose caller goes away in the middle is carried through, and overtakes.";
    by_one_whose_outcome_is_unknown [F2 F8] [List]
        "A set whose outcome the store could not tell overtakes as well.";
    in_no_interleaving [F2] [List]
        "No interleaving of loads, deletions and clearings leaves a value older than its source.";
}

    } };
}
