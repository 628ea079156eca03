use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

use clap::{Args, ValueEnum};
use larder::{Error, ErrorKind};
use larder_cache::{CacheError, CacheSpace, Distributed, LockGuard};

use crate::app::App;
use crate::durations;
use crate::exit::{self, Failure, Outcome};
use crate::interrupt;
use crate::signals::{Child, Signals};

/// Run a command while holding a lock that all processes of the store know
///
/// The command has the lock's fencing token in `LARDER_FENCE`: a number greater than that of every
/// holder before it. What the lock guards is safe from a command that was paused for longer than the
/// lease where it refuses whatever comes with a smaller number.
///
/// Signals are passed on: HUP, INT, QUIT, TERM, USR1, USR2, ALRM, VTALRM, PROF, WINCH and CONT; on
/// Linux, what `larder` was started to ignore, as by nohup, the command ignores too. At TSTP, TTIN and
/// TTOU, `larder` stops once the command has, and goes on with it: where the lock was lost meanwhile,
/// the command is killed first. Any other signal that ends or stops `larder`, as KILL and STOP do,
/// leaves the command running, and without its lock when the lease is over.
///
/// The exit status is the command's: 128 and the signal's number where one ended it, 127 where it is
/// not found, 126 where it cannot be run. Otherwise, with a line on standard error: 4 when the lock is
/// held by another, 3 when it was lost while the command ran.
///
/// When the command has ended, the lock is given back; a store that does not answer is asked again
/// until the lease is over, for nothing else frees the lock sooner. After a signal that takes 3 s at
/// most, and after a second one no time: the lock is then free when its lease is over.
#[derive(Args)]
#[command(
    after_help = "The store must be one that processes share: file:PATH or redis://…; it is made where \
                  there is none."
)]
pub(crate) struct Lock {
    #[arg(required_unless_present = "hyphened")]
    key: Option<String>,
    /// The key in another place, for one that begins with a hyphen: --key=-k
    #[arg(id = "hyphened", long = "key", value_name = "KEY", conflicts_with = "key")]
    #[arg(allow_hyphen_values = true)]
    hyphened: Option<String>,
    /// How long the lock is held without being renewed, as after a crash
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = durations::parse)]
    lease: Duration,
    /// How long to wait for another holder, and for a store that times out; without it, for as long as
    /// it takes
    #[arg(long, value_name = "DURATION", value_parser = durations::parse)]
    wait: Option<Duration>,
    /// What becomes of the command when the lock is lost
    #[arg(long, value_enum, default_value_t = OnLoss::Kill)]
    on_loss: OnLoss,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnLoss {
    /// It is killed at once
    Kill,
    /// It goes on, and the loss is told on standard error
    Warn,
}

impl Lock {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let mut signals = Signals::listen()?;
        let taken = tokio::select! {
            biased;
            signal = signals.end() => Err(signal.into_failure()),
            taken = self.take(app) => taken,
        };
        let (outcome, guard) = match taken {
            Ok(guard) => (self.run_under(&guard, &mut signals).await, Some(guard)),
            Err(failure) => (Err(failure), None),
        };
        outcome.and(self.leave(guard, app, &mut signals).await)
    }

    async fn take(&self, app: &mut App) -> Outcome<LockGuard> {
        let store = app.store_or_new().await?;
        let space = CacheSpace::builder(store).distributed(Distributed::new().lease(self.lease));
        let cache = space.build().await.map_err(failure)?.cache::<()>();
        // There is one: clap sees to it.
        let key = self.key.as_deref().or(self.hyphened.as_deref()).unwrap_or_default();
        let lock = cache.lock(key);
        let taken = match self.wait {
            None => lock.await,
            Some(Duration::ZERO) => lock.no_wait().await,
            Some(at_most) => lock.wait(at_most).await,
        };
        taken.map_err(failure)
    }

    async fn run_under(&self, guard: &LockGuard, signals: &mut Signals) -> Outcome {
        let fence = guard.fence().map(|fence| fence.to_string()).unwrap_or_default();
        let mut child = Child::start(&self.command, &[("LARDER_FENCE", &fence)])?;
        let mut lost = false;
        let status = loop {
            tokio::select! {
                biased;
                status = child.ended() => break status?,
                () = guard.lost(), if !lost => {
                    lost = true;
                    match self.on_loss {
                        OnLoss::Kill => child.kill(),
                        OnLoss::Warn => exit::note("larder: lock-lost: the command goes on without"),
                    }
                }
                // After the loss: a command that was stopped meanwhile does not go on without.
                signal = signals.next() => child.pass_on(signal),
            }
        };
        if self.on_loss == OnLoss::Kill && (lost || guard.is_lost()) {
            let text = "another may have had it before the command ended";
            return Err(Failure::LockLost(text.to_owned()));
        }
        match status_of(status) {
            0 => Ok(()),
            status => Err(Failure::Command(status)),
        }
    }

    async fn leave(
        &self,
        guard: Option<LockGuard>,
        app: &mut App,
        signals: &mut Signals,
    ) -> Outcome {
        let holds = guard.as_ref().is_some_and(|guard| !guard.is_lost());
        tokio::select! {
            biased;
            left = give_back(guard, app) => return left,
            () = impatience(signals, holds) => {}
        }
        app.leave_open();
        if holds {
            let lease = durations::format(self.lease);
            exit::note(&format!(
                "larder: unreleased: the store does not answer; the lock is free within {lease}"
            ));
        }
        Ok(())
    }
}

/// Gives the lock back and closes the store.
async fn give_back(guard: Option<LockGuard>, app: &mut App) -> Outcome {
    if let Some(guard) = guard {
        guard.release().await;
    }
    app.close().await
}

/// Completes when patience has run out, or at a signal; where there is a lock to give back, patience
/// begins with a first signal.
async fn impatience(signals: &mut Signals, holds: bool) {
    if holds {
        // It may be the very one that ended the command, and says nothing about the lock.
        signals.end().await;
    }
    tokio::select! {
        _ = signals.end() => {}
        () = tokio::time::sleep(interrupt::PATIENCE) => {}
    }
}

/// The status as a shell would give it.
fn status_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().map_or(u8::MAX, |code| u8::try_from(code).unwrap_or(u8::MAX))
}

fn failure(error: CacheError) -> Failure {
    match error {
        CacheError::Store(error) => error.into(),
        CacheError::Busy => Error::new(ErrorKind::Locked, "the lock is held by another").into(),
        CacheError::LockLost => Failure::LockLost("before the command was run".to_owned()),
        other => Error::new(ErrorKind::Corrupt, other.to_string()).into(),
    }
}
