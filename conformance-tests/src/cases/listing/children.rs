use std::sync::Arc;

use futures_util::TryStreamExt;
use larder_core::{NamespacedStore, Store, StoreExt};

use super::super::hostile;
use super::{all_children, expect_listed};
use crate::trial::Trial;
use crate::verdict::{Verdict, ensure};

async fn expect_children(store: &Arc<dyn NamespacedStore>, want: &[&str]) -> Verdict {
    for limit in [1, 2, 3, 1_000] {
        let children = all_children(store, limit).await?;
        expect_listed(&children, want.iter().copied())?;
    }
    let streamed: Vec<String> = store.namespaces().try_collect().await?;
    expect_listed(&streamed, want.iter().copied())?;
    ensure!(streamed.len() == want.len(), "StoreExt::namespaces gave a name twice: {streamed:?}");
    Ok(())
}

pub(in crate::cases) async fn children_with_a_live_key_are_listed(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let ttl = t.tick();
    expect_children(&tree, &[]).await?;
    tree.set("key", "v").await?;
    tree.set("x/y:z", "v").await?;
    expect_children(&tree, &[]).await?;
    tree.with_path(&["a"])?.set("k", "v").await?;
    tree.with_path(&["deep", "1", "2", "3"])?.set("k", "v").await?;
    tree.with_path(&["dying"])?.set("k", "v").ttl(ttl).await?;
    tree.with_path(&["a", "b"])?.set("k", "v").await?;
    let mixed = tree.with_path(&["mixed"])?;
    for key in ["a", "z"] {
        mixed.set(key, "v").ttl(ttl).await?;
    }
    mixed.set("m", "v").await?;
    let deleted = tree.with_path(&["deleted"])?;
    deleted.set("k", "v").await?;
    deleted.delete("k").await?;
    tree.with_path(&["never set"])?;
    t.outlive(ttl).await;
    t.expect_gone(&tree.with_path(&["dying"])?, "k").await?;
    expect_children(&tree, &["a", "deep", "mixed"]).await?;
    mixed.delete_all().await?;
    expect_children(&tree.with_path(&["deep"])?, &["1"]).await?;
    expect_children(&tree.with_path(&["a"])?, &["b"]).await?;
    expect_children(&tree.with_path(&["a", "b"])?, &[]).await?;
    tree.with_path(&["a"])?.delete("k").await?;
    expect_children(&tree, &["a", "deep"]).await?;
    tree.with_path(&["a"])?.delete_all().await?;
    expect_children(&tree, &["deep"]).await
}

pub(in crate::cases) async fn children_are_listed_as_they_were_named(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    for segment in hostile::SEGMENTS {
        tree.with_namespace(segment)?.set("k", "v").await?;
    }
    t.part();
    expect_listed(&all_children(&tree, 10).await?, hostile::SEGMENTS.iter().copied())
}

pub(in crate::cases) async fn children_that_stay_are_listed_whatever_goes(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let names: Vec<String> = (0..120).map(|index| format!("child {index:03}")).collect();
    for limit in [1, 7, 50] {
        t.part();
        for name in &names {
            tree.with_namespace(name)?.set("k", "v").await?;
        }
        expect_listed(&all_children(&tree, limit).await?, names.iter().map(String::as_str))?;
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let page = tree.list_child_namespaces(cursor.as_ref(), limit).await?;
            // What was listed goes, and what is to come stays.
            for name in &page.segments {
                tree.with_namespace(name)?.delete_all().await?;
            }
            listed.extend(page.segments);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            ensure!(listed.len() < 1_000, "a listing whose children are cleared does not end");
        }
        t.collect(expect_listed(&listed, names.iter().map(String::as_str)))?;
    }
    Ok(())
}
