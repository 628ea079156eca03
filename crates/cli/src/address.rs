use std::borrow::Cow;
use std::env::VarError;

use larder::StoreUrl;

use crate::exit::{Failure, Outcome};

/// The embedded store, in the working folder.
pub(crate) const DEFAULT: &str = "file:larder-data";
/// The variable that names the store when `--store` does not.
const VARIABLE: &str = "LARDER_STORE";

/// Reads a store's URL.
pub(crate) fn parse(url: &str) -> Outcome<StoreUrl> {
    Ok(StoreUrl::parse(&resolve(url)?)?)
}

/// The URL itself, or for `env:NAME` the one in that variable, which keeps passwords out of the
/// process list.
pub(crate) fn resolve(url: &str) -> Outcome<Cow<'_, str>> {
    let Some(name) = url.strip_prefix("env:") else { return Ok(url.into()) };
    let what = match std::env::var(name) {
        Ok(value) => return Ok(value.into()),
        Err(VarError::NotPresent) => "is not set",
        Err(VarError::NotUnicode(_)) => "is not UTF-8",
    };
    // The name may be a URL by mistake.
    let name = larder::redact(name);
    Err(Failure::Usage(format!("env:{name}: the variable {name} {what}")))
}

/// The path at which the keys of a store lie below whatever the backend keeps: a Redis store has a
/// root namespace even where the URL names none.
pub(crate) fn root_path(url: &StoreUrl) -> Vec<String> {
    let mut path: Vec<String> = url.namespace().segments().map(str::to_owned).collect();
    if url.backend() == "redis" && path.is_empty() {
        path.push("larder".to_owned());
    }
    path
}

/// The store to use: the one given, else that of the environment, else the embedded one.
pub(crate) fn of_store(given: Option<&str>) -> Outcome<StoreUrl> {
    if let Some(url) = given {
        return parse(url);
    }
    match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => parse(&url),
        Err(VarError::NotUnicode(_)) => {
            Err(Failure::Usage(format!("the variable {VARIABLE} is not UTF-8")))
        }
        _ => parse(DEFAULT),
    }
}
