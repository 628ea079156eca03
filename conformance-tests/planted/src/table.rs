//! The planted stores. This list makes the table and the tests, so that none can be forgotten.

use std::sync::Arc;

#[allow(clippy::wildcard_imports, reason = "the list below names every one of them")]
use crate::bugs::{
    atomicity::*, bulk::*, cancellation::*, corners::*, durability::*, errors::*, expiry::*,
    keys::*, lifecycle::*, listing::*, memo::*, namespaces::*, values::*,
};
use crate::stand::Stand;
use crate::{Class, Planted};

/// Every planted store: its class, its name, what it stands on and the type in which the bug lies,
/// the bug in one sentence, and the case that must catch it.
#[doc(hidden)]
#[macro_export]
macro_rules! __planted {
    ([$($then:tt)+]) => { $($then)+! {

Expiry {
    lives_at_its_deadline shelf(LivesAtItsDeadline)
        "A key is still live at the very instant of its deadline."
        => "expiry::dies_at_its_deadline";
    whole_seconds shelf(WholeSeconds)
        "A life of more than a second is cut to whole seconds."
        => "expiry::fractions_round_up_and_never_down";
    rounds_down shelf(RoundsDown)
        "What is finer than a microsecond is cut off a life instead of rounded up."
        => "expiry::fractions_round_up_and_never_down";
    zero_is_for_ever shelf(ZeroIsForEver)
        "A life of zero means no expiry, as in Litestar's memory and file stores."
        => "expiry::zero_removes_at_once";
    zero_leaves_the_old_value shelf(ZeroLeavesTheOldValue)
        "A set that expires at once is not stored, and leaves the value that it should replace."
        => "expiry::zero_removes_at_once";
    the_present_is_to_come shelf(ThePresentIsToCome)
        "A key set to expire at the present moment lives for another microsecond."
        => "expiry::the_present_moment_is_past";
    moments_in_whole_seconds shelf(MomentsInWholeSeconds)
        "A deadline given as a moment loses its fraction of a second."
        => "expiry::the_present_moment_is_past";
    exists_ignores_expiry shelf(ExistsIgnoresExpiry)
        "`exists` gives true for an expired key, as in Litestar's memory and file stores."
        => "expiry::every_operation_sees_the_same_death";
    condition_ignores_expiry shelf(ConditionIgnoresExpiry)
        "A conditional set takes an expired key for a live one."
        => "conditions::an_expired_holder_is_absent";
    conditional_delete_ignores_expiry shelf(ConditionalDeleteIgnoresExpiry)
        "A conditional deletion of an expired key gives true."
        => "conditions::an_expired_holder_is_absent";
    delete_ignores_expiry shelf(DeleteIgnoresExpiry)
        "Deleting an expired key gives true."
        => "expiry::every_operation_sees_the_same_death";
    update_expiry_revives shelf(UpdateExpiryRevives)
        "`update_expiry` gives an expired key that is still stored a new life."
        => "expiry::every_operation_sees_the_same_death";
    renewal_revives shelf(RenewalRevives)
        "A get with renewal brings an expired key back that is still stored."
        => "expiry::every_operation_sees_the_same_death";
    renewal_gives_an_expiry shelf(RenewalGivesAnExpiry)
        "A get with renewal gives an expiry to a key that has none."
        => "expiry::a_renewal_needs_an_expiry";
    renewal_counts_the_seconds_part shelf(RenewalCountsTheSecondsPart)
        "Of a renewal of days only the seconds beside the days count, as in Litestar's Redis store."
        => "expiry::the_whole_renewal_counts";
    renewal_spares_the_dying shelf(RenewalSparesTheDying)
        "A key with less than half a second left is not renewed, as in Litestar's Redis store."
        => "expiry::a_key_about_to_die_is_renewed";
    renewal_never_shortens shelf(RenewalNeverShortens)
        "A renewal that would bring the deadline nearer leaves it."
        => "expiry::a_renewal_moves_the_deadline";
    renewal_for_zero_is_none shelf(RenewalForZeroIsNone)
        "A renewal for zero leaves the key as it is."
        => "expiry::renewing_for_zero_takes_the_value";
    overwrite_keeps_the_expiry shelf(OverwriteKeepsTheExpiry)
        "An overwrite without expiry keeps that of the value replaced."
        => "expiry::an_overwrite_clears_the_expiry";
    keep_inherits_a_dead_deadline shelf(KeepInheritsADeadDeadline)
        "A set that keeps the expiry of an expired key is stored with the past deadline."
        => "expiry::keep_keeps_the_remaining_life";
    longest_is_for_ever shelf(LongestIsForEver)
        "A life beyond the year 9999 becomes no expiry at all."
        => "expiry::the_longest_lives_saturate";
    wraps_after_twenty_four_days shelf(WrapsAfterTwentyFourDays)
        "Lives are counted in 31 bits of milliseconds, and begin again after 24 days."
        => "expiry::days_count_as_well_as_seconds";
    no_time_left shelf(NoTimeLeft)
        "The remaining life of a live key is given as zero in its last second."
        => "expiry::a_live_key_never_has_no_time_left";
    left_without_days shelf(LeftWithoutDays)
        "The remaining life is given without its whole days."
        => "expiry::days_count_as_well_as_seconds";
    update_into_the_past_is_false shelf(UpdateIntoThePastIsFalse)
        "`update_expiry` into the past removes a live key and says that it was missing."
        => "expiry::update_expiry_into_the_past_removes";
    purge_stays_shallow shelf(PurgeStaysShallow)
        "`delete_expired` leaves child namespaces out, as Litestar's file store does."
        => "expiry::a_purge_covers_descendants_and_nothing_else";
    purge_leaves_the_namespace shelf(PurgeLeavesTheNamespace)
        "`delete_expired` purges siblings whose names begin with that of the namespace, too."
        => "expiry::a_purge_covers_descendants_and_nothing_else";
    purge_counts_the_living shelf(PurgeCountsTheLiving)
        "`delete_expired` counts what it looked at and not what it removed."
        => "expiry::a_purge_removes_only_what_has_expired";
    ticks_of_the_process shelf(TicksOfTheProcess::default())
        "Deadlines are stored as time since the process began, and so read by the next one."
        => "durability::a_deadline_stays_the_same_moment";
    renewal_writes_back over_memory(RenewalWritesBack)
        "A renewal reads the value and writes it back, over what was set meanwhile."
        => "concurrency::a_renewal_never_undoes_a_set";
    update_writes_back over_memory(UpdateWritesBack)
        "`update_expiry` reads the value and writes it back, be it deleted meanwhile."
        => "concurrency::a_renewal_never_undoes_a_delete";
    keeps_an_earlier_expiry over_memory(KeepsAnEarlierExpiry)
        "The remaining life that a set keeps is read before the set."
        => "concurrency::keeping_the_expiry_keeps_the_last_one";
    bulk_keeps_the_expiry over_memory(BulkKeepsTheExpiry)
        "In a batch, an overwrite without expiry keeps that of the value replaced."
        => "expiry::an_overwrite_clears_the_expiry";
    gone_by_2038 shelf(GoneBy2038)
        "A deadline that does not fit into 31 bits of seconds has passed."
        => "expiry::days_count_as_well_as_seconds";
    purges_the_dying shelf(PurgesTheDying)
        "`delete_expired` removes what has less than half a second to live."
        => "expiry::a_purge_removes_only_what_has_expired";
    batches_live_whole_seconds over_memory(BatchesLiveWholeSeconds)
        "In a batch, a life of more than a second is cut to whole seconds."
        => "expiry::fractions_round_up_and_never_down";
    updates_in_whole_seconds over_memory(UpdatesInWholeSeconds)
        "`update_expiry` cuts a life of more than a second to whole seconds."
        => "expiry::update_expiry_changes_only_the_expiry";
    renewal_gives_no_version over_memory(RenewalGivesNoVersion)
        "A get with renewal gives no version, although one was asked for."
        => "conditions::all_parts_of_an_entry_belong_together";
    the_same_value_is_no_write over_memory(TheSameValueIsNoWrite)
        "A conditional set of the very value without expiry leaves the old expiry."
        => "expiry::an_overwrite_clears_the_expiry";
    leaves_the_expiry over_memory(LeavesTheExpiry::default())
        "`delete_many` leaves the expiry of a key, which a set that keeps it takes up."
        => "expiry::keep_keeps_the_remaining_life";
    keeps_whole_seconds shelf(KeepsWholeSeconds)
        "A set that keeps the expiry moves it to a whole second."
        => "expiry::keep_keeps_the_remaining_life";
    renews_in_milliseconds shelf(RenewsInMilliseconds)
        "A get with renewal cuts the new life to whole milliseconds."
        => "expiry::fractions_round_up_and_never_down";
    renews_once over_memory(RenewsOnce::default())
        "A key is renewed once, and no second time."
        => "expiry::a_renewal_moves_the_deadline";
    updates_end_in_2262 over_memory(UpdatesEndIn2262)
        "`update_expiry` counts nanoseconds in 64 bits, and ends in the year 2262."
        => "expiry::the_longest_renewals_saturate";
    updates_know_nothing_before_1970 over_memory(UpdatesKnowNothingBefore1970)
        "`update_expiry` takes a moment of before 1970 for no expiry."
        => "expiry::update_expiry_into_the_past_removes";
    saturates_late shelf(SaturatesLate)
        "The last deadline is later than the last millisecond of the year 9999."
        => "expiry::the_longest_lives_saturate";
    purges_an_instant_late shelf(PurgesAnInstantLate)
        "`delete_expired` leaves what dies at this very instant."
        => "expiry::a_purge_removes_only_what_has_expired";
    purges_count_together over_memory(PurgesCountTogether::default())
        "Two purges at the same time both count what one of them removed."
        => "expiry::a_purge_removes_only_what_has_expired";
}

Keys {
    folds_ascii_case shelf(FoldsAsciiCase)
        "Keys that differ in ASCII case are one."
        => "keys::look_alikes_are_different_keys";
    folds_unicode_case shelf(FoldsUnicodeCase)
        "Keys beyond ASCII that differ in case are one."
        => "keys::look_alikes_are_different_keys";
    composes_accents shelf(ComposesAccents)
        "A letter followed by a combining accent is the composed letter."
        => "keys::look_alikes_are_different_keys";
    trims_trailing_dots shelf(TrimsTrailingDots)
        "Dots and spaces at the end of a key do not count, as in Windows' file names."
        => "keys::look_alikes_are_different_keys";
    trims_line_ends shelf(TrimsLineEnds)
        "A line end at the end of a key does not count."
        => "keys::look_alikes_are_different_keys";
    ends_at_nul shelf(EndsAtNul)
        "A key ends at its first NUL."
        => "keys::every_ascii_character_is_a_key";
    decodes_percent shelf(DecodesPercent)
        "`%2F` in a key is `/`."
        => "keys::look_alikes_are_different_keys";
    backslashes shelf(Backslashes)
        "A backslash in a key is a slash."
        => "keys::every_ascii_character_is_a_key";
    collapses_slashes shelf(CollapsesSlashes)
        "Two slashes in a key are one."
        => "keys::look_alikes_are_different_keys";
    cuts_at_255 shelf(CutsAt255)
        "Only the first 255 bytes of a key count."
        => "keys::no_key_is_cut_or_hashed_into_another";
    cuts_the_last_byte shelf(CutsTheLastByte)
        "The last byte of the longest keys does not count."
        => "keys::every_length_up_to_the_limit";
    hashes_weakly shelf(HashesWeakly)
        "Keys are kept under a product hash of 32 bits, without a look at the key."
        => "keys::no_key_is_cut_or_hashed_into_another";
    sums_long_keys shelf(SumsLongKeys)
        "Keys over 200 bytes are kept under their beginning and the sum of their bytes."
        => "keys::no_key_is_cut_or_hashed_into_another";
    walks_up shelf(WalksUp)
        "A key that begins with `../` is looked for in the parent namespace."
        => "keys::no_key_leaves_its_namespace";
    refuses_the_longest shelf(RefusesTheLongest)
        "A key of exactly the declared limit is refused."
        => "keys::every_length_up_to_the_limit";
    counts_characters shelf(CountsCharacters)
        "The limit of keys is counted in characters, not in bytes."
        => "keys::a_key_too_long_is_refused";
    refuses_the_empty_key shelf(RefusesTheEmptyKey)
        "The empty key is refused."
        => "keys::the_empty_key_is_a_key";
    too_long_is_internal shelf(TooLongIsInternal)
        "A key too long is answered as an error of the file system."
        => "keys::a_key_too_long_is_refused";
    composes_syllables shelf(ComposesSyllables)
        "Letters of Hangul are the syllable that they make."
        => "keys::look_alikes_are_different_keys";
    folds_the_kelvin_sign shelf(FoldsTheKelvinSign)
        "The sign for kelvin is a small k, to which it folds."
        => "keys::look_alikes_are_different_keys";
    decodes_letters shelf(DecodesLetters)
        "`%41` in a key is `A`."
        => "keys::look_alikes_are_different_keys";
    batches_read_lines over_memory(BatchesReadLines)
        "`get_many` leaves white space at the end of a key out."
        => "keys::look_alikes_are_different_keys";
    batches_delete_lines over_memory(BatchesDeleteLines)
        "`delete_many` leaves white space at the end of a key out."
        => "keys::look_alikes_are_different_keys";
    updates_lines over_memory(UpdatesLines)
        "`update_expiry` leaves white space at the end of a key out."
        => "keys::look_alikes_are_different_keys";
}

Values {
    empty_is_missing shelf(EmptyIsMissing)
        "An empty value counts as none."
        => "values::empty_is_not_missing";
    unwraps_records shelf(UnwrapsRecords)
        "A value that looks like a record is read as one."
        => "values::our_own_records_are_values";
    trims_trailing_nul shelf(TrimsTrailingNul)
        "NUL bytes at the end of a value are cut off."
        => "values::any_bytes_come_back";
    reads_as_text shelf(ReadsAsText)
        "Bytes that are no UTF-8 are replaced."
        => "values::any_bytes_come_back";
    text_line_ends shelf(TextLineEnds)
        "CR LF within text is stored as LF."
        => "values::any_bytes_come_back";
    loses_the_last_chunk shelf(LosesTheLastChunk)
        "Of a value of a whole number of 64 KiB chunks, the last one is not written."
        => "values::every_size_comes_back";
    cuts_at_eight_mebibytes shelf(CutsAtEightMebibytes)
        "The length of a value is kept in too few bits, and 8 MiB lose their last byte."
        => "values::eight_mebibytes_come_back";
    keeps_the_whole_buffer shelf(KeepsTheWholeBuffer::default())
        "A stored slice of more than 32 KiB keeps the buffer alive that it was cut from."
        => "values::a_slice_keeps_only_itself_alive";
    batches_leave_out_the_empty over_memory(BatchesLeaveOutTheEmpty)
        "`set_many` does not set what is empty."
        => "values::empty_is_not_missing";
    batches_read_the_empty_as_missing over_memory(BatchesReadTheEmptyAsMissing)
        "`get_many` gives none for an empty value."
        => "values::empty_is_not_missing";
    listings_hide_the_empty over_memory(ListingsHideTheEmpty)
        "A listing leaves out keys with an empty value."
        => "values::an_empty_value_lives_as_any_other";
    purges_the_empty over_memory(PurgesTheEmpty)
        "`delete_expired` removes live keys with an empty value."
        => "values::an_empty_value_lives_as_any_other";
    renews_nothing_empty over_memory(RenewsNothingEmpty)
        "A get with renewal does not renew an empty value."
        => "values::an_empty_value_lives_as_any_other";
    updates_nothing_empty over_memory(UpdatesNothingEmpty)
        "`update_expiry` takes an empty value for a missing one."
        => "values::an_empty_value_lives_as_any_other";
    keeps_no_life_of_the_empty over_memory(KeepsNoLifeOfTheEmpty)
        "A set that keeps the expiry of an empty value is stored without one."
        => "values::an_empty_value_lives_as_any_other";
    batches_cut_large_values over_memory(BatchesCutLargeValues)
        "`set_many` stores the first 64 KiB of a value."
        => "values::every_size_comes_back";
    conditions_take_small_values over_memory(ConditionsTakeSmallValues)
        "A conditional set stores the first 64 KiB of a value."
        => "values::every_size_comes_back";
    batches_keep_their_buffers over_memory(BatchesKeepTheirBuffers::default())
        "A slice that is stored in a batch keeps the buffer alive that it was cut from."
        => "values::a_slice_keeps_only_itself_alive";
}

Namespaces {
    clears_by_prefix shelf(ClearsByPrefix)
        "Clearing `foo` clears `foobar`, as in Litestar's Redis store."
        => "namespaces::clearing_never_reaches_a_neighbour";
    clears_by_pattern shelf(ClearsByPattern)
        "Clearing a namespace named `*` clears all, as glob characters are not escaped."
        => "namespaces::clearing_never_reaches_a_neighbour";
    clears_without_grandchildren shelf(ClearsWithoutGrandchildren)
        "Clearing a namespace leaves its children's children."
        => "namespaces::clearing_takes_all_descendants";
    clears_only_itself shelf(ClearsOnlyItself)
        "Clearing a namespace leaves its children, as in Betty's memory store."
        => "namespaces::clearing_takes_all_descendants";
    clears_the_parent shelf(ClearsTheParent)
        "Clearing a child clears its parent's keys, as in Betty's later memory store."
        => "namespaces::clearing_a_child_leaves_its_parent";
    clears_foreign_data shelf(ClearsForeignData)
        "Clearing removes what somebody else has put among the store's data."
        => "namespaces::foreign_data_is_left_alone";
    clears_one_page over_memory(ClearsOnePage)
        "Clearing removes a thousand keys and leaves the rest."
        => "basic::delete_all_empties_the_store";
    joins_by_underscore shelf(JoinsByUnderscore)
        "`foo` with the child `bar` is `foo_bar`, as in Litestar's Redis store."
        => "namespaces::no_two_names_ever_meet";
    joins_by_colon shelf(JoinsByColon)
        "The key `b:k` of `a` is the key `k` of its child `b`."
        => "namespaces::no_two_names_ever_meet";
    escapes_half shelf(EscapesHalf)
        "Separators in segments are escaped and the escape sign is not."
        => "namespaces::no_two_names_ever_meet";
    folds_segments shelf(FoldsSegments)
        "Segments that differ in case are one."
        => "namespaces::no_two_names_ever_meet";
    walks_up_segments shelf(WalksUpSegments)
        "A segment `..` leads to the parent."
        => "namespaces::no_two_names_ever_meet";
    cuts_segments shelf(CutsSegments)
        "Only the first 254 characters of an escaped segment count."
        => "namespaces::names_count_to_their_last_byte";
    only_alphanumeric over_memory(OnlyAlphanumeric)
        "A segment is refused if it has other than letters and digits, as in Litestar's file store."
        => "namespaces::a_segment_is_any_text";
    named_like_a_keys_file over_memory(NamedLikeAKeysFile)
        "A segment named like a key's file breaks it, as in Litestar's file store."
        => "namespaces::a_segment_is_any_text";
    needs_a_parent over_memory(NeedsAParent)
        "A grandchild cannot be used before its parent is, as in Litestar's file store."
        => "namespaces::a_grandchild_needs_no_parent";
    child_forgets_the_clock shelf(ChildForgetsTheClock)
        "A child has another clock than its parent."
        => "expiry::a_namespace_keeps_the_same_time";
    child_forgets_durability over_memory(ChildForgetsOptions)
        "A child drops its parent's options, as in Litestar's file store."
        => "namespaces::a_child_inherits_the_configuration";
    repeated_segments_are_one shelf(RepeatedSegmentsAreOne)
        "A path in which a segment is repeated is the one in which it is not."
        => "namespaces::no_two_names_ever_meet";
    purge_fails_on_children over_memory(PurgeFailsOnChildren)
        "`delete_expired` fails once there is a child namespace, as in Litestar's file store."
        => "expiry::a_purge_covers_descendants_and_nothing_else";
    refuses_the_deepest over_memory(RefusesTheDeepest)
        "The 32nd segment is refused."
        => "namespaces::the_limits_are_exact";
    skips_empty_segments over_memory(SkipsEmptySegments)
        "Empty segments are left out of a path."
        => "namespaces::the_limits_are_exact";
    walks_from_the_root over_memory(WalksFromTheRoot)
        "A path is walked from the first namespace and not from here."
        => "namespaces::a_path_is_walked_from_here";
    clears_six_deep shelf(ClearsSixDeep)
        "Clearing leaves what lies more than six steps down."
        => "namespaces::clearing_takes_all_descendants";
    deep_segments_are_joined shelf(DeepSegmentsAreJoined)
        "Beyond the eighth, segments are joined by a slash."
        => "namespaces::names_count_to_their_last_byte";
}

Atomicity {
    looks_then_creates over_memory(LooksThenCreates)
        "A set if absent looks whether the key exists, and then sets it."
        => "concurrency::one_creator_wins";
    compares_then_sets over_memory(ComparesThenSets)
        "A conditional set lets go of its lock between comparing and writing."
        => "concurrency::one_match_wins";
    compares_then_deletes over_memory(ComparesThenDeletes)
        "A conditional deletion compares, and then deletes what is there."
        => "histories::conditions_are_linearizable";
    plain_sets_take_no_lock over_memory(PlainSetsTakeNoLock::default())
        "Conditional sets are atomic among themselves, and not against plain ones."
        => "concurrency::a_plain_set_is_never_lost_to_a_match";
    locks_within_the_process over_file(LocksWithinTheProcess::default())
        "Conditions are decided under a lock that other processes do not see."
        => "concurrency::two_handles_agree";
    looks_then_deletes over_memory(LooksThenDeletes)
        "Several deletions of one live key are told that it was live."
        => "concurrency::one_deleter_wins";
    deletes_then_sets over_memory(DeletesThenSets)
        "An overwrite is a deletion followed by a set."
        => "concurrency::no_value_is_torn";
    writes_in_halves over_memory(WritesInHalves)
        "A large value can be read when half of it is written."
        => "concurrency::no_value_is_torn";
    value_then_expiry over_memory(ValueThenExpiry)
        "A new value is there a little before its expiry is."
        => "cancellation::a_dropped_set_is_whole_or_nothing";
    writes_a_little_later over_memory(WritesALittleLater)
        "A set is answered when it is under way."
        => "concurrency::a_write_is_seen_by_every_task";
    remembers_reads over_file(RemembersReads::default())
        "What a handle has read it answers from memory, whatever others do to the shared data."
        => "capabilities::shared_data_is_seen_by_all";
    compares_lengths shelf(ComparesLengths)
        "A version matches every value of the same length."
        => "conditions::matches_sets_only_the_same_value";
    version_of_the_beginning shelf(VersionOfTheBeginning)
        "A version is made of the first kilobyte of a value."
        => "conditions::versions_tell_values_apart";
    version_of_four_bytes shelf(VersionOfFourBytes)
        "A version is a product hash of 32 bits."
        => "conditions::versions_tell_values_apart";
    empty_counts_as_absent shelf(EmptyCountsAsAbsent)
        "A set if absent applies over an empty value."
        => "conditions::absent_sets_only_a_missing_key";
    missing_matches_empty shelf(MissingMatchesEmpty)
        "The version of an empty value matches a missing key."
        => "conditions::a_version_nobody_gave_matches_nothing";
    loser_sets_the_expiry shelf(LoserSetsTheExpiry)
        "A set whose condition does not hold changes the expiry all the same."
        => "conditions::a_loser_changes_nothing";
    blocks_on_large_values over_memory(BlocksOnLargeValues)
        "A set of a large value keeps its thread from everything else."
        => "heartbeat::large_values_block_no_thread";
    blocks_while_clearing over_memory(BlocksWhileClearing)
        "Clearing many keys keeps the thread from everything else, as one long script does."
        => "heartbeat::many_keys_block_no_thread";
    blocks_on_ping over_memory(BlocksOnPing)
        "`ping` keeps its thread from everything else until the server answers."
        => "heartbeat::no_small_call_blocks_a_thread";
    blocks_while_closing over_memory(BlocksWhileClosing)
        "`close` keeps its thread from everything else until all is written."
        => "heartbeat::closing_blocks_no_thread";
    eight_bits_of_version shelf(EightBitsOfVersion)
        "A version is a counter of eight bits."
        => "conditions::versions_tell_values_apart";
    versions_of_both_ends shelf(VersionsOfBothEnds)
        "A version is made of the length and both ends of a value."
        => "conditions::versions_tell_values_apart";
    versions_by_fnv shelf(VersionsByFnv)
        "A version is a hash of 64 bits that is not cryptographic."
        => "conditions::versions_tell_values_apart";
}

Bulk {
    stops_at_the_first_loser over_memory(StopsAtTheFirstLoser)
        "After a write that does not apply, the rest of a batch is acknowledged and not written."
        => "bulk::each_write_has_its_own_condition";
    answers_in_key_order over_memory(AnswersInKeyOrder)
        "`get_many` answers in the order in which the keys are stored."
        => "bulk::results_come_in_the_order_of_the_keys";
    answers_hits_first over_memory(AnswersHitsFirst)
        "`get_many` answers in the order of completion, misses last."
        => "bulk::results_come_in_the_order_of_the_keys";
    leaves_out_the_missing over_memory(LeavesOutTheMissing)
        "`get_many` leaves missing keys out."
        => "bulk::results_come_in_the_order_of_the_keys";
    answers_once over_memory(AnswersOnce)
        "A key named twice in `get_many` is missing the second time."
        => "bulk::a_key_may_come_twice";
    counts_duplicates over_memory(CountsDuplicates)
        "A key named twice in `delete_many` counts twice."
        => "bulk::a_key_may_come_twice";
    first_wins over_memory(FirstWins)
        "Of two writes to one key in a batch, the first one stays."
        => "bulk::a_key_may_come_twice";
    writes_before_it_checks over_memory(WritesBeforeItChecks)
        "`set_many` writes what comes before a key that is too long."
        => "bulk::every_key_is_checked_before_any_is_touched";
    deletes_before_it_checks over_memory(DeletesBeforeItChecks)
        "`delete_many` deletes what comes before a key that is too long."
        => "bulk::every_key_is_checked_before_any_is_touched";
    cuts_large_batches over_memory(CutsLargeBatches)
        "Of a batch of more than a thousand writes, the rest is acknowledged and not written."
        => "bulk::large_batches_are_whole";
    one_expiry_for_all over_memory(OneExpiryForAll)
        "All writes of a batch get the expiry of the first."
        => "bulk::each_write_has_its_own_expiry";
    bulk_forgets_conditions over_memory(BulkForgetsConditions)
        "Conditions of writes in a batch are left out."
        => "bulk::each_write_has_its_own_condition";
    bulk_reads_renew over_memory(BulkReadsRenew)
        "Reading a key in a batch renews it."
        => "expiry::reading_renews_nothing";
    refuses_nothing over_memory(RefusesNothing)
        "`get_many` of no keys is an error."
        => "bulk::nothing_may_be_asked_for";
    one_failure_fails_all over_shelf(OneFailureFailsAll)
        "One damaged record fails the whole `get_many`."
        => "bulk::one_bad_key_spoils_no_other";
    locks_in_the_order_given over_memory(LocksInTheOrderGiven::default()) [hangs]
        "A batch locks its keys in the order given, so that two wait for each other for ever."
        => "bulk::batches_in_opposite_order_end";
    bulk_forgets_versions over_memory(BulkForgetsVersions)
        "Versions in the conditions of a batch are left out."
        => "bulk::each_write_has_its_own_condition";
    conditions_in_bulk_forget_the_expiry over_memory(ConditionsInBulkForgetTheExpiry)
        "In a batch, a conditional set has no expiry."
        => "bulk::each_write_has_its_own_condition";
    moments_in_bulk_are_for_ever over_memory(MomentsInBulkAreForEver)
        "In a batch, a deadline given as a moment is none."
        => "bulk::each_write_has_its_own_expiry";
    bulk_looks_then_creates over_memory(BulkLooksThenCreates)
        "A set if absent in a batch looks, and then sets."
        => "concurrency::one_creator_wins";
    batches_keep_what_was over_memory(BatchesKeepWhatWas)
        "A write of a batch that keeps the expiry keeps that of before the batch."
        => "bulk::each_write_has_its_own_expiry";
    batches_skip_the_past over_memory(BatchesSkipThePast)
        "A write of a batch with a moment that has passed leaves the old value."
        => "bulk::each_write_has_its_own_expiry";
    batches_find_the_dead over_memory(BatchesFindTheDead::default())
        "A set if absent in a batch takes an expired key for a live one."
        => "bulk::the_dead_do_not_count";
}

Listing {
    stops_at_an_empty_page shelf(StopsAtAnEmptyPage)
        "A window in which all keys have expired ends a listing."
        => "listing::expired_keys_are_hidden";
    cursor_is_an_offset shelf(CursorIsAnOffset)
        "A cursor is the number of keys given, so that keys are skipped when others are deleted."
        => "listing::deleting_what_was_listed_skips_nothing";
    one_too_many shelf(OneTooMany)
        "Every page but the first has one key more than asked for."
        => "listing::every_key_comes_with_any_page_size";
    loses_the_last_of_a_full_page shelf(LosesTheLastOfAFullPage)
        "A last page that is full loses its last key."
        => "listing::every_key_comes_with_any_page_size";
    repeats_the_last_key shelf(RepeatsTheLastKey)
        "Each page of an ordered listing begins with the last key of the one before."
        => "listing::pages_come_in_byte_order";
    sorts_as_utf16 shelf(SortsAsUtf16)
        "A listing that declares byte order comes in that of UTF-16."
        => "listing::pages_come_in_byte_order";
    prefix_is_a_pattern shelf(PrefixIsAPattern)
        "A `*` at the end of a prefix stands for any text."
        => "listing::a_prefix_is_compared_byte_by_byte";
    prefix_ignores_case shelf(PrefixIgnoresCase)
        "A prefix is compared without regard to case."
        => "listing::a_prefix_is_compared_byte_by_byte";
    prefix_is_a_folder shelf(PrefixIsAFolder)
        "A prefix with a slash in it ends at a slash, as a folder does."
        => "listing::a_prefix_is_compared_byte_by_byte";
    lists_the_children shelf(ListsTheChildren)
        "A listing gives the keys of direct children, too."
        => "listing::a_listing_stays_in_its_namespace";
    lists_the_dead shelf(ListsTheDead)
        "A listing gives expired keys that are still stored."
        => "listing::expired_keys_are_hidden";
    lists_what_is_older over_memory(ListsWhatIsOlder::default())
        "A listing leaves out keys that were overwritten after it began."
        => "listing::what_stays_is_listed_whatever_else_changes";
    ends_after_a_thousand over_memory(EndsAfterAThousand)
        "A listing ends after a page of a thousand keys."
        => "listing::the_stream_gives_each_key_once";
    cursor_forgets_the_namespace shelf(CursorForgetsTheNamespace)
        "A cursor of another namespace is taken."
        => "listing::a_cursor_of_another_namespace_is_refused";
    cursor_forgets_the_prefix shelf(CursorForgetsThePrefix)
        "A cursor of another prefix is taken."
        => "listing::a_cursor_of_another_listing_is_refused";
    cursor_forgets_the_store shelf(CursorForgetsTheStore)
        "A cursor of another store is taken."
        => "listing::a_cursor_of_another_store_is_refused";
    numbers_its_snapshots over_shelf(NumbersItsSnapshots::default())
        "A cursor taken to another process goes on in a listing of that process's own."
        => "listing::a_cursor_means_the_same_on_another_handle";
    cursor_forgets_its_kind shelf(CursorForgetsItsKind)
        "A cursor of keys is taken for one of namespaces."
        => "listing::a_cursor_of_another_listing_is_refused";
    bad_cursor_begins_anew over_memory(BadCursorBeginsAnew)
        "A cursor too short to be one means the beginning."
        => "listing::a_cursor_that_is_none_is_refused";
    page_of_no_keys shelf(PageOfNoKeys)
        "A page of no keys can be asked for, and ends the listing."
        => "listing::a_page_of_no_keys_cannot_be_asked_for";
    cursor_needs_its_key shelf(CursorNeedsItsKey)
        "An ordered listing whose last key was deleted begins anew."
        => "listing::pages_come_in_byte_order";
    cursor_dies_with_its_key shelf(CursorDiesWithItsKey)
        "A listing ends once the last key that it gave has expired."
        => "listing::keys_that_die_meanwhile_end_nothing";
    counts_the_dead shelf(CountsTheDead)
        "`delete_prefix` counts expired keys."
        => "listing::delete_prefix_does_not_count_the_dead";
    deletes_one_page over_memory(DeletesOnePage)
        "`delete_prefix` deletes a thousand keys and leaves the rest."
        => "listing::delete_prefix_deletes_and_counts";
    prefix_takes_children over_memory(PrefixTakesChildren)
        "`delete_prefix` clears child namespaces whose names begin so."
        => "listing::delete_prefix_leaves_child_namespaces";
    children_with_keys_of_their_own shelf(ChildrenWithKeysOfTheirOwn)
        "A child namespace that has keys only further down is not listed."
        => "listing::children_with_a_live_key_are_listed";
    children_of_the_dead shelf(ChildrenOfTheDead)
        "A child namespace whose keys have all expired is listed."
        => "listing::children_with_a_live_key_are_listed";
    children_as_they_are_stored shelf(ChildrenAsTheyAreStored)
        "Child namespaces are listed with the escapes of their storage."
        => "listing::children_are_listed_as_they_were_named";
    prefixes_end_before_emoji over_memory(PrefixesEndBeforeEmoji)
        "`delete_prefix` leaves keys that go on with a character beyond U+FFFF."
        => "listing::delete_prefix_deletes_and_counts";
    brackets_are_a_class shelf(BracketsAreAClass)
        "Brackets in a prefix stand for one of the characters between them."
        => "listing::a_prefix_is_compared_byte_by_byte";
    any_child_cursor_will_do over_memory(AnyChildCursorWillDo)
        "A cursor of the child namespaces of another namespace is taken."
        => "listing::a_cursor_of_another_namespace_is_refused";
    child_cursors_list_keys over_memory(ChildCursorsListKeys)
        "A cursor of child namespaces is taken for one of keys."
        => "listing::a_cursor_of_another_listing_is_refused";
    children_by_number over_memory(ChildrenByNumber)
        "A cursor of child namespaces is a number, so that some are skipped when others are cleared."
        => "listing::children_that_stay_are_listed_whatever_goes";
}

Durability {
    never_flushes shelf(NeverFlushes)
        "Writes reach the disk only by `flush` and `close`."
        => "durability::what_was_acknowledged_survives_a_crash";
    flushes_every_eighth shelf(FlushesEveryEighth::default())
        "Of eight writes, the last one takes the others to the disk."
        => "durability::what_was_acknowledged_survives_a_crash";
    acknowledges_first shelf(AcknowledgesFirst::default())
        "A write is acknowledged, and written to the disk when the next one comes."
        => "durability::what_was_acknowledged_survives_a_crash";
    claims_to_flush over_sled(ClaimsToFlush) [volatile]
        "Writes to sled are flushed in the background, and declared to survive a crash."
        => "durability::what_was_acknowledged_survives_a_crash";
    close_does_not_flush shelf(CloseDoesNotFlush::default())
        "A renewal still to be written when the store is closed is lost."
        => "durability::changes_of_expiry_outlive_the_handle";
    clearing_is_not_written shelf(ClearingIsNotWritten)
        "`delete_all` is not written down."
        => "durability::clearing_outlives_a_crash";
    deletions_are_not_written shelf(DeletionsAreNotWritten)
        "Deletions are not written down."
        => "durability::values_outlive_the_handle";
    renewals_are_not_written shelf(RenewalsAreNotWritten)
        "Renewals are not written down, not even by `close`."
        => "durability::changes_of_expiry_outlive_the_handle";
    conditional_sets_are_not_written shelf(ConditionalSetsAreNotWritten)
        "Conditional sets are not written down."
        => "durability::what_was_acknowledged_survives_a_crash";
    prefix_deletions_are_not_written shelf(PrefixDeletionsAreNotWritten)
        "`delete_prefix` is not written down."
        => "sequences::random_calls_agree_across_reopening";
    forgets_the_expiry shelf(ForgetsTheExpiry)
        "After a restart no key has an expiry."
        => "durability::expiry_goes_on_while_closed";
    writes_over_in_place shelf(WritesOverInPlace)
        "A value of the same length is written over the old one, whose expiry stays on disk."
        => "sequences::random_calls_agree_across_reopening";
    forgets_deep_namespaces shelf(ForgetsDeepNamespaces)
        "Namespaces more than four deep are empty after a restart."
        => "durability::namespaces_outlive_the_handle";
    long_keys_are_not_written shelf(LongKeysAreNotWritten)
        "Keys of more than some five hundred bytes are not written down."
        => "durability::values_outlive_the_handle";
    versions_begin_anew shelf(VersionsBeginAnew)
        "Versions are numbers that each process counts from one."
        => "durability::a_version_outlives_no_value";
    truncates_in_place over_file(TruncatesInPlace)
        "An overwrite empties the old value before it writes the new one."
        => "cancellation::a_dropped_set_is_whole_or_nothing";
    shares_a_temporary_name over_memory(SharesATemporaryName::default())
        "All writes go through one temporary file."
        => "cancellation::other_callers_are_unharmed";
    conditional_deletions_come_back shelf(ConditionalDeletionsComeBack)
        "Conditional deletions are not written down."
        => "durability::what_was_acknowledged_survives_a_crash";
    large_values_are_lost shelf(LargeValuesAreLost)
        "Values of more than a mebibyte and a half are not written down."
        => "durability::what_was_acknowledged_survives_a_crash";
    far_deadlines_are_lost shelf(FarDeadlinesAreLost)
        "After a restart a key that was to live beyond 2106 has no expiry."
        => "durability::a_deadline_stays_the_same_moment";
}

Errors {
    swallows_a_full_disk shelf(SwallowsAFullDisk)
        "A set without room is answered with `Ok`, as in Litestar's file store."
        => "errors::a_write_without_room_leaves_the_old_value";
    batches_swallow_a_full_disk over_shelf(BatchesSwallowAFullDisk)
        "A batch without room is answered with `Ok`."
        => "errors::a_write_without_room_leaves_the_old_value";
    keeps_a_short_write shelf(KeepsAShortWrite)
        "A set without room leaves what fitted, as in Litestar's file store."
        => "errors::a_write_without_room_leaves_the_old_value";
    a_failed_write_removes shelf(AFailedWriteRemoves)
        "A set without room removes the old value."
        => "errors::a_write_without_room_leaves_the_old_value";
    failures_leave_litter over_shelf(FailuresLeaveLitter::default())
        "A set without room leaves its temporary file."
        => "errors::a_write_without_room_leaves_the_old_value";
    damaged_is_missing over_shelf(DamagedIsMissing)
        "A damaged record is read as a missing key."
        => "errors::a_damaged_record_is_told";
    damaged_does_not_exist over_shelf(DamagedDoesNotExist)
        "`exists` gives false for a damaged record."
        => "errors::a_damaged_record_is_told";
    panics_on_damage shelf(PanicsOnDamage)
        "A damaged record makes the reader panic."
        => "errors::a_damaged_record_is_told";
    damaged_names_no_key over_shelf(DamagedNamesNoKey)
        "The error of a damaged record does not name its key."
        => "errors::a_damaged_record_is_told";
    damaged_cannot_be_deleted over_shelf(DamagedCannotBeDeleted)
        "A damaged record cannot be deleted."
        => "errors::a_damaged_record_can_be_replaced";
    damaged_cannot_be_replaced over_shelf(DamagedCannotBeReplaced)
        "A damaged record cannot be set anew."
        => "errors::a_damaged_record_can_be_replaced";
    damaged_is_replaced_if_absent over_shelf(DamagedIsReplacedIfAbsent)
        "A set if absent takes a damaged record for a missing key."
        => "errors::a_damaged_record_is_told";
    damaged_is_missing_for_renewal over_shelf(DamagedIsMissingForRenewal)
        "`update_expiry` gives false for a damaged record."
        => "errors::a_damaged_record_is_told";
    damage_stops_the_purge shelf(DamageStopsThePurge)
        "One damaged record stops `delete_expired`, as a leftover file does in Litestar's."
        => "errors::damaged_records_stop_no_sweep";
    timeout_though_written over_shelf(TimeoutThoughWritten::default())
        "A set whose answer is lost is reported as `Timeout`, and done all the same."
        => "errors::a_lost_server_is_told_and_found_again";
    unreachable_is_missing over_shelf(UnreachableIsMissing)
        "Without its server the store finds nothing, and says so with `Ok`."
        => "errors::a_lost_server_is_told_and_found_again";
    unreachable_is_empty over_shelf(UnreachableIsEmpty)
        "Without its server the store lists nothing, and says so with `Ok`."
        => "errors::a_lost_server_is_told_and_found_again";
    unreachable_is_cleared over_shelf(UnreachableIsCleared)
        "Without its server the store clears nothing, and says so with `Ok`."
        => "errors::a_lost_server_is_told_and_found_again";
    ping_asks_nobody over_shelf(PingAsksNobody)
        "`ping` succeeds without a server."
        => "errors::a_lost_server_is_told_and_found_again";
    shows_the_password shelf(ShowsThePassword)
        "The password in the address is shown by `Debug`."
        => "errors::no_secret_is_shown";
    errors_show_the_password over_shelf(ErrorsShowThePassword)
        "The cause of an error shows the password."
        => "errors::no_secret_is_shown";
    errors_show_keys_raw over_memory(ErrorsShowKeysRaw)
        "An error shows a key with its control characters."
        => "errors::they_say_what_failed";
    errors_say_nothing over_memory(ErrorsSayNothing)
        "An error names neither operation nor backend."
        => "errors::they_say_what_failed";
    deletion_errors_name_no_key over_memory(DeletionErrorsNameNoKey)
        "The error of a deletion does not name its key."
        => "errors::they_say_what_failed";
    ignores_conditions over_shelf(IgnoresConditions) [no_conditions]
        "A store without conditions leaves them out, and sets."
        => "capabilities::undeclared_conditions_change_nothing";
    batches_refuse_late over_shelf(BatchesRefuseLate) [no_conditions]
        "A store without conditions refuses a batch after having written its beginning."
        => "capabilities::undeclared_conditions_change_nothing";
    ignores_renewals over_shelf(IgnoresRenewals) [no_renewal]
        "A store without renewals gets, and does not renew, without a word."
        => "capabilities::undeclared_renew_changes_nothing";
    exists_names_no_key over_shelf(ExistsNamesNoKey)
        "The error of `exists` without a server does not name its key."
        => "errors::a_lost_server_is_told_and_found_again";
    damage_in_batches_names_no_key over_shelf(DamageInBatchesNamesNoKey)
        "The error of a damaged record in `get_many` does not name its key."
        => "errors::a_damaged_record_is_told";
    no_room_is_not_met over_shelf(NoRoomIsNotMet)
        "A conditional set without room says that its condition did not hold."
        => "errors::a_write_without_room_leaves_the_old_value";
    renews_without_room over_shelf(RenewsWithoutRoom)
        "A renewal without room gives the value, and renews nothing."
        => "errors::a_write_without_room_leaves_the_old_value";
    listings_show_the_password over_shelf(ListingsShowThePassword)
        "The error of a listing without a server shows the password."
        => "errors::no_secret_is_shown";
    cuts_within_a_character over_memory(CutsWithinACharacter)
        "A key too long is cut within a character, for the message."
        => "errors::bad_input_is_no_reason_to_panic";
}

Cancellation {
    leaks_a_lock over_memory(LeaksALock::default()) [hangs]
        "A set that is dropped leaves its key locked."
        => "cancellation::a_dropped_set_is_whole_or_nothing";
    hands_a_lock_to_the_gone over_memory(HandsALockToTheGone::default()) [hangs]
        "A lock that is handed to a caller who has gone is lost."
        => "cancellation::other_callers_are_unharmed";
    leaves_a_temporary_file over_memory(LeavesATemporaryFile::default())
        "A set that is dropped leaves its temporary file."
        => "cancellation::dropped_calls_leave_nothing_behind";
    batches_begin_with_a_deletion over_memory(BatchesBeginWithADeletion)
        "A batch that is dropped has deleted its keys and not written them."
        => "cancellation::a_dropped_batch_leaves_whole_keys";
    deletions_begin_with_an_empty_value over_memory(DeletionsBeginWithAnEmptyValue)
        "A deletion that is dropped leaves an empty value."
        => "cancellation::a_dropped_delete_is_whole_or_nothing";
    renewals_take_the_key_away over_memory(RenewalsTakeTheKeyAway)
        "An `update_expiry` that is dropped has lost the key."
        => "cancellation::a_dropped_renewal_is_whole_or_nothing";
    closes_wait_for_the_gone over_memory(ClosesWaitForTheGone::default()) [hangs]
        "After a close that was dropped, the next one waits for it for ever."
        => "cancellation::a_dropped_close_can_be_repeated";
    counts_readers_for_ever over_memory(CountsReadersForEver::default()) [hangs]
        "A listing that is dropped keeps all writers out."
        => "cancellation::a_dropped_reader_harms_nobody";
    batches_use_up_the_pool over_memory(BatchesUseUpThePool::default()) [hangs]
        "A `get_many` that is dropped keeps its place in a pool of sixteen."
        => "cancellation::dropped_calls_use_nothing_up";
    flushes_use_up_the_pool over_memory(FlushesUseUpThePool::default()) [hangs]
        "A `flush` that is dropped keeps its place in a pool of sixteen."
        => "cancellation::dropped_calls_use_nothing_up";
    clears_expiries_first over_memory(ClearsExpiriesFirst)
        "A `delete_all` that is dropped has taken the expiries of the keys that it leaves."
        => "cancellation::a_dropped_clearing_harms_nothing_else";
}

Lifecycle {
    child_closes_the_store over_memory(ChildClosesTheStore)
        "Closing a child closes its parent's connection, as in Litestar's Redis store."
        => "lifecycle::closing_a_child_leaves_the_others_open";
    children_share_the_state shelf(ChildrenShareTheState)
        "Closing a child closes its parent and its siblings."
        => "lifecycle::closing_a_child_leaves_the_others_open";
    children_stay_open shelf(ChildrenStayOpen)
        "Closing the root leaves its children open."
        => "lifecycle::closing_the_root_closes_all";
    second_close_fails over_memory(SecondCloseFails::default())
        "A second `close` is an error."
        => "lifecycle::closing_twice_does_nothing";
    one_closer_at_a_time over_memory(OneCloserAtATime::default())
        "A `close` that finds another one under way is an error."
        => "lifecycle::several_may_close_at_once";
    nothing_exists_after_close over_memory(NothingExistsAfterClose)
        "`exists` gives false after `close`."
        => "lifecycle::every_call_after_close_is_refused";
    flushes_after_close over_memory(FlushesAfterClose)
        "`flush` gives `Ok` after `close`."
        => "lifecycle::every_call_after_close_is_refused";
    closed_is_unavailable over_memory(ClosedIsUnavailable)
        "`delete_all` after `close` is answered as worth retrying."
        => "lifecycle::every_call_after_close_is_refused";
    close_breaks_calls over_memory(CloseBreaksCalls)
        "Calls in progress during `close` fail as if the store were broken."
        => "lifecycle::calls_in_progress_end_well";
    stays_locked shelf(StaysLocked)
        "A closed store stays locked for a moment."
        => "lifecycle::it_opens_again_at_once";
    closed_declares_nothing over_memory(ClosedDeclaresNothing::default())
        "A closed store declares other capabilities."
        => "capabilities::they_never_change";
    no_children_after_close over_memory(NoChildrenAfterClose)
        "`list_child_namespaces` gives none after `close`."
        => "lifecycle::closing_the_root_closes_all";
}

    } };
}

macro_rules! table {
    ($($class:ident {
        $($name:ident $base:ident($bug:expr) $([$mode:ident])? $text:literal => $case:literal;)+
    })+) => {
        static PLANTED: &[Planted] = &[$($(
            Planted {
                name: stringify!($name),
                class: Class::$class,
                bug: $text,
                caught_by: $case,
                stand: || Stand::$base(|| Arc::new($bug))$(.$mode())?,
            },
        )+)+];
    };
}
crate::__planted! { [table] }

/// Every planted store.
pub fn planted() -> &'static [Planted] {
    PLANTED
}
