use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use larder::{
    Clock, Condition, Cursor, Error, ErrorKind, ExpiresIn, Expiry, GetOptions, NamespacedStore,
    Result, SetItem, SetOptions, StoreExt, SystemClock,
};
use larder_cache::{CarriedOver, belongs_to_a_process, carry_counter};

use super::Tally;

/// How many keys are asked for at a time.
const PAGE: usize = 1_000;
/// The most entries read or written in one go.
const LARGEST_BATCH: usize = 256;
/// How many entries are read before the size of any is known.
const FIRST_BATCH: usize = 16;
/// How many bytes a batch should hold; of one entry, as many as it has.
const BATCH_BYTES: usize = 8 << 20;
/// How many batches are read at a time, and how many written.
const BATCHES: usize = 4;

/// What is copied, and how.
pub(crate) struct Transfer {
    pub(crate) from: Arc<dyn NamespacedStore>,
    pub(crate) to: Arc<dyn NamespacedStore>,
    pub(crate) prefix: String,
    pub(crate) overwrite: bool,
}

/// Some keys of one namespace.
pub(super) struct KeyPage {
    path: Arc<[String]>,
    pub(super) keys: Vec<String>,
    unlisted: u64,
}

/// An entry on its way.
struct Loaded {
    key: String,
    value: Bytes,
    /// With the moment at which it was so.
    life: (ExpiresIn, DateTime<Utc>),
}

impl Transfer {
    /// Copies everything.
    ///
    /// What is wrong with one entry alone is counted; whatever concerns a store ends it.
    pub(crate) async fn run(&self, tally: &Tally<'_>) -> Result<()> {
        let batch = BatchSize::default();
        let counted = Counted::new(&*self.from);
        let batches = self
            .key_pages()
            .map_ok(|page| {
                tally.add_left_out(page.unlisted);
                // The size is looked at when the batch is cut, by what the earlier ones held.
                let batch = &batch;
                let cut = stream::unfold(page.keys.into_iter(), async |mut keys| {
                    let cut: Vec<String> = keys.by_ref().take(batch.get()).collect();
                    (!cut.is_empty()).then_some((cut, keys))
                });
                cut.map(move |keys| Ok::<_, Error>((Arc::clone(&page.path), keys)))
            })
            .try_flatten();
        batches
            .map_ok(|(path, keys)| self.load(path, keys, &batch, &counted, tally))
            .try_buffer_unordered(BATCHES)
            .try_for_each_concurrent(BATCHES, |(path, entries)| {
                self.store(path, entries, &counted, tally)
            })
            .await?;
        self.to.flush().await
    }

    /// The keys of the namespace and of all below it, page by page.
    ///
    /// A key may come more than once, where FROM lists so; keeping all in memory to prevent it
    /// would cost more than copying it twice.
    pub(super) fn key_pages(&self) -> impl Stream<Item = Result<KeyPage>> + '_ {
        let start = Walk { paths: vec![Arc::from([])], cursor: None };
        stream::try_unfold(start, async |mut walk| {
            let Some(path) = walk.paths.last().cloned() else { return Ok(None) };
            let source = below(&self.from, &path)?;
            let page = source.list_page(&self.prefix, walk.cursor.as_ref(), PAGE).await?;
            walk.cursor = page.next;
            if walk.cursor.is_none() {
                walk.paths.pop();
                let mut children = source.namespaces();
                while let Some(segment) = children.try_next().await? {
                    walk.paths.push(path.iter().cloned().chain([segment]).collect());
                }
            }
            let page = KeyPage { path, keys: page.keys, unlisted: page.unlisted };
            Ok(Some((page, walk)))
        })
    }

    /// Reads what is not there yet.
    async fn load(
        &self,
        path: Arc<[String]>,
        keys: Vec<String>,
        batch: &BatchSize,
        counted: &Counted,
        tally: &Tally<'_>,
    ) -> Result<(Arc<[String]>, Vec<Loaded>)> {
        let (from, to) = (below(&self.from, &path)?, below(&self.to, &path)?);
        let keys = carry_counters(&*from, &*to, &path, keys, counted, tally).await?;
        let there = if self.overwrite {
            vec![false; keys.len()]
        } else {
            let exists = join_all(keys.iter().map(|key| exists(&*to, key))).await;
            exists.into_iter().collect::<Result<Vec<bool>>>()?
        };
        let mut wanted = Vec::with_capacity(keys.len());
        for (key, there) in keys.into_iter().zip(there) {
            if !there {
                wanted.push(key);
            } else if counted.is_first(&path, &key) {
                tally.add_already_there();
            }
        }
        let options = GetOptions::default().with_expires_in(true);
        let read = join_all(wanted.iter().map(|key| from.get_opts(key, options.clone()))).await;
        let now = SystemClock.now();
        let mut loaded = Vec::with_capacity(wanted.len());
        for (key, entry) in wanted.into_iter().zip(read) {
            match entry {
                Ok(Some(entry)) if belongs_to_a_process(&*from, &entry.value) => {
                    if counted.is_first(&path, &key) {
                        tally.add_left_out(1);
                    }
                }
                Ok(Some(entry)) => {
                    batch.saw(entry.value.len());
                    let life = (entry.expires_in.unwrap_or(ExpiresIn::Never), now);
                    loaded.push(Loaded { key, value: entry.value, life });
                }
                Ok(None) if counted.is_first(&path, &key) => tally.add_expired(),
                Ok(None) => {}
                Err(error) => set_aside(error, tally)?,
            }
        }
        Ok((path, loaded))
    }

    async fn store(
        &self,
        path: Arc<[String]>,
        entries: Vec<Loaded>,
        counted: &Counted,
        tally: &Tally<'_>,
    ) -> Result<()> {
        let to = below(&self.to, &path)?;
        let able = to.capabilities();
        let condition = if self.overwrite { Condition::Any } else { Condition::Absent };
        let now = SystemClock.now();
        let mut items = Vec::with_capacity(entries.len());
        for Loaded { key, value, life } in &entries {
            let Some(expiry) = remaining(*life, now) else {
                tally.add_expired();
                continue;
            };
            let options =
                SetOptions::default().with_expiry(expiry).with_condition(condition.clone());
            // Checked here, for one that TO cannot take would fail the whole batch.
            let takes = able.check_key(key).and_then(|()| able.check_set(value.len(), &options));
            match takes {
                Ok(()) => items.push(SetItem::new(key, value.clone()).with_options(options)),
                Err(error) => set_aside(error.with_key(key), tally)?,
            }
        }
        let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
        for (key, outcome) in keys.iter().zip(to.set_many(items).await?) {
            match outcome {
                Err(error) => set_aside(error, tally)?,
                Ok(_) if !counted.is_first(&path, key) => {}
                Ok(outcome) if outcome.is_applied() => tally.add_copied(),
                Ok(_) => tally.add_already_there(),
            }
        }
        Ok(())
    }
}

struct Walk {
    /// Those whose keys are still to be listed, the one being listed last.
    paths: Vec<Arc<[String]>>,
    cursor: Option<Cursor>,
}

fn below(store: &Arc<dyn NamespacedStore>, path: &[String]) -> Result<Arc<dyn NamespacedStore>> {
    if path.is_empty() {
        return Ok(Arc::clone(store));
    }
    store.with_path(&path.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Moves the counters of a cache's tokens on, whatever is to be overwritten; hands back all other keys.
async fn carry_counters(
    from: &dyn NamespacedStore,
    to: &dyn NamespacedStore,
    path: &[String],
    keys: Vec<String>,
    counted: &Counted,
    tally: &Tally<'_>,
) -> Result<Vec<String>> {
    let mut others = Vec::with_capacity(keys.len());
    for key in keys {
        match carry_counter(from, to, &key).await {
            Ok(None) => others.push(key),
            Err(error) => set_aside(error, tally)?,
            Ok(Some(CarriedOver::WithCounter)) => {}
            Ok(_) if !counted.is_first(path, &key) => {}
            Ok(Some(CarriedOver::Written)) => tally.add_copied(),
            Ok(Some(CarriedOver::Kept)) => tally.add_already_there(),
            Ok(Some(_)) => tally.add_left_out(1),
        }
    }
    Ok(others)
}

/// Tells whether a key is live in TO; one that TO cannot take is not, and one that cannot be read is
/// there.
async fn exists(to: &dyn NamespacedStore, key: &str) -> Result<bool> {
    match to.exists(key).await {
        Err(error) if error.kind() == ErrorKind::InvalidKey => Ok(false),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(true),
        other => other,
    }
}

/// What is left of a life since it was read, so that no difference between two clocks counts;
/// `None` when it has run out.
fn remaining((life, then): (ExpiresIn, DateTime<Utc>), now: DateTime<Utc>) -> Option<Expiry> {
    let ExpiresIn::In(left) = life else { return Some(Expiry::Never) };
    let passed = (now - then).to_std().unwrap_or_default();
    left.checked_sub(passed).filter(|left| !left.is_zero()).map(Expiry::After)
}

/// Counts an error that is about one entry; hands back any other.
fn set_aside(error: Error, tally: &Tally<'_>) -> Result<()> {
    match error.kind() {
        ErrorKind::InvalidKey
        | ErrorKind::InvalidValue
        | ErrorKind::TooLarge
        | ErrorKind::Corrupt => {
            tally.add_failed(error);
            Ok(())
        }
        _ => Err(error),
    }
}

/// How many entries make a batch, by the largest value seen so far.
#[derive(Default)]
struct BatchSize {
    largest: AtomicUsize,
}

impl BatchSize {
    fn saw(&self, len: usize) {
        self.largest.fetch_max(len.max(1), Relaxed);
    }

    fn get(&self) -> usize {
        match self.largest.load(Relaxed) {
            0 => FIRST_BATCH,
            largest => (BATCH_BYTES / largest).clamp(1, LARGEST_BATCH),
        }
    }
}

/// Which keys were counted, where FROM may list one twice; by hash, for the keys themselves may be
/// many and long. A collision makes a count one too small, and loses nothing.
struct Counted(Option<(RandomState, Mutex<HashSet<u64>>)>);

impl Counted {
    fn new(from: &dyn NamespacedStore) -> Self {
        let repeats = !from.capabilities().ordered_list;
        Self(repeats.then(|| (RandomState::new(), Mutex::default())))
    }

    fn is_first(&self, path: &[String], key: &str) -> bool {
        let Some((state, seen)) = &self.0 else { return true };
        let hash = state.hash_one((path, key));
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(hash)
    }
}

#[cfg(test)]
mod tests;
