//! The example `rates`, as two real processes with one real Redis and a real HTTP client: the
//! upstream is asked once for each key, and neither the death of an instance nor that of Redis
//! fails a request that was not with the instance that died.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "distributed/place.rs"]
#[allow(dead_code, reason = "the processes of other tests have more to do")]
mod place;
#[path = "../examples/rates/service.rs"]
mod service;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;
use place::{Other, Server, hear, own_words, say, start};
use service::{Settings, instance};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Longer than any machine stalls.
const LONG: &str = "120";
/// For what has to be taken over.
const SHORT: &str = "2";

type Counts = Arc<Mutex<HashMap<String, u32>>>;

/// An upstream that takes 300 ms for each answer, and counts what it is asked for.
async fn upstream() -> (String, Counts) {
    async fn slow(State(counts): State<Counts>, Path(currency): Path<String>) -> impl IntoResponse {
        // Some count for a second only, so that there is always something to load.
        let max_age = if currency.starts_with('x') { "max-age=1" } else { "max-age=3600" };
        *counts.lock().unwrap().entry(currency).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
        ([(CACHE_CONTROL, max_age)], "1.5")
    }
    let counts = Counts::default();
    let app = Router::new().route("/{currency}", get(slow)).with_state(counts.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, counts)
}

/// An instance of the service, until it is told to end.
#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn serve() {
    let words = own_words();
    let [redis, upstream, lease, address] = words.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{words:?}")
    };
    let settings = Settings {
        redis: redis.to_owned(),
        upstream: upstream.to_owned(),
        lease: Duration::from_secs(lease.parse().unwrap()),
        patience: Duration::from_secs(30),
    };
    let app = instance(&settings).await.unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    say(listener.local_addr().unwrap());
    tokio::select! {
        served = axum::serve(listener, app) => served.unwrap(),
        _ = hear() => {}
    }
}

struct Instance {
    /// Killed with it.
    _process: Other,
    address: String,
}

impl Instance {
    fn start(redis: &Server, upstream: &str, lease: &str, address: &str) -> Self {
        let words = format!("{} {upstream} {lease} {address}", redis.url());
        let mut process = start("serve", "", &words);
        let address = process.hears();
        Self { _process: process, address }
    }

    async fn get(&self, path: &str) -> String {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer.text().await.unwrap()
    }
}

#[tokio::test]
async fn two_instances_ask_the_upstream_once_for_each_key() {
    let redis = Server::start().await;
    let (upstream, counts) = upstream().await;
    let instances: Vec<Arc<Instance>> =
        (0..2).map(|_| Arc::new(Instance::start(&redis, &upstream, LONG, "127.0.0.1:0"))).collect();
    let mut asking = Vec::new();
    for number in 0..200 {
        let instance = Arc::clone(&instances[number % 2]);
        let path = format!("/rates/c{}", number / 2 % 10);
        asking.push(tokio::spawn(async move { instance.get(&path).await }));
    }
    for asked in asking {
        assert_eq!(asked.await.unwrap(), "1.5");
    }
    let counts = counts.lock().unwrap().clone();
    assert!(counts.len() == 10 && counts.values().all(|count| *count == 1), "{counts:?}");
    let mut loads = 0;
    for instance in &instances {
        loads += instance.get("/loads").await.parse::<u32>().unwrap();
    }
    assert_eq!(loads, 10, "by the instances' own counts");
}

/// Requests to whichever instance is not known to be down, again and again.
struct Load {
    down: [AtomicBool; 2],
    addresses: [String; 2],
    answered: AtomicU64,
    over: AtomicBool,
}

impl Load {
    async fn ask_again_and_again(&self, task: usize) {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(120)).build().unwrap();
        let mut number = task;
        while !self.over.load(SeqCst) {
            number += 1;
            let preferred = number % 2;
            let chosen = if self.down[preferred].load(SeqCst) { 1 - preferred } else { preferred };
            let key = format!("{}{}", if number.is_multiple_of(3) { "x" } else { "c" }, number % 7);
            let url = format!("http://{}/rates/{key}", self.addresses[chosen]);
            let answer = client.get(&url).send().await;
            let answer = match answer {
                Ok(answer) => answer.error_for_status(),
                Err(error) => Err(error),
            };
            match answer {
                Ok(_) => drop(self.answered.fetch_add(1, SeqCst)),
                // In flight on the instance that was killed.
                Err(_) if self.down[chosen].load(SeqCst) => {}
                Err(error) => panic!("a request failed: {error:?}"),
            }
        }
    }

    /// Lets the load go on until so many more were answered.
    async fn answered(&self, more: u64) {
        let enough = self.answered.load(SeqCst) + more;
        while self.answered.load(SeqCst) < enough {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_but_those_in_flight_on_the_instance_that_is_killed() {
    let mut redis = Server::start().await;
    let (upstream, counts) = upstream().await;
    let start = |address: &str| Instance::start(&redis, &upstream, SHORT, address);
    let (first, second) = (start("127.0.0.1:0"), start("127.0.0.1:0"));
    let load = Arc::new(Load {
        down: Default::default(),
        addresses: [first.address.clone(), second.address.clone()],
        answered: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let load = Arc::clone(&load);
            tokio::spawn(async move { load.ask_again_and_again(task).await })
        })
        .collect();
    load.answered(100).await;

    // From here on nobody asks it; what it is being asked ends with it.
    load.down[1].store(true, SeqCst);
    let address = second.address.clone();
    drop(second);
    load.answered(100).await;

    redis.kill();
    load.answered(50).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.answered(50).await;

    // The instance comes back before Redis does.
    let second = Instance::start(&redis, &upstream, SHORT, &address);
    load.down[1].store(false, SeqCst);
    load.answered(50).await;

    redis.start_again().await;
    load.answered(50).await;
    load.over.store(true, SeqCst);
    for task in tasks {
        task.await.unwrap();
    }

    // And they work together again: what one has loaded, the other finds.
    let began = Instant::now();
    for number in 0.. {
        let key = format!("new{number}");
        let path = format!("/rates/{key}");
        let (one, other) = (first.get(&path).await, second.get(&path).await);
        assert_eq!((&*one, &*other), ("1.5", "1.5"));
        if counts.lock().unwrap()[&key] == 1 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "they never find each other again");
    }
}
