//! A hit over memory allocates what the store does for a read, and what the codec does for the value.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use allocation_counter::AllocationInfo;
use common::{builder, memory};
use larder_cache::{Cache, Policy};
use larder_core::StoreExt;

/// What a future that is ready at once allocates, after it has run before.
fn measure<F: Future>(future: impl Fn() -> F) -> AllocationInfo {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut run = || assert!(std::pin::pin!(future()).poll(&mut context).is_ready());
    run();
    allocation_counter::measure(run)
}

#[test]
fn a_hit_allocates_no_more_than_a_read_of_the_store() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for policy in [Policy::KeepAll, Policy::Lru { max: 10 }, Policy::S3Fifo { max: 10 }] {
        let (store, clock) = memory();
        let cache: Cache<u64> = runtime.block_on(async {
            let cache =
                builder(store.clone(), &clock).policy(policy).build().await.unwrap().cache();
            cache.set("k", &7).await.unwrap();
            cache.set("other", &7).await.unwrap();
            cache
        });
        let below = store.with_namespace("g").unwrap();
        let raw = measure(async || below.get("k").await.unwrap().unwrap());
        let get = measure(async || cache.get("k").await.unwrap().unwrap());
        assert_eq!(get.count_total, raw.count_total, "{policy:?}: get");
        assert_eq!(get.bytes_total, raw.bytes_total, "{policy:?}: get");
        let item = runtime.block_on(cache.get("k")).unwrap().unwrap();
        let decode = measure(async || item.value().unwrap());
        let most = raw.count_total + decode.count_total;
        let value = measure(async || cache.get_value("k").await.unwrap().unwrap());
        assert_eq!(value.count_total, most, "{policy:?}: get_value");
        let load = measure(async || cache.get_or_set_with("k", async |_| 1_u64).await.unwrap());
        assert_eq!(load.count_total, most, "{policy:?}: get_or_set_with");
    }
}
