use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use larder_core::{
    Cursor, ErrorKind, ListPage, NamespacePage, NamespacedStore, SetItem, Store, StoreExt,
};

use tokio::time::Instant;

use super::hostile;
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_kind, expect_missing, expect_value, show_key};

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
fn expect_listed<'k>(listed: &[String], want: impl IntoIterator<Item = &'k str>) -> Verdict {
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

pub(super) async fn a_prefix_is_compared_byte_by_byte(t: &Trial) -> Verdict {
    let store = t.store();
    let mut keys: BTreeSet<String> = hostile::keys().into_iter().map(str::to_owned).collect();
    for key in ["a", "aa", "ab", "aab", "b", "a/x", "a/y", "a:x", "éa", "é", "", "x*y", "xzy"] {
        keys.insert(key.to_owned());
    }
    let all: Vec<String> = keys.iter().cloned().collect();
    fill(&store, &all).await?;
    let prefixes = [
        "",
        "a",
        "aa",
        "aab",
        "aabb",
        "a/",
        "a:",
        "é",
        "e",
        "e\u{301}",
        "\0",
        "k\0",
        "*",
        "a*",
        "?",
        "[",
        "[a",
        "%",
        "_",
        "\\",
        "^",
        ".",
        "..",
        "../",
        "/",
        "K",
        "k",
        "k ",
        "key",
        "{",
        "👨",
        "COM",
        "larder",
        "larder:",
        "x*",
        "x?y",
        "conformance",
    ];
    for prefix in prefixes {
        t.part();
        let verdict = async {
            let listed = all_keys(&store, prefix, 7).await?;
            let want = keys.iter().map(String::as_str).filter(|key| key.starts_with(prefix));
            expect_listed(&listed, want).map_err(|stop| match stop {
                Stop::Fail(broken) => {
                    Stop::fail(format!("with prefix {prefix:?}, {}", broken.seen))
                }
                skip @ Stop::Skip(_) => skip,
            })
        };
        t.collect(verdict.await)?;
    }
    Ok(())
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
    Ok(())
}

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

pub(super) async fn a_cursor_of_another_listing_is_refused(t: &Trial) -> Verdict {
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
    }
    Ok(())
}

pub(super) async fn a_cursor_of_another_namespace_is_refused(t: &Trial) -> Verdict {
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
    Ok(())
}

pub(super) async fn a_cursor_of_another_store_is_refused(t: &Trial) -> Verdict {
    let store = t.store();
    let another = t.another("another store: ").await?;
    let other = another.store();
    let verdict = async {
        for store in [&store, &other] {
            fill(store, &numbered(30)).await?;
        }
        let cursor = some_cursor(&store, "").await?;
        expect_refused("of another store", &other, "", &cursor).await
    };
    let verdict = verdict.await;
    another.leave().await;
    verdict
}

pub(super) async fn a_cursor_that_is_none_is_refused(t: &Trial) -> Verdict {
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

/// How much dearer each key of a long listing may be than one of a short listing. A listing that
/// walks everything again for each page is dearer by as much as the listing is longer.
const DEARER: u32 = 5;

pub(super) async fn a_listing_costs_what_it_walks(t: &Trial) -> Verdict {
    let store = t.store();
    let (few, many) = (numbered(200), numbered(4_000));
    fill(&store, &few).await?;
    let short = quickest_listing(t, &store, few.len()).await?;
    fill(&store, &many).await?;
    let long = quickest_listing(t, &store, many.len()).await?;
    let times = u32::try_from(many.len() / few.len()).unwrap_or(1);
    ensure!(
        long < short.max(LEAST) * times * DEARER,
        "listing {} keys in pages of 20 takes {long:?}, and {} keys {short:?}: {times} times as many \
         must not take more than {} times as long",
        many.len(),
        few.len(),
        times * DEARER
    );
    Ok(())
}

/// Shorter times are not told apart.
const LEAST: Duration = Duration::from_micros(100);

/// The shortest of several attempts, as whatever else delays a thread does so at random.
async fn quickest_listing(t: &Trial, store: &dyn Store, count: usize) -> Verdict<Duration> {
    let mut quickest = Duration::MAX;
    for _ in 0..4 {
        t.part();
        let started = Instant::now();
        let listed = all_keys(store, "", 20).await?;
        quickest = quickest.min(started.elapsed());
        ensure!(listed.len() >= count, "a listing of {count} keys gave {}", listed.len());
    }
    Ok(quickest)
}

pub(super) async fn delete_prefix_deletes_and_counts(t: &Trial) -> Verdict {
    let store = t.store();
    let keys = ["a", "aa", "ab", "b", "a*", "a*b", "axb", "", "A", "é", "e", "\0", "\0a"];
    let prefixes = ["a", "aa", "a*", "*", "?", "[a]", "%", "_", "é", "\0", "x", "", "ab", "abc"];
    for prefix in prefixes {
        t.part();
        for key in keys {
            store.set(key, key).await?;
        }
        let verdict = async {
            let hit: Vec<&str> =
                keys.iter().copied().filter(|key| key.starts_with(prefix)).collect();
            let deleted = store.delete_prefix(prefix).await?;
            ensure!(
                deleted == hit.len() as u64,
                "delete_prefix({prefix:?}) gave {deleted} instead of {}",
                hit.len()
            );
            for key in keys {
                if hit.contains(&key) {
                    expect_missing(&store, key).await?;
                } else {
                    expect_value(&store, key, key.as_bytes()).await?;
                }
            }
            Ok(())
        };
        t.collect(verdict.await)?;
    }
    let many = numbered(1_100);
    fill(&store, &many).await?;
    let deleted = store.delete_prefix("key ").await?;
    ensure!(deleted == 1_100, "delete_prefix(\"key \") gave {deleted} instead of 1100");
    expect_listed(&all_keys(&store, "key ", 100).await?, [])
}

pub(super) async fn delete_prefix_does_not_count_the_dead(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    for key in ["k1", "k2", "k3"] {
        store.set(key, "v").ttl(ttl).await?;
    }
    store.set("k4", "v").await?;
    t.outlive(ttl).await;
    t.expect_gone(&store, "k3").await?;
    let deleted = store.delete_prefix("k").await?;
    ensure!(deleted == 1, "delete_prefix(\"k\") gave {deleted} where one key was live");
    expect_missing(&store, "k4").await
}

pub(super) async fn delete_prefix_leaves_child_namespaces(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let paths: [&[&str]; 4] = [&["a"], &["a", "b"], &["ab"], &["k"]];
    for path in paths {
        tree.with_path(path)?.set("k", "v").await?;
    }
    for prefix in ["", "a", "k", "a/", "a:", "/", ":"] {
        t.part();
        for key in ["k", "a", "ab"] {
            tree.set(key, "v").await?;
        }
        let verdict = async {
            tree.delete_prefix(prefix).await?;
            for path in paths {
                expect_value(&tree.with_path(path)?, "k", b"v").await?;
            }
            Ok(())
        };
        t.collect(verdict.await)?;
    }
    let child = tree.with_path(&["a"])?;
    child.delete_prefix("").await?;
    expect_missing(&child, "k").await?;
    for path in &paths[1..] {
        expect_value(&tree.with_path(path)?, "k", b"v").await?;
    }
    Ok(())
}

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

pub(super) async fn children_with_a_live_key_are_listed(t: &Trial) -> Verdict {
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
    let deleted = tree.with_path(&["deleted"])?;
    deleted.set("k", "v").await?;
    deleted.delete("k").await?;
    tree.with_path(&["never set"])?;
    t.outlive(ttl).await;
    t.expect_gone(&tree.with_path(&["dying"])?, "k").await?;
    expect_children(&tree, &["a", "deep"]).await?;
    expect_children(&tree.with_path(&["deep"])?, &["1"]).await?;
    expect_children(&tree.with_path(&["a"])?, &["b"]).await?;
    expect_children(&tree.with_path(&["a", "b"])?, &[]).await?;
    tree.with_path(&["a"])?.delete("k").await?;
    expect_children(&tree, &["a", "deep"]).await?;
    tree.with_path(&["a"])?.delete_all().await?;
    expect_children(&tree, &["deep"]).await
}

pub(super) async fn children_are_listed_as_they_were_named(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    for segment in hostile::SEGMENTS {
        tree.with_namespace(segment)?.set("k", "v").await?;
    }
    t.part();
    expect_listed(&all_children(&tree, 10).await?, hostile::SEGMENTS.iter().copied())
}
