use std::sync::Arc;

use larder_core::{
    ErrorKind, Expiry, MAX_NAMESPACE_DEPTH, MAX_NAMESPACE_LEN, MAX_SEGMENT_LEN, NamespacedStore,
    Store, StoreExt,
};

use super::calls::bare_set;
use super::hostile;
use super::listing::all_keys;
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_kind, expect_missing, expect_value, show_key};

/// Pairs of a namespace and a key that some way of joining them makes one.
const AMBIGUOUS: &[(&[&str], &str)] = &[
    (&[], "k"),
    (&[], "a"),
    (&[], "a:k"),
    (&[], "a/k"),
    (&[], "a/b:k"),
    (&[], "a:b:k"),
    (&[], "/a:k"),
    (&[], ":k"),
    (&[], "larder/a:k"),
    (&[], "larder:a:k"),
    (&["a"], "k"),
    (&["a", "a"], "k"),
    (&["a", "a", "b"], "k"),
    (&["b", "a"], "k"),
    (&["a"], "b:c"),
    (&["a"], "b:k"),
    (&["a"], "b/k"),
    (&["a"], "b_c"),
    (&["a"], ":k"),
    (&["a"], "/k"),
    (&["a"], "a:k"),
    (&["a", "b"], "k"),
    (&["a", "b"], "c"),
    (&["a", "b:c"], "k"),
    (&["a:b", "c"], "k"),
    (&["a:b"], "c"),
    (&["a:b"], "k"),
    (&["a/b"], "k"),
    (&["a/b"], "c"),
    (&["a%2Fb"], "k"),
    (&["a%3Ab"], "k"),
    (&["a%3Ab"], "c"),
    (&["a%"], "k"),
    (&["a", "%"], "k"),
    (&["a_b", "c"], "k"),
    (&["a", "b_c"], "k"),
    (&["a_b"], "c"),
    (&["a_b_c"], "k"),
    (&["a-b", "c"], "k"),
    (&["a", "b-c"], "k"),
    (&["a.b", "c"], "k"),
    (&["a", "b.c"], "k"),
    (&["a\0b"], "k"),
    (&["a", "\0b"], "k"),
    (&["ab"], "k"),
    (&["ab"], "c"),
    (&["a", "bc"], "k"),
    (&["ab", "c"], "k"),
    (&["foo"], "k"),
    (&["foobar"], "k"),
    (&["foo", "bar"], "k"),
    (&["foo_bar"], "k"),
    (&["foo*"], "k"),
    (&["foo?"], "k"),
    (&["foo "], "k"),
    (&["FOO"], "k"),
    (&[".."], "k"),
    (&["a", ".."], "k"),
    (&["a", "..", "b"], "k"),
    (&["."], "k"),
    (&["/"], "k"),
    (&["k"], ""),
    (&["k"], "k"),
    (&["65267e8cddb68b3c89e8b2e8c68b8ae6335d8c8232d2ec0af93e71097668300a"], "k"),
    (&["65"], "k"),
];

fn shown(path: &[&str], key: &str) -> String {
    format!("{path:?} {}", show_key(key))
}

async fn put(tree: &Arc<dyn NamespacedStore>, path: &[&str], key: &str, value: &str) -> Verdict {
    tree.with_path(path)?.set(key, value).await?;
    Ok(())
}

async fn sees(tree: &Arc<dyn NamespacedStore>, path: &[&str], key: &str, value: &str) -> Verdict {
    expect_value(&tree.with_path(path)?, key, value.as_bytes()).await
}

pub(super) async fn the_same_key_lives_in_each(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let paths: [&[&str]; 5] = [&[], &["a"], &["b"], &["a", "b"], &["a", "b", "c"]];
    for path in paths {
        expect_missing(&tree.with_path(path)?, "k").await?;
        put(&tree, path, "k", &format!("in {path:?}")).await?;
    }
    for path in paths {
        sees(&tree, path, "k", &format!("in {path:?}")).await?;
    }
    let child = tree.with_path(&["a"])?;
    ensure!(child.delete("k").await?, "delete(\"k\") in \"a\" gave false for a live key");
    expect_missing(&child, "k").await?;
    for path in paths.into_iter().filter(|path| *path != ["a"]) {
        sees(&tree, path, "k", &format!("in {path:?}")).await?;
    }
    Ok(())
}

pub(super) async fn no_two_names_ever_meet(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    for (path, key) in AMBIGUOUS {
        t.collect(put(&tree, path, key, &shown(path, key)).await)?;
    }
    for (path, key) in AMBIGUOUS {
        let verdict = sees(&tree, path, key, &shown(path, key)).await;
        t.collect(verdict.map_err(|stop| said(stop, path)))?;
    }
    for (path, key) in AMBIGUOUS.iter().step_by(2) {
        tree.with_path(path)?.delete(key).await?;
    }
    for (index, (path, key)) in AMBIGUOUS.iter().enumerate() {
        let verdict = if index % 2 == 0 {
            expect_missing(&tree.with_path(path)?, key).await
        } else {
            sees(&tree, path, key, &shown(path, key)).await
        };
        t.collect(verdict.map_err(|stop| said(stop, path)))?;
    }
    Ok(())
}

fn said(stop: Stop, path: &[&str]) -> Stop {
    match stop {
        Stop::Fail(broken) => Stop::fail(format!("in {path:?}, {}", broken.seen)),
        skip @ Stop::Skip(_) => skip,
    }
}

pub(super) async fn names_count_to_their_last_byte(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let room = MAX_NAMESPACE_DEPTH - tree.namespace().depth() - 1;
    let mut paths: Vec<Vec<String>> = Vec::new();
    for end in ["x", "y"] {
        for len in [31, 63, 127, 200, 239, 254] {
            paths.push(vec![format!("{}{end}", "s".repeat(len))]);
            // Longer than they look to whoever escapes them.
            paths.push(vec![format!("{}{end}", "%".repeat(len))]);
            paths.push(vec![format!("{}{end}", "é".repeat(len / 2))]);
        }
        let mut deep = vec!["d".to_owned(); room];
        deep.push(end.to_owned());
        paths.push(deep);
    }
    // Nor are deep segments joined.
    for end in [&["b/c"][..], &["b", "c"], &["b:c"]] {
        paths.push(["d"; 12].iter().chain(end).map(ToString::to_string).collect());
    }
    // The same but for the first byte, and a path with the same bytes in other segments.
    for start in ["x", "y"] {
        paths.push(vec![format!("{start}{}", "s".repeat(254))]);
        paths.push(vec![start.to_owned(), "s".repeat(254)]);
    }
    let mut taken = Vec::new();
    for path in &paths {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match tree.with_path(&path) {
            Ok(store) => taken.push((path, store)),
            // Over a flat store, the namespace takes its room from the key.
            Err(error)
                if error.kind() == ErrorKind::InvalidNamespace
                    && t.capabilities().max_key_len < larder_core::MAX_KEY_LEN => {}
            Err(error) => return Err(error.into()),
        }
    }
    for (index, (_, store)) in taken.iter().enumerate() {
        store.set("k", format!("{index}")).await?;
    }
    for (index, (path, store)) in taken.iter().enumerate() {
        let verdict = expect_value(store, "k", index.to_string().as_bytes()).await;
        t.collect(verdict.map_err(|stop| said(stop, path)))?;
    }
    for (_, store) in taken.iter().step_by(2) {
        store.delete_all().await?;
    }
    for (index, (path, store)) in taken.iter().enumerate() {
        let verdict = if index % 2 == 0 {
            expect_missing(store, "k").await
        } else {
            expect_value(store, "k", index.to_string().as_bytes()).await
        };
        t.collect(verdict.map_err(|stop| said(stop, path)))?;
    }
    Ok(())
}

pub(super) async fn a_segment_is_any_text(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let child = tree.with_path(&["inner"])?;
    for store in [&tree, &child] {
        for segment in hostile::SEGMENTS {
            store.with_namespace(segment)?.set("k", *segment).await?;
        }
        store.set("k", "own").await?;
    }
    for store in [&tree, &child] {
        for segment in hostile::SEGMENTS {
            let verdict =
                expect_value(&store.with_namespace(segment)?, "k", segment.as_bytes()).await;
            t.collect(verdict.map_err(|stop| said(stop, &[segment])))?;
        }
        expect_value(store, "k", b"own").await?;
    }
    Ok(())
}

pub(super) async fn clearing_takes_all_descendants(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let deep = ["a", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let below: [&[&str]; 6] =
        [&["a"], &["a", "b"], &["a", "b", "c"], &["a", "*"], &["a", "x", "y", "z"], &deep];
    let beside: [&[&str]; 6] = [&[], &["b"], &["ab"], &["a:b"], &["b", "a"], &["A"]];
    for path in below.into_iter().chain(beside) {
        put(&tree, path, "k", "v").await?;
        tree.with_path(path)?.set("mortal", "v").ttl(LONG).await?;
    }
    tree.with_path(&["a"])?.delete_all().await?;
    for path in below {
        for key in ["k", "mortal"] {
            let verdict = expect_missing(&tree.with_path(path)?, key).await;
            t.collect(verdict.map_err(|stop| said(stop, path)))?;
        }
    }
    for path in beside {
        for key in ["k", "mortal"] {
            let verdict = expect_value(&tree.with_path(path)?, key, b"v").await;
            t.collect(verdict.map_err(|stop| said(stop, path)))?;
        }
    }
    for path in below {
        put(&tree, path, "k", "again").await?;
        sees(&tree, path, "k", "again").await?;
    }
    tree.delete_all().await?;
    for path in below.into_iter().chain(beside) {
        let verdict = expect_missing(&tree.with_path(path)?, "k").await;
        t.collect(verdict.map_err(|stop| said(stop, path)))?;
    }
    Ok(())
}

pub(super) async fn clearing_never_reaches_a_neighbour(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let cleared = ["foo", "*", "foo*", "?oo", "[f]oo", "f", ".", "..", "%", "_", "a:b", "\\"];
    let neighbours = [
        "foobar", "fooo", "foo:", "foo/", "foo_bar", "foo bar", "Foo", "fo", "oo", "xfoo", "ffoo",
        "a", "a:bc", "bar",
    ];
    for segment in cleared {
        t.part();
        for neighbour in neighbours {
            put(&tree, &[neighbour], "k", neighbour).await?;
            put(&tree, &[neighbour, segment], "k", neighbour).await?;
        }
        tree.set(segment, "a key").await?;
        tree.set(&format!("{segment}:k"), "a key").await?;
        put(&tree, &[segment], "k", "v").await?;
        let store = tree.with_namespace(segment)?;
        store.delete_all().await?;
        t.collect(expect_missing(&store, "k").await)?;
        for neighbour in neighbours {
            for path in [&[neighbour][..], &[neighbour, segment]] {
                let verdict = sees(&tree, path, "k", neighbour).await;
                t.collect(verdict.map_err(|stop| said(stop, path)))?;
            }
        }
        t.collect(expect_value(&tree, segment, b"a key").await)?;
        t.collect(expect_value(&tree, &format!("{segment}:k"), b"a key").await)?;
    }
    Ok(())
}

pub(super) async fn clearing_a_child_leaves_its_parent(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let middle = tree.with_path(&["a", "b"])?;
    for path in [&[][..], &["a"], &["a", "b"], &["a", "b", "c"]] {
        put(&tree, path, "k", "v").await?;
    }
    middle.with_namespace("c")?.delete_all().await?;
    for path in [&[][..], &["a"], &["a", "b"]] {
        sees(&tree, path, "k", "v").await?;
    }
    middle.delete_all().await?;
    sees(&tree, &["a"], "k", "v").await?;
    sees(&tree, &[], "k", "v").await?;
    expect_missing(&middle, "k").await
}

pub(super) async fn a_grandchild_needs_no_parent(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    put(&tree, &["a", "b", "c"], "k", "deep").await?;
    put(&tree, &["a"], "k", "shallow").await?;
    put(&tree, &["a", "b"], "k", "middle").await?;
    tree.with_path(&["a", "b"])?.delete("k").await?;
    sees(&tree, &["a", "b", "c"], "k", "deep").await?;
    sees(&tree, &["a"], "k", "shallow").await?;
    // An unused namespace can be read, cleared and listed like any other.
    let unused = tree.with_path(&["never", "used"])?;
    expect_missing(&unused, "k").await?;
    ensure!(!unused.delete("k").await?, "delete(\"k\") gave true in a namespace never used");
    unused.delete_all().await?;
    if unused.capabilities().list {
        let listed = all_keys(&unused, "", 10).await?;
        ensure!(listed.is_empty(), "a namespace never used lists {listed:?}");
    }
    Ok(())
}

pub(super) async fn a_path_is_walked_from_here(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let base: Vec<String> = tree.namespace().segments().map(str::to_owned).collect();
    let at_once = tree.with_path(&["a", "b:c", "d"])?;
    let stepwise = tree.with_namespace("a")?.with_namespace("b:c")?.with_namespace("d")?;
    let halfway = tree.with_path(&["a"])?.with_path(&["b:c", "d"])?;
    at_once.set("k", "v").await?;
    for store in [&stepwise, &halfway] {
        expect_value(store, "k", b"v").await?;
        ensure!(
            store.namespace() == at_once.namespace(),
            "one namespace is called {:?} and {:?}",
            store.namespace(),
            at_once.namespace()
        );
    }
    let found: Vec<&str> = at_once.namespace().segments().collect();
    let want: Vec<&str> = base.iter().map(String::as_str).chain(["a", "b:c", "d"]).collect();
    ensure!(found == want, "namespace() gave {found:?} instead of {want:?}");
    let here = at_once.with_path(&[])?;
    expect_value(&here, "k", b"v").await?;
    ensure!(
        here.namespace() == at_once.namespace(),
        "with_path([]) leads to {:?} instead of {:?}",
        here.namespace(),
        at_once.namespace()
    );
    let flat: Arc<dyn Store> = here;
    expect_value(&flat, "k", b"v").await
}

pub(super) async fn the_limits_are_exact(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let depth = tree.namespace().depth();
    let len: usize = tree.namespace().segments().map(str::len).sum();
    let refused = |what: &str, path: &[&str]| {
        let result = tree.with_path(path).map(|store| store.namespace().clone());
        expect_kind(&format!("with_path of {what}"), result, ErrorKind::InvalidNamespace).map(drop)
    };
    let longest = "s".repeat(MAX_SEGMENT_LEN);
    let wide = "é".repeat(MAX_SEGMENT_LEN / 2 + 1);
    t.collect(refused("an empty segment", &[""]))?;
    t.collect(refused("an empty segment below another", &["a", ""]))?;
    t.collect(refused("an empty segment above another", &["", "a"]))?;
    t.collect(refused("a segment of 256 bytes", &[&format!("{longest}s")]))?;
    t.collect(refused("a segment of 128 characters and 256 bytes", &[&wide]))?;
    t.collect(refused("a segment of 1 MiB", &[&"s".repeat(1 << 20)]))?;
    t.collect(refused("33 segments", &vec!["a"; MAX_NAMESPACE_DEPTH + 1 - depth]))?;
    t.collect(refused("40 segments", &["a"; 40]))?;
    let result = tree.with_namespace("").map(|store| store.namespace().clone());
    t.collect(expect_kind("with_namespace(\"\")", result, ErrorKind::InvalidNamespace).map(drop))?;
    // Nine segments, as long as the whole may be, and one byte more.
    let mut left = MAX_NAMESPACE_LEN - len;
    let mut longest_path = Vec::new();
    while left > 0 {
        let segment = left.min(MAX_SEGMENT_LEN);
        longest_path.push("s".repeat(segment));
        left -= segment;
    }
    let longest_path: Vec<&str> = longest_path.iter().map(String::as_str).collect();
    let mut too_long = longest_path.clone();
    too_long.push("s");
    t.collect(refused("2049 bytes", &too_long))?;
    let deepest = vec!["a"; MAX_NAMESPACE_DEPTH - depth];
    for path in [vec![longest.as_str()], deepest, longest_path] {
        t.part();
        match tree.with_path(&path) {
            Ok(store) => {
                store.set("k", "v").await?;
                t.collect(expect_value(&store, "k", b"v").await)?;
                t.collect(expect_missing(&tree, "k").await)?;
            }
            // Over a flat store, the namespace takes its room from the key.
            Err(error)
                if error.kind() == ErrorKind::InvalidNamespace
                    && t.capabilities().max_key_len < larder_core::MAX_KEY_LEN => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) async fn a_refused_name_leaves_no_trace(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    tree.set("k", "v").await?;
    for path in [&["a", ""][..], &["", "a"], &["a", "b", ""]] {
        ensure!(tree.with_path(path).is_err(), "with_path({path:?}) was taken");
    }
    expect_value(&tree, "k", b"v").await?;
    if tree.capabilities().list {
        let children = super::listing::all_children(&tree, 10).await?;
        ensure!(children.is_empty(), "a refused path left the namespaces {children:?}");
    }
    put(&tree, &["a", "b"], "k", "w").await?;
    sees(&tree, &["a", "b"], "k", "w").await
}

pub(super) async fn a_child_inherits_the_configuration(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let own = tree.capabilities();
    for path in [&["a"][..], &["a", "b", "c"], &["*", "/"]] {
        let child = tree.with_path(path)?;
        let has = child.capabilities();
        ensure!(
            has.with_max_key_len(own.max_key_len) == own && has.max_key_len <= own.max_key_len,
            "the child {path:?} has other capabilities than its parent: {has:?} instead of {own:?}"
        );
        let longest = "k".repeat(has.max_key_len);
        child.set(&longest, "v").ttl(LONG).await?;
        expect_value(&child, &longest, b"v").await?;
        let call = "set of a key over the declared length";
        let set = bare_set(&child, &format!("{longest}k"), "v").await;
        expect_kind(call, set, ErrorKind::InvalidKey)?;
        if has.renew {
            let live = child.update_expiry(&longest, Expiry::Never).await?;
            ensure!(live, "update_expiry in the child {path:?} gave false for a live key");
        }
        if has.conditions {
            let outcome = child.set(&longest, "w").if_absent().await?;
            ensure!(!outcome.is_applied(), "in the child {path:?} a live key counts as absent");
        }
    }
    Ok(())
}

pub(super) async fn handles_of_one_namespace_share_it(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let first = tree.with_path(&["a", "b"])?;
    let second = tree.with_namespace("a")?.with_namespace("b")?;
    let clone = Arc::clone(&first);
    first.set("k", "v").await?;
    expect_value(&second, "k", b"v").await?;
    second.set("k", "w").await?;
    expect_value(&first, "k", b"w").await?;
    expect_value(&clone, "k", b"w").await?;
    clone.delete("k").await?;
    expect_missing(&first, "k").await?;
    expect_missing(&second, "k").await?;
    first.set("k", "v").await?;
    drop((first, clone));
    expect_value(&second, "k", b"v").await?;
    drop(second);
    expect_value(&tree.with_path(&["a", "b"])?, "k", b"v").await
}

pub(super) async fn foreign_data_is_left_alone(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    t.plant_foreign().await?;
    expect_value(&store, "k", b"v").await?;
    let has = t.capabilities();
    if has.list {
        let listed = all_keys(&store, "", 3).await?;
        ensure!(listed == ["k"], "a listing gives {listed:?} where \"k\" alone is the store's own");
        let children = t.tree()?;
        super::listing::all_children(&children, 3).await?;
        store.delete_prefix("").await?;
        store.set("k", "v").await?;
    }
    if has.purge {
        store.set("dead", "v").ttl(t.tick()).await?;
        t.outlive(t.tick()).await;
        store.delete_expired().await?;
    }
    if let Ok(tree) = t.tree() {
        let child = tree.with_path(&["a"])?;
        child.set("k", "v").await?;
        child.delete_all().await?;
    }
    store.delete_all().await?;
    expect_missing(&store, "k").await?;
    store.delete_all().await?;
    store.set("k", "again").await?;
    expect_value(&store, "k", b"again").await?;
    let missing = t.missing_foreign().await?;
    ensure!(missing.is_empty(), "data of someone else was touched: {}", missing.join("; "));
    Ok(())
}
