use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use larder::{
    Error, ErrorKind, ManualClock, Namespace, NamespacedStore, Result, Store, StoreExt, StoreUrl,
    async_trait,
};
use larder_conformance::{Fixture, Handle, Harness};

use super::left_behind;
use crate::address;
use crate::app::CleanUp;

/// How long cases that are under way may take to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(2);

/// Gives each case of the suite an empty namespace of the store at a URL.
#[derive(Clone)]
pub(super) struct UrlHarness(Arc<Inner>);

struct Inner {
    name: String,
    way: Way,
    /// Below this everything happens.
    own: Arc<dyn NamespacedStore>,
    own_segment: String,
    secret: Option<String>,
    /// Where a file store keeps that namespace: a store leaves its folder.
    folder: Option<PathBuf>,
    bar: ProgressBar,
    next: AtomicUsize,
    under_way: AtomicUsize,
    stopped: AtomicBool,
}

/// How a case comes by its store.
enum Way {
    /// A new one, which nobody else sees.
    Fresh(StoreUrl),
    /// A connection or opening of its own, in the namespace at this path: what a root handle does
    /// when it closes is then seen too.
    Opened(StoreUrl, Vec<String>),
    /// A namespace of the one handle that there can be.
    Child,
}

/// Which namespace a case was given.
#[derive(Debug, Clone)]
struct Number(String);

impl UrlHarness {
    pub(super) fn new(
        name: String,
        url: &StoreUrl,
        own: Arc<dyn NamespacedStore>,
        segments: &[String],
        own_segment: &str,
    ) -> Self {
        let way = if url.backend() == "memory" {
            Way::Fresh(url.clone())
        } else if own.capabilities().shared {
            let mut path = address::root_path(url);
            path.extend_from_slice(segments);
            path.push(own_segment.to_owned());
            Way::Opened(url.clone(), path)
        } else {
            Way::Child
        };
        let folder = (url.backend() == "file").then(|| url.path().map(PathBuf::from)).flatten();
        let folder = folder.map(|root| {
            let given = url.namespace().segments().chain(segments.iter().map(String::as_str));
            root.join(given.chain([own_segment]).collect::<PathBuf>())
        });
        let bar = bar(&name);
        Self(Arc::new(Inner {
            name,
            way,
            own,
            own_segment: own_segment.to_owned(),
            secret: None,
            folder,
            bar,
            next: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        }))
    }

    pub(super) fn with_secret(mut self, secret: Option<String>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.secret = secret;
        }
        self
    }
}

impl Inner {
    async fn handle(&self, number: &str, clock: Option<&ManualClock>) -> Result<Handle> {
        let on_clock = |url: &StoreUrl| match clock {
            Some(clock) => url.clone().with_clock(clock.clone()),
            None => url.clone(),
        };
        let store = match &self.way {
            Way::Fresh(url) => on_clock(url).open().await?,
            Way::Opened(url, path) => {
                let segments = path.iter().map(String::as_str).chain([number]);
                let namespace = Namespace::from_segments(segments)?;
                on_clock(url).with_namespace(namespace).open().await?
            }
            Way::Child => self.own.with_path(&[&self.own_segment, number])?,
        };
        Ok(Handle::Namespaced(store))
    }

    /// A clock for one case, where each has a store of its own that takes one: nothing is waited
    /// for then.
    fn clock(&self) -> Option<ManualClock> {
        match &self.way {
            Way::Fresh(_) => Some(ManualClock::new()),
            Way::Opened(url, _) => (url.backend() != "redis").then(ManualClock::new),
            Way::Child => None,
        }
    }

    /// The namespace in which all cases work, where they share a store.
    fn all(&self) -> Result<Arc<dyn NamespacedStore>> {
        self.own.with_namespace(&self.own_segment)
    }
}

#[async_trait]
impl Harness for UrlHarness {
    async fn open(&self) -> Result<Fixture> {
        let inner = &self.0;
        inner.under_way.fetch_add(1, SeqCst);
        if inner.stopped.load(SeqCst) {
            inner.under_way.fetch_sub(1, SeqCst);
            return Err(Error::new(ErrorKind::Closed, "stopped"));
        }
        let number = inner.next.fetch_add(1, SeqCst).to_string();
        let clock = inner.clock();
        match inner.handle(&number, clock.as_ref()).await {
            Ok(handle) => {
                let fixture = Fixture::new(handle).with_state(Number(number));
                Ok(match clock {
                    Some(clock) => fixture.with_clock(clock),
                    None => fixture,
                })
            }
            Err(error) => {
                inner.under_way.fetch_sub(1, SeqCst);
                Err(error)
            }
        }
    }

    fn name(&self) -> String {
        self.0.name.clone()
    }

    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        match (&self.0.way, fixture.state::<Number>()) {
            (Way::Fresh(_), _) | (_, None) => Ok(None),
            (_, Some(number)) => self.0.handle(&number.0, fixture.clock()).await.map(Some),
        }
    }

    async fn second_handle(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        match (&self.0.way, fixture.state::<Number>()) {
            (Way::Opened(..), Some(number)) => {
                self.0.handle(&number.0, fixture.clock()).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    fn secrets(&self) -> Vec<String> {
        self.0.secret.iter().cloned().collect()
    }

    async fn cleanup(&self, fixture: Fixture) {
        // Whatever is left in spite of an error here is found by the cleaning at the end.
        let _ = fixture.handle().store().close().await;
        if let (Some(number), false) =
            (fixture.state::<Number>(), matches!(self.0.way, Way::Fresh(_)))
            && let Ok(all) = self.0.all()
            && let Ok(own) = all.with_namespace(&number.0)
        {
            let _ = own.delete_all().await;
        }
        self.0.bar.inc(1);
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl CleanUp for UrlHarness {
    async fn clean_up(&self) -> Result<()> {
        let inner = &self.0;
        inner.stopped.store(true, SeqCst);
        inner.bar.finish_and_clear();
        if matches!(inner.way, Way::Fresh(_)) {
            return Ok(());
        }
        let ended = async {
            while inner.under_way.load(SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // A case that hangs was reported as such; it is not waited for.
        let _ = tokio::time::timeout(GRACE, ended).await;
        let all = inner.all()?;
        all.delete_all().await?;
        if all.capabilities().list {
            let mut keys = all.list("");
            if let Some(key) = keys.try_next().await? {
                return Err(left_behind(&key));
            }
            let mut below = all.namespaces();
            if let Some(segment) = below.try_next().await? {
                return Err(left_behind(&segment));
            }
        }
        if let Some(folder) = inner.folder.clone() {
            // Removed if it is there and empty; a namespace whose name is escaped has another path.
            let _ = tokio::task::spawn_blocking(|| std::fs::remove_dir(folder)).await;
        }
        Ok(())
    }
}

/// A count of the cases that have ended, where standard error is a terminal.
fn bar(name: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {prefix}: {human_pos} cases, {elapsed}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
