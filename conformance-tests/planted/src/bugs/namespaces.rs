use std::sync::Arc;
use std::time::Duration;

use larder_core::{
    Bytes, Capabilities, Clock, Error, ErrorKind, Namespace, NamespacedStore, Result, SetOptions,
    SetOutcome, SystemClock, async_trait,
};

use crate::shelf::{Twist, join, prefix_of};
use crate::tamper::{At, Tamper};

fn above(namespace: &Namespace) -> Namespace {
    let mut segments = namespace.segments();
    segments.next_back();
    Namespace::from_segments(segments).unwrap_or_default()
}

/// The pattern `NAMESPACE*` of a Redis store.
#[derive(Debug)]
pub(crate) struct ClearsByPrefix;

impl Twist for ClearsByPrefix {
    fn covers(&self, namespace: &Namespace, place: &str) -> bool {
        let prefix = prefix_of(namespace);
        place.starts_with(&prefix) && place.contains(':')
    }
}

/// A `*` in a segment stands for any text.
#[derive(Debug)]
pub(crate) struct ClearsByPattern;

impl Twist for ClearsByPattern {
    fn covers(&self, namespace: &Namespace, place: &str) -> bool {
        let Some((path, _)) = place.split_once(':') else {
            return false;
        };
        let below: Vec<&str> = path.split('/').skip(1).collect();
        let pattern: Vec<&str> = namespace.segments().collect();
        let like = |pattern: &str, segment: &str| match pattern.split_once('*') {
            Some((start, end)) => segment.starts_with(start) && segment.ends_with(end),
            None => Namespace::escape_segment(pattern) == segment,
        };
        below.len() >= pattern.len()
            && pattern.iter().zip(below).all(|(pattern, segment)| like(pattern, segment))
    }
}

#[derive(Debug)]
pub(crate) struct ClearsWithoutGrandchildren;

impl Twist for ClearsWithoutGrandchildren {
    fn covers(&self, namespace: &Namespace, place: &str) -> bool {
        place
            .strip_prefix(&prefix_of(namespace))
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(path, _)| path.is_empty() || path.rfind('/') == Some(0))
    }
}

#[derive(Debug)]
pub(crate) struct RepeatedSegmentsAreOne;

impl Twist for RepeatedSegmentsAreOne {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        let mut segments: Vec<&str> = namespace.segments().collect();
        segments.dedup();
        let shortened = Namespace::from_segments(segments).unwrap_or_default();
        format!("{}:{key}", prefix_of(&shortened))
    }
}

#[derive(Debug)]
pub(crate) struct ClearsOnlyItself;

impl Twist for ClearsOnlyItself {
    fn covers(&self, namespace: &Namespace, place: &str) -> bool {
        self.lists(namespace, place)
    }
}

/// Clearing a child takes the parent's own keys with it.
#[derive(Debug)]
pub(crate) struct ClearsTheParent;

impl Twist for ClearsTheParent {
    fn covers(&self, namespace: &Namespace, place: &str) -> bool {
        let within = place
            .strip_prefix(&prefix_of(namespace))
            .is_some_and(|rest| rest.starts_with([':', '/']) && rest.contains(':'));
        within || self.lists(&above(namespace), place)
    }
}

/// Whatever lies below the folder is removed, whoever put it there.
#[derive(Debug)]
pub(crate) struct ClearsForeignData;

impl Twist for ClearsForeignData {
    fn covers(&self, namespace: &Namespace, place: &str) -> bool {
        place.strip_prefix(&prefix_of(namespace)).is_some_and(|rest| rest.starts_with([':', '/']))
    }
}

/// `foo` with the child `bar` is `foo_bar`.
#[derive(Debug)]
pub(crate) struct JoinsByUnderscore;

impl Twist for JoinsByUnderscore {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        let path: Vec<_> = namespace.segments().map(Namespace::escape_segment).collect();
        if path.is_empty() { format!(":{key}") } else { format!("/{}:{key}", path.join("_")) }
    }
}

/// A key `b:k` in the namespace `a` lies where the key `k` does in `a`, `b`.
#[derive(Debug)]
pub(crate) struct JoinsByColon;

impl Twist for JoinsByColon {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        let mut path: Vec<String> =
            namespace.segments().map(|segment| segment.replace(':', "%3A")).collect();
        if let (false, Some((segment, rest))) = (path.is_empty(), key.split_once(':')) {
            path.push(segment.to_owned());
            return format!("/{}:{rest}", path.join("/"));
        }
        format!("{}:{key}", prefix_of(namespace))
    }
}

/// Only the separators are escaped, and the sign that escapes them is not.
#[derive(Debug)]
pub(crate) struct EscapesHalf;

impl Twist for EscapesHalf {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        let escape = |segment: &str| segment.replace('/', "%2F").replace(':', "%3A");
        format!("{}:{key}", join(namespace, escape))
    }
}

#[derive(Debug)]
pub(crate) struct FoldsSegments;

impl Twist for FoldsSegments {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        format!("{}:{key}", prefix_of(namespace).to_lowercase())
    }
}

/// `..` leads to the parent.
#[derive(Debug)]
pub(crate) struct WalksUpSegments;

impl Twist for WalksUpSegments {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        let mut path: Vec<&str> = Vec::new();
        for segment in namespace.segments() {
            match segment {
                ".." => drop(path.pop()),
                other => path.push(other),
            }
        }
        let namespace = Namespace::from_segments(path).unwrap_or_default();
        format!("{}:{key}", prefix_of(&namespace))
    }
}

/// As names of at most 64 bytes.
#[derive(Debug)]
pub(crate) struct CutsSegments;

impl Twist for CutsSegments {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        let cut = |segment: &str| {
            Namespace::escape_segment(segment).chars().take(254).collect::<String>()
        };
        format!("{}:{key}", join(namespace, cut))
    }
}

/// A purge stops at the first child namespace, as at a folder in the place of a file.
#[derive(Debug)]
pub(crate) struct PurgeFailsOnChildren;

#[async_trait]
impl Tamper for PurgeFailsOnChildren {
    async fn delete_expired(&self, at: &At) -> Result<u64> {
        let children = at.inner.list_child_namespaces(None, 1).await?;
        if children.segments.is_empty() {
            return at.inner.delete_expired().await;
        }
        Err(Error::new(ErrorKind::Internal, "is a directory").with_operation("delete_expired"))
    }
}

/// Refuses what is no letter and no digit.
#[derive(Debug)]
pub(crate) struct OnlyAlphanumeric;

impl Tamper for OnlyAlphanumeric {
    fn with_path(&self, at: &At, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        if segments.iter().all(|segment| segment.chars().all(char::is_alphanumeric)) {
            return at.inner.with_path(segments);
        }
        Err(Error::new(ErrorKind::InvalidNamespace, "only letters and digits")
            .with_operation("with_path"))
    }
}

/// A namespace cannot be made where a key's file of the same name lies, nor the other way round.
#[derive(Debug)]
pub(crate) struct NamedLikeAKeysFile;

#[async_trait]
impl Tamper for NamedLikeAKeysFile {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let hashed = |segment: &str| {
            segment.len() == 64 && segment.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if at.inner.namespace().segments().any(hashed) {
            return Err(Error::new(ErrorKind::Internal, "not a directory").with_operation("set"));
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// A folder is made, and not the folders above it.
#[derive(Debug)]
pub(crate) struct NeedsAParent;

#[async_trait]
impl Tamper for NeedsAParent {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        if at.inner.namespace().depth() > 1 {
            let above: Vec<String> =
                above(at.inner.namespace()).segments().map(str::to_owned).collect();
            let above: Vec<&str> = above.iter().map(String::as_str).collect();
            let parent = at.root.with_path(&above)?;
            let used = !parent.list_page("", None, 1).await?.keys.is_empty()
                || !parent.list_child_namespaces(None, 1).await?.segments.is_empty();
            if !used {
                let error = Error::new(ErrorKind::Internal, "no such file or directory");
                return Err(error.with_operation("set").with_key(key));
            }
        }
        at.inner.set_opts(key, value, options).await
    }
}

/// A child is made with the options that stand for none.
#[derive(Debug)]
pub(crate) struct ChildForgetsOptions;

impl Tamper for ChildForgetsOptions {
    fn capabilities(&self, at: &At) -> Capabilities {
        let capabilities = at.inner.capabilities();
        if at.inner.namespace().is_root() {
            return capabilities;
        }
        capabilities.with_expiry_granularity(Duration::from_secs(1))
    }
}

/// The limit of segments is off by one.
#[derive(Debug)]
pub(crate) struct RefusesTheDeepest;

impl Tamper for RefusesTheDeepest {
    fn with_path(&self, at: &At, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        if at.inner.namespace().depth() + segments.len() == larder_core::MAX_NAMESPACE_DEPTH {
            let error = Error::new(ErrorKind::InvalidNamespace, "too deep");
            return Err(error.with_operation("with_path"));
        }
        at.inner.with_path(segments)
    }
}

/// Empty segments are left out, as they are in a path.
#[derive(Debug)]
pub(crate) struct SkipsEmptySegments;

impl Tamper for SkipsEmptySegments {
    fn with_path(&self, at: &At, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let segments: Vec<&str> = segments.iter().copied().filter(|one| !one.is_empty()).collect();
        at.inner.with_path(&segments)
    }
}

/// A path is walked from the root, wherever the handle is.
#[derive(Debug)]
pub(crate) struct WalksFromTheRoot;

impl Tamper for WalksFromTheRoot {
    fn with_path(&self, at: &At, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        if at.inner.namespace().depth() == 0 {
            return at.inner.with_path(segments);
        }
        let mut path: Vec<&str> = at.inner.namespace().segments().take(1).collect();
        path.extend(segments);
        at.root.with_path(&path)
    }
}

/// A child is made with the clock that stands for none.
#[derive(Debug)]
pub(crate) struct ChildForgetsTheClock;

impl Twist for ChildForgetsTheClock {
    fn child_clock(&self, _: &Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

/// A thousand keys are read and deleted, and that is it.
#[derive(Debug)]
pub(crate) struct ClearsOnePage;

#[async_trait]
impl Tamper for ClearsOnePage {
    async fn delete_all(&self, at: &At) -> Result<()> {
        let page = at.inner.list_page("", None, 1_000).await?;
        if page.next.is_none() {
            return at.inner.delete_all().await;
        }
        let keys: Vec<&str> = page.keys.iter().map(String::as_str).collect();
        at.inner.delete_many(&keys).await.map(drop)
    }
}
