//! Tells whether what several callers saw of one key could have happened one call after the other.
//!
//! The search is that of Wing and Gong with Lowe's memory of the states already tried: of the calls
//! that may come next (none began after another one had ended), one is applied to the model of the
//! key, and so on until all are used up. Time is part of the model: each call has a window of the
//! clock in which it read the time, each deadline lies in an interval, and a key may be seen live or
//! gone wherever both are possible.

mod history;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

pub(crate) use history::{Answer, Call, Event, Life, When};

/// The most calls of one history.
pub(crate) const MOST_CALLS: usize = 128;
/// How many states are tried before a history counts as undecided.
const MOST_STATES: usize = 2_000_000;

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
