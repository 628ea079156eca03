//! Where things lie, written a second time from `docs/formats.md`.
#![allow(dead_code, reason = "each test file uses its part")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use blake2::{Blake2s256, Digest};
use larder_core::Namespace;

/// The path of a key's file.
pub(crate) fn file_of(root: &Path, namespace: &Namespace, key: &str) -> PathBuf {
    let mut path = folder_of(root, namespace);
    path.push(format!("{:x}", Blake2s256::digest(key.as_bytes())));
    path
}

/// The folder of a namespace whose segments are short.
pub(crate) fn folder_of(root: &Path, namespace: &Namespace) -> PathBuf {
    let mut path = root.to_owned();
    for segment in namespace.segments() {
        if segment.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            path.push(segment);
            continue;
        }
        let escape = |byte: u8| match byte {
            b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02x}"),
        };
        let escaped: String = segment.bytes().map(escape).collect();
        assert!(escaped.len() <= 200, "too long for this helper");
        path.push(escaped);
    }
    path
}

/// Everything below a folder, as paths relative to it.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let relative = path.strip_prefix(folder).expect("a path below");
            found.push(relative.to_string_lossy().into_owned());
            if entry.file_type().expect("a type").is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What writers leave when they are killed.
pub(crate) fn leftovers(folder: &Path) -> Vec<String> {
    tree(folder).into_iter().filter(|path| path.contains(".larder-tmp-")).collect()
}

/// The variable that tells a child process which root to use.
const ROOT: &str = "LARDER_FILE_TEST_ROOT";

/// The root that [`child_in`] named.
pub(crate) fn root_of_child() -> PathBuf {
    std::env::var_os(ROOT).expect("this test is started by another one").into()
}

/// A program, for a helper process.
pub(crate) fn program(name: &str) -> Command {
    Command::new(name)
}

/// Runs an ignored test of this binary in a process of its own.
pub(crate) fn child_in(test: &str, root: &Path) -> Child {
    let own = std::env::current_exe().expect("this binary");
    let words = [own.as_os_str(), "--ignored".as_ref(), "--exact".as_ref(), test.as_ref()];
    let words = words.into_iter().chain(["--nocapture".as_ref()]).map(Into::into).collect();
    Child { words, root: root.to_owned() }
}

/// A child process to be started.
pub(crate) struct Child {
    words: Vec<OsString>,
    root: PathBuf,
}

impl Child {
    /// Starts it through another program, which is to replace itself by it.
    pub(crate) fn through(mut self, words: &[&str]) -> Command {
        self.words.splice(0..0, words.iter().map(Into::into));
        self.command()
    }

    /// The command that starts it.
    pub(crate) fn command(self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env(ROOT, self.root);
        command
    }
}

/// Runs a command that has to succeed.
pub(crate) fn succeeds(mut command: impl std::borrow::BorrowMut<Command>) -> String {
    let command = command.borrow_mut();
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} gave {}:\n{text}\n{errors}", output.status);
    text
}
