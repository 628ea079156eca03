use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use larder_core::{ExpiresIn, Expiry, GetOptions, Result, SetItem, Store, StoreExt};

use super::calls::every_call;
use super::values::{at_most, pattern};
use crate::random::Random;
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_value, joined, show_found};

/// The most polls after which a call is dropped; none of a test needs as many.
const MOST_POLLS: usize = 40;

/// Polls a future so many times, each time when it was woken, and drops it where it then waits.
struct DropAfter<F> {
    future: Option<Pin<Box<F>>>,
    polls: usize,
}

impl<F: Future> Future for DropAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls > 0 {
            self.polls -= 1;
            if let Some(future) = &mut self.future
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                return Poll::Ready(Some(output));
            }
        }
        if self.polls > 0 {
            return Poll::Pending;
        }
        self.future = None;
        Poll::Ready(None)
    }
}

/// What a future gave within so many polls; otherwise it was dropped.
pub(super) async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    DropAfter { future: Some(Box::pin(future)), polls }.await
}

/// What is seen of a key at one moment.
async fn look(store: &dyn Store, key: &str) -> Verdict<Option<(Vec<u8>, ExpiresIn)>> {
    let entry = store.get_opts(key, GetOptions::default().with_expires_in(true)).await?;
    Ok(entry.map(|entry| (entry.value.to_vec(), entry.expires_in.unwrap_or(ExpiresIn::Never))))
}

/// Looks at a key a few times, as a dropped call may take effect a little later.
///
/// `is_new` tells the old state (false) from the new one (true), and fails for anything else.
async fn old_or_new(
    store: &dyn Store,
    key: &str,
    is_new: impl Fn(&Option<(Vec<u8>, ExpiresIn)>) -> Verdict<bool>,
) -> Verdict {
    let mut before = false;
    for _ in 0..4 {
        let new = is_new(&look(store, key).await?)?;
        ensure!(new || !before, "a dropped call took effect and was undone again");
        before = new;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn mixture(seen: Option<&(Vec<u8>, ExpiresIn)>) -> Stop {
    let shown = seen.map_or("nothing".to_owned(), |(value, left)| {
        format!("{} with {left:?}", show_found(Some(value)))
    });
    Stop::fail(format!(
        "after a dropped call there is neither the old nor the new state, but {shown}"
    ))
}

/// Sees that a key can be used after calls on it were dropped. As many of those as were `deletions`
/// may still take effect, each once, even on what is set after it.
async fn still_works(store: &dyn Store, key: &str, deletions: usize) -> Verdict {
    store.get(key).await?;
    for late in 0..=deletions {
        store.set(key, "after").await?;
        if store.exists(key).await? {
            break;
        }
        ensure!(late < deletions, "exists({key:?}) gave false after a set");
    }
    store.delete(key).await?;
    Ok(())
}

pub(super) async fn a_dropped_set_is_whole_or_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    let len = at_most(t.capabilities(), 300_000);
    let (old, new) = (pattern(len, 1), pattern(len / 2, 2));
    for polls in 0..MOST_POLLS {
        t.part();
        let key = format!("k{polls}");
        store.set(&key, &old).ttl(LONG).await?;
        t.trace().note(format!("the next call is dropped after {polls} polls"));
        let done = drop_after(polls, store.set(&key, &new).into_future()).await;
        let is_new = |seen: &Option<(Vec<u8>, ExpiresIn)>| match seen {
            Some((value, ExpiresIn::In(_))) if *value == old && done.is_none() => Ok(false),
            Some((value, ExpiresIn::Never)) if *value == new => Ok(true),
            other => Err(mixture(other.as_ref())),
        };
        t.collect(old_or_new(&store, &key, is_new).await)?;
        t.collect(still_works(&store, &key, 0).await)?;
        if done.transpose()?.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

pub(super) async fn a_dropped_delete_is_whole_or_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    let old = pattern(at_most(t.capabilities(), 100_000), 3);
    for polls in 0..MOST_POLLS {
        t.part();
        let key = format!("k{polls}");
        store.set(&key, &old).ttl(LONG).await?;
        t.trace().note(format!("the next call is dropped after {polls} polls"));
        let done = drop_after(polls, store.delete(&key).into_future()).await;
        let is_new = |seen: &Option<(Vec<u8>, ExpiresIn)>| match seen {
            Some((value, ExpiresIn::In(_))) if *value == old && done.is_none() => Ok(false),
            None => Ok(true),
            other => Err(mixture(other.as_ref())),
        };
        t.collect(old_or_new(&store, &key, is_new).await)?;
        t.collect(still_works(&store, &key, 1).await)?;
        if done.transpose()?.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

pub(super) async fn a_dropped_renewal_is_whole_or_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    let old = pattern(at_most(t.capabilities(), 100_000), 4);
    for by_update in [false, true] {
        for polls in 0..MOST_POLLS {
            t.part();
            let key = format!("k{by_update}{polls}");
            store.set(&key, &old).ttl(LONG).await?;
            t.trace().note(format!("the next call is dropped after {polls} polls"));
            let done = if by_update {
                let update = store.update_expiry(&key, Expiry::After(4 * LONG));
                drop_after(polls, update).await.transpose()?.is_some()
            } else {
                let options = GetOptions::default().with_renew_for(4 * LONG);
                drop_after(polls, store.get_opts(&key, options)).await.transpose()?.is_some()
            };
            let is_new = |seen: &Option<(Vec<u8>, ExpiresIn)>| match seen {
                Some((value, ExpiresIn::In(left))) if *value == old => {
                    if *left > 3 * LONG {
                        Ok(true)
                    } else if done {
                        Err(Stop::fail("a renewal that was not dropped did not renew"))
                    } else {
                        Ok(false)
                    }
                }
                other => Err(mixture(other.as_ref())),
            };
            t.collect(old_or_new(&store, &key, is_new).await)?;
            t.collect(still_works(&store, &key, 0).await)?;
            if done {
                break;
            }
        }
    }
    Ok(())
}

pub(super) async fn a_dropped_batch_leaves_whole_keys(t: &Trial) -> Verdict {
    let store = t.store();
    for polls in 0..MOST_POLLS {
        t.part();
        let keys: Vec<String> = (0..20).map(|index| format!("{polls} {index}")).collect();
        let items = |value: &str| {
            keys.iter().map(|key| SetItem::new(key, value.as_bytes())).collect::<Vec<_>>()
        };
        let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
        for outcome in store.set_many(items("old")).await? {
            outcome?;
        }
        t.trace().note(format!("the next call is dropped after {polls} polls"));
        let set = drop_after(polls, store.set_many(items("new"))).await;
        for value in store.get_many(&refs).await? {
            let value = value?;
            let whole = match value.as_deref() {
                Some(b"old") => set.is_none(),
                Some(b"new") => true,
                _ => false,
            };
            ensure!(
                whole,
                "after a dropped set_many a key has {} instead of \"old\" or \"new\"",
                show_found(value.as_deref())
            );
        }
        t.trace().note(format!("the next call is dropped after {polls} polls"));
        let delete = drop_after(polls, store.delete_many(&refs)).await;
        for value in store.get_many(&refs).await? {
            let value = value?;
            ensure!(
                matches!(value.as_deref(), None | Some(b"old" | b"new")),
                "after a dropped delete_many a key has {}",
                show_found(value.as_deref())
            );
        }
        still_works(&store, &keys[0], 1).await?;
        if set.is_some() && delete.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

pub(super) async fn a_dropped_clearing_harms_nothing_else(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let outside = tree.with_path(&["outside"])?;
    outside.set("k", "v").await?;
    for polls in 0..MOST_POLLS {
        t.part();
        let name = format!("inside {polls}");
        let inside = tree.with_path(&[&name])?;
        let keys: Vec<String> = (0..30).map(|index| format!("k{index}")).collect();
        for (index, key) in keys.iter().enumerate() {
            let expiry = if index % 2 == 0 { Expiry::After(LONG) } else { Expiry::Never };
            inside.set(key, "v").expiry(expiry).await?;
        }
        t.trace().note(format!("the next call is dropped after {polls} polls"));
        let done = drop_after(polls, inside.delete_all()).await;
        for (index, key) in keys.iter().enumerate() {
            let mortal = index % 2 == 0;
            let seen = look(&inside, key).await?;
            let whole = match &seen {
                None => true,
                Some((value, left)) => {
                    done.is_none() && value == b"v" && mortal == (*left != ExpiresIn::Never)
                }
            };
            if !whole {
                return Err(mixture(seen.as_ref()));
            }
        }
        expect_value(&outside, "k", b"v").await?;
        inside.delete_all().await?;
        for key in &keys {
            ensure!(!inside.exists(key).await?, "a second delete_all left {key:?}");
        }
        still_works(&inside, "k0", 1).await?;
        if done.transpose()?.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

pub(super) async fn a_dropped_reader_harms_nobody(t: &Trial) -> Verdict {
    let store = t.store();
    let value = pattern(at_most(t.capabilities(), 300_000), 5);
    store.set("k", &value).ttl(LONG).await?;
    let has = t.capabilities();
    for polls in 0..MOST_POLLS {
        t.part();
        let mut all = drop_after(polls, store.get("k").into_future()).await.transpose()?.is_some();
        all &= drop_after(polls, store.exists("k")).await.transpose()?.is_some();
        all &= drop_after(polls, store.get_many(&["k", "l"])).await.transpose()?.is_some();
        all &= drop_after(polls, store.ping()).await.transpose()?.is_some();
        all &= drop_after(polls, store.flush()).await.transpose()?.is_some();
        if has.list {
            all &= drop_after(polls, store.list_page("", None, 10)).await.transpose()?.is_some();
            let prefix = drop_after(polls, store.delete_prefix("none")).await;
            all &= prefix.transpose()?.is_some();
        }
        if has.purge {
            all &= drop_after(polls, store.delete_expired()).await.transpose()?.is_some();
        }
        let seen = look(&store, "k").await?;
        ensure!(
            matches!(&seen, Some((found, ExpiresIn::In(_))) if *found == value),
            "after dropped reads, get(\"k\") gave {}",
            show_found(seen.as_ref().map(|(found, _)| &found[..]))
        );
        store.set("l", "v").await?;
        store.delete("l").await?;
        if all {
            return Ok(());
        }
    }
    Ok(())
}

/// More than the places of any pool, connections of any client, or permits of any semaphore that a
/// store may have.
const MANY_DROPPED: usize = 300;

pub(super) async fn dropped_calls_use_nothing_up(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").ttl(LONG).await?;
    for kind in 0..every_call(&store, t).len() {
        t.part();
        let one = || every_call(&store, t).swap_remove(kind);
        let name = one().0;
        t.trace().note(format!("{MANY_DROPPED} calls of {name} are dropped after one poll"));
        for _ in 0..MANY_DROPPED {
            drop_after(1, one().1).await.transpose()?;
        }
        // Once more, and to its end.
        one().1.await?;
        if name == "delete_all" {
            // What was dropped may still take effect, even on what comes after it.
            store.set("m", "after").await?;
            store.get("m").await?;
        } else {
            still_works(&store, "m", 0).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_dropped_increment_counts_once_or_not(t: &Trial) -> Verdict {
    let store = t.store();
    let mut random = Random::new(7);
    let (mut done, mut dropped) = (0_i64, 0_i64);
    for _ in 0..60 {
        match drop_after(random.below(6), store.increment("n", 1)).await {
            Some(sum) => {
                sum?;
                done += 1;
            }
            None => dropped += 1,
        }
    }
    // One more, which is not dropped, shows the sum.
    let sum = store.increment("n", 0).await?;
    ensure!(
        (done..=done + dropped).contains(&sum),
        "{done} increments that ended and {dropped} that were dropped add up to {sum}"
    );
    Ok(())
}

pub(super) async fn other_callers_are_unharmed(t: &Trial) -> Verdict {
    for round in 0..4_u64 {
        t.part();
        let tasks: Vec<_> = (0..12_usize)
            .map(|caller| {
                let store = t.store();
                let mut random = Random::new(round * 100 + caller as u64);
                tokio::spawn(async move {
                    let (own, hot) = (format!("own {caller}"), "hot");
                    for step in 0..10 {
                        if caller % 2 == 0 {
                            // These callers give up in the middle.
                            let polls = random.below(5);
                            drop_after(polls, store.set(hot, format!("{step}")).into_future())
                                .await;
                            drop_after(polls, store.set(&own, "dropped").into_future()).await;
                            drop_after(polls, store.delete(hot).into_future()).await;
                        } else {
                            store.set(hot, format!("{step}")).await?;
                            store.set(&own, format!("{step}")).await?;
                            let found = store.get(&own).await?;
                            if found.as_deref() != Some(step.to_string().as_bytes()) {
                                return Ok(Some((own, step, found)));
                            }
                        }
                    }
                    Result::<_>::Ok(None)
                })
            })
            .collect();
        for task in tasks {
            if let Some((key, step, found)) = joined(task.await)?? {
                return Err(Stop::fail(format!(
                    "while other callers dropped their calls, get({key:?}) gave {} after a set of \
                     \"{step}\" by its only writer",
                    show_found(found.as_deref())
                )));
            }
        }
    }
    let store = t.store();
    // Half of the callers dropped as many deletions of it as they took steps.
    still_works(&store, "hot", 4 * 6 * 10).await
}

pub(super) async fn dropped_calls_leave_nothing_behind(t: &Trial) -> Verdict {
    let store = t.store();
    let value = pattern(at_most(t.capabilities(), 300_000), 6);
    store.set("k", &value).await?;
    let before = t.litter().await?;
    for polls in 0..MOST_POLLS {
        let key = format!("k{polls}");
        let done = drop_after(polls, store.set("k", &value).into_future()).await;
        drop_after(polls, store.set(&key, &value).into_future()).await;
        drop_after(polls, store.delete(&key).into_future()).await;
        if done.is_some() {
            break;
        }
    }
    super::errors::expect_no_litter(t, &before).await?;
    expect_value(&store, "k", &value).await
}

pub(super) async fn a_dropped_close_can_be_repeated(t: &Trial) -> Verdict {
    for polls in 0..MOST_POLLS {
        t.part();
        let another = t.another("").await?;
        let store = another.store();
        store.set("k", "v").await?;
        let done = drop_after(polls, store.close()).await;
        let again = store.close().await;
        let refused = store.get("k").await;
        another.leave().await;
        again?;
        let call = "get after a close that was dropped and repeated";
        crate::verdict::expect_kind(call, refused, larder_core::ErrorKind::Closed)?;
        if done.is_some() {
            return Ok(());
        }
    }
    Ok(())
}
