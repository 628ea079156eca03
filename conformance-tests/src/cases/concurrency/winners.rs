use larder_core::{Condition, Result, SetItem, SetOptions, SetOutcome, Store, StoreExt};

use super::super::conditions::version;
use super::race;
use crate::trial::Trial;
use crate::verdict::{Verdict, ensure, expect_missing, expect_value, show_value};

/// The one winner of a race, by what each caller was told and by the value that is there.
pub(super) async fn expect_one_winner(t: &Trial, what: &str, key: &str, won: &[bool]) -> Verdict {
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

pub(in crate::cases) async fn one_creator_wins(t: &Trial) -> Verdict {
    for round in 0..8 {
        t.part();
        let key = format!("k{round}");
        let won = race(12, |caller| {
            let (store, key) = (t.store(), key.clone());
            async move {
                let value = format!("caller {caller}");
                if caller % 2 == 0 {
                    return Ok(store.set(&key, value).if_absent().await?.is_applied());
                }
                let absent = SetOptions::default().with_condition(Condition::Absent);
                let item = SetItem::new(&key, value).with_options(absent);
                let outcomes: Result<Vec<SetOutcome>> =
                    store.set_many(vec![item]).await?.into_iter().collect();
                Ok(outcomes?.into_iter().any(SetOutcome::is_applied))
            }
        })
        .await?;
        expect_one_winner(t, "creators", &key, &won).await?;
    }
    Ok(())
}

pub(in crate::cases) async fn one_successor_of_a_dead_holder_wins(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn one_match_wins(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn one_deleter_wins(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn increments_add_up(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn a_plain_set_is_never_lost_to_a_match(t: &Trial) -> Verdict {
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
