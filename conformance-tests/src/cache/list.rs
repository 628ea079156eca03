/// Every case of the caching layer: its area and name, the rules of `docs/cache.md` that it tries, what
/// it needs, and what is promised.
///
/// The registry and the tests of `cache_conformance!` are both made from this list, and so cannot
/// differ.
#[doc(hidden)]
#[macro_export]
macro_rules! __cache_cases {
    ([$($then:tt)+] $args:tt) => { $($then)+! { $args

items {
    nothing_at_all_is_a_value [V1] []
        "A stored `None`, unit or empty text is a hit and not a miss.";
    every_kind_of_value_comes_back [V1] []
        "Numbers, texts, bytes, lists and what is made of them come back as they were.";
    a_modified_time_is_kept_to_the_microsecond [V1] []
        "The time at which a value was made is kept to the microsecond.";
    an_item_is_a_snapshot [V3] []
        "What was read is changed by no later write.";
    an_item_tells_its_age_and_its_life [V3] []
        "An item tells its age, its remaining life and its freshness by the clock.";
    lookup_tells_hit_miss_and_pending [V3] []
        "`lookup` tells hit, miss and pending, which can be awaited; `get` never waits.";
    the_default_life_is_300_seconds [V3] []
        "A value lives for 300 s unless told otherwise: set, loaded, or given a new expiry.";
    lives_are_as_asked_for [V3] []
        "A value lives exactly as long as the builder or the call says; never is explicit.";
    defaults_and_failures_of_a_read [V4] []
        "`get_or` gives its default for a missing key, and stores nothing; `get_or_fail` fails.";
    remove_tells_whether_all_existed [V4] []
        "`remove` tells whether all existed; a key named twice counts once, and no key is all.";
    one_of_many_deleters_gets_the_value [V4] []
        "Of many who delete a key at once, exactly one gets its value.";
    an_expired_entry_can_be_revived [V4] []
        "An expired entry is revived while it is retained, and until then nobody sees it.";
    after_its_retention_it_cannot [V4] []
        "After its retention, or deleted, an entry is `NotFound` and is not revived.";
    the_store_forgets_what_has_expired [V4] [List]
        "When its life and retention are over, the store itself no longer has the entry.";
    what_lies_beside_is_left_alone [V1] [List]
        "What lies in the store beside the cache is left alone by all that the cache does.";
    the_blocking_handle_never_deadlocks [V6] []
        "The blocking handle works on a plain thread, and in a task is an error at once.";
}

formats {
    an_entry_of_another_type_is_a_miss [V2] []
        "An entry of another type or codec is a miss, is counted, and is replaced by a load.";
    an_entry_of_another_version_is_a_miss [V2] [List]
        "An entry of another version is a miss, is counted, and is replaced by a load.";
    damaged_bytes_are_a_miss [V2] [List]
        "Damaged entries and foreign records are misses, and nothing panics.";
    old_and_new_run_side_by_side [V2] []
        "Programs of two versions over one store take each other's entries for misses.";
    a_record_that_the_store_calls_corrupt_is_a_miss [V2] [List]
        "A record that the store itself cannot read is a miss, and can be replaced and deleted.";
    it_can_be_set_under_its_lock_and_deleted [V2 L1] [List]
        "A damaged entry can be set under its lock, and deleted.";
}

opening {
    a_borrowed_store_is_left_open [V5] []
        "Closing a space refuses its calls, leaves a borrowed store open, and can be undone.";
    closing_ends_what_waits [V5 F3] []
        "Closing a space ends loads and promises; nobody is left waiting, nothing is stored.";
    closing_waits_for_calls_in_progress [V5] [List]
        "Closing a space waits for what the store is carrying out.";
    a_session_closes_however_it_ends [V5] [List]
        "A session opens, and closes on success, error, panic and cancellation.";
}

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

pending {
    resolved [F5] []
        "A promise that is resolved gives its value to all who wait, and stores it.";
    resolved_without_storing [F5] []
        "A promise may be resolved with a value that is given and not stored.";
    failed_by_its_owner [F5] []
        "A promise that its owner fails gives the error to all who wait.";
    failed_from_anywhere [F5] []
        "A promise is failed from anywhere, through a handle of another type too.";
    overwritten [F5] []
        "A set of a promised key gives its value to all who wait; the promise is void.";
    taken_over [F5] []
        "A second promise takes over those who wait for the first one, which is void.";
    taken_over_and_given_up [F5] []
        "Those who were taken over are told when the second promise is given up, and not before.";
    given_up [F5] []
        "A promise that is dropped unresolved gives `Abandoned` to all who wait.";
    deleted [F5] []
        "Deleting a promised key gives `Abandoned` to all who wait.";
    prefix_removed [F5 Z3] [List]
        "Removing the prefix of a promised key, and no other, gives `Abandoned` to all who wait.";
    emptied [F5] [List]
        "Clearing gives `Abandoned` to all who wait for a promise.";
    emptied_but_for_what_is_pending [F5] [List]
        "Clearing that keeps what is pending leaves promises and loads, which are stored.";
    evicted [F5 P1] [List]
        "A promise that is evicted gives `Abandoned` to all who wait.";
    detached_and_never_kept [F5] []
        "A promise that is detached and never kept is given up in time.";
    detached_and_kept_later [F5] []
        "A promise that is detached is kept by a later set, or failed.";
    kept_or_failed_by_a_task [F5] []
        "A task keeps its promise with its value, or fails it with its error.";
    its_task_is_cancelled [F5] []
        "When the task of a promise is cancelled, all who wait are told.";
    its_task_panics [F5] []
        "When the task of a promise panics, all who wait are told.";
}

faults {
    loads_go_on_together [F8 F1] [List]
        "When the store fails, loads go on, once for all who wait, and are counted.";
    all_else_is_told [F8] [List]
        "When the store fails, reads, writes and listings give its error and change nothing.";
    its_error_is_served_where_asked [F8] [List]
        "Where asked for, a load gives the store's error instead of running.";
    a_value_that_is_not_stored_is_given [F8] [List]
        "A loaded value that cannot be stored is given to those who wait.";
    one_that_hangs_costs_its_budget [F8] [List]
        "A store that hangs holds nobody up for longer than its budget.";
    a_slow_one_is_waited_for [F8] [List]
        "A store that is slow within its budget is waited for, and no failure.";
    after_repeated_ones_it_is_left_alone [F8] [List]
        "After repeated failures the store is left alone for a while, and then tried once.";
    writes_are_never_held_back [F8] [List]
        "Deletions and sets are carried out, whatever failed before.";
    errors_of_the_call_are_none [F8] [List]
        "What the store refuses is no failure of the store, and no reason to load around it.";
}

policies {
    lru_agrees_with_its_model [P1] [List]
        "`Lru` keeps what a plain model keeps, within its capacity, after every step.";
    s3_fifo_agrees_with_its_model [P1] [List]
        "`S3Fifo` keeps what a plain model keeps, within its capacity, after every step.";
    most_recent_agrees_with_its_model [P1] [List]
        "`MostRecent` keeps what a plain model keeps, after every step.";
    concurrent_writers_keep_to_the_capacity [P1] [List]
        "Writers at the same time leave no more than the capacity, and all of it counted.";
    a_scan_does_not_push_out_what_is_used [P1] [List]
        "Under `S3Fifo`, entries used once do not push out those used again and again.";
    reopening_rebuilds_the_index [P1] [List Reopen]
        "When a store is opened again, what it holds is counted, pins included.";
    too_heavy_an_entry_is_refused [P1] [List]
        "An entry heavier than the whole capacity is refused, and flushes nothing.";
    what_has_expired_goes_first [P1] [List]
        "Room is made by what has expired before anything live has to go.";
    a_fixed_life_runs_from_the_last_set [P1] []
        "Under `Ttl` an entry lives from its last set, whatever is read.";
    each_scope_can_have_its_own [P1 P3] [List]
        "A policy per scope has its capacity in each session, user and the global scope.";
    a_shared_store_wants_to_be_told [P1] [List Shared]
        "A capacity over a shared store is refused unless it is said whose entries it bounds.";
    without_listing_a_capacity_is_refused [P1] [NoList]
        "A capacity over a store that cannot list is refused, unless for this process alone.";
    impossible_ones_are_refused [P1] []
        "A capacity or life of nothing is refused when the cache is built.";
}

pins {
    one_stays_until_it_is_read_with_unpin [P2] [List]
        "A pinned entry stays until it is read with unpin, and may be evicted afterwards.";
    unpinning_is_one_step_with_the_read [P2] [List]
        "Of 64 who read with unpin while the entry is pushed out, one at least gets it.";
    where_all_are_pinned_nothing_else_comes_in [P2] [List]
        "Where all entries are pinned, others are given and not kept, and no pin is added.";
    setting_again_without_one_unpins [P2] [List]
        "Setting a pinned entry again without a pin unpins it.";
    deleting_and_clearing_always_win [P2] [List]
        "Deleting and clearing take no heed of pins, under every policy.";
    one_outlives_the_policys_expiry [P2] []
        "A pin outlives the policy's expiry, and not one asked for by name.";
    they_have_a_greatest_age [P2] [List]
        "A pin that nobody ends is over at its greatest age.";
    they_have_a_budget [P2] []
        "No more entries are pinned than the budget says.";
    another_type_neither_sees_nor_ends_it [P2] [List]
        "A handle of another type neither reads nor unpins a pinned entry.";
}

registry {
    entries_have_keys_and_policies_of_their_own [P3] [List]
        "Each registry entry has keys and a policy of its own, and one name has one policy.";
    each_scope_has_an_instance_of_the_policy [P3 Z1] [List]
        "The policy of a registry entry has one instance in each scope.";
    values_are_pinned_until_they_are_read_for_that [P3 P2] [List]
        "Values of a registry entry are pinned, read with unpin, and deleted all the same.";
    pending_values_are_kept_failed_and_emptied [P3 F5] [List]
        "Values of a registry entry are promised, kept, failed and emptied.";
    clearing_empties_every_entry [P3] [List]
        "Clearing empties every registry entry, those not used yet too, and nothing beside.";
    everything_is_counted [P4] [List]
        "Hits, misses, loads, failures, evictions, entries and pins are counted once each.";
}

scopes {
    outside_of_a_context_they_are_an_error [Z1] []
        "Outside of a context that names one, a session or user scope is `NoScope` for all calls.";
    concurrent_sessions_and_users_never_meet [Z1 F1] []
        "Sessions and users in concurrent tasks see each other's values nowhere, nor in flights.";
    the_context_goes_along_into_loads [Z1] []
        "The current session and user go along into loads.";
    a_scope_by_name_is_the_one_in_context [Z1] []
        "A session or user by name is the same scope as the current one of that name.";
    names_that_look_alike_never_meet [Z1 Z2] []
        "Scopes whose names resemble each other's, or the roots', never meet.";
    names_that_cannot_be_are_refused [Z1 Z2] []
        "A scope with a name that no namespace can have is refused when it is used.";
    clearing_one_clears_what_is_below [Z2] [List]
        "Clearing a scope clears what is nested in it, and nothing else.";
    a_listing_marks_what_is_pending [Z3] [List]
        "A scope lists its own live keys in order, pending ones marked.";
    long_listings_are_whole [Z3] [List]
        "More than a thousand keys are listed once each.";
    a_prefix_keeps_to_its_scope [Z3] [List]
        "A prefix is removed byte for byte, in its own scope alone, and counted.";
    clearing_the_space_clears_all [Z3] [List]
        "Clearing the space clears every scope.";
}

locks {
    a_held_one_is_busy [L1 L2] []
        "A lock that is held is `Busy`, which is not an absent item, and others are free.";
    they_are_given_in_the_order_of_asking [L2] []
        "A lock is given in the order of asking, and leaves nothing behind.";
    getset_loses_no_count [L1 L2] []
        "Of counts made under a lock at the same time, none is lost.";
    the_setter_may_be_called_again [L1] []
        "The setter may be called again while the lock is held.";
    a_write_in_between_is_a_conflict [L1] []
        "A write between the read and the setter makes it fail with `Conflict`, and stays.";
    an_expiry_in_between_is_none [L1] []
        "An entry that merely expired since it was read is no conflict.";
    closing_takes_them_away [L1] []
        "Closing the space takes locks away, and their holders are told.";
    they_never_fail_open [L1 F8] [List]
        "With a store that fails, `getset` gives its error, and never takes an entry for absent.";
    readers_are_not_blocked [L3] []
        "Readers do not wait for locks.";
}

distributed {
    a_lock_holds_in_every_space [L2] [Shared Conditions Namespaces]
        "Where processes share the store, a lock is held by one of all, and its tokens grow.";
    a_release_is_of_ones_own [L2] [Shared Conditions Namespaces]
        "Releasing a lock that was lost takes nothing from the next holder.";
    no_renewal_undoes_a_loss [L2] [Shared Conditions Namespaces]
        "A lock whose record was taken away is lost, and no renewal brings it back.";
    a_lease_is_counted_from_its_request [L2] [Shared Conditions Namespaces]
        "A lease counts from before the request for it was sent, however late the answer is.";
    tokens_never_go_back [L2] [Shared Conditions List]
        "Fencing tokens grow whatever becomes of the lock's record; without their counter, no lock.";
    a_lost_answer_is_no_lock_of_nobody [L2] [Shared Conditions Namespaces]
        "A lock whose answer was lost is its owner's at the next attempt.";
    the_data_refuses_an_earlier_holder [L1 L2] [Shared Conditions Namespaces]
        "Once a later holder has read an entry, the store refuses what an earlier one writes.";
    a_cold_key_is_loaded_once [F6] [Shared Conditions Namespaces]
        "Several processes that miss one key load it once, and all have its value.";
    an_overtaken_load_is_not_stored [F2 F6] [Shared Conditions List]
        "What one process sets, deletes or clears is not undone by the load of another.";
    what_is_being_loaded_is_missing [F6] [Shared Conditions List]
        "A key that another process loads is missing, and neither damaged nor listed.";
    a_failed_load_is_the_next_ones_turn [F3 F6] [Shared Conditions Namespaces]
        "After a load that failed, another process loads at once.";
    a_failure_is_told_to_others [F3 F7] [Shared Conditions Namespaces]
        "With a negative time to live, a failure is told to other processes until a set.";
    a_stale_value_is_served_and_refreshed_once [F7] [Shared Conditions Namespaces]
        "Within the grace all processes are served at once, and one of them refreshes.";
    a_soft_time_out_serves_stale [F7] [Shared Conditions Namespaces]
        "Within the grace, a load that fails gives the stale value, and one in time the fresh one.";
    a_deletion_gives_what_it_deleted [V4 F6] [Shared Conditions Namespaces]
        "A deletion gives the very value that it deleted, whoever set it.";
    a_change_of_expiry_undoes_nothing [V4 F6] [Shared Conditions Namespaces]
        "A change of expiry does not bring back what another process deletes meanwhile.";
    a_clearing_may_keep_the_loads_of_all [F5 F6] [Shared Conditions List]
        "A clearing that keeps what is pending keeps the loads of other processes.";
    those_who_wait_are_patient [F6] [Shared Conditions Namespaces]
        "A process that waits asks the store at most 20 times a second.";
}

    } };
}
