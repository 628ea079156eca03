//! What lies at a store's path, looked at before sled is let near it: sled itself creates, adds to
//! and truncates whatever it is pointed at.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::SledError;

/// How sled's settings file begins.
const SETTINGS: &[u8] = b"segment_size: ";

/// Makes sure that the path holds a sled database, or (with `create`) nothing that a new one would
/// harm, and gives its absolute name.
pub(crate) fn prepare(path: &Path, create: bool) -> Result<PathBuf, SledError> {
    if path.as_os_str().is_empty() {
        return Err(SledError::NotSled("the path is empty"));
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !create {
                return Err(SledError::Absent);
            }
            create_directory(path).map_err(refusal)?;
        }
        Err(error) => return Err(refusal(error)),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(SledError::NotSled("the path is not a directory"));
        }
        Ok(_) => match inspect(path)? {
            Found::Database => {}
            Found::Nothing if create => {}
            Found::Nothing => return Err(SledError::Absent),
        },
    }
    // sled opens files by this name as long as it runs, whatever the working directory is then.
    path.canonicalize().map_err(SledError::Io)
}

/// What the operating system says of a path that it does not follow or make.
fn refusal(error: io::Error) -> SledError {
    match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            SledError::NotSled("something in the path is not a directory")
        }
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => {
            SledError::NotSled("no directory can have this path")
        }
        _ => SledError::Io(error),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Database,
    /// An empty directory, or one in which the creation of a database was cut short.
    Nothing,
}

fn inspect(directory: &Path) -> Result<Found, SledError> {
    let mut foreign = false;
    let (mut data, mut settings) = (None, None);
    let (mut damaged, mut snapshots) = (false, false);
    for entry in fs::read_dir(directory).map_err(SledError::Io)? {
        let entry = entry.map_err(SledError::Io)?;
        let metadata = entry.metadata().map_err(SledError::Io)?;
        let name = entry.file_name();
        match name.to_str() {
            Some("db") if metadata.is_file() => data = Some(metadata.len()),
            Some("conf") if metadata.is_file() => settings = Some(entry.path()),
            Some("blobs") => damaged |= !metadata.is_dir(),
            Some(name) if name.starts_with("snap.") => {
                snapshots = true;
                damaged |= !metadata.is_file();
            }
            _ => foreign = true,
        }
    }
    // sled takes snapshots of a data file that is there.
    damaged |= snapshots && data.is_none();
    let settings = settings.map(fs::read).transpose().map_err(SledError::Io)?;
    match (settings, data) {
        (Some(settings), Some(_)) if are_settings(&settings) => {
            // sled would report whatever the operating system says to this.
            if damaged { Err(SledError::DamagedSettings) } else { Ok(Found::Database) }
        }
        (settings, data) if !foreign && !damaged && data.unwrap_or(0) == 0 => match settings {
            Some(text) if !SETTINGS.starts_with(&text) && !text.starts_with(SETTINGS) => {
                Err(SledError::DamagedSettings)
            }
            _ => Ok(Found::Nothing),
        },
        (_, Some(_)) if !foreign => Err(SledError::DamagedSettings),
        (Some(settings), None) if damaged && are_settings(&settings) => {
            Err(SledError::DamagedSettings)
        }
        _ => Err(SledError::NotSled("the directory holds something other than a sled database")),
    }
}

/// Tells whether this is a settings file of sled's: text, and four bytes of checksum.
fn are_settings(settings: &[u8]) -> bool {
    let text = &settings[..settings.len().saturating_sub(4)];
    text.starts_with(SETTINGS) && std::str::from_utf8(text).is_ok()
}

#[cfg(unix)]
fn create_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(directory.path().join(name), content).unwrap();
        }
        directory
    }

    #[test]
    fn foreign_directories_are_refused_and_left_as_they_are() {
        let foreign: &[&[(&str, &[u8])]] = &[
            &[("notes.txt", b"mine")],
            &[("db", b"someone else's"), ("notes.txt", b"mine")],
            &[("db", b"someone else's"), ("conf", b"port = 80"), ("notes.txt", b"mine")],
        ];
        for files in foreign {
            let directory = directory(files);
            let error = prepare(directory.path(), true).unwrap_err();
            assert!(matches!(error, SledError::NotSled(_)), "{files:?}: {error:?}");
            let left = fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(left, files.len());
        }
        let file = directory(&[("file", b"mine")]);
        let error = prepare(&file.path().join("file"), true).unwrap_err();
        assert!(matches!(error, SledError::NotSled(_)));
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_refused() {
        let parent = directory(&[("file", b"mine")]);
        let too_long = "x".repeat(256);
        for name in ["file/below", "file/below/below", "a\0b", &too_long] {
            for create in [true, false] {
                let error = prepare(&parent.path().join(name), create).unwrap_err();
                assert!(matches!(error, SledError::NotSled(_)), "{name:?}: {error:?}");
            }
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_nowhere_is_no_directory() {
        let parent = directory(&[]);
        let link = parent.path().join("link");
        std::os::unix::fs::symlink("absent", &link).unwrap();
        assert!(matches!(prepare(&link, true), Err(SledError::NotSled(_))));
        assert!(matches!(prepare(&link, false), Err(SledError::Absent)));
    }

    #[test]
    fn a_database_whose_settings_are_gone_or_foreign_is_damaged() {
        for files in [
            &[("db", &b"log"[..])][..],
            &[("db", b"log"), ("conf", b"port = 80")],
            &[("db", b"log"), ("conf", b"segment_size: \xff\n    ")],
        ] {
            let error = prepare(directory(files).path(), true).unwrap_err();
            assert!(matches!(error, SledError::DamagedSettings), "{files:?}: {error:?}");
        }
    }

    #[test]
    fn a_file_where_a_directory_should_be_is_damage_and_so_is_the_reverse() {
        let settings = [("db", &b"log"[..]), ("conf", b"segment_size: 524288\n    ")];
        let one = directory(&settings);
        assert!(prepare(one.path(), true).is_ok());
        fs::create_dir(one.path().join("snap.0000000000000001")).unwrap();
        assert!(matches!(prepare(one.path(), true), Err(SledError::DamagedSettings)));
        let other = directory(&settings);
        fs::write(other.path().join("blobs"), "").unwrap();
        assert!(matches!(prepare(other.path(), true), Err(SledError::DamagedSettings)));
    }

    #[test]
    fn a_database_whose_data_file_is_gone_is_damaged_and_not_a_new_one() {
        let settings: (&str, &[u8]) = ("conf", b"segment_size: 524288\n    ");
        let gone = directory(&[settings, ("snap.0000000000000001", b"snapshot")]);
        assert!(matches!(prepare(gone.path(), true), Err(SledError::DamagedSettings)));
    }

    #[test]
    fn a_creation_cut_short_counts_as_nothing() {
        for files in [&[][..], &[("conf", &b""[..])], &[("conf", b"segm"), ("db", b"")]] {
            let directory = directory(files);
            fs::create_dir(directory.path().join("blobs")).unwrap();
            assert!(prepare(directory.path(), true).is_ok(), "{files:?}");
            assert!(matches!(prepare(directory.path(), false), Err(SledError::Absent)));
        }
    }

    #[test]
    fn absent_paths_are_created_only_when_asked_for() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        assert!(matches!(prepare(&path, false), Err(SledError::Absent)));
        assert!(!path.exists());
        assert!(prepare(&path, true).unwrap().is_absolute());
        assert!(path.is_dir());
    }
}
