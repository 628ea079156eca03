//! Real stores that real processes share, and the processes: this binary, started again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{CacheBuilder, CacheSpace, Distributed, Space};
use larder_core::{Durability, NamespacedStore, Store};
use larder_file::FileStore;
use larder_redis::RedisStore;
use tempfile::TempDir;

/// Tells a child which store to open: `redis:NAMESPACE URL` or `file:PATH`.
const PLACE: &str = "LARDER_CACHE_TEST_PLACE";

/// A store of a test's own, emptied when it goes.
pub(crate) enum Place {
    Redis { url: String, namespace: String },
    File(TempDir),
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test`, which starts Redis servers and sets it")
    })
}

async fn open(place: &str) -> Arc<dyn NamespacedStore> {
    match place.split_once(':').unwrap() {
        ("redis", place) => {
            let (namespace, url) = place.split_once(' ').unwrap();
            let builder = RedisStore::builder(url).namespace(namespace);
            Arc::new(builder.response_timeout(Duration::from_secs(60)).build().await.unwrap())
        }
        (_, path) => {
            let builder = FileStore::builder(path).durability(Durability::ProcessCrash);
            Arc::new(builder.lock_timeout(Duration::from_secs(60)).build().await.unwrap())
        }
    }
}

/// The store that a child was told to open.
pub(crate) async fn own_store() -> Arc<dyn NamespacedStore> {
    open(&std::env::var(PLACE).expect("this test is started by another one")).await
}

/// A space as all processes of a test have it.
pub(crate) fn space(store: Arc<dyn NamespacedStore>, lease: Duration) -> CacheBuilder<Space> {
    CacheSpace::builder(store)
        .distributed(Distributed::new().lease(lease))
        // A machine that stalls is no store that fails.
        .store_budget(Duration::from_secs(60))
}

impl Place {
    pub(crate) fn redis() -> Self {
        Self::redis_at(variable("LARDER_TEST_REDIS_URL"))
    }

    fn redis_at(url: String) -> Self {
        let number = RandomState::new().build_hasher().finish();
        Self::Redis { url, namespace: format!("test-cache-{number:016x}") }
    }

    pub(crate) fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    fn name(&self) -> String {
        match self {
            Self::Redis { url, namespace } => format!("redis:{namespace} {url}"),
            Self::File(folder) => format!("file:{}", folder.path().join("store").display()),
        }
    }

    pub(crate) async fn store(&self) -> Arc<dyn NamespacedStore> {
        open(&self.name()).await
    }

    /// Starts an ignored test of this binary in a process of its own, on this store.
    pub(crate) fn start(&self, test: &str, words: &str) -> Other {
        start(test, &self.name(), words)
    }
}

/// Starts an ignored test of this binary in a process of its own.
pub(crate) fn start(test: &str, place: &str, words: &str) -> Other {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(PLACE, place)
        .env(WORDS, words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    Other { stdin: child.stdin.take(), lines, child }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Redis { .. } = self {
            let name = self.name();
            let clear = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    open(&name).await.delete_all().await.unwrap();
                });
            };
            let _ = std::thread::spawn(clear).join();
        }
    }
}

/// What a child is told to do in particular.
const WORDS: &str = "LARDER_CACHE_TEST_WORDS";

pub(crate) fn own_words() -> String {
    std::env::var(WORDS).unwrap()
}

/// Another process; killed when it goes.
pub(crate) struct Other {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

/// What children say, among what the test harness prints.
const SAID: &str = "said: ";

/// Tells the parent something.
pub(crate) fn say(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // One write, on a line of its own.
    out.write_all(format!("\n{SAID}{text}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Waits, off the runtime, until the parent says something.
pub(crate) async fn hear() -> String {
    let read = || std::io::stdin().lines().next().and_then(Result::ok).unwrap_or_default();
    tokio::task::spawn_blocking(read).await.unwrap()
}

impl Other {
    /// The next thing that it says.
    pub(crate) fn hears(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it has ended");
            if let Some(said) = line.trim_end().strip_prefix(SAID) {
                return said.to_owned();
            }
        }
    }

    pub(crate) fn tell(&mut self, text: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    /// As [`tell`](Self::tell), to one that may have ended meanwhile.
    pub(crate) fn tell_if_there(&mut self, text: &str) {
        let _ = writeln!(self.stdin.as_mut().unwrap(), "{text}");
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(kill.unwrap().success());
    }

    /// What it says until it ends, well.
    pub(crate) fn finish(mut self) -> Vec<String> {
        drop(self.stdin.take());
        let lines = (&mut self.lines).lines().map(Result::unwrap);
        let said = lines.filter_map(|line| line.strip_prefix(SAID).map(str::to_owned)).collect();
        assert!(self.child.wait().unwrap().success(), "{said:?}");
        said
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // A stopped process can be killed, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A redis-server of a test's own, killed when it goes.
pub(crate) struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        loop {
            let folder = tempfile::tempdir().unwrap();
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let child = Self::spawn(port, &folder);
            let mut server = Self { child, port, folder };
            if server.is_up().await {
                return server;
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn place(&self) -> Place {
        Place::redis_at(self.url())
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its port, empty.
    pub(crate) async fn start_again(&mut self) {
        loop {
            self.child = Self::spawn(self.port, &self.folder);
            if self.is_up().await {
                return;
            }
        }
    }

    fn spawn(port: u16, folder: &TempDir) -> Child {
        Command::new(variable("LARDER_TEST_REDIS_SERVER"))
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string(), "--dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Waits until it answers; false when it has ended, as it does when its port is taken.
    async fn is_up(&mut self) -> bool {
        while self.child.try_wait().unwrap().is_none() {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return self.child.try_wait().unwrap().is_none();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
