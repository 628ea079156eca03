use std::fmt::{self, Write as _};
use std::sync::Arc;

use larder_core::{
    Bytes, Capabilities, Condition, Cursor, DeleteManyOutcome, DeleteOptions, Entry, ExpiresIn,
    Expiry, GetOptions, ListPage, Namespace, NamespacePage, NamespacedStore, Result, SetItem,
    SetOptions, SetOutcome, Store, async_trait,
};

use crate::trace::Trace;
use crate::verdict::{show_key, show_value};

/// A layer that notes every operation and its result.
#[derive(Clone)]
pub(crate) struct Recorder<S> {
    inner: S,
    trace: Trace,
    /// What is put before each operation, to tell handles apart.
    label: String,
    /// How many segments of the namespace a reader need not see.
    hidden: usize,
}

impl<S> Recorder<S> {
    pub(crate) fn new(inner: S, trace: Trace, label: &str) -> Self {
        Self { inner, trace, label: label.to_owned(), hidden: 0 }
    }

    pub(crate) fn with_hidden(mut self, hidden: usize) -> Self {
        self.hidden = hidden;
        self
    }

    async fn run<T>(
        &self,
        call: String,
        future: impl Future<Output = Result<T>> + Send,
        show: impl FnOnce(&T) -> String + Send,
    ) -> Result<T> {
        let running = self.trace.begin(format!("{}{call}", self.label));
        let result = future.await;
        running.end(match &result {
            Ok(value) => show(value),
            Err(error) => format!("error `{}` ({error})", error.kind()),
        });
        result
    }
}

fn debug<T: fmt::Debug>(value: &T) -> String {
    format!("{value:?}")
}

fn show_entry(entry: Option<&Entry>) -> String {
    let Some(entry) = entry else {
        return "None".to_owned();
    };
    let mut text = show_value(&entry.value);
    if let Some(left) = entry.expires_in {
        let _ = write!(text, ", expires {left:?}");
    }
    if entry.version.is_some() {
        text.push_str(", with version");
    }
    text
}

fn show_keys(keys: &[&str]) -> String {
    let shown: Vec<String> = keys.iter().take(6).map(|key| show_key(key)).collect();
    let more = if keys.len() > 6 { format!(", … {} in all", keys.len()) } else { String::new() };
    format!("[{}{more}]", shown.join(", "))
}

pub(crate) fn show_expiry(expiry: Expiry) -> String {
    match expiry {
        Expiry::Never => "never expires".to_owned(),
        Expiry::After(duration) => format!("expires after {duration:?}"),
        Expiry::At(moment) => {
            format!(
                "expires at {}",
                moment.to_rfc3339_opts(larder_core::chrono::SecondsFormat::AutoSi, true)
            )
        }
        Expiry::Keep => "keeps its expiry".to_owned(),
        other => format!("{other:?}"),
    }
}

fn show_set_options(options: &SetOptions) -> String {
    let mut text = String::new();
    if options.expiry != Expiry::Never {
        let _ = write!(text, ", {}", show_expiry(options.expiry));
    }
    text + &show_condition(&options.condition)
}

fn show_condition(condition: &Condition) -> String {
    match condition {
        Condition::Any => String::new(),
        Condition::Absent => ", if absent".to_owned(),
        Condition::Present => ", if present".to_owned(),
        Condition::Matches(_) => ", if its version matches".to_owned(),
        other => format!(", if {other:?}"),
    }
}

fn show_page(page: &ListPage) -> String {
    let keys: Vec<&str> = page.keys.iter().map(String::as_str).collect();
    let more = if page.next.is_some() { ", more to come" } else { ", the last page" };
    format!("{}{more}", show_keys(&keys))
}

fn show_children(page: &NamespacePage) -> String {
    let names: Vec<&str> = page.segments.iter().map(String::as_str).collect();
    let more = if page.next.is_some() { ", more to come" } else { ", the last page" };
    format!("{}{more}", show_keys(&names))
}

fn show_bulk<T>(outcomes: &[Result<T>], show: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = outcomes
        .iter()
        .take(6)
        .map(|outcome| match outcome {
            Ok(value) => show(value),
            Err(error) => format!("error `{}`", error.kind()),
        })
        .collect();
    let more = if outcomes.len() > 6 { ", …" } else { "" };
    format!("[{}{more}]", shown.join(", "))
}

fn show_read_options(options: &GetOptions) -> String {
    options.renew_for.map_or_else(String::new, |renew| format!(", renewed for {renew:?}"))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for Recorder<S> {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let call = format!("get({}{})", show_key(key), show_read_options(&options));
        let show = |entry: &Option<Entry>| show_entry(entry.as_ref());
        self.run(call, self.inner.get_opts(key, options), show).await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let (key_shown, value_shown) = (show_key(key), show_value(&value));
        let call = format!("set({key_shown}, {value_shown}{})", show_set_options(&options));
        self.run(call, self.inner.set_opts(key, value, options), debug).await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let call = format!("delete({}{})", show_key(key), show_condition(&options.condition));
        self.run(call, self.inner.delete_opts(key, options), debug).await
    }

    async fn delete_all(&self) -> Result<()> {
        self.run("delete_all()".into(), self.inner.delete_all(), |()| "Ok".to_owned()).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.run(format!("exists({})", show_key(key)), self.inner.exists(key), debug).await
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        self.run(format!("expires_in({})", show_key(key)), self.inner.expires_in(key), debug).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let call = format!("get_many({})", show_keys(keys));
        let show = |found: &Vec<Result<Option<Bytes>>>| {
            show_bulk(found, |value| value.as_deref().map_or("None".to_owned(), show_value))
        };
        self.run(call, self.inner.get_many(keys), show).await
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let shown: Vec<String> = items
            .iter()
            .take(6)
            .map(|item| {
                let (key, value) = (show_key(item.key), show_value(&item.value));
                format!("{key} = {value}{}", show_set_options(&item.options))
            })
            .collect();
        let more =
            if items.len() > 6 { format!("; … {} in all", items.len()) } else { String::new() };
        let call = format!("set_many([{}{more}])", shown.join("; "));
        let show = |outcomes: &Vec<Result<SetOutcome>>| show_bulk(outcomes, debug);
        self.run(call, self.inner.set_many(items), show).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let call = format!("delete_many({})", show_keys(keys));
        let show = |outcome: &DeleteManyOutcome| {
            format!("{} existed: {}", outcome.existed, show_bulk(&outcome.outcomes, debug))
        };
        self.run(call, self.inner.delete_many(keys), show).await
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let call = format!("update_expiry({}, {})", show_key(key), show_expiry(expiry));
        self.run(call, self.inner.update_expiry(key, expiry), debug).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let from = if cursor.is_some() { "the cursor" } else { "the start" };
        let call = format!("list_page({}, from {from}, {limit})", show_key(prefix));
        self.run(call, self.inner.list_page(prefix, cursor, limit), show_page).await
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let from = if cursor.is_some() { "the cursor" } else { "the start" };
        let call = format!("list_child_namespaces(from {from}, {limit})");
        self.run(call, self.inner.list_child_namespaces(cursor, limit), show_children).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let call = format!("delete_prefix({})", show_key(prefix));
        self.run(call, self.inner.delete_prefix(prefix), debug).await
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.run("delete_expired()".into(), self.inner.delete_expired(), debug).await
    }

    async fn flush(&self) -> Result<()> {
        self.run("flush()".into(), self.inner.flush(), |()| "Ok".to_owned()).await
    }

    async fn ping(&self) -> Result<()> {
        self.run("ping()".into(), self.inner.ping(), |()| "Ok".to_owned()).await
    }

    async fn close(&self) -> Result<()> {
        self.run("close()".into(), self.inner.close(), |()| "Ok".to_owned()).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl NamespacedStore for Recorder<Arc<dyn NamespacedStore>> {
    fn namespace(&self) -> &Namespace {
        self.inner.namespace()
    }

    fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
        let child = self.inner.with_namespace(segment);
        self.child(&[segment], child)
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let child = self.inner.with_path(segments);
        self.child(segments, child)
    }
}

impl Recorder<Arc<dyn NamespacedStore>> {
    fn child(
        &self,
        segments: &[&str],
        child: Result<Arc<dyn NamespacedStore>>,
    ) -> Result<Arc<dyn NamespacedStore>> {
        let child = child.inspect_err(|error| {
            let call = format!("{}with_path({})", self.label, show_keys(segments));
            self.trace.begin(call).end(format!("error `{}` ({error})", error.kind()));
        })?;
        let shown: Vec<String> =
            child.namespace().segments().skip(self.hidden).map(show_key).collect();
        let label =
            if shown.is_empty() { String::new() } else { format!("in {}: ", shown.join("/")) };
        Ok(Arc::new(Self { inner: child, trace: self.trace.clone(), label, hidden: self.hidden }))
    }
}

impl<S: fmt::Debug> fmt::Debug for Recorder<S> {
    // What the store shows of itself is part of what is tested, so nothing is added to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
