use std::sync::atomic::AtomicU32;
use std::time::Duration;

use chrono::TimeDelta;
use larder::memory::MemoryStore;
use larder::{
    Capabilities, DeleteOptions, Entry, ListPage, Namespace, Store, async_trait, forward_store,
};

use super::*;
use crate::commands::copy::Progress;

#[test]
fn a_life_shrinks_by_the_time_on_the_way() {
    let then = DateTime::UNIX_EPOCH;
    let five = Duration::from_secs(5);
    let life = (ExpiresIn::In(five), then);
    let later = then + TimeDelta::seconds(2);
    assert_eq!(remaining(life, later), Some(Expiry::After(Duration::from_secs(3))));
    assert_eq!(remaining(life, then + TimeDelta::seconds(5)), None);
    // A clock that was set back takes nothing away.
    assert_eq!(remaining(life, then - TimeDelta::days(1)), Some(Expiry::After(five)));
    assert_eq!(remaining((ExpiresIn::Never, then), later), Some(Expiry::Never));
}

#[test]
fn batches_shrink_with_the_largest_value() {
    let batch = BatchSize::default();
    assert_eq!(batch.get(), FIRST_BATCH);
    batch.saw(0);
    assert_eq!(batch.get(), LARGEST_BATCH);
    batch.saw(BATCH_BYTES / 2);
    assert_eq!(batch.get(), 2);
    batch.saw(1 << 30);
    assert_eq!(batch.get(), 1);
}

/// A store that does what stores may do, or what they do when they are damaged.
#[derive(Debug, Clone)]
struct Odd {
    inner: MemoryStore,
    namespace: Namespace,
    max_key_len: usize,
    reads: Arc<AtomicU32>,
}

impl Odd {
    fn new() -> Self {
        Self {
            inner: MemoryStore::new(),
            namespace: Namespace::root(),
            max_key_len: 4096,
            reads: Arc::default(),
        }
    }
}

#[async_trait]
impl Store for Odd {
    forward_store!(inner: set_opts, delete_all, exists, expires_in, list_child_namespaces);

    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.reads.fetch_add(1, Relaxed);
        match key {
            "expires meanwhile" => Ok(None),
            "damaged" => Err(ErrorKind::Corrupt.into()),
            "unreachable" => Err(ErrorKind::Unavailable.into()),
            _ => self.inner.get_opts(key, options).await,
        }
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.inner.delete_opts(key, options).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().with_max_key_len(self.max_key_len).with_ordered_list(false)
    }

    /// Gives the first key of each page on the page before it too.
    async fn list_page(&self, prefix: &str, cursor: Option<&Cursor>, _: usize) -> Result<ListPage> {
        let mut page = self.inner.list_page(prefix, cursor, 2).await?;
        page.unlisted = 1;
        if let Some(next) = &page.next {
            page.keys.extend(self.inner.list_page(prefix, Some(next), 1).await?.keys);
        }
        Ok(page)
    }
}

impl NamespacedStore for Odd {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        self.inner.with_path(segments)
    }
}

struct Copied {
    result: Result<()>,
    counts: [u64; 5],
    to: Odd,
}

async fn copy(from: &Odd, to: Odd, overwrite: bool) -> Copied {
    let transfer = Transfer {
        from: Arc::new(from.clone()),
        to: Arc::new(to.clone()),
        prefix: String::new(),
        overwrite,
    };
    let hidden = Progress::hidden();
    let tally = Tally::new(&hidden);
    let result = transfer.run(&tally).await;
    let counts =
        [tally.copied(), tally.already_there(), tally.left_out(), tally.expired(), tally.failed()];
    Copied { result, counts, to }
}

async fn filled(keys: &[&str]) -> Odd {
    let odd = Odd::new();
    for key in keys {
        odd.set(key, *key).await.unwrap();
    }
    odd
}

#[tokio::test]
async fn a_key_that_is_listed_twice_is_counted_once() {
    let from = filled(&["a", "b", "c", "d", "e"]).await;
    for overwrite in [false, true] {
        let copied = copy(&from, Odd::new(), overwrite).await;
        copied.result.unwrap();
        assert_eq!(copied.counts, [5, 0, 3, 0, 0], "overwrite: {overwrite}");
        let again = copy(&from, copied.to, false).await;
        assert_eq!(again.counts, [0, 5, 3, 0, 0]);
    }
}

#[tokio::test]
async fn what_is_there_is_not_even_read() {
    let from = filled(&["a", "b", "c"]).await;
    let to = copy(&from, Odd::new(), false).await.to;
    let before = from.reads.load(Relaxed);
    copy(&from, to, false).await.result.unwrap();
    assert_eq!(from.reads.load(Relaxed), before);
}

#[tokio::test]
async fn an_entry_that_expires_meanwhile_is_no_failure() {
    let from = filled(&["a", "expires meanwhile", "z"]).await;
    let copied = copy(&from, Odd::new(), false).await;
    copied.result.unwrap();
    assert_eq!(copied.counts, [2, 0, 2, 1, 0]);
    assert!(!copied.to.inner.exists("expires meanwhile").await.unwrap());
}

#[tokio::test]
async fn what_is_wrong_with_one_entry_does_not_stop_the_others() {
    let from = filled(&["a", "damaged", "a key that is too long for the target"]).await;
    let to = Odd { max_key_len: 10, ..Odd::new() };
    let copied = copy(&from, to, false).await;
    copied.result.unwrap();
    assert_eq!(copied.counts[0], 1);
    // Each may be listed twice, and tried twice.
    assert!((2..=4).contains(&copied.counts[4]), "{:?}", copied.counts);
}

#[tokio::test]
async fn a_store_that_fails_ends_it() {
    let from = filled(&["a", "unreachable"]).await;
    let error = copy(&from, Odd::new(), false).await.result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn namespaces_are_walked_to_the_bottom() {
    let from = filled(&["top"]).await;
    for depth in [1, 2, 5] {
        let path = vec!["n"; depth];
        from.with_path(&path).unwrap().set("k", depth.to_string()).await.unwrap();
    }
    let copied = copy(&from, Odd::new(), false).await;
    copied.result.unwrap();
    assert_eq!(copied.counts[0], 4);
    for depth in [1, 2, 5] {
        let found = copied.to.with_path(&vec!["n"; depth]).unwrap().get("k").await.unwrap();
        assert_eq!(found.as_deref(), Some(depth.to_string().as_bytes()));
    }
}
