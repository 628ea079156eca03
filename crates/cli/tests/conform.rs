//! `larder conform`: the suite at run time, on real stores, leaving nothing behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use support::{Larder, ended};

/// Everything below a folder, files and folders, save the locks, which stay with a store.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if !path.to_string_lossy().contains("larder-lock") {
                found.push(path.display().to_string());
            }
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Where a suite of minutes would be too much, one area of it.
const PART: [&str; 2] = ["--filter", "basic::"];

#[test]
fn the_matrix_has_a_row_for_each_rule_and_a_column_for_each_store() {
    let (file, sled, redis) = (Larder::file(), Larder::sled(), Larder::redis());
    let urls = [
        "memory:".to_owned(),
        format!("file:{}", file.path("store").display()),
        format!("sled:{}", sled.path("store").display()),
        redis.url().to_owned(),
    ];
    for larder in [&file, &sled, &redis] {
        larder.run(&["set", "mine", "stays"]).ok();
        larder.run(&["-n", "a", "set", "mine", "stays"]).ok();
    }
    let before = tree(&file.path("store"));
    let mut command = file.bare(&["conform"]);
    let ended = ended(command.args(PART).args(&urls));
    let lines = ended.ok().lines();
    let columns: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(columns, ["rule", "memory", "file", "sled", "redis"]);
    assert!(lines.iter().any(|line| line.starts_with("S1 ") && line.matches("ok ").count() == 4));
    assert_eq!(tree(&file.path("store")), before);
    for larder in [&file, &sled, &redis] {
        assert_eq!(larder.run(&["list"]).ok().text(), "mine\n");
        assert_eq!(larder.run(&["namespaces"]).ok().text(), "a\n");
    }
}

#[test]
fn two_stores_of_one_backend_are_told_apart_by_url() {
    let larder = Larder::file();
    larder.run(&["set", "k", "v"]).ok();
    let ended = ended(larder.bare(&["conform", "memory:", "memory://"]).args(PART));
    assert!(ended.ok().lines()[0].contains("memory://"), "{ended:?}");
}

#[test]
fn reports_are_json() {
    let larder = Larder::new();
    let arguments = ["conform", "memory:", "--json", "--report", "report.json"];
    let ended = ended(larder.bare(&arguments).args(PART));
    let object = &ended.ok().objects()[0];
    assert_eq!((&object["backend"], &object["failed"]), (&"memory".into(), &0.into()));
    let report = std::fs::read(larder.path("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(&report[0], object);
}

#[test]
fn reports_are_pages_where_their_name_says_so() {
    let larder = Larder::new();
    let arguments = ["conform", "memory:", "--report", "report.html"];
    ended(larder.bare(&arguments).args(PART)).ok();
    let page = std::fs::read_to_string(larder.path("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("memory"));
}

#[test]
fn a_filter_that_nothing_matches_is_a_mistake() {
    let larder = Larder::new();
    ended(&mut larder.bare(&["conform", "memory:", "--filter", "no such case"])).expect(2, "usage");
}
