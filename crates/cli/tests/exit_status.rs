//! One test for each exit status, and for what is said beside it.

mod support;

use std::net::TcpListener;

use support::{Larder, ended};

#[test]
fn done_is_0_and_says_nothing() {
    let larder = Larder::file();
    let ended = larder.run(&["set", "k", "v"]);
    assert!(ended.ok().stdout.is_empty());
}

#[test]
fn missing_is_1() {
    let larder = Larder::file();
    larder.run(&["set", "k", "v"]).ok();
    for command in ["get", "exists", "expires-in", "delete"] {
        larder.run(&[command, "absent"]).expect(1, "missing");
    }
}

#[test]
fn a_condition_that_does_not_hold_is_1() {
    let larder = Larder::file();
    larder.run(&["set", "k", "v", "--if-present"]).expect(1, "condition-not-met");
}

#[test]
fn usage_is_2_on_one_line() {
    let larder = Larder::file();
    let wrong: &[&[&str]] = &[
        &["frobnicate"],
        &["get"],
        &["get", "a", "b"],
        &["set", "k"],
        &["set", "k", "v", "--file", "x"],
        &["set", "k", "v", "--ttl", "-5"],
        &["set", "k", "v", "--ttl", "soon"],
        &["set", "k", "v", "--ttl", "1h", "--keep-ttl"],
        &["set", "k", "v", "--expires-at", "tomorrow"],
        &["set", "k", "v", "--if-absent", "--if-present"],
        &["get", "k", "--renew-for", "-1s"],
        &["list", "--limit", "-1"],
        &["completions", "cobol"],
        &["--nonsense"],
    ];
    for arguments in wrong {
        let ended = larder.run(arguments);
        assert!(ended.expect(2, "usage").stdout.is_empty());
    }
    assert!(!larder.path("store").exists());
}

#[test]
fn nothing_to_do_is_2_with_the_help() {
    let ended = ended(&mut Larder::new().bare(&[]));
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.contains("Usage: larder"), "{ended:?}");
}

#[test]
fn help_and_version_are_0_on_standard_output() {
    let larder = Larder::new();
    for arguments in [&["--help"][..], &["help", "set"], &["copy", "--help"], &["--version"]] {
        let ended = ended(&mut larder.bare(arguments));
        assert!(!ended.ok().stdout.is_empty());
    }
}

#[test]
fn an_error_is_3() {
    let larder = Larder::sled();
    let long = "k".repeat(4097);
    larder.run(&["set", &long, "v"]).expect(3, "invalid-key");
    std::fs::write(larder.path("plain"), "not a store").unwrap();
    let ended = ended(&mut larder.bare(&["--store", "file:plain", "set", "k", "v"]));
    assert!(matches!(ended.status, 2 | 3), "{ended:?}");
}

#[tokio::test]
async fn a_store_that_someone_else_holds_is_4() {
    let larder = Larder::sled();
    let url = format!("sled:{}", larder.path("store").display());
    let holder = larder::open(&url).await.unwrap();
    larder.run(&["get", "k"]).expect(4, "locked");
    holder.close().await.unwrap();
    larder.run(&["get", "k"]).expect(1, "missing");
}

#[test]
fn a_server_that_is_not_there_is_4() {
    // Bound for a moment, so that the port is free and nobody listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("redis://127.0.0.1:{port}/0?connect_timeout=2s");
    let ended = ended(&mut Larder::new().bare(&["--store", &url, "ping"]));
    ended.expect(4, "unavailable");
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_130_and_leaves_the_store_usable() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let larder = Larder::sled();
    let mut command = larder.command(&["set", "k", "--file", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // More than a pipe holds: when it is written, the command is reading.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![0; 4 << 20]).unwrap();
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = support::from_output(child.wait_with_output().unwrap());
    drop(stdin);
    ended.expect(130, "interrupted");
    larder.run(&["set", "k", "v"]).ok();
}
