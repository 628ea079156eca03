use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::trace::Trace;
use crate::trial::Trial;
use crate::verdict::{Broken, Stop, Verdict, show_error};
use crate::{Case, CaseReport, Failure, Flavor, Harness, Outcome, Variant};

/// How long a case goes on trying random calls, once the least number is tried.
pub(crate) const RANDOM_BUDGET: Duration = Duration::from_millis(500);
/// How long the harness may take to clean up after a case.
const CLEANUP_LIMIT: Duration = Duration::from_secs(20);

/// Runs one case on a thread and a runtime of its own, so that neither a panic nor a hang of the
/// store reaches beyond it.
pub(crate) fn run_case(
    case: &'static Case,
    variant: Variant,
    harness: Arc<dyn Harness>,
    random_budget: Duration,
    test: Option<String>,
) -> CaseReport {
    let trace = Trace::default();
    let collected = Arc::new(Mutex::new(Vec::new()));
    let limit = harness.time_limit();
    let (send, receive) = mpsc::channel();
    let started = Instant::now();
    let attempt =
        Attempt { case, variant, harness, trace: trace.clone(), collected, random_budget, test };
    let collected = Arc::clone(&attempt.collected);
    let thread = std::thread::Builder::new()
        .name(format!("{variant}::{}", case.name))
        .spawn(move || attempt.run(&send));
    let verdict = match thread {
        Err(error) => Err(Stop::fail(format!("no thread could be started: {error}"))),
        Ok(_) => match receive.recv_timeout(limit) {
            Ok(verdict) => verdict,
            Err(RecvTimeoutError::Timeout) => {
                Err(Stop::fail(format!("the case did not end within {limit:?}: something hangs")))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Stop::fail("the case's thread died")),
        },
    };
    let elapsed = started.elapsed();
    let mut all = std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner));
    let outcome = match verdict {
        Err(Stop::Skip(reason)) if all.is_empty() => Outcome::Skipped(reason),
        Ok(()) | Err(Stop::Skip(_)) if all.is_empty() => Outcome::Passed,
        verdict => {
            if let Err(Stop::Fail(broken)) = verdict {
                all.push(broken);
            }
            let failure = |broken: Broken| Failure {
                case,
                variant,
                seen: broken.seen,
                operations: broken.operations.unwrap_or_else(|| trace.shown()),
            };
            Outcome::Failed(all.into_iter().map(failure).collect())
        }
    };
    CaseReport { case, variant, outcome, elapsed }
}

struct Attempt {
    case: &'static Case,
    variant: Variant,
    harness: Arc<dyn Harness>,
    trace: Trace,
    collected: Arc<Mutex<Vec<Broken>>>,
    random_budget: Duration,
    test: Option<String>,
}

impl Attempt {
    fn run(self, send: &mpsc::Sender<Verdict>) {
        let runtime = match runtime(self.harness.flavor()) {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = send.send(Err(Stop::fail(format!("no runtime could be built: {error}"))));
                return;
            }
        };
        let verdict = runtime.block_on(self.attempt());
        // What the store still does in the background must not keep the case from ending.
        runtime.shutdown_background();
        let _ = send.send(verdict);
    }

    async fn attempt(self) -> Verdict {
        let Self { case, variant, harness, trace, collected, random_budget, test } = self;
        let opened = AssertUnwindSafe(harness.open()).catch_unwind().await;
        let fixture = match opened {
            Ok(Ok(fixture)) => fixture,
            Ok(Err(error)) => {
                let seen = format!("the harness could not open a store: {}", show_error(&error));
                return Err(Stop::fail(seen));
            }
            Err(panic) => return Err(panicked("the harness's `open`", &*panic)),
        };
        let (trial, made) =
            Trial::new(Arc::clone(&harness), fixture, variant, trace.clone(), collected);
        let trial = trial.with_random_budget(random_budget).with_test(test);
        let verdict = match made {
            Err(stop) => Err(stop),
            Ok(()) => match case.needs.iter().find_map(|need| trial.lacks(*need)) {
                Some(reason) => Err(Stop::Skip(reason)),
                None => AssertUnwindSafe((case.run)(&trial))
                    .catch_unwind()
                    .await
                    .unwrap_or_else(|panic| Err(panicked("a call", &*panic))),
            },
        };
        let verdict = match verdict {
            // Taken now: what cleaning up does is not part of the failure.
            Err(Stop::Fail(mut broken)) => {
                broken.operations.get_or_insert_with(|| trace.shown());
                Err(Stop::Fail(broken))
            }
            other => other,
        };
        let cleanup = AssertUnwindSafe(harness.cleanup(trial.into_fixture())).catch_unwind();
        match (tokio::time::timeout(CLEANUP_LIMIT, cleanup).await, verdict) {
            (Ok(Err(panic)), Ok(())) => Err(panicked("the harness's `cleanup`", &*panic)),
            (Err(_), Ok(())) => {
                Err(Stop::fail(format!("cleaning up did not end within {CLEANUP_LIMIT:?}")))
            }
            (_, verdict) => verdict,
        }
    }
}

fn panicked(who: &str, panic: &(dyn Any + Send)) -> Stop {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)");
    Stop::fail(format!("{who} panicked: {text}"))
}

pub(crate) fn runtime(flavor: Flavor) -> std::io::Result<Runtime> {
    match flavor {
        Flavor::MultiThread => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        Flavor::CurrentThread => Builder::new_current_thread().enable_all().build(),
    }
}
