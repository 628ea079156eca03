//! Every call of a store, one by one, for what holds of all of them.

use larder_core::{
    BoxFuture, Bytes, Condition, DeleteOptions, Entry, Expiry, GetOptions, Result, SetItem,
    SetOptions, SetOutcome, Store, StoreExt, Version,
};

use crate::trial::{LONG, Trial};

type Call<'s> = (&'static str, BoxFuture<'s, Result<()>>);

fn done<'s, T: 's>(call: impl Future<Output = Result<T>> + Send + 's) -> BoxFuture<'s, Result<()>> {
    Box::pin(async { call.await.map(drop) })
}

/// A get as the store itself answers it, past what `StoreExt` refuses.
pub(super) async fn bare_get(store: &dyn Store, key: &str) -> Result<Option<Entry>> {
    store.get_opts(key, GetOptions::default()).await
}

/// A set as the store itself answers it, past what `StoreExt` refuses.
pub(super) async fn bare_set(
    store: &dyn Store,
    key: &str,
    value: impl Into<Bytes>,
) -> Result<SetOutcome> {
    store.set_opts(key, value.into(), SetOptions::default()).await
}

/// A deletion as the store itself answers it, past what `StoreExt` refuses.
pub(super) async fn bare_delete(store: &dyn Store, key: &str) -> Result<bool> {
    store.delete_opts(key, DeleteOptions::default()).await
}

/// A batch, which fails where one of its keys does.
fn each<'s, T: Send + 's>(
    call: impl Future<Output = Result<Vec<Result<T>>>> + Send + 's,
) -> BoxFuture<'s, Result<()>> {
    Box::pin(async { call.await?.into_iter().try_for_each(|outcome| outcome.map(drop)) })
}

/// The calls that the store of a case takes, but for `close`, each with its name: on the
/// key `k`, which they leave, but for the last one, with the value that it has, and on `l`, which
/// they delete.
pub(super) fn every_call<'s>(store: &'s dyn Store, t: &Trial) -> Vec<Call<'s>> {
    let has = t.capabilities();
    let mut calls = vec![
        ("get", done(store.get("k").into_future())),
        ("exists", done(store.exists("k"))),
        ("expires_in", done(store.expires_in("k"))),
        ("get_many", each(store.get_many(&["k"]))),
        ("set", done(store.set("k", "v").into_future())),
        ("set_many", each(store.set_many(vec![SetItem::new("k", "v")]))),
        ("delete", done(store.delete("l").into_future())),
        ("delete_many", each(async { Ok(store.delete_many(&["l"]).await?.outcomes) })),
        ("ping", store.ping()),
        ("flush", store.flush()),
    ];
    if has.renew {
        calls.push(("get with renewal", done(store.get("k").renew_for(LONG).into_future())));
        calls.push(("update_expiry", done(store.update_expiry("k", Expiry::Keep))));
    }
    if has.conditions {
        let absent = SetOptions::default().with_condition(Condition::Absent);
        calls.push(("set if absent", done(store.set_opts("k", "v".into(), absent))));
        let matches = Condition::Matches(Version::new("made up"));
        let options = SetOptions::default().with_condition(matches.clone());
        calls.push(("set if the version matches", done(store.set_opts("k", "v".into(), options))));
        let options = DeleteOptions::default().with_condition(matches);
        calls.push(("delete if the version matches", done(store.delete_opts("k", options))));
    }
    if has.list {
        calls.push(("list_page", done(store.list_page("", None, 10))));
        // A flat store has none by itself.
        if let Ok(tree) = t.tree() {
            let list = async move { tree.list_child_namespaces(None, 10).await };
            calls.push(("list_child_namespaces", done(list)));
        }
        calls.push(("delete_prefix", done(store.delete_prefix("none"))));
    }
    if has.purge {
        calls.push(("delete_expired", done(store.delete_expired())));
    }
    calls.push(("delete_all", store.delete_all()));
    calls
}
