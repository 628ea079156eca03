use std::pin::Pin;

use serde::Serialize;

/// What the figures of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Operations a second: more is better.
    PerSecond,
    /// Nanoseconds: less is better.
    Nanoseconds,
    /// Bytes: less is better.
    Bytes,
    /// Of a hundred lookups, how many hit: more is better.
    Percent,
}

impl Unit {
    fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::PerSecond | Self::Percent => ours / theirs,
            Self::Nanoseconds | Self::Bytes => theirs / ours,
        }
    }
}

/// A median and the range in which eight of ten samples lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The lower end.
    pub low: f64,
    /// The middle one.
    pub median: f64,
    /// The upper end.
    pub high: f64,
}

impl Spread {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
        Self { low: at(0.1), median: at(0.5), high: at(0.9) }
    }
}

/// One contender's outcome.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Who.
    pub name: String,
    /// Whether it is Larder.
    pub ours: bool,
    /// The figures.
    pub figures: Spread,
    /// How many times as good the first contender was, turn by turn; none for itself.
    pub ratio: Option<Spread>,
    /// By how much the first contender's figure was larger, turn by turn; none for itself.
    pub more: Option<Spread>,
}

/// What is aimed at.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The first contender is to be at least so many times as good as another.
    Times {
        /// The other's name.
        than: String,
        /// How many times as good.
        at_least: f64,
    },
    /// The first contender's figure is to be at most this.
    AtMost(f64),
    /// The first contender's figure is to be at most so much above another's, turn by turn.
    Above {
        /// The other's name.
        than: String,
        /// By how much, in the row's unit.
        at_most: f64,
    },
}

/// One piece of work, and how everybody fared.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The work.
    pub work: String,
    /// What the figures are.
    pub unit: Unit,
    /// The contenders, the measured one first.
    pub entries: Vec<Entry>,
    /// What is aimed at.
    pub targets: Vec<Target>,
}

type Turn<'a> = Box<dyn FnMut() -> Pin<Box<dyn Future<Output = f64> + 'a>> + 'a>;

/// A piece of work and those who will do it, in turns.
pub struct Race<'a> {
    work: String,
    unit: Unit,
    contenders: Vec<(String, bool, Turn<'a>)>,
    targets: Vec<Target>,
}

impl<'a> Race<'a> {
    /// A race without contenders. The first one added is the one that is compared with the others.
    pub fn new(work: impl Into<String>, unit: Unit) -> Self {
        Self { work: work.into(), unit, contenders: Vec::new(), targets: Vec::new() }
    }

    fn add<F: Future<Output = f64> + 'a>(
        mut self,
        name: &str,
        ours: bool,
        mut turn: impl FnMut() -> F + 'a,
    ) -> Self {
        self.contenders.push((name.to_owned(), ours, Box::new(move || Box::pin(turn()))));
        self
    }

    /// Adds Larder; a turn gives its figure.
    #[must_use]
    pub fn ours<F: Future<Output = f64> + 'a>(
        self,
        name: &str,
        turn: impl FnMut() -> F + 'a,
    ) -> Self {
        self.add(name, true, turn)
    }

    /// Adds another one.
    #[must_use]
    pub fn peer<F: Future<Output = f64> + 'a>(
        self,
        name: &str,
        turn: impl FnMut() -> F + 'a,
    ) -> Self {
        self.add(name, false, turn)
    }

    /// Says what is aimed at.
    #[must_use]
    pub fn times(mut self, than: &str, at_least: f64) -> Self {
        self.targets.push(Target::Times { than: than.to_owned(), at_least });
        self
    }

    /// As [`times`](Self::times), for a figure by itself.
    #[must_use]
    pub fn at_most(mut self, figure: f64) -> Self {
        self.targets.push(Target::AtMost(figure));
        self
    }

    /// As [`times`](Self::times), for a difference.
    #[must_use]
    pub fn above(mut self, than: &str, at_most: f64) -> Self {
        self.targets.push(Target::Above { than: than.to_owned(), at_most });
        self
    }

    /// Lets everybody have a turn to warm up and then `rounds` that count, beginning with another
    /// one each time.
    pub async fn run(mut self, rounds: usize) -> Row {
        let count = self.contenders.len();
        let mut samples = vec![Vec::with_capacity(rounds); count];
        for round in 0..=rounds {
            for place in 0..count {
                let who = (round + place) % count;
                let figure = (self.contenders[who].2)().await;
                // With a single round, the first is all there is.
                if round > 0 || rounds == 1 {
                    samples[who].push(figure);
                }
            }
            if rounds == 1 {
                break;
            }
        }
        let first = samples[0].clone();
        let entries = self.contenders.into_iter().zip(samples).enumerate();
        let entries = entries.map(|(index, ((name, ours, _), samples))| {
            let turns = || first.iter().zip(&samples);
            let against = |compare: &dyn Fn((&f64, &f64)) -> f64| {
                (index > 0).then(|| Spread::of(turns().map(compare).collect()))
            };
            let ratio = against(&|(ours, theirs)| self.unit.ratio(*ours, *theirs));
            let more = against(&|(ours, theirs)| ours - theirs);
            Entry { name, ours, figures: Spread::of(samples), ratio, more }
        });
        let row = Row {
            work: self.work,
            unit: self.unit,
            entries: entries.collect(),
            targets: self.targets,
        };
        eprintln!("{}", row.line());
        row
    }
}

impl Row {
    fn line(&self) -> String {
        let entries = self.entries.iter().map(|entry| {
            let ratio =
                entry.ratio.map_or(String::new(), |ratio| format!(" ({:.2}x)", ratio.median));
            format!("{} {:.4e}{ratio}", entry.name, entry.figures.median)
        });
        format!("{}: {}", self.work, entries.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_ratio_tells_how_many_times_as_good_the_first_is() {
        let race = |unit| {
            Race::new("work", unit)
                .ours("a", || async { 2.0 })
                .peer("b", || async { 1.0 })
                .times("b", 1.5)
                .run(3)
        };
        let speed = race(Unit::PerSecond).await;
        assert_eq!(speed.entries[1].ratio.map(|ratio| ratio.median), Some(2.0));
        assert_eq!(speed.entries[1].more.map(|more| more.median), Some(1.0));
        assert!(speed.entries[0].ratio.is_none() && speed.entries[0].more.is_none());
        let took = race(Unit::Nanoseconds).await;
        assert_eq!(took.entries[1].ratio.map(|ratio| ratio.median), Some(0.5));
    }

    #[test]
    fn a_spread_is_that_of_the_middle() {
        let spread = Spread::of((1..=11).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { low: 2.0, median: 6.0, high: 10.0 });
    }
}
