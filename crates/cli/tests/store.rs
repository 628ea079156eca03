//! Which store is used, which commands make one, and what `info` tells.

mod support;

use support::{Larder, ended};

#[test]
fn only_set_demo_and_the_target_of_copy_make_a_store() {
    for larder in [Larder::new(), Larder::file(), Larder::sled()] {
        let commands: &[&[&str]] = &[
            &["get", "k"],
            &["delete", "k"],
            &["exists", "k"],
            &["expires-in", "k"],
            &["expire", "k", "1h"],
            &["incr", "k"],
            &["list"],
            &["namespaces"],
            &["clear", "--yes"],
            &["purge"],
            &["info"],
            &["ping"],
        ];
        for command in commands {
            let ended = larder.run(command);
            assert!(ended.expect(3, "not-found").stderr.contains("--store"), "{ended:?}");
            assert!(ended.stdout.is_empty());
        }
        let absent = ["copy", "file:absent", "sled:target"];
        assert!(larder.run(&absent).expect(3, "not-found").stderr.contains("file:absent"));
        larder.run(&["conform", "file:absent"]).expect(3, "not-found");
        assert_eq!(std::fs::read_dir(larder.folder()).unwrap().count(), 0, "something was made");
        larder.run(&["set", "k", "v"]).ok();
        larder.run(&["info"]).ok();
    }
}

#[test]
fn a_value_that_cannot_be_read_makes_no_store() {
    let larder = Larder::new();
    larder.run(&["set", "k", "--file", "absent"]).expect(3, "not-found");
    assert_eq!(std::fs::read_dir(larder.folder()).unwrap().count(), 0);
}

#[test]
fn the_store_is_the_one_given_then_the_environments_then_the_embedded_one() {
    let larder = Larder::new();
    let set = |variable: Option<&str>, arguments: &[&str]| {
        let mut command = larder.bare(arguments);
        if let Some(url) = variable {
            command.env("LARDER_STORE", url);
        }
        ended(&mut command)
    };
    set(None, &["set", "k", "embedded"]).ok();
    set(Some(""), &["set", "k2", "embedded"]).ok();
    set(Some("file:other"), &["set", "k", "environment"]).ok();
    set(Some("file:other"), &["--store", "sled:third", "set", "k", "given"]).ok();
    for (folder, value) in [("larder-data", "embedded"), ("other", "environment")] {
        assert!(larder.path(folder).is_dir());
        let url = format!("file:{folder}");
        assert_eq!(set(None, &["--store", &url, "get", "k"]).ok().text(), value);
    }
    assert_eq!(set(None, &["--store", "sled:third", "get", "k"]).ok().text(), "given");
    assert_eq!(set(None, &["get", "k2"]).ok().text(), "embedded");
}

#[test]
fn a_url_may_come_from_a_variable_of_any_name() {
    let larder = Larder::new();
    let run = |arguments: &[&str]| ended(larder.bare(arguments).env("MY_STORE", "file:mine"));
    run(&["--store", "env:MY_STORE", "set", "k", "v"]).ok();
    run(&["copy", "env:MY_STORE", "sled:copy"]).ok();
    let ended =
        ended(larder.bare(&["get", "k"]).env("LARDER_STORE", "env:MINE").env("MINE", "sled:copy"));
    assert_eq!(ended.ok().text(), "v");
    let ended = run(&["--store", "env:UNSET", "get", "k"]);
    assert!(ended.expect(2, "usage").stderr.contains("UNSET is not set"));
}

#[test]
fn wrong_urls_are_usage_errors_that_say_what_is_known() {
    let larder = Larder::new();
    for (url, known) in [
        ("nothing", "memory:, file:PATH"),
        ("mongo:x", "memory:, file:PATH"),
        ("file:x?colour=red", "namespace, create, durability, lock_timeout"),
        ("file:x?durability=volatile", ""),
        ("sled:x?durability=power-loss", ""),
        ("redis:x", "redis://"),
    ] {
        let ended = ended(&mut larder.bare(&["--store", url, "set", "k", "v"]));
        assert!(ended.expect(2, "invalid-config").stderr.contains(known), "{ended:?}");
    }
    assert_eq!(std::fs::read_dir(larder.folder()).unwrap().count(), 0);
}

#[test]
fn memory_starts_empty_each_time() {
    let larder = Larder::new();
    ended(&mut larder.bare(&["--store", "memory:", "set", "k", "v"])).ok();
    ended(&mut larder.bare(&["--store", "memory:", "get", "k"])).expect(1, "missing");
}

#[test]
fn info_tells_capabilities() {
    for (larder, backend, durability) in [
        (Larder::file(), "file", "power-loss"),
        (Larder::sled(), "sled", "process-crash"),
        (Larder::redis(), "redis", "volatile"),
    ] {
        larder.run(&["set", "k", "v"]).ok();
        let text = larder.run(&["info"]).ok().text().to_owned();
        assert!(text.contains(&format!("backend        {backend}\n")), "{text}");
        assert!(text.contains(&format!("durability     {durability}\n")), "{text}");
        assert!(text.contains("conditions"), "{text}");
        let object = &larder.run(&["-n", "a", "--json", "info"]).ok().objects()[0];
        assert_eq!(object["backend"], backend);
        assert_eq!(object["durability"], durability);
        assert_eq!(object["namespace"], serde_json::json!(["a"]));
        assert_eq!((&object["list"], &object["renew"]), (&true.into(), &true.into()));
        assert_eq!(object["max_key_len"], 4096);
    }
}
