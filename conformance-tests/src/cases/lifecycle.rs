use std::sync::Arc;
use std::time::Duration;

use larder_core::{
    Condition, ErrorKind, Expiry, GetOptions, NamespacedStore, Result, SetItem, SetOptions, Store,
    StoreExt,
};

use crate::trial::{LONG, Trial};
use crate::verdict::{
    Stop, Verdict, ensure, expect_kind, expect_missing, expect_value, joined, show_error,
    show_found, show_key,
};

/// Sees that every method that can fail gives `Closed`.
async fn expect_closed(t: &Trial, store: &dyn Store) -> Verdict {
    async fn closed<T: std::fmt::Debug + Send>(
        t: &Trial,
        call: &str,
        answer: impl Future<Output = Result<T>> + Send,
    ) -> Verdict {
        let call = format!("{call} after close");
        t.collect(expect_kind(&call, answer.await, ErrorKind::Closed).map(drop))
    }
    closed(t, "get", store.get_opts("k", GetOptions::default())).await?;
    closed(t, "set", store.set_opts("k", "v".into(), SetOptions::default())).await?;
    closed(t, "delete", store.delete("k").into_future()).await?;
    closed(t, "delete_all", store.delete_all()).await?;
    closed(t, "exists", store.exists("k")).await?;
    closed(t, "expires_in", store.expires_in("k")).await?;
    // A bulk call may say it for each key instead.
    let many = store.get_many(&["k", "l"]).await;
    closed(t, "get_many", async {
        many.and_then(|all| all.into_iter().collect::<Result<Vec<_>>>())
    })
    .await?;
    let many = store.set_many(vec![SetItem::new("k", "v")]).await;
    closed(t, "set_many", async {
        many.and_then(|all| all.into_iter().collect::<Result<Vec<_>>>())
    })
    .await?;
    let many = store.delete_many(&["k", "l"]).await;
    let many = many.and_then(|all| all.outcomes.into_iter().collect::<Result<Vec<_>>>());
    closed(t, "delete_many", async { many }).await?;
    closed(t, "flush", store.flush()).await?;
    closed(t, "ping", store.ping()).await?;
    let has = store.capabilities();
    if has.renew {
        closed(t, "update_expiry", store.update_expiry("k", Expiry::Never)).await?;
        closed(t, "get with a renewal", store.get_opts("k", renewed())).await?;
    }
    if has.conditions {
        let absent = SetOptions::default().with_condition(Condition::Absent);
        closed(t, "set if absent", store.set_opts("k", "v".into(), absent)).await?;
    }
    if has.list {
        closed(t, "list_page", store.list_page("", None, 10)).await?;
        closed(t, "delete_prefix", store.delete_prefix("")).await?;
    }
    if has.purge {
        closed(t, "delete_expired", store.delete_expired()).await?;
    }
    Ok(())
}

fn renewed() -> GetOptions {
    GetOptions::default().with_renew_for(LONG)
}

async fn expect_no_children(t: &Trial, store: &Arc<dyn NamespacedStore>) -> Verdict {
    if store.capabilities().list {
        let call = "list_child_namespaces after close";
        let children = store.list_child_namespaces(None, 10).await;
        t.collect(expect_kind(call, children, ErrorKind::Closed).map(drop))?;
    }
    let call = "with_namespace after close";
    let child = store.with_namespace("a").map(|child| child.namespace().clone());
    t.collect(expect_kind(call, child, ErrorKind::Closed).map(drop))?;
    let call = "with_path after close";
    let child = store.with_path(&["a", "b"]).map(|child| child.namespace().clone());
    t.collect(expect_kind(call, child, ErrorKind::Closed).map(drop))
}

pub(super) async fn every_call_after_close_is_refused(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    let capabilities = t.capabilities();
    store.close().await?;
    expect_closed(t, &store).await?;
    if let Ok(tree) = t.tree()
        && t.variant() == crate::Variant::Namespace
    {
        expect_no_children(t, &tree).await?;
    }
    ensure!(
        store.capabilities() == capabilities,
        "closing changed the capabilities from {capabilities:?} to {:?}",
        store.capabilities()
    );
    Ok(())
}

pub(super) async fn closing_twice_does_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    for _ in 0..3 {
        store.close().await?;
    }
    expect_closed(t, &store).await
}

pub(super) async fn several_may_close_at_once(t: &Trial) -> Verdict {
    let closers: Vec<_> = (0..8)
        .map(|_| {
            let store = t.store();
            tokio::spawn(async move { store.close().await })
        })
        .collect();
    for closer in closers {
        joined(closer.await)??;
    }
    expect_closed(t, &t.store()).await
}

pub(super) async fn closing_the_root_closes_all(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let root = if t.variant() == crate::Variant::Namespace { t.root() } else { tree.clone() };
    let clone = Arc::clone(&tree);
    let children = [tree.with_path(&["a"])?, tree.with_path(&["a", "b"])?, tree.with_path(&[])?];
    for child in &children {
        child.set("k", "v").await?;
    }
    root.close().await?;
    t.part();
    expect_closed(t, &clone).await?;
    for child in &children {
        expect_closed(t, child).await?;
        expect_no_children(t, child).await?;
    }
    expect_no_children(t, &tree).await?;
    for child in &children {
        child.close().await?;
    }
    root.close().await?;
    Ok(())
}

pub(super) async fn closing_a_child_leaves_the_others_open(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let child = tree.with_path(&["a"])?;
    let clone = Arc::clone(&child);
    let sibling = tree.with_path(&["b"])?;
    for store in [&tree, &child, &sibling] {
        store.set("k", "v").await?;
    }
    child.close().await?;
    child.close().await?;
    expect_closed(t, &child).await?;
    expect_closed(t, &clone).await?;
    expect_no_children(t, &child).await?;
    for store in [&tree, &sibling] {
        expect_value(store, "k", b"v").await?;
        store.set("k", "w").await?;
        store.ping().await?;
    }
    expect_value(&tree, "k", b"w").await?;
    let root = t.root();
    root.ping().await?;
    root.set("root's own", "v").await?;
    expect_value(&root, "root's own", b"v").await?;
    if tree.capabilities().list {
        tree.list_page("", None, 10).await?;
    }
    tree.delete_all().await?;
    expect_missing(&sibling, "k").await
}

pub(super) async fn what_a_closed_child_wrote_stays(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let child = tree.with_path(&["a", "b"])?;
    child.set("k", "v").await?;
    child.close().await?;
    drop(child);
    // Whether the same namespace can be had again is for the store to say; if so, nothing is lost.
    match tree.with_path(&["a", "b"]) {
        Ok(again) => match again.get("k").await {
            Ok(found) => {
                ensure!(found.as_deref() == Some(b"v"), "get(\"k\") gave {found:?}");
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            Err(error) => Err(error.into()),
        },
        Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Calls in progress while the store is closed: each succeeds, or says that it is closed.
pub(super) async fn calls_in_progress_end_well(t: &Trial) -> Verdict {
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let store = t.store();
            tokio::spawn(async move {
                let mut done = Vec::new();
                for round in 0..10_000 {
                    let key = format!("{writer} {}", round % 50);
                    match store.set(&key, format!("{round}")).await {
                        Ok(_) => done.push((key, round)),
                        Err(error) if error.kind() == ErrorKind::Closed => return Ok(done),
                        Err(error) => return Err(show_error(&error)),
                    }
                    tokio::task::yield_now().await;
                }
                Ok(done)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let root = t.root();
    root.close().await?;
    let reopened = t.reopen_closed().await;
    let mut at_once = Vec::new();
    if let Ok(view) = &reopened {
        for key in (0..6).flat_map(|writer| (0..50).map(move |round| format!("{writer} {round}"))) {
            at_once.push((key.clone(), view.store.get(&key).await?));
        }
    }
    let mut acknowledged = std::collections::BTreeMap::new();
    for writer in writers {
        let done = joined(writer.await)?.map_err(|error| {
            Stop::fail(format!("a set in progress while the store was closed failed: {error}"))
        })?;
        acknowledged.extend(done);
    }
    t.part();
    expect_kind("get after close", t.store().get("k").await, ErrorKind::Closed)?;
    let view = match reopened {
        Err(Stop::Skip(_)) => return Ok(()),
        view => view?,
    };
    // Whatever was under way has ended before `close` did.
    tokio::time::sleep(Duration::from_millis(5)).await;
    for (key, found) in at_once {
        let later = view.store.get(&key).await?;
        let verdict = if later == found {
            Ok(())
        } else {
            Err(Stop::fail(format!(
                "a set that was in progress took effect after the store was closed: get({key:?}) \
                 gave {} at first and {} later",
                show_found(found.as_deref()),
                show_found(later.as_deref())
            )))
        };
        t.collect_about(&[&key], verdict)?;
    }
    for (key, round) in acknowledged {
        let verdict = expect_value(&view.store, &key, round.to_string().as_bytes()).await;
        t.collect_about(&[&key], verdict.map_err(|stop| lost(stop, &key)))?;
    }
    view.root.close().await?;
    Ok(())
}

fn lost(stop: Stop, key: &str) -> Stop {
    match stop {
        Stop::Fail(broken) => Stop::fail(format!(
            "the set of {} was acknowledged before the store was closed; after it is opened again, {}",
            show_key(key),
            broken.seen
        )),
        skip @ Stop::Skip(_) => skip,
    }
}

pub(super) async fn it_opens_again_at_once(t: &Trial) -> Verdict {
    t.store().set("k", "v").await?;
    let mut view = t.reopen().await?;
    for round in 0..5 {
        let key = format!("round {round}");
        view.store.set(&key, "v").await?;
        expect_value(&view.store, "k", b"v").await?;
        view.root.close().await?;
        expect_kind("get after close", view.store.get("k").await, ErrorKind::Closed)?;
        view = t.reopen_closed().await?;
        expect_value(&view.store, &key, b"v").await?;
    }
    view.root.close().await?;
    Ok(())
}

pub(super) async fn nothing_happens_after_close(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "old").await?;
    // Each is dropped after another number of polls.
    for polls in 0..6 {
        let value = format!("dropped after {polls} polls");
        super::cancellation::drop_after(polls, store.set("k", value).into_future()).await;
    }
    let view = t.reopen().await?;
    let first = view.store.get("k").await?;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let later = view.store.get("k").await?;
        ensure!(
            later == first,
            "a call that was dropped before close took effect after it: get(\"k\") gave {:?}, then \
             {:?}",
            first.as_deref().map(String::from_utf8_lossy),
            later.as_deref().map(String::from_utf8_lossy)
        );
    }
    view.root.close().await?;
    Ok(())
}
