//! What holds among many callers at once (`S4`, `N4`, `E6`, `C1`, `C3`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use larder_core::{
    Bytes, Condition, GetOptions, ManualClock, NamespacedStore, Result, SetItem, SetOptions, Store,
    StoreExt, Version,
};
use larder_memory::MemoryStore;
use tokio::runtime::Builder;

/// Runs a future on a runtime of this thread's own.
fn wait<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().unwrap().block_on(future)
}

fn key(number: usize) -> String {
    format!("key{number}")
}

#[test]
fn one_of_many_creators_wins() {
    let store = MemoryStore::new();
    for round in 0..50 {
        let wins = AtomicU64::new(0);
        thread::scope(|scope| {
            for caller in 0..8 {
                let (store, wins) = (&store, &wins);
                scope.spawn(move || {
                    let key = key(round);
                    let set = store.set(&key, format!("{caller}")).if_absent().into_future();
                    if wait(set).unwrap().is_applied() {
                        wins.fetch_add(1, SeqCst);
                    }
                });
            }
        });
        assert_eq!(wins.load(SeqCst), 1);
    }
}

#[test]
fn no_increment_is_lost() {
    let store = MemoryStore::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                wait(async {
                    for _ in 0..500 {
                        store.increment("n", 1).await.unwrap();
                    }
                });
            });
        }
    });
    assert_eq!(wait(store.get("n").into_future()).unwrap().unwrap(), "2000");
}

#[test]
fn a_reader_never_sees_parts_of_two_values() {
    let store = MemoryStore::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2_u8 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                wait(async {
                    // Around the length up to which a value lies beside its key.
                    for round in 0..5_000_u16 {
                        let len = 500 + usize::from(round % 25);
                        let byte = b'a' + 2 * u8::try_from(round % 10).unwrap() + writer;
                        store.set("k", vec![byte; len]).await.unwrap();
                    }
                    done.store(true, SeqCst);
                });
            });
        }
        scope.spawn(|| {
            wait(async {
                while !done.load(SeqCst) {
                    if let Some(value) = store.get("k").await.unwrap() {
                        assert!(value.iter().all(|byte| *byte == value[0]), "{value:?}");
                    }
                }
            });
        });
    });
}

#[test]
fn keys_set_before_a_namespace_is_split_are_found_while_and_after() {
    let store = MemoryStore::new();
    let set = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            wait(async {
                for number in 0..5_000 {
                    store.set(&key(number), "v").await.unwrap();
                    set.store(number as u64 + 1, SeqCst);
                }
            });
        });
        scope.spawn(|| {
            wait(async {
                let mut seen = 0;
                while seen < 5_000 {
                    seen = usize::try_from(set.load(SeqCst)).unwrap();
                    for number in (0..seen).step_by(97) {
                        assert!(store.exists(&key(number)).await.unwrap(), "{number} of {seen}");
                    }
                }
            });
        });
    });
}

/// Every key that is there throughout is listed exactly once, whatever else comes and goes, splits
/// and shrinks.
#[test]
fn a_listing_gives_what_is_there_throughout_once() {
    let store = MemoryStore::new();
    let stay: HashSet<String> = (0..700).map(|number| format!("stay{number}")).collect();
    wait(async {
        for key in &stay {
            store.set(key, "v").await.unwrap();
        }
    });
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            wait(async {
                for _ in 0..6 {
                    for number in 0..3_000 {
                        store.set(&key(number), "v").await.unwrap();
                    }
                    store.delete_prefix("key").await.unwrap();
                }
                done.store(true, SeqCst);
            });
        });
        scope.spawn(|| {
            wait(async {
                while !done.load(SeqCst) {
                    let (mut listed, mut cursor) = (Vec::new(), None);
                    loop {
                        let page = store.list_page("stay", cursor.as_ref(), 50).await.unwrap();
                        listed.extend(page.keys);
                        cursor = page.next;
                        if cursor.is_none() {
                            break;
                        }
                    }
                    assert_eq!(listed.len(), stay.len());
                    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), stay);
                }
            });
        });
    });
}

/// `N4`: clearing while others write fails nobody, takes all that was there throughout, and what is
/// set afterwards stays.
#[test]
fn clearing_while_others_set() {
    let store = MemoryStore::new();
    let child = store.with_path(&["a", "b"]).unwrap();
    for _ in 0..20 {
        wait(async {
            for number in 0..1_500 {
                store.set(&key(number), "old").await.unwrap();
                child.set(&key(number), "old").await.unwrap();
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| wait(store.delete_all()).unwrap());
            for writer in 0..2 {
                let (store, child) = (&store, &child);
                scope.spawn(move || {
                    wait(async {
                        for number in 0..300 {
                            let key = format!("new{writer}.{number}");
                            store.set(&key, "new").await.unwrap();
                            child.set(&key, "new").await.unwrap();
                            let value = store.get(&key).await.unwrap();
                            assert!(value.is_none_or(|value| value == "new"));
                        }
                    });
                });
            }
        });
        wait(async {
            for number in 0..1_500 {
                assert!(!store.exists(&key(number)).await.unwrap());
                assert!(!child.exists(&key(number)).await.unwrap());
            }
            store.set("after", "v").await.unwrap();
            assert!(store.exists("after").await.unwrap());
        });
    }
}

/// `E6`: a purge removes what it found expired, and never what was written in its place.
#[test]
fn purging_never_takes_a_fresh_value() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let done = AtomicBool::new(false);
    let second = Duration::from_secs(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            wait(async {
                while !done.load(SeqCst) {
                    clock.advance(second);
                    store.delete_expired().await.unwrap();
                }
            });
        });
        scope.spawn(|| {
            wait(async {
                for round in 0..20_000 {
                    let key = key(round % 10);
                    // It dies at once, or never.
                    store.set(&key, "dying").ttl(second).await.unwrap();
                    store.set(&key, "fresh").await.unwrap();
                    assert_eq!(store.get(&key).await.unwrap().unwrap(), "fresh");
                }
                done.store(true, SeqCst);
            });
        });
    });
}

/// `E4`: a renewal never brings back what was deleted, nor undoes a set.
#[test]
fn renewing_while_others_set_and_delete() {
    let store = MemoryStore::new();
    let done = AtomicBool::new(false);
    let (short, long) = (Duration::from_secs(1_000), Duration::from_secs(9_000));
    thread::scope(|scope| {
        scope.spawn(|| {
            wait(async {
                while !done.load(SeqCst) {
                    store.get("k").renew_for(long).await.unwrap();
                }
            });
        });
        scope.spawn(|| {
            wait(async {
                for round in 0..10_000 {
                    let value = format!("{round}");
                    store.set("k", value.clone()).ttl(short).await.unwrap();
                    assert_eq!(store.get("k").await.unwrap().unwrap(), value);
                    assert!(store.delete("k").await.unwrap());
                    assert!(!store.exists("k").await.unwrap());
                }
                done.store(true, SeqCst);
            });
        });
    });
}

/// A version too long to be compared under the lock is compared with one value and applied to that
/// one alone.
#[test]
fn one_of_many_replaces_a_large_value() {
    let store = MemoryStore::new();
    let large = |byte: u8| Bytes::from(vec![byte; 3 << 20]);
    for _ in 0..5 {
        wait(store.set("k", large(0)).into_future()).unwrap();
        let wins = AtomicU64::new(0);
        thread::scope(|scope| {
            for caller in 1..4 {
                let (store, wins) = (&store, &wins);
                scope.spawn(move || {
                    let condition = Condition::Matches(Version::new(large(0)));
                    let options = SetOptions::default().with_condition(condition);
                    if wait(store.set_opts("k", large(caller), options)).unwrap().is_applied() {
                        wins.fetch_add(u64::from(caller), SeqCst);
                    }
                });
            }
        });
        let entry = wait(store.get_opts("k", GetOptions::default())).unwrap().unwrap();
        assert_eq!(u64::from(entry.value[0]), wins.load(SeqCst));
        assert!((1..4).contains(&wins.load(SeqCst)));
    }
}

/// Handles that come and go while a namespace empties and fills never see another one.
#[test]
fn namespaces_come_and_go() {
    let store = MemoryStore::new();
    thread::scope(|scope| {
        for caller in 0..3 {
            let store = &store;
            scope.spawn(move || {
                wait(async {
                    for round in 0..2_000 {
                        let handle = store.with_path(&["a", "b"]).unwrap();
                        let key = format!("{caller}.{round}");
                        handle.set(&key, "v").await.unwrap();
                        drop(handle);
                        let handle = store.with_path(&["a", "b"]).unwrap();
                        assert!(handle.delete(&key).await.unwrap(), "{key} was lost");
                    }
                });
            });
        }
        scope.spawn(|| {
            wait(async {
                for _ in 0..500 {
                    store.delete_expired().await.unwrap();
                    store.list_child_namespaces(None, 10).await.unwrap();
                }
            });
        });
    });
    let page = wait(store.list_child_namespaces(None, 10)).unwrap();
    assert!(page.segments.is_empty());
}

/// `S7`: after `close` has returned nothing succeeds, and nothing is left.
#[test]
fn closing_while_others_set() -> Result<()> {
    for _ in 0..20 {
        let store = MemoryStore::new();
        let child = store.with_namespace("a")?;
        let closed = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    wait(async {
                        for number in 0.. {
                            let after = closed.load(SeqCst);
                            let key = key(number);
                            let items = vec![SetItem::new(&key, "v")];
                            let one = child.set(&key, "v").await.is_ok();
                            let many = child.set_many(items).await.is_ok();
                            assert!(!after || !(one || many));
                            if after {
                                break;
                            }
                        }
                    });
                });
            }
            scope.spawn(|| {
                wait(store.close()).unwrap();
                closed.store(true, SeqCst);
            });
        });
    }
    Ok(())
}

#[test]
fn handles_go_between_threads() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<MemoryStore>();
    check::<Arc<dyn NamespacedStore>>();
}
