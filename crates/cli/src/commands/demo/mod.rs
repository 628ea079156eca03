use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use larder::{Clock, NamespacedStore, StoreUrl, SystemClock};
use serde::Serialize;

use crate::app::{Absent, App};
use crate::exit::{Failure, Outcome};
use crate::text;

mod gather;
mod stage;
mod steps;

use stage::Stage;

/// The namespace below which the demo works; it is emptied first, so that the demo can be repeated.
const NAMESPACE: &str = "larder-demo";

/// Show what Larder does, on real files: this repository's docs, or a folder's
///
/// It works in the namespace `larder-demo` of the store alone, and copies that to a sled store
/// beside it. It leaves both to be looked at, and says how to look and how to remove them.
#[derive(Args)]
pub(crate) struct Demo {
    /// The folder to take the files from
    folder: Option<PathBuf>,
}

#[derive(Serialize)]
struct Answer {
    store: String,
    copy: String,
    files: usize,
    bytes: u64,
    skipped: usize,
    copied: u64,
}

impl Demo {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let url = app.url()?;
        let copy_url = copy_of(&url)?;
        let ours: Vec<PathBuf> =
            [&url, &copy_url].iter().filter_map(|url| url.path()).map(PathBuf::from).collect();
        let gathered = tokio::task::spawn_blocking(move || gather::gather(self.folder, &ours));
        let gathered = gathered.await.map_err(|error| larder::Error::from_io(error.into()))??;

        let store = app.store_or_new().await?.with_namespace(NAMESPACE)?;
        let copy_root = app.open(&copy_url, Absent::Create).await?;
        let copy = app.below(&copy_root)?.with_namespace(NAMESPACE)?;
        store.delete_all().await?;
        copy.delete_all().await?;

        let json = app.json;
        let larder = Invocation::new(app, &url);
        let mut stage = Stage::new(&mut app.out, json);
        let (count, bytes) = (gathered.files.len(), gathered.bytes());
        stage.title(&format!(
            "Larder with {} from {}, {}, on {url}",
            text::count(count as u64, "file"),
            gathered.from,
            text::bytes(bytes)
        ))?;
        for skipped in gathered.shown_skips() {
            stage.note(&skipped)?;
        }
        let demo = steps::Steps { store: Arc::clone(&store), files: &gathered.files };
        demo.store_files(&mut stage).await?;
        demo.read_back(&mut stage).await?;
        demo.renew(&mut stage).await?;
        demo.condition(&mut stage).await?;
        demo.list(&mut stage).await?;
        demo.clear_one(&mut stage).await?;
        let copied = demo.copy_to(&mut stage, copy, &copy_url).await?;
        leave(&mut stage, &larder, &copy_url)?;
        if json {
            return app.out.json(&Answer {
                store: url.to_string(),
                copy: copy_url.to_string(),
                files: count,
                bytes,
                skipped: gathered.skipped.len(),
                copied,
            });
        }
        Ok(())
    }
}

/// A sled store beside the one given, or beside where the embedded one would be.
fn copy_of(url: &StoreUrl) -> Outcome<StoreUrl> {
    let Some(path) = url.path() else { return Ok(StoreUrl::parse("sled:larder-data-copy")?) };
    let Some(name) = path.file_name() else {
        let text = "the store's path ends without a name, so its copy would have none";
        return Err(Failure::Usage(text.to_owned()));
    };
    let mut name = name.to_owned();
    name.push("-copy");
    let copy = path.with_file_name(name);
    let Some(copy) = copy.to_str() else {
        return Err(Failure::Usage("the store's path is not UTF-8".to_owned()));
    };
    let escaped = copy.replace('%', "%25").replace('?', "%3F");
    Ok(StoreUrl::parse(&format!("sled:{escaped}"))?)
}

/// This command as it was called, for the examples at the end.
struct Invocation {
    program: String,
    store: String,
    namespace: String,
}

impl Invocation {
    fn new(app: &App, url: &StoreUrl) -> Self {
        let store = match app.given_store() {
            None => String::new(),
            Some(given) if given.starts_with("env:") => format!(" --store {given}"),
            Some(_) => format!(" --store '{url}'"),
        };
        Self {
            program: std::env::args().next().unwrap_or_else(|| "larder".to_owned()),
            store,
            namespace: app.segments().iter().flat_map(|segment| [" -n '", segment, "'"]).collect(),
        }
    }

    /// On the store of the demo.
    fn here(&self, rest: &str) -> String {
        format!("{}{}{} {rest}", self.program, self.store, self.namespace)
    }

    /// On another store.
    fn on(&self, url: &StoreUrl, rest: &str) -> String {
        format!("{} --store '{url}'{} {rest}", self.program, self.namespace)
    }
}

fn leave(stage: &mut Stage<'_>, larder: &Invocation, copy: &StoreUrl) -> Outcome {
    stage.title("Left to be looked at, until it expires in a day")?;
    stage.example(&larder.here(&format!("-n {NAMESPACE} namespaces")))?;
    stage.example(&larder.here(&format!("-n {NAMESPACE} -n docs list --long")))?;
    stage.example(&larder.on(copy, &format!("-n {NAMESPACE} -n docs list")))?;
    stage.title("Try next")?;
    stage.example(&larder.here("set greeting hello --ttl 1h30m"))?;
    stage.example(&larder.here("get greeting"))?;
    stage.example(&format!("{} conform memory: '{copy}'", larder.program))?;
    stage.title("To remove what the demo left")?;
    stage.example(&larder.here(&format!("-n {NAMESPACE} clear --yes")))?;
    if let Some(path) = copy.path() {
        stage.example(&format!("rm -r '{}'", path.display()))?;
    }
    Ok(())
}

/// How long something takes, for people.
struct Stopwatch(chrono::DateTime<chrono::Utc>);

impl Stopwatch {
    fn start() -> Self {
        Self(SystemClock.now())
    }

    fn read(&self) -> String {
        let millis = (SystemClock.now() - self.0).num_milliseconds().max(1);
        if millis < 1_000 {
            return format!("{millis} ms");
        }
        format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
    }
}

/// A handle to one of the demo's namespaces.
fn child(store: &Arc<dyn NamespacedStore>, segment: &str) -> Outcome<Arc<dyn NamespacedStore>> {
    Ok(store.with_namespace(segment)?)
}
