//! A command that is run, and the signals that are passed on to it.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitStatus;

use larder::Error;

use crate::exit::{Failure, Outcome};

/// A command that runs; killed when this is dropped.
pub(crate) struct Child {
    child: tokio::process::Child,
    /// Whether it has a process group of its own, for its own children to be reached as well.
    #[cfg(unix)]
    leads: bool,
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
        let child = command.spawn().map_err(|error| {
            let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            let text = format!("{}: {error}", program.to_string_lossy());
            Failure::CannotRun(status, text)
        })?;
        Ok(Self {
            child,
            #[cfg(unix)]
            leads,
        })
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> Outcome<ExitStatus> {
        Ok(self.child.wait().await.map_err(Error::from_io)?)
    }
}

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::future::poll_fn;
    use std::task::Poll;

    use rustix::process::{Pid, kill_process, kill_process_group};
    use tokio::signal::unix::{SignalKind, signal};

    use super::{Child, Error, Failure, Outcome};

    /// One of the signals that are passed on.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Signal(rustix::process::Signal);

    /// The signals that reach this process; none of them ends it from here on.
    pub(crate) struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

    impl Signals {
        pub(crate) fn listen() -> Outcome<Self> {
            use rustix::process::Signal as Of;
            let all = [
                (SignalKind::interrupt(), Of::INT),
                (SignalKind::terminate(), Of::TERM),
                (SignalKind::hangup(), Of::HUP),
                (SignalKind::quit(), Of::QUIT),
                (SignalKind::user_defined1(), Of::USR1),
                (SignalKind::user_defined2(), Of::USR2),
            ];
            let listen = |(kind, of)| Ok((Signal(of), signal(kind).map_err(Error::from_io)?));
            all.into_iter().map(listen).collect::<Outcome<_>>().map(Self)
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
    }

    impl Signal {
        /// What ends a command that was not run yet.
        pub(crate) fn into_failure(self) -> Failure {
            if self.0 == rustix::process::Signal::INT {
                return Failure::Interrupted("the lock was not waited for any longer");
            }
            Failure::Command(u8::try_from(128 + self.0.as_raw()).unwrap_or(u8::MAX))
        }
    }

    impl Child {
        pub(crate) fn pass_on(&mut self, signal: Signal) {
            use rustix::process::Signal as Of;
            // A command that stayed with its terminal has got these from there.
            if self.leads || !matches!(signal.0, Of::INT | Of::QUIT) {
                self.signal(signal.0);
            }
        }

        /// Ends it, and its children where they can be reached, at once.
        pub(crate) fn kill(&mut self) {
            self.signal(rustix::process::Signal::KILL);
        }

        fn signal(&self, signal: rustix::process::Signal) {
            let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            let Some(pid) = id else { return };
            // One that has just ended needs no signal.
            let _ = if self.leads {
                kill_process_group(pid, signal)
            } else {
                kill_process(pid, signal)
            };
        }
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
            let _ = self.child.start_kill();
        }
    }
}
