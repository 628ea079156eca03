//! F2, S5: a change whose caller is gone overtakes a load as any other does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use common::{Gate, SECOND, builder, faulty, load, memory, settle, until};
use larder_core::testing::{Call, Fault};
use larder_core::{
    Bytes, DeleteOptions, Expiry, Namespace, NamespacedStore, Result, SetOptions, SetOutcome,
    Store, async_trait, forward_store,
};

#[tokio::test]
async fn one_whose_caller_panics_is_carried_through() {
    for winner in ["set", "delete"] {
        let (store, clock) = faulty();
        let space = builder(store.clone(), &clock).build().await.unwrap();
        let cache = space.cache::<u32>();
        let gate = Gate::new();
        let loading = load(&cache, "k", &gate, 1);
        gate.reached(1).await;
        store.plan(Call::Set, 1, Fault::Hang);
        store.plan(Call::Delete, 1, Fault::Hang);
        let caller = tokio::spawn({
            let (cache, store) = (cache.clone(), store.clone());
            async move {
                let changing = async {
                    match winner {
                        "set" => cache.set("k", &2).await.unwrap(),
                        _ => drop(cache.delete("k").await.unwrap()),
                    }
                };
                let panicking = async {
                    store.hanging(1).await;
                    panic!("planned")
                };
                tokio::join!(changing, panicking)
            }
        });
        assert!(caller.await.unwrap_err().is_panic());
        gate.open(1);
        settle().await;
        assert!(
            !loading.is_finished(),
            "{winner}: the key is guarded until the store has answered"
        );
        store.heal();
        store.release();
        loading.await.unwrap().unwrap();
        until(|| space.stats().active_keys == 0).await;
        let left = cache.get_value("k").await.unwrap();
        assert_eq!(left, (winner == "set").then_some(2), "{winner}");
    }
}

#[tokio::test]
async fn one_that_the_store_has_made_and_whose_runtime_is_gone_still_wins() {
    for winner in ["set", "delete", "promise", "expiry"] {
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (store, clock) = memory();
        let store = Arc::new(Unheard::new(store));
        let space = builder(store.clone(), &clock).build().await.unwrap();
        let cache = space.cache::<u32>();
        cache.set("k", &7).ttl(SECOND).await.unwrap();
        clock.advance(SECOND);
        let gate = Gate::new();
        let loading = load(&cache, "k", &gate, 1);
        gate.reached(1).await;
        store.set_silent(true);
        let changing = other.spawn({
            let cache = cache.clone();
            async move {
                match winner {
                    "set" => cache.set("k", &2).await.unwrap(),
                    "delete" => drop(cache.delete("k").await.unwrap()),
                    "promise" => cache.set_pending("k").await.unwrap().detach(),
                    _ => drop(cache.update_expiry("k", Expiry::After(SECOND)).await.unwrap()),
                }
            }
        });
        // A runtime can neither be run in a task nor dropped there.
        std::thread::spawn(move || other.block_on(settle())).join().unwrap();
        assert!(changing.await.unwrap_err().is_cancelled(), "{winner}");
        store.set_silent(false);
        gate.open(1);
        assert_eq!(loading.await.unwrap().unwrap(), 1, "{winner}");
        until(|| space.stats().active_keys == 0).await;
        let left = cache.get_value("k").await.unwrap();
        let expected = match winner {
            "set" => Some(2),
            "expiry" => Some(7),
            _ => None,
        };
        assert_eq!(left, expected, "{winner}");
    }
}

/// A store that does as it is told, and answers no change when it is told not to.
#[derive(Debug)]
struct Unheard {
    inner: Arc<dyn NamespacedStore>,
    silent: Arc<AtomicBool>,
}

impl Unheard {
    fn new(inner: Arc<dyn NamespacedStore>) -> Self {
        Self { inner, silent: Arc::default() }
    }

    fn set_silent(&self, silent: bool) {
        self.silent.store(silent, SeqCst);
    }

    async fn answer(&self) {
        if self.silent.load(SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Unheard {
    forward_store!(inner: get_opts, delete_all, capabilities, exists, expires_in, get_many, set_many,
        delete_many, update_expiry, list_page, list_child_namespaces, delete_prefix, delete_expired,
        flush, ping, close);

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let outcome = self.inner.set_opts(key, value, options).await;
        self.answer().await;
        outcome
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        let outcome = self.inner.delete_opts(key, options).await;
        self.answer().await;
        outcome
    }
}

impl NamespacedStore for Unheard {
    fn namespace(&self) -> &Namespace {
        self.inner.namespace()
    }

    fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
        let inner = self.inner.with_path(segments)?;
        Ok(Arc::new(Self { inner, silent: Arc::clone(&self.silent) }))
    }
}
