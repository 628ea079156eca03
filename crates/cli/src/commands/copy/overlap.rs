//! A copy onto itself changes nothing at best, and one into itself never ends: both are refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::{Clock, NamespacedStore, StoreExt, StoreUrl, SystemClock};

use crate::address;
use crate::exit::{Failure, Outcome};

/// How long a marker lives that could not be removed.
const MARKER_LIFE: Duration = Duration::from_secs(60);

/// One end of a copy: a store, and where it lies below whatever the backend keeps.
pub(super) struct Place<'a> {
    backend: &'static str,
    path: Vec<String>,
    store: &'a Arc<dyn NamespacedStore>,
}

impl<'a> Place<'a> {
    pub(super) fn new(
        url: &StoreUrl,
        segments: &[String],
        store: &'a Arc<dyn NamespacedStore>,
    ) -> Self {
        let mut path = address::root_path(url);
        path.extend_from_slice(segments);
        Self { backend: url.backend(), path, store }
    }
}

/// Refuses a copy between namespaces of one store of which one holds the other.
///
/// Two URLs can name one server or folder in many ways, so the stores are asked: a key put into TO
/// either shows up in FROM or does not.
pub(super) async fn refuse(from: &Place<'_>, to: &Place<'_>) -> Outcome {
    if from.backend != to.backend || from.backend == "memory" {
        return Ok(());
    }
    let (from_rest, to_rest) = if to.path.starts_with(&from.path) {
        (&to.path[from.path.len()..], &[][..])
    } else if from.path.starts_with(&to.path) {
        (&[][..], &from.path[to.path.len()..])
    } else {
        return Ok(());
    };
    let (seen_from, put_to) = (below(from.store, from_rest)?, below(to.store, to_rest)?);
    let now = SystemClock.now().timestamp_nanos_opt().unwrap_or_default();
    let marker = format!("larder-copy-marker-{}-{now}", std::process::id());
    put_to.set(&marker, "").ttl(MARKER_LIFE).await?;
    let seen = seen_from.exists(&marker).await;
    put_to.delete(&marker).await?;
    if !seen? {
        return Ok(());
    }
    let relation = if from.path == to.path { "is" } else { "lies within" };
    Err(Failure::Usage(format!("one of FROM and TO {relation} the other: nothing was copied")))
}

fn below(store: &Arc<dyn NamespacedStore>, path: &[String]) -> Outcome<Arc<dyn NamespacedStore>> {
    if path.is_empty() {
        return Ok(Arc::clone(store));
    }
    Ok(store.with_path(&path.iter().map(String::as_str).collect::<Vec<_>>())?)
}

/// Refuses two folders of which one lies within the other: one store would hold the other's files.
pub(super) fn refuse_nested_paths(from: &StoreUrl, to: &StoreUrl) -> Outcome {
    let (Some(from), Some(to)) = (from.path().map(real), to.path().map(real)) else {
        return Ok(());
    };
    if from != to && (from.starts_with(&to) || to.starts_with(&from)) {
        let text = "the folder of one of FROM and TO lies within the other's: nothing was copied";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(())
}

/// Tells whether both are the same sled store, which can be opened but once.
pub(super) fn is_one_sled(from: &StoreUrl, to: &StoreUrl) -> bool {
    let same_path = || from.path().map(real) == to.path().map(real);
    from.backend() == "sled" && to.backend() == "sled" && same_path()
}

/// The path without links, as far as it exists, and absolute.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in absolute.ancestors() {
        if let Ok(found) = ancestor.canonicalize()
            && let Ok(rest) = absolute.strip_prefix(ancestor)
        {
            return found.join(rest);
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(scheme: &str, path: &Path) -> StoreUrl {
        StoreUrl::parse(&format!("{scheme}:{}", path.display())).unwrap()
    }

    #[test]
    fn nested_folders_are_refused_whether_they_exist_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("ab"));
        let inside = a.join("x/y");
        assert!(refuse_nested_paths(&url("file", &a), &url("sled", &b)).is_ok());
        assert!(refuse_nested_paths(&url("file", &a), &url("sled", &inside)).is_err());
        assert!(refuse_nested_paths(&url("file", &inside), &url("file", &a)).is_err());
        assert!(is_one_sled(&url("sled", &a), &url("sled", &a.join("."))));
        assert!(!is_one_sled(&url("sled", &a), &url("file", &a)));
    }
}
