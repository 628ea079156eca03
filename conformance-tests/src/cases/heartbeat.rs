use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use larder_core::{GetOptions, NamespacedStore, SetItem, SetOptions, Store, StoreExt};
use tokio::time::Instant;

use super::calls::every_call;
use super::values::{at_most, pattern};
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict};

/// How long a call may keep the thread that polls it from everything else (`S6`).
const LIMIT: Duration = Duration::from_millis(10);
/// How often a call is tried before it counts as blocking: whatever else delays a thread does so at
/// random; a call that blocks does so each time.
const ATTEMPTS: usize = 12;
const LARGE: usize = 8 << 20;

/// The time for which the thread has waited for a processor, where the system tells; a machine under
/// load keeps a thread waiting, and that is not the store's doing.
#[derive(Clone, Copy)]
struct Stopwatch {
    started: Instant,
    waited: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Self { started: Instant::now(), waited: waited() }
    }

    /// How long the thread has computed, slept or waited for anything but a processor.
    fn elapsed(self) -> Duration {
        self.started.elapsed().saturating_sub(waited().saturating_sub(self.waited))
    }
}

fn waited() -> Duration {
    // Nanoseconds on a processor, nanoseconds waiting for one, number of turns.
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Measures the longest poll of a future: for so long, nothing else ran on the thread.
struct Timed<F> {
    future: Pin<Box<F>>,
    longest: Duration,
}

impl<F: Future> Future for Timed<F> {
    type Output = (F::Output, Duration);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let watch = Stopwatch::start();
        let output = self.future.as_mut().poll(context);
        self.longest = self.longest.max(watch.elapsed());
        output.map(|output| (output, self.longest))
    }
}

/// How long a poll may take on this machine: as promised, or ten times what copying 8 MiB takes,
/// which no store can do without.
fn limit() -> Duration {
    let source = pattern(LARGE, 1);
    let copied = (0..3)
        .map(|_| {
            let watch = Stopwatch::start();
            let copy = source.clone();
            std::hint::black_box(&copy);
            watch.elapsed()
        })
        .min();
    LIMIT.max(copied.unwrap_or_default() * 10)
}

/// Sees that at least one of several attempts blocks the thread for no longer than the limit.
macro_rules! expect_prompt {
    ($limit:expr, $call:expr, $attempt:expr) => {{
        let mut shortest = Duration::MAX;
        for _ in 0..ATTEMPTS {
            let timed = Timed { future: Box::pin($attempt), longest: Duration::ZERO };
            let (output, longest) = timed.await;
            output?;
            shortest = shortest.min(longest);
            if shortest <= $limit {
                break;
            }
        }
        if shortest <= $limit {
            Ok(())
        } else {
            Err(Stop::fail(format!(
                "{} kept the thread for at least {shortest:?} at a time in each of {ATTEMPTS} \
                 attempts, where {:?} are allowed",
                $call, $limit
            )))
        }
    }};
}

pub(super) async fn large_values_block_no_thread(t: &Trial) -> Verdict {
    let store = t.store();
    let limit = limit();
    let value = larder_core::Bytes::from(pattern(at_most(t.capabilities(), LARGE), 2));
    let set = "set of 8 MiB";
    t.collect(expect_prompt!(limit, set, store.set("k", value.clone()).into_future()))?;
    t.collect(expect_prompt!(limit, "get of 8 MiB", store.get("k").into_future()))?;
    t.collect(expect_prompt!(limit, "exists of 8 MiB", store.exists("k")))?;
    t.collect(expect_prompt!(limit, "get_many of 8 MiB", store.get_many(&["k", "l"])))?;
    let items = || vec![SetItem::new("k", value.clone()), SetItem::new("l", value.clone())];
    t.collect(expect_prompt!(limit, "set_many of twice 8 MiB", store.set_many(items())))?;
    let options = SetOptions::default().with_expiry(LONG);
    let mortal = "set of 8 MiB with an expiry";
    t.collect(expect_prompt!(limit, mortal, store.set_opts("k", value.clone(), options.clone())))?;
    let has = t.capabilities();
    if has.renew {
        let renew = GetOptions::default().with_renew_for(2 * LONG);
        let call = "get of 8 MiB with a renewal";
        t.collect(expect_prompt!(limit, call, store.get_opts("k", renew.clone())))?;
    }
    if has.conditions {
        let options = GetOptions::default().with_version(true);
        let call = "get of 8 MiB with its version";
        t.collect(expect_prompt!(limit, call, store.get_opts("k", options.clone())))?;
        let held = super::conditions::version(&store, "k").await?;
        let call = "set of 8 MiB if its version matches";
        let attempt = || store.set("k", value.clone()).if_matches(held.clone()).into_future();
        t.collect(expect_prompt!(limit, call, attempt()))?;
    }
    t.collect(expect_prompt!(limit, "delete of 8 MiB", store.delete("k").into_future()))
}

pub(super) async fn no_small_call_blocks_a_thread(t: &Trial) -> Verdict {
    let store = t.store();
    let limit = limit();
    store.set("k", "v").ttl(LONG).await?;
    for kind in 0..every_call(&store, t).len() {
        t.part();
        let call = || every_call(&store, t).swap_remove(kind);
        t.collect(expect_prompt!(limit, call().0, call().1))?;
    }
    Ok(())
}

pub(super) async fn closing_blocks_no_thread(t: &Trial) -> Verdict {
    let limit = limit();
    let mut longest = Duration::ZERO;
    for _ in 0..ATTEMPTS {
        t.part();
        let another = t.another("a store to close: ").await?;
        let store = another.store();
        let timed = async {
            let keys: Vec<String> = (0..1_000).map(|index| format!("key {index}")).collect();
            for chunk in keys.chunks(500) {
                let items = chunk.iter().map(|key| SetItem::new(key, "v")).collect();
                for outcome in store.set_many(items).await? {
                    outcome?;
                }
            }
            let timed = Timed { future: Box::pin(store.close()), longest: Duration::ZERO };
            let (output, longest) = timed.await;
            output?;
            Verdict::Ok(longest)
        };
        let timed = timed.await;
        another.leave().await;
        longest = timed?;
        if longest <= limit {
            return Ok(());
        }
    }
    Err(blocked("close after 1,000 sets", longest, limit))
}

pub(super) async fn many_keys_block_no_thread(t: &Trial) -> Verdict {
    let store = t.store();
    let limit = limit();
    let keys: Vec<String> = (0..2_000).map(|index| format!("key {index}")).collect();
    let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
    let has = t.capabilities();
    let fill = async |expiry: larder_core::Expiry| {
        for chunk in refs.chunks(500) {
            let options = SetOptions::default().with_expiry(expiry);
            let items =
                chunk.iter().map(|key| SetItem::new(key, "v").with_options(options.clone()));
            for outcome in store.set_many(items.collect()).await? {
                outcome?;
            }
        }
        Verdict::Ok(())
    };
    fill(larder_core::Expiry::Never).await?;
    t.part();
    let set_all = || {
        let items = refs.iter().map(|key| SetItem::new(key, "v")).collect();
        store.set_many(items)
    };
    t.collect(expect_prompt!(limit, "set_many of 2,000 keys", set_all()))?;
    t.collect(expect_prompt!(limit, "get_many of 2,000 keys", store.get_many(&refs)))?;
    if has.list {
        let call = "list_page of 2,000 keys";
        t.collect(expect_prompt!(limit, call, store.list_page("", None, 2_000)))?;
        let call = "delete_prefix among 2,000 keys";
        t.collect(expect_prompt!(limit, call, store.delete_prefix("none")))?;
    }
    let flush = async || {
        fill(larder_core::Expiry::Never).await?;
        Verdict::Ok(store.flush().await?)
    };
    t.collect(expect_prompt!(limit, "flush of 2,000 keys", flush()))?;
    let delete_many = async || {
        fill(larder_core::Expiry::Never).await?;
        Verdict::Ok(store.delete_many(&refs).await.map(drop)?)
    };
    t.collect(expect_prompt!(limit, "delete_many of 2,000 keys", delete_many()))?;
    if let Ok(tree) = t.tree()
        && tree.capabilities().list
    {
        for index in 0..300 {
            tree.with_namespace(&format!("child {index}"))?.set("k", "v").await?;
        }
        let call = "list_child_namespaces of 300 children";
        t.collect(expect_prompt!(limit, call, tree.list_child_namespaces(None, 300)))?;
        tree.delete_all().await?;
        fill(larder_core::Expiry::Never).await?;
    }
    if has.purge {
        fill(larder_core::Expiry::After(t.tick())).await?;
        t.outlive(t.tick()).await;
        let call = "delete_expired of 2,000 keys";
        // The first attempt has the most to do, so that a slow one is a good reason for another try.
        for attempt in 0..ATTEMPTS {
            let timed = Timed { future: Box::pin(store.delete_expired()), longest: Duration::ZERO };
            let (output, longest) = timed.await;
            output?;
            if longest <= limit {
                break;
            }
            if attempt + 1 == ATTEMPTS {
                t.collect(Err(blocked(call, longest, limit)))?;
            }
            fill(larder_core::Expiry::After(t.tick())).await?;
            t.outlive(t.tick()).await;
        }
    }
    for attempt in 0..ATTEMPTS {
        fill(larder_core::Expiry::Never).await?;
        let timed = Timed { future: Box::pin(store.delete_all()), longest: Duration::ZERO };
        let (output, longest) = timed.await;
        output?;
        if longest <= limit {
            break;
        }
        if attempt + 1 == ATTEMPTS {
            return Err(blocked("delete_all of 2,000 keys", longest, limit));
        }
    }
    Ok(())
}

fn blocked(call: &str, longest: Duration, limit: Duration) -> Stop {
    Stop::fail(format!(
        "{call} kept the thread for {longest:?} at a time in the last of {ATTEMPTS} attempts that \
         were all too slow, where {limit:?} are allowed"
    ))
}
