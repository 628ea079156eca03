/// A store URL with nothing secret in it, fit for logs and terminals.
///
/// Whatever stands between `//` and the last `@` is taken for a user and a password, and only the
/// user is shown; so is everything that could be one in a URL that is written wrongly.
///
/// ```
/// assert_eq!(larder::redact("redis://anna:s3cret@host:6379/1"), "redis://anna:***@host:6379/1");
/// assert_eq!(larder::redact("redis://s3cret@host"), "redis://***@host");
/// assert_eq!(larder::redact("file:larder-data"), "file:larder-data");
/// ```
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else { return url.to_owned() };
    if matches!(&*scheme.to_ascii_lowercase(), "memory" | "file" | "sled") {
        return url.to_owned();
    }
    // The last `@`, not the authority's: a password that was not percent-encoded can hold `/` or `?`.
    let Some((credentials, place)) = rest.rsplit_once('@') else { return url.to_owned() };
    let (slashes, credentials) = match credentials.strip_prefix("//") {
        Some(credentials) => ("//", credentials),
        None => ("", credentials),
    };
    let user = credentials.split_once(':').map_or("", |(user, _)| user);
    let colon = if credentials.contains(':') { ":" } else { "" };
    format!("{scheme}:{slashes}{user}{colon}***@{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_wherever_they_end() {
        for url in [
            "redis://u:hunter2@h",
            "rediss://:hunter2@h:1/0?connect=lazy",
            "redis://hunter2@h",
            "redis://u:a/hunter2@h",
            "redis://u:a?hunter2@h",
            "redis://u:a@hunter2@h",
            "redis:u:hunter2@h",
            "postgres://u:hunter2@h",
        ] {
            let redacted = redact(url);
            assert!(!redacted.contains("hunter2") && redacted.contains("***@h"), "{redacted}");
        }
    }

    #[test]
    fn paths_stay() {
        for url in ["sled:a@b", "file:/home/u:x@y", "memory:", "nothing", "redis://h/1"] {
            assert_eq!(redact(url), url);
        }
    }
}
