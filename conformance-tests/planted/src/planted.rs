use larder_conformance::{Case, CheckOptions, Outcome, Report, Variant, cases, check_with};

use crate::Class;
use crate::stand::Stand;

/// A store with one planted bug.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Planted {
    /// Its name, and that of the test that runs its case.
    pub name: &'static str,
    /// What the bug is about.
    pub class: Class,
    /// The bug, in one sentence.
    pub bug: &'static str,
    /// The case that must catch it, such as `expiry::zero_removes_at_once`.
    pub caught_by: &'static str,
    pub(crate) stand: fn() -> Stand,
}

/// How the named case ended on a planted store, and on its honest base.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Named {
    /// What was seen of the bug, in the first position in which it shows; `None` if nowhere.
    pub seen: Option<String>,
    /// What the case has against the honest base: why it failed, or does not apply.
    pub complaint: Option<String>,
}

/// What the whole suite says of a planted store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Proof {
    /// The cases that failed, in the suite's order.
    pub caught_by: Vec<&'static str>,
    /// Everything.
    pub report: Report,
}

/// How a case ended in one position.
async fn run(stand: &Stand, case: &Case, variant: Variant) -> Option<Outcome> {
    let options = CheckOptions::default()
        .with_filter(format!("{variant}::{}", case.name))
        .with_variants([variant])
        .with_parallel(1);
    let report = check_with(stand, options).await;
    report.cases().iter().find(|ran| ran.case.name == case.name).map(|ran| ran.outcome.clone())
}

impl Planted {
    /// The case that must catch the bug.
    fn case(&self) -> Option<&'static Case> {
        cases().iter().find(|case| case.name == self.caught_by)
    }

    /// Runs the named case on the planted store, until it shows in some position, and in the same
    /// positions on the honest base.
    ///
    /// # Panics
    /// When the suite has no such case.
    pub async fn run_named_case(&self) -> Named {
        let case = self.case().unwrap_or_else(|| panic!("there is no case {}", self.caught_by));
        let (planted, honest) = ((self.stand)(), (self.stand)().honest());
        let mut named = Named { seen: None, complaint: None };
        for variant in Variant::ALL {
            match run(&honest, case, variant).await {
                Some(Outcome::Passed) => {}
                Some(Outcome::Failed(failures)) => {
                    let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
                    named.complaint = Some(all.join("\n"));
                }
                Some(Outcome::Skipped(reason)) if variant == Variant::Root => {
                    named.complaint = Some(format!("skipped: {reason}"));
                }
                _ => continue,
            }
            if let Some(Outcome::Failed(failures)) = run(&planted, case, variant).await {
                named.seen = failures.first().map(|failure| failure.seen.clone());
                break;
            }
        }
        named
    }

    /// Runs the whole suite.
    pub async fn prove(&self) -> Proof {
        let options = CheckOptions::default();
        let report = check_with(&(self.stand)(), options).await.with_backend(self.name);
        let failed = |case: &&Case| report.failures().any(|failure| failure.case.name == case.name);
        let caught_by = cases().iter().filter(failed).map(|case| case.name).collect();
        Proof { caught_by, report }
    }
}
