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
    text_and_types_come_back [S1] []
        "Text, bytes and typed values are stored as they are, without an envelope.";
}

keys {
    the_empty_key_is_a_key [K1] []
        "The empty key is a key like any other.";
    every_length_up_to_the_limit [K1 K2] []
        "Keys of every length up to the declared limit are taken and told apart.";
    a_key_too_long_is_refused [K1 S8] []
        "A longer key is `InvalidKey` for every method, and nothing is touched.";
    every_ascii_character_is_a_key [K1 K2] []
        "Each of the 128 ASCII characters is a key, alone and between others.";
    look_alikes_are_different_keys [K2] []
        "Different bytes are different keys: case, normal forms, look-alikes, separators, escapes.";
    no_key_is_cut_or_hashed_into_another [K2] []
        "Long keys that differ in their first or last byte alone are different keys.";
    conditions_tell_look_alikes_apart [K2 C1] [Conditions]
        "Conditions look at the very key that they are given, and not at one that resembles it.";
    a_pattern_is_only_a_key [K3] []
        "A key is never taken for a pattern, by reads and deletions.";
    no_key_leaves_its_namespace [K3 N1] [Namespaces]
        "No key reaches outside its namespace, whatever dots, slashes and separators it has.";
    listed_as_they_were_set [K2 C3] [List]
        "What is listed is byte for byte what was set.";
}

values {
    any_bytes_come_back [S1] []
        "A value is any bytes: each single byte, all bytes at once, empty, text, numbers.";
    empty_is_not_missing [S1] []
        "An empty value is a live value and not a missing one.";
    an_empty_value_lives_as_any_other [S1 E4 E5 E6 C3 S8] []
        "An empty value expires, is renewed, kept, listed, counted and spared by a purge as any other.";
    every_size_comes_back [S1] []
        "Values of every size come back, at the sizes where encodings change.";
    eight_mebibytes_come_back [S1 S3] []
        "A value of 8 MiB, or of the declared limit, is stored, replaced and deleted like a small one.";
    our_own_records_are_values [S1 R1] []
        "A value that looks like a stored record, with an expiry in the past even, is only a value.";
    a_slice_keeps_only_itself_alive [S1] []
        "A stored slice of a large buffer keeps only itself in memory.";
    values_up_to_the_declared_limit [S1 X1] []
        "A value of the declared limit is taken; a larger one is `TooLarge` and changes nothing.";
    records_are_those_of_litestar [R1] []
        "A `StorageObject` encodes to the very bytes that Litestar writes, and decodes from them.";
    no_bytes_but_records_decode [R1 X2] []
        "Bytes that are no record are `Corrupt`, cut, lengthened, mistyped or lying about lengths.";
    a_record_tells_its_remaining_life [R1] []
        "A record is expired from its deadline on, and its seconds are -1 only without expiry.";
}

expiry {
    dies_at_its_deadline [E1] []
        "A key set to live for a duration lives that long and is gone at its deadline.";
    dies_at_the_moment_given [E1] []
        "A key set to live until a moment is gone at that moment.";
    every_operation_sees_the_same_death [E1] []
        "Past the deadline a key is gone for get, exists, list, conditions, deletion and renewal.";
    every_operation_sees_the_last_instant [E1] [ExactTime]
        "One nanosecond before the deadline a key is live for every operation.";
    fractions_round_up_and_never_down [E1] [ExactTime]
        "Durations and moments round up to the declared granularity, in sets and renewals: no key dies early.";
    short_lives_are_not_cut_shorter [E1] []
        "A life of a granule and a fraction is not cut to whole granules.";
    days_count_as_well_as_seconds [E1] []
        "A life of days counts whole, and not by its seconds part.";
    the_remaining_life_counts_down [E1] [ExactTime]
        "`expires_in` gives what remains, to the granule.";
    reading_renews_nothing [E1 S4] []
        "Reading a key, in whatever way, leaves its deadline where it is.";
    a_live_key_never_has_no_time_left [E1] []
        "The remaining life of a live key is never zero, and its seconds round up.";
    zero_removes_at_once [E2] []
        "A zero or negative life, or a deadline in the past, removes the key and its old value.";
    the_present_moment_is_past [E1 E2] [ExactTime]
        "A deadline at the very present removes the key; one nanosecond later, it lives.";
    zero_in_bulk_removes_at_once [E2 S8] []
        "A zero life within a batch removes that key alone.";
    the_longest_lives_saturate [E3] []
        "`Duration::MAX` and the last moments there are saturate at the end of 9999.";
    the_longest_renewals_saturate [E3 E4] [Renew]
        "Renewals and changes of expiry saturate at the end of 9999, and neither wrap nor fail.";
    an_overwrite_clears_the_expiry [S3] []
        "A plain overwrite clears the expiry of the value that it replaces.";
    the_last_expiry_counts [S3 E1] []
        "Of several expiries set one after the other, the last one counts, earlier or later.";
    keep_keeps_the_remaining_life [E5] []
        "`Keep` keeps the remaining life of a live key and is `Never` for a missing one.";
    a_renewal_moves_the_deadline [E4] [Renew]
        "A get that renews gives the value and moves the deadline to now plus the duration.";
    a_renewal_needs_an_expiry [E4] [Renew]
        "A renewal of a key without expiry does nothing.";
    a_renewal_never_revives [E4 E5] [Renew]
        "A renewal never brings back a deleted or expired key.";
    the_whole_renewal_counts [E4] [Renew]
        "A renewal counts whole: days and fractions of a second.";
    a_key_about_to_die_is_renewed [E4] [Renew]
        "A key with under half a second left is renewed like any other.";
    renewing_for_zero_takes_the_value [E2 E4] [Renew]
        "Renewing for zero gives the value and removes the key.";
    update_expiry_changes_only_the_expiry [E5] [Renew]
        "`update_expiry` changes only the expiry of a live key and tells whether it is live.";
    update_expiry_into_the_past_removes [E2 E5] [Renew]
        "`update_expiry` into the past removes a live key and gives true.";
    a_purge_removes_only_what_has_expired [E6] [Purge]
        "`delete_expired` removes what has expired, counts no more than that, and nothing else.";
    a_purge_spares_a_key_with_a_new_life [E6] [Purge]
        "A key that was given a new life, in whatever way, is not purged for its old one.";
    a_purge_covers_descendants_and_nothing_else [E6 N2] [Purge Namespaces]
        "`delete_expired` covers a namespace and its descendants, and no neighbour.";
    a_purge_spares_fresh_writes [E6 S4] [Purge]
        "A purge never removes a value written while it runs.";
    reading_spares_fresh_writes [E6 S4] []
        "A read that finds a record expired never removes a value written meanwhile.";
    a_namespace_keeps_the_same_time [E7 N3] [Namespaces]
        "A child namespace takes its time from the same clock.";
}

namespaces {
    the_same_key_lives_in_each [N1 N2] [Namespaces]
        "The same key in different namespaces is a different key.";
    no_two_names_ever_meet [N1] [Namespaces]
        "No two pairs of a namespace and a key meet, however they are joined.";
    names_count_to_their_last_byte [N1] [Namespaces]
        "Long segments and deep paths that differ in their last byte alone are different.";
    a_segment_is_any_text [N1 K3] [Namespaces]
        "A segment is any text: separators, dots, patterns, NUL, device names, a key's own hash.";
    clearing_takes_all_descendants [N2] [Namespaces]
        "`delete_all` clears a namespace and all its descendants, and nothing beside them.";
    clearing_never_reaches_a_neighbour [N2 K3] [Namespaces]
        "Clearing `foo` leaves `foobar`, and clearing `*` leaves everything else.";
    clearing_a_child_leaves_its_parent [N2] [Namespaces]
        "Clearing a child leaves its parent's keys.";
    a_grandchild_needs_no_parent [N1] [Namespaces]
        "A namespace can be used before its parent is, and an unused one is empty.";
    a_path_is_walked_from_here [N1] [Namespaces]
        "`with_path` walks from here, step by step or at once, and `namespace` tells where it is.";
    the_limits_are_exact [N1] [Namespaces]
        "Segments of 1 to 255 bytes, 32 deep and 2,048 bytes in all are taken, and no others.";
    a_refused_name_leaves_no_trace [N1] [Namespaces]
        "A path that is refused leaves nothing behind, not even its valid beginning.";
    a_child_inherits_the_configuration [N3 K1] [Namespaces]
        "A child has its parent's capabilities, save the key length that its prefix leaves.";
    handles_of_one_namespace_share_it [S6 N1] [Namespaces]
        "All handles of one namespace share its keys, whichever way they were made.";
    foreign_data_is_left_alone [N2 K3] [Foreign]
        "Data that the store did not write is neither listed, cleared nor purged.";
}

bulk {
    results_come_in_the_order_of_the_keys [S8] []
        "Bulk calls give their results in the order of the keys.";
    nothing_may_be_asked_for [S8] []
        "Bulk calls of no keys do nothing and succeed.";
    a_key_may_come_twice [S8] []
        "Of two writes to one key the last wins, and a duplicate deletion counts once.";
    every_key_is_checked_before_any_is_touched [S8 K1] []
        "One key too long fails the whole batch before anything is touched.";
    each_write_has_its_own_expiry [S8 S3 E5] []
        "Each write of a batch has an expiry of its own.";
    each_write_has_its_own_condition [S8 C1] [Conditions]
        "Each write of a batch has a condition of its own, seen one after the other.";
    the_dead_do_not_count [S8 E1] []
        "Expired keys are missing for bulk reads, deletions and conditions.";
    large_batches_are_whole [S8] []
        "A batch of more than a thousand keys is done whole.";
    batches_in_opposite_order_end [S8 S4] []
        "Batches at the same time, of the same keys in opposite orders, do not wait for each other.";
    one_bad_key_spoils_no_other [S8 R4] [CorruptRecord]
        "A key whose record is damaged has an error of its own, and the others their values.";
    a_value_too_large_stops_the_batch [S8 X1] []
        "One value too large fails the whole batch before anything is written.";
}

conditions {
    absent_sets_only_a_missing_key [C1] [Conditions]
        "A set if absent applies to a missing key alone.";
    present_sets_only_a_live_key [C1] [Conditions]
        "A set if present applies to a live key alone.";
    matches_sets_only_the_same_value [C1 C2] [Conditions]
        "A set if the version matches applies to the very value that the version was read of.";
    a_deletion_can_have_a_condition [C1] [Conditions]
        "A deletion with a condition deletes, and gives true, only where it holds.";
    an_expired_holder_is_absent [C1 E1] [Conditions]
        "An expired key is absent for every condition.";
    a_loser_changes_nothing [C1] [Conditions]
        "A change whose condition does not hold changes neither value nor expiry.";
    a_condition_goes_with_any_expiry [C1 E2 E5] [Conditions]
        "A condition goes together with a zero life and with a kept one.";
    versions_tell_values_apart [C2] [Conditions]
        "Any two different values of a key have different versions.";
    a_version_nobody_gave_matches_nothing [C2 X2] [Conditions]
        "A version made up matches nothing and is no error.";
    all_parts_of_an_entry_belong_together [C2 S4] [Conditions]
        "Value, remaining life and version of an entry are of one moment.";
    increments_count [C1 E5] [Conditions]
        "An increment counts from 0, keeps the expiry, and refuses text and overflow.";
    updates_see_what_they_replace [C1 E5] [Conditions]
        "An update sees the very value that it replaces.";
}

listing {
    every_key_comes_with_any_page_size [C3] [List]
        "Every key is listed, with pages of any size, and no page is larger than asked for.";
    an_empty_listing_ends [C3] [List]
        "A listing of nothing ends.";
    the_stream_gives_each_key_once [C3] [List]
        "`StoreExt::list` gives each key exactly once.";
    a_prefix_is_compared_byte_by_byte [C3 K3] [List]
        "A prefix is compared byte by byte, and is no pattern.";
    expired_keys_are_hidden [C3 E1] [List]
        "Expired keys are not listed.";
    keys_that_die_meanwhile_end_nothing [C3 E1] [List]
        "Keys that die between two pages keep no other key off a listing.";
    a_listing_stays_in_its_namespace [C3 N1] [List Namespaces]
        "A listing gives the keys of its own namespace, and not those of its children.";
    what_stays_is_listed_whatever_else_changes [C3] [List]
        "Every key present throughout is listed, whatever is inserted and deleted between pages.";
    deleting_what_was_listed_skips_nothing [C3] [List]
        "Deleting each page as it comes skips no key.";
    pages_come_in_byte_order [C3] [OrderedList]
        "Where it is declared, keys come in byte order over all pages.";
    a_cursor_of_another_listing_is_refused [C3] [List]
        "A cursor of another prefix or kind of listing is `InvalidCursor`.";
    a_cursor_of_another_namespace_is_refused [C3] [List Namespaces]
        "A cursor of another namespace is `InvalidCursor`.";
    a_cursor_of_another_store_is_refused [C3] [List]
        "A cursor of another store is `InvalidCursor`.";
    a_cursor_means_the_same_on_another_handle [C3] [List SecondHandle]
        "A cursor goes on where it stood when another handle to the same data takes it, or is `InvalidCursor`.";
    a_cursor_that_is_none_is_refused [C3 X2] [List]
        "Bytes that are no cursor are `InvalidCursor`, and a cursor carried elsewhere still works.";
    a_page_of_no_keys_cannot_be_asked_for [C3 X2] [List]
        "A limit of zero is `InvalidConfig`.";
    a_listing_costs_what_it_walks [C3] [List RootHandle]
        "A whole listing costs time in proportion to what it walks.";
    delete_prefix_deletes_and_counts [N2 K3] [List]
        "`delete_prefix` deletes what begins with its prefix, byte by byte, and counts it.";
    delete_prefix_does_not_count_the_dead [N2 E1] [List]
        "`delete_prefix` counts only keys that were live.";
    delete_prefix_leaves_child_namespaces [N2] [List Namespaces]
        "`delete_prefix` deletes keys of its own namespace alone.";
    children_with_a_live_key_are_listed [C4] [List Namespaces]
        "The child namespaces listed are those that hold a live key at any depth.";
    children_that_stay_are_listed_whatever_goes [C4] [List Namespaces]
        "Every child namespace that stays is listed, whatever is cleared between pages.";
    children_are_listed_as_they_were_named [C4 N1] [List Namespaces]
        "Child namespaces are listed byte for byte as they were named.";
}

concurrency {
    no_value_is_torn [S4] []
        "A reader never sees parts of several values.";
    a_write_is_seen_by_every_task [S4] []
        "What was acknowledged is seen by every task at once.";
    one_creator_wins [C1 S4] [Conditions]
        "Of many that create a key at once, exactly one wins, and its value is there.";
    one_successor_of_a_dead_holder_wins [C1 E1 S4] [Conditions]
        "Of many that create a key over an expired one at once, exactly one wins.";
    one_match_wins [C1 S4] [Conditions]
        "Of many sets that match the same version at once, exactly one wins.";
    one_deleter_wins [S2 S4] []
        "Of many that delete one live key at once, exactly one is told that it was live.";
    increments_add_up [C1 S4] [Conditions]
        "Increments at the same time are all counted.";
    a_plain_set_is_never_lost_to_a_match [C1 S4] [Conditions]
        "A condition is decided against plain sets, too.";
    clearing_during_sets_fails_neither [N4] []
        "`delete_all` during sets fails neither, and what was there throughout is gone.";
    clearing_spares_what_comes_after [N4] []
        "What is set after `delete_all` has answered stays.";
    two_may_clear_at_once [N4 E6] [Namespaces]
        "Clearing and purging at the same time, a parent and its child, fail neither.";
    a_listing_under_way_disturbs_nobody [C3 S4] [List]
        "Listing during other changes gives every key that is there throughout.";
    a_renewal_never_undoes_a_set [E4 S4] [Renew]
        "A renewal at the same time as a set undoes neither its value nor its expiry.";
    a_renewal_never_undoes_a_delete [E4 S4] [Renew]
        "A renewal at the same time as a deletion brings nothing back.";
    keeping_the_expiry_keeps_the_last_one [E5 S4] []
        "A set that keeps the expiry keeps the one of the very value that it replaces.";
    calls_of_one_task_take_turns [S6] []
        "Calls polled by one task in turn never wait for one another's thread.";
    two_handles_agree [S4 C1] [Shared SecondHandle]
        "Independent handles of shared data agree on winners, as one handle does.";
}

histories {
    plain_calls_are_linearizable [S4] []
        "What several callers see of a key could have happened one call after the other.";
    conditions_are_linearizable [S4 C1] [Conditions]
        "With conditions, it could have happened one call after the other.";
    expiry_is_linearizable [S4 E1 E4] []
        "With keys that die meanwhile, it could have happened one call after the other.";
    dropped_calls_are_linearizable [S4 S5] []
        "With calls that are dropped, which happen later, once and whole, or never, it could, too.";
    two_handles_are_linearizable [S4] [Shared SecondHandle]
        "Through two independent handles, it could have happened one call after the other.";
}

cancellation {
    a_dropped_set_is_whole_or_nothing [S5] []
        "A set that is dropped at any await leaves the old or the new value with its own expiry.";
    a_dropped_delete_is_whole_or_nothing [S5] []
        "A deletion that is dropped at any await leaves the key wholly there or wholly gone.";
    a_dropped_renewal_is_whole_or_nothing [S5 E4] [Renew]
        "A renewal that is dropped at any await leaves the old or the new deadline.";
    a_dropped_batch_leaves_whole_keys [S5 S8] []
        "A batch that is dropped at any await leaves each key wholly old or new.";
    a_dropped_clearing_harms_nothing_else [S5 N2] [Namespaces]
        "A `delete_all` that is dropped at any await leaves whole keys, and can be repeated.";
    dropped_calls_use_nothing_up [S5] []
        "However many calls are dropped, whatever they had taken is there for others.";
    a_dropped_reader_harms_nobody [S5] []
        "Reads, listings and purges that are dropped at any await harm nobody.";
    a_dropped_increment_counts_once_or_not [S5 C1] [Conditions]
        "An increment that is dropped has counted once or not at all.";
    other_callers_are_unharmed [S5 S4] []
        "Callers that drop their calls leave every other caller unharmed.";
    dropped_calls_leave_nothing_behind [S5 X1] []
        "Dropped calls leave no temporary files behind.";
    a_dropped_close_can_be_repeated [S5 S7] []
        "A close that is dropped at any await can be repeated.";
}

heartbeat {
    large_values_block_no_thread [S6] []
        "No call with a value of 8 MiB keeps the thread that polls it from everything else.";
    no_small_call_blocks_a_thread [S6] []
        "No call keeps the thread that polls it from everything else, however little it does.";
    closing_blocks_no_thread [S6 S7] []
        "`close` keeps no thread from everything else, whatever there is still to write.";
    many_keys_block_no_thread [S6] []
        "No call on thousands of keys keeps the thread that polls it from everything else.";
}

lifecycle {
    every_call_after_close_is_refused [S7] []
        "After `close`, every method that can fail gives `Closed`.";
    closing_twice_does_nothing [S7] []
        "A second `close` does nothing and succeeds.";
    several_may_close_at_once [S7] []
        "Several calls of `close` at once all succeed.";
    closing_the_root_closes_all [S7] [Namespaces]
        "Closing the root handle closes all clones and children.";
    closing_a_child_leaves_the_others_open [S7] [Namespaces]
        "Closing a child closes its handles alone.";
    what_a_closed_child_wrote_stays [S7] [Namespaces]
        "What a child wrote stays when its handles are closed.";
    calls_in_progress_end_well [S7 X1] []
        "Calls in progress during `close` succeed or give `Closed`, what succeeded is kept, and nothing is done later.";
    it_opens_again_at_once [S7] [Reopen]
        "A closed store can be opened again at once, and again.";
    nothing_happens_after_close [S5 S7] [Reopen]
        "A call that was dropped takes no effect after `close` has answered.";
}

errors {
    they_say_what_failed [X2] []
        "An error names operation, backend and key, and is safe to print on a terminal.";
    bad_input_is_no_reason_to_panic [X2] []
        "Nonsense of any kind is answered, and leaves the store working.";
    no_secret_is_shown [X3] [Secrets]
        "Passwords and keys appear in no Debug output and no error.";
    a_damaged_record_is_told [R4 X2] [CorruptRecord]
        "A damaged record is `Corrupt` and names its key; others are not concerned.";
    a_damaged_record_can_be_replaced [R4] [CorruptRecord]
        "A damaged record can be set anew and deleted, which gives true.";
    damaged_records_stop_no_sweep [R4 E6 C3] [CorruptRecord]
        "Damaged records stop neither purging, listing nor clearing.";
    a_write_without_room_leaves_the_old_value [X1] [FillDisk]
        "A write without room is `StorageFull`, and leaves the old value and no litter.";
    a_lost_server_is_told_and_found_again [X1 X2] [BreakConnection]
        "Without its server a call fails, says so and does not hang; afterwards the store works.";
}

capabilities {
    they_make_sense [K1 E1 C3] []
        "What is declared makes sense by itself.";
    they_never_change [S7] []
        "What is declared is fixed after construction.";
    declared_list_works [C3 N2] [List]
        "A store that declares `list` lists and deletes by prefix.";
    declared_conditions_work [C1 C2] [Conditions]
        "A store that declares `conditions` takes them and gives versions.";
    declared_renew_works [E4 E5] [Renew]
        "A store that declares `renew` renews and updates expiries.";
    declared_purge_works [E6] [Purge]
        "A store that declares `purge` purges.";
    native_expiry_leaves_nothing_to_purge [E6] [Purge NativeExpiry]
        "Where expiry is native, `delete_expired` gives 0.";
    shared_data_is_seen_by_all [S4 S7] [Shared SecondHandle]
        "Where data is shared, what one handle does is seen by every other.";
    undeclared_list_changes_nothing [C3] [NoList]
        "Without `list`, listing and deleting by prefix are `Unsupported` and change nothing.";
    undeclared_conditions_change_nothing [C1] [NoConditions]
        "Without `conditions`, conditions and versions are `Unsupported` and change nothing.";
    undeclared_renew_changes_nothing [E4] [NoRenew]
        "Without `renew`, renewals are `Unsupported` and change nothing.";
    undeclared_purge_changes_nothing [E6] [NoPurge]
        "Without `purge`, `delete_expired` is `Unsupported` and changes nothing.";
}

durability {
    values_outlive_the_handle [S7 X1] [Reopen]
        "What was set and deleted is so after the store is opened again, whatever the keys.";
    a_version_outlives_no_value [C2] [Conditions Reopen]
        "A version is that of one value after the store is opened again, too.";
    namespaces_outlive_the_handle [N1 S7] [Reopen Namespaces]
        "Namespaces, cleared ones too, are the same after the store is opened again.";
    expiry_goes_on_while_closed [E7] [Reopen]
        "Lives go on while a store is closed, and what has no expiry has none afterwards.";
    a_deadline_stays_the_same_moment [E7] [Reopen ExactTime]
        "A deadline is the very same moment after the store is opened again.";
    changes_of_expiry_outlive_the_handle [E5 E7] [Reopen Renew]
        "Renewals and changes of expiry are kept by a store that is closed and opened again.";
    what_was_acknowledged_survives_a_crash [X1] [Durable Crash]
        "What was acknowledged is there after a crash, as far as the store declares.";
    clearing_outlives_a_crash [X1 N2] [Durable Crash]
        "What was cleared does not come back after a crash.";
}

crashes {
    a_killed_writer_loses_nothing_acknowledged [X1 S5] [Durable Folder]
        "After a kill, what was acknowledged is there, all is whole, and nothing else appeared.";
}

sequences {
    random_calls_agree_with_a_map [S1 S2 S3 S8 E1 E2 E4 E5 N1 N2 C1 C3 C4] []
        "Random calls on several namespaces, with time passing, answer as a map would.";
    random_calls_agree_across_reopening [S7 E7] [Reopen]
        "They do so, too, when the store is closed and opened again in between.";
}

    } };
}
