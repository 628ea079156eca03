//! What several test files need.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs::{self, File};
use std::path::Path;

use fs2::FileExt;

/// Opens a database as somebody else would, without a store.
pub(crate) fn open_raw(path: &Path) -> sled::Db {
    sled::Config::new().path(path).flush_every_ms(None).open().expect("a database")
}

/// Drops such a database, and waits until sled's helper threads let go of its file too.
pub(crate) fn close_raw(db: sled::Db, path: &Path) {
    drop(db);
    File::open(path.join("db")).expect("the data file").lock_exclusive().expect("its lock");
}

/// Copies a store's directory as it is at this moment: what a process that is killed now leaves
/// behind, since what it handed to the operating system stays.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("the store's directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy_directory(&entry.path(), &target);
        } else if let Err(error) = fs::copy(entry.path(), &target) {
            // sled removes files of its own while it runs.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}
