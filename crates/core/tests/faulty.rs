//! `Faulty` does what its plan says, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{MapStore, assert_answers, assert_closed, kind};
use larder_core::testing::{Call, Fault, Faulty};
use larder_core::{ErrorKind, Expiry, Namespaced, NamespacedStore, Store, StoreExt};

fn faulty() -> Faulty {
    Faulty::new(Arc::new(Namespaced::new(MapStore::new()).unwrap()))
}

#[tokio::test]
async fn single_faults_come_in_their_turn() {
    let store = faulty();
    store.plan(Call::Set, 2, Fault::Fail(ErrorKind::StorageFull));
    store.plan(Call::Any, 1, Fault::Fail(ErrorKind::Timeout));
    assert_eq!(kind(store.get("a").await), ErrorKind::Timeout);
    store.set("a", "1").await.unwrap();
    assert_eq!(kind(store.set("a", "2").await), ErrorKind::StorageFull);
    assert_eq!(store.get("a").await.unwrap().unwrap(), "1");
    assert_eq!((store.calls(Call::Set), store.calls(Call::Any)), (2, 4));
}

#[tokio::test]
async fn children_share_the_plan_and_a_lost_answer_was_done() {
    let store = faulty();
    let child = store.with_namespace("c").unwrap();
    store.always(Call::Set, Fault::LoseAnswer);
    assert_eq!(kind(child.set("a", "1").await), ErrorKind::Unknown);
    store.heal();
    assert_eq!(child.get("a").await.unwrap().unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn what_hangs_goes_on_when_released_and_not_before() {
    let store = faulty();
    store.plan(Call::Set, 1, Fault::Hang);
    let setting = tokio::spawn({
        let store = store.clone();
        async move { store.set("a", "1").await }
    });
    store.hanging(1).await;
    assert_eq!(store.get("a").await.unwrap(), None);
    store.release();
    setting.await.unwrap().unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap(), "1");
    store.plan(Call::Get, 1, Fault::Delay(Duration::from_secs(9)));
    let before = tokio::time::Instant::now();
    store.get("a").await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(9));
}

#[tokio::test]
async fn a_healed_store_fails_no_more() {
    let store = faulty();
    store.plan(Call::Set, 2, Fault::Fail(ErrorKind::Timeout));
    store.always(Call::Get, Fault::Fail(ErrorKind::Unavailable));
    store.set("a", "1").await.unwrap();
    assert_eq!(kind(store.get("a").await), ErrorKind::Unavailable);
    store.heal();
    store.set("a", "2").await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_call_hangs_no_more_when_it_goes_on_or_is_dropped() {
    let store = faulty();
    store.always(Call::Get, Fault::Hang);
    let reading = |store: Faulty| tokio::spawn(async move { store.get("a").await });
    let (dropped, released) = (reading(store.clone()), reading(store.clone()));
    store.hanging(2).await;
    dropped.abort();
    tokio::time::timeout(Duration::from_secs(1), store.hanging(1)).await.unwrap();
    store.release();
    tokio::time::timeout(Duration::from_secs(1), store.hanging(0)).await.unwrap();
    assert_eq!(released.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn a_store_without_a_plan_hands_on_every_method() {
    let flat = MapStore::new();
    let store = Faulty::new(Arc::new(Namespaced::new(flat.clone()).unwrap()));
    assert_answers(&store, &flat.clock).await;
    let child = store.with_namespace("child").unwrap();
    assert_eq!(child.namespace().to_string(), "child");
    child.set("k", "").await.unwrap();
    assert_eq!(store.list_child_namespaces(None, 9).await.unwrap().segments, ["child"]);
    assert_eq!(kind(store.delete_expired().await), ErrorKind::Unsupported);
    store.close().await.unwrap();
    assert_closed(&store).await;
}

#[tokio::test]
async fn each_call_is_counted_as_what_it_does() {
    let store = faulty();
    store.get("k").await.unwrap();
    store.exists("k").await.unwrap();
    store.expires_in("k").await.unwrap();
    store.get_many(&["k", "l"]).await.unwrap();
    assert_eq!((store.calls(Call::Get), store.calls(Call::Any)), (4, 4));
    store.set("k", "").await.unwrap();
    store.set_many(vec![]).await.unwrap();
    assert_eq!((store.calls(Call::Set), store.calls(Call::Any)), (2, 6));
    store.update_expiry("k", Expiry::Keep).await.unwrap();
    store.delete("k").await.unwrap();
    store.delete_many(&["k", "l"]).await.unwrap();
    assert_eq!((store.calls(Call::Delete), store.calls(Call::Any)), (3, 9));
    store.delete_prefix("").await.unwrap();
    store.delete_all().await.unwrap();
    store.delete_expired().await.unwrap_err();
    assert_eq!((store.calls(Call::Clear), store.calls(Call::Any)), (3, 12));
    store.list_page("", None, 1).await.unwrap();
    store.list_child_namespaces(None, 1).await.unwrap();
    assert_eq!((store.calls(Call::List), store.calls(Call::Any)), (2, 14));
    store.flush().await.unwrap();
    store.ping().await.unwrap();
    store.close().await.unwrap();
    assert_eq!((store.calls(Call::Other), store.calls(Call::Any)), (3, 17));
}
