//! Listings: what they hold, page by page, and what they leave out.

mod children;
mod cost;
mod cursors;
mod prefixes;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::TryStreamExt;
use larder_core::{
    Cursor, ErrorKind, ListPage, NamespacePage, NamespacedStore, SetItem, Store, StoreExt,
};

use super::hostile;
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_kind, show_key};

pub(super) use children::{
    children_are_listed_as_they_were_named, children_that_stay_are_listed_whatever_goes,
    children_with_a_live_key_are_listed,
};
pub(super) use cost::a_listing_costs_what_it_walks;
pub(super) use cursors::{
    a_cursor_means_the_same_on_another_handle, a_cursor_of_another_listing_is_refused,
    a_cursor_of_another_namespace_is_refused, a_cursor_of_another_store_is_refused,
    a_cursor_that_is_none_is_refused,
};
pub(super) use prefixes::{
    a_prefix_is_compared_byte_by_byte, delete_prefix_deletes_and_counts,
    delete_prefix_does_not_count_the_dead, delete_prefix_leaves_child_namespaces,
};

/// How many pages a listing of a test may have before it counts as endless.
const MOST_PAGES: usize = 20_000;

/// One page, seen to be no longer than asked for.
async fn page(
    store: &dyn Store,
    prefix: &str,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Verdict<ListPage> {
    let page = store.list_page(prefix, cursor, limit).await?;
    ensure!(page.keys.len() <= limit, "a page of at most {limit} keys has {}", page.keys.len());
    if let Some(foreign) = page.keys.iter().find(|key| !key.starts_with(prefix)) {
        return Err(Stop::fail(format!(
            "a listing of what begins with {prefix:?} gave {}",
            show_key(foreign)
        )));
    }
    Ok(page)
}

/// Every key of a listing, page by page, repetitions included.
pub(super) async fn all_keys(
    store: &dyn Store,
    prefix: &str,
    limit: usize,
) -> Verdict<Vec<String>> {
    let mut all = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let page = page(store, prefix, cursor.as_ref(), limit).await?;
        all.extend(page.keys);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
    Err(Stop::fail(format!("a listing of what begins with {prefix:?} does not end")))
}

/// Every child namespace of a listing, page by page.
pub(super) async fn all_children(store: &dyn Store, limit: usize) -> Verdict<Vec<String>> {
    let mut all = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let page: NamespacePage = store.list_child_namespaces(cursor.as_ref(), limit).await?;
        ensure!(
            page.segments.len() <= limit,
            "a page of at most {limit} namespaces has {}",
            page.segments.len()
        );
        all.extend(page.segments);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
    Err(Stop::fail("a listing of the child namespaces does not end"))
}

/// Sees that what was listed is what is there, each at least once.
pub(super) fn expect_listed<'k>(
    listed: &[String],
    want: impl IntoIterator<Item = &'k str>,
) -> Verdict {
    let found: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let want: BTreeSet<&str> = want.into_iter().collect();
    let shown = |keys: Vec<&&str>| {
        let shown: Vec<String> = keys.iter().take(8).map(|key| show_key(key)).collect();
        let more = if keys.len() > 8 { ", …" } else { "" };
        format!("[{}{more}]", shown.join(", "))
    };
    let missing: Vec<_> = want.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&want).collect();
    ensure!(missing.is_empty(), "the listing leaves out {}", shown(missing));
    ensure!(unknown.is_empty(), "the listing gives {}, which must not be there", shown(unknown));
    Ok(())
}

async fn fill(store: &dyn Store, keys: &[String]) -> Verdict {
    for chunk in keys.chunks(200) {
        let items = chunk.iter().map(|key| SetItem::new(key, "v")).collect();
        for outcome in store.set_many(items).await? {
            outcome?;
        }
    }
    Ok(())
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("key {index:04}")).collect()
}

pub(super) async fn every_key_comes_with_any_page_size(t: &Trial) -> Verdict {
    let store = t.store();
    let keys = numbered(37);
    fill(&store, &keys).await?;
    for limit in (1..=12).chain([18, 19, 36, 37, 38, 1_000, usize::MAX]) {
        t.part();
        let verdict = async {
            let listed = all_keys(&store, "", limit).await?;
            expect_listed(&listed, keys.iter().map(String::as_str))
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn an_empty_listing_ends(t: &Trial) -> Verdict {
    let store = t.store();
    expect_listed(&all_keys(&store, "", 10).await?, [])?;
    expect_listed(&all_keys(&store, "prefix", 1).await?, [])?;
    store.set("k", "v").await?;
    expect_listed(&all_keys(&store, "prefix", 1).await?, [])?;
    expect_listed(&all_keys(&store, "k", 1).await?, ["k"])?;
    store.delete("k").await?;
    expect_listed(&all_keys(&store, "", 10).await?, [])
}

pub(super) async fn the_stream_gives_each_key_once(t: &Trial) -> Verdict {
    let store = t.store();
    let keys = numbered(1_100);
    fill(&store, &keys).await?;
    let listed: Vec<String> = store.list("").try_collect().await?;
    expect_listed(&listed, keys.iter().map(String::as_str))?;
    ensure!(
        listed.len() == keys.len(),
        "StoreExt::list gave {} keys, some twice, where {} are",
        listed.len(),
        keys.len()
    );
    let some: Vec<String> = store.list("key 00").try_collect().await?;
    expect_listed(&some, keys[..100].iter().map(String::as_str))
}

pub(super) async fn expired_keys_are_hidden(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    for index in 0..10 {
        store.set(&format!("dead {index}"), "v").ttl(ttl).await?;
    }
    store.set("gone at once", "v").ttl(Duration::ZERO).await?;
    store.set("live", "v").await?;
    store.set("long", "v").ttl(LONG).await?;
    t.outlive(ttl).await;
    t.expect_gone(&store, "dead 9").await?;
    for limit in [1, 3, 100] {
        expect_listed(&all_keys(&store, "", limit).await?, ["live", "long"])?;
    }
    expect_listed(&all_keys(&store, "dead", 100).await?, [])
}

pub(super) async fn keys_that_die_meanwhile_end_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    for limit in [1, 3, 8] {
        t.part();
        let ttl = t.tick();
        let staying = numbered(24);
        fill(&store, &staying).await?;
        // A page may end with any of them; half of them die before the next one.
        for key in &staying {
            store.set(&format!("{key} and a half"), "v").ttl(ttl).await?;
        }
        let first = page(&store, "", None, limit).await?;
        t.outlive(ttl).await;
        let mut listed = first.keys;
        listed.extend(rest(&store, first.next, limit).await?);
        let missing: Vec<&String> = staying.iter().filter(|key| !listed.contains(key)).collect();
        let verdict = if missing.is_empty() {
            Ok(())
        } else {
            Err(Stop::fail(format!(
                "with pages of {limit}, and keys that die after the first one, the listing leaves \
                 out {missing:?}, which were there throughout"
            )))
        };
        t.collect(verdict)?;
        store.delete_all().await?;
    }
    Ok(())
}

pub(super) async fn a_listing_stays_in_its_namespace(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let paths: [&[&str]; 6] = [&[], &["a"], &["a", "b"], &["ab"], &["a:b"], &["a/b"]];
    for path in paths {
        let store = tree.with_path(path)?;
        for key in ["k", "a", "a/b", "a:k"] {
            store.set(key, "v").await?;
        }
        store.set(&format!("only {}", path.concat()), "v").await?;
    }
    for path in paths {
        t.part();
        let verdict = async {
            let store = tree.with_path(path)?;
            let own = format!("only {}", path.concat());
            let want = ["k", "a", "a/b", "a:k", own.as_str()];
            expect_listed(&all_keys(&store, "", 2).await?, want)?;
            expect_listed(&all_keys(&store, "a", 2).await?, ["a", "a/b", "a:k"])
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn what_stays_is_listed_whatever_else_changes(t: &Trial) -> Verdict {
    let store = t.store();
    for limit in [1, 2, 3, 7, 20] {
        for disturbance in ["insert", "delete", "replace", "insert and delete"] {
            t.part();
            store.delete_all().await?;
            let keys = numbered(60);
            fill(&store, &keys).await?;
            // Every third key stays; the others may be deleted, and new ones come between.
            let stays = |index: usize| index.is_multiple_of(3);
            let staying: Vec<&str> = (0..keys.len())
                .filter(|index| stays(*index))
                .map(|index| keys[index].as_str())
                .collect();
            let going: Vec<&str> = (0..keys.len())
                .filter(|index| !stays(*index))
                .map(|index| keys[index].as_str())
                .collect();
            let (mut listed, mut cursor, mut step) = (BTreeSet::new(), None, 0);
            loop {
                let page = page(&store, "", cursor.as_ref(), limit).await?;
                listed.extend(page.keys);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
                // From both ends towards the middle, then round again.
                let place = step / 2 % going.len();
                let victim = going[if step % 2 == 0 { place } else { going.len() - 1 - place }];
                if disturbance.contains("delete") {
                    store.delete(victim).await?;
                }
                if disturbance.contains("insert") {
                    store.set(&format!("{victim} and a half"), "v").await?;
                    store.set(&format!("a {step}"), "v").await?;
                }
                if disturbance == "replace" {
                    store.delete(victim).await?;
                    store.set(victim, "again").await?;
                    store.set(staying[step % staying.len()], "again").await?;
                }
                step += 1;
                ensure!(step < 2_000, "a listing under way does not end while keys are inserted");
                if step > 200 {
                    // Enough has changed: what follows must come to an end by itself.
                    let rest = rest(&store, cursor.take(), limit).await?;
                    listed.extend(rest);
                    break;
                }
            }
            let missing: Vec<&str> =
                staying.iter().copied().filter(|key| !listed.contains(*key)).collect();
            let verdict = if missing.is_empty() {
                Ok(())
            } else {
                Err(Stop::fail(format!(
                    "with pages of {limit} and {disturbance} between them, the listing leaves out \
                     {missing:?}, which were there throughout"
                )))
            };
            t.collect(verdict)?;
        }
    }
    Ok(())
}

/// What follows a cursor, up to the end.
async fn rest(store: &dyn Store, mut cursor: Option<Cursor>, limit: usize) -> Verdict<Vec<String>> {
    let mut all = Vec::new();
    for _ in 0..MOST_PAGES {
        let Some(from) = cursor else {
            return Ok(all);
        };
        let page = page(store, "", Some(&from), limit).await?;
        all.extend(page.keys);
        cursor = page.next;
    }
    Err(Stop::fail("a listing does not end"))
}

pub(super) async fn deleting_what_was_listed_skips_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    for limit in [1, 2, 5, 16] {
        t.part();
        let keys = numbered(50);
        fill(&store, &keys).await?;
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let page = page(&store, "", cursor.as_ref(), limit).await?;
            for key in &page.keys {
                store.delete(key).await?;
            }
            listed.extend(page.keys);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            ensure!(listed.len() < 1_000, "a listing whose keys are deleted does not end");
        }
        t.collect(expect_listed(&listed, keys.iter().map(String::as_str)))?;
    }
    Ok(())
}

pub(super) async fn pages_come_in_byte_order(t: &Trial) -> Verdict {
    let store = t.store();
    let keys: Vec<String> = hostile::keys().into_iter().map(str::to_owned).collect();
    fill(&store, &keys).await?;
    for limit in [1, 4, 1_000] {
        let listed = all_keys(&store, "", limit).await?;
        if let Some([one, next, ..]) =
            listed.windows(2).find(|pair| pair[0].as_bytes() >= pair[1].as_bytes())
        {
            return Err(Stop::fail(format!(
                "with pages of {limit}, {} comes before {}",
                show_key(one),
                show_key(next)
            )));
        }
        expect_listed(&listed, keys.iter().map(String::as_str))?;
    }
    // Nor does a page go back when the key that the last one ended with has gone.
    let (mut last, mut cursor): (Option<String>, _) = (None, None);
    for _ in 0..MOST_PAGES {
        let page = page(&store, "", cursor.as_ref(), 4).await?;
        if let (Some(last), Some(first)) = (&last, page.keys.first()) {
            ensure!(
                last < first,
                "the page after {}, which was deleted meanwhile, begins with {}",
                show_key(last),
                show_key(first)
            );
        }
        if let Some(key) = page.keys.last() {
            store.delete(key).await?;
            last = Some(key.clone());
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
    Err(Stop::fail("a listing does not end while what it gave is deleted"))
}

pub(super) async fn a_page_of_no_keys_cannot_be_asked_for(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    let page = store.list_page("", None, 0).await;
    expect_kind("list_page(\"\", 0)", page, ErrorKind::InvalidConfig)?;
    if let Ok(tree) = t.tree() {
        let page = tree.list_child_namespaces(None, 0).await;
        expect_kind("list_child_namespaces(0)", page, ErrorKind::InvalidConfig)?;
    }
    Ok(())
}
