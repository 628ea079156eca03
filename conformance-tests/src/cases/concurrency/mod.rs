//! Many callers at once on the same keys.

mod clearing;
mod renewals;
mod winners;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;
use larder_core::{Result, SetOptions, Store, StoreExt};

use super::values::at_most;
use crate::random::Random;
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure, expect_value, joined, show_found, show_value};
use winners::expect_one_winner;

pub(super) use clearing::{
    a_listing_under_way_disturbs_nobody, clearing_during_sets_fails_neither,
    clearing_spares_what_comes_after, two_may_clear_at_once,
};
pub(super) use renewals::{
    a_renewal_never_undoes_a_delete, a_renewal_never_undoes_a_set,
    keeping_the_expiry_keeps_the_last_one,
};
pub(super) use winners::{
    a_plain_set_is_never_lost_to_a_match, increments_add_up, one_creator_wins, one_deleter_wins,
    one_match_wins, one_successor_of_a_dead_holder_wins,
};

/// Makes each race begin in another order.
static RACES: AtomicU64 = AtomicU64::new(0);

/// Runs `callers` tasks at once, in any order, and gathers what they give.
async fn race<T, F>(callers: usize, task: impl Fn(usize) -> F) -> Verdict<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(callers));
    let mut random = Random::new(RACES.fetch_add(1, Ordering::Relaxed));
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (start, task, turns) = (Arc::clone(&start), task(caller), random.below(3));
            tokio::spawn(async move {
                start.wait().await;
                // The one that comes last to the barrier would always be the first to go on.
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                task.await
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(joined(task.await)??);
    }
    Ok(all)
}

pub(super) async fn no_value_is_torn(t: &Trial) -> Verdict {
    let store = t.store();
    // The length of a value tells its one byte.
    let most = at_most(t.capabilities(), 200_000);
    let lens: Arc<[usize]> = [1, 100, 4_096, 70_000, 200_000].map(|len| len.min(most)).into();
    store.set("k", vec![0; lens[0]]).await?;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (store, done, lens) = (t.store(), Arc::clone(&done), Arc::clone(&lens));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let Some(value) = store.get("k").await? else {
                        return Ok(Some("get(\"k\") gave nothing between two sets".to_owned()));
                    };
                    let first = value.first().copied().unwrap_or_default();
                    let whole = lens.get(usize::from(first)) == Some(&value.len())
                        && value.iter().all(|byte| *byte == first);
                    if !whole {
                        return Ok(Some(format!(
                            "get(\"k\") gave {} that nobody set: parts of several values",
                            show_value(&value)
                        )));
                    }
                    tokio::task::yield_now().await;
                }
                Result::<Option<String>>::Ok(None)
            })
        })
        .collect();
    race(3, |caller| {
        let (store, lens) = (t.store(), Arc::clone(&lens));
        async move {
            for step in 0..20 {
                let index = (caller + step) % lens.len();
                let byte = u8::try_from(index).unwrap_or_default();
                store.set("k", vec![byte; lens[index]]).await?;
            }
            Ok(())
        }
    })
    .await?;
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        if let Some(seen) = joined(reader.await)?? {
            return Err(Stop::fail(seen));
        }
    }
    Ok(())
}

pub(super) async fn a_write_is_seen_by_every_task(t: &Trial) -> Verdict {
    for step in 0..40 {
        let value = step.to_string();
        t.store().set("k", &value).await?;
        let seen = race(4, |_| {
            let store = t.store();
            async move { store.get("k").await }
        })
        .await?;
        for found in seen {
            ensure!(
                found.as_deref() == Some(value.as_bytes()),
                "after set(\"k\", {value:?}) another task's get(\"k\") gave {}",
                show_found(found.as_deref())
            );
        }
    }
    Ok(())
}

pub(super) async fn two_handles_agree(t: &Trial) -> Verdict {
    let second = t.second_handle().await?;
    let handle =
        |caller: usize| if caller.is_multiple_of(2) { t.store() } else { second.store.clone() };
    let conditions = t.capabilities().conditions;
    for round in 0..5 {
        t.part();
        let key = format!("k{round}");
        if conditions {
            let won = race(8, |caller| {
                let (store, key) = (handle(caller), key.clone());
                async move {
                    let value = format!("caller {caller}");
                    Ok(store.set(&key, value).if_absent().await?.is_applied())
                }
            })
            .await?;
            expect_one_winner(t, "creators through two handles", &key, &won).await?;
        }
        t.store().set(&key, "v").await?;
        let won = race(8, |caller| {
            let (store, key) = (handle(caller), key.clone());
            async move { store.delete(&key).await }
        })
        .await?;
        let winners = won.iter().filter(|won| **won).count();
        ensure!(winners == 1, "of 8 deletions through two handles, {winners} found it live");
    }
    if conditions {
        race(4, |caller| {
            let store = handle(caller);
            async move {
                for _ in 0..10 {
                    store.increment("n", 1).await?;
                }
                Ok(())
            }
        })
        .await?;
        expect_value(&t.store(), "n", b"40").await?;
    }
    second.root.close().await?;
    Ok(())
}

pub(super) async fn calls_of_one_task_take_turns(t: &Trial) -> Verdict {
    // All futures are polled by one task: a store that waits for another call while it holds up the
    // thread, or keeps a lock across an await, would never end.
    let store = t.store();
    let sets = (0..40).map(|index| {
        let store = &store;
        async move {
            let key = format!("k{}", index % 4);
            store.set(&key, format!("{index}")).await?;
            store.get(&key).await?;
            store.set_opts("hot", "v".into(), SetOptions::default()).await?;
            store.delete(&key).await?;
            if index % 10 == 0 {
                store.delete_all().await?;
            }
            Result::<()>::Ok(())
        }
    });
    for result in join_all(sets).await {
        result?;
    }
    store.set("k", "v").await?;
    expect_value(&store, "k", b"v").await
}
