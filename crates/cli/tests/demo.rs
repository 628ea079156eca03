//! `larder demo`: on real files, repeatable, and true in what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::{Larder, ended};

/// A folder with text, an empty file, bytes that are no text, and files that cannot be taken.
fn folder(larder: &Larder) {
    let root = larder.path("input");
    fs::create_dir_all(root.join("deep/er")).unwrap();
    fs::write(root.join("README.md"), "# Hello\n").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    fs::write(root.join("deep/er/bytes.bin"), bytes).unwrap();
    fs::write(root.join("deep/strange \n name"), "x").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/zero", root.join("link")).unwrap();
}

#[test]
fn a_folder_is_stored_read_back_and_copied_as_often_as_one_likes() {
    let larder = Larder::new();
    folder(&larder);
    for _ in 0..2 {
        let ended = ended(&mut larder.bare(&["demo", "input"]));
        let text = ended.ok().text();
        for said in [
            "4 files from input",
            "on file:larder-data",
            "each is byte for byte what its file holds",
            "8 at once wanted to be leader: one is",
            "drafts has 0 keys; its sibling docs still has 4 keys",
            "6 values to another backend, sled:larder-data-copy",
            "copied again: 0 copied, 6 already there",
            "larder-demo -n docs list --long",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "not plain: {text}");
        assert!(cfg!(not(unix)) || text.contains("left out input/link: a link"), "{text}");
    }
}

#[test]
fn what_it_leaves_is_what_it_says() {
    let larder = Larder::new();
    folder(&larder);
    ended(&mut larder.bare(&["set", "mine", "stays"])).ok();
    ended(&mut larder.bare(&["demo", "input"])).ok();
    for store in ["file:larder-data", "sled:larder-data-copy"] {
        let run = |arguments: &[&str]| {
            let mut command = larder.bare(&["--store", store, "-n", "larder-demo"]);
            ended(command.args(arguments))
        };
        assert_eq!(run(&["namespaces"]).ok().text(), "docs\n");
        let bytes = run(&["-n", "docs", "get", "deep/er/bytes.bin"]);
        assert_eq!(bytes.ok().stdout, fs::read(larder.path("input/deep/er/bytes.bin")).unwrap());
        assert_ne!(run(&["-n", "docs", "ttl", "empty"]).ok().text(), "never\n");
        assert_eq!(run(&["get", "visits"]).ok().text(), "8");
    }
    assert_eq!(ended(&mut larder.bare(&["get", "mine"])).ok().text(), "stays");
}

#[test]
fn it_works_on_the_store_that_is_given() {
    for larder in [Larder::sled(), Larder::redis()] {
        folder(&larder);
        let object = &larder.run(&["--json", "demo", "input"]).ok().objects()[0];
        assert_eq!((&object["files"], &object["copied"]), (&4.into(), &6.into()));
        assert_eq!(larder.run(&["namespaces"]).ok().text(), "larder-demo\n");
    }
}

#[test]
fn it_finds_the_docs_around_the_working_folder() {
    let larder = Larder::new();
    fs::create_dir_all(larder.path("docs/below")).unwrap();
    fs::write(larder.path("docs/below/page.md"), "page").unwrap();
    fs::write(larder.path("README.md"), "readme").unwrap();
    fs::write(larder.path("other"), "not taken").unwrap();
    let mut command = larder.bare(&["demo", "--json"]);
    let object = ended(command.current_dir(larder.path("docs/below"))).ok().objects().remove(0);
    assert_eq!(object["files"], 2);
    assert!(larder.path("docs/below/larder-data").is_dir());
}

#[test]
fn nothing_to_show_is_a_mistake_and_makes_no_store() {
    let larder = Larder::new();
    fs::create_dir(larder.path("empty")).unwrap();
    for arguments in [&["demo"][..], &["demo", "empty"], &["demo", "absent"]] {
        ended(&mut larder.bare(arguments)).expect(2, "usage");
    }
    assert_eq!(fs::read_dir(larder.folder()).unwrap().count(), 1);
}
