use std::collections::BTreeMap;
use std::sync::Arc;

use larder_core::{Cursor, ErrorKind, NamespacedStore, Store, StoreExt};

use super::{MOST_PAGES, all_keys, fill, numbered, page};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure, expect_kind};

/// A cursor of a listing that goes on.
async fn some_cursor(store: &dyn Store, prefix: &str) -> Verdict<Cursor> {
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let page = page(store, prefix, cursor.as_ref(), 1).await?;
        match page.next {
            Some(next) if !page.keys.is_empty() => return Ok(next),
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    Err(Stop::skip("the store gives short listings on one page"))
}

async fn expect_refused(what: &str, store: &dyn Store, prefix: &str, cursor: &Cursor) -> Verdict {
    let page = store.list_page(prefix, Some(cursor), 10).await;
    expect_kind(&format!("list_page with a cursor {what}"), page, ErrorKind::InvalidCursor)
        .map(drop)
}

pub(in crate::cases) async fn a_cursor_of_another_listing_is_refused(t: &Trial) -> Verdict {
    let store = t.store();
    let mut keys = numbered(30);
    keys.extend((0..30).map(|index| format!("kex {index}")));
    fill(&store, &keys).await?;
    let cursor = some_cursor(&store, "").await?;
    t.collect(expect_refused("of another prefix", &store, "key", &cursor).await)?;
    let cursor = some_cursor(&store, "key").await?;
    t.collect(expect_refused("of another prefix", &store, "", &cursor).await)?;
    t.collect(expect_refused("of another prefix", &store, "kex", &cursor).await)?;
    t.collect(expect_refused("of another prefix", &store, "ke", &cursor).await)?;
    if let Ok(tree) = t.tree() {
        let cursor = some_cursor(&tree, "").await;
        let Ok(cursor) = cursor else {
            return Ok(());
        };
        let children = tree.list_child_namespaces(Some(&cursor), 10).await;
        let call = "list_child_namespaces with a cursor of keys";
        t.collect(expect_kind(call, children, ErrorKind::InvalidCursor).map(drop))?;
        if let Some(cursor) = some_child_cursor(&tree).await? {
            t.collect(expect_refused("of child namespaces", &tree, "", &cursor).await)?;
        }
    }
    Ok(())
}

/// A cursor of a listing of child namespaces, which are made for it, that goes on.
async fn some_child_cursor(tree: &Arc<dyn NamespacedStore>) -> Verdict<Option<Cursor>> {
    for index in 0..30 {
        tree.with_namespace(&format!("child {index:02}"))?.set("k", "v").await?;
    }
    Ok(tree.list_child_namespaces(None, 1).await?.next)
}

async fn expect_children_refused(
    what: &str,
    store: &Arc<dyn NamespacedStore>,
    cursor: &Cursor,
) -> Verdict {
    let children = store.list_child_namespaces(Some(cursor), 10).await;
    let call = format!("list_child_namespaces with a cursor {what}");
    expect_kind(&call, children, ErrorKind::InvalidCursor).map(drop)
}

pub(in crate::cases) async fn a_cursor_of_another_namespace_is_refused(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let paths: [&[&str]; 4] = [&[], &["a"], &["a", "b"], &["ab"]];
    let mut cursors = BTreeMap::new();
    for path in paths {
        let store = tree.with_path(path)?;
        fill(&store, &numbered(30)).await?;
        cursors.insert(path, some_cursor(&store, "").await?);
    }
    for (from, cursor) in &cursors {
        for to in paths.iter().filter(|to| *to != from) {
            t.part();
            let store = tree.with_path(to)?;
            let what = format!("of the namespace {from:?} in {to:?}");
            t.collect(expect_refused(&what, &store, "", cursor).await)?;
        }
    }
    if let Some(cursor) = some_child_cursor(&tree).await? {
        t.part();
        let other = tree.with_path(&["a"])?;
        some_child_cursor(&other).await?;
        expect_children_refused("of another namespace", &other, &cursor).await?;
    }
    Ok(())
}

pub(in crate::cases) async fn a_cursor_of_another_store_is_refused(t: &Trial) -> Verdict {
    let store = t.store();
    let another = t.another("another store: ").await?;
    let other = another.store();
    let verdict = async {
        for store in [&store, &other] {
            fill(store, &numbered(30)).await?;
        }
        let cursor = some_cursor(&store, "").await?;
        t.collect(expect_refused("of another store", &other, "", &cursor).await)?;
        let (Ok(tree), Ok(others)) = (t.tree(), another.tree()) else { return Ok(()) };
        match some_child_cursor(&tree).await? {
            Some(cursor) => expect_children_refused("of another store", &others, &cursor).await,
            None => Ok(()),
        }
    };
    let verdict = verdict.await;
    another.leave().await;
    verdict
}

pub(in crate::cases) async fn a_cursor_that_is_none_is_refused(t: &Trial) -> Verdict {
    let store = t.store();
    fill(&store, &numbered(30)).await?;
    let own = some_cursor(&store, "").await?;
    let bytes = own.as_bytes();
    // Carried elsewhere and back it still works.
    store.list_page("", Some(&Cursor::from_bytes(bytes.to_vec())), 10).await?;
    let garbage: [&[u8]; 6] = [b"", b"x", b"0", &[0; 16], &[0xff; 64], b"key 0003"];
    for garbage in garbage {
        t.part();
        let cursor = Cursor::from_bytes(garbage.to_vec());
        let what = format!("made of the bytes {garbage:02x?}");
        t.collect(expect_refused(&what, &store, "", &cursor).await)?;
        if let Ok(tree) = t.tree() {
            let children = tree.list_child_namespaces(Some(&cursor), 10).await;
            let call = format!("list_child_namespaces with a cursor {what}");
            t.collect(expect_kind(&call, children, ErrorKind::InvalidCursor).map(drop))?;
        }
    }
    Ok(())
}

pub(in crate::cases) async fn a_cursor_means_the_same_on_another_handle(t: &Trial) -> Verdict {
    let second = t.second_handle().await?;
    let (first, second_tree) = (t.store(), second.tree);
    // A listing that was begun when there was less to list, and never ended.
    fill(&first, &numbered(3)).await?;
    begin(&second.store, "").await?;
    let others: Vec<String> = (0..30).map(|index| format!("other {index}")).collect();
    fill(&first, &numbered(30)).await?;
    fill(&first, &others).await?;
    for (prefix, other) in [("", "key"), ("key", "other"), ("other", "key"), ("key", "key")] {
        t.part();
        let cursor = some_cursor(&first, prefix).await;
        begin(&second.store, other).await?;
        t.collect(goes_on(&first, &second.store, prefix, cursor).await)?;
    }
    let (Ok(tree), Some(second_tree)) = (t.tree(), second_tree) else { return Ok(()) };
    t.part();
    let there = tree.with_path(&["there"])?;
    fill(&there, &numbered(30)).await?;
    fill(&tree.with_path(&["elsewhere"])?, &others).await?;
    let cursor = some_cursor(&there, "").await;
    begin(&second_tree.with_path(&["elsewhere"])?, "").await?;
    goes_on(&there, &second_tree.with_path(&["there"])?, "", cursor).await
}

/// Begins a listing, if it takes more than a page.
async fn begin(store: &dyn Store, prefix: &str) -> Verdict {
    match some_cursor(store, prefix).await {
        Ok(_) | Err(Stop::Skip(_)) => Ok(()),
        Err(fail) => Err(fail),
    }
}

/// Sees that a listing, of which one handle has given one key, gives the others through another
/// handle.
async fn goes_on(
    first: &dyn Store,
    second: &dyn Store,
    prefix: &str,
    cursor: Verdict<Cursor>,
) -> Verdict {
    let mut next = Some(cursor?);
    let mut given = Vec::new();
    while let Some(cursor) = next {
        match second.list_page(prefix, Some(&cursor), 10).await {
            Ok(page) => {
                given.extend(page.keys);
                next = page.next;
            }
            // Whoever begins anew misses nothing.
            Err(error) if error.kind() == ErrorKind::InvalidCursor => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let listed = all_keys(first, prefix, 100).await?;
    let foreign = given.iter().find(|key| !listed.contains(key));
    ensure!(
        foreign.is_none(),
        "a listing of {prefix:?} went on through another handle with {foreign:?}"
    );
    let missing = listed.iter().filter(|key| !given.contains(key)).count();
    ensure!(
        missing <= 1,
        "a listing of {prefix:?} that went on through another handle gave {} of {} keys",
        given.len(),
        listed.len()
    );
    Ok(())
}
