//! A map that says what a store must answer, and random calls to compare the two.

use std::collections::{BTreeMap, BTreeSet};

use larder_core::Expiry;

use crate::random::Random;
use crate::trial::LONG;

/// The namespaces of a sequence; the first one is where it stands.
pub(crate) const PATHS: [&[&str]; 5] = [&[], &["a"], &["a", "b"], &["ab"], &["a:b"]];
/// The keys of a sequence.
pub(crate) const KEYS: [&str; 8] = ["", "k", "K", "k/x", "b:k", "é", "k\0", "n"];
/// The prefixes that are listed and deleted.
pub(crate) const PREFIXES: [&str; 5] = ["", "k", "k/", "b", "zz"];

/// One call of a sequence. Namespaces and keys are places in the tables above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Get {
        at: usize,
        key: usize,
        renew: Option<Life>,
    },
    Look {
        at: usize,
        key: usize,
    },
    Set {
        at: usize,
        key: usize,
        value: String,
        life: Life,
        when: When,
    },
    Delete {
        at: usize,
        key: usize,
        when: When,
    },
    UpdateExpiry {
        at: usize,
        key: usize,
        life: Life,
    },
    Increment {
        at: usize,
        key: usize,
        by: i64,
    },
    GetMany {
        at: usize,
        keys: Vec<usize>,
    },
    SetMany {
        at: usize,
        items: Vec<(usize, String, Life)>,
    },
    DeleteMany {
        at: usize,
        keys: Vec<usize>,
    },
    DeleteAll {
        at: usize,
    },
    DeletePrefix {
        at: usize,
        prefix: usize,
    },
    Purge {
        at: usize,
    },
    List {
        at: usize,
        prefix: usize,
        limit: usize,
    },
    Children {
        at: usize,
        limit: usize,
    },
    /// So many ticks pass.
    Pass(u32),
    /// A key is set to live for one tick, which passes.
    Lapse {
        at: usize,
        key: usize,
    },
    Reopen,
}

/// How long a value lives, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Never,
    Zero,
    Ticks(u32),
    Long,
    Keep,
}

/// The condition of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Any,
    Absent,
    Present,
    /// The version of the value that is there.
    Current,
    /// The version of a value that was there before.
    Earlier,
}

/// What a sequence may contain.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
pub(crate) struct Menu {
    pub(crate) namespaces: bool,
    pub(crate) list: bool,
    pub(crate) conditions: bool,
    pub(crate) renew: bool,
    pub(crate) purge: bool,
    /// Time passes at will, and to the nanosecond.
    pub(crate) exact_time: bool,
    pub(crate) reopen: bool,
}

impl Menu {
    pub(crate) fn sequence(self, random: &mut Random, len: usize) -> Vec<Op> {
        (0..len).map(|index| self.op(random, index)).collect()
    }

    fn op(self, random: &mut Random, index: usize) -> Op {
        let at = if self.namespaces { random.below(PATHS.len()) } else { 0 };
        let key = random.below(KEYS.len());
        match random.below(40) {
            0..6 => {
                let renew = (self.renew && random.once_in(2)).then(|| match self.life(random) {
                    Life::Never | Life::Keep => Life::Long,
                    life => life,
                });
                Op::Get { at, key, renew }
            }
            9..19 => {
                let value = match random.below(8) {
                    0 => String::new(),
                    1 | 2 => index.to_string(),
                    _ => format!("v{index}"),
                };
                Op::Set { at, key, value, life: self.life(random), when: self.when(random) }
            }
            19..22 => Op::Delete { at, key, when: self.when(random) },
            22..24 if self.renew => Op::UpdateExpiry { at, key, life: self.life(random) },
            24 if self.conditions => {
                Op::Increment { at, key, by: i64::try_from(random.below(9)).unwrap_or(0) - 4 }
            }
            25 => Op::GetMany { at, keys: some_keys(random) },
            26 => {
                let items = some_keys(random).into_iter().enumerate();
                let items = items
                    .map(|(place, key)| (key, format!("v{index}.{place}"), self.life(random)))
                    .collect();
                Op::SetMany { at, items }
            }
            27 => Op::DeleteMany { at, keys: some_keys(random) },
            28 => Op::DeleteAll { at },
            29 if self.list => Op::DeletePrefix { at, prefix: random.below(PREFIXES.len()) },
            30 if self.purge => Op::Purge { at },
            31..33 if self.list => {
                let prefix = random.below(PREFIXES.len());
                Op::List { at, prefix, limit: *random.pick(&[1, 2, 3, 100]) }
            }
            33 if self.list && self.namespaces => {
                Op::Children { at, limit: *random.pick(&[1, 2, 100]) }
            }
            34..38 if self.exact_time => Op::Pass(u32::try_from(random.below(3) + 1).unwrap_or(1)),
            34 if random.once_in(4) => Op::Lapse { at, key },
            38 if self.reopen => Op::Reopen,
            _ => Op::Look { at, key },
        }
    }

    fn life(self, random: &mut Random) -> Life {
        match random.below(8) {
            0..3 => Life::Never,
            3 => Life::Zero,
            4 => Life::Keep,
            5..7 if self.exact_time => Life::Ticks(u32::try_from(random.below(4) + 1).unwrap_or(1)),
            _ => Life::Long,
        }
    }

    fn when(self, random: &mut Random) -> When {
        if !self.conditions || random.once_in(2) {
            return When::Any;
        }
        *random.pick(&[When::Absent, When::Present, When::Current, When::Earlier])
    }
}

fn some_keys(random: &mut Random) -> Vec<usize> {
    (0..random.below(6)).map(|_| random.below(KEYS.len())).collect()
}

/// What a store of [`PATHS`] and [`KEYS`] must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    records: BTreeMap<(usize, usize), Record>,
    /// The keys that were set since the last purge. Where one is gone, in whatever way, there may be
    /// something left for a purge to count.
    touched: BTreeSet<(usize, usize)>,
    now: u64,
}

#[derive(Debug, Clone)]
struct Record {
    value: String,
    deadline: Option<u64>,
}

/// How long a life is that no sequence lives to see, in ticks.
const LONG_TICKS: u64 = 1 << 40;

/// What remains of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Never,
    Ticks(u64),
    /// About as long as [`LONG`], counted from so many ticks ago.
    Long {
        ago: u64,
    },
}

impl Life {
    pub(crate) fn expiry(self, tick: std::time::Duration) -> Expiry {
        match self {
            Self::Never => Expiry::Never,
            Self::Zero => Expiry::After(std::time::Duration::ZERO),
            Self::Ticks(ticks) => Expiry::After(tick * ticks),
            Self::Long => Expiry::After(LONG),
            Self::Keep => Expiry::Keep,
        }
    }
}

impl Model {
    pub(crate) fn pass(&mut self, ticks: u32) {
        self.now += u64::from(ticks);
    }

    fn live(&self, at: usize, key: usize) -> Option<&Record> {
        let record = self.records.get(&(at, key))?;
        record.deadline.is_none_or(|deadline| self.now < deadline).then_some(record)
    }

    pub(crate) fn value(&self, at: usize, key: usize) -> Option<&str> {
        self.live(at, key).map(|record| record.value.as_str())
    }

    pub(crate) fn left(&self, at: usize, key: usize) -> Option<Left> {
        self.live(at, key).map(|record| match record.deadline {
            None => Left::Never,
            Some(deadline) if deadline >= LONG_TICKS => {
                Left::Long { ago: self.now - (deadline - LONG_TICKS) }
            }
            Some(deadline) => Left::Ticks(deadline - self.now),
        })
    }

    #[allow(clippy::option_option, reason = "no value at all, or one without a deadline")]
    fn deadline(&self, life: Life, kept: Option<u64>) -> Option<Option<u64>> {
        match life {
            Life::Zero => None,
            Life::Never => Some(None),
            Life::Ticks(ticks) => Some(Some(self.now + u64::from(ticks))),
            Life::Long => Some(Some(self.now + LONG_TICKS)),
            Life::Keep => Some(kept),
        }
    }

    /// A get that renews, and what it gives.
    pub(crate) fn renew(&mut self, at: usize, key: usize, life: Life) -> Option<String> {
        let record = self.live(at, key)?.clone();
        if record.deadline.is_some() {
            self.put(at, key, record.value.clone(), life);
        }
        Some(record.value)
    }

    /// Sets a key, whatever is there.
    pub(crate) fn put(&mut self, at: usize, key: usize, value: String, life: Life) {
        let kept = self.live(at, key).and_then(|record| record.deadline);
        self.touched.insert((at, key));
        match self.deadline(life, kept) {
            None => drop(self.records.remove(&(at, key))),
            Some(deadline) => drop(self.records.insert((at, key), Record { value, deadline })),
        }
    }

    /// Changes the expiry of a live key, and tells whether it is one.
    pub(crate) fn update_expiry(&mut self, at: usize, key: usize, life: Life) -> bool {
        let Some(value) = self.value(at, key).map(str::to_owned) else {
            return false;
        };
        self.put(at, key, value, life);
        true
    }

    /// Deletes a key, and tells whether it was live.
    pub(crate) fn delete(&mut self, at: usize, key: usize) -> bool {
        let live = self.live(at, key).is_some();
        self.records.remove(&(at, key));
        live
    }

    /// Deletes a namespace and all below it.
    pub(crate) fn delete_all(&mut self, at: usize) {
        self.records.retain(|(path, _), _| !PATHS[*path].starts_with(PATHS[at]));
    }

    /// Deletes by prefix, and tells how many were live.
    pub(crate) fn delete_prefix(&mut self, at: usize, prefix: &str) -> u64 {
        let hit: Vec<usize> =
            (0..KEYS.len()).filter(|key| KEYS[*key].starts_with(prefix)).collect();
        hit.into_iter().filter(|key| self.delete(at, *key)).count() as u64
    }

    /// Removes the dead of a namespace and all below it, and tells how many a purge may count.
    pub(crate) fn purge(&mut self, at: usize) -> u64 {
        let inside: Vec<_> = self
            .touched
            .iter()
            .copied()
            .filter(|(path, key)| {
                PATHS[*path].starts_with(PATHS[at]) && self.live(*path, *key).is_none()
            })
            .collect();
        for place in &inside {
            self.touched.remove(place);
            self.records.remove(place);
        }
        inside.len() as u64
    }

    /// The live keys of a namespace that begin with `prefix`.
    pub(crate) fn list(&self, at: usize, prefix: &str) -> Vec<&'static str> {
        let live = (0..KEYS.len()).filter(|key| self.live(at, *key).is_some());
        let mut keys: Vec<_> =
            live.map(|key| KEYS[key]).filter(|key| key.starts_with(prefix)).collect();
        keys.sort_unstable();
        keys
    }

    /// The direct child namespaces that hold a live key at any depth.
    pub(crate) fn children(&self, at: usize) -> Vec<&'static str> {
        let here = PATHS[at];
        let mut names: Vec<&str> = self
            .records
            .keys()
            .filter(|(path, key)| self.live(*path, *key).is_some())
            .filter_map(|(path, _)| {
                PATHS[*path].strip_prefix(here).and_then(|rest| rest.first().copied())
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_keeps_the_rules() {
        let mut model = Model::default();
        model.put(1, 1, "v".into(), Life::Ticks(2));
        model.put(2, 1, "w".into(), Life::Never);
        assert_eq!(model.children(0), ["a"]);
        assert_eq!(model.left(1, 1), Some(Left::Ticks(2)));
        model.pass(1);
        assert_eq!(model.value(1, 1), Some("v"));
        model.pass(1);
        assert_eq!(model.value(1, 1), None);
        assert!(!model.update_expiry(1, 1, Life::Never));
        assert_eq!(model.renew(1, 1, Life::Long), None);
        assert_eq!((model.purge(1), model.purge(1)), (1, 0));
        assert_eq!(model.renew(2, 1, Life::Zero).as_deref(), Some("w"));
        assert_eq!(model.left(2, 1), Some(Left::Never));
        model.delete_all(1);
        assert!(model.list(2, "").is_empty() && model.children(0).is_empty());
    }

    #[test]
    fn sequences_are_the_same_for_the_same_seed() {
        let menu = Menu {
            namespaces: true,
            list: true,
            conditions: true,
            renew: true,
            purge: true,
            exact_time: true,
            reopen: true,
        };
        let make = |seed| menu.sequence(&mut Random::new(seed), 50);
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}
