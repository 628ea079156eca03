//! Stores that are odd and correct: no case may fail on them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod reference;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use larder_conformance::{CheckOptions, Fixture, Flavor, Harness, Report, Variant, check_with};
use larder_core::{
    BoxFuture, Bytes, Capabilities, Cursor, DeleteManyOutcome, DeleteOptions, Entry, Error,
    ErrorKind, ExpiresIn, Expiry, GetOptions, ListPage, ManualClock, Namespace, NamespacePage,
    NamespacedStore, Result, SetItem, SetOptions, SetOutcome, Store, SystemClock, async_trait,
};
use larder_memory::MemoryStore;
use reference::{Oddities, Reference, Versions, everything};

/// Runs the suite with less of what is random, which other tests have more of.
async fn run<H: Harness + Clone>(harness: H, variants: &[Variant], filter: &str) -> Report {
    let options = CheckOptions::default()
        .with_variants(variants.iter().copied())
        .with_filter(filter)
        .with_random_budget(Duration::ZERO);
    check_with(&harness, options).await
}

async fn expect_ok<H: Harness + Clone>(harness: H, variants: &[Variant]) {
    let report = run(harness, variants, "").await;
    assert!(report.is_ok(), "{report}");
    assert!(report.tally().passed > 80, "{report}");
}

async fn expect_reference(capabilities: Capabilities, oddities: Oddities) {
    let harness = move || async move {
        let clock = ManualClock::new();
        let store = Reference::new(capabilities, clock.clone()).with_oddities(oddities);
        Fixture::flat(store).with_clock(clock)
    };
    expect_ok(harness, &[Variant::Root, Variant::Namespace]).await;
}

#[tokio::test]
async fn it_can_do_no_more_than_it_must() {
    let harness = || async {
        let clock = ManualClock::new();
        Fixture::flat(Reference::new(Capabilities::new(), clock.clone())).with_clock(clock)
    };
    expect_ok(harness, &[Variant::Root, Variant::Layer]).await;
}

#[tokio::test]
async fn it_lists_and_can_do_nothing_else() {
    expect_reference(Capabilities::new().with_list(true), Oddities::default()).await;
}

#[tokio::test]
async fn it_has_conditions_and_does_not_list() {
    let capabilities = Capabilities::new().with_conditions(true).with_renew(true);
    expect_reference(capabilities, Oddities::default()).await;
}

#[tokio::test]
async fn it_takes_short_keys_and_small_values() {
    let capabilities = everything().with_max_key_len(200).with_max_value_len(3_000);
    expect_reference(capabilities, Oddities::default()).await;
}

#[tokio::test]
async fn it_counts_time_in_seconds() {
    let capabilities = everything().with_expiry_granularity(Duration::from_secs(1));
    expect_reference(capabilities, Oddities::default()).await;
    let capabilities = everything().with_expiry_granularity(Duration::from_secs(7));
    expect_reference(capabilities, Oddities::default()).await;
}

#[tokio::test]
async fn its_pages_are_tiny_and_often_empty() {
    let odd = Oddities { page: 1, ..Oddities::default() };
    expect_reference(everything(), odd).await;
}

#[tokio::test]
async fn it_lists_backwards() {
    let odd = Oddities { backwards: true, page: 3, ..Oddities::default() };
    expect_reference(everything().with_ordered_list(false), odd).await;
}

#[tokio::test]
async fn its_versions_are_numbers() {
    let odd = Oddities { versions: Versions::Numbers, ..Oddities::default() };
    expect_reference(everything(), odd).await;
}

#[tokio::test]
async fn its_versions_are_numbers_that_begin_anew_for_each_key() {
    let odd = Oddities { versions: Versions::NumbersByKey, ..Oddities::default() };
    expect_reference(everything(), odd).await;
}

#[tokio::test]
async fn it_purges_all_the_time() {
    let odd = Oddities { eager: true, ..Oddities::default() };
    expect_reference(everything(), odd).await;
}

#[tokio::test]
async fn its_keys_expire_by_themselves() {
    let odd = Oddities { eager: true, ..Oddities::default() };
    expect_reference(everything().with_native_expiry(true), odd).await;
}

#[tokio::test]
async fn it_has_a_clock_of_its_own() {
    let harness = || async { Fixture::flat(Reference::new(everything(), SystemClock)) };
    expect_ok(harness, &[Variant::Root]).await;
}

#[tokio::test]
async fn it_counts_real_time_in_seconds() {
    let harness = || async {
        let capabilities = everything().with_expiry_granularity(Duration::from_secs(1));
        Fixture::flat(Reference::new(capabilities, SystemClock))
    };
    let report = run(harness, &[Variant::Root], "::expiry::dies").await;
    assert!(report.is_ok() && report.tally().passed == 2, "{report}");
}

/// Runs in a runtime of one thread.
#[derive(Clone)]
struct OneThread;

#[async_trait]
impl Harness for OneThread {
    async fn open(&self) -> Result<Fixture> {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build()?;
        Ok(Fixture::namespaced(store).with_clock(clock))
    }

    fn flavor(&self) -> Flavor {
        Flavor::CurrentThread
    }
}

#[tokio::test]
async fn it_runs_on_one_thread() {
    expect_ok(OneThread, &[Variant::Root]).await;
}

type Job = BoxFuture<'static, ()>;

/// A store that lives in a thread of its own and is spoken to through a channel: a call that was
/// dropped still happens.
#[derive(Debug, Clone)]
struct Actor {
    store: Reference,
    jobs: std::sync::mpsc::Sender<Job>,
}

impl Actor {
    fn new(store: Reference) -> Self {
        let (jobs, inbox) = std::sync::mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for job in inbox {
                job.now_or_never().unwrap();
            }
        });
        Self { store, jobs }
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(Reference) -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let job = ask(self.store.clone());
        let job = Box::pin(async move {
            let _ = answer.send(job.await);
        });
        self.jobs.send(job).map_err(|_| Error::from(ErrorKind::Internal))?;
        answered.await.map_err(|_| Error::from(ErrorKind::Internal))?
    }
}

#[async_trait]
impl Store for Actor {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let key = key.to_owned();
        self.ask(|store| Box::pin(async move { store.get_opts(&key, options).await })).await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let key = key.to_owned();
        self.ask(|store| Box::pin(async move { store.set_opts(&key, value, options).await })).await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let key = key.to_owned();
        self.ask(|store| Box::pin(async move { store.delete_opts(&key, options).await })).await
    }

    async fn delete_all(&self) -> Result<()> {
        self.ask(|store| Box::pin(async move { store.delete_all().await })).await
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = key.to_owned();
        self.ask(|store| Box::pin(async move { store.update_expiry(&key, expiry).await })).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let (prefix, cursor) = (prefix.to_owned(), cursor.cloned());
        self.ask(|store| {
            Box::pin(async move { store.list_page(&prefix, cursor.as_ref(), limit).await })
        })
        .await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let prefix = prefix.to_owned();
        self.ask(|store| Box::pin(async move { store.delete_prefix(&prefix).await })).await
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.ask(|store| Box::pin(async move { store.delete_expired().await })).await
    }

    async fn close(&self) -> Result<()> {
        self.ask(|store| Box::pin(async move { store.close().await })).await
    }
}

#[tokio::test]
async fn it_is_an_actor_behind_a_channel() {
    let harness = || async {
        let clock = ManualClock::new();
        Fixture::flat(Actor::new(Reference::new(everything(), clock.clone()))).with_clock(clock)
    };
    expect_ok(harness, &[Variant::Root, Variant::Namespace]).await;
}

/// A layer that is slow, and yields before and after each call.
#[derive(Debug, Clone)]
struct Slow<S>(S, Arc<AtomicU64>);

impl<S> Slow<S> {
    async fn wait(&self) {
        match self.1.fetch_add(1, Ordering::Relaxed) * 7 % 40 {
            0 => tokio::time::sleep(Duration::from_micros(300)).await,
            times => {
                for _ in 0..times % 4 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn run<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.wait().await;
        let result = call.await;
        self.wait().await;
        result
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for Slow<S> {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.run(self.0.get_opts(key, options)).await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.run(self.0.set_opts(key, value, options)).await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.run(self.0.delete_opts(key, options)).await
    }

    async fn delete_all(&self) -> Result<()> {
        self.run(self.0.delete_all()).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.run(self.0.exists(key)).await
    }

    async fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        self.run(self.0.expires_in(key)).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        self.run(self.0.get_many(keys)).await
    }

    async fn set_many(&self, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        self.run(self.0.set_many(items)).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<DeleteManyOutcome> {
        self.run(self.0.delete_many(keys)).await
    }

    async fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.run(self.0.update_expiry(key, expiry)).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        self.run(self.0.list_page(prefix, cursor, limit)).await
    }

    async fn list_child_namespaces(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        self.run(self.0.list_child_namespaces(cursor, limit)).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.run(self.0.delete_prefix(prefix)).await
    }

    async fn delete_expired(&self) -> Result<u64> {
        self.run(self.0.delete_expired()).await
    }

    async fn flush(&self) -> Result<()> {
        self.run(self.0.flush()).await
    }

    async fn ping(&self) -> Result<()> {
        self.run(self.0.ping()).await
    }

    async fn close(&self) -> Result<()> {
        self.run(self.0.close()).await
    }
}

impl<S: NamespacedStore> NamespacedStore for Slow<S> {
    fn namespace(&self) -> &Namespace {
        self.0.namespace()
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        Ok(Arc::new(Slow(self.0.with_path(segments)?, Arc::clone(&self.1))))
    }
}

#[tokio::test]
async fn it_is_slow_and_yields_at_every_turn() {
    let harness = || async {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
        Fixture::namespaced(Slow(store, Arc::default())).with_clock(clock)
    };
    expect_ok(harness, &[Variant::Root]).await;
}
