//! F6, and F2 across processes, with real processes, over Redis and over a folder.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use larder_cache::Cache;
use larder_core::{NamespacedStore, StoreExt};
use larder_redis::redis;

use crate::place::{Other, Place, Server, hear, own_store, own_words, say, space};

/// Longer than any machine stalls.
const LONG: Duration = Duration::from_secs(120);
/// For tests that wait for the end of it; nothing depends on its being kept.
const SHORT: Duration = Duration::from_secs(2);
const TRIES: u64 = 1_000;

async fn own_cache(lease: Duration) -> Cache<u64> {
    space(own_store().await, lease).build().await.unwrap().cache()
}

/// The next number of a sequence that a seed begins (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn load_once(place: &Place) {
    let mut others: Vec<Other> =
        (0..8).map(|_| place.start("flight_processes::ask_for_a_cold_key", "")).collect();
    for other in &mut others {
        assert_eq!(other.hears(), "ready");
    }
    for other in &mut others {
        other.tell("go");
    }
    let said: Vec<String> = others.into_iter().flat_map(Other::finish).collect();
    let loads = said.iter().filter(|said| *said == "loading").count();
    assert_eq!(loads, 1, "{said:?}");
    let values: Vec<&String> = said.iter().filter(|said| *said != "loading").collect();
    assert!(values.len() == 8 && values.iter().all(|value| *value == values[0]), "{said:?}");
}

#[test]
fn eight_processes_load_a_cold_key_once_over_redis() {
    load_once(&Place::redis());
}

#[test]
fn eight_processes_load_a_cold_key_once_over_a_folder() {
    load_once(&Place::file());
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn ask_for_a_cold_key() {
    let cache = own_cache(LONG).await;
    say("ready");
    hear().await;
    let load = async |_| {
        say("loading");
        tokio::time::sleep(Duration::from_millis(700)).await;
        u64::from(std::process::id())
    };
    say(cache.get_or_set_with("k", load).await.unwrap());
}

/// A stale value, and eight processes: each serves it, one refreshes it.
async fn refresh_once(place: Place) {
    let cache = space(place.store().await, LONG).build().await.unwrap().cache::<u64>();
    let past = Duration::from_millis(1);
    cache.set("k", &7).ttl(past).await.unwrap();
    tokio::time::sleep(past * 2).await;
    let mut others: Vec<Other> =
        (0..8).map(|_| place.start("flight_processes::ask_for_a_stale_key", "")).collect();
    // All are served before the refresh may end.
    for other in &mut others {
        assert_eq!(other.hears(), "7");
    }
    for other in &mut others {
        other.tell("end");
    }
    let said: Vec<String> = others.into_iter().flat_map(Other::finish).collect();
    assert_eq!(said.iter().filter(|said| *said == "loading").count(), 1, "{said:?}");
    assert!(said.iter().all(|said| said == "loading" || said == "8"), "{said:?}");
}

#[tokio::test]
async fn eight_processes_refresh_a_stale_key_once_over_redis() {
    refresh_once(Place::redis()).await;
}

#[tokio::test]
async fn eight_processes_refresh_a_stale_key_once_over_a_folder() {
    refresh_once(Place::file()).await;
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn ask_for_a_stale_key() {
    let space = space(own_store().await, LONG).grace(LONG * 9).build().await.unwrap();
    let cache = space.cache::<u64>();
    let loads = Arc::new(AtomicU64::new(0));
    let (counted, (end, mut ended)) = (loads.clone(), tokio::sync::watch::channel(false));
    let load = async move |_| {
        counted.fetch_add(1, SeqCst);
        let _ = ended.wait_for(|ended| *ended).await;
        8_u64
    };
    say(cache.get_or_set_with("k", load).await.unwrap());
    hear().await;
    end.send_replace(true);
    let fresh = loop {
        if let Some(fresh) = cache.get_value("k").await.unwrap() {
            break fresh;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    for _ in 0..loads.load(SeqCst) {
        say("loading");
    }
    say(fresh);
}

/// Says that it loads, loads until it is told the value, and says what it got.
#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn load_what_is_told() {
    let lease = Duration::from_secs(own_words().parse().unwrap());
    let cache = own_cache(lease).await;
    let load = async |_| {
        say("loading");
        hear().await.parse::<u64>().unwrap()
    };
    say(cache.get_or_set_with("k", load).await.unwrap());
}

/// Ends a loading process, by `signal`, and sees that another takes the load over.
async fn take_over(place: Place, signal: &str) {
    let cache = space(place.store().await, SHORT).build().await.unwrap().cache::<u64>();
    let mut loader = place.start("flight_processes::load_what_is_told", "2");
    assert_eq!(loader.hears(), "loading");
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set_with("k", async |_| 2_u64).await.unwrap() }
    });
    loader.signal(signal);
    assert_eq!(waiting.await.unwrap(), 2);
    if signal == "-STOP" {
        // Its own load ends now, and is refused where the data is; unless it has the other's value
        // before it begins to listen.
        loader.signal("-CONT");
        loader.tell_if_there("1");
        loader.finish();
    }
    assert_eq!(cache.get_value("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn another_takes_over_from_a_process_that_was_killed_over_redis() {
    take_over(Place::redis(), "-KILL").await;
}

#[tokio::test]
async fn another_takes_over_from_a_process_that_was_killed_over_a_folder() {
    take_over(Place::file(), "-KILL").await;
}

#[tokio::test]
async fn another_takes_over_from_a_process_that_was_stopped_over_redis() {
    take_over(Place::redis(), "-STOP").await;
}

#[tokio::test]
async fn another_takes_over_from_a_process_that_was_stopped_over_a_folder() {
    take_over(Place::file(), "-STOP").await;
}

/// For each try, loads `k` from the truth, some time after it was read, and says what it got.
#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn load_the_truth() {
    let store = own_store().await;
    let cache = space(store.clone(), LONG).build().await.unwrap().cache::<u64>();
    let mut seed: u64 = own_words().parse().unwrap();
    say("ready");
    while hear().await == "go" {
        let (store, delay) = (store.clone(), Duration::from_micros(next(&mut seed) % 3_000));
        let load = async move |_| {
            let truth = read(&*store).await;
            tokio::time::sleep(delay).await;
            truth
        };
        let loaded = cache.get_or_set_with("k", load).await.unwrap();
        say(format!("{loaded} {}", cache.space().stats().overtaken));
    }
}

async fn read(store: &dyn NamespacedStore) -> u64 {
    let truth = store.get("truth").await.unwrap().unwrap();
    str::from_utf8(&truth).unwrap().parse().unwrap()
}

/// The truth is changed and the key deleted, at any moment of a load in another process: what is
/// cached afterwards is never the old truth.
async fn delete_while_another_loads(place: Place) {
    let mut seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let store = place.store().await;
    let cache = space(store.clone(), LONG).build().await.unwrap().cache::<u64>();
    store.set("truth", "0").await.unwrap();
    let mut loader = place.start("flight_processes::load_the_truth", &next(&mut seed).to_string());
    assert_eq!(loader.hears(), "ready");
    let mut overtaken: u64 = 0;
    for truth in 1..=TRIES {
        loader.tell("go");
        let delay = (next(&mut seed) % 5_000).saturating_sub(1_000);
        if delay > 0 {
            tokio::time::sleep(Duration::from_micros(delay)).await;
        }
        store.set("truth", truth.to_string()).await.unwrap();
        match next(&mut seed) % 3 {
            0 => drop(cache.delete("k").await.unwrap()),
            1 => drop(cache.remove_starting_with("k").await.unwrap()),
            _ => cache.clear().await.unwrap(),
        }
        let said = loader.hears();
        let (_, count) = said.split_once(' ').unwrap();
        overtaken = count.parse().unwrap();
        let cached = cache.get_value("k").await.unwrap();
        assert!(cached.is_none_or(|cached| cached == truth), "{cached:?} in try {truth}");
        cache.delete("k").await.unwrap();
    }
    loader.tell("end");
    loader.finish();
    println!("{overtaken} of {TRIES} loads were overtaken");
    assert!((1..TRIES).contains(&overtaken), "no deletion came while the other process loaded");
}

#[tokio::test]
async fn a_deletion_overtakes_a_load_in_another_process_over_redis() {
    delete_while_another_loads(Place::redis()).await;
}

#[tokio::test]
async fn a_deletion_overtakes_a_load_in_another_process_over_a_folder() {
    delete_while_another_loads(Place::file()).await;
}

/// How many commands a server has run since it was asked to forget them, by its own count.
async fn commands(server: &Server) -> u64 {
    let stats: String = server.command(&["INFO", "commandstats"]).await;
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        // What this test itself asks for, and what scripts consist of.
        let own = ["info", "config|resetstat", "hello", "client|setinfo", "client|setname"];
        if own.contains(&name) {
            return None;
        }
        rest.split_once(',')?.0.parse::<u64>().ok()
    };
    stats.lines().filter_map(calls).sum()
}

#[tokio::test]
async fn a_process_that_waits_sends_redis_at_most_twenty_commands_a_second() {
    let server = Server::start().await;
    let place = server.place();
    let mut loader = place.start("flight_processes::load_what_is_told", "120");
    assert_eq!(loader.hears(), "loading");
    let cache = space(place.store().await, LONG).build().await.unwrap().cache::<u64>();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set_with("k", async |_| 2_u64).await.unwrap() }
    });
    eventually_asked(&server).await;
    let _: String = server.command(&["CONFIG", "RESETSTAT"]).await;
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (sent, seconds) = (commands(&server).await, began.elapsed().as_secs_f64());
    println!("{sent} commands in {seconds:.1} s");
    // The commands within a script are counted as well as the script.
    assert!(sent > 0, "nobody waits");
    assert!(f64::from(u32::try_from(sent).unwrap()) / seconds <= 20.0, "{sent} in {seconds} s");
    loader.tell("1");
    assert_eq!(waiting.await.unwrap(), 1);
    loader.finish();
}

async fn eventually_asked(server: &Server) {
    let before = commands(server).await;
    while commands(server).await < before + 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Server {
    async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }
}
