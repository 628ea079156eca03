use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_core::Store;
use larder_redis::{RedisStore, redis};
use tokio::task::JoinHandle;

use crate::{Race, Row, Size, Unit, value};

const KEYS_AND_DEL: &str = "Lua KEYS and DEL";
const SCRIPT: &str = "local keys = redis.call('KEYS', ARGV[1]) \
    for first = 1, #keys, 5000 do \
      redis.call('DEL', unpack(keys, first, math.min(first + 4999, #keys))) \
    end";

/// What clearing 100,000 of 200,000 keys takes, how long another client waits meanwhile, and for how
/// long at a time the server does nothing else.
pub(super) async fn rows(size: Size, url: &str, client: &redis::Client) -> Vec<Row> {
    let rounds = size.rounds().min(5);
    let mut ours = Cleared::default();
    let mut theirs = Cleared::default();
    let mut rest = Vec::new();
    for _ in 0..rounds {
        ours.add(clear(size, url, client, false).await);
        theirs.add(clear(size, url, client, true).await);
        let watch = Watch::start(client).await;
        let took = ours.took.last().expect("a figure");
        tokio::time::sleep(Duration::from_nanos(*took as u64)).await;
        rest.push(watch.end().await);
    }
    let race = |work: &str, ours: Vec<f64>, theirs: Vec<f64>| {
        Race::new(work, Unit::Nanoseconds)
            .ours("Larder", replay(ours))
            .peer(KEYS_AND_DEL, replay(theirs))
    };
    vec![
        race("delete_all of 100,000 of 200,000 keys", ours.took, theirs.took)
            .times(KEYS_AND_DEL, 1.0 / 1.6)
            .run(rounds)
            .await,
        race("the longest that another client waits meanwhile", ours.wait, theirs.wait)
            .peer("nobody clears", replay(rest))
            .at_most(2e6)
            .run(rounds)
            .await,
        race("the server's longest command meanwhile", ours.busy, theirs.busy).run(rounds).await,
    ]
}

/// Gives figures that were taken before, one a turn.
fn replay(figures: Vec<f64>) -> impl FnMut() -> std::future::Ready<f64> {
    let mut figures = figures.into_iter().cycle();
    move || std::future::ready(figures.next().expect("a figure"))
}

/// Nanoseconds of every round.
#[derive(Default)]
struct Cleared {
    took: Vec<f64>,
    /// How long another client waited at most.
    wait: Vec<f64>,
    /// How long the server says that a single command took at most.
    busy: Vec<f64>,
}

impl Cleared {
    fn add(&mut self, [took, wait, busy]: [f64; 3]) {
        self.took.push(took);
        self.wait.push(wait);
        self.busy.push(busy);
    }
}

async fn clear(size: Size, url: &str, client: &redis::Client, by_script: bool) -> [f64; 3] {
    let stay = RedisStore::builder(url).namespace("stays").build().await.expect("a store");
    let go = RedisStore::builder(url).namespace("goes").build().await.expect("a store");
    let keys: Vec<String> = (0..size.entries(100_000)).map(crate::key).collect();
    for keys in keys.chunks(1_000) {
        for store in [&stay, &go] {
            let items = keys.iter().map(|key| larder_core::SetItem::new(key, value(100)));
            for done in store.set_many(items.collect()).await.expect("a batch") {
                done.expect("a set");
            }
        }
    }
    // One command of the script's may take longer than the driver waits for answers by itself.
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
    let mut connection = connection.expect("a connection");
    for command in [
        ["CONFIG", "SET", "slowlog-log-slower-than", "100"].as_slice(),
        &["CONFIG", "SET", "slowlog-max-len", "4096"],
        &["SLOWLOG", "RESET"],
    ] {
        let () = command_of(command).query_async(&mut connection).await.expect("an answer");
    }
    let watch = Watch::start(client).await;
    let cleared = go.clone();
    let mut asking = connection.clone();
    // By a task, as an application does: the thread that waits for it here is none of the runtime's.
    let clearing = tokio::spawn(async move {
        let started = Instant::now();
        if by_script {
            let mut eval = redis::cmd("EVAL");
            eval.arg(SCRIPT).arg(0).arg("goes:*");
            let () = eval.query_async(&mut asking).await.expect("a deletion");
        } else {
            cleared.delete_all().await.expect("a deletion");
        }
        started.elapsed()
    });
    let took = clearing.await.expect("no panic").as_nanos() as f64;
    let wait = watch.end().await;
    let slow: Vec<redis::Value> =
        command_of(&["SLOWLOG", "GET", "-1"]).query_async(&mut connection).await.expect("a log");
    let micros = slow.into_iter().map(|entry| match entry {
        // Its number, its moment and what it took.
        redis::Value::Array(parts) => match parts.get(2) {
            Some(redis::Value::Int(micros)) => *micros as f64,
            other => panic!("not an entry of the log: {other:?}"),
        },
        other => panic!("not an entry of the log: {other:?}"),
    });
    let busy = 1e3 * micros.fold(0.0, f64::max);
    assert!(stay.exists(&keys[0]).await.expect("an answer"), "a neighbour was cleared");
    assert!(!go.exists(&keys[0]).await.expect("an answer"), "nothing was cleared");
    stay.delete_all().await.expect("a deletion");
    [took, wait, busy]
}

fn command_of(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}

/// Another client, which asks one thing after the other.
struct Watch {
    over: Arc<AtomicBool>,
    longest: JoinHandle<Duration>,
}

impl Watch {
    async fn start(client: &redis::Client) -> Self {
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
        let mut connection = connection.expect("a connection");
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let longest = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !seen.load(Ordering::Relaxed) {
                let started = Instant::now();
                let ping = redis::cmd("PING");
                let _: String = ping.query_async(&mut connection).await.expect("a pong");
                longest = longest.max(started.elapsed());
            }
            longest
        });
        Self { over, longest }
    }

    /// How long it waited at most, in nanoseconds.
    async fn end(self) -> f64 {
        self.over.store(true, Ordering::Relaxed);
        self.longest.await.expect("the watcher").as_nanos() as f64
    }
}
