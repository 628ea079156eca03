//! Runs the built command on stores of its own.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

pub(crate) mod server;

/// A folder to work in and a store to work on, both gone when it is dropped.
pub(crate) struct Larder {
    folder: TempDir,
    store: Option<String>,
    /// Whether the store has to be cleared in the end.
    clears: bool,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// The lines as JSON objects.
    pub(crate) fn objects(&self) -> Vec<serde_json::Value> {
        self.lines().into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Sees the status, and that one line on standard error names the kind.
    #[track_caller]
    pub(crate) fn expect(&self, status: i32, kind: &str) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        let start = format!("larder: {kind}: ");
        assert!(self.stderr.starts_with(&start) && self.stderr.ends_with('\n'), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self
    }

    /// Sees that it went well and had nothing to say on standard error.
    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!((self.status, &*self.stderr), (0, ""), "{self:?}");
        self
    }
}

impl Larder {
    /// Without a store: the embedded one in the working folder.
    pub(crate) fn new() -> Self {
        Self::on(None, false)
    }

    fn on(store: Option<String>, clears: bool) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), store, clears }
    }

    pub(crate) fn file() -> Self {
        Self::on(Some("file:store".to_owned()), false)
    }

    pub(crate) fn sled() -> Self {
        Self::on(Some("sled:store".to_owned()), false)
    }

    pub(crate) fn redis() -> Self {
        Self::on(Some(redis_url()), true)
    }

    /// On a store of the test's own.
    pub(crate) fn at(url: String) -> Self {
        Self::on(Some(url), false)
    }

    /// The folder that the command works in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The store's URL.
    pub(crate) fn url(&self) -> &str {
        self.store.as_deref().unwrap()
    }

    /// The command, with its store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(&[]);
        if let Some(store) = &self.store {
            command.args(["--store", store]);
        }
        command.args(arguments);
        command
    }

    /// The command without a store.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.current_dir(self.folder()).args(arguments);
        command.env_remove("LARDER_STORE").stdin(Stdio::null());
        command
    }

    /// Runs the command on the store.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// Runs the command with something on its standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        from_output(output)
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        if self.clears {
            self.run(&["clear", "--yes"]);
        }
    }
}

pub(crate) fn ended(command: &mut Command) -> Ended {
    from_output(command.output().unwrap())
}

pub(crate) fn from_output(output: std::process::Output) -> Ended {
    Ended {
        status: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A place of its own on the Redis server of the tests.
pub(crate) fn redis_url() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = variable("LARDER_TEST_REDIS_URL");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{server}?namespace=larder-cli-test-{}-{number}", std::process::id())
}

/// What a test needs and `cargo xtask test` provides.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: run `cargo xtask test`, which starts the servers that tests need"
        )
    })
}

/// Makes of each function a test on each store: `file::NAME`, `sled::NAME` and `redis::NAME`.
#[macro_export]
macro_rules! on_every_store {
    ($($name:ident)+) => {
        mod file { $(#[test] fn $name() { super::$name(&$crate::support::Larder::file()); })+ }
        mod sled { $(#[test] fn $name() { super::$name(&$crate::support::Larder::sled()); })+ }
        mod redis { $(#[test] fn $name() { super::$name(&$crate::support::Larder::redis()); })+ }
    };
}
