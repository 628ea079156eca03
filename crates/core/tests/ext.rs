//! `StoreExt` over a plain store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{MapStore, kind};
use futures_util::TryStreamExt;
use larder_core::{
    Bytes, Capabilities, ErrorKind, ExpiresIn, Raw, SetItem, SetOptions, SetOutcome, Store,
    StoreExt,
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
        assert_eq!(kind(store.increment("n", 1).await), ErrorKind::InvalidValue, "{bad}");
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
        futures_util::FutureExt::now_or_never(store.set_opts(
            "k",
            round.to_string().into(),
            SetOptions::default(),
        ));
        Some("mine")
    });
    let error = overtaken.await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.is_retryable(), "{error}");
    assert_eq!((error.operation(), error.key()), (Some("update"), Some("k")));
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
    users.get_renewed("anna", 2 * MINUTE).await.unwrap();
    assert_eq!(store.expires_in("anna").await.unwrap(), ExpiresIn::In(2 * MINUTE));

    store.set("anna", "no user").await.unwrap();
    let error = users.get("anna").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some("anna")));

    let json = store.typed::<User>().with_codec(larder_core::Json);
    json.set("json", &anna).await.unwrap();
    assert_eq!(store.get("json").await.unwrap().unwrap(), r#"{"name":"Anna","age":7}"#);
    let text = store.typed::<Vec<u8>>().with_codec(Raw);
    text.set("raw", &b"as it is".to_vec()).await.unwrap();
    assert_eq!(store.get("raw").await.unwrap().unwrap(), "as it is");
}
