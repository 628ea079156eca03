//! What each command does, on each backend that outlives a process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Larder;

on_every_store! {
    set_and_get
    set_from_a_file_and_from_standard_input
    set_with_conditions
    set_with_an_expiry
    get_renews
    get_writes_to_a_file
    get_as_json
    delete_keys
    delete_a_prefix
    exists
    expires_in
    expire
    incr
    list
    list_long
    list_as_json
    namespaces
    clear
    purge
    ping
}

fn set_and_get(larder: &Larder) {
    assert!(larder.run(&["set", "k", "välue"]).ok().stdout.is_empty());
    assert_eq!(larder.run(&["get", "k"]).ok().stdout, "välue".as_bytes());
    larder.run(&["set", "k", ""]).ok();
    assert!(larder.run(&["get", "k"]).ok().stdout.is_empty());
    larder.run(&["set", "", "the empty key"]).ok();
    assert_eq!(larder.run(&["get", ""]).ok().text(), "the empty key");
    larder.run(&["set", "--", "-k", "-v"]).ok();
    assert_eq!(larder.run(&["get", "--", "-k"]).ok().text(), "-v");
    larder.run(&["set", "n", "-5"]).ok();
    assert_eq!(larder.run(&["get", "n"]).ok().text(), "-5");
    larder.run(&["get", "absent"]).expect(1, "missing");
}

fn set_from_a_file_and_from_standard_input(larder: &Larder) {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    std::fs::write(larder.path("in"), &bytes).unwrap();
    larder.run(&["set", "k", "--file", "in"]).ok();
    assert_eq!(larder.run(&["get", "k"]).ok().stdout, bytes);
    larder.run_with_input(&["set", "k", "--file", "-"], b"\xff\0piped\n").ok();
    assert_eq!(larder.run(&["get", "k"]).ok().stdout, b"\xff\0piped\n");
}

fn set_with_conditions(larder: &Larder) {
    larder.run(&["set", "k", "1", "--if-present"]).expect(1, "condition-not-met");
    larder.run(&["set", "k", "1", "--if-absent"]).ok();
    larder.run(&["set", "k", "2", "--if-absent"]).expect(1, "condition-not-met");
    assert_eq!(larder.run(&["get", "k"]).ok().text(), "1");
    larder.run(&["set", "k", "2", "--if-present"]).ok();
    assert_eq!(larder.run(&["get", "k"]).ok().text(), "2");
    let ended = larder.run(&["--json", "set", "k", "3", "--if-absent"]);
    assert_eq!(ended.expect(1, "condition-not-met").objects()[0]["applied"], false);
}

fn set_with_an_expiry(larder: &Larder) {
    let life = |key: &str| larder.run(&["ttl", key]).ok().text().trim().to_owned();
    larder.run(&["set", "a", "v", "--ttl", "1h30m"]).ok();
    assert!(life("a") == "1h30m" || life("a").starts_with("1h29m"));
    larder.run(&["set", "a", "w", "--keep-ttl"]).ok();
    assert!(life("a") == "1h30m" || life("a").starts_with("1h29m"));
    larder.run(&["set", "a", "v"]).ok();
    assert_eq!(life("a"), "never");
    larder.run(&["set", "b", "v", "--expires-in", "7200"]).ok();
    assert!(life("b") == "2h" || life("b").starts_with("1h59m"));
    larder.run(&["set", "c", "v", "--expires-at", "9999-01-01T00:00:00+02:00"]).ok();
    assert!(life("c").contains('d'));
    larder.run(&["set", "c", "v", "--expires-at", "2001-01-01T00:00:00Z"]).ok();
    larder.run(&["get", "c"]).expect(1, "missing");
}

fn get_renews(larder: &Larder) {
    larder.run(&["set", "a", "v", "--ttl", "1h"]).ok();
    larder.run(&["set", "b", "v"]).ok();
    for key in ["a", "b"] {
        assert_eq!(larder.run(&["get", key, "--renew-for", "3d"]).ok().text(), "v");
    }
    let life = larder.run(&["ttl", "a"]).ok().text().trim().to_owned();
    assert!(life == "3d" || life.starts_with("2d23h"), "{life}");
    assert_eq!(larder.run(&["ttl", "b"]).ok().text(), "never\n");
    larder.run(&["get", "absent", "--renew-for", "3d"]).expect(1, "missing");
}

fn get_writes_to_a_file(larder: &Larder) {
    std::fs::write(larder.path("out"), "old").unwrap();
    larder.run(&["get", "k", "--output", "out"]);
    assert_eq!(std::fs::read(larder.path("out")).unwrap(), b"old");
    larder.run(&["set", "k", "new"]).ok();
    assert!(larder.run(&["get", "k", "--output", "out"]).ok().stdout.is_empty());
    assert_eq!(std::fs::read(larder.path("out")).unwrap(), b"new");
    larder.run(&["get", "k", "-o", "no/such/folder"]).expect(3, "not-found");
}

fn get_as_json(larder: &Larder) {
    larder.run(&["set", "k\n", "é\"", "--ttl", "60"]).ok();
    let object = &larder.run(&["--json", "get", "k\n"]).ok().objects()[0];
    assert_eq!(object["key"], "k\n");
    assert_eq!((&object["value"], &object["encoding"]), (&"é\"".into(), &"utf8".into()));
    let left = object["expires_in_ms"].as_u64().unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
    larder.run_with_input(&["set", "b", "--file", "-"], b"\xff\xfe").ok();
    let object = &larder.run(&["get", "b", "--json"]).ok().objects()[0];
    assert_eq!((&object["value"], &object["encoding"]), (&"//4=".into(), &"base64".into()));
    assert!(object["expires_in_ms"].is_null());
    assert!(larder.run(&["get", "absent", "--json"]).expect(1, "missing").stdout.is_empty());
}

fn delete_keys(larder: &Larder) {
    larder.run(&["set", "a", "1"]).ok();
    larder.run(&["set", "b", "1"]).ok();
    assert_eq!(larder.run(&["delete", "a", "b", "c", "a"]).ok().text(), "2\n");
    assert_eq!(larder.run(&["delete", "a"]).expect(1, "missing").text(), "0\n");
    let ended = larder.run(&["delete", "a", "b", "--json"]);
    assert_eq!(ended.expect(1, "missing").objects()[0]["deleted"], 0);
}

fn delete_a_prefix(larder: &Larder) {
    for key in ["a*1", "a*2", "ab"] {
        larder.run(&["set", key, "1"]).ok();
    }
    larder.run(&["-n", "a*", "set", "a*3", "1"]).ok();
    assert_eq!(larder.run(&["delete", "--prefix", "a*"]).ok().text(), "2\n");
    assert_eq!(larder.run(&["list"]).ok().text(), "ab\n");
    assert_eq!(larder.run(&["-n", "a*", "list"]).ok().text(), "a*3\n");
    assert_eq!(larder.run(&["delete", "--prefix", "z"]).expect(1, "missing").text(), "0\n");
    larder.run(&["delete", "--prefix", ""]).expect(2, "usage");
    larder.run(&["delete", "k", "--prefix", "z"]).expect(2, "usage");
    larder.run(&["delete"]).expect(2, "usage");
}

fn exists(larder: &Larder) {
    larder.run(&["set", "k", "v"]).ok();
    assert_eq!(larder.run(&["exists", "k"]).ok().text(), "true\n");
    assert_eq!(larder.run(&["exists", "x"]).expect(1, "missing").text(), "false\n");
    assert_eq!(larder.run(&["--json", "exists", "k"]).ok().objects()[0]["exists"], true);
}

fn expires_in(larder: &Larder) {
    larder.run(&["set", "k", "v"]).ok();
    assert_eq!(larder.run(&["expires-in", "k"]).ok().text(), "never\n");
    let object = &larder.run(&["--json", "expires-in", "k"]).ok().objects()[0];
    assert!(object["expires_in_ms"].is_null());
    larder.run(&["expires-in", "absent"]).expect(1, "missing");
}

fn expire(larder: &Larder) {
    larder.run(&["set", "k", "v"]).ok();
    assert!(larder.run(&["expire", "k", "90"]).ok().stdout.is_empty());
    let left = larder.run(&["--json", "ttl", "k"]).ok().objects()[0]["expires_in_ms"].as_u64();
    assert!((1..=90_000).contains(&left.unwrap()));
    larder.run(&["expire", "k", "never"]).ok();
    assert_eq!(larder.run(&["ttl", "k"]).ok().text(), "never\n");
    larder.run(&["expire", "absent", "1h"]).expect(1, "missing");
    larder.run(&["expire", "k", "-1"]).expect(2, "usage");
    larder.run(&["expire", "k", "0"]).ok();
    larder.run(&["get", "k"]).expect(1, "missing");
    larder.run(&["set", "k", "v"]).ok();
    larder.run(&["set", "k", "w", "--ttl", "0"]).ok();
    larder.run(&["get", "k"]).expect(1, "missing");
    larder.run(&["set", "k", "v", "--ttl", "1h"]).ok();
    assert_eq!(larder.run(&["get", "k", "--renew-for", "0"]).ok().text(), "v");
    larder.run(&["get", "k"]).expect(1, "missing");
}

fn incr(larder: &Larder) {
    larder.run(&["set", "n", "40", "--ttl", "1h"]).ok();
    assert_eq!(larder.run(&["incr", "n"]).ok().text(), "41\n");
    assert_eq!(larder.run(&["incr", "n", "-50"]).ok().text(), "-9\n");
    assert_ne!(larder.run(&["ttl", "n"]).ok().text(), "never\n");
    assert_eq!(larder.run(&["incr", "new", "3"]).ok().text(), "3\n");
    assert_eq!(larder.run(&["--json", "incr", "new"]).ok().objects()[0]["value"], "4");
    larder.run(&["set", "text", "many"]).ok();
    larder.run(&["incr", "text"]).expect(3, "invalid-value");
    larder.run(&["incr", "n", "much"]).expect(2, "usage");
}

fn list(larder: &Larder) {
    larder.run(&["set", "plain", "1"]).ok();
    assert_eq!(larder.run(&["delete", "plain"]).ok().text(), "1\n");
    assert!(larder.run(&["list"]).ok().stdout.is_empty());
    for key in ["a", "b1", "b2", "b3"] {
        larder.run(&["set", key, "1"]).ok();
    }
    larder.run(&["-n", "child", "set", "hidden", "1"]).ok();
    let sorted = |arguments: &[&str]| {
        let ended = larder.run(arguments);
        let mut lines: Vec<String> = ended.ok().lines().into_iter().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&["list"]), ["a", "b1", "b2", "b3"]);
    assert_eq!(sorted(&["ls", "--prefix", "b"]), ["b1", "b2", "b3"]);
    assert_eq!(sorted(&["list", "--limit", "2", "--prefix", "b"]).len(), 2);
    assert_eq!(sorted(&["list", "--limit", "100"]).len(), 4);
    larder.run(&["list", "--limit", "0"]).expect(2, "usage");
    let mut keys: Vec<Vec<u8>> =
        larder.run(&["list", "-0"]).ok().stdout.split(|byte| *byte == 0).map(Vec::from).collect();
    keys.sort();
    assert_eq!(keys, [&b""[..], b"a", b"b1", b"b2", b"b3"]);
}

fn list_long(larder: &Larder) {
    larder.run(&["set", "k", "12345"]).ok();
    let ended = larder.run(&["list", "--long"]);
    let words: Vec<&str> = ended.ok().text().split_whitespace().collect();
    assert_eq!(words, ["5", "never", "k"]);
    larder.run(&["list", "-l", "-0"]).expect(2, "usage");
}

fn list_as_json(larder: &Larder) {
    larder.run(&["set", "a b", "v", "--ttl", "1h"]).ok();
    assert_eq!(larder.run(&["--json", "list"]).ok().text(), "{\"key\":\"a b\"}\n");
    let object = &larder.run(&["--json", "list", "--long"]).ok().objects()[0];
    assert_eq!((&object["key"], &object["value"]), (&"a b".into(), &"v".into()));
    assert_eq!((&object["encoding"], &object["size"]), (&"utf8".into(), &1.into()));
    assert!(object["expires_in_ms"].as_u64().unwrap() <= 3_600_000);
}

fn namespaces(larder: &Larder) {
    larder.run(&["-n", "a/b", "-n", "x", "set", "k", "deep"]).ok();
    larder.run(&["-n", "c\n", "set", "k", "1"]).ok();
    let mut names: Vec<String> =
        larder.run(&["namespaces"]).ok().lines().into_iter().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["a/b", "c\\n"]);
    assert_eq!(larder.run(&["namespaces", "-n", "a/b"]).ok().text(), "x\n");
    assert_eq!(larder.run(&["-n", "a/b", "-n", "x", "get", "k"]).ok().text(), "deep");
    larder.run(&["-n", "a", "get", "k"]).expect(1, "missing");
    let mut objects = larder.run(&["--json", "namespaces"]).ok().objects();
    objects.sort_by_key(|object| object["namespace"].to_string());
    assert_eq!(objects[1]["namespace"], "c\n");
    larder.run(&["-n", "", "list"]).expect(2, "invalid-namespace");
}

fn clear(larder: &Larder) {
    larder.run(&["-n", "a", "set", "k", "1"]).ok();
    larder.run(&["-n", "a", "-n", "b", "set", "k", "1"]).ok();
    larder.run(&["-n", "ab", "set", "k", "1"]).ok();
    larder.run(&["-n", "a", "clear"]).expect(2, "usage");
    larder.run(&["-n", "a", "get", "k"]).ok();
    assert!(larder.run(&["-n", "a", "clear", "--yes"]).ok().stdout.is_empty());
    assert_eq!(larder.run(&["namespaces"]).ok().text(), "ab\n");
}

fn purge(larder: &Larder) {
    larder.run(&["set", "stays", "1", "--ttl", "1h"]).ok();
    let removed = larder.run(&["purge"]).ok().text().trim().parse::<u64>();
    assert_eq!(removed, Ok(0));
    assert_eq!(larder.run(&["--json", "purge"]).ok().objects()[0]["removed"], 0);
    larder.run(&["get", "stays"]).ok();
}

fn ping(larder: &Larder) {
    larder.run(&["set", "k", "1"]).ok();
    assert_eq!(larder.run(&["ping"]).ok().text(), "ok\n");
    assert_eq!(larder.run(&["--json", "ping"]).ok().objects()[0]["ok"], true);
}
