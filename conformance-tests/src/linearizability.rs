//! Tells whether what several callers saw of one key could have happened one call after the other.
//!
//! The search is that of Wing and Gong with Lowe's memory of the states already tried: of the calls
//! that may come next (none began after another one had ended), one is applied to the model of the
//! key, and so on until all are used up. Time is part of the model: each call has a window of the
//! clock in which it read the time, each deadline lies in an interval, and a key may be seen live or
//! gone wherever both are possible.

use std::collections::HashSet;
use std::fmt;

use crate::recorder::show_expiry;
use larder_core::Expiry;

/// The most calls of one history.
pub(crate) const MOST_CALLS: usize = 128;
/// How many states are tried before a history counts as undecided.
const MOST_STATES: usize = 2_000_000;

/// What a call asked for. Values are numbers, no two of them set to a key being the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Exists,
    /// A get that renews for so many nanoseconds.
    Renew(u64),
    Set {
        value: u32,
        life: Life,
        condition: When,
    },
    Delete(When),
    UpdateExpiry(Life),
}

/// When a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Never,
    /// After so many nanoseconds.
    After(u64),
    Keep,
}

/// A condition, the version being that of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Any,
    Absent,
    Present,
    Matches(u32),
}

/// What a call answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Found(Option<u32>),
    Done(bool),
    /// The call was dropped, or its outcome cannot be known: it happened later, or not at all.
    Unknown,
}

/// A call and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) caller: usize,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
    /// Places in the order of all beginnings and ends.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// The clock before and after the call, in nanoseconds.
    pub(crate) clock: (u64, u64),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (began, ended) = (self.began, self.ended);
        write!(f, "caller {} at {began}", self.caller)?;
        if self.answer != Answer::Unknown {
            write!(f, "–{ended}")?;
        }
        write!(f, ": {} -> ", self.call)?;
        match self.answer {
            Answer::Found(Some(value)) => write!(f, "value {value}"),
            Answer::Found(None) => f.write_str("nothing"),
            Answer::Done(done) => write!(f, "{done}"),
            Answer::Unknown => f.write_str("(dropped)"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = std::time::Duration::from_nanos;
        match self {
            Self::Get => f.write_str("get"),
            Self::Exists => f.write_str("exists"),
            Self::Renew(life) => write!(f, "get, renewed for {:?}", nanos(*life)),
            Self::Set { value, life, condition } => {
                write!(f, "set value {value}")?;
                if *life != Life::Never {
                    write!(f, ", {}", show_expiry(life.expiry()))?;
                }
                write!(f, "{condition}")
            }
            Self::Delete(condition) => write!(f, "delete{condition}"),
            Self::UpdateExpiry(life) => write!(f, "update_expiry: {}", show_expiry(life.expiry())),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Absent => f.write_str(", if absent"),
            Self::Present => f.write_str(", if present"),
            Self::Matches(value) => write!(f, ", if it is value {value}"),
        }
    }
}

impl Life {
    pub(crate) fn expiry(self) -> Expiry {
        match self {
            Self::Never => Expiry::Never,
            Self::After(nanos) => Expiry::After(std::time::Duration::from_nanos(nanos)),
            Self::Keep => Expiry::Keep,
        }
    }
}

/// A live value, and the interval in which its deadline lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Live {
    value: u32,
    deadline: Option<(u64, u64)>,
}

type State = Option<Live>;

/// How far the answers may be off because of the store's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    /// The granule to which deadlines are rounded up, in nanoseconds.
    pub(crate) granule: u64,
    /// By how much the store's clock may differ from the one that was read.
    pub(crate) skew: u64,
}

/// Tells whether the history of a key that was missing in the beginning is linearizable; `None` when
/// that would take too long to find out.
pub(crate) fn is_linearizable(history: &[Event], tolerance: Tolerance) -> Option<bool> {
    assert!(history.len() <= MOST_CALLS, "the histories that are made are short enough");
    let mut search =
        Search { history, tolerance, tried: HashSet::new(), certain: certain(history) };
    search.from(0, None)
}

/// The shortest beginning of a history that is not linearizable, without the reads that do not
/// matter.
pub(crate) fn shortest(history: &[Event], tolerance: Tolerance) -> Vec<Event> {
    let mut ends: Vec<u64> = history.iter().filter(|e| e.is_certain()).map(|e| e.ended).collect();
    ends.sort_unstable();
    let mut short = history.to_vec();
    for end in ends {
        let beginning = until(history, end);
        if is_linearizable(&beginning, tolerance) == Some(false) {
            short = beginning;
            break;
        }
    }
    let mut index = 0;
    while index < short.len() {
        let mut without = short.clone();
        let removed = without.remove(index);
        let matters = !matches!(removed.call, Call::Get | Call::Exists)
            && removed.answer != Answer::Done(false)
            && removed.answer != Answer::Unknown;
        if !matters && is_linearizable(&without, tolerance) == Some(false) {
            short = without;
        } else {
            index += 1;
        }
    }
    short
}

/// What was known of a history at one moment: calls still in progress have no answer yet.
fn until(history: &[Event], end: u64) -> Vec<Event> {
    let mut known: Vec<Event> = history.iter().filter(|e| e.began <= end).cloned().collect();
    for event in &mut known {
        if event.ended > end {
            event.answer = Answer::Unknown;
            event.clock.1 = u64::MAX / 2;
        }
    }
    known
}

impl Event {
    fn is_certain(&self) -> bool {
        self.answer != Answer::Unknown
    }
}

fn certain(history: &[Event]) -> u128 {
    let bits = history.iter().enumerate().filter(|(_, event)| event.is_certain());
    bits.fold(0, |bits, (index, _)| bits | 1 << index)
}

struct Search<'h> {
    history: &'h [Event],
    tolerance: Tolerance,
    tried: HashSet<(u128, State)>,
    /// The calls that surely happened.
    certain: u128,
}

impl Search<'_> {
    fn from(&mut self, used: u128, state: State) -> Option<bool> {
        if used & self.certain == self.certain {
            return Some(true);
        }
        if !self.tried.insert((used, state)) {
            return Some(false);
        }
        if self.tried.len() > MOST_STATES {
            return None;
        }
        let history = self.history;
        let left = || history.iter().enumerate().filter(|(index, _)| used & (1 << index) == 0);
        // Whatever began after another call had ended cannot come before it.
        let first_end = left()
            .filter(|(_, event)| event.is_certain())
            .map(|(_, event)| event.ended)
            .min()
            .unwrap_or(u64::MAX);
        for (index, event) in left().filter(|(_, event)| event.began <= first_end) {
            for next in self.after(state, event) {
                match self.from(used | 1 << index, next) {
                    Some(false) => {}
                    decided => return decided,
                }
            }
        }
        Some(false)
    }

    /// The states in which the key may be after a call that answered as it did; none where it cannot
    /// have.
    fn after(&self, state: State, event: &Event) -> Vec<State> {
        let (before, after) = self.window(event);
        let mut next = Vec::new();
        match state {
            None => next.extend(self.step(None, event)),
            Some(live @ Live { deadline: None, .. }) => next.extend(self.step(Some(live), event)),
            Some(Live { value, deadline: Some((from, to)) }) => {
                if before < to {
                    // Seen live: the deadline lies after the time that was read.
                    let deadline = Some((from.max(before + 1), to));
                    next.extend(self.step(Some(Live { value, deadline }), event));
                }
                if after >= from {
                    next.extend(self.step(None, event));
                }
            }
        }
        next
    }

    /// The clock readings that the call may have made.
    fn window(&self, event: &Event) -> (u64, u64) {
        let (before, after) = event.clock;
        let after = if event.is_certain() { after } else { u64::MAX / 2 };
        (before.saturating_sub(self.tolerance.skew), after.saturating_add(self.tolerance.skew))
    }

    /// The state after the call, given that it saw the key as it is here; `None` when its answer is
    /// another one.
    fn step(&self, seen: State, event: &Event) -> Option<State> {
        let value = seen.map(|live| live.value);
        let (answer, next) = match &event.call {
            Call::Get => (Answer::Found(value), seen),
            Call::Exists => (Answer::Done(value.is_some()), seen),
            Call::Renew(nanos) => {
                let next = seen.and_then(|live| match live.deadline {
                    None => Some(live),
                    Some(_) => self.live(live.value, Life::After(*nanos), seen, event),
                });
                (Answer::Found(value), next)
            }
            Call::Set { value, life, condition } => {
                let holds = condition.holds(seen);
                let next = if holds { self.live(*value, *life, seen, event) } else { seen };
                (Answer::Done(holds), next)
            }
            Call::Delete(condition) => {
                let deleted = seen.is_some() && condition.holds(seen);
                (Answer::Done(deleted), if deleted { None } else { seen })
            }
            Call::UpdateExpiry(life) => {
                let next = seen.and_then(|live| self.live(live.value, *life, seen, event));
                (Answer::Done(seen.is_some()), next)
            }
        };
        (event.answer == answer || event.answer == Answer::Unknown).then_some(next)
    }

    fn live(&self, value: u32, life: Life, seen: State, event: &Event) -> State {
        let (before, after) = self.window(event);
        let deadline = match life {
            Life::Never => None,
            Life::After(0) => return None,
            Life::After(nanos) => Some((
                before.saturating_add(nanos),
                after.saturating_add(nanos).saturating_add(self.tolerance.granule),
            )),
            Life::Keep => seen.and_then(|live| live.deadline),
        };
        Some(Live { value, deadline })
    }
}

impl When {
    fn holds(self, seen: State) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => seen.is_none(),
            Self::Present => seen.is_some(),
            Self::Matches(value) => seen.is_some_and(|live| live.value == value),
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(!check(&[
            at(0, 1, set(1), YES),
            at(2, 3, set(2), YES),
            at(4, 5, Call::Get, found(1)),
        ]));
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
        assert!(check(&[
            dropped.clone(),
            at(2, 3, Call::Get, NOTHING),
            at(4, 5, Call::Get, found(1)),
        ]));
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
        let late = [
            timed(at(0, 1, mortal(1, 10), YES), 0, 0),
            timed(at(2, 3, Call::Get, found(1)), 12, 12),
        ];
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
}
