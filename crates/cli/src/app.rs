use std::sync::Arc;

use larder::{Error, ErrorKind, NamespacedStore, StoreUrl};

use crate::address;
use crate::args::Global;
use crate::exit::Outcome;
use crate::output::Output;

/// What a command works with: the global options, standard output, and the stores it opened.
pub(crate) struct App {
    pub(crate) json: bool,
    pub(crate) out: Output,
    global: Global,
    opened: Vec<Arc<dyn NamespacedStore>>,
    clean_ups: Vec<Box<dyn CleanUp>>,
    if_interrupted: &'static str,
}

/// What has to be done before the stores are closed, however the command ends.
#[larder::async_trait]
pub(crate) trait CleanUp: Send + Sync {
    async fn clean_up(&self) -> larder::Result<()>;
}

/// Whether a store that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    Create,
    Refuse,
}

impl App {
    pub(crate) fn new(global: Global) -> Self {
        Self {
            json: global.json,
            out: Output::new(),
            global,
            opened: Vec::new(),
            clean_ups: Vec::new(),
            if_interrupted: "",
        }
    }

    /// What to say after Ctrl-C from here on.
    pub(crate) fn on_interrupt(&mut self, advice: &'static str) {
        self.if_interrupted = advice;
    }

    /// What to say after Ctrl-C.
    pub(crate) fn if_interrupted(&self) -> &'static str {
        self.if_interrupted
    }

    /// The segments given by `--namespace`.
    pub(crate) fn segments(&self) -> &[String] {
        &self.global.namespace
    }

    /// What `--store` says.
    pub(crate) fn given_store(&self) -> Option<&str> {
        self.global.store.as_deref()
    }

    /// The URL of the store that the global options name.
    pub(crate) fn url(&self) -> Outcome<StoreUrl> {
        address::of_store(self.global.store.as_deref())
    }

    /// The namespace that the global options name, of a store that is there.
    pub(crate) async fn store(&mut self) -> Outcome<Arc<dyn NamespacedStore>> {
        let url = self.url()?;
        let root = self.open(&url, Absent::Refuse).await?;
        self.below(&root)
    }

    /// As [`store`](Self::store), making a store that is not there.
    pub(crate) async fn store_or_new(&mut self) -> Outcome<Arc<dyn NamespacedStore>> {
        let url = self.url()?;
        let root = self.open(&url, Absent::Create).await?;
        self.below(&root)
    }

    /// The namespace that the global options name, of an open store.
    pub(crate) fn below(
        &self,
        root: &Arc<dyn NamespacedStore>,
    ) -> Outcome<Arc<dyn NamespacedStore>> {
        if self.global.namespace.is_empty() {
            return Ok(Arc::clone(root));
        }
        let segments: Vec<&str> = self.global.namespace.iter().map(String::as_str).collect();
        Ok(root.with_path(&segments)?)
    }

    /// Opens a store, to be closed when the command ends.
    pub(crate) async fn open(
        &mut self,
        url: &StoreUrl,
        absent: Absent,
    ) -> Outcome<Arc<dyn NamespacedStore>> {
        let store = match absent {
            Absent::Create => url.open().await?,
            Absent::Refuse => url.clone().without_creating().open().await.map_err(|error| {
                let absent = error.kind() == ErrorKind::NotFound && url.path().is_some();
                if absent { no_store(url) } else { error }
            })?,
        };
        self.opened.push(Arc::clone(&store));
        Ok(store)
    }

    /// Has this done before the stores are closed, or earlier by
    /// [`run_clean_ups`](Self::run_clean_ups).
    pub(crate) fn clean_up(&mut self, clean_up: impl CleanUp + 'static) {
        self.clean_ups.push(Box::new(clean_up));
    }

    /// Does what [`clean_up`](Self::clean_up) was given, all of it even if some fails.
    pub(crate) async fn run_clean_ups(&mut self) -> larder::Result<()> {
        let mut outcome = Ok(());
        while let Some(clean_up) = self.clean_ups.last() {
            outcome = outcome.and(clean_up.clean_up().await);
            self.clean_ups.pop();
        }
        outcome
    }

    /// Leaves what was opened to the end of the process.
    pub(crate) fn leave_open(&mut self) {
        self.opened.clear();
    }

    /// Closes what was opened, all of it even if some cannot be closed.
    pub(crate) async fn close(&mut self) -> Outcome {
        let mut outcome = self.run_clean_ups().await;
        for store in self.opened.drain(..).rev() {
            outcome = outcome.and(store.close().await);
        }
        Ok(outcome?)
    }
}

fn no_store(url: &StoreUrl) -> Error {
    let text = format!(
        "there is no store at {url}: name another one with --store URL, or make it with `larder set`"
    );
    Error::new(ErrorKind::NotFound, text)
}
