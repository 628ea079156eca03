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
    // A link stays a link: it is its target that gets the content.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    match fs::metadata(&target) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            return File::options().write(true).open(&target)?.write_all(bytes);
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (mut file, temporary) = Temporary::beside(&target)?;
    file.write_all(bytes)?;
    if let Ok(found) = fs::metadata(&target) {
        file.set_permissions(found.permissions())?;
    }
    file.sync_all()?;
    drop(file);
    temporary.rename(&target)
}

/// A file that is removed unless it gets its name.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn beside(target: &Path) -> io::Result<(File, Self)> {
        let Some(name) = target.file_name() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut attempt = 0;
        loop {
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}-{attempt}.tmp", std::process::id()));
            let path = target.with_file_name(hidden);
            match File::options().write(true).create_new(true).open(&path) {
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
