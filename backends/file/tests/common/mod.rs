//! Where things lie, written a second time from `docs/formats.md`.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};

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
