//! Lives and deadlines, as the server keeps them (`E1` to `E7`).

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use std::time::Duration;

use common::{Root, run};
use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{
    Condition, ExpiresIn, Expiry, GetOptions, SetItem, SetOptions, SetOutcome, Store, StoreExt,
};

const HOUR: Duration = Duration::from_secs(3600);

/// The server's clock, which alone counts.
async fn server_now(store: &larder_redis::RedisStore) -> DateTime<Utc> {
    let mut connection = store.connection().await.unwrap();
    let (seconds, micros): (i64, u32) = run(&mut connection, &[b"TIME"]).await;
    DateTime::from_timestamp(seconds, micros * 1000).unwrap()
}

#[tokio::test]
async fn a_life_that_is_over_removes_the_key_under_every_condition() {
    let root = Root::new();
    let store = root.store().await;
    let now = server_now(&store).await;
    let over = [
        Expiry::After(Duration::ZERO),
        Expiry::At(now - TimeDelta::milliseconds(1)),
        Expiry::At(DateTime::UNIX_EPOCH),
        Expiry::At(DateTime::<Utc>::MIN_UTC),
    ];
    for expiry in over {
        for there in [false, true] {
            store.delete("k").await.unwrap();
            if there {
                store.set("k", "old").await.unwrap();
            }
            let version = larder_core::Version::new("old");
            for (condition, applies) in [
                (Condition::Absent, !there),
                (Condition::Matches(larder_core::Version::new("other")), false),
                (Condition::Present, there),
                (Condition::Matches(version), there),
                (Condition::Any, true),
            ] {
                if there {
                    store.set("k", "old").await.unwrap();
                }
                let options =
                    SetOptions::default().with_expiry(expiry).with_condition(condition.clone());
                let item = SetItem::new("k", "new").with_options(options.clone());
                let single = store.set_opts("k", "new".into(), options).await.unwrap();
                assert_eq!(single.is_applied(), applies, "{expiry:?} {condition:?} {there}");
                let left = store.get("k").await.unwrap();
                let expected = (there && !applies).then_some(&b"old"[..]);
                assert_eq!(left.as_deref(), expected, "{expiry:?} {condition:?} {there}");
                // The same in bulk.
                if there {
                    store.set("k", "old").await.unwrap();
                }
                let bulk = store.set_many(vec![item]).await.unwrap().remove(0).unwrap();
                assert_eq!(bulk, single);
                assert_eq!(store.exists("k").await.unwrap(), there && !applies);
            }
        }
        store.set("k", "old").await.unwrap();
        assert!(store.update_expiry("k", expiry).await.unwrap());
        assert!(!store.exists("k").await.unwrap());
        assert!(!store.update_expiry("k", expiry).await.unwrap());
    }
}

#[tokio::test]
async fn far_lives_end_with_the_year_9999_by_the_server_s_clock() {
    let root = Root::new();
    let store = root.store().await;
    let end: i64 = 253_402_300_799_999;
    let far = [
        Expiry::After(Duration::MAX),
        Expiry::After(Duration::from_millis(u64::try_from(end).unwrap() - 1)),
        Expiry::At(DateTime::<Utc>::MAX_UTC),
        Expiry::At(DateTime::from_timestamp_millis(end).unwrap()),
    ];
    for expiry in far {
        for condition in [Condition::Any, Condition::Absent, Condition::Present] {
            store.delete("k").await.unwrap();
            if condition == Condition::Present {
                store.set("k", "old").await.unwrap();
            }
            let options = SetOptions::default().with_expiry(expiry).with_condition(condition);
            assert!(store.set_opts("k", "v".into(), options.clone()).await.unwrap().is_applied());
            assert_end(&store, end).await;
            let again = options.with_condition(Condition::Absent);
            let refused = store.set_opts("k", "w".into(), again).await.unwrap();
            assert_eq!(refused, SetOutcome::ConditionNotMet);
            assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
        }
        store.set("k", "v").ttl(HOUR).await.unwrap();
        assert!(store.update_expiry("k", expiry).await.unwrap());
        assert_end(&store, end).await;
    }
    store.set("k", "v").ttl(HOUR).await.unwrap();
    assert!(store.get("k").renew_for(Duration::MAX).await.unwrap().is_some());
    assert_end(&store, end).await;
    // A long life that ends before is not cut.
    let long = Duration::from_secs(7_000 * 365 * 24 * 3600);
    store.set("k", "v").ttl(long).await.unwrap();
    let ExpiresIn::In(left) = store.expires_in("k").await.unwrap() else { panic!() };
    assert!(left <= long && left + HOUR > long);
}

/// The deadline is the end of time, or at most some milliseconds before (the script rounds so).
async fn assert_end(store: &larder_redis::RedisStore, end: i64) {
    let before = server_now(store).await;
    let ExpiresIn::In(left) = store.expires_in("k").await.unwrap() else { panic!() };
    let after = server_now(store).await;
    let left = i64::try_from(left.as_millis()).unwrap();
    assert!(left + before.timestamp_millis() <= end + 1, "{left}");
    assert!(left + after.timestamp_millis() >= end - 5, "{left}");
}

#[tokio::test]
async fn a_kept_life_is_the_old_one() {
    let root = Root::new();
    let store = root.store().await;
    store.set("k", "1").ttl(HOUR).await.unwrap();
    store.set("k", "2").keep_ttl().await.unwrap();
    assert!(matches!(store.expires_in("k").await.unwrap(), ExpiresIn::In(left) if left <= HOUR));
    let version = larder_core::Version::new("2");
    assert!(store.set("k", "3").keep_ttl().if_matches(version).await.unwrap().is_applied());
    assert!(matches!(store.expires_in("k").await.unwrap(), ExpiresIn::In(left) if left <= HOUR));
    store.set("k", "4").await.unwrap();
    assert_eq!(store.expires_in("k").await.unwrap(), ExpiresIn::Never);
    store.set("new", "1").keep_ttl().if_absent().await.unwrap();
    assert_eq!(store.expires_in("new").await.unwrap(), ExpiresIn::Never);
    assert!(store.update_expiry("k", Expiry::Keep).await.unwrap());
    assert!(!store.update_expiry("missing", Expiry::Keep).await.unwrap());
    assert!(!store.update_expiry("missing", Expiry::Never).await.unwrap());
}

#[tokio::test]
async fn a_renewal_touches_only_keys_that_expire() {
    let root = Root::new();
    let store = root.store().await;
    let asked = GetOptions::default().with_expires_in(true).with_version(true);
    store.set("never", "v").await.unwrap();
    for renewal in [HOUR, Duration::ZERO] {
        let entry = store.get_opts("never", asked.clone().with_renew_for(renewal)).await.unwrap();
        assert_eq!(entry.unwrap().expires_in, Some(ExpiresIn::Never));
        assert_eq!(store.expires_in("never").await.unwrap(), ExpiresIn::Never);
    }
    store.set("k", "v").ttl(HOUR).await.unwrap();
    let short = Duration::from_millis(1_500);
    let entry = store.get_opts("k", asked.clone().with_renew_for(short)).await.unwrap().unwrap();
    assert!(matches!(entry.expires_in, Some(ExpiresIn::In(left)) if left <= short));
    assert_eq!(entry.version.unwrap().as_bytes(), &entry.value);
    assert!(matches!(store.expires_in("k").await.unwrap(), ExpiresIn::In(left) if left <= short));
    // The whole duration counts, and not its seconds part.
    let long = Duration::from_secs(2 * 24 * 3600);
    store.get("k").renew_for(long).await.unwrap().unwrap();
    let ExpiresIn::In(left) = store.expires_in("k").await.unwrap() else { panic!() };
    assert!(left <= long && left + HOUR > long);
    let value = store.get("k").renew_for(Duration::ZERO).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    assert!(!store.exists("k").await.unwrap());
    assert_eq!(store.get("k").renew_for(HOUR).await.unwrap(), None);
    assert!(!store.exists("k").await.unwrap());
}

#[tokio::test]
async fn an_expired_key_is_gone_for_every_call() {
    let root = Root::new();
    let store = root.store().await;
    for key in ["a", "b", "c"] {
        store.set(key, "v").ttl(Duration::from_nanos(1)).await.unwrap();
    }
    let mut connection = store.connection().await.unwrap();
    // Waits by the server's clock: two milliseconds are past the end of one.
    let start = server_now(&store).await;
    while server_now(&store).await < start + TimeDelta::milliseconds(3) {}
    assert_eq!(store.list_page("", None, 100).await.unwrap().keys, Vec::<String>::new());
    assert_eq!(store.get("a").await.unwrap(), None);
    assert!(!store.exists("b").await.unwrap() && !store.delete("b").await.unwrap());
    assert_eq!(store.expires_in("c").await.unwrap(), ExpiresIn::Missing);
    assert!(store.set("c", "w").if_absent().await.unwrap().is_applied());
    assert_eq!(store.delete_expired().await.unwrap(), 0);
    let left: i64 = run(&mut connection, &[b"PTTL", format!("{}:c", root.name).as_bytes()]).await;
    assert_eq!(left, -1);
}
