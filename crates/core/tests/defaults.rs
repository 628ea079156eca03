//! What a store answers that has only the methods that it must have.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::{MapStore, Picky, count_turns, kind};
use larder_core::{
    Bytes, Capabilities, Condition, DeleteOptions, Entry, ErrorKind, Expiry, GetOptions, Raw,
    Result, SetItem, SetOptions, SetOutcome, Store, StoreExt, Version, async_trait,
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

/// Takes whatever it is given, and no notice of any option.
#[derive(Debug, Default)]
struct Careless(Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl Store for Careless {
    async fn get_opts(&self, key: &str, _options: GetOptions) -> Result<Option<Entry>> {
        Ok(self.0.lock().unwrap().get(key).cloned().map(Entry::new))
    }

    async fn set_opts(&self, key: &str, value: Bytes, _options: SetOptions) -> Result<SetOutcome> {
        self.0.lock().unwrap().insert(key.into(), value);
        Ok(SetOutcome::Applied)
    }

    async fn delete_opts(&self, key: &str, _options: DeleteOptions) -> Result<bool> {
        Ok(self.0.lock().unwrap().remove(key).is_some())
    }

    async fn delete_all(&self) -> Result<()> {
        self.0.lock().unwrap().clear();
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().with_max_key_len(4).with_max_value_len(4)
    }
}

#[tokio::test]
async fn what_a_store_does_not_declare_never_gets_to_it() {
    let careless = Careless::default();
    careless.0.lock().unwrap().extend([("k".into(), "v".into()), ("12345".into(), "v".into())]);
    let store: &dyn Store = &careless;
    let second = Duration::from_secs(1);
    let version = || Version::new("v");
    for error in [
        store.get("12345").await.unwrap_err(),
        store.get_entry("12345").await.unwrap_err(),
        store.typed::<Bytes>().with_codec(Raw).get("12345").await.unwrap_err(),
        store.exists("12345").await.unwrap_err(),
        store.expires_in("12345").await.unwrap_err(),
        store.set("12345", "w").await.unwrap_err(),
        store.delete("12345").await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidKey, Some("12345")), "{error}");
        assert!(error.operation().is_some(), "{error}");
    }
    for error in [
        store.get("k").renew_for(second).await.unwrap_err(),
        store.set("k", "w").if_absent().await.unwrap_err(),
        store.set("k", "w").if_present().await.unwrap_err(),
        store.set("k", "w").if_matches(version()).await.unwrap_err(),
        store.delete("k").if_matches(version()).await.unwrap_err(),
        store.increment("k", 1).await.unwrap_err(),
        store.update("k", |_| Some("w")).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Unsupported, Some("k")), "{error}");
    }
    assert_eq!(kind(store.set("k", "12345").await), ErrorKind::TooLarge);
    assert_eq!(*careless.0.lock().unwrap(), {
        BTreeMap::from([("k".to_owned(), Bytes::from("v")), ("12345".to_owned(), "v".into())])
    });
    assert_eq!(store.get("k").await.unwrap().unwrap(), "v");
    assert!(store.set("1234", "1234").ttl(second).await.unwrap().is_applied());
    assert!(store.exists("1234").await.unwrap() && store.delete("1234").await.unwrap());
}

#[tokio::test]
async fn a_refusal_names_the_backend_where_it_is_known() {
    let limits = Capabilities::new().with_max_key_len(1);
    let store = MapStore::with_capabilities(limits);
    assert_eq!(store.capabilities(), limits);
    let errors = [
        store.get("long").await.map(drop),
        store.set("k", "v").if_absent().await.map(drop),
        store.get_many(&["k", "long"]).await.map(drop),
    ];
    for (error, operation) in errors.into_iter().zip(["get", "set", "get_many"]) {
        let error = error.unwrap_err();
        assert_eq!((error.operation(), error.backend()), (Some(operation), Some("map")));
    }
}
