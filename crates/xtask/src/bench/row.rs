//! What the bench crate prints.

use serde_json::Value;

/// An area and its rows.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) command: String,
    pub(crate) commit: String,
    pub(crate) machine: String,
    pub(crate) rows: Vec<Row>,
}

/// A piece of work, and how everybody fared.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) unit: Unit,
    pub(crate) entries: Vec<Entry>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Nanoseconds,
    Bytes,
    Percent,
}

/// One contender.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) ours: bool,
    pub(crate) figure: f64,
    pub(crate) ratio: Option<[f64; 3]>,
    /// By how much the first contender's figure is larger.
    pub(crate) more: Option<[f64; 3]>,
}

#[derive(Debug)]
pub(crate) enum Target {
    Times { than: String, at_least: f64 },
    AtMost(f64),
    Above { than: String, at_most: f64 },
}

impl Area {
    pub(crate) fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            name: text("area")?,
            about: text("about")?,
            command: text("command")?,
            commit: text("commit")?,
            machine: text("machine")?,
            rows: value["rows"].as_array()?.iter().map(Row::read).collect::<Option<_>>()?,
        })
    }
}

impl Row {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            work: value["work"].as_str()?.to_owned(),
            unit: match value["unit"].as_str()? {
                "per_second" => Unit::PerSecond,
                "nanoseconds" => Unit::Nanoseconds,
                "bytes" => Unit::Bytes,
                "percent" => Unit::Percent,
                _ => return None,
            },
            entries: value["entries"].as_array()?.iter().map(Entry::read).collect::<Option<_>>()?,
            targets: value["targets"]
                .as_array()?
                .iter()
                .map(Target::read)
                .collect::<Option<_>>()?,
        })
    }

    /// By how much the first contender's figure is above another's.
    pub(crate) fn above(&self, than: &str) -> Option<[f64; 3]> {
        self.entries.iter().find(|entry| entry.name == than)?.more
    }

    /// Whether a target is reached.
    pub(crate) fn reaches(&self, target: &Target) -> bool {
        let ours = self.entries.first().map_or(f64::NAN, |entry| entry.figure);
        let other = |name: &str| self.entries.iter().find(|entry| entry.name == name);
        match target {
            Target::Times { than, at_least } => other(than)
                .and_then(|entry| entry.ratio)
                .is_some_and(|[_, median, _]| median >= *at_least),
            Target::AtMost(most) => ours <= *most,
            Target::Above { than, at_most } => {
                self.above(than).is_some_and(|[_, median, _]| median <= *at_most)
            }
        }
    }
}

impl Entry {
    fn read(value: &Value) -> Option<Self> {
        let spread = |value: &Value| {
            Some([value["low"].as_f64()?, value["median"].as_f64()?, value["high"].as_f64()?])
        };
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            ours: value["ours"].as_bool()?,
            figure: spread(&value["figures"])?[1],
            ratio: spread(&value["ratio"]),
            more: spread(&value["more"]),
        })
    }
}

impl Target {
    fn read(value: &Value) -> Option<Self> {
        let than = |value: &Value| value["than"].as_str().map(str::to_owned);
        if let Some(times) = value.get("times") {
            return Some(Self::Times { than: than(times)?, at_least: times["at_least"].as_f64()? });
        }
        if let Some(most) = value.get("at_most") {
            return most.as_f64().map(Self::AtMost);
        }
        let above = value.get("above")?;
        Some(Self::Above { than: than(above)?, at_most: above["at_most"].as_f64()? })
    }
}

impl Unit {
    /// A figure as people read it.
    pub(crate) fn show(self, figure: f64) -> String {
        match self {
            Self::PerSecond if figure >= 1e6 => format!("{:.2} M/s", figure / 1e6),
            Self::PerSecond if figure >= 1e3 => format!("{:.1} k/s", figure / 1e3),
            Self::PerSecond => format!("{figure:.0} /s"),
            Self::Nanoseconds if figure.abs() >= 1e6 => format!("{:.2} ms", figure / 1e6),
            Self::Nanoseconds if figure.abs() >= 1e3 => format!("{:.2} µs", figure / 1e3),
            Self::Nanoseconds => format!("{figure:.0} ns"),
            Self::Bytes => format!("{figure:.0} B"),
            Self::Percent => format!("{figure:.1} %"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const AREA: &str = r#"{"area": "memory", "about": "Things", "command": "c", "commit": "d",
        "machine": "m", "rows": [{"work": "get", "unit": "per_second", "entries": [
        {"name": "Larder", "ours": true, "figures": {"low": 1e6, "median": 2e6, "high": 3e6}, "ratio": null},
        {"name": "peer <1>", "ours": false, "figures": {"low": 1e6, "median": 1e6, "high": 1e6},
         "ratio": {"low": 1.5, "median": 2.0, "high": 2.5}, "more": {"low": 8e5, "median": 9e5, "high": 2e6}}],
        "targets": [{"times": {"than": "peer <1>", "at_least": 1.5}}, {"at_most": 1.0}]}]}"#;

    #[test]
    fn targets_are_looked_at() {
        let area = Area::read(AREA).unwrap();
        let row = &area.rows[0];
        assert!(row.reaches(&row.targets[0]));
        assert!(!row.reaches(&row.targets[1]));
        let above = Target::Above { than: "peer <1>".to_owned(), at_most: 1e6 };
        assert!(row.reaches(&above));
        let above = Target::Above { than: "peer <1>".to_owned(), at_most: 8e5 };
        assert!(!row.reaches(&above));
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!(Unit::PerSecond.show(2_340_000.0), "2.34 M/s");
        assert_eq!(Unit::Nanoseconds.show(1_500.0), "1.50 µs");
        assert_eq!(Unit::Bytes.show(174.4), "174 B");
    }
}
