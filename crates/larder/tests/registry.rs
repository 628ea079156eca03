//! The store registry: names, aliases, lazily made stores, and closing them all.
#![cfg(feature = "memory")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use larder::memory::MemoryStore;
use larder::prelude::*;
use larder::{Result, async_trait, forward_store};
use tokio::sync::Semaphore;

/// A store that counts its closings, and fails the first few.
#[derive(Debug)]
struct Counting {
    inner: MemoryStore,
    closings: Arc<AtomicUsize>,
    failures: AtomicUsize,
    /// A permit for each closing.
    gate: Arc<Semaphore>,
}

impl Counting {
    fn make(failures: usize) -> (Arc<dyn NamespacedStore>, Arc<AtomicUsize>) {
        Self::gated(failures, Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)))
    }

    fn gated(
        failures: usize,
        gate: Arc<Semaphore>,
    ) -> (Arc<dyn NamespacedStore>, Arc<AtomicUsize>) {
        let closings = Arc::new(AtomicUsize::new(0));
        let store = Self {
            inner: MemoryStore::new(),
            closings: Arc::clone(&closings),
            failures: AtomicUsize::new(failures),
            gate,
        };
        (Arc::new(store), closings)
    }
}

#[async_trait]
impl Store for Counting {
    forward_store!(inner: get_opts, set_opts, delete_opts, delete_all, capabilities);

    async fn close(&self) -> Result<()> {
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        self.closings.fetch_add(1, SeqCst);
        if self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::new(ErrorKind::Unavailable, "not just now"));
        }
        self.inner.close().await
    }
}

impl NamespacedStore for Counting {
    fn namespace(&self) -> &Namespace {
        self.inner.namespace()
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        self.inner.with_path(segments)
    }
}

fn memory() -> Arc<dyn NamespacedStore> {
    Arc::new(MemoryStore::new())
}

#[tokio::test]
async fn a_name_is_taken_once_unless_replaced() {
    let registry = StoreRegistry::new();
    let (first, first_closings) = Counting::make(0);
    registry.register("a", first).unwrap();
    assert_eq!(registry.register("a", memory()).unwrap_err().kind(), ErrorKind::InvalidConfig);
    let second = memory();
    registry.replace("a", Arc::clone(&second)).unwrap();
    assert!(Arc::ptr_eq(&registry.get("a").await.unwrap(), &second));
    assert_eq!(first_closings.load(SeqCst), 0, "others may hold it");
    registry.close_all().await.unwrap();
    assert_eq!(first_closings.load(SeqCst), 1);
}

#[tokio::test]
async fn a_name_nobody_knows_is_not_found() {
    let registry = StoreRegistry::new();
    assert_eq!(registry.get("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(registry.alias("b", "a").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(registry.names().is_empty());
}

#[tokio::test]
async fn aliases_name_the_same_store_and_close_it_once() {
    let registry = StoreRegistry::new();
    let (store, closings) = Counting::make(0);
    registry.register("a", Arc::clone(&store)).unwrap();
    registry.register("same", Arc::clone(&store)).unwrap();
    registry.alias("b", "a").unwrap();
    registry.alias("c", "b").unwrap();
    for name in ["a", "b", "c", "same"] {
        assert!(Arc::ptr_eq(&registry.get(name).await.unwrap(), &store), "{name}");
    }
    for (alias, name) in [("a", "same"), ("b", "same"), ("a", "a"), ("a", "c")] {
        let error = registry.alias(alias, name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{alias} for {name}");
    }
    assert_eq!(registry.register("b", memory()).unwrap_err().kind(), ErrorKind::InvalidConfig);
    assert_eq!(registry.names(), ["a", "same"]);
    registry.close_all().await.unwrap();
    assert_eq!(closings.load(SeqCst), 1);
}

#[tokio::test]
async fn callers_at_once_get_one_store() {
    let made = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let (count, wait) = (Arc::clone(&made), Arc::clone(&gate));
    let registry = Arc::new(StoreRegistry::with_factory(move |_| {
        let (count, wait) = (Arc::clone(&count), Arc::clone(&wait));
        async move {
            let _permit = wait.acquire().await;
            count.fetch_add(1, SeqCst);
            Ok(memory())
        }
    }));
    registry.alias("b", "a").unwrap();
    let callers = ["a", "b", "a", "a"].map(|name| {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move { registry.get(name).await.unwrap() })
    });
    tokio::task::yield_now().await;
    gate.add_permits(100);
    let mut stores = Vec::new();
    for caller in callers {
        stores.push(caller.await.unwrap());
    }
    assert_eq!(made.load(SeqCst), 1);
    assert!(stores.iter().all(|store| Arc::ptr_eq(store, &stores[0])));
}

#[tokio::test]
async fn a_failure_to_make_a_store_is_not_kept() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let registry = StoreRegistry::with_factory(move |_| {
        let attempt = count.fetch_add(1, SeqCst);
        async move { if attempt == 0 { Err(ErrorKind::Unavailable.into()) } else { Ok(memory()) } }
    });
    assert_eq!(registry.get("a").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(registry.names().is_empty());
    assert!(registry.get("a").await.is_ok());
    assert!(registry.get("a").await.is_ok());
    assert_eq!(attempts.load(SeqCst), 2);
}

#[tokio::test]
async fn a_name_that_could_not_be_made_is_free() {
    let registry = StoreRegistry::with_factory(async |_| Err(ErrorKind::Unavailable.into()));
    assert!(registry.get("a").await.is_err());
    registry.register("a", memory()).unwrap();
    assert!(registry.get("a").await.is_ok());
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_making_to_the_next() {
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let registry = StoreRegistry::with_factory(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            let _permit = wait.acquire().await;
            Ok(memory())
        }
    });
    tokio::select! {
        biased;
        _ = registry.get("a") => panic!("it cannot be there yet"),
        () = tokio::task::yield_now() => {}
    }
    gate.add_permits(1);
    assert!(registry.get("a").await.is_ok());
}

#[tokio::test]
async fn close_all_closes_lazily_made_stores_and_the_root_they_are_below() {
    let root = memory();
    let registry = StoreRegistry::below(Arc::clone(&root));
    let made = registry.get("made").await.unwrap();
    made.set("k", "v").await.unwrap();
    registry.close_all().await.unwrap();
    assert_eq!(made.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(root.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(registry.get("made").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(registry.register("x", memory()).unwrap_err().kind(), ErrorKind::Closed);
    registry.close_all().await.unwrap();
}

#[tokio::test]
async fn close_all_waits_for_a_store_in_the_making_and_closes_it() {
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let (store, closings) = Counting::make(0);
    let registry = Arc::new(StoreRegistry::with_factory(move |_| {
        let (wait, store) = (Arc::clone(&wait), Arc::clone(&store));
        async move {
            let _permit = wait.acquire().await;
            Ok(store)
        }
    }));
    let getter = Arc::clone(&registry);
    let getter = tokio::spawn(async move { getter.get("a").await });
    tokio::task::yield_now().await;
    let closer = Arc::clone(&registry);
    let closer = tokio::spawn(async move { closer.close_all().await });
    tokio::task::yield_now().await;
    gate.add_permits(1);
    closer.await.unwrap().unwrap();
    getter.await.unwrap().unwrap();
    assert_eq!(closings.load(SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_be_closed_is_told_and_tried_again() {
    let registry = StoreRegistry::new();
    let (bad, bad_closings) = Counting::make(1);
    let (good, good_closings) = Counting::make(0);
    registry.register("bad", bad).unwrap();
    registry.register("good", good).unwrap();
    let error = registry.close_all().await.unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert_eq!(error.failures()[0].0, "bad");
    assert!(error.to_string().contains("\"bad\" was not closed: "), "{error}");
    registry.close_all().await.unwrap();
    assert_eq!((bad_closings.load(SeqCst), good_closings.load(SeqCst)), (2, 1));
}

#[tokio::test]
async fn who_closes_all_a_second_time_waits_for_the_first() {
    let gate = Arc::new(Semaphore::new(0));
    let (store, closings) = Counting::gated(0, Arc::clone(&gate));
    let registry = Arc::new(StoreRegistry::new());
    registry.register("a", Arc::clone(&store)).unwrap();
    let closers = [(); 2].map(|()| {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move { registry.close_all().await })
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(closers.iter().all(|closer| !closer.is_finished()));
    }
    let [first, second] = closers;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    second.await.unwrap().unwrap();
    assert_eq!(closings.load(SeqCst), 1);
    assert_eq!(store.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
}
