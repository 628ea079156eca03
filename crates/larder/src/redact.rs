/// The options whose values may be shown.
const SHOWN: &[&str] = &[
    "ca",
    "connect",
    "connect_timeout",
    "connections",
    "db",
    "durability",
    "max_value_len",
    "namespace",
    "protocol",
    "raw_keys",
    "response_timeout",
    "user",
];
/// A scheme whose password is an option, as a socket has no place for one.
const SOCKET: &str = "redis+unix";

/// A store URL with nothing secret in it, fit for logs and terminals.
///
/// Whatever stands between `//` and the last `@` is taken for a user and a password, and only the
/// user is shown; of options, those that are known and not secret. So a URL that is written wrongly,
/// or not one of Larder's, tells as little.
///
/// ```
/// assert_eq!(larder::redact("redis://anna:s3cret@host:6379/1"), "redis://anna:***@host:6379/1");
/// assert_eq!(larder::redact("redis://s3cret@host"), "redis://***@host");
/// assert_eq!(larder::redact("postgres://host?password=s3cret"), "postgres://host?password=***");
/// assert_eq!(larder::redact("file:larder-data"), "file:larder-data");
/// ```
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else { return url.to_owned() };
    if matches!(&*scheme.to_ascii_lowercase(), "memory" | "file" | "sled") {
        return url.to_owned();
    }
    if scheme.eq_ignore_ascii_case(SOCKET) {
        let place = rest.split('?').next().unwrap_or_default();
        // What comes before a path may be a password, in a place where none is taken.
        return if place.starts_with("///") {
            format!("{scheme}:{}", without_values(rest))
        } else {
            format!("{scheme}:***")
        };
    }
    // The last `@`, not the authority's: a password that was not percent-encoded can hold `/` or `?`.
    let Some((before, place)) = rest.rsplit_once('@') else {
        return format!("{scheme}:{}", without_false_port(&without_values(rest)));
    };
    let (slashes, credentials) = match before.strip_prefix("//") {
        Some(credentials) => ("//", credentials),
        None => ("", before),
    };
    let user = credentials.split_once(':').map_or("", |(user, _)| user);
    let colon = if credentials.contains(':') { ":" } else { "" };
    format!("{scheme}:{slashes}{user}{colon}***@{}", without_values(place))
}

/// The place; what stands where only a port can, and is none, may be a password whose host was
/// forgotten.
fn without_false_port(place: &str) -> String {
    let slashes = if place.starts_with("//") { 2 } else { 0 };
    let (place, query) = place.split_once('?').map_or((place, None), |(p, q)| (p, Some(q)));
    let authority = slashes + place[slashes..].find('/').unwrap_or(place.len() - slashes);
    // The colons of an address in brackets are its own.
    let from = place[..authority].find(']').map_or(slashes, |end| end + 1);
    let colon = place[from..authority].find(':').map(|at| from + at);
    let is_port = |at: usize| place[at + 1..authority].bytes().all(|byte| byte.is_ascii_digit());
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    match colon.filter(|at| !is_port(*at)) {
        Some(colon) => format!("{}:***{query}", &place[..colon]),
        None => format!("{place}{query}"),
    }
}

/// The place, and its options without the values that nobody knows.
fn without_values(place: &str) -> String {
    let Some((place, query)) = place.split_once('?') else { return place.to_owned() };
    let shown = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if SHOWN.contains(&name) => pair.to_owned(),
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(shown).collect();
    format!("{place}?{}", pairs.join("&"))
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
            "redis://x@h?password=hunter2",
            "redis://x@h?hunter2",
        ] {
            let redacted = redact(url);
            assert!(!redacted.contains("hunter2") && redacted.contains("***@h"), "{redacted}");
        }
        assert_eq!(redact("redis://h?connect=lazy&x=y"), "redis://h?connect=lazy&x=***");
    }

    #[test]
    fn a_password_whose_host_was_forgotten_is_no_port() {
        for url in [
            "redis://u:hunter2",
            "redis:u:hunter2",
            "redis://u:12hunter2/0",
            "redis://[::1]:hunter2",
        ] {
            assert!(!redact(url).contains("hunter2"), "{}", redact(url));
        }
        assert_eq!(redact("redis://u:hun/ter2?db=1&x"), "redis://u:***?db=1&***");
        for url in [
            "redis://h",
            "redis://h:6379/0",
            "redis://[::1]:6379/0?db=1",
            "redis://[::1]",
            "redis://h/a:b",
            "redis:",
        ] {
            assert_eq!(redact(url), url);
        }
    }

    #[test]
    fn the_password_of_a_socket_is_an_option() {
        assert_eq!(
            redact("redis+unix:///run/a@b.sock?db=2&user=u&pass=hun@ter2&connect=lazy"),
            "redis+unix:///run/a@b.sock?db=2&user=u&pass=***&connect=lazy"
        );
        for url in ["redis+unix://u:hunter2@/run", "redis+unix://u:hunter2?x", "Redis+Unix:hunter2"]
        {
            assert!(!redact(url).contains("hunter2"), "{}", redact(url));
        }
    }

    #[test]
    fn paths_stay() {
        for url in ["sled:a@b", "file:/home/u:x@y?z", "memory:", "nothing", "redis://h/1"] {
            assert_eq!(redact(url), url);
        }
    }
}
