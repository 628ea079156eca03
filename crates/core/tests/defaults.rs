//! What a store answers that has only the methods that it must have.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::Ordering::SeqCst;

use common::{MapStore, Picky, count_turns, kind};
use larder_core::{
    Capabilities, Condition, ErrorKind, Expiry, SetItem, SetOptions, SetOutcome, Store, StoreExt,
};

#[tokio::test]
async fn what_needs_a_capability_is_unsupported() {
    let store = Picky::new("bad", ErrorKind::Internal);
    store.set("k", "v").await.unwrap();
    let errors = [
        store.update_expiry("k", Expiry::Never).await.unwrap_err(),
        store.list_page("", None, 1).await.unwrap_err(),
        store.list_child_namespaces(None, 1).await.unwrap_err(),
        store.delete_prefix("").await.unwrap_err(),
        store.delete_expired().await.unwrap_err(),
    ];
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Unsupported));
    let operations = errors.map(|error| error.operation().unwrap());
    let expected =
        ["update_expiry", "list_page", "list_child_namespaces", "delete_prefix", "delete_expired"];
    assert_eq!(operations, expected);
    assert!(store.exists("k").await.unwrap());
}

#[tokio::test]
async fn one_failure_among_many_keys_is_told_beside_the_others() {
    let store = Picky::new("bad", ErrorKind::Unavailable);
    for keys in [["bad", "good"], ["good", "bad"]] {
        let bad = keys.iter().position(|key| *key == "bad").unwrap();
        let set = store.set_many(keys.map(|key| SetItem::new(key, "v")).to_vec()).await.unwrap();
        let got = store.get_many(&keys).await.unwrap();
        let deleted = store.delete_many(&keys).await.unwrap();
        assert_eq!(set[1 - bad].as_ref().unwrap(), &SetOutcome::Applied);
        assert_eq!(got[1 - bad].as_ref().unwrap().as_ref().unwrap(), "v");
        assert!(deleted.outcomes[1 - bad].as_ref().unwrap());
        assert_eq!(deleted.existed, 1);
        assert_eq!(kind(set[bad].clone()), ErrorKind::Unavailable);
        assert_eq!(kind(got[bad].clone()), ErrorKind::Unavailable);
        assert_eq!(kind(deleted.outcomes[bad].clone()), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn every_key_and_value_is_checked_before_any_is_touched() {
    let limits = Capabilities::new().with_max_key_len(3).with_max_value_len(3);
    let store = MapStore::with_capabilities(limits);
    store.set("old", "v").await.unwrap();
    let condition = SetOptions::default().with_condition(Condition::Absent);
    for (item, expected) in [
        (SetItem::new("long", "v"), ErrorKind::InvalidKey),
        (SetItem::new("k", "long"), ErrorKind::TooLarge),
        (SetItem::new("k", "v").with_options(condition), ErrorKind::Unsupported),
    ] {
        assert_eq!(kind(store.set_many(vec![SetItem::new("new", "v"), item]).await), expected);
    }
    assert_eq!(kind(store.get_many(&["old", "long"]).await), ErrorKind::InvalidKey);
    assert_eq!(kind(store.delete_many(&["old", "long"]).await), ErrorKind::InvalidKey);
    assert_eq!(store.physical_keys(), ["old"]);
}

#[tokio::test]
async fn a_store_with_damaged_data_still_answers_a_ping() {
    let damaged = Picky::new("", ErrorKind::Corrupt);
    damaged.ping().await.unwrap();
    damaged.flush().await.unwrap();
    for broken in [ErrorKind::Unavailable, ErrorKind::Timeout] {
        let store = Picky::new("", broken);
        assert_eq!(kind(store.ping().await), broken);
        assert_eq!(kind(store.flush().await), broken);
    }
}

#[tokio::test]
async fn a_bulk_call_that_never_waits_lets_other_tasks_run() {
    let store = MapStore::new();
    let turns = count_turns();
    let keys = ["k"; 320];
    store.set_many(keys.map(|key| SetItem::new(key, "v")).to_vec()).await.unwrap();
    let after_set = turns.swap(0, SeqCst);
    store.get_many(&keys).await.unwrap();
    let after_get = turns.swap(0, SeqCst);
    store.delete_many(&keys).await.unwrap();
    let after_delete = turns.swap(0, SeqCst);
    let fewest = after_set.min(after_get).min(after_delete);
    assert!(fewest >= 10, "{after_set}, {after_get}, {after_delete}");
}
