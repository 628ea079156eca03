//! `StoreExt` over a plain store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::{MapStore, count_turns, kind};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use larder_core::{
    Bytes, Capabilities, Cursor, ErrorKind, ExpiresIn, Json, ListPage, Raw, Result, SetItem,
    SetOptions, SetOutcome, Store, StoreExt, async_trait, forward_store,
};
use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn builders_carry_expiry_and_conditions() {
    let store: Arc<dyn Store> = Arc::new(MapStore::new());
    assert_eq!(store.set("k", "v").ttl(MINUTE).await.unwrap(), SetOutcome::Applied);
    assert_eq!(store.expires_in("k").await.unwrap(), ExpiresIn::In(MINUTE));
    assert!(!store.set("k", "w").if_absent().await.unwrap().is_applied());
    store.set("k", vec![1_u8, 2]).keep_ttl().if_present().await.unwrap();
    let entry = store.get_entry("k").await.unwrap().unwrap();
    assert_eq!(
        (entry.value.as_ref(), entry.expires_in),
        (&[1_u8, 2][..], Some(ExpiresIn::In(MINUTE)))
    );
    let version = entry.version.unwrap();
    store.set("k", "x").if_matches(version.clone()).await.unwrap();
    assert!(!store.set("k", "y").if_matches(version.clone()).await.unwrap().is_applied());
    assert!(!store.delete("k").if_matches(version).await.unwrap());
    assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"x"[..]));
    assert!(store.delete("k").await.unwrap());
    assert_eq!(store.get("k").renew_for(MINUTE).await.unwrap(), None);
}

#[tokio::test]
async fn increments_keep_the_expiry_and_refuse_what_is_no_number() {
    let store = MapStore::new();
    assert_eq!(store.increment("n", 5).await.unwrap(), 5);
    assert_eq!(store.expires_in("n").await.unwrap(), ExpiresIn::Never);
    store.set("n", "-2").ttl(MINUTE).await.unwrap();
    assert_eq!(store.increment("n", -40).await.unwrap(), -42);
    assert_eq!(store.expires_in("n").await.unwrap(), ExpiresIn::In(MINUTE));
    for bad in ["", "1.5", "+1", " 1", "9223372036854775808", "ten"] {
        store.set("n", bad).await.unwrap();
        let error = store.increment("n", 1).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.backend()),
            (ErrorKind::InvalidValue, Some("map")),
            "{bad}"
        );
        assert_eq!(store.get("n").await.unwrap().unwrap(), bad);
    }
    store.set("n", i64::MAX.to_string()).await.unwrap();
    assert_eq!(kind(store.increment("n", 1).await), ErrorKind::InvalidValue);
    assert_eq!(store.get("n").await.unwrap().unwrap(), i64::MAX.to_string());
}

#[tokio::test]
async fn updates_see_the_latest_value_and_give_up_when_always_overtaken() {
    let store = MapStore::new();
    let upper = |value: Option<Bytes>| value.map(|value| value.to_ascii_uppercase());
    assert_eq!(store.update("k", upper).await.unwrap(), None);
    store.set("k", "abc").ttl(MINUTE).await.unwrap();
    assert_eq!(store.update("k", upper).await.unwrap().unwrap(), "ABC");
    assert_eq!(store.expires_in("k").await.unwrap(), ExpiresIn::In(MINUTE));
    assert_eq!(store.update("k", |_| None::<&str>).await.unwrap(), None);
    assert!(!store.exists("k").await.unwrap());

    let mut round = 0;
    let overtaken = store.update("k", |_| {
        round += 1;
        // Another writer comes first, every time.
        store.set_opts("k", round.to_string().into(), SetOptions::default()).now_or_never();
        Some("mine")
    });
    let error = overtaken.await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.is_retryable(), "{error}");
    assert_eq!((error.operation(), error.key()), (Some("update"), Some("k")));
    assert_eq!(error.backend(), Some("map"));
}

#[tokio::test]
async fn streams_go_through_all_pages() {
    let store = MapStore::new();
    for number in 0..2_500 {
        store.set(&format!("key:{number}"), "").await.unwrap();
    }
    store.set("other", "").await.unwrap();
    let keys: Vec<String> = store.list("key:").try_collect().await.unwrap();
    assert_eq!(keys.len(), 2_500);
    assert_eq!(kind(store.namespaces().try_collect::<Vec<_>>().await), ErrorKind::Unsupported);
}

/// Lists the pages that it was given.
#[derive(Debug)]
struct Listed {
    inner: MapStore,
    pages: Vec<ListPage>,
}

impl Listed {
    fn new(ordered: bool, pages: &[(&[&str], u64)]) -> Self {
        let capabilities = Capabilities::new().with_list(true).with_ordered_list(ordered);
        let pages = pages.iter().enumerate().map(|(index, (keys, unlisted))| {
            let next = u8::try_from(index + 1).unwrap();
            let next = (index + 1 < pages.len()).then(|| Cursor::from_bytes(vec![next]));
            let keys = keys.iter().map(ToString::to_string).collect();
            ListPage::new(keys, next).with_unlisted(*unlisted)
        });
        let pages = pages.collect();
        Self { inner: MapStore::with_capabilities(capabilities), pages }
    }
}

#[async_trait]
impl Store for Listed {
    forward_store!(inner: get_opts, set_opts, delete_opts, delete_all, capabilities);

    async fn list_page(&self, _: &str, cursor: Option<&Cursor>, _: usize) -> Result<ListPage> {
        Ok(self.pages[cursor.map_or(0, |cursor| usize::from(cursor.as_bytes()[0]))].clone())
    }
}

#[tokio::test]
async fn a_key_that_is_in_several_pages_is_given_once() {
    let ordered = Listed::new(true, &[(&["a", "b"], 0), (&["b"], 0), (&[], 0), (&["b", "c"], 0)]);
    let keys: Vec<String> = ordered.list("").try_collect().await.unwrap();
    assert_eq!(keys, ["a", "b", "c"]);
    let unordered =
        Listed::new(false, &[(&["b", "a"], 0), (&["b"], 0), (&[], 0), (&["c", "a"], 0)]);
    let keys: Vec<String> = unordered.list("").try_collect().await.unwrap();
    assert_eq!(keys, ["b", "a", "c"]);
}

#[tokio::test]
async fn what_a_listing_remembers_is_freed_in_turns() {
    let store = MapStore::with_capabilities(Capabilities::new().with_list(true));
    for number in 0..2_500 {
        store.set(&number.to_string(), "").await.unwrap();
    }
    let mut listing = store.list("");
    for _ in 0..2_500 {
        assert!(listing.next().await.unwrap().is_ok());
    }
    let mut turns = 0;
    while listing.next().now_or_never().is_none() {
        turns += 1;
    }
    assert_eq!(turns, 2);
    assert!(listing.next().now_or_never().unwrap().is_none());
}

#[tokio::test]
async fn a_listing_tells_how_many_records_it_left_out_so_far() {
    let store = Listed::new(true, &[(&["a"], 2), (&["b"], 0), (&["c"], 3)]);
    let mut list = store.list("");
    assert_eq!(list.unlisted(), 0);
    let mut told = Vec::new();
    while list.try_next().await.unwrap().is_some() {
        told.push(list.unlisted());
    }
    assert_eq!(told, [2, 2, 5]);
}

#[tokio::test]
async fn an_update_that_is_overtaken_lets_other_tasks_run_before_it_tries_again() {
    let store = MapStore::new();
    let turns = count_turns();
    let mut seen = Vec::new();
    let update = store.update("k", |_| {
        seen.push(turns.load(SeqCst));
        let rival = seen.len().to_string();
        store.set_opts("k", rival.into(), SetOptions::default()).now_or_never();
        Some("mine")
    });
    assert_eq!(kind(update.await), ErrorKind::Conflict);
    assert!(seen.len() > 1 && seen.is_sorted_by(|before, after| before < after));
}

#[tokio::test]
async fn what_is_not_declared_is_unsupported() {
    let store = MapStore::with_capabilities(Capabilities::new());
    assert_eq!(kind(store.increment("n", 1).await), ErrorKind::Unsupported);
    assert_eq!(kind(store.update("n", |_| Some("x")).await), ErrorKind::Unsupported);
    store.set("k", "v").await.unwrap();
    assert_eq!(store.get_entry("k").await.unwrap().unwrap().version, None);
}

#[tokio::test]
async fn the_defaults_notice_that_the_store_is_closed() {
    let store = MapStore::new();
    store.ping().await.unwrap();
    store.flush().await.unwrap();
    store.close().await.unwrap();
    let item = SetItem::new("k", "v");
    let answers = [
        kind(store.ping().await),
        kind(store.flush().await),
        kind(store.get_many(&["k", "l"]).await),
        kind(store.set_many(vec![item.clone(), item]).await),
        kind(store.delete_many(&["k", "l"]).await),
    ];
    assert_eq!(answers, [ErrorKind::Closed; 5]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u8,
}

#[tokio::test]
async fn typed_views_encode_and_decode() {
    let store = MapStore::new();
    let anna = User { name: "Anna".into(), age: 7 };
    let users = store.typed::<User>();
    assert_eq!(users.get("anna").await.unwrap(), None);
    users.set("anna", &anna).ttl(MINUTE).if_absent().await.unwrap();
    assert_eq!(users.get("anna").await.unwrap().as_ref(), Some(&anna));
    assert_eq!(store.expires_in("anna").await.unwrap(), ExpiresIn::In(MINUTE));
    let renewed = users.get_renewed("anna", 2 * MINUTE).await.unwrap();
    assert_eq!(renewed.as_ref(), Some(&anna));
    assert_eq!(store.expires_in("anna").await.unwrap(), ExpiresIn::In(2 * MINUTE));

    store.set("anna", "no user").await.unwrap();
    let error = users.get("anna").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some("anna")));
    assert_eq!((error.operation(), error.backend()), (Some("get"), Some("map")));

    let json = store.typed::<User>().with_codec(Json);
    json.set("json", &anna).await.unwrap();
    assert_eq!(store.get("json").await.unwrap().unwrap(), r#"{"name":"Anna","age":7}"#);
    let text = store.typed::<Vec<u8>>().with_codec(Raw);
    text.set("raw", &b"as it is".to_vec()).await.unwrap();
    assert_eq!(store.get("raw").await.unwrap().unwrap(), "as it is");
}

#[tokio::test]
async fn typed_writes_carry_expiry_and_conditions() {
    let store = MapStore::new();
    let numbers = store.typed::<u32>();
    assert!(!numbers.set("n", &1).if_present().await.unwrap().is_applied());
    assert!(numbers.set("n", &1).if_absent().expiry(MINUTE).await.unwrap().is_applied());
    assert_eq!(store.expires_in("n").await.unwrap(), ExpiresIn::In(MINUTE));
    let version = store.get_entry("n").await.unwrap().unwrap().version.unwrap();
    assert!(numbers.set("n", &2).if_matches(version.clone()).await.unwrap().is_applied());
    assert!(!numbers.set("n", &3).if_matches(version).await.unwrap().is_applied());
    assert!(!numbers.set("n", &4).if_absent().await.unwrap().is_applied());
    assert_eq!(numbers.get("n").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_value_that_cannot_be_encoded_is_refused_and_nothing_is_written() {
    let store = MapStore::new();
    let map = BTreeMap::from([(vec![1_u8], 1_u8)]);
    let maps = store.typed::<BTreeMap<Vec<u8>, u8>>();
    let error = maps.with_codec(Json).set("k", &map).ttl(MINUTE).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidValue, Some("k")));
    assert_eq!((error.operation(), error.backend()), (Some("set"), Some("map")));
    assert!(!store.exists("k").await.unwrap());
}
