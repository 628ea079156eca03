use std::collections::BTreeSet;
use std::fmt;

use crate::report::{Tally, rule_order};
use crate::{Failure, Level, Report, html, json};

/// The reports of several backends side by side: rule by backend.
///
/// `Display` writes a table for a terminal, and every failure below it.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    reports: Vec<Report>,
}

impl Matrix {
    /// The reports.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Adds a report.
    pub fn push(&mut self, report: Report) {
        self.reports.push(report);
    }

    /// Tells whether no backend broke a promise.
    pub fn is_ok(&self) -> bool {
        self.reports.iter().all(Report::is_ok)
    }

    /// The reports as a JSON list; see [`Report::to_json`].
    pub fn to_json(&self) -> String {
        json::list(self.reports.iter().map(Report::to_json))
    }

    /// The reports as one HTML page that needs nothing else: levels, rule by backend, and every failure
    /// with its operations.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// Each rule with how it fared on each backend, in the order of the reports.
    pub fn rows(&self) -> Vec<(&'static str, Vec<Tally>)> {
        let fared: Vec<_> = self.reports.iter().map(Report::rules).collect();
        let rules: BTreeSet<(usize, &'static str)> =
            fared.iter().flatten().map(|(rule, _)| (rule_order(rule), *rule)).collect();
        let tally = |report: &[(&'static str, Tally)], rule| {
            report.iter().find(|(name, _)| *name == rule).map_or_else(Tally::default, |(_, t)| *t)
        };
        rules
            .into_iter()
            .map(|(_, rule)| (rule, fared.iter().map(|report| tally(report, rule)).collect()))
            .collect()
    }
}

impl From<Report> for Matrix {
    fn from(report: Report) -> Self {
        Self { reports: vec![report] }
    }
}

impl FromIterator<Report> for Matrix {
    fn from_iter<I: IntoIterator<Item = Report>>(reports: I) -> Self {
        Self { reports: reports.into_iter().collect() }
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |report: &Report| report.backend().chars().count().max(10) + 2;
        write!(f, "{:6}", "rule")?;
        for report in &self.reports {
            write!(f, "{:<width$}", report.backend(), width = width(report))?;
        }
        writeln!(f)?;
        for (rule, tallies) in self.rows() {
            write!(f, "{rule:6}")?;
            for (report, tally) in self.reports.iter().zip(tallies) {
                write!(f, "{tally:<width$}", width = width(report))?;
            }
            writeln!(f)?;
        }
        for report in &self.reports {
            let Tally { passed, failed, skipped } = report.tally();
            let backend = report.backend();
            write!(f, "{backend}: {passed} passed, {failed} failed, {skipped} skipped")?;
            let reached = Level::ALL.into_iter().filter(|level| report.reaches(*level));
            let reached: Vec<&str> = reached.map(Level::as_str).collect();
            if reached.is_empty() {
                writeln!(f)?;
            } else {
                writeln!(f, "; keeps the level {}", reached.join(", "))?;
            }
        }
        let named = self.reports.len() > 1;
        for report in &self.reports {
            let failures: Vec<&Failure> = report.failures().collect();
            for failure in failures {
                writeln!(f)?;
                if named {
                    writeln!(f, "on {}:", report.backend())?;
                }
                writeln!(f, "{failure}")?;
            }
        }
        Ok(())
    }
}
