//! A command that is run, and the signals that are passed on to it.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitStatus;

use larder::Error;

use crate::exit::{Failure, Outcome};

/// A command that runs; killed when this is dropped.
pub(crate) struct Child {
    process: tokio::process::Child,
    /// Whether it has a process group of its own, for its own children to be reached as well.
    #[cfg(unix)]
    leads: bool,
    /// Whether it was asked to stop, and this process will stop with it.
    #[cfg(unix)]
    is_to_stop: bool,
}

impl Child {
    /// Starts a command with further variables.
    pub(crate) fn start(words: &[OsString], variables: &[(&str, &str)]) -> Outcome<Self> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(Failure::Usage("no command is given".to_owned()));
        };
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).envs(variables.iter().copied()).kill_on_drop(true);
        // A terminal sends its signals to the group in the foreground: there the command stays.
        let leads = !io::stdin().is_terminal();
        #[cfg(unix)]
        if leads {
            command.process_group(0);
        }
        let _ = leads;
        let process = command.spawn().map_err(|error| {
            let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            let text = format!("{}: {error}", larder::redact(&program.to_string_lossy()));
            Failure::CannotRun(status, text)
        })?;
        Ok(Self {
            process,
            #[cfg(unix)]
            leads,
            #[cfg(unix)]
            is_to_stop: false,
        })
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> Outcome<ExitStatus> {
        Ok(self.process.wait().await.map_err(Error::from_io)?)
    }
}

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::future::poll_fn;
    use std::task::Poll;

    use rustix::process::Signal as Of;
    use rustix::process::{
        Pid, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group, waitid,
    };
    use tokio::signal::unix::{SignalKind, signal};

    use super::{Child, Error, Failure, Outcome};

    /// What is listened to: all that can be taken care of, for any other signal ends or stops this
    /// process alone.
    const ALL: [Of; 15] = [
        Of::INT,
        Of::TERM,
        Of::HUP,
        Of::QUIT,
        Of::USR1,
        Of::USR2,
        Of::ALARM,
        Of::VTALARM,
        Of::PROF,
        Of::TSTP,
        Of::TTIN,
        Of::TTOU,
        Of::CONT,
        Of::WINCH,
        Of::CHILD,
    ];

    /// One of the signals that are listened to.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Signal(Of);

    /// The signals that reach this process; none of them ends it from here on.
    pub(crate) struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

    impl Signals {
        pub(crate) fn listen() -> Outcome<Self> {
            let listen = |of: Of| {
                let kind = SignalKind::from_raw(of.as_raw());
                Ok((Signal(of), signal(kind).map_err(Error::from_io)?))
            };
            let ignored = ignored();
            let heard = |of: &Of| *of == Of::CHILD || ignored >> (of.as_raw() - 1) & 1 == 0;
            ALL.into_iter().filter(heard).map(listen).collect::<Outcome<_>>().map(Self)
        }

        /// The next one that comes.
        pub(crate) async fn next(&mut self) -> Signal {
            poll_fn(|context| {
                for (of, signal) in &mut self.0 {
                    if let Poll::Ready(Some(())) = signal.poll_recv(context) {
                        return Poll::Ready(*of);
                    }
                }
                Poll::Pending
            })
            .await
        }

        /// The next one that is to end a process; at one that is to stop it, it stops.
        pub(crate) async fn end(&mut self) -> Signal {
            loop {
                let signal = self.next().await;
                if signal.ends() {
                    return signal;
                }
                if signal.stops() {
                    stop();
                }
            }
        }
    }

    /// What whoever started this process has it ignore, as `nohup` does, a bit for each signal: it stays
    /// so, for the command too. Only Linux tells.
    fn ignored() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }

    impl Signal {
        fn stops(self) -> bool {
            matches!(self.0, Of::TSTP | Of::TTIN | Of::TTOU)
        }

        fn ends(self) -> bool {
            !self.stops() && !matches!(self.0, Of::CONT | Of::WINCH | Of::CHILD)
        }

        /// What ends a command that was not run yet.
        pub(crate) fn into_failure(self) -> Failure {
            if self.0 == Of::INT {
                return Failure::Interrupted("the lock was not waited for any longer");
            }
            Failure::Command(u8::try_from(128 + self.0.as_raw()).unwrap_or(u8::MAX))
        }
    }

    impl Child {
        pub(crate) fn pass_on(&mut self, signal: Signal) {
            match signal.0 {
                Of::CHILD => self.stop_together(),
                Of::CONT => {
                    self.is_to_stop = false;
                    self.signal(Of::CONT);
                }
                // A command that stayed with its terminal has got these from there.
                Of::INT | Of::QUIT | Of::WINCH if !self.leads => {}
                of => self.signal(of),
            }
            if signal.stops() {
                self.is_to_stop = true;
                self.stop_together();
            }
        }

        /// Stops this process once the command has stopped: one that goes on, as it may, has its lock
        /// renewed.
        fn stop_together(&mut self) {
            if !self.is_to_stop || !self.is_stopped() {
                return;
            }
            self.is_to_stop = false;
            if self.leads {
                // Of its children, some may have gone on.
                self.signal(Of::STOP);
            }
            stop();
        }

        fn is_stopped(&self) -> bool {
            let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let Some(pid) = self.pid() else { return false };
            waitid(WaitId::Pid(pid), look).is_ok_and(|status| status.is_some())
        }

        /// Ends it, and its children where they can be reached, at once.
        pub(crate) fn kill(&mut self) {
            self.signal(Of::KILL);
        }

        fn pid(&self) -> Option<Pid> {
            self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
        }

        fn signal(&self, signal: Of) {
            let Some(pid) = self.pid() else { return };
            // One that has just ended needs no signal.
            let _ = if self.leads {
                kill_process_group(pid, signal)
            } else {
                kill_process(pid, signal)
            };
        }
    }

    /// Stops this process, until it is told to go on.
    fn stop() {
        // What the own process is told cannot be refused.
        let _ = kill_process(getpid(), Of::STOP);
    }
}

#[cfg(not(unix))]
pub(crate) use other::Signals;

#[cfg(not(unix))]
mod other {
    use super::{Child, Failure, Outcome};

    /// Ctrl-C, which the console tells the command as well.
    pub(crate) struct Signal;

    /// The signals that reach this process.
    pub(crate) struct Signals;

    impl Signals {
        pub(crate) fn listen() -> Outcome<Self> {
            Ok(Self)
        }

        pub(crate) async fn next(&mut self) -> Signal {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Signal
        }

        pub(crate) async fn end(&mut self) -> Signal {
            self.next().await
        }
    }

    impl Signal {
        pub(crate) fn into_failure(self) -> Failure {
            Failure::Interrupted("the lock was not waited for any longer")
        }
    }

    impl Child {
        pub(crate) fn pass_on(&mut self, _signal: Signal) {}

        pub(crate) fn kill(&mut self) {
            // One that has just ended needs no killing.
            let _ = self.process.start_kill();
        }
    }
}
