//! P4: what a space counts and tells.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Oops, SECOND, builder, memory};
use larder_cache::Policy;

#[tokio::test]
async fn everything_is_counted_once() {
    let (store, clock) = memory();
    let space = builder(store, &clock).policy(Policy::Lru { max: 2 }).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.get_value("k").await.unwrap();
    cache.set("k", &1).pin().await.unwrap();
    cache.get("k").await.unwrap();
    cache.get_value("k").await.unwrap();
    cache.get_or_set("k", 2_u32).await.unwrap();
    cache.get_or_set("l", 2_u32).await.unwrap();
    let failing = async |_| Err::<u32, _>(Oops(1));
    cache.get_or_try_set_with("m", failing).await.unwrap_err();
    cache.set("n", &1).ttl(SECOND).await.unwrap();
    clock.advance(SECOND);
    cache.set("o", &1).await.unwrap();
    let stats = space.stats();
    assert_eq!((stats.hits, stats.misses), (3, 3));
    assert_eq!((stats.loads, stats.load_failures), (2, 1));
    assert_eq!((stats.evicted_by_capacity, stats.evicted_by_expiry), (1, 1));
    assert_eq!((stats.entries, stats.weight, stats.pinned), (Some(2), Some(2), 1));
    let (unbounded, _) = common::space().await;
    assert_eq!((unbounded.stats().entries, unbounded.stats().weight), (None, None));
}

#[tokio::test(start_paused = true)]
async fn within_the_grace_a_fresh_value_is_a_miss_and_a_stale_one_a_stale_hit() {
    let (store, clock) = memory();
    let grace = builder(store, &clock).default_ttl(SECOND).grace(SECOND * 100);
    let space = grace.soft_timeout(SECOND).build().await.unwrap();
    let cache = space.cache::<u32>();
    cache.set("k", &1).await.unwrap();
    clock.advance(SECOND);
    let late = async |_| {
        tokio::time::sleep(SECOND * 2).await;
        2
    };
    assert_eq!(cache.get_or_set_with("k", late).await.unwrap(), 1);
    tokio::time::sleep(SECOND * 2).await;
    clock.advance(SECOND);
    assert_eq!(cache.get_or_set("k", 3).await.unwrap(), 3);
    assert_eq!(cache.get_or_set("k", 4).await.unwrap(), 3);
    let stats = space.stats();
    assert_eq!((stats.hits, stats.misses, stats.stale_hits), (1, 1, 1));
}

#[cfg(feature = "metrics")]
mod metrics_facade {
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<(String, u64)>>>);

    struct One(Heard, String);

    impl CounterFn for One {
        fn increment(&self, value: u64) {
            self.0.0.lock().unwrap().push((self.1.clone(), value));
        }
        fn absolute(&self, _: u64) {}
    }

    impl Recorder for Heard {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            assert_eq!(key.labels().count(), 0);
            Counter::from_arc(Arc::new(One(self.clone(), key.name().to_owned())))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn counters_are_told_to_the_facade() {
        let heard = Heard::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        metrics::with_local_recorder(&heard, || {
            runtime.block_on(async {
                let (cache, _) = super::common::numbers().await;
                cache.set("secret", &1).await.unwrap();
                cache.get("secret").await.unwrap();
            });
        });
        let heard = heard.0.lock().unwrap();
        assert_eq!(*heard, [("larder_cache_hits_total".to_owned(), 1)]);
    }
}

#[cfg(feature = "tracing")]
mod tracing_events {
    use std::fmt::{Debug, Write};
    use std::sync::{Arc, Mutex};

    use larder_core::StoreExt;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};
    use tracing_core::span::Current;

    /// Writes down what is told, and which span each event is in.
    #[derive(Clone, Default)]
    struct Heard {
        lines: Arc<Mutex<Vec<String>>>,
        inside: Arc<Mutex<u32>>,
        made: Arc<Mutex<Option<&'static Metadata<'static>>>>,
    }

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Heard {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn current_span(&self) -> Current {
            match *self.made.lock().unwrap() {
                Some(metadata) if *self.inside.lock().unwrap() > 0 => {
                    Current::new(Id::from_u64(1), metadata)
                }
                _ => Current::none(),
            }
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            *self.made.lock().unwrap() = Some(span.metadata());
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut line = Line(format!("in {}:", self.inside.lock().unwrap()));
            event.record(&mut line);
            self.lines.lock().unwrap().push(line.0);
        }
        fn enter(&self, _: &Id) {
            *self.inside.lock().unwrap() += 1;
        }
        fn exit(&self, _: &Id) {
            *self.inside.lock().unwrap() -= 1;
        }
    }

    #[test]
    fn events_have_no_keys_or_values_and_loads_run_in_the_callers_span() {
        use tracing::Instrument;
        let heard = Heard::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        tracing::subscriber::with_default(heard.clone(), || {
            let work = async {
                let (store, clock) = super::memory();
                let space = super::builder(store.clone(), &clock).build().await.unwrap();
                let cache = space.cache::<String>();
                let below = store.with_namespace("g").unwrap();
                below.set("secret-key", "secret-value").await.unwrap();
                let loader = async |_| {
                    tracing::info!("loading");
                    Err::<String, _>(super::Oops(1))
                };
                cache.get_or_try_set_with("secret-key", loader).await.unwrap_err();
            };
            runtime.block_on(work.instrument(tracing::info_span!("request")));
        });
        let lines = heard.lines.lock().unwrap();
        assert!(lines.iter().any(|line| line.contains("cannot be decoded")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("load failed")), "{lines:?}");
        assert!(lines.iter().any(|line| line == "in 1: message=loading"), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:?}");
    }
}
