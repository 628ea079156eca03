use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::{Case, Variant, json};

/// What the suite found out about one backend.
#[derive(Debug, Clone)]
pub struct Report {
    backend: String,
    cases: Vec<CaseReport>,
}

/// How one case ended in one position.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CaseReport {
    /// The case.
    pub case: &'static Case,
    /// In which position the store was tried.
    pub variant: Variant,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
}

/// How a case ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// The promise was kept.
    Passed,
    /// The case does not apply; the reason.
    Skipped(String),
    /// The promise was broken, in one or more ways.
    Failed(Vec<Failure>),
}

/// A broken promise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The case that saw it.
    pub case: &'static Case,
    /// In which position the store was tried.
    pub variant: Variant,
    /// What was seen.
    pub seen: String,
    /// The operations that show it.
    pub operations: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, variant, seen, operations } = self;
        writeln!(f, "{} {variant}::{}", case.rules.join(" "), case.name)?;
        writeln!(f, "  promised: {}", case.promise)?;
        write!(f, "  seen:     {seen}")?;
        if !operations.is_empty() {
            write!(f, "\n  operations:")?;
            for operation in operations {
                write!(f, "\n    {operation}")?;
            }
        }
        Ok(())
    }
}

/// How a rule fared, over all its cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Cases, counted once in each position, that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that do not apply.
    pub skipped: usize,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = *self;
        let text = match (passed, failed, skipped) {
            (_, 1.., _) => format!("FAIL {failed}/{}", passed + failed),
            (1.., _, _) => format!("ok {passed}"),
            (_, _, 1..) => "skipped".to_owned(),
            _ => "-".to_owned(),
        };
        f.pad(&text)
    }
}

impl Report {
    pub(crate) fn new(backend: String, cases: Vec<CaseReport>) -> Self {
        Self { backend, cases }
    }

    /// The backend's name.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Gives the backend another name.
    #[must_use]
    pub fn with_backend(mut self, backend: impl Into<String>) -> Self {
        self.backend = backend.into();
        self
    }

    /// Every case in every position, in the suite's order.
    pub fn cases(&self) -> &[CaseReport] {
        &self.cases
    }

    /// Tells whether no promise was broken.
    pub fn is_ok(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Every broken promise.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.cases.iter().flat_map(|report| match &report.outcome {
            Outcome::Failed(failures) => &failures[..],
            _ => &[],
        })
    }

    /// How many cases passed, failed and were skipped.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.cases.iter().for_each(|report| tally.count(&report.outcome));
        tally
    }

    /// How each rule fared, in the order of the contract.
    pub fn rules(&self) -> Vec<(&'static str, Tally)> {
        let mut rules: BTreeMap<(usize, &'static str), Tally> = BTreeMap::new();
        for report in &self.cases {
            for rule in report.case.rules {
                rules.entry((rule_order(rule), rule)).or_default().count(&report.outcome);
            }
        }
        rules.into_iter().map(|((_, rule), tally)| (rule, tally)).collect()
    }
}

/// The place of a rule's letter in the contract.
pub(crate) fn rule_order(rule: &str) -> usize {
    rule.chars().next().and_then(|letter| "SKENCRXVFPZL".find(letter)).unwrap_or(usize::MAX)
}

impl Report {
    /// The report as JSON text: the backend, its cases and how each ended.
    pub fn to_json(&self) -> String {
        json::report(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::Matrix::from(self.clone()).fmt(f)
    }
}
