use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::run::{RANDOM_BUDGET, run_case};
use crate::{Case, CaseReport, Harness, Report, Variant, cases};

/// Runs the whole suite on the stores of a harness and reports every broken promise.
///
/// It needs no runtime: the cases run on threads of their own, so that a store that panics or hangs
/// fails one case and not the run.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use larder_conformance::{CheckOptions, Fixture, check_with};
/// use larder_memory::MemoryStore;
///
/// let harness = || async { Fixture::namespaced(MemoryStore::new()) };
/// let only_basic = CheckOptions::default().with_filter("basic::");
/// let report = check_with(&harness, only_basic).await;
/// assert!(report.is_ok(), "{report}");
/// # }
/// ```
pub async fn check<H: Harness + Clone>(harness: &H) -> Report {
    check_with(harness, CheckOptions::default()).await
}

/// As [`check`], for a part of the suite or with other settings.
pub async fn check_with<H: Harness + Clone>(harness: &H, options: CheckOptions) -> Report {
    run_all(cases(), harness, options).await
}

/// Runs the cases of the caching layer on the stores of a harness, and reports every broken promise.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use larder_conformance::{CheckOptions, Fixture, Variant, check_cache_with};
/// use larder_memory::MemoryStore;
///
/// let harness = || async { Fixture::namespaced(MemoryStore::new()) };
/// let options = CheckOptions::default().with_variants([Variant::Root]).with_filter("items::");
/// let report = check_cache_with(&harness, options).await;
/// assert!(report.is_ok(), "{report}");
/// # }
/// ```
#[cfg(feature = "cache")]
pub async fn check_cache<H: Harness + Clone>(harness: &H) -> Report {
    let options = CheckOptions::default().with_variants([Variant::Root]);
    check_cache_with(harness, options).await
}

/// As [`check_cache`], for a part of the cases, in other positions or with other settings.
#[cfg(feature = "cache")]
pub async fn check_cache_with<H: Harness + Clone>(harness: &H, options: CheckOptions) -> Report {
    run_all(crate::cache_cases(), harness, options).await
}

async fn run_all<H: Harness + Clone>(
    cases: &'static [Case],
    harness: &H,
    options: CheckOptions,
) -> Report {
    let name = harness.name();
    let harness: Arc<dyn Harness> = Arc::new(harness.clone());
    let mut work: Vec<(&'static Case, Variant)> = Vec::new();
    for variant in &options.variants {
        let chosen = cases.iter().filter(|case| options.wants(case, *variant));
        work.extend(chosen.map(|case| (case, *variant)));
    }
    let work = Arc::new(work);
    let budget = options.random_budget;
    let next = Arc::new(AtomicUsize::new(0));
    let (send, mut receive) = mpsc::unbounded_channel::<(usize, CaseReport)>();
    for _ in 0..options.parallel.min(work.len()) {
        let (work, next, send) = (Arc::clone(&work), Arc::clone(&next), send.clone());
        let harness = Arc::clone(&harness);
        std::thread::spawn(move || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((case, variant)) = work.get(index) else {
                    return;
                };
                let report = run_case(case, *variant, Arc::clone(&harness), budget, None);
                if send.send((index, report)).is_err() {
                    return;
                }
            }
        });
    }
    drop(send);
    let mut reports = Vec::with_capacity(work.len());
    while let Some(report) = receive.recv().await {
        reports.push(report);
    }
    reports.sort_by_key(|(index, _)| *index);
    Report::new(name, reports.into_iter().map(|(_, report)| report).collect())
}

/// What [`check_with`] runs, and how.
#[derive(Debug, Clone)]
#[must_use]
pub struct CheckOptions {
    filter: Option<String>,
    variants: Vec<Variant>,
    parallel: usize,
    random_budget: Duration,
}

impl Default for CheckOptions {
    fn default() -> Self {
        let parallel = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            filter: None,
            variants: Variant::ALL.to_vec(),
            parallel,
            random_budget: RANDOM_BUDGET,
        }
    }
}

impl CheckOptions {
    /// Runs only the cases whose full name, such as `root::expiry::dies_at_its_deadline`, contains
    /// `text`.
    pub fn with_filter(mut self, text: impl Into<String>) -> Self {
        self.filter = Some(text.into());
        self
    }

    /// Runs only in these positions.
    pub fn with_variants(mut self, variants: impl IntoIterator<Item = Variant>) -> Self {
        self.variants = variants.into_iter().collect();
        self
    }

    /// Runs so many cases at a time, at least one; as many as the machine has cores unless given.
    pub fn with_parallel(mut self, parallel: usize) -> Self {
        self.parallel = parallel.max(1);
        self
    }

    /// Lets each case that makes up random calls go on for so long; zero leaves the few sequences that
    /// are always tried.
    pub fn with_random_budget(mut self, budget: Duration) -> Self {
        self.random_budget = budget;
        self
    }

    fn wants(&self, case: &Case, variant: Variant) -> bool {
        self.filter.as_deref().is_none_or(|text| format!("{variant}::{}", case.name).contains(text))
    }
}
