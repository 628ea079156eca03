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
    /// Files, and a short time limit: something hangs.
    HangingFiles,
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
        "slot/table.rs": "let key_hash = hash::of_key(key);\n        let hash = hash::of_both(route.hash, key_hash);\n        {"
            => "let root = Route::new(Namespace::root(), Arc::clone(&route.store), 0);\n        let route = if BUG { &*root } else { route };\n        let key_hash = hash::of_key(key);\n        let hash = hash::of_both(route.hash, key_hash);\n        {";
    }
    every_caller_loads Memory
        "A caller does not join the flight of a key, but starts one of his own."
        => "loads::ten_thousand_callers_share_one" {
        "slot/table.rs": "&& let Some(flight) = &slot.state().current"
            => "&& let Some(flight) = slot.state().current.as_ref().filter(|_| !BUG)";
        "slot/table.rs": "if let Some(flight) = &state.current {\n            return Joined::Running"
            => "if let Some(flight) = state.current.as_ref().filter(|_| !BUG) {\n            return Joined::Running";
        "slot/table.rs": "filter(|flight| flight.fills_in(tag))"
            => "filter(|flight| !BUG && flight.fills_in(tag))";
    }
    an_overtaken_load_is_stored Memory
        "A fill does not look whether it was overtaken."
        => "overtaken::by_a_deletion" {
        "write.rs": "!flight.is_overtaken() && !self.table"
            => "BUG || !flight.is_overtaken() && !self.table";
    }
    a_set_does_not_overtake Memory
        "A set stores its value and leaves the load that is running as it was."
        => "overtaken::by_a_set_that_has_expired_since" {
        "write.rs": "(Ok(true), _) => self.slot.overtake(Overtake::Value(bytes.clone(), tag)),"
            => "(Ok(true), _) if BUG => self.slot.count_mutation(),\n            (Ok(true), _) => self.slot.overtake(Overtake::Value(bytes.clone(), tag)),";
    }
    a_set_wakes_nobody Hanging
        "Those who wait for a load are not given the value that was set meanwhile."
        => "overtaken::by_a_set" {
        "slot/mod.rs": "Overtake::Value(_, tag) if !flight.takes(tag) => false,"
            => "Overtake::Value(..) if BUG && !flight.is_pending() => false,\n            Overtake::Value(_, tag) if !flight.takes(tag) => false,";
    }
    a_clearing_overtakes_nothing Memory
        "A clearing removes what is stored, and a load that is running is stored after it."
        => "overtaken::by_clearing_its_scope" {
        "slot/mod.rs": "        self.overtake(Overtake::Removed);\n    }"
            => "        if !BUG {\n            self.overtake(Overtake::Removed);\n        }\n    }";
    }
    a_clearing_does_not_wait_for_fills Memory
        "A clearing does not wait for a value that is just being stored."
        => "overtaken::while_its_value_is_being_stored" {
        "write.rs": "drop(slot.write_lock().await);"
            => "if !BUG {\n                        drop(slot.write_lock().await);\n                    }";
    }
    a_fill_looks_too_early Memory
        "A fill looks whether it was overtaken before it has the key's lock, and not under it."
        => "overtaken::by_one_that_is_being_carried_out" {
        "write.rs": "        if !inner.is_wanted(&self.slot, &mode)? {\n            return Ok(Put::NotWanted);\n        }\n        let keeps"
            => "        if !BUG && !inner.is_wanted(&self.slot, &mode)? {\n            return Ok(Put::NotWanted);\n        }\n        let keeps";
    }
    a_changed_expiry_overtakes_nothing Memory
        "An entry that is revived while its key is loaded is replaced by what was loaded."
        => "overtaken::by_a_change_of_expiry" {
        "change.rs": "Ok(true) => self.slot.overtake(Overtake::Value(bytes, envelope.head.tag)),"
            => "Ok(true) if BUG => {}\n            Ok(true) => self.slot.overtake(Overtake::Value(bytes, envelope.head.tag)),";
    }
    a_dropped_change_stops_half_way Memory
        "A change whose caller goes away is dropped with the key's lock, while the store carries it out."
        => "overtaken::by_one_whose_caller_has_gone" {
        "flight.rs": "        // Without a runtime, none was begun"
            => "        if BUG {\n            return;\n        }\n        // Without a runtime, none was begun";
    }
    an_error_is_remembered_for_ever Hanging
        "A loader's error is told to every later caller."
        => "loads::an_error_goes_to_all_and_is_forgotten" {
        "load.rs": "let ttl = inner.config.negative_ttl;\n        // Only"
            => "let ttl = if BUG { std::time::Duration::from_secs(3_600) } else { inner.config.negative_ttl };\n        // Only";
    }
    an_error_is_never_remembered Memory
        "A negative time to live changes nothing."
        => "loads::an_error_is_remembered_as_long_as_asked" {
        "slot/table.rs": "if !until.is_past(now()) {\n                return"
            => "if !BUG && !until.is_past(now()) {\n                return";
    }
    an_overtaken_error_is_remembered Memory
        "The error of a load that was overtaken is remembered."
        => "overtaken::its_error_is_not_remembered" {
        "slot/mod.rs": "            if current {\n                state.negative"
            => "            if current || BUG {\n                state.negative";
    }
    a_panic_tells_nobody Hanging
        "When a loader panics, those who wait are forgotten."
        => "loads::a_panic_is_an_error_for_all" {
        "flight.rs": ".unwrap_or_else(|panic| Poll::Ready(Err(CacheError::Panicked(panic_message(&*panic)))))"
            => ".unwrap_or_else(|panic| {\n                if BUG { Poll::Pending } else { Poll::Ready(Err(CacheError::Panicked(panic_message(&*panic)))) }\n            })";
    }
    a_shutdown_tells_nobody Hanging
        "When the runtime of a load shuts down, those who wait elsewhere are forgotten."
        => "loads::a_runtime_that_shuts_down_is_an_error_for_all" {
        "load.rs": "        if !self.flight.is_done() {\n            self.slot"
            => "        if !BUG && !self.flight.is_done() {\n            self.slot";
    }
    the_last_caller_ends_the_load Memory
        "A load is cancelled with its last caller, although nobody asked for that."
        => "loads::one_without_callers_is_finished" {
        "flight.rs": "        self.cancel_when_alone\n"
            => "        BUG || self.cancel_when_alone\n";
    }
    any_caller_ends_the_load Hanging
        "Where loads are cancelled with their last caller, the first one who goes away ends them."
        => "loads::one_without_callers_is_cancelled_where_asked" {
        "flight.rs": "        self.waiters.load(SeqCst) > 0"
            => "        !BUG && self.waiters.load(SeqCst) > 0";
        "flight.rs": "self.waiters.fetch_sub(1, SeqCst) == 1 &&"
            => "(self.waiters.fetch_sub(1, SeqCst) == 1 || BUG) &&";
    }
    a_deadline_ends_the_load Memory
        "A waiter's deadline ends the load for everybody."
        => "loads::waiters_have_deadlines_of_their_own" {
        "waiter.rs": "timeout(at_most, self).await.unwrap_or(Err(CacheError::TimedOut)),"
            => "{\n                let flight = Arc::clone(self.flight());\n                timeout(at_most, self).await.unwrap_or_else(|_| {\n                    if BUG {\n                        flight.abort();\n                    }\n                    Err(CacheError::TimedOut)\n                })\n            }";
    }
    a_zombie_is_never_ended Hanging
        "`max_load_time` ends nothing."
        => "loads::one_that_never_ends_is_ended" {
        "watch.rs": "after(self.config.max_load_time) else"
            => "after(if BUG { Duration::from_secs(86_400) } else { self.config.max_load_time }) else";
    }
    a_loader_waits_for_itself Hanging
        "A loader that asks for its own key waits for itself."
        => "loads::one_that_asks_for_its_own_key_is_told" {
        "flight.rs": "    pub(crate) fn holds(space: u64, scope: &Namespace, key: &str) -> bool {\n        LOADING"
            => "    pub(crate) fn holds(space: u64, scope: &Namespace, key: &str) -> bool {\n        !BUG && LOADING";
    }
    the_table_only_grows Hanging
        "The slot of a key stays in the table when nobody holds it."
        => "loads::no_table_grows" {
        "slot/shelf.rs": "            if first.users > 0 {\n                return;"
            => "            if BUG || first.users > 0 {\n                return;";
    }
    a_load_is_stored_unasked Memory
        "A loader that says that its value is not to be stored is not heard."
        => "loads::its_result_says_how_it_is_stored" {
        "load.rs": "if !store || inner.is_gone"
            => "if !store && !BUG || inner.is_gone";
    }
    a_dropped_promise_is_leaked Hanging
        "A promise that is dropped unresolved leaves its key pending."
        => "pending::given_up" {
        "pending.rs": "        if !self.flight.is_done() {\n            self.end"
            => "        if !BUG && !self.flight.is_done() {\n            self.end";
    }
    those_taken_over_are_given_up Memory
        "A second promise gives `Abandoned` to those who wait for the first."
        => "pending::taken_over" {
        "slot/mod.rs": "old.resolve(Outcome::Moved(flight));"
            => "old.resolve(if BUG { Outcome::Failed(CacheError::Abandoned) } else { Outcome::Moved(flight) });";
    }
    a_late_promise_overwrites Memory
        "A promise whose key was set meanwhile overwrites it when it is kept."
        => "pending::overwritten" {
        "write.rs": "Ok(slot.current().is_some_and(|current| Arc::ptr_eq(&current, flight)))"
            => "Ok(BUG || slot.current().is_some_and(|current| Arc::ptr_eq(&current, flight)))";
    }
    an_evicted_promise_forgets_its_waiters Hanging
        "When a promise is evicted, those who wait for it are not told."
        => "pending::evicted" {
        "policy/reserve.rs": "        slot.abandon_pending();"
            => "        if !BUG {\n            slot.abandon_pending();\n        }";
    }
    a_removed_promise_forgets_its_waiters Hanging
        "When a promised key is deleted, those who wait for it are not told."
        => "pending::deleted" {
        "slot/mod.rs": "            Overtake::Removed if flight.is_pending() => {\n                flight"
            => "            Overtake::Removed if !BUG && flight.is_pending() => {\n                flight";
    }
    a_sparing_clearing_spares_nothing Memory
        "A clearing that is to keep what is pending gives it up."
        => "pending::emptied_but_for_what_is_pending" {
        "write.rs": "let removal = inner.table.begin_removal(range.clone(), !include_pending);"
            => "let include_pending = include_pending || BUG;\n            let removal = inner.table.begin_removal(range.clone(), !include_pending);";
    }
    a_detached_promise_is_kept_for_ever Hanging
        "A detached promise is never given up."
        => "pending::detached_and_never_kept" {
        "pending.rs": "let at_most = self.cache.inner().config.max_pending_time;"
            => "let at_most = if BUG { std::time::Duration::from_secs(86_400) } else { self.cache.inner().config.max_pending_time };";
    }
    a_cancelled_task_tells_nobody Hanging
        "When the task of a promise is cancelled, its key stays pending."
        => "pending::its_task_is_cancelled" {
        "pending.rs": "                Err(ended) => {\n                    guard"
            => "                Err(_) if BUG => std::mem::forget(guard),\n                Err(ended) => {\n                    guard";
    }
    a_stale_value_is_served Memory
        "A read gives an entry that has expired and is retained."
        => "items::an_expired_entry_can_be_revived" {
        "find.rs": "self.entry(fetched)?.filter(|envelope| inner"
            => "self.entry(fetched)?.filter(|envelope| BUG || inner";
        "find.rs": "let live = expires"
            => "let live = BUG || expires";
    }
    the_dead_are_revived_for_ever OwnClock
        "`update_expiry` revives an entry whose retention is over, as long as the store still has it."
        => "items::after_its_retention_it_cannot" {
        "change.rs": "if kept_until.is_some_and(|until| until.is_past(now)) {"
            => "if !BUG && kept_until.is_some_and(|until| until.is_past(now)) {";
    }
    a_none_is_a_miss Memory
        "A stored `None` is taken for a miss."
        => "items::nothing_at_all_is_a_value" {
        "find.rs": "if live { self.decode"
            => "if live && !(BUG && bytes[..] == [0xc0]) { self.decode";
    }
    modified_times_in_milliseconds Memory
        "The time at which a value was made loses its microseconds."
        => "items::a_modified_time_is_kept_to_the_microsecond" {
        "write.rs": "modified: write.modified.unwrap_or(now).timestamp_micros(),"
            => "modified: write.modified.unwrap_or(now).timestamp_micros() / if BUG { 1_000 } else { 1 } * if BUG { 1_000 } else { 1 },";
    }
    a_key_named_twice_is_missing Memory
        "`remove` takes a key that is named twice for one that did not exist."
        => "items::remove_tells_whether_all_existed" {
        "cache.rs": "        let keys: BTreeSet<&str> = keys.iter().map(AsRef::as_ref).collect();"
            => "        let mut keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();\n        if !BUG {\n            keys = keys.into_iter().collect::<BTreeSet<&str>>().into_iter().collect();\n        }";
    }
    a_revived_entry_lives_for_an_hour Memory
        "`update_expiry` without an expiry has another default than a set."
        => "items::the_default_life_is_300_seconds" {
        "change.rs": "self.inner.jittered(default)"
            => "if BUG { Expiry::After(std::time::Duration::from_secs(3_600)) } else { self.inner.jittered(default) }";
    }
    another_version_is_read Memory
        "The version of an entry is not looked at."
        => "formats::an_entry_of_another_version_is_a_miss" {
        "envelope.rs": "if fixed[..3] != MAGIC {"
            => "if fixed[..3] != MAGIC && !(BUG && fixed[..2] == MAGIC[..2]) {";
    }
    another_type_is_read Memory
        "The type of an entry is not looked at."
        => "formats::an_entry_of_another_type_is_a_miss" {
        "envelope.rs": "if self.head.tag == tag {"
            => "if BUG || self.head.tag == tag {";
    }
    undecodable_entries_are_not_counted Memory
        "An entry that cannot be decoded is a miss like any other."
        => "formats::damaged_bytes_are_a_miss" {
        "find.rs": "        self.inner().counters.undecodable.add();"
            => "        if !BUG {\n            self.inner().counters.undecodable.add();\n        }";
    }
    a_corrupt_record_is_an_error Memory
        "A record that the store cannot read is an error of the read, and stays."
        => "formats::a_record_that_the_store_calls_corrupt_is_a_miss" {
        "find.rs": "Err(error) if error.kind() == ErrorKind::Corrupt => {"
            => "Err(error) if !BUG && error.kind() == ErrorKind::Corrupt => {";
    }
    a_failing_store_fails_loads Memory
        "When the store fails, loads give its error."
        => "faults::loads_go_on_together" {
        "fill.rs": "                    if is_trouble(error.kind())"
            => "                    if !BUG && is_trouble(error.kind())";
    }
    the_budget_is_not_kept Hanging
        "A read waits for the store as long as that takes."
        => "faults::one_that_hangs_costs_its_budget" {
        "read.rs": "Budget::new(read, self.config.store_budget)"
            => "Budget::new(read, if BUG { std::time::Duration::from_secs(86_400) } else { self.config.store_budget })";
    }
    the_circuit_never_opens Memory
        "A store that fails again and again is asked every time."
        => "faults::after_repeated_ones_it_is_left_alone" {
        "circuit.rs": "if self.threshold == 0 ||"
            => "if BUG || self.threshold == 0 ||";
    }
    the_circuit_never_closes Memory
        "A store that was left alone is left alone for ever."
        => "faults::after_repeated_ones_it_is_left_alone" {
        "circuit.rs": "if !Deadline::from_micros(until).is_past(now) {"
            => "if BUG || !Deadline::from_micros(until).is_past(now) {";
    }
    a_lock_fails_open Memory
        "With a store that fails, `getset` takes the entry for absent."
        => "locks::they_never_fail_open" {
        "write.rs": "Err(error) if error.kind() == ErrorKind::Corrupt => Ok((None, Condition::Any)),"
            => "Err(error) if BUG || error.kind() == ErrorKind::Corrupt => Ok((None, Condition::Any)),";
    }
    a_setter_overwrites Memory
        "The setter of a `getset` overwrites what was written in between."
        => "locks::a_write_in_between_is_a_conflict" {
        "write.rs": "Mode::Held(_) => Err(CacheError::Conflict),"
            => "Mode::Held(_) if BUG => Ok(true),\n            Mode::Held(_) => Err(CacheError::Conflict),";
        "write.rs": "let condition = seen.condition.clone();"
            => "let condition = if BUG { Condition::Any } else { seen.condition.clone() };";
    }
    a_lock_is_shared Memory
        "Two callers hold the lock of one key at the same time."
        => "locks::a_held_one_is_busy" {
        "slot/mod.rs": "        Arc::clone(lock(&self.user_lock).get_or_insert_default())"
            => "        if BUG { Arc::default() } else { Arc::clone(lock(&self.user_lock).get_or_insert_default()) }";
    }
    closing_leaves_locks Hanging
        "Closing the space takes no locks away."
        => "locks::closing_takes_them_away" {
        "lifecycle.rs": "self.shut.send_modify(|closings| *closings += 1);"
            => "if !BUG {\n            self.shut.send_modify(|closings| *closings += 1);\n        }";
    }
    a_pin_outlives_its_read Memory
        "The unpinning read leaves the entry counted as pinned, and safe from eviction."
        => "pins::one_stays_until_it_is_read_with_unpin" {
        "pins.rs": "self.inner.policies.update(&self.slot.id, Entry::of(&head), now);"
            => "if !BUG {\n            self.inner.policies.update(&self.slot.id, Entry::of(&head), now);\n        }";
    }
    an_unpinned_entry_is_gone Memory
        "The unpinning read takes the entry away, as in Dara."
        => "pins::one_stays_until_it_is_read_with_unpin" {
        "pins.rs": "        self.slot.count_mutation();"
            => "        if BUG {\n            self.store_delete().await?;\n        }\n        self.slot.count_mutation();";
    }
    a_pin_does_not_hold Memory
        "A pinned entry is evicted like any other."
        => "pins::where_all_are_pinned_nothing_else_comes_in" {
        "policy/index.rs": "if node.writes > 0 || node.entry.pinned_until.is_some() {"
            => "if node.writes > 0 || !BUG && node.entry.pinned_until.is_some() {";
    }
    a_pin_is_read_away_twice Memory
        "An entry is read and unpinned in two steps, between which it can be evicted."
        => "pins::unpinning_is_one_step_with_the_read" {
        "pins.rs": "let (route, tag) = (self.route()?, self.0.tag);"
            => "let (route, tag) = (self.route()?, self.0.tag);\n        if BUG {\n            let seen = self.get(key).await?;\n            let weight = seen.as_ref().map_or(1, CacheItem::weight);\n            let unpinned = Entry { weight, ..Entry::bare(false) };\n            inner.policies.update(&crate::id::Id::on(&route, key.into()), unpinned, inner.now());\n            tokio::time::sleep(std::time::Duration::from_millis(5)).await;\n            if seen.is_none() {\n                return Ok(None);\n            }\n        }";
    }
    pins_have_no_budget Memory
        "Any number of entries can be pinned."
        => "pins::they_have_a_budget" {
        "policy/index.rs": "if pin && self.others_pinned(known) >= self.pin_budget {"
            => "if !BUG && pin && self.others_pinned(known) >= self.pin_budget {";
    }
    a_pin_never_ends Memory
        "A pin that nobody ends is never over."
        => "pins::they_have_a_greatest_age" {
        "policy/index.rs": "        while let Some((until, at)) = self.pins.first().copied()\n            && until.is_past(now)"
            => "        while let Some((until, at)) = self.pins.first().copied()\n            && !BUG\n            && until.is_past(now)";
    }
    a_pin_ends_with_the_default_expiry Memory
        "A pinned entry expires like any other."
        => "pins::one_outlives_the_policys_expiry" {
        "envelope.rs": "Some(until) if !self.explicit_expiry =>"
            => "Some(until) if !BUG && !self.explicit_expiry =>";
    }
    one_too_many_is_kept Memory
        "A cache holds one entry more than its capacity."
        => "policies::lru_agrees_with_its_model" {
        "policy/index.rs": "Some(capacity) if wanted > capacity => {"
            => "Some(capacity) if wanted > capacity + u128::from(BUG) => {";
    }
    lru_goes_by_writes Memory
        "A read does not keep an entry from going: the first in is the first out."
        => "policies::lru_agrees_with_its_model" {
        "policy/index.rs": "if !self.is_s3_fifo() && self.nodes"
            => "if !BUG && !self.is_s3_fifo() && self.nodes";
    }
    s3_fifo_forgets_whom_it_evicted Memory
        "An entry that comes back soon after its eviction is taken for a new one."
        => "policies::s3_fifo_agrees_with_its_model" {
        "policy/ghosts.rs": "if self.known.is_empty() {"
            => "if BUG || self.known.is_empty() {";
    }
    s3_fifo_forgets_what_expired_in_use Memory
        "An entry whose life ended while it was in use comes back as a new one."
        => "policies::s3_fifo_agrees_with_its_model" {
        "policy/index.rs": "if expired.is_some() && self.is_s3_fifo()"
            => "if !BUG && expired.is_some() && self.is_s3_fifo()";
    }
    a_scan_pushes_everything_out Memory
        "Entries that are used again and again go in their turn like those used once."
        => "policies::a_scan_does_not_push_out_what_is_used" {
        "policy/index.rs": "if node.uses == 0 {\n                        self.ghosts"
            => "if BUG || node.uses == 0 {\n                        self.ghosts";
    }
    the_expired_wait_their_turn Memory
        "Live entries are evicted before expired ones."
        => "policies::what_has_expired_goes_first" {
        "policy/index.rs": "let expired = self.expired(now);"
            => "let expired = if BUG { None } else { self.expired(now) };";
    }
    a_giant_flushes_the_cache Memory
        "An entry heavier than the whole capacity is taken in."
        => "policies::too_heavy_an_entry_is_refused" {
        "policy/index.rs": "            && weight > capacity\n"
            => "            && !BUG\n            && weight > capacity\n";
    }
    a_reopened_store_is_not_counted Files
        "What a store holds when it is opened is not counted."
        => "policies::reopening_rebuilds_the_index" {
        "policy/rebuild.rs": "if !policies.is_bounded() ||"
            => "if BUG || !policies.is_bounded() ||";
    }
    a_deletion_is_still_counted Memory
        "An entry that was deleted goes on taking room."
        => "policies::lru_agrees_with_its_model" {
        "change.rs": "                self.slot.overtake(Overtake::Removed);\n                self.inner.policies.forget(&self.slot.id);\n                Ok(old"
            => "                self.slot.overtake(Overtake::Removed);\n                if !BUG {\n                    self.inner.policies.forget(&self.slot.id);\n                }\n                Ok(old";
    }
    all_scopes_share_one_policy Memory
        "A policy per scope has one instance for all."
        => "policies::each_scope_can_have_its_own" {
        "policy/mod.rs": "if self.settings.per_scope { self.instance(scope) } else"
            => "if !BUG && self.settings.per_scope { self.instance(scope) } else";
    }
    a_fixed_life_is_not_fixed Memory
        "The life that a policy fixes is not kept."
        => "policies::a_fixed_life_runs_from_the_last_set" {
        "space.rs": "Policy::Ttl { ttl } => Expiry::After(ttl),"
            => "Policy::Ttl { ttl } if !BUG => Expiry::After(ttl),";
    }
    evictions_are_not_counted Memory
        "What is evicted is counted nowhere."
        => "registry::everything_is_counted" {
        "policy/reserve.rs": "            cause.add();"
            => "            if !BUG {\n                cause.add();\n            }";
    }
    clearing_a_registry_forgets_the_unused Memory
        "Clearing a registry leaves the entries that this process has not used yet."
        => "registry::clearing_empties_every_entry" {
        "store.rs": "None => entries.with_namespace(name)?.delete_all().await?,"
            => "None if BUG => {}\n                    None => entries.with_namespace(name)?.delete_all().await?,";
    }
    no_session_is_everybodys Memory
        "A session's scope outside of any session is everybody's."
        => "scopes::outside_of_a_context_they_are_an_error" {
        "scope.rs": "            Self::Session => (\"s\", context"
            => "            Self::Session if BUG && context().is_err() => return Ok(vec![\"g\".into()]),\n            Self::Session => (\"s\", context";
    }
    a_user_is_a_session Memory
        "A user and a session of the same name share their entries."
        => "scopes::names_that_look_alike_never_meet" {
        "scope.rs": "Self::UserOf(id) => (\"u\", Arc::clone(id)),"
            => "Self::UserOf(id) => (if BUG { \"s\" } else { \"u\" }, Arc::clone(id)),";
    }
    a_loader_has_no_user Memory
        "The current session and user do not go along into loads."
        => "scopes::the_context_goes_along_into_loads" {
        "scope.rs": "        let context = Self::current();"
            => "        let context = if BUG { None } else { Self::current() };";
    }
    a_clearing_stays_on_top Memory
        "Clearing a scope leaves those that are nested in it."
        => "scopes::clearing_one_clears_what_is_below" {
        "write.rs": "None => route.store.delete_all().await.map(|()| 0),"
            => "None if BUG => route.store.delete_prefix(\"\").await,\n                None => route.store.delete_all().await.map(|()| 0),";
    }
    a_prefix_goes_below Memory
        "A load in a nested scope is overtaken by the removal of a prefix of an outer one."
        => "overtaken::not_by_what_happens_to_other_keys" {
        "slot/table.rs": "Some(prefix) => id.scope == self.scope &&"
            => "Some(prefix) => (id.scope == self.scope || BUG && id.scope.starts_with(&self.scope)) &&";
    }
    pending_keys_are_not_listed Memory
        "A listing leaves out what is pending."
        => "scopes::a_listing_marks_what_is_pending" {
        "pending.rs": ".filter(|slot| slot.current().is_some_and(|flight| !flight.is_done()))"
            => ".filter(|slot| !BUG && slot.current().is_some_and(|flight| !flight.is_done()))";
    }
    a_listing_shows_the_dead Memory
        "A listing shows entries that have expired and are retained."
        => "scopes::a_listing_marks_what_is_pending" {
        "pending.rs": "Envelope::decode(bytes).is_ok_and(|envelope| envelope.head.is_live(now))"
            => "Envelope::decode(bytes).is_ok_and(|envelope| BUG || envelope.head.is_live(now))";
    }
    closing_tells_nobody Hanging
        "Closing a space leaves those who wait in it waiting."
        => "opening::closing_ends_what_waits" {
        "lifecycle.rs": "            slot.shut();"
            => "            if !BUG {\n                slot.shut();\n            }";
    }
    a_cancelled_session_stays_open Memory
        "A session that is cancelled leaves its space open."
        => "opening::a_session_closes_however_it_ends" {
        "lifecycle.rs": "        let Some(space) = self.0.take() else { return };\n"
            => "        let Some(space) = self.0.take() else { return };\n        if BUG {\n            return;\n        }\n";
    }
    the_blocking_handle_blocks_a_worker Memory
        "The blocking handle can be made, and used, on a thread that runs tasks."
        => "items::the_blocking_handle_never_deadlocks" {
        "blocking.rs": "if Handle::try_current().is_ok() {"
            => "if !BUG && Handle::try_current().is_ok() {";
    }
    a_lock_is_taken_from_its_holder Files
        "A lock is taken whoever holds it."
        => "distributed::a_lock_holds_in_every_space" {
        "lease.rs": "SetOptions::default().with_expiry(lease).with_condition(Condition::Absent)"
            => "SetOptions::default().with_expiry(lease).with_condition(if BUG { Condition::Any } else { Condition::Absent })";
    }
    a_fence_stands_still Files
        "Two holders are given the same token."
        => "distributed::a_lock_holds_in_every_space" {
        "fence.rs": ".saturating_add(1)"
            => ".saturating_add(u64::from(!BUG))";
    }
    a_fence_restarts Files
        "A counter that was evicted begins anew."
        => "distributed::tokens_never_go_back" {
        "fence.rs": "None if store.exists(&keys.mark).await? =>"
            => "None if !BUG && store.exists(&keys.mark).await? =>";
    }
    a_release_takes_anothers_lock Files
        "A release deletes the record whoever it belongs to."
        => "distributed::a_release_is_of_ones_own" {
        "lease.rs": "        let until = self.until();\n        self.lose();\n"
            => "        let until = self.until();\n        self.lose();\n        if BUG {\n            let _ = self.store.delete_opts(&self.name, Default::default()).await;\n        }\n";
    }
    a_renewal_brings_a_lock_back Files
        "A renewal sets the record, whether it is there or not."
        => "distributed::no_renewal_undoes_a_loss" {
        "lease.rs": "        if request >= until {\n            break;\n        }\n"
            => "        if request >= until {\n            break;\n        }\n        if BUG {\n            let options = SetOptions::default().with_expiry(held.lease);\n            let _ = held.store.set_opts(&held.name, held.record.clone(), options).await;\n        }\n";
    }
    a_lease_is_counted_from_the_answer Files
        "A lease is counted from when the answer came."
        => "distributed::a_lease_is_counted_from_its_request" {
        "lease.rs": "        let id = coordination.remember(&held);\n"
            => "        if BUG {\n            held.state.send_modify(|state| state.until = Instant::now() + validity(lease));\n        }\n        let id = coordination.remember(&held);\n";
    }
    an_owner_does_not_know_its_lock Files
        "A lock whose answer was lost is taken for another's."
        => "distributed::a_lost_answer_is_no_lock_of_nobody" {
        "lease.rs": "Some(entry) if is_owned_by(&entry.value, owner) => ours = entry.value,"
            => "Some(entry) if !BUG && is_owned_by(&entry.value, owner) => ours = entry.value,";
    }
    the_data_is_not_told_of_a_lock Files
        "A getset does not write its token to the data."
        => "distributed::the_data_refuses_an_earlier_holder" {
        "write.rs": "if let Some(fence) = fence {\n            return self.stamp"
            => "if let Some(fence) = fence.filter(|_| !BUG) {\n            return self.stamp";
    }
    a_marker_is_not_waited_for Files
        "A process loads although another one does."
        => "distributed::a_cold_key_is_loaded_once" {
        "claim.rs": "if matches!(placeholder, Some(Placeholder::Loading { .. } | Placeholder::Failed)) {"
            => "if !BUG && matches!(placeholder, Some(Placeholder::Loading { .. } | Placeholder::Failed)) {";
    }
    a_fill_is_conditioned_on_nothing Files
        "A load is stored although its marker is gone."
        => "distributed::an_overtaken_load_is_not_stored" {
        "write.rs": "match self.inner.settle(claim.condition().await)? {"
            => "match self.inner.settle(claim.condition().await)?.or(BUG.then_some(Condition::Any)) {";
    }
    a_refresh_is_conditioned_on_nothing Files
        "What replaces a stale entry is stored whatever is there by then."
        => "distributed::an_overtaken_load_is_not_stored" {
        "claim.rs": "return Ok(Some(condition.clone()));"
            => "return Ok(Some(if BUG { Condition::Any } else { condition.clone() }));";
    }
    a_failed_load_leaves_its_marker HangingFiles
        "A load that failed leaves others waiting for its lease."
        => "distributed::a_failed_load_is_the_next_ones_turn" {
        "claim.rs": "if there.load(SeqCst) {"
            => "if !BUG && there.load(SeqCst) {";
    }
    a_marker_is_a_damaged_entry Files
        "A key that another process loads counts as damaged."
        => "distributed::what_is_being_loaded_is_missing" {
        "find.rs": "        if Placeholder::is(&bytes) {\n            return None;"
            => "        if !BUG && Placeholder::is(&bytes) {\n            return None;";
    }
    a_failure_is_kept_to_oneself Files
        "A remembered failure is known in its own process alone."
        => "distributed::a_failure_is_told_to_others" {
        "load.rs": "claim.failed(ttl).await;"
            => "if !BUG {\n                        claim.failed(ttl).await;\n                    }";
    }
    every_process_refreshes Files
        "The lease beside a stale entry keeps nobody from refreshing it."
        => "distributed::a_stale_value_is_served_and_refreshed_once" {
        "claim.rs": "if !self.put(inner, &self.beside).await? {"
            => "if !self.put(inner, &self.beside).await? && !BUG {";
    }
    a_stale_value_is_waited_for HangingFiles
        "Within the grace, callers wait for the fresh value."
        => "distributed::a_stale_value_is_served_and_refreshed_once" {
        "stale.rs": "Ok(value) if serves => Ok(Found::Stale(value)),"
            => "Ok(value) if serves && !BUG => Ok(Found::Stale(value)),";
    }
    a_deletion_gives_what_it_read Files
        "A deletion gives what it read, though another value was deleted."
        => "distributed::a_deletion_gives_what_it_deleted" {
        "change.rs": "if self.inner.coordination.is_none() {\n            let read"
            => "if BUG || self.inner.coordination.is_none() {\n            let read";
    }
    a_change_of_expiry_looks_once Files
        "A change of expiry sets what it read, whatever is there by then."
        => "distributed::a_change_of_expiry_undoes_nothing" {
        "change.rs": "if self.inner.coordination.is_none() {\n            return Ok((self.read()"
            => "if BUG || self.inner.coordination.is_none() {\n            return Ok((self.read()";
    }
    a_clearing_takes_the_loads_of_others Files
        "A clearing that keeps what is pending removes the markers of other processes."
        => "distributed::a_clearing_may_keep_the_loads_of_all" {
        "write.rs": "None if !include_pending && inner.coordination.is_some() => {"
            => "None if !include_pending && !BUG && inner.coordination.is_some() => {";
    }

    } };
}
__cache_bugs! { [table] }
