//! `larder lock`, on a folder and on Redis.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use support::server::Server;
use support::{Ended, Larder};

macro_rules! on_shared_stores {
    ($($name:ident)+) => {
        mod file { $(#[test] fn $name() { super::$name(&$crate::support::Larder::file()); })+ }
        mod redis { $(#[test] fn $name() { super::$name(&$crate::support::Larder::redis()); })+ }
    };
}

on_shared_stores! {
    the_command_has_its_token_and_its_status
    one_command_runs_at_a_time
    a_lock_that_is_held_is_waited_for_as_long_as_told
    signals_are_passed_on
    a_command_stops_and_goes_on_with_its_lock
    a_command_whose_lock_is_lost_while_it_is_stopped_does_not_go_on
    whoever_waits_can_be_stopped
    a_command_whose_lock_is_lost_is_killed_with_its_children
    a_command_whose_lock_is_lost_may_go_on
    a_holder_that_was_stopped_kills_its_command
}

/// A command that runs under the lock `k`, and what it says.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(larder: &Larder, options: &[&str], script: &str) -> Self {
        let mut command = larder.command(&["lock", "k"]);
        command.args(options).args(["--", "sh", "-c", script]);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn id(&self) -> String {
        self.child.id().to_string()
    }

    fn signal(&self, name: &str) {
        assert!(kill(name, &self.id()));
    }

    /// Lets a script go on that reads a line.
    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let mut stdout = Vec::new();
        self.lines.read_to_end(&mut stdout).unwrap();
        let mut ended = support::from_output(self.child.wait_with_output().unwrap());
        ended.stdout = stdout;
        ended
    }
}

/// Sends a signal; false where there is no such process.
fn kill(name: &str, id: &str) -> bool {
    let mut command = Command::new("kill");
    command.args([name, id]).stderr(Stdio::null()).status().unwrap().success()
}

/// Waits until it is so; the test's runner ends one that waits in vain.
fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_stopped(id: &str) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", id]).output().unwrap();
    output.stdout.starts_with(b"T")
}

/// Takes the lock's record away, as an eviction does.
fn take_away(larder: &Larder) {
    larder.run(&["-n", "d", "-n", "lock", "delete", "g:k"]).ok();
}

fn the_command_has_its_token_and_its_status(larder: &Larder) {
    let token = || {
        let ended = larder.run(&["lock", "k", "--", "sh", "-c", "echo $LARDER_FENCE"]);
        ended.ok().text().trim().parse::<u64>().unwrap()
    };
    let first = token();
    assert!(token() > first);
    larder.run(&["lock", "--key=-k", "--lease", "1m", "--", "true"]).ok();
    for keys in [&["lock"][..], &["lock", "k", "--key=-k"]] {
        assert_eq!(larder.run(&[keys, &["--", "true"]].concat()).status, 2);
    }
    for (script, status) in [("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)] {
        let ended = larder.run(&["lock", "k", "--", "sh", "-c", script]);
        assert_eq!((ended.status, &*ended.stderr), (status, ""), "{script}");
    }
    larder.run(&["lock", "k", "--", "no such command"]).expect(127, "cannot-run");
    larder.run(&["lock", "k", "--", "."]).expect(126, "cannot-run");
    assert!(larder.run(&["-n", "d", "-n", "lock", "list"]).ok().stdout.is_empty(), "all released");
}

fn one_command_runs_at_a_time(larder: &Larder) {
    let counter = larder.path("counter");
    std::fs::write(&counter, "0").unwrap();
    let script = "n=$(cat counter); sleep 0.05; echo $((n + 1)) > counter";
    let running: Vec<_> =
        (0..8).map(|_| Running::start(larder, &["--lease", "2m"], script)).collect();
    for one in running {
        one.end().ok();
    }
    assert_eq!(std::fs::read_to_string(&counter).unwrap().trim(), "8");
}

fn a_lock_that_is_held_is_waited_for_as_long_as_told(larder: &Larder) {
    let mut holder = Running::start(larder, &["--lease", "2m"], "echo held; read line");
    assert_eq!(holder.line(), "held");
    for wait in ["0", "300ms"] {
        let ended = larder.run(&["lock", "k", "--wait", wait, "--", "true"]);
        ended.expect(4, "locked");
    }
    larder.run(&["lock", "other", "--wait", "0", "--", "true"]).ok();
    let waiting = Running::start(larder, &[], "echo mine");
    holder.go_on();
    holder.end().ok();
    assert_eq!(waiting.end().ok().text(), "mine\n");
}

fn signals_are_passed_on(larder: &Larder) {
    let all = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "WINCH"];
    for (status, name) in (5..).zip(all) {
        let script =
            format!("trap 'exit {status}' {name}; echo ready; while :; do sleep 0.05; done");
        let mut running = Running::start(larder, &["--lease", "2m"], &script);
        assert_eq!(running.line(), "ready");
        running.signal(&format!("-{name}"));
        assert_eq!(running.end().status, status, "{name}");
    }
    let mut running = Running::start(larder, &["--lease", "2m"], "echo ready; exec sleep 600");
    assert_eq!(running.line(), "ready");
    running.signal("-TERM");
    assert_eq!(running.end().status, 143);
    larder.run(&["lock", "k", "--wait", "0", "--", "true"]).ok();
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_stays_so() {
    let larder = Larder::file();
    let lock = larder.command(&["lock", "k", "--", "sh", "-c", "kill -HUP $$; exit 9"]);
    let envs = lock.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut command = Command::new("nohup");
    command.envs(envs).current_dir(larder.folder());
    command.arg(lock.get_program()).args(lock.get_args());
    assert_eq!(Running::of(command).end().status, 9);
}

fn a_command_stops_and_goes_on_with_its_lock(larder: &Larder) {
    for name in ["-TSTP", "-TTIN", "-TTOU"] {
        let mut running = Running::start(larder, &["--lease", "2m"], "echo $$; read line; exit 9");
        let command = running.line();
        running.signal(name);
        until(|| is_stopped(&running.id()));
        assert!(is_stopped(&command), "{name}");
        running.signal("-CONT");
        running.go_on();
        assert_eq!(running.end().status, 9, "{name}");
    }
    // One that does not stop is not left alone.
    let script =
        "trap seen=1 TSTP; echo ready; until [ $seen ]; do :; done; echo seen; read line; exit 9";
    let mut running = Running::start(larder, &["--lease", "2m"], script);
    assert_eq!(running.line(), "ready");
    running.signal("-TSTP");
    assert_eq!(running.line(), "seen");
    running.go_on();
    assert_eq!(running.end().status, 9);
}

fn a_command_whose_lock_is_lost_while_it_is_stopped_does_not_go_on(larder: &Larder) {
    let mut running = Running::start(larder, &["--lease", "1s"], "echo held; read line; echo on");
    assert_eq!(running.line(), "held");
    running.signal("-TSTP");
    until(|| is_stopped(&running.id()));
    larder.run(&["lock", "k", "--", "true"]).ok();
    running.go_on();
    running.signal("-CONT");
    assert!(running.end().expect(3, "lock-lost").stdout.is_empty());
}

fn whoever_waits_can_be_stopped(larder: &Larder) {
    let mut holder = Running::start(larder, &["--lease", "2m"], "echo held; read line");
    assert_eq!(holder.line(), "held");
    for (name, status) in [("-INT", 130), ("-TERM", 143)] {
        let waiting = Running::start(larder, &[], "echo never");
        // It listens before it asks the store; where it is not so far, the signal ends it as well.
        std::thread::sleep(Duration::from_millis(300));
        waiting.signal(name);
        let ended = waiting.end();
        assert!(ended.status == status || ended.status == -1, "{ended:?}");
        assert!(ended.stdout.is_empty());
    }
    let waiting = Running::start(larder, &[], "echo mine");
    std::thread::sleep(Duration::from_millis(300));
    waiting.signal("-TSTP");
    until(|| is_stopped(&waiting.id()));
    holder.go_on();
    holder.end().ok();
    waiting.signal("-CONT");
    assert_eq!(waiting.end().ok().text(), "mine\n");
}

fn a_command_whose_lock_is_lost_is_killed_with_its_children(larder: &Larder) {
    let script = "sleep 600 & echo held; wait";
    let mut running = Running::start(larder, &["--lease", "1s"], script);
    assert_eq!(running.line(), "held");
    take_away(larder);
    // Its output ends with the last process that holds it.
    running.end().expect(3, "lock-lost");
}

fn a_command_whose_lock_is_lost_may_go_on(larder: &Larder) {
    let options = ["--lease", "1s", "--on-loss", "warn"];
    let mut running = Running::start(larder, &options, "echo held; read line; exit 9");
    assert_eq!(running.line(), "held");
    take_away(larder);
    let mut said = BufReader::new(running.child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("larder: lock-lost: "), "{line}");
    running.go_on();
    assert_eq!(running.end().status, 9);
}

fn a_holder_that_was_stopped_kills_its_command(larder: &Larder) {
    let mut running = Running::start(larder, &["--lease", "1s"], "echo held; exec sleep 600");
    assert_eq!(running.line(), "held");
    running.signal("-STOP");
    larder.run(&["lock", "k", "--", "true"]).ok();
    running.signal("-CONT");
    running.end().expect(3, "lock-lost");
}

/// Runs a command whose store stops answering before it ends, and then asks for the end of the lock.
fn end_while_the_store_hangs(ask: impl Fn(&Running)) -> Ended {
    let server = Server::start();
    let larder = Larder::at(server.url());
    let mut running = Running::start(&larder, &["--lease", "1h"], "echo $$; read line; exit 5");
    let command = running.line();
    assert!(kill("-STOP", &server.id().to_string()));
    running.go_on();
    until(|| !kill("-0", &command));
    ask(&running);
    let ended = running.end();
    assert!(ended.stderr.contains("the lock is free within 1h"), "{ended:?}");
    ended
}

#[test]
fn a_lock_that_cannot_be_given_back_keeps_nobody_who_asks_to_end() {
    let ended = end_while_the_store_hangs(|running| running.signal("-TERM"));
    assert_eq!(ended.expect(5, "unreleased").stdout, b"");
    let ended = end_while_the_store_hangs(|running| {
        running.signal("-INT");
        running.signal("-INT");
    });
    ended.expect(5, "unreleased");
}

#[test]
fn a_store_that_processes_do_not_share_is_a_mistake() {
    Larder::sled().run(&["lock", "k", "--", "true"]).expect(2, "invalid-config");
    let larder = Larder::file();
    larder.run(&["lock", "k", "--lease", "1ms", "--", "true"]).expect(2, "invalid-config");
    larder.run(&["lock", "k"]).expect(2, "usage");
}
