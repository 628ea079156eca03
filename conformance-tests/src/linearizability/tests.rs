use super::*;

const EXACT: Tolerance = Tolerance { granule: 0, skew: 0 };

fn at(began: u64, ended: u64, call: Call, answer: Answer) -> Event {
    Event { caller: 0, call, answer, began, ended, clock: (0, 0) }
}

fn timed(mut event: Event, before: u64, after: u64) -> Event {
    event.clock = (before, after);
    event
}

fn set(value: u32) -> Call {
    Call::Set { value, life: Life::Never, condition: When::Any }
}

fn mortal(value: u32, nanos: u64) -> Call {
    Call::Set { value, life: Life::After(nanos), condition: When::Any }
}

fn create(value: u32) -> Call {
    Call::Set { value, life: Life::Never, condition: When::Absent }
}

fn found(value: u32) -> Answer {
    Answer::Found(Some(value))
}

const YES: Answer = Answer::Done(true);
const NO: Answer = Answer::Done(false);
const NOTHING: Answer = Answer::Found(None);

fn check(history: &[Event]) -> bool {
    is_linearizable(history, EXACT).unwrap()
}

#[test]
fn one_call_after_the_other() {
    assert!(check(&[]));
    assert!(check(&[
        at(0, 1, Call::Get, NOTHING),
        at(2, 3, set(1), YES),
        at(4, 5, Call::Get, found(1)),
        at(6, 7, Call::Delete(When::Any), YES),
        at(8, 9, Call::Delete(When::Any), NO),
        at(10, 11, Call::Exists, NO),
    ]));
}

#[test]
fn a_read_that_misses_an_ended_write() {
    assert!(!check(&[at(0, 1, set(1), YES), at(2, 3, Call::Get, NOTHING)]));
    assert!(!check(
        &[at(0, 1, set(1), YES), at(2, 3, set(2), YES), at(4, 5, Call::Get, found(1)),]
    ));
}

#[test]
fn overlapping_calls_come_in_either_order() {
    for answer in [NOTHING, found(1)] {
        assert!(check(&[at(0, 5, set(1), YES), at(1, 2, Call::Get, answer)]));
    }
    // But not in both: once seen, it stays seen.
    assert!(!check(&[
        at(0, 9, set(1), YES),
        at(1, 2, Call::Get, found(1)),
        at(3, 4, Call::Get, NOTHING),
    ]));
}

#[test]
fn a_read_of_a_value_that_nobody_wrote() {
    assert!(!check(&[at(0, 1, set(1), YES), at(2, 3, Call::Get, found(7))]));
}

#[test]
fn two_creators_cannot_both_win() {
    let race = |first, second| [at(0, 5, create(1), first), at(1, 4, create(2), second)];
    assert!(check(&race(YES, NO)));
    assert!(check(&race(NO, YES)));
    assert!(!check(&race(YES, YES)));
    assert!(!check(&race(NO, NO)));
}

#[test]
fn a_lost_update() {
    let matching =
        |value, old| Call::Set { value, life: Life::Never, condition: When::Matches(old) };
    let race = |second| {
        [at(0, 1, set(1), YES), at(2, 9, matching(2, 1), YES), at(3, 8, matching(3, 1), second)]
    };
    assert!(check(&race(NO)));
    assert!(!check(&race(YES)));
}

#[test]
fn two_deleters_cannot_both_win() {
    let delete = |began, ended, answer| at(began, ended, Call::Delete(When::Any), answer);
    assert!(!check(&[at(0, 1, set(1), YES), delete(2, 9, YES), delete(3, 8, YES)]));
    assert!(check(&[at(0, 1, set(1), YES), delete(2, 9, YES), delete(3, 8, NO)]));
}

#[test]
fn a_dropped_call_may_happen_later_or_never() {
    let dropped = at(0, 1, set(1), Answer::Unknown);
    assert!(check(&[dropped.clone(), at(2, 3, Call::Get, NOTHING)]));
    assert!(check(
        &[dropped.clone(), at(2, 3, Call::Get, NOTHING), at(4, 5, Call::Get, found(1)),]
    ));
    // Once only.
    assert!(!check(&[
        dropped,
        at(2, 3, Call::Get, found(1)),
        at(4, 5, set(2), YES),
        at(6, 7, Call::Get, found(2)),
        at(8, 9, Call::Get, found(1)),
    ]));
}

#[test]
fn a_key_dies_once() {
    let dies = |first, second| {
        [
            timed(at(0, 1, mortal(1, 10), YES), 0, 0),
            timed(at(2, 3, Call::Get, first), 9, 9),
            timed(at(4, 5, Call::Get, second), 10, 10),
        ]
    };
    assert!(check(&dies(found(1), NOTHING)));
    assert!(!check(&dies(NOTHING, NOTHING)), "it died early");
    assert!(!check(&dies(found(1), found(1))), "it died late");
    // While time moves during the call, both are possible, but it cannot come back.
    let moving = |first, second| {
        [
            timed(at(0, 1, mortal(1, 10), YES), 0, 5),
            timed(at(2, 3, Call::Get, first), 12, 12),
            timed(at(4, 5, Call::Get, second), 13, 13),
        ]
    };
    assert!(check(&moving(found(1), NOTHING)));
    assert!(check(&moving(found(1), found(1))));
    assert!(check(&moving(NOTHING, NOTHING)));
    assert!(!check(&moving(NOTHING, found(1))));
}

#[test]
fn a_renewal_revives_nothing() {
    let renewed = |answer, later| {
        [
            timed(at(0, 1, mortal(1, 10), YES), 0, 0),
            timed(at(2, 3, Call::Renew(100), answer), 10, 10),
            timed(at(4, 5, Call::Get, later), 10, 10),
        ]
    };
    assert!(check(&renewed(NOTHING, NOTHING)));
    assert!(!check(&renewed(found(1), found(1))));
    assert!(!check(&renewed(NOTHING, found(1))));
}

#[test]
fn a_renewal_does_not_undo_a_set() {
    let history = [
        at(0, 1, mortal(1, 10), YES),
        at(2, 9, Call::Renew(100), found(1)),
        at(3, 4, set(2), YES),
        at(10, 11, Call::Get, found(1)),
    ];
    assert!(!check(&history));
}

#[test]
fn rounding_and_skew_are_tolerated() {
    let late =
        [timed(at(0, 1, mortal(1, 10), YES), 0, 0), timed(at(2, 3, Call::Get, found(1)), 12, 12)];
    assert!(!check(&late));
    let granule = Tolerance { granule: 5, skew: 0 };
    assert_eq!(is_linearizable(&late, granule), Some(true));
    let skew = Tolerance { granule: 0, skew: 2 };
    assert_eq!(is_linearizable(&late, skew), Some(true));
}

#[test]
fn expiry_is_kept_and_changed() {
    let keep = Call::Set { value: 2, life: Life::Keep, condition: When::Present };
    let history = |call: Call, last| {
        [
            timed(at(0, 1, mortal(1, 10), YES), 0, 0),
            timed(at(2, 3, call, YES), 5, 5),
            timed(at(4, 5, Call::Exists, last), 10, 10),
        ]
    };
    assert!(check(&history(keep.clone(), NO)));
    assert!(!check(&history(keep, YES)));
    assert!(check(&history(Call::UpdateExpiry(Life::Never), YES)));
    assert!(!check(&history(Call::UpdateExpiry(Life::Never), NO)));
    assert!(check(&history(Call::UpdateExpiry(Life::After(0)), NO)));
    assert!(check(&history(Call::UpdateExpiry(Life::Keep), NO)));
}

#[test]
fn the_shortest_beginning_is_shown() {
    let history = [
        at(0, 1, Call::Get, NOTHING),
        at(2, 3, set(1), YES),
        at(4, 5, Call::Get, found(1)),
        at(6, 7, set(2), YES),
        at(8, 9, Call::Get, found(1)),
        at(10, 11, set(3), YES),
        at(12, 13, Call::Get, found(2)),
    ];
    let short = shortest(&history, EXACT);
    let shown: Vec<u64> = short.iter().map(|event| event.began).collect();
    assert_eq!(shown, [2, 6, 8]);
}
