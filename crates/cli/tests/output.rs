//! What is written: closed and full outputs, hostile keys, and secrets that are never shown.

mod support;

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use support::{Larder, ended, from_output, variable};

#[test]
fn a_closed_pipe_ends_quietly() {
    let larder = Larder::file();
    larder.run_with_input(&["set", "k", "--file", "-"], &vec![b'x'; 4 << 20]).ok();
    let mut command = larder.command(&["get", "k"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut reader = child.stdout.take().unwrap();
    reader.read_exact(&mut [0; 16]).unwrap();
    drop(reader);
    let ended = from_output(child.wait_with_output().unwrap());
    assert_eq!((ended.status, &*ended.stderr), (0, ""));
}

#[test]
fn a_closed_pipe_ends_help_and_completions_quietly() {
    let larder = Larder::new();
    for arguments in [&["--help"][..], &["completions", "zsh"]] {
        let mut command = larder.bare(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ended = from_output(child.wait_with_output().unwrap());
        assert_eq!((ended.status, &*ended.stderr), (0, ""));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let larder = Larder::file();
    larder.run(&["set", "k", "v"]).ok();
    for arguments in [&["get", "k"][..], &["list"], &["info"], &["--help"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ended = ended(larder.command(arguments).stdout(full));
        ended.expect(3, "storage-full");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_is_written_to_and_not_replaced() {
    let larder = Larder::file();
    larder.run(&["set", "k", "v"]).ok();
    larder.run(&["get", "k", "--output", "/dev/null"]).ok();
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    larder.run(&["get", "k", "--output", "/dev/full"]).expect(3, "storage-full");
}

#[test]
fn a_damaged_value_hides_no_other_from_a_long_listing() {
    let larder = Larder::file();
    for number in 0..40 {
        larder.run(&["set", &format!("key {number}"), "a value"]).ok();
    }
    let mut files = std::fs::read_dir(larder.path("store")).unwrap().map(|entry| entry.unwrap());
    let damaged = files.find(|file| file.file_name().len() == 64).unwrap().path();
    let mut bytes = std::fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    for arguments in [&["list", "--long"][..], &["list", "--long", "--json"]] {
        let ended = larder.run(arguments);
        assert_eq!(ended.expect(3, "corrupt").lines().len(), 39);
    }
}

#[test]
fn damaged_sled_files_are_told_in_one_line() {
    let larder = Larder::sled();
    for _ in 0..2 {
        larder.run_with_input(&["set", "k", "--file", "-"], &vec![b'v'; 1_200_000]).ok();
    }
    let store = larder.path("store");
    let paths = std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let sound: Vec<_> = paths
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let (_, log) = sound.iter().find(|(path, _)| path.ends_with("db")).unwrap();
    let written: Vec<usize> = (0..log.len()).filter(|&at| log[at] != 0).collect();
    let mut told = 0;
    for at in written.iter().step_by(written.len() / 30) {
        std::fs::remove_dir_all(&store).unwrap();
        std::fs::create_dir_all(store.join("blobs")).unwrap();
        for (path, bytes) in &sound {
            let mut bytes = bytes.clone();
            if path.ends_with("db") {
                bytes[*at] ^= 1;
            }
            std::fs::write(path, bytes).unwrap();
        }
        let ended = larder.run(&["list", "--long"]);
        if ended.status == 0 {
            ended.ok();
        } else {
            ended.expect(3, "corrupt");
            told += 1;
        }
    }
    assert!(told > 0);
}

#[test]
fn hostile_keys_are_harmless_in_listings_and_messages() {
    let hostile = [
        "\u{1b}[31mred",
        "a\nb",
        r"a\nb",
        "tab\t",
        "\u{202e}gnp.exe",
        "../../etc/passwd",
        "*",
        "a:b",
        "--yes",
        "é",
        "e\u{301}",
    ];
    for larder in [Larder::file(), Larder::sled(), Larder::redis()] {
        for (number, key) in hostile.iter().enumerate() {
            larder.run(&["set", "--", key, &number.to_string()]).ok();
            let namespace = format!("--namespace={key}");
            larder.run(&[&namespace, "set", "k", &number.to_string()]).ok();
        }
        for (number, key) in hostile.iter().enumerate() {
            assert_eq!(larder.run(&["get", "--", key]).ok().text(), number.to_string());
            let namespace = format!("--namespace={key}");
            assert_eq!(larder.run(&[&namespace, "get", "k"]).ok().text(), number.to_string());
            let missing = larder.run(&["-n", "absent", "get", "--", key]);
            let line = &missing.expect(1, "missing").stderr;
            assert!(!line.trim_end().contains(is_harmful), "{line:?}");
        }
        for command in ["list", "namespaces"] {
            let ended = larder.run(&[command]);
            let mut lines = ended.ok().lines();
            assert!(lines.iter().all(|line| !line.contains(is_harmful)), "{lines:?}");
            lines.sort_unstable();
            lines.dedup();
            assert_eq!(lines.len(), hostile.len(), "{lines:?}");
            let raw = larder.run(&[command, "-0"]);
            let mut raw: Vec<&str> = raw.ok().text().split_terminator('\0').collect();
            raw.sort_unstable();
            let mut expected = hostile.to_vec();
            expected.sort_unstable();
            assert_eq!(raw, expected);
        }
    }
}

fn is_harmful(character: char) -> bool {
    character.is_control() || character == '\u{202e}'
}

#[test]
fn passwords_are_shown_nowhere() {
    let larder = Larder::new();
    ended(&mut larder.bare(&["--store", "file:store", "set", "k", "v"])).ok();
    let urls = [
        "redis://anna:hunter2@127.0.0.1:1/0?connect_timeout=1s",
        "redis://:hunter2@127.0.0.1:1/0?connect_timeout=1s",
        "redis://anna:hunter2@127.0.0.1:1/0?colour=hunter2",
        "redis://anna:hun/hunter2@127.0.0.1:1/0",
        "redis://anna:hun?hunter2@127.0.0.1:1/0",
        "redis://anna:hunter2%@127.0.0.1/0",
        "redis://anna:hunter2@127.0.0.1:port/0",
        "rediss://anna:hunter2@127.0.0.1:1/0?connect_timeout=1s",
        "postgres://anna:hunter2@127.0.0.1/0",
    ];
    for url in urls {
        let given = |option: &str| format!("{option}{url}");
        let commands: &[&[&str]] = &[
            &["lock", "k", &given("--lease="), "--", "true"],
            &["set", "k", "v", &given("--ttl=")],
            &["set", "k", "v", &given("--expires-at=")],
            &["list", &given("--limit=")],
            &["list", &given("-l")],
            &["copy", "file:x", "file:y", &given("--overwrite=")],
            &["set", "k", "--file", url],
            &["--store", "file:store", "lock", "k", "--", url],
            &["--store", &given("env:"), "ping"],
            &["--store", url, "info"],
            &["--store", url, "set", "k", "v"],
            &["--store", "env:SECRET", "ping"],
            &["copy", url, "file:x"],
            &["copy", "file:store", url],
            &["conform", url],
            &["demo", "--store", url],
            &["copy", url],
            &[url],
            &["--help"],
        ];
        for arguments in commands {
            let mut command = larder.bare(arguments);
            let ended = ended(command.env("SECRET", url).env("LARDER_STORE", url));
            let shown = format!("{}{}", ended.stderr, ended.text());
            assert!(!shown.contains("hunter2"), "{arguments:?}: {shown}");
        }
        for option in ["--output=", "-o"] {
            let mut command = larder.bare(&["--store", "file:store", "get", "k"]);
            let refused = ended(command.arg(format!("{option}{url}")));
            assert!(!refused.expect(3, "not-found").stderr.contains("hunter2"), "{refused:?}");
        }
    }
}

#[test]
fn a_password_that_is_right_or_wrong_is_not_shown() {
    let larder = Larder::new();
    let url = variable("LARDER_TEST_REDIS_PASSWORD_URL");
    let (before, place) = url.rsplit_once('@').unwrap();
    let (scheme, credentials) = before.split_once("://").unwrap();
    let (user, password) = credentials.split_once(':').unwrap();
    let wrong = format!("{scheme}://{user}:hunter2@{place}");
    for arguments in [&["info"][..], &["--json", "info"], &["ping"], &["set", "k", "v"]] {
        let right = ended(larder.bare(arguments).env("LARDER_STORE", &url));
        let shown = format!("{}{}", right.ok().text(), right.stderr);
        assert!(!shown.contains(password), "{shown}");
        let wrong = ended(larder.bare(arguments).env("LARDER_STORE", &wrong));
        wrong.expect(3, "permission-denied");
        assert!(!wrong.stderr.contains("hunter2"), "{wrong:?}");
    }
    ended(larder.bare(&["delete", "k"]).env("LARDER_STORE", &url)).ok();
}

#[test]
fn completions_are_there_for_every_shell() {
    let larder = Larder::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = ended(&mut larder.bare(&["completions", shell]));
        assert!(ended.ok().text().contains("expires-in"), "{shell}");
    }
}
