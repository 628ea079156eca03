//! `larder copy`: between backends, with namespaces and remaining life, again and again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use support::{Ended, Larder, ended, redis_url};

/// Stores entries in three namespaces at two depths, some of which expire.
fn fill(larder: &Larder) {
    larder.run(&["set", "never", "1"]).ok();
    larder.run(&["set", "hour", "2", "--ttl", "1h"]).ok();
    larder.run_with_input(&["-n", "a/b", "set", "bytes", "--file", "-"], b"\0\xff").ok();
    larder.run(&["-n", "a/b", "-n", "c", "set", "", "deep", "--ttl", "2d"]).ok();
}

fn filled_at(larder: &Larder, url: &str) {
    let run = |arguments: &[&str]| {
        let mut command = larder.bare(&["--store", url]);
        ended(command.args(arguments))
    };
    assert_eq!(run(&["get", "never"]).ok().text(), "1");
    assert_eq!(run(&["ttl", "never"]).ok().text(), "never\n");
    assert_eq!(run(&["get", "hour"]).ok().text(), "2");
    let left = run(&["--json", "ttl", "hour"]).ok().objects()[0]["expires_in_ms"].as_u64().unwrap();
    // A whole minute for the test to have run in.
    assert!((3_540_000..=3_600_000).contains(&left), "{left}");
    assert_eq!(run(&["-n", "a/b", "get", "bytes"]).ok().stdout, b"\0\xff");
    assert_eq!(run(&["-n", "a/b", "-n", "c", "get", ""]).ok().text(), "deep");
    let life = run(&["-n", "a/b", "-n", "c", "ttl", ""]).ok().text().to_owned();
    assert!(life == "2d\n" || life.starts_with("1d23h"), "{life}");
}

fn copy(larder: &Larder, arguments: &[&str]) -> Ended {
    let mut command = larder.bare(&["copy"]);
    ended(command.args(arguments))
}

#[test]
fn everything_goes_from_any_backend_to_any_other() {
    let redis = redis_url();
    let stores =
        [(Larder::file(), "sled:to"), (Larder::sled(), "file:to"), (Larder::redis(), "sled:to")];
    for (larder, to) in &stores {
        fill(larder);
        let first = copy(larder, &[larder.url(), to]);
        assert_eq!(first.ok().text(), "copied 4, already there 0, left out 0\n");
        filled_at(larder, to);
        let again = copy(larder, &[larder.url(), to]);
        assert_eq!(again.ok().text(), "copied 0, already there 4, left out 0\n");
    }
    let (larder, _) = &stores[0];
    copy(larder, &[larder.url(), &redis]).ok();
    filled_at(larder, &redis);
    ended(&mut larder.bare(&["--store", &redis, "clear", "--yes"])).ok();
}

#[test]
fn what_is_there_stays_unless_overwritten() {
    let larder = Larder::file();
    fill(&larder);
    ended(&mut larder.bare(&["--store", "sled:to", "set", "never", "mine"])).ok();
    ended(&mut larder.bare(&["--store", "sled:to", "set", "other", "mine"])).ok();
    let get = || ended(&mut larder.bare(&["--store", "sled:to", "get", "never"])).text().to_owned();
    let ended_copy = copy(&larder, &["--json", larder.url(), "sled:to"]);
    let object = &ended_copy.ok().objects()[0];
    assert_eq!((&object["copied"], &object["already_there"]), (&3.into(), &1.into()));
    assert_eq!(get(), "mine");
    let ended_copy = copy(&larder, &[larder.url(), "sled:to", "--overwrite"]);
    assert_eq!(ended_copy.ok().text(), "copied 4, already there 0, left out 0\n");
    assert_eq!(get(), "1");
    ended(&mut larder.bare(&["--store", "sled:to", "get", "other"])).ok();
}

#[test]
fn a_namespace_and_a_prefix_narrow_it() {
    let larder = Larder::file();
    fill(&larder);
    let copied = copy(&larder, &[larder.url(), "sled:to", "-n", "a/b"]);
    assert_eq!(copied.ok().text(), "copied 2, already there 0, left out 0\n");
    let at = |arguments: &[&str]| ended(larder.bare(&["--store", "sled:to"]).args(arguments));
    at(&["get", "never"]).expect(1, "missing");
    at(&["-n", "a/b", "get", "bytes"]).ok();
    let copied = copy(&larder, &[larder.url(), "sled:to", "--prefix", "ho"]);
    assert_eq!(copied.ok().text(), "copied 1, already there 0, left out 0\n");
    at(&["get", "hour"]).ok();
    at(&["get", "never"]).expect(1, "missing");
}

#[test]
fn many_entries_of_many_sizes_arrive_whole() {
    let larder = Larder::file();
    let (url, size) =
        (format!("sled:{}?durability=volatile", larder.path("from").display()), 3_000);
    let value = |number: usize| vec![u8::try_from(number % 251).unwrap(); (number * 37) % 5_000];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use larder::prelude::*;
        let store = larder::open(&url).await.unwrap();
        for number in 0..size {
            store.set(&format!("key {number}"), value(number)).await.unwrap();
        }
        store.set("large", vec![7; 20 << 20]).await.unwrap();
        store.close().await.unwrap();
    });
    let to = "sled:to";
    let copied = copy(&larder, &[&url, to]);
    assert_eq!(copied.ok().text(), format!("copied {}, already there 0, left out 0\n", size + 1));
    runtime.block_on(async {
        use larder::prelude::*;
        let store = larder::open(&format!("sled:{}", larder.path("to").display())).await.unwrap();
        for number in 0..size {
            let found = store.get(&format!("key {number}")).await.unwrap();
            assert_eq!(found.unwrap(), value(number), "{number}");
        }
        assert_eq!(store.get("large").await.unwrap().unwrap(), vec![7; 20 << 20]);
        store.close().await.unwrap();
    });
}

#[test]
fn records_that_do_not_tell_their_key_are_left_out_and_counted() {
    let larder = Larder::file();
    fill(&larder);
    // What Litestar writes for the key "foo": the record, under the hash of the key.
    let record = larder::StorageObject::new("bar", None).to_bytes();
    let hash = "08d6cad88075de8f192db097573d0e829411cd91eb6ec65e8fc16c017edfdb74";
    std::fs::write(larder.path("store").join(hash), record).unwrap();
    assert_eq!(larder.run(&["get", "foo"]).ok().text(), "bar");
    let copied = copy(&larder, &[larder.url(), "sled:to"]);
    assert_eq!(copied.ok().text(), "copied 4, already there 0, left out 1\n");
    let listed = larder.run(&["list"]);
    assert_eq!(listed.lines().len(), 2);
    assert!(listed.stderr.contains("1 live record left out"), "{listed:?}");
}

#[test]
fn a_store_is_not_copied_onto_or_into_itself() {
    let larder = Larder::file();
    fill(&larder);
    std::fs::create_dir(larder.path("folder")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(larder.path("store"), larder.path("link")).unwrap();
    let absolute = format!("file:{}", larder.path("store").display());
    let mut pairs = vec![
        ("file:store", "file:store"),
        ("file:store", "file:folder/../store"),
        ("file:store", &*absolute),
        ("file:store", "file:store?namespace=copy"),
        ("file:store?namespace=a%2Fb", "file:store"),
        ("file:store", "file:store/nested"),
        ("file:store", "sled:store/nested"),
    ];
    if cfg!(unix) {
        pairs.push(("file:store", "file:link"));
        pairs.push(("file:link/", "file:store?namespace=copy"));
    }
    for (from, to) in pairs {
        let refused = copy(&larder, &[from, to]);
        assert!(matches!(refused.status, 2 | 3), "{from} {to}: {refused:?}");
        assert!(refused.stdout.is_empty());
    }
    larder.run(&["namespaces"]).ok();
    assert_eq!(larder.run(&["namespaces"]).ok().text(), "a/b\n");
    assert!(!nested(&larder.path("store")));
}

fn nested(store: &Path) -> bool {
    store.join("nested").exists()
}

#[test]
fn a_redis_store_is_known_by_any_of_its_names() {
    let larder = Larder::redis();
    fill(&larder);
    let other_name = larder.url().replace("127.0.0.1", "localhost");
    let below = format!("{other_name}&namespace=below");
    for (from, to) in [
        (larder.url(), larder.url()),
        (larder.url(), &*other_name),
        (larder.url(), &*below),
        (&*below, larder.url()),
    ] {
        copy(&larder, &[from, to]).expect(2, "usage");
    }
    let mut keys: Vec<String> =
        larder.run(&["list"]).ok().lines().into_iter().map(str::to_owned).collect();
    keys.sort();
    assert_eq!(keys, ["hour", "never"], "a marker was left");
    let sibling = redis_url();
    copy(&larder, &[larder.url(), &sibling]).ok();
    ended(&mut larder.bare(&["--store", &sibling, "clear", "--yes"])).ok();
}

#[test]
fn within_one_store_a_sibling_namespace_is_a_fine_target() {
    for larder in [Larder::file(), Larder::sled()] {
        larder.run(&["-n", "a", "set", "k", "v", "--ttl", "1h"]).ok();
        let (from, to) =
            (format!("{}?namespace=a", larder.url()), format!("{}?namespace=ab", larder.url()));
        assert_eq!(
            copy(&larder, &[&from, &to]).ok().text(),
            "copied 1, already there 0, left out 0\n"
        );
        assert_eq!(larder.run(&["-n", "ab", "get", "k"]).ok().text(), "v");
    }
}

#[test]
fn a_damaged_record_is_reported_and_the_rest_is_copied() {
    let larder = Larder::file();
    for key in ["a", "b", "c"] {
        larder.run(&["set", key, "a value that is long enough to be damaged"]).ok();
    }
    let damaged = std::fs::read_dir(larder.path("store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().len() == 64)
        .unwrap();
    let mut bytes = std::fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let copied = copy(&larder, &[larder.url(), "sled:to"]);
    copied.expect(3, "corrupt");
    assert_eq!(copied.text(), "copied 2, already there 0, left out 0, failed 1\n");
}

/// A token of the lock `k`, as a fresh process draws it.
#[cfg(unix)]
fn token(larder: &Larder, url: &str) -> u64 {
    let mut command = larder.bare(&["--store", url, "lock", "k", "--"]);
    let ended = ended(command.args(["sh", "-c", "echo $LARDER_FENCE"]));
    ended.ok().text().trim().parse().unwrap()
}

#[cfg(unix)]
#[test]
fn tokens_go_on_and_never_back() {
    let larder = Larder::file();
    let (older, newer) = ("file:older", "file:newer");
    let last = [older, newer].map(|url| token(&larder, url));
    assert!(last[0] < last[1]);
    let copied = copy(&larder, &[older, newer, "--overwrite"]);
    assert_eq!(copied.ok().text(), "copied 0, already there 1, left out 0\n");
    assert!(token(&larder, newer) > last[1]);
    let copied = copy(&larder, &[&format!("{newer}?namespace=d"), &format!("{older}?namespace=d")]);
    assert_eq!(copied.ok().text(), "copied 1, already there 0, left out 0\n");
    assert!(token(&larder, older) > last[1] + 1);
}

#[cfg(unix)]
#[test]
fn a_lock_that_is_held_stays_with_its_store() {
    let larder = Larder::file();
    larder.run(&["set", "k", "v"]).ok();
    let script = "\"$LARDER\" copy \"$FROM\" file:to; \"$LARDER\" --store file:to lock k --wait 0 -- echo mine";
    let mut command = larder.command(&["lock", "k", "--lease", "2m", "--", "sh", "-c", script]);
    command.env("LARDER", env!("CARGO_BIN_EXE_larder")).env("FROM", larder.url());
    let ended = ended(&mut command);
    assert_eq!(ended.ok().lines(), ["copied 2, already there 0, left out 1", "mine"]);
}

#[test]
fn a_namespace_that_is_called_as_the_caches_own_is_copied() {
    let larder = Larder::file();
    for (namespace, key) in [("lock", "g:k"), ("load", "g:k"), ("fence", "07"), ("fence", "mark")] {
        larder.run(&["-n", "d", "-n", namespace, "set", key, "42"]).ok();
    }
    let copied = copy(&larder, &[larder.url(), "sled:to"]);
    assert_eq!(copied.ok().text(), "copied 4, already there 0, left out 0\n");
}
