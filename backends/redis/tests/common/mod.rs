//! What the tests against real servers share.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use larder_core::Store;
use larder_redis::{RedisConnection, RedisStore, RedisStoreBuilder, redis};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A variable that `cargo xtask test` sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test`, which starts Redis servers and sets it")
    })
}

/// The URL of the server that asks for nothing.
pub(crate) fn url() -> String {
    variable("LARDER_TEST_REDIS_URL")
}

pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A root namespace of a test's own, emptied when it goes.
pub(crate) struct Root {
    pub(crate) url: String,
    pub(crate) name: String,
}

impl Root {
    pub(crate) fn new() -> Self {
        Self::on(url())
    }

    pub(crate) fn on(url: String) -> Self {
        Self { url, name: format!("test-{:016x}", random()) }
    }

    /// A name that is cleared away too: its like may stand beside the root.
    pub(crate) fn named(suffix: &str) -> Self {
        let mut root = Self::new();
        root.name.push_str(suffix);
        root
    }

    pub(crate) fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder(&self.url).namespace(&self.name)
    }

    pub(crate) async fn store(&self) -> RedisStore {
        self.builder().build().await.unwrap()
    }
}

impl std::fmt::Debug for Root {
    // The URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let builder = self.builder();
        let clear = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                // The server may be one that the test has ended.
                if let Ok(store) = builder.connect_timeout(Duration::from_secs(1)).build().await {
                    let _ = store.delete_all().await;
                }
            });
        };
        let _ = std::thread::spawn(clear).join();
    }
}

/// Runs any command.
pub(crate) async fn run<T: redis::FromRedisValue>(
    connection: &mut RedisConnection,
    words: &[&[u8]],
) -> T {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(connection).await.unwrap()
}

/// A redis-server of a test's own, killed when it goes.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
    args: Vec<String>,
}

impl Server {
    /// Starts one on a free port, with further arguments.
    pub(crate) async fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        loop {
            let port = free_port();
            let mut child = spawn(port, &folder, &args);
            if is_up(&mut child, port).await {
                return Self { child, port, folder, args };
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its port, empty.
    pub(crate) async fn start_again(&mut self) {
        loop {
            self.child = spawn(self.port, &self.folder, &self.args);
            if is_up(&mut self.child, self.port).await {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Child {
    Command::new(variable("LARDER_TEST_REDIS_SERVER"))
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
        .args(["--enable-debug-command", "yes", "--port", &port.to_string()])
        .args(["--unixsocket", "redis.sock"])
        .arg("--dir")
        .arg(folder.path())
        .args(args)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until it answers; false when it has ended, as it does when its port is taken.
async fn is_up(child: &mut Child, port: u16) -> bool {
    while child.try_wait().unwrap().is_none() {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(b"PING\r\n").await?;
            let mut answer = [0; 3];
            stream.read_exact(&mut answer).await.map(|_| answer)
        };
        let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
        // It may ask for a password, and that is an answer; not so while it is loading.
        if answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer != *b"-LO")) {
            return child.try_wait().unwrap().is_none();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// A server that accepts connections and hands each to `serve`.
pub(crate) async fn fake<F, S>(serve: F) -> u16
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// A way to a server that can be cut: it forwards what it is sent, from a thread of its own.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    broken: watch::Sender<bool>,
}

impl Proxy {
    /// A way to the server at `target`, a host and a port.
    pub(crate) fn to(target: String) -> Self {
        let (broken, seen) = watch::channel(false);
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap().port()).unwrap();
                let mut end = seen.clone();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let stream = accepted.unwrap().0;
                            tokio::spawn(forward(stream, target.clone(), seen.clone()));
                        }
                        changed = end.changed() => if changed.is_err() {
                            // The proxy was dropped.
                            return;
                        },
                    }
                }
            });
        });
        Self { port: told.recv().unwrap(), broken }
    }

    /// Cuts every connection and all that come, or lets them through again.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.send_replace(broken);
    }
}

async fn forward(mut stream: TcpStream, target: String, mut broken: watch::Receiver<bool>) {
    if *broken.borrow() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut stream, &mut server) => {}
        _ = broken.wait_for(|broken| *broken) => {}
    }
}
