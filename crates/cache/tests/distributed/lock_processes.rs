//! L2 with real processes, stopped and killed, over Redis and over a folder.

use std::collections::BTreeSet;
use std::time::Duration;

use larder_cache::CacheError;
use larder_core::StoreExt;

use crate::place::{Place, Server, hear, own_store, own_words, say, space};

/// Longer than any machine stalls.
const LONG: Duration = Duration::from_secs(120);
/// For tests that wait for the end of it; nothing depends on its being kept.
const SHORT: Duration = Duration::from_secs(2);
const PROCESSES: usize = 32;
const TIMES: usize = 100;

async fn count_in_many_processes(place: Place) {
    let others: Vec<_> =
        (0..PROCESSES).map(|_| place.start("lock_processes::count_under_the_lock", "")).collect();
    let mut tokens = BTreeSet::new();
    for other in others {
        let said: Vec<u64> = other.finish().iter().map(|line| line.parse().unwrap()).collect();
        assert!(said.len() == TIMES && said.is_sorted(), "a process's own tokens grow");
        tokens.extend(said);
    }
    assert_eq!(tokens.len(), PROCESSES * TIMES, "no token comes twice");
    let counter = place.store().await.get("counter").await.unwrap().unwrap();
    assert_eq!(counter, (PROCESSES * TIMES).to_string());
}

#[tokio::test]
async fn many_processes_lose_no_count_over_redis() {
    count_in_many_processes(Place::redis()).await;
}

#[tokio::test]
async fn many_processes_lose_no_count_over_a_folder() {
    count_in_many_processes(Place::file()).await;
}

/// The counter is read and written past the cache and without conditions: the lock is all there is.
#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn count_under_the_lock() {
    let store = own_store().await;
    let cache = space(store.clone(), LONG).build().await.unwrap().cache::<u32>();
    let mut tokens = Vec::new();
    for _ in 0..TIMES {
        let guard = cache.lock("counter").await.unwrap();
        let count = store.get("counter").await.unwrap();
        let count = count.map_or(0, |text| str::from_utf8(&text).unwrap().parse().unwrap());
        store.set("counter", (count + 1_u32).to_string()).await.unwrap();
        tokens.push(guard.fence().unwrap());
        guard.release().await;
    }
    tokens.into_iter().for_each(say);
}

/// Holds `k`, says so with the token, and writes when told to.
#[tokio::test]
#[ignore = "runs in a process of its own, started by another test"]
async fn hold_and_write() {
    let cache = space(own_store().await, SHORT).build().await.unwrap().cache::<u32>();
    let mut held = cache.getset("k").await.unwrap();
    say(held.fence().unwrap());
    while hear().await == "write" {
        let lost = held.is_lost();
        match held.set(&u32::MAX).await {
            Err(CacheError::LockLost) if lost => say("lost"),
            other => say(format!("lost: {lost}, {other:?}")),
        }
    }
    assert_eq!(own_words(), "");
}

async fn stop_a_holder(place: Place, before: Option<u32>) {
    let cache = space(place.store().await, SHORT).build().await.unwrap().cache::<u32>();
    if let Some(before) = before {
        cache.set("k", &before).await.unwrap();
    }
    let mut holder = place.start("lock_processes::hold_and_write", "");
    let first: u64 = holder.hears().parse().unwrap();
    holder.signal("-STOP");
    // It goes on for those who wait: this never returns otherwise.
    let mut held = cache.getset("k").await.unwrap();
    assert_eq!(held.item().map(|item| item.value().unwrap()), before);
    let mut last = held.fence().unwrap();
    assert!(last > first);
    for value in 1..=3 {
        // This process may stall past its own lease; then it is its own turn to begin anew.
        while held.set(&value).await.is_err() {
            held = cache.getset("k").await.unwrap();
        }
        held.release().await;
        held = cache.getset("k").await.unwrap();
        assert!(held.fence().unwrap() > last);
        last = held.fence().unwrap();
    }
    holder.signal("-CONT");
    for _ in 0..2 {
        holder.tell("write");
        assert_eq!(holder.hears(), "lost");
    }
    assert_eq!(cache.get_value("k").await.unwrap(), Some(3));
    holder.tell("end");
    holder.finish();
    held.release().await;
}

#[tokio::test]
async fn a_holder_that_was_stopped_finds_its_lock_lost_over_redis() {
    stop_a_holder(Place::redis(), None).await;
    stop_a_holder(Place::redis(), Some(7)).await;
}

#[tokio::test]
async fn a_holder_that_was_stopped_finds_its_lock_lost_over_a_folder() {
    stop_a_holder(Place::file(), None).await;
    stop_a_holder(Place::file(), Some(7)).await;
}

async fn kill_a_holder(place: Place) {
    let cache = space(place.store().await, SHORT).build().await.unwrap().cache::<u32>();
    let mut holder = place.start("lock_processes::hold_and_write", "");
    let token: u64 = holder.hears().parse().unwrap();
    drop(holder);
    let guard = cache.lock("k").await.unwrap();
    assert!(guard.fence().unwrap() > token);
}

#[tokio::test]
async fn the_lock_of_a_process_that_was_killed_is_free_over_redis() {
    kill_a_holder(Place::redis()).await;
}

#[tokio::test]
async fn the_lock_of_a_process_that_was_killed_is_free_over_a_folder() {
    kill_a_holder(Place::file()).await;
}

/// A server that keeps nothing forgets every lock; its tokens go on from where they were.
#[tokio::test]
async fn a_restart_of_redis_takes_locks_away_and_repeats_no_token() {
    let mut server = Server::start().await;
    let place = server.place();
    let mut holder = place.start("lock_processes::hold_and_write", "");
    let token: u64 = holder.hears().parse().unwrap();
    server.kill();
    server.start_again().await;
    // This process has never seen the first token.
    let cache = space(place.store().await, LONG).build().await.unwrap().cache::<u32>();
    let mut held = cache.getset("k").await.unwrap();
    assert!(held.fence().unwrap() > token);
    // It has noticed, or the data tells it, once it has found the server again.
    let said = loop {
        holder.tell("write");
        let said = holder.hears();
        if !said.contains("Store(") {
            break said;
        }
    };
    assert!(["lost", "lost: false, Err(Conflict)"].contains(&&*said), "{said}");
    held.set(&1).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    holder.tell("end");
    holder.finish();
    held.release().await;
}
