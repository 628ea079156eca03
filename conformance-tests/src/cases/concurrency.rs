use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use larder_core::{ExpiresIn, Expiry, GetOptions, Result, SetItem, SetOptions, Store, StoreExt};

use super::conditions::version;
use super::expiry::joined;
use super::listing::all_keys;
use super::values::at_most;
use crate::random::Random;
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_missing, expect_value, show_found, show_value};

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

/// The one winner of a race, by what each caller was told and by the value that is there.
async fn expect_one_winner(t: &Trial, what: &str, key: &str, won: &[bool]) -> Verdict {
    let winners: Vec<usize> = (0..won.len()).filter(|caller| won[*caller]).collect();
    ensure!(
        winners.len() == 1,
        "of {} {what}, {} were told that they won",
        won.len(),
        winners.len()
    );
    let store = t.store();
    expect_value(&store, key, format!("caller {}", winners[0]).as_bytes()).await
}

pub(super) async fn one_creator_wins(t: &Trial) -> Verdict {
    for round in 0..8 {
        t.part();
        let key = format!("k{round}");
        let won = race(12, |caller| {
            let (store, key) = (t.store(), key.clone());
            async move {
                let value = format!("caller {caller}");
                Ok(store.set(&key, value).if_absent().await?.is_applied())
            }
        })
        .await?;
        expect_one_winner(t, "creators", &key, &won).await?;
    }
    Ok(())
}

pub(super) async fn one_successor_of_a_dead_holder_wins(t: &Trial) -> Verdict {
    let store = t.store();
    let keys: Vec<String> = (0..5).map(|round| format!("k{round}")).collect();
    for key in &keys {
        store.set(key, "dead").ttl(t.tick()).await?;
    }
    t.outlive(t.tick()).await;
    if !t.exact_time() {
        t.outlive(t.tick()).await;
    }
    for key in &keys {
        let won = race(12, |caller| {
            let (store, key) = (t.store(), key.clone());
            async move {
                let value = format!("caller {caller}");
                Ok(store.set(&key, value).if_absent().await?.is_applied())
            }
        })
        .await?;
        expect_one_winner(t, "creators over an expired holder", key, &won).await?;
    }
    Ok(())
}

pub(super) async fn one_match_wins(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..8 {
        t.part();
        store.set("k", format!("round {round}")).await?;
        let held = version(&store, "k").await?;
        let won = race(12, |caller| {
            let (store, held) = (t.store(), held.clone());
            async move {
                let value = format!("caller {caller}");
                Ok(store.set("k", value).if_matches(held).await?.is_applied())
            }
        })
        .await?;
        expect_one_winner(t, "sets that match the same version", "k", &won).await?;
    }
    Ok(())
}

pub(super) async fn one_deleter_wins(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..12 {
        t.part();
        store.set("k", "v").await?;
        let won = race(8, |caller| {
            let store = t.store();
            async move {
                if caller % 2 == 0 {
                    store.delete("k").await
                } else {
                    Ok(store.delete_many(&["k", "other"]).await?.existed == 1)
                }
            }
        })
        .await?;
        let winners = won.iter().filter(|won| **won).count();
        ensure!(
            winners == 1,
            "in round {round}, of 8 deletions of one live key, {winners} were told that it was live"
        );
        expect_missing(&store, "k").await?;
    }
    Ok(())
}

pub(super) async fn increments_add_up(t: &Trial) -> Verdict {
    let sums = race(6, |_| {
        let store = t.store();
        async move {
            let mut sums = Vec::new();
            for _ in 0..15 {
                sums.push(store.increment("n", 1).await?);
            }
            Ok(sums)
        }
    })
    .await?;
    let mut all: Vec<i64> = sums.into_iter().flatten().collect();
    all.sort_unstable();
    let want: Vec<i64> = (1..=90).collect();
    ensure!(all == want, "90 increments by one gave the sums {all:?}");
    expect_value(&t.store(), "n", b"90").await
}

pub(super) async fn a_plain_set_is_never_lost_to_a_match(t: &Trial) -> Verdict {
    // A plain set between a read and a conditional set makes the latter lose, so that the last
    // plain set or something made from it stands.
    for round in 0..10 {
        t.part();
        t.store().set("k", "start").await?;
        race(4, |caller| {
            let store = t.store();
            async move {
                if caller == 0 {
                    store.set("k", "plain").await?;
                    return Ok(());
                }
                for _ in 0..5 {
                    store
                        .update("k", |old| {
                            let old = old.unwrap_or_default();
                            Some([&old[..], b"+"].concat())
                        })
                        .await?;
                }
                Ok(())
            }
        })
        .await?;
        let found = t.store().get("k").await?.unwrap_or_default();
        ensure!(
            found.starts_with(b"plain"),
            "in round {round}, a plain set was undone by updates: get(\"k\") gave {}",
            show_value(&found)
        );
    }
    Ok(())
}

pub(super) async fn clearing_during_sets_fails_neither(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..5 {
        t.part();
        let staying: Vec<String> = (0..30).map(|index| format!("there {index}")).collect();
        for key in &staying {
            store.set(key, "throughout").ttl(LONG).await?;
        }
        race(5, |caller| {
            let store = t.store();
            async move {
                if caller == 0 {
                    return store.delete_all().await;
                }
                for index in 0..15 {
                    let key = format!("{caller} {index}");
                    store.set(&key, key.clone()).await?;
                    store.set("hot", format!("by {caller}")).await?;
                }
                Ok(())
            }
        })
        .await?;
        for key in &staying {
            t.collect_about(&[key, "delete_all"], expect_missing(&store, key).await)?;
        }
        for caller in 1..5 {
            for index in 0..15 {
                let key = format!("{caller} {index}");
                let found = store.get(&key).await?;
                let whole = found.as_deref().is_none_or(|found| found == key.as_bytes());
                ensure!(
                    whole,
                    "in round {round}, get({key:?}) gave {}",
                    show_found(found.as_deref())
                );
                // There or gone, by every method.
                let exists = store.exists(&key).await?;
                ensure!(
                    exists == found.is_some(),
                    "get({key:?}) gave {}, yet exists gave {exists}",
                    show_found(found.as_deref())
                );
            }
        }
        store.delete_all().await?;
    }
    Ok(())
}

pub(super) async fn clearing_spares_what_comes_after(t: &Trial) -> Verdict {
    let store = t.store();
    for _ in 0..10 {
        t.part();
        for index in 0..20 {
            store.set(&format!("k{index}"), "old").await?;
        }
        store.delete_all().await?;
        for index in 0..20 {
            store.set(&format!("k{index}"), "new").await?;
        }
        // Whatever the clearing still does must not reach these.
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for index in 0..20 {
                let key = format!("k{index}");
                t.collect_about(&[&key, "delete_all"], expect_value(&store, &key, b"new").await)?;
            }
        }
    }
    Ok(())
}

pub(super) async fn two_may_clear_at_once(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let store = t.store();
    for index in 0..60 {
        store.set(&format!("k{index}"), "v").await?;
        tree.with_path(&["a", &index.to_string()])?.set("k", "v").await?;
    }
    race(6, |caller| {
        let tree = Arc::clone(&tree);
        async move {
            match caller % 3 {
                0 => tree.delete_all().await,
                1 => tree.with_path(&["a"])?.delete_all().await,
                _ => match tree.delete_expired().await {
                    Err(error) if error.kind() == larder_core::ErrorKind::Unsupported => Ok(()),
                    removed => removed.map(drop),
                },
            }
        }
    })
    .await?;
    for index in 0..60 {
        expect_missing(&tree, &format!("k{index}")).await?;
        expect_missing(&tree.with_path(&["a", &index.to_string()])?, "k").await?;
    }
    Ok(())
}

pub(super) async fn a_listing_under_way_disturbs_nobody(t: &Trial) -> Verdict {
    let store = t.store();
    let staying: Vec<String> = (0..60).map(|index| format!("there {index}")).collect();
    let items = staying.iter().map(|key| SetItem::new(key, "v")).collect();
    for outcome in store.set_many(items).await? {
        outcome?;
    }
    let done = Arc::new(AtomicBool::new(false));
    let lister = tokio::spawn({
        let (store, done, staying) = (t.store(), Arc::clone(&done), staying.clone());
        async move {
            let mut pages = 1;
            while !done.load(Ordering::SeqCst) {
                let listed = all_keys(&store, "", pages % 9 + 1).await?;
                if let Some(key) = staying.iter().find(|key| !listed.contains(key)) {
                    return Err(Stop::fail(format!(
                        "a listing during other changes leaves out {key:?}, which was there \
                         throughout"
                    )));
                }
                pages += 1;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    });
    race(3, |caller| {
        let store = t.store();
        async move {
            for step in 0..40 {
                let key = format!("passing {caller} {}", step % 7);
                store.set(&key, "v").await?;
                store.set(&format!("there {}", step % 60), "again").await?;
                store.delete(&key).await?;
            }
            Ok(())
        }
    })
    .await?;
    done.store(true, Ordering::SeqCst);
    joined(lister.await)?
}

pub(super) async fn a_renewal_never_undoes_a_set(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..30 {
        t.part();
        store.set("k", "old").ttl(LONG).await?;
        race(3, |caller| {
            let store = t.store();
            async move {
                match caller {
                    0 => store.set("k", "new").await.map(drop),
                    1 => store.get("k").renew_for(2 * LONG).await.map(drop),
                    _ => store.get("k").renew_for(3 * LONG).await.map(drop),
                }
            }
        })
        .await?;
        let entry = store.get_opts("k", GetOptions::default().with_expires_in(true)).await?;
        let state = entry.as_ref().map(|entry| (&entry.value[..], entry.expires_in));
        ensure!(
            state == Some((b"new", Some(ExpiresIn::Never))),
            "in round {round}, after a set of \"new\" without expiry and renewals of \"old\" at the \
             same time, there is {}",
            entry.map_or("nothing".to_owned(), |entry| format!(
                "{} with {:?}",
                show_value(&entry.value),
                entry.expires_in
            ))
        );
    }
    Ok(())
}

pub(super) async fn a_renewal_never_undoes_a_delete(t: &Trial) -> Verdict {
    let store = t.store();
    for _ in 0..30 {
        t.part();
        store.set("k", "v").ttl(LONG).await?;
        race(4, |caller| {
            let store = t.store();
            async move {
                match caller {
                    0 => store.delete("k").await.map(drop),
                    1 => store.update_expiry("k", Expiry::After(3 * LONG)).await.map(drop),
                    2 => store.get("k").renew_for(Duration::ZERO).await.map(drop),
                    _ => store.get("k").renew_for(2 * LONG).await.map(drop),
                }
            }
        })
        .await?;
        expect_missing(&store, "k").await?;
    }
    Ok(())
}

pub(super) async fn keeping_the_expiry_keeps_the_last_one(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..20 {
        t.part();
        store.set("k", "old").ttl(LONG).await?;
        race(3, |caller| {
            let store = t.store();
            async move {
                match caller {
                    0 => store.set("k", "eternal").await.map(drop),
                    _ => store.set("k", "kept").keep_ttl().await.map(drop),
                }
            }
        })
        .await?;
        // Whichever came last: after the plain set, there was no expiry left to keep.
        let left = store.expires_in("k").await?;
        ensure!(
            left == ExpiresIn::Never,
            "in round {round}, a set that keeps the expiry brought back one that a plain set had \
             cleared: {left:?}"
        );
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
