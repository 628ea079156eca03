use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use larder::Error;

use crate::exit::Outcome;

/// Reads a file, or standard input for `-`.
pub(crate) async fn read(path: PathBuf) -> Outcome<Bytes> {
    let read = tokio::task::spawn_blocking(move || {
        let read = if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        } else {
            fs::read(&path)
        };
        read.map_err(|error| named(error, "read", &path))
    });
    Ok(read.await.map_err(|error| Error::from_io(error.into()))?.map(Bytes::from)?)
}

/// Writes a file so that it has the old content or the whole new one.
///
/// What is not a regular file, such as a terminal or a pipe, is written to as it is.
pub(crate) async fn write_atomically(path: PathBuf, bytes: Bytes) -> Outcome {
    let write = tokio::task::spawn_blocking(move || {
        write_blocking(&path, &bytes).map_err(|error| named(error, "write", &path))
    });
    Ok(write.await.map_err(|error| Error::from_io(error.into()))??)
}

fn write_blocking(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = followed(path)?;
    let old = match fs::metadata(&target) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            return File::options().write(true).open(&target)?.write_all(bytes);
        }
        Ok(found) => Some(found.permissions()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let (mut file, temporary) = Temporary::beside(&target, old.is_some())?;
    // Before there is anything to be read.
    if let Some(permissions) = old {
        file.set_permissions(permissions)?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    temporary.rename(&target)
}

/// What is written to: a link stays a link, and its target gets the content, there already or not.
fn followed(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    match fs::read_link(path) {
        Ok(target) => followed(&path.parent().unwrap_or(Path::new("")).join(target)),
        Err(_) => Ok(path.to_owned()),
    }
}

/// A file that is removed unless it gets its name.
struct Temporary(Option<PathBuf>);

impl Temporary {
    /// Makes one in the target's folder; nobody else can open it where it is `private`.
    fn beside(target: &Path, private: bool) -> io::Result<(File, Self)> {
        if target.file_name().is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if private {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let mut attempt = 0;
        loop {
            // Not the target's name and more, which may be too long.
            let hidden = format!(".larder-{}-{attempt}.tmp", std::process::id());
            let path = target.with_file_name(hidden);
            match options.open(&path) {
                Ok(file) => return Ok((file, Self(Some(path)))),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        fs::rename(path, target)?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The first error is the one to tell.
            let _ = fs::remove_file(path);
        }
    }
}

/// The system's error with the path that it is about, which may be a URL by mistake.
fn named(error: io::Error, operation: &'static str, path: &Path) -> Error {
    let path = larder::redact(&path.to_string_lossy());
    Error::from_io(error).with_operation(operation).with_key(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        write_blocking(&path, b"one").unwrap();
        write_blocking(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_blocking(folder.path(), b"x").is_err());
        assert!(write_blocking(&folder.path().join("no/such"), b"x").is_err());
    }

    #[test]
    fn a_name_may_be_as_long_as_the_file_system_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(255));
        write_blocking(&path, b"one").unwrap();
        write_blocking(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[cfg(unix)]
    #[test]
    fn what_replaces_a_private_file_is_private_from_the_start() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (file, temporary) = Temporary::beside(&folder.path().join("out"), true).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0);
        drop(temporary);
        let path = folder.path().join("private");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write_blocking(&path, b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (link, other) = (folder.path().join("link"), folder.path().join("other"));
        std::os::unix::fs::symlink("other", &link).unwrap();
        std::os::unix::fs::symlink("target", &other).unwrap();
        write_blocking(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::symlink_metadata(&other).unwrap().is_symlink());
        assert_eq!(fs::read(folder.path().join("target")).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_blocking(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }
}
