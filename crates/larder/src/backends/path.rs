use std::ffi::OsString;
use std::path::PathBuf;

use super::invalid;
use crate::{Result, percent};

/// The path of `file:` and `sled:`: `PATH`, `/PATH`, `///PATH` or `//localhost/PATH`.
pub(crate) fn parse(rest: &str) -> Result<PathBuf> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                let text = "after // comes an absolute path, as in file:///srv/data; \
                            a relative one goes without the slashes, as in file:data";
                return Err(invalid(text));
            }
            path
        }
    };
    let bytes = percent::decode(path)?;
    if bytes.is_empty() {
        return Err(invalid("the path is empty"));
    }
    if bytes.contains(&0) {
        return Err(invalid("the path holds a NUL"));
    }
    Ok(PathBuf::from(os_string(bytes)?))
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps, reason = "other systems have names that are not bytes")]
fn os_string(bytes: Vec<u8>) -> Result<OsString> {
    use std::os::unix::ffi::OsStringExt;
    Ok(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Result<OsString> {
    String::from_utf8(bytes).map(OsString::from).map_err(|_| invalid("the path is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_and_absolute_paths_are_told_apart() {
        for (rest, path) in [
            ("data", "data"),
            ("./a b/ü", "./a b/ü"),
            ("/srv/data", "/srv/data"),
            ("///srv/data", "/srv/data"),
            ("//localhost/srv", "/srv"),
            ("100%25%3F#1", "100%?#1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(parse(rest).unwrap(), PathBuf::from(path), "{rest}");
        }
        for bad in ["", "//", "//host/share", "//data", "a%00b", "%"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
