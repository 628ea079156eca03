//! V6: the cache without a runtime.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::memory;
use larder_cache::{CacheError, CacheScope, CacheSpace, Loaded};
use larder_core::Expiry;

fn space() -> CacheSpace {
    CacheSpace::new(memory().0)
}

#[test]
fn it_reads_and_writes_without_a_runtime() {
    let cache = space().cache::<u32>().blocking().unwrap();
    assert_eq!(cache.get("k").unwrap(), None);
    cache.set("k", 1).unwrap();
    assert_eq!(cache.item("k").unwrap().unwrap().value().unwrap(), 1);
    cache.at("k").set(Loaded::new(2).ttl(Duration::from_secs(9))).unwrap();
    assert_eq!(cache.at("k").get().unwrap(), Some(2));
    assert_eq!(cache.update_expiry("k", Expiry::Never).unwrap(), 2);
    assert_eq!(cache.at("k").delete().unwrap(), Some(2));
    assert_eq!(cache.get_or_set_with("k", |key| u32::try_from(key.len()).unwrap()).unwrap(), 1);
    cache.clone().clear().unwrap();
    assert_eq!(cache.delete("k").unwrap(), None);
    let error = cache.run(async |cache| cache.get_or_fail("k").await).unwrap_err();
    assert!(matches!(error, CacheError::NotFound));
}

#[test]
fn many_threads_share_it_and_load_once() {
    let cache = space().cache::<u32>().blocking().unwrap();
    let loads = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let together = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                together.wait();
                let loads = loads.clone();
                let loader = move |_: &str| {
                    loads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    7_u32
                };
                assert_eq!(cache.get_or_set_with("k", loader).unwrap(), 7);
            });
        }
    });
    assert_eq!(loads.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn a_panic_in_a_loader_is_an_error_and_a_blocking_call_in_a_loader_works() {
    let cache = space().cache::<u32>().blocking().unwrap();
    let panicking = cache.get_or_set_with("k", |key| -> u32 { panic!("planned for {key}") });
    assert!(matches!(panicking, Err(CacheError::Panicked(text)) if text.contains("planned for k")));
    assert_eq!(cache.get_or_set_with("k", |_| 5_u32).unwrap(), 5);
}

#[tokio::test]
async fn on_a_thread_of_a_runtime_it_is_an_error_and_never_a_deadlock() {
    let cache = space().cache::<u32>();
    assert!(matches!(cache.blocking(), Err(CacheError::WouldBlock)));
    let made_elsewhere = std::thread::spawn({
        let cache = cache.clone();
        move || cache.blocking().unwrap()
    });
    let blocking = made_elsewhere.join().unwrap();
    assert!(matches!(blocking.get("k"), Err(CacheError::WouldBlock)));
    assert!(matches!(blocking.at("k").set(1), Err(CacheError::WouldBlock)));
    assert!(cache.get("k").await.unwrap().is_none());
}

#[test]
fn scopes_are_named() {
    let space = space();
    let cache = space.cache::<u32>();
    let anna = cache.scoped(CacheScope::user("anna")).blocking().unwrap();
    anna.set("k", 1).unwrap();
    assert_eq!(anna.get("k").unwrap(), Some(1));
    let current = cache.scoped(CacheScope::User).blocking().unwrap();
    assert!(matches!(current.get("k"), Err(CacheError::NoScope)));
}

/// F4: the handle's thread neither watches the loads of others nor takes their watch along.
#[test]
fn loads_of_a_runtime_are_ended_in_time_beside_and_after_it() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let space = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(CacheSpace::builder(memory().0).max_load_time(HOUR).build());
    let cache = space.unwrap().cache::<u32>();
    let mut blocking = Some(cache.blocking().unwrap());
    blocking.as_ref().unwrap().get_or_set_with("k", |_| 1_u32).unwrap();
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let never = cache.get_or_set_with("never", async |_| std::future::pending::<u32>().await);
        let ended = runtime.block_on(async { tokio::time::timeout(HOUR * 2, never).await });
        assert!(matches!(ended, Ok(Err(CacheError::TimedOut))), "{ended:?}");
        blocking.take();
    }
}
