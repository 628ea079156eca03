//! P2: pinned entries.

use std::time::Duration;

use larder_cache::{Cache, CacheError, Policy, Refusal};

use super::bench::{Bench, SECOND, act, end, expect};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

async fn lru(bench: &Bench<'_>, max: u64) -> Verdict<Cache<u32>> {
    Ok(bench.builder().policy(Policy::Lru { max }).build().await?.cache())
}

async fn is_pinned(cache: &Cache<u32>, key: &str) -> Verdict<bool> {
    let item = cache.get(key).await?;
    let item = item.ok_or_else(|| Stop::fail(format!("get({key:?}) gave nothing")))?;
    Ok(item.is_pinned())
}

fn expect_pinned(cache: &Cache<u32>, want: u64) -> Verdict {
    let pinned = cache.space().stats().pinned;
    ensure!(pinned == want, "{pinned} entries are counted as pinned instead of {want}");
    Ok(())
}

/// Reads an entry for the last time that it is pinned for.
async fn take(bench: &Bench<'_>, cache: &Cache<u32>, key: &str) -> Verdict<Option<u32>> {
    let item = act!(bench, cache.get_and_unpin(key).await)?;
    Ok(item.map(|item| item.value()).transpose()?)
}

pub(super) async fn one_stays_until_it_is_read_with_unpin(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = lru(&bench, 2).await?;
    act!(bench, cache.set("p", &7).pin().await)?;
    for number in 0..10 {
        act!(bench, cache.set(&number.to_string(), &number).await)?;
    }
    ensure!(is_pinned(&cache, "p").await?, "a plain get ended the pin");
    expect_pinned(&cache, 1)?;
    let got = take(&bench, &cache, "p").await?;
    ensure!(got == Some(7), "the unpinning read gave {got:?}");
    expect_pinned(&cache, 0)?;
    ensure!(!is_pinned(&cache, "p").await?, "the entry is pinned after the unpinning read");
    expect(&cache, "p", Some(7)).await?;
    act!(bench, cache.set("a", &1).await)?;
    act!(bench, cache.set("b", &1).await)?;
    expect(&cache, "p", None).await?;
    let got = take(&bench, &cache, "missing").await?;
    ensure!(got.is_none(), "the unpinning read of a missing key gave {got:?}");
    Ok(())
}

pub(super) async fn unpinning_is_one_step_with_the_read(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = lru(&bench, 1).await?;
    for round in 0..15 {
        t.part();
        act!(bench, cache.set("p", &round).pin().await)?;
        let readers: Vec<_> = (0..64)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let item = cache.get_and_unpin("p").await?;
                    item.map(|item| item.value()).transpose()
                })
            })
            .collect();
        let pusher = tokio::spawn({
            let cache = cache.clone();
            async move { cache.set("other", &0).await }
        });
        let mut got = 0;
        for reader in readers {
            let value = end(reader).await??;
            ensure!(value.is_none_or(|it| it == round), "a reader of {round} got {value:?}");
            got += usize::from(value.is_some());
        }
        end(pusher).await??;
        ensure!(got >= 1, "none of 64 readers got the pinned entry, pushed out at the same time");
        expect_pinned(&cache, 0)?;
        let entries = cache.space().stats().entries;
        ensure!(entries <= Some(1), "with a capacity of 1, {entries:?} entries are counted");
        act!(bench, cache.clear().await)?;
    }
    Ok(())
}

pub(super) async fn where_all_are_pinned_nothing_else_comes_in(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = lru(&bench, 2).await?;
    act!(bench, cache.set("a", &1).pin().await)?;
    act!(bench, cache.set("b", &1).pin().await)?;
    act!(bench, cache.set("c", &1).await)?;
    expect(&cache, "c", None).await?;
    let got = act!(bench, cache.get_or_set("d", 4_u32).await)?;
    ensure!(got == 4, "a load of 4 gave {got}");
    expect(&cache, "d", None).await?;
    let told = act!(bench, cache.set("e", &1).pin().await);
    let refused = matches!(told, Err(CacheError::Refused(Refusal::PinBudget { budget: 2 })));
    ensure!(refused, "a third pin, with a capacity of 2, gave {told:?}");
    for key in ["a", "b"] {
        expect(&cache, key, Some(1)).await?;
    }
    act!(bench, cache.set("a", &2).pin().await)?;
    expect(&cache, "a", Some(2)).await?;
    let stats = cache.space().stats();
    let counted = (stats.entries, stats.pinned, stats.not_admitted);
    ensure!(counted == (Some(2), 2, 3), "entries, pinned, not admitted: {counted:?}");
    Ok(())
}

pub(super) async fn setting_again_without_one_unpins(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = lru(&bench, 2).await?;
    act!(bench, cache.set("p", &1).pin().await)?;
    act!(bench, cache.set("p", &2).await)?;
    ensure!(!is_pinned(&cache, "p").await?, "an entry set again without a pin is pinned");
    expect_pinned(&cache, 0)?;
    act!(bench, cache.set("a", &1).await)?;
    act!(bench, cache.set("b", &1).await)?;
    expect(&cache, "p", None).await
}

pub(super) async fn deleting_and_clearing_always_win(t: &Trial) -> Verdict {
    let policies = [
        Policy::KeepAll,
        Policy::Lru { max: 3 },
        Policy::S3Fifo { max: 3 },
        Policy::Ttl { ttl: SECOND },
    ];
    for policy in policies {
        let bench = Bench::new(t);
        let space = bench.builder().policy(policy).build().await?;
        let cache = space.cache::<u32>();
        for how in ["delete", "remove", "clear", "prefix", "space", "zero"] {
            t.part();
            bench.note(&format!("{policy:?}"));
            act!(bench, cache.set("p", &1).pin().await)?;
            expect_pinned(&cache, 1)?;
            match how {
                "delete" => {
                    let got = act!(bench, cache.delete("p").await)?;
                    ensure!(got == Some(1), "deleting a pinned entry gave {got:?}");
                }
                "remove" => {
                    let all = act!(bench, cache.remove(["p"]).await)?;
                    ensure!(all, "removing a pinned entry gave false");
                }
                "clear" => act!(bench, cache.clear().await)?,
                "prefix" => {
                    act!(bench, cache.remove_starting_with("p").await)?;
                }
                "space" => act!(bench, space.clear(false).await)?,
                _ => act!(bench, cache.set("p", &1).ttl(Duration::ZERO).await)?,
            }
            expect(&cache, "p", None).await?;
            expect_pinned(&cache, 0)?;
        }
    }
    Ok(())
}

pub(super) async fn one_outlives_the_policys_expiry(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().policy(Policy::Ttl { ttl: SECOND * 10 }).build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.set("p", &1).pin().await)?;
    act!(bench, cache.set("q", &1).pin().await)?;
    act!(bench, cache.set("own", &1).pin().ttl(SECOND * 5).await)?;
    bench.advance(SECOND * 4).await;
    take(&bench, &cache, "q").await?;
    bench.advance(SECOND * 6).await;
    // Unpinned in time, `q` has its own time; and `own` was given its own by name.
    expect(&cache, "q", None).await?;
    expect(&cache, "own", None).await?;
    bench.advance(SECOND * 90).await;
    expect(&cache, "p", Some(1)).await?;
    let got = take(&bench, &cache, "p").await?;
    ensure!(got == Some(1), "the unpinning read gave {got:?}");
    expect(&cache, "p", Some(1)).await?;
    bench.advance(SECOND * 10).await;
    expect(&cache, "p", None).await
}

pub(super) async fn they_have_a_greatest_age(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let builder = bench.builder().policy(Policy::Lru { max: 2 }).pin_max_age(SECOND * 400);
    let space = builder.build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.set("p", &1).pin().await)?;
    bench.advance(SECOND * 399).await;
    ensure!(is_pinned(&cache, "p").await?, "a pin ended before its greatest age");
    bench.advance(SECOND).await;
    expect(&cache, "p", None).await?;
    expect_pinned(&cache, 0)?;
    act!(bench, cache.set("a", &1).await)?;
    act!(bench, cache.set("b", &1).await)?;
    expect(&cache, "a", Some(1)).await?;
    expect(&cache, "b", Some(1)).await?;
    let ended = space.stats().pins_expired;
    ensure!(ended == 1, "{ended} pins are counted that reached their greatest age");
    Ok(())
}

pub(super) async fn they_have_a_budget(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().pin_budget(2).pin_max_age(SECOND).build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.set("a", &1).pin().await)?;
    act!(bench, cache.with_scope("n").set("a", &1).pin().await)?;
    act!(bench, cache.set("a", &2).pin().await)?;
    let told = act!(bench, cache.set("b", &1).pin().await);
    let refused = matches!(told, Err(CacheError::Refused(Refusal::PinBudget { budget: 2 })));
    ensure!(refused, "a third pin, with a budget of 2, gave {told:?}");
    expect(&cache, "b", None).await?;
    act!(bench, cache.set("b", &1).await)?;
    take(&bench, &cache, "a").await?;
    act!(bench, cache.set("b", &1).pin().await)?;
    bench.advance(SECOND).await;
    act!(bench, cache.set("c", &1).pin().await)?;
    act!(bench, cache.set("d", &1).pin().await)?;
    expect_pinned(&cache, 2)
}

pub(super) async fn another_type_neither_sees_nor_ends_it(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = lru(&bench, 3).await?;
    act!(bench, cache.set("p", &1).pin().await)?;
    let texts = cache.space().cache::<String>();
    let item = act!(bench, texts.get_and_unpin("p").await)?;
    ensure!(item.is_none(), "a number was read as a text: {item:?}");
    expect_pinned(&cache, 1)
}
