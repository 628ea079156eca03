//! Deadlines: when a key dies, who sees it, and what moves the moment.

mod overwrites;
mod purges;
mod renewals;

use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{
    Capabilities, Condition, Deadline, DeleteOptions, ExpiresIn, Expiry, GetOptions, SetItem,
    SetOptions, Store, StoreExt, Version,
};
use tokio::time::Instant;

use super::listing::all_keys;
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_missing, expect_value};

pub(super) use overwrites::{
    an_overwrite_clears_the_expiry, keep_keeps_the_remaining_life, the_last_expiry_counts,
    the_present_moment_is_past, zero_in_bulk_removes_at_once, zero_removes_at_once,
};
pub(super) use purges::{
    a_purge_covers_descendants_and_nothing_else, a_purge_removes_only_what_has_expired,
    a_purge_spares_a_key_with_a_new_life, a_purge_spares_fresh_writes, reading_spares_fresh_writes,
};
pub(super) use renewals::{
    a_key_about_to_die_is_renewed, a_renewal_moves_the_deadline, a_renewal_needs_an_expiry,
    a_renewal_never_revives, renewing_for_zero_takes_the_value, the_longest_renewals_saturate,
    the_whole_renewal_counts, update_expiry_changes_only_the_expiry,
    update_expiry_into_the_past_removes,
};

const NANOSECOND: Duration = Duration::from_nanos(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How much less than a long life may remain on a slow machine.
const SLACK: Duration = Duration::from_secs(3600);

/// Sees that `key` lives for about `want`: not a nanosecond or granule longer, and shorter only by
/// what a slow machine may take. With a clock that stands still it is exact to the granule.
async fn expect_about(t: &Trial, store: &dyn Store, key: &str, want: Duration) -> Verdict {
    let left = store.expires_in(key).await?;
    about(t, &format!("expires_in({key:?})"), left, want)
}

fn about(t: &Trial, call: &str, left: ExpiresIn, want: Duration) -> Verdict {
    let slack = if t.exact_time() { Duration::ZERO } else { SLACK };
    let most = want.saturating_add(t.capabilities().expiry_granularity);
    let ExpiresIn::In(found) = left else {
        return Err(Stop::fail(format!("{call} gave {left:?} instead of In({want:?})")));
    };
    ensure!(
        found >= want.saturating_sub(slack) && found <= most,
        "{call} gave In({found:?}) instead of In({want:?})"
    );
    Ok(())
}

fn renew(duration: Duration) -> GetOptions {
    GetOptions::default().with_renew_for(duration).with_expires_in(true)
}

pub(super) async fn dies_at_its_deadline(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 2;
    let since = Instant::now();
    store.set("k", "v").ttl(ttl).await?;
    t.expect_life(&store, "k", b"v", ttl, since).await
}

pub(super) async fn dies_at_the_moment_given(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 3;
    let later = |span: Duration| t.now() + TimeDelta::from_std(span).unwrap_or_default();
    store.set("k", "v").expires_at(later(ttl)).await?;
    store.set("far", "w").expires_at(later(LONG)).await?;
    expect_about(t, &store, "far", LONG).await?;
    if t.exact_time() {
        t.expect_life(&store, "k", b"v", ttl, Instant::now()).await?;
    } else {
        // A server's clock may differ from this machine's; that it ends at all is what can be seen.
        t.outlive(ttl).await;
        t.expect_gone(&store, "k").await?;
    }
    expect_value(&store, "far", b"w").await
}

/// A store full of keys that die together, one for each operation that has to agree on it.
async fn mortal(t: &Trial, ttl: Duration) -> Verdict<Vec<(String, Option<Version>)>> {
    let store = t.store();
    let conditions = t.capabilities().conditions;
    let mut all = Vec::new();
    for index in 0..14 {
        let key = format!("k{index:02}");
        store.set(&key, "v").ttl(ttl).await?;
        let options = GetOptions::default().with_version(conditions);
        let version = store.get_opts(&key, options).await?.and_then(|entry| entry.version);
        all.push((key, version));
    }
    Ok(all)
}

/// Sees that every operation answers as it must for keys that are all live, or all gone.
async fn agree(t: &Trial, keys: &[(String, Option<Version>)], live: bool) -> Verdict {
    let store = t.store();
    let has: Capabilities = t.capabilities();
    let mut answers: Vec<(&str, bool)> = Vec::new();
    let key = |index: usize| keys[index].0.as_str();
    answers.push(("get", store.get(key(0)).await?.is_some()));
    answers.push(("exists", store.exists(key(1)).await?));
    answers.push(("expires_in", store.expires_in(key(2)).await? != ExpiresIn::Missing));
    let many = store.get_many(&[key(3)]).await?.pop();
    let found = many.transpose()?.flatten();
    answers.push(("get_many", found.is_some()));
    if has.list {
        let listed = all_keys(&store, "k", 5).await?.iter().any(|listed| listed == key(4));
        answers.push(("list_page", listed));
    }
    answers.push(("delete", store.delete(key(5)).await?));
    answers.push(("delete_many", store.delete_many(&[key(6)]).await?.existed == 1));
    if has.renew {
        answers.push(("get with renewal", store.get(key(7)).renew_for(LONG).await?.is_some()));
        answers.push(("update_expiry", store.update_expiry(key(8), Expiry::Never).await?));
    }
    if has.list {
        answers.push(("delete_prefix", store.delete_prefix(key(9)).await? == 1));
    }
    if has.conditions {
        let present = store.set(key(10), "w").if_present().await?.is_applied();
        answers.push(("set if present", present));
        let absent = store.set(key(11), "w").if_absent().await?.is_applied();
        answers.push(("set if absent", !absent));
        let version = keys[12].1.clone().unwrap_or_else(|| Version::new("none"));
        let matches = store.set(key(12), "w").if_matches(version).await?.is_applied();
        answers.push(("set if its version matches", matches));
        let present = DeleteOptions::default().with_condition(Condition::Present);
        answers.push(("delete if present", store.delete_opts(key(13), present).await?));
    }
    let wrong: Vec<&str> =
        answers.iter().filter(|(_, said)| *said != live).map(|(operation, _)| *operation).collect();
    let (said, is) = if live { ("gone", "live") } else { ("live", "gone") };
    ensure!(wrong.is_empty(), "a key that is {is} counts as {said} for: {}", wrong.join(", "));
    Ok(())
}

pub(super) async fn every_operation_sees_the_same_death(t: &Trial) -> Verdict {
    let ttl = t.tick() * 2;
    let keys = mortal(t, ttl).await?;
    t.outlive(ttl).await;
    if !t.exact_time() {
        // The death itself, after which all have to agree, may be a little late on a server.
        t.expect_gone(&t.store(), &keys[0].0).await?;
        t.outlive(Duration::ZERO).await;
    }
    agree(t, &keys, false).await
}

pub(super) async fn every_operation_sees_the_last_instant(t: &Trial) -> Verdict {
    let ttl = t.tick() * 2;
    let keys = mortal(t, ttl).await?;
    t.advance(ttl.saturating_sub(NANOSECOND)).await;
    agree(t, &keys, true).await
}

pub(super) async fn fractions_round_up_and_never_down(t: &Trial) -> Verdict {
    let store = t.store();
    let has = t.capabilities();
    let granule = has.expiry_granularity;
    let lives = [
        NANOSECOND,
        Duration::from_nanos(1_500),
        Duration::from_micros(999) + NANOSECOND,
        Duration::from_millis(1) + NANOSECOND,
        Duration::from_micros(1_999),
        Duration::from_millis(499),
        Duration::from_millis(1_500),
        granule + granule / 2,
        granule + NANOSECOND,
    ];
    for ttl in lives {
        t.part();
        t.align().await;
        store.set("k", "v").ttl(ttl).await?;
        let verdict = async {
            t.advance(ttl.saturating_sub(NANOSECOND)).await;
            expect_value(&store, "k", b"v").await?;
            t.advance(granule + NANOSECOND).await;
            expect_missing(&store, "k").await?;
            // A batch has no arithmetic of its own.
            t.align().await;
            let item = SetItem::new("k", "w").with_options(SetOptions::default().with_expiry(ttl));
            for outcome in store.set_many(vec![item]).await? {
                outcome?;
            }
            t.advance(ttl.saturating_sub(NANOSECOND)).await;
            expect_value(&store, "k", b"w").await?;
            t.advance(granule + NANOSECOND).await;
            expect_missing(&store, "k").await
        };
        t.collect(verdict.await)?;
        for way in [Some("moment"), has.renew.then_some("renewal")] {
            t.part();
            if let Some(way) = way {
                t.collect(expect_rounded_up(t, way, ttl).await)?;
            }
        }
    }
    Ok(())
}

/// Sees that a deadline given as a moment, or by a renewal in either way, is rounded up as well.
async fn expect_rounded_up(t: &Trial, way: &str, ttl: Duration) -> Verdict {
    let store = t.store();
    let keys: &[&str] = match way {
        "moment" => &["until a moment"],
        _ => &["got and renewed", "updated", "updated to a moment"],
    };
    t.align().await;
    let moment = Expiry::At(t.now() + TimeDelta::from_std(ttl).unwrap_or_default());
    for key in keys {
        store.set(key, "v").expiry(if way == "moment" { moment } else { LONG.into() }).await?;
        match *key {
            "got and renewed" => drop(store.get(key).renew_for(ttl).await?),
            "updated" => drop(store.update_expiry(key, ttl.into()).await?),
            "updated to a moment" => drop(store.update_expiry(key, moment).await?),
            _ => {}
        }
    }
    t.advance(ttl.saturating_sub(NANOSECOND)).await;
    for key in keys {
        t.collect_about(&[key], expect_value(&store, key, b"v").await)?;
    }
    t.advance(t.capabilities().expiry_granularity + NANOSECOND).await;
    for key in keys {
        t.collect_about(&[key], expect_missing(&store, key).await)?;
    }
    Ok(())
}

pub(super) async fn short_lives_are_not_cut_shorter(t: &Trial) -> Verdict {
    let store = t.store();
    let granule = t.capabilities().expiry_granularity;
    for ttl in [granule + granule / 2, t.tick() + Duration::from_nanos(999_999)] {
        t.part();
        let since = Instant::now();
        store.set("k", "v").ttl(ttl).await?;
        t.collect(t.expect_life(&store, "k", b"v", ttl, since).await)?;
    }
    Ok(())
}

pub(super) async fn days_count_as_well_as_seconds(t: &Trial) -> Verdict {
    let store = t.store();
    let years = |count: u32| 366 * count * DAY;
    let lives = [
        2 * DAY,
        14 * DAY,
        14 * DAY + Duration::from_secs(1),
        50 * DAY,
        3_650 * DAY,
        // Past what 31 and 32 bits of seconds and 64 bits of nanoseconds since 1970 can tell.
        years(20),
        years(100),
        years(300),
        years(5_000),
        // Nor what a float of 64 bits can tell.
        years(5_000) + Duration::from_micros(700_251),
    ];
    for ttl in lives {
        t.part();
        let verdict = async {
            store.set("k", "v").ttl(ttl).await?;
            expect_about(t, &store, "k", ttl).await?;
            store.set("k", "v").expiry(TimeDelta::from_std(ttl).unwrap_or_default()).await?;
            expect_about(t, &store, "k", ttl).await?;
            let options = SetOptions::default().with_expiry(ttl);
            let item = SetItem::new("batched", "v").with_options(options);
            for outcome in store.set_many(vec![item]).await? {
                outcome?;
            }
            expect_about(t, &store, "batched", ttl).await?;
            expect_value(&store, "k", b"v").await
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn the_remaining_life_counts_down(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 10;
    store.set("k", "v").ttl(ttl).await?;
    for passed in 0..10 {
        expect_about(t, &store, "k", ttl.saturating_sub(t.tick() * passed)).await?;
        t.advance(t.tick()).await;
    }
    expect_missing(&store, "k").await
}

pub(super) async fn a_live_key_never_has_no_time_left(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 2;
    let seen = |left: ExpiresIn| match left {
        ExpiresIn::In(left) if left.is_zero() => {
            Err(Stop::fail("expires_in(\"k\") gave In(0) for a live key"))
        }
        ExpiresIn::Never => Err(Stop::fail("expires_in(\"k\") gave Never for a mortal key")),
        ExpiresIn::In(left) if left > ttl + t.capabilities().expiry_granularity => Err(Stop::fail(
            format!("expires_in(\"k\") gave In({left:?}) for a key with a life of {ttl:?}"),
        )),
        _ => Ok(()),
    };
    let started = Instant::now();
    store.set("k", "v").ttl(ttl).await?;
    if t.exact_time() {
        t.advance(ttl.saturating_sub(NANOSECOND)).await;
        let left = store.expires_in("k").await?;
        ensure!(
            left.as_secs() == Some(1),
            "expires_in(\"k\") gave {left:?} one nanosecond before the deadline"
        );
        return seen(left);
    }
    while started.elapsed() < ttl * 2 {
        seen(store.expires_in("k").await?)?;
        tokio::time::sleep(ttl / 64).await;
    }
    Ok(())
}

pub(super) async fn the_longest_lives_saturate(t: &Trial) -> Verdict {
    let store = t.store();
    let end = Deadline::MAX.to_datetime();
    let ages = [
        Expiry::After(Duration::MAX),
        Expiry::After(Duration::from_secs(u64::MAX)),
        Expiry::After(Duration::from_secs(i64::MAX as u64)),
        Expiry::After(Duration::from_millis(u64::MAX)),
        Expiry::After(Duration::from_secs(20_000 * 366 * 24 * 3600)),
        Expiry::At(DateTime::<Utc>::MAX_UTC),
        Expiry::At(end),
        Expiry::At(end + TimeDelta::milliseconds(1)),
        Expiry::from(TimeDelta::MAX),
    ];
    for expiry in ages {
        t.part();
        let verdict = async {
            store.set("k", "v").expiry(expiry).await?;
            expect_value(&store, "k", b"v").await?;
            let left = store.expires_in("k").await?;
            let want = (end - t.now()).to_std().unwrap_or_default();
            // The end itself may be moved by the rounding.
            let slack = if t.exact_time() { t.capabilities().expiry_granularity } else { SLACK };
            let most = want + slack;
            ensure!(
                matches!(left, ExpiresIn::In(left) if left + slack >= want && left <= most),
                "expires_in(\"k\") gave {left:?} instead of what is left until the end of 9999"
            );
            store.set("k", "w").keep_ttl().await?;
            expect_value(&store, "k", b"w").await
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn reading_renews_nothing(t: &Trial) -> Verdict {
    let store = t.store();
    let has = t.capabilities();
    let ttl = t.tick() * 3;
    for key in ["k", "l"] {
        store.set(key, "v").ttl(ttl).await?;
    }
    for _ in 0..2 {
        store.get("k").await?;
        store.exists("k").await?;
        store.expires_in("k").await?;
        let asked = GetOptions::default().with_expires_in(true).with_version(has.conditions);
        store.get_opts("k", asked).await?;
        store.get_many(&["k", "l", "k"]).await?;
        if has.list {
            all_keys(&store, "", 10).await?;
        }
        t.advance(t.tick()).await;
    }
    if t.exact_time() {
        for key in ["k", "l"] {
            expect_about(t, &store, key, t.tick()).await?;
        }
    }
    t.outlive(t.tick()).await;
    for key in ["k", "l"] {
        t.expect_gone(&store, key).await?;
    }
    Ok(())
}

/// What a spawned task gave; a panic in it is the store's.
pub(super) async fn a_namespace_keeps_the_same_time(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let ttl = t.tick() * 2;
    let child = tree.with_path(&["a", "b"])?;
    child.set("k", "v").ttl(ttl).await?;
    tree.set("k", "v").ttl(ttl).await?;
    t.outlive(ttl).await;
    t.expect_gone(&tree, "k").await?;
    t.expect_gone(&child, "k").await
}
