use std::collections::BTreeSet;

use larder_core::{NamespacedStore, Store, StoreExt};

use super::super::hostile;
use super::{all_keys, expect_listed, fill, numbered};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure, expect_missing, expect_value};

pub(in crate::cases) async fn a_prefix_is_compared_byte_by_byte(t: &Trial) -> Verdict {
    let store = t.store();
    let mut keys: BTreeSet<String> = hostile::keys().into_iter().map(str::to_owned).collect();
    for key in [
        "a", "aa", "ab", "aab", "b", "a/x", "a/y", "a:x", "éa", "é", "", "x*y", "xzy", "d/e",
        "d/ef", "d/e/f",
    ] {
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
        "d/e",
        "d/e/",
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
        "[a]",
        "[ab]",
        "(a)",
        "a?",
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

pub(in crate::cases) async fn delete_prefix_deletes_and_counts(t: &Trial) -> Verdict {
    let store = t.store();
    let keys = [
        "a",
        "aa",
        "ab",
        "b",
        "a*",
        "a*b",
        "axb",
        "",
        "A",
        "é",
        "e",
        "\0",
        "\0a",
        "a👍",
        "a\u{10ffff}z",
    ];
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

pub(in crate::cases) async fn delete_prefix_does_not_count_the_dead(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn delete_prefix_leaves_child_namespaces(t: &Trial) -> Verdict {
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
