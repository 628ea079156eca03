//! P2: pinned entries.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{SECOND, builder, faulty, memory, numbers, space};
use larder_cache::{Cache, CacheError, Policy, Refusal};
use larder_core::testing::{Call, Fault};
use larder_core::{ErrorKind, ExpiresIn, Expiry, ManualClock};

async fn lru(max: u64) -> (Cache<u32>, ManualClock) {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max }).build().await.unwrap();
    (space.cache(), clock)
}

async fn pinned(cache: &Cache<u32>, key: &str) -> bool {
    cache.get(key).await.unwrap().unwrap().is_pinned()
}

#[tokio::test]
async fn a_pinned_entry_is_not_evicted_until_it_is_read_for_that() {
    let (cache, _) = lru(2).await;
    cache.set("p", &7).pin().await.unwrap();
    for number in 0..10 {
        cache.set(&number.to_string(), &number).await.unwrap();
    }
    assert!(pinned(&cache, "p").await, "a plain get leaves the pin");
    assert_eq!(cache.space().stats().pinned, 1);
    let item = cache.get_and_unpin("p").await.unwrap().unwrap();
    assert_eq!(item.value().unwrap(), 7);
    assert_eq!(cache.space().stats().pinned, 0);
    assert!(!pinned(&cache, "p").await, "evictable, not gone");
    cache.set("a", &1).await.unwrap();
    cache.set("b", &1).await.unwrap();
    assert!(cache.get("p").await.unwrap().is_none());
    assert!(cache.get_and_unpin("missing").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn unpinning_is_one_step_with_the_read_under_64_readers() {
    let (cache, _) = lru(1).await;
    for round in 0..50 {
        cache.set("p", &round).pin().await.unwrap();
        let readers: Vec<_> = (0..64)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let item = cache.get_and_unpin("p").await.unwrap();
                    item.map(|item| item.value().unwrap())
                })
            })
            .collect();
        let pusher = tokio::spawn({
            let cache = cache.clone();
            async move { cache.set("other", &0).await.unwrap() }
        });
        let mut got = 0;
        for reader in readers {
            let value = reader.await.unwrap();
            assert!(value.is_none_or(|value| value == round));
            got += usize::from(value.is_some());
        }
        pusher.await.unwrap();
        assert!(got >= 1, "whoever came first has it");
        let stats = cache.space().stats();
        assert_eq!((stats.pinned, stats.entries.unwrap() <= 1), (0, true));
        cache.clear().await.unwrap();
    }
}

#[tokio::test]
async fn when_all_is_pinned_an_unpinned_entry_vanishes_and_a_pinned_one_is_refused() {
    let (cache, _) = lru(2).await;
    cache.set("a", &1).pin().await.unwrap();
    cache.set("b", &1).pin().await.unwrap();
    cache.set("c", &1).await.unwrap();
    assert_eq!(cache.get_value("c").await.unwrap(), None);
    assert_eq!(cache.get_or_set("d", 4_u32).await.unwrap(), 4, "given, not kept");
    assert_eq!(cache.get_value("d").await.unwrap(), None);
    let error = cache.set("e", &1).pin().await.unwrap_err();
    assert!(matches!(error, CacheError::Refused(Refusal::PinBudget { budget: 2 })));
    let stats = cache.space().stats();
    assert_eq!((stats.entries, stats.pinned, stats.not_admitted), (Some(2), 2, 3));
    cache.set("a", &2).pin().await.unwrap();
    assert_eq!(cache.get_value("a").await.unwrap(), Some(2), "its own pin may be renewed");
}

#[tokio::test]
async fn setting_again_without_a_pin_unpins() {
    let (cache, _) = lru(2).await;
    cache.set("p", &1).pin().await.unwrap();
    cache.set("p", &2).await.unwrap();
    assert!(!pinned(&cache, "p").await);
    assert_eq!(cache.space().stats().pinned, 0);
    cache.set("a", &1).await.unwrap();
    cache.set("b", &1).await.unwrap();
    assert!(cache.get("p").await.unwrap().is_none());
}

#[tokio::test]
async fn deleting_and_clearing_win_over_every_pin() {
    for policy in [
        Policy::KeepAll,
        Policy::Lru { max: 3 },
        Policy::S3Fifo { max: 3 },
        Policy::Ttl { ttl: SECOND },
    ] {
        let (store, clock) = memory();
        let space = builder(store, &clock).policy(policy).build().await.unwrap();
        let cache = space.cache::<u32>();
        for how in ["delete", "remove", "clear", "prefix", "space", "zero"] {
            cache.set("p", &1).pin().await.unwrap();
            assert_eq!(space.stats().pinned, 1, "{policy:?}");
            match how {
                "delete" => assert_eq!(cache.delete("p").await.unwrap(), Some(1)),
                "remove" => assert!(cache.remove(["p"]).await.unwrap()),
                "clear" => cache.clear().await.unwrap(),
                "prefix" => assert_eq!(cache.remove_starting_with("p").await.unwrap(), 1),
                "space" => space.clear(false).await.unwrap(),
                _ => cache.set("p", &1).ttl(Duration::ZERO).await.unwrap(),
            }
            assert!(cache.get("p").await.unwrap().is_none(), "{policy:?} {how}");
            assert_eq!(space.stats().pinned, 0, "{policy:?} {how}");
        }
    }
}

#[tokio::test]
async fn a_pin_outlives_the_expiry_of_the_policy_and_not_one_asked_for() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Ttl { ttl: SECOND * 10 }).build().await;
    let space = space.unwrap();
    let cache = space.cache::<u32>();
    cache.set("p", &1).pin().await.unwrap();
    cache.set("q", &1).pin().await.unwrap();
    cache.set("own", &1).pin().ttl(SECOND * 5).await.unwrap();
    clock.advance(SECOND * 4);
    cache.get_and_unpin("q").await.unwrap().unwrap();
    clock.advance(SECOND * 6);
    assert_eq!(cache.get_value("q").await.unwrap(), None, "unpinned in time, it has its own time");
    assert_eq!(cache.get_value("own").await.unwrap(), None);
    clock.advance(SECOND * 90);
    assert_eq!(cache.get_value("p").await.unwrap(), Some(1));
    cache.get_and_unpin("p").await.unwrap().unwrap();
    assert_eq!(cache.get_value("p").await.unwrap(), Some(1), "not gone");
    clock.advance(SECOND * 10);
    assert_eq!(cache.get_value("p").await.unwrap(), None);
}

#[tokio::test]
async fn a_pin_outlives_the_default_expiry_of_a_view() {
    let (space, clock) = space().await;
    let view = space.cache::<u32>().with_default_ttl(SECOND);
    view.set("set", &1).pin().await.unwrap();
    clock.advance(SECOND * 2);
    assert_eq!(view.get_value("set").await.unwrap(), Some(1));
    let longer = view.with_default_ttl(SECOND * 100);
    let item = longer.get_and_unpin("set").await.unwrap().unwrap();
    assert_eq!(item.expires_in(), ExpiresIn::In(SECOND * 100), "what this view's entries have");
}

#[tokio::test]
async fn a_kept_expiry_is_to_a_pin_what_it_was_before() {
    let (store, clock) = memory();
    let space = builder(store, &clock).default_ttl(SECOND * 2).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("default", &1).pin().await.unwrap();
    cache.set("own", &1).ttl(SECOND * 2).await.unwrap();
    clock.advance(SECOND);
    for key in ["default", "own"] {
        cache.set(key, &2).expiry(Expiry::Keep).pin().await.unwrap();
    }
    clock.advance(SECOND);
    assert_eq!(cache.get_value("default").await.unwrap(), Some(2));
    assert_eq!(cache.get_value("own").await.unwrap(), None);
    cache.set("default", &3).expiry(Expiry::Keep).pin().await.unwrap();
    assert_eq!(cache.get_value("default").await.unwrap(), Some(3), "by its pin");
    cache.set("default", &4).expiry(Expiry::Keep).await.unwrap();
    let item = cache.get("default").await.unwrap().unwrap();
    assert_eq!(item.expires_in(), ExpiresIn::In(SECOND * 2), "as after an unpinning read");
}

#[tokio::test]
async fn pins_have_a_greatest_age() {
    let (store, clock) = memory();
    let space = builder(store, &clock)
        .policy(Policy::Lru { max: 2 })
        .pin_max_age(SECOND * 400)
        .build()
        .await
        .unwrap();
    let cache = space.cache::<u32>();
    cache.set("p", &1).pin().await.unwrap();
    clock.advance(SECOND * 399);
    assert!(pinned(&cache, "p").await, "past the default time to live");
    clock.advance(SECOND);
    assert_eq!(cache.get_value("p").await.unwrap(), None);
    assert_eq!(space.stats().pinned, 0);
    cache.set("a", &1).await.unwrap();
    cache.set("b", &1).await.unwrap();
    assert_eq!(space.stats().pins_expired, 1);
    assert_eq!(cache.get_value("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_pin_ends_with_a_life_that_was_asked_for() {
    for by_update in [false, true] {
        let (cache, clock) = lru(1).await;
        if by_update {
            cache.set("p", &1).pin().await.unwrap();
            cache.update_expiry("p", Expiry::After(SECOND)).await.unwrap();
        } else {
            cache.set("p", &1).ttl(SECOND).pin().await.unwrap();
        }
        assert_eq!(cache.space().stats().pinned, 1);
        clock.advance(SECOND);
        assert_eq!(cache.space().stats().pinned, 0);
        cache.set("a", &1).await.unwrap();
        assert_eq!(cache.get_value("a").await.unwrap(), Some(1), "it has made room");
        let stats = cache.space().stats();
        assert_eq!((stats.pins_expired, stats.evicted_by_expiry), (1, 1));
    }
}

#[tokio::test]
async fn a_pin_that_has_ended_leaves_the_budget_and_does_not_come_back() {
    let (store, clock) = memory();
    let space = builder(store, &clock).pin_budget(1).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("p", &1).ttl(SECOND).pin().await.unwrap();
    clock.advance(SECOND);
    cache.set("a", &1).pin().await.unwrap();
    assert_eq!(cache.update_expiry("p", Expiry::After(SECOND)).await.unwrap(), 1);
    assert!(!pinned(&cache, "p").await);
    assert_eq!(space.stats().pinned, 1);
}

#[tokio::test]
async fn a_reopened_store_pins_no_entry_whose_own_life_is_over() {
    let (store, clock) = memory();
    let lru = || builder(store.clone(), &clock).policy(Policy::Lru { max: 1 }).build();
    let first = lru().await.unwrap().cache::<u32>();
    first.set("p", &1).ttl(SECOND).pin().await.unwrap();
    clock.advance(SECOND);
    let cache = lru().await.unwrap().cache::<u32>();
    assert_eq!(cache.space().stats().entries, Some(1), "it is retained");
    cache.set("a", &1).await.unwrap();
    assert_eq!(cache.get_value("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn an_entry_that_is_pinned_several_times_at_once_is_one_in_the_budget() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).pin_budget(2).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("a", &0).pin().await.unwrap();
    store.always(Call::Set, Fault::Hang);
    let pinning: Vec<_> = [("a", 1), ("b", 1), ("b", 2), ("a", 2)]
        .into_iter()
        .map(|(key, value)| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.set(key, &value).pin().await })
        })
        .collect();
    store.hanging(2).await;
    let error = cache.set("c", &1).pin().await.unwrap_err();
    assert!(matches!(error, CacheError::Refused(Refusal::PinBudget { budget: 2 })));
    store.heal();
    store.release();
    for pinning in pinning {
        pinning.await.unwrap().unwrap();
    }
    assert_eq!(space.stats().pinned, 2);
    cache.delete("b").await.unwrap();
    cache.set("c", &1).pin().await.unwrap();
}

#[tokio::test]
async fn pins_have_a_budget() {
    let (store, clock) = memory();
    let space = builder(store, &clock).pin_budget(2).pin_max_age(SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("a", &1).pin().await.unwrap();
    cache.with_scope("n").set("a", &1).pin().await.unwrap();
    cache.set("a", &2).pin().await.unwrap();
    let error = cache.set("b", &1).pin().await.unwrap_err();
    assert!(matches!(error, CacheError::Refused(Refusal::PinBudget { budget: 2 })));
    assert!(error.to_string().contains("2 entries are pinned"));
    assert!(cache.get("b").await.unwrap().is_none());
    cache.set("b", &1).await.unwrap();
    cache.get_and_unpin("a").await.unwrap().unwrap();
    cache.set("b", &1).pin().await.unwrap();
    clock.advance(SECOND);
    cache.set("c", &1).pin().await.unwrap();
    cache.set("d", &1).pin().await.unwrap();
    assert_eq!(space.stats().pinned, 2);
    assert_eq!(space.stats().pins_expired, 2);
}

#[tokio::test]
async fn a_pin_that_could_not_be_ended_stays() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).policy(Policy::Lru { max: 1 }).build();
    let cache = space.await.unwrap().cache::<u32>();
    cache.set("p", &1).pin().await.unwrap();
    store.plan(Call::Set, 1, Fault::Fail(ErrorKind::Unavailable));
    cache.get_and_unpin("p").await.unwrap_err();
    cache.set("other", &1).await.unwrap();
    assert!(pinned(&cache, "p").await);
    assert_eq!(cache.space().stats().pinned, 1);
}

#[tokio::test]
async fn unpinning_again_ends_a_pin_whose_end_was_in_doubt() {
    for policy in [Policy::Lru { max: 1 }, Policy::KeepAll] {
        let (store, clock) = faulty();
        let space = builder(store.clone(), &clock).policy(policy).build().await.unwrap();
        let cache = space.cache::<u32>();
        cache.set("p", &1).pin().await.unwrap();
        store.plan(Call::Set, 1, Fault::LoseAnswer);
        cache.get_and_unpin("p").await.unwrap_err();
        assert_eq!(space.stats().pinned, 1, "it may be pinned");
        let item = cache.get_and_unpin("p").await.unwrap().unwrap();
        assert_eq!((item.value().unwrap(), space.stats().pinned), (1, 0));
        cache.set("other", &1).await.unwrap();
        assert_eq!(cache.get_value("other").await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn a_failed_write_pins_nothing() {
    let (store, clock) = faulty();
    let space = builder(store.clone(), &clock).pin_budget(1).build().await.unwrap();
    let cache = space.cache::<u32>();
    for _ in 0..3 {
        store.plan(Call::Set, 1, Fault::Fail(ErrorKind::StorageFull));
        cache.set("p", &1).pin().await.unwrap_err();
        assert_eq!(space.stats().pinned, 0);
    }
    cache.set("p", &1).pin().await.unwrap();
}

#[tokio::test]
async fn another_type_neither_sees_nor_unpins_it() {
    let (space, _) = space().await;
    space.cache::<u32>().set("p", &1).pin().await.unwrap();
    assert!(space.cache::<String>().get_and_unpin("p").await.unwrap().is_none());
    assert_eq!(space.stats().pinned, 1);
    let (other, _) = numbers().await;
    assert_eq!(other.space().stats().pinned, 0);
}
