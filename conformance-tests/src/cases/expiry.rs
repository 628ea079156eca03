use std::sync::Arc;
use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{
    Capabilities, Condition, Deadline, DeleteOptions, ExpiresIn, Expiry, GetOptions, SetItem,
    SetOptions, Store, StoreExt, Version,
};
use tokio::time::Instant;

use super::listing::all_keys;
use crate::trial::{LONG, Trial};
use crate::verdict::{
    Stop, Verdict, ensure, expect_expires_in, expect_missing, expect_value, show_found,
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
    let granule = t.capabilities().expiry_granularity;
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
            expect_missing(&store, "k").await
        };
        t.collect(verdict.await)?;
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
    for ttl in [2 * DAY, 14 * DAY, 14 * DAY + Duration::from_secs(1), 50 * DAY, 3_650 * DAY] {
        t.part();
        let verdict = async {
            store.set("k", "v").ttl(ttl).await?;
            expect_about(t, &store, "k", ttl).await?;
            store.set("k", "v").expiry(TimeDelta::from_std(ttl).unwrap_or_default()).await?;
            expect_about(t, &store, "k", ttl).await?;
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

pub(super) async fn zero_removes_at_once(t: &Trial) -> Verdict {
    let store = t.store();
    let past = |span| Expiry::At(t.now() - span);
    let over = [
        Expiry::After(Duration::ZERO),
        Expiry::from(TimeDelta::seconds(-5)),
        Expiry::from(TimeDelta::zero()),
        past(TimeDelta::hours(2)),
        past(TimeDelta::days(20_000)),
        Expiry::At(DateTime::UNIX_EPOCH),
        Expiry::At(DateTime::UNIX_EPOCH - TimeDelta::nanoseconds(1)),
        Expiry::At(DateTime::<Utc>::MIN_UTC),
    ];
    for expiry in over {
        for earlier in [None, Some(Expiry::Never), Some(Expiry::After(LONG))] {
            t.part();
            let verdict = async {
                store.delete("k").await?;
                if let Some(earlier) = earlier {
                    store.set("k", "old").expiry(earlier).await?;
                }
                let outcome = store.set("k", "new").expiry(expiry).await?;
                ensure!(outcome.is_applied(), "a set that expires at once gave {outcome:?}");
                expect_missing(&store, "k").await?;
                ensure!(
                    !store.delete("k").await?,
                    "delete(\"k\") gave true for a key that is gone"
                );
                Ok(())
            };
            t.collect(verdict.await)?;
        }
    }
    store.set("k", "alive again").await?;
    expect_value(&store, "k", b"alive again").await
}

pub(super) async fn the_present_moment_is_past(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "old").await?;
    store.set("k", "new").expires_at(t.now()).await?;
    expect_missing(&store, "k").await?;
    let next = t.now() + TimeDelta::nanoseconds(1);
    store.set("k", "new").expires_at(next).await?;
    expect_value(&store, "k", b"new").await
}

pub(super) async fn zero_in_bulk_removes_at_once(t: &Trial) -> Verdict {
    let store = t.store();
    for key in ["a", "b", "c"] {
        store.set(key, "old").await?;
    }
    let zero = SetOptions::default().with_expiry(Duration::ZERO);
    let outcomes = store
        .set_many(vec![SetItem::new("a", "new").with_options(zero), SetItem::new("b", "new")])
        .await?;
    for outcome in outcomes {
        ensure!(outcome?.is_applied(), "a set in bulk without a condition did not apply");
    }
    expect_missing(&store, "a").await?;
    expect_value(&store, "b", b"new").await?;
    expect_value(&store, "c", b"old").await
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
            // The end itself may be moved by the rounding, never past the year 9999 by a second.
            let most = want + SLACK;
            ensure!(
                matches!(left, ExpiresIn::In(left) if left + SLACK >= want && left <= most),
                "expires_in(\"k\") gave {left:?} instead of what is left until the end of 9999"
            );
            store.set("k", "w").keep_ttl().await?;
            expect_value(&store, "k", b"w").await
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn the_longest_renewals_saturate(t: &Trial) -> Verdict {
    let store = t.store();
    for longest in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_millis(u64::MAX)] {
        t.part();
        let verdict = async {
            let (since, ttl) = (Instant::now(), t.tick() * 5);
            store.set("k", "v").ttl(ttl).await?;
            store.get_opts("k", renew(longest)).await?;
            store.set("l", "v").ttl(ttl).await?;
            let live = store.update_expiry("l", Expiry::After(longest)).await?;
            t.expect_in_time(since, ttl)?;
            ensure!(live, "update_expiry(\"l\") gave false for a live key");
            t.outlive(ttl).await;
            for key in ["k", "l"] {
                expect_value(&store, key, b"v").await?;
                let left = store.expires_in(key).await?;
                ensure!(
                    left.as_duration().is_some_and(|left| left > 1_000 * DAY),
                    "expires_in({key:?}) gave {left:?} after a renewal for {longest:?}"
                );
            }
            Ok(())
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

pub(super) async fn an_overwrite_clears_the_expiry(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    store.set("k", "old").ttl(ttl).await?;
    store.set("k", "new").await?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    store.set("bulk", "old").ttl(ttl).await?;
    for outcome in store.set_many(vec![SetItem::new("bulk", "new")]).await? {
        outcome?;
    }
    store.set("again", "old").ttl(ttl).await?;
    store.delete("again").await?;
    store.set("again", "new").await?;
    t.outlive(ttl).await;
    for key in ["k", "bulk", "again"] {
        expect_value(&store, key, b"new").await?;
        expect_expires_in(&store, key, ExpiresIn::Never).await?;
    }
    Ok(())
}

pub(super) async fn the_last_expiry_counts(t: &Trial) -> Verdict {
    let store = t.store();
    let (short, long) = (t.tick(), LONG);
    store.set("longer", "old").ttl(short).await?;
    store.set("longer", "new").ttl(long).await?;
    store.set("shorter", "old").ttl(long).await?;
    store.set("shorter", "new").ttl(short).await?;
    store.set("given", "old").await?;
    store.set("given", "new").ttl(short).await?;
    t.outlive(short).await;
    expect_value(&store, "longer", b"new").await?;
    t.expect_gone(&store, "shorter").await?;
    t.expect_gone(&store, "given").await
}

pub(super) async fn keep_keeps_the_remaining_life(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 5;
    store.set("missing", "v").keep_ttl().await?;
    expect_expires_in(&store, "missing", ExpiresIn::Never).await?;
    store.set("eternal", "v").await?;
    store.set("eternal", "w").keep_ttl().await?;
    expect_expires_in(&store, "eternal", ExpiresIn::Never).await?;
    store.set("long", "v").ttl(LONG).await?;
    store.set("long", "w").keep_ttl().await?;
    expect_about(t, &store, "long", LONG).await?;
    let since = Instant::now();
    store.set("k", "v").ttl(ttl).await?;
    store.set("k", "w").keep_ttl().await?;
    store.set("k", "x").keep_ttl().await?;
    t.expect_in_time(since, ttl)?;
    t.outlive(ttl).await;
    t.expect_gone(&store, "k").await?;
    store.set("k", "risen").keep_ttl().await?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    expect_value(&store, "k", b"risen").await?;
    expect_value(&store, "missing", b"v").await?;
    expect_value(&store, "eternal", b"w").await?;
    expect_value(&store, "long", b"w").await
}

pub(super) async fn a_renewal_moves_the_deadline(t: &Trial) -> Verdict {
    let store = t.store();
    let (short, middle) = (t.tick() * 5, t.tick() * 4);
    // Later.
    let since = Instant::now();
    store.set("later", "v").ttl(short).await?;
    let entry = store.get_opts("later", renew(LONG)).await?;
    t.expect_in_time(since, short)?;
    let Some(entry) = entry else {
        return Err(Stop::fail("get(\"later\") with a renewal gave nothing for a live key"));
    };
    ensure!(
        &entry.value[..] == b"v",
        "get(\"later\") with a renewal gave {}",
        show_found(Some(&entry.value))
    );
    about(t, "get(\"later\") with a renewal", entry.expires_in.unwrap_or(ExpiresIn::Never), LONG)?;
    expect_about(t, &store, "later", LONG).await?;
    // Earlier.
    store.set("earlier", "w").ttl(LONG).await?;
    let since = Instant::now();
    let found = store.get("earlier").renew_for(middle).await?;
    ensure!(
        found.as_deref() == Some(b"w"),
        "get(\"earlier\") with a renewal gave {}",
        show_found(found.as_deref())
    );
    t.expect_life(&store, "earlier", b"w", middle, since).await?;
    expect_value(&store, "later", b"v").await
}

pub(super) async fn a_renewal_needs_an_expiry(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    for duration in [LONG, t.tick(), Duration::ZERO] {
        t.part();
        let verdict = async {
            let entry = store.get_opts("k", renew(duration)).await?;
            let left = entry.as_ref().map(|entry| entry.expires_in);
            ensure!(
                left == Some(Some(ExpiresIn::Never)),
                "get(\"k\") with a renewal of {duration:?} gave {left:?} for a key without expiry"
            );
            expect_expires_in(&store, "k", ExpiresIn::Never).await?;
            expect_value(&store, "k", b"v").await
        };
        t.collect(verdict.await)?;
    }
    t.outlive(t.tick()).await;
    expect_value(&store, "k", b"v").await
}

pub(super) async fn a_renewal_never_revives(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    store.set("expired", "v").ttl(ttl).await?;
    store.set("deleted", "v").ttl(LONG).await?;
    store.delete("deleted").await?;
    t.outlive(ttl).await;
    t.expect_gone(&store, "expired").await?;
    for key in ["expired", "deleted", "never set"] {
        t.part();
        let verdict = async {
            let found = store.get(key).renew_for(LONG).await?;
            ensure!(
                found.is_none(),
                "get({key:?}) with a renewal gave {} for a key that is gone",
                show_found(found.as_deref())
            );
            expect_missing(&store, key).await?;
            let live = store.update_expiry(key, Expiry::After(LONG)).await?;
            ensure!(!live, "update_expiry({key:?}) gave true for a key that is gone");
            expect_missing(&store, key).await?;
            let live = store.update_expiry(key, Expiry::Keep).await?;
            ensure!(!live, "update_expiry({key:?}) gave true for a key that is gone");
            expect_missing(&store, key).await
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn the_whole_renewal_counts(t: &Trial) -> Verdict {
    let store = t.store();
    let half = Duration::from_millis(500);
    for duration in [2 * DAY, 2 * DAY + half, half, Duration::from_secs(3_600) + half] {
        t.part();
        let verdict = async {
            store.set("k", "v").ttl(LONG).await?;
            let since = Instant::now();
            store.get("k").renew_for(duration).await?;
            if t.exact_time() || duration > SLACK {
                expect_about(t, &store, "k", duration).await
            } else {
                t.expect_life(&store, "k", b"v", duration, since).await
            }
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(super) async fn a_key_about_to_die_is_renewed(t: &Trial) -> Verdict {
    let store = t.store();
    // Under half a second, where rounding to seconds gives zero.
    let ttl = t.capabilities().round_up(Duration::from_millis(400));
    let since = Instant::now();
    store.set("k", "v").ttl(ttl).await?;
    let found = store.get("k").renew_for(LONG).await?;
    t.expect_in_time(since, ttl)?;
    ensure!(found.is_some(), "get(\"k\") with a renewal gave nothing for a live key");
    t.outlive(ttl).await;
    expect_value(&store, "k", b"v").await?;
    store.set("l", "v").ttl(LONG).await?;
    let since = Instant::now();
    store.get("l").renew_for(ttl).await?;
    t.expect_life(&store, "l", b"v", ttl, since).await
}

pub(super) async fn renewing_for_zero_takes_the_value(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").ttl(LONG).await?;
    let found = store.get("k").renew_for(Duration::ZERO).await?;
    ensure!(
        found.as_deref() == Some(b"v"),
        "get(\"k\") renewed for zero gave {}",
        show_found(found.as_deref())
    );
    expect_missing(&store, "k").await?;
    let found = store.get("k").renew_for(Duration::ZERO).await?;
    ensure!(found.is_none(), "get(\"k\") renewed for zero gave a value twice");
    Ok(())
}

pub(super) async fn update_expiry_changes_only_the_expiry(t: &Trial) -> Verdict {
    let store = t.store();
    let live = |live: bool| {
        if live { Ok(()) } else { Err(Stop::fail("update_expiry gave false for a live key")) }
    };
    store.set("k", "v").await?;
    live(store.update_expiry("k", Expiry::After(LONG)).await?)?;
    expect_about(t, &store, "k", LONG).await?;
    live(store.update_expiry("k", Expiry::Keep).await?)?;
    expect_about(t, &store, "k", LONG).await?;
    live(store.update_expiry("k", Expiry::After(2 * LONG)).await?)?;
    expect_about(t, &store, "k", 2 * LONG).await?;
    let moment = t.now() + TimeDelta::days(9);
    live(store.update_expiry("k", Expiry::At(moment)).await?)?;
    expect_about(t, &store, "k", 9 * DAY).await?;
    live(store.update_expiry("k", Expiry::Never).await?)?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    live(store.update_expiry("k", Expiry::Keep).await?)?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    expect_value(&store, "k", b"v").await?;
    let ttl = t.tick() * 2;
    let since = Instant::now();
    live(store.update_expiry("k", Expiry::After(ttl)).await?)?;
    t.expect_life(&store, "k", b"v", ttl, since).await?;
    let missing = store.update_expiry("k", Expiry::Never).await?;
    ensure!(!missing, "update_expiry(\"k\") gave true for a key that has expired");
    expect_missing(&store, "k").await
}

pub(super) async fn update_expiry_into_the_past_removes(t: &Trial) -> Verdict {
    let store = t.store();
    let past = Expiry::At(t.now() - TimeDelta::hours(2));
    for expiry in [Expiry::After(Duration::ZERO), past, Expiry::from(TimeDelta::seconds(-1))] {
        for earlier in [Expiry::Never, Expiry::After(LONG)] {
            t.part();
            let verdict = async {
                store.set("k", "v").expiry(earlier).await?;
                let live = store.update_expiry("k", expiry).await?;
                ensure!(live, "update_expiry(\"k\") gave false for a live key");
                expect_missing(&store, "k").await?;
                let live = store.update_expiry("k", expiry).await?;
                ensure!(!live, "update_expiry(\"k\") gave true for a key that is gone");
                expect_missing(&store, "k").await
            };
            t.collect(verdict.await)?;
        }
    }
    Ok(())
}

/// Writes `count` keys with `ttl` and lets them die.
async fn bury(t: &Trial, store: &dyn Store, count: usize, ttl: Duration) -> Verdict<Vec<String>> {
    let keys: Vec<String> = (0..count).map(|index| format!("dead {index}")).collect();
    for key in &keys {
        store.set(key, "old").ttl(ttl).await?;
    }
    t.outlive(ttl).await;
    t.expect_gone(store, &keys[count - 1]).await?;
    Ok(keys)
}

pub(super) async fn a_purge_removes_only_what_has_expired(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    store.set("eternal", "v").await?;
    store.set("long", "v").ttl(LONG).await?;
    let keys = bury(t, &store, 20, ttl).await?;
    let removed = store.delete_expired().await?;
    let most = if t.capabilities().native_expiry { 0 } else { keys.len() as u64 };
    ensure!(
        removed <= most,
        "delete_expired() gave {removed}, yet at most {most} could be removed"
    );
    let again = store.delete_expired().await?;
    ensure!(again == 0, "a second delete_expired() gave {again}");
    for key in &keys {
        expect_missing(&store, key).await?;
    }
    expect_value(&store, "eternal", b"v").await?;
    expect_value(&store, "long", b"v").await?;
    expect_about(t, &store, "long", LONG.saturating_sub(ttl)).await
}

pub(super) async fn a_purge_spares_a_key_with_a_new_life(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 2;
    let set = ["set", "set later", "kept", "bulk", "deleted and set"];
    for key in set.into_iter().chain(["renewed", "updated", "for ever"]) {
        store.set(key, "v").ttl(ttl).await?;
    }
    store.set("set", "v").await?;
    store.set("set later", "v").ttl(LONG).await?;
    for outcome in store.set_many(vec![SetItem::new("bulk", "v")]).await? {
        outcome?;
    }
    store.delete("deleted and set").await?;
    store.set("deleted and set", "v").await?;
    store.set("kept", "v").ttl(LONG).await?;
    store.set("kept", "v").keep_ttl().await?;
    let mut alive = set.to_vec();
    if t.capabilities().renew {
        for (key, renewed) in [
            ("renewed", store.get("renewed").renew_for(LONG).await?.is_some()),
            ("updated", store.update_expiry("updated", Expiry::After(LONG)).await?),
            ("for ever", store.update_expiry("for ever", Expiry::Never).await?),
        ] {
            // On a slow machine it may have died before.
            if renewed {
                alive.push(key);
            }
        }
    }
    t.outlive(ttl).await;
    store.delete_expired().await?;
    for key in alive {
        t.collect_about(&[key, "delete_expired"], expect_value(&store, key, b"v").await)?;
    }
    store.set("risen", "old").ttl(ttl).await?;
    t.outlive(ttl).await;
    store.set("risen", "new").await?;
    store.delete_expired().await?;
    expect_value(&store, "risen", b"new").await
}

pub(super) async fn a_purge_covers_descendants_and_nothing_else(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let ttl = t.tick();
    if !tree.capabilities().purge {
        return Err(Stop::skip("the store's namespaces do not declare `purge`"));
    }
    let inner = tree.with_path(&["a"])?;
    let paths: [&[&str]; 5] = [&[], &["a"], &["a", "b"], &["a", "b", "c"], &["ab"]];
    for path in paths {
        let store = tree.with_path(path)?;
        store.set("dead", "v").ttl(ttl).await?;
        store.set("live", "v").await?;
        store.set("long", "v").ttl(LONG).await?;
    }
    t.outlive(ttl).await;
    t.expect_gone(&tree, "dead").await?;
    let native = t.capabilities().native_expiry;
    let removed = inner.delete_expired().await?;
    let most = if native { 0 } else { 3 };
    ensure!(
        removed <= most,
        "delete_expired() in \"a\" gave {removed}, yet only {most} expired keys were there"
    );
    let again = inner.delete_expired().await?;
    ensure!(again == 0, "a second delete_expired() in \"a\" gave {again}");
    for path in [&["a", "b"][..], &["a", "b", "c"]] {
        let left = tree.with_path(path)?.delete_expired().await?;
        ensure!(
            left == 0,
            "delete_expired() in \"a\" left {left} expired keys in its descendant {path:?}"
        );
    }
    for path in paths {
        let store = tree.with_path(path)?;
        expect_missing(&store, "dead").await?;
        expect_value(&store, "live", b"v").await?;
        expect_value(&store, "long", b"v").await?;
    }
    let removed = tree.delete_expired().await?;
    let most = if native { 0 } else { 2 };
    ensure!(
        removed <= most,
        "delete_expired() at the top gave {removed}, yet at most {most} expired keys were left"
    );
    Ok(())
}

pub(super) async fn a_purge_spares_fresh_writes(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..4 {
        t.part();
        let keys = Arc::new(bury(t, &store, 40, t.tick()).await?);
        let purge = tokio::spawn({
            let store = t.store();
            async move { store.delete_expired().await }
        });
        // Reading may remove what has expired as well.
        let reader = tokio::spawn({
            let (store, keys) = (t.store(), Arc::clone(&keys));
            async move {
                for key in keys.iter() {
                    store.get(key).await?;
                    store.exists(key).await?;
                }
                Ok::<_, larder_core::Error>(())
            }
        });
        for key in keys.iter() {
            store.set(key, format!("fresh {round}")).await?;
        }
        joined(purge.await)??;
        joined(reader.await)??;
        for key in keys.iter() {
            let value = format!("fresh {round}");
            let verdict = expect_value(&store, key, value.as_bytes()).await;
            t.collect_about(&[key, "delete_expired"], verdict)?;
        }
    }
    Ok(())
}

pub(super) async fn reading_spares_fresh_writes(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..4 {
        t.part();
        let keys = Arc::new(bury(t, &store, 40, t.tick()).await?);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (store, keys) = (t.store(), Arc::clone(&keys));
                tokio::spawn(async move {
                    for key in keys.iter() {
                        store.get(key).await?;
                        store.exists(key).await?;
                        store.expires_in(key).await?;
                    }
                    Ok::<_, larder_core::Error>(())
                })
            })
            .collect();
        for key in keys.iter() {
            store.set(key, format!("fresh {round}")).await?;
        }
        for reader in readers {
            joined(reader.await)??;
        }
        for key in keys.iter() {
            let value = format!("fresh {round}");
            t.collect_about(&[key], expect_value(&store, key, value.as_bytes()).await)?;
        }
    }
    Ok(())
}

/// What a spawned task gave; a panic in it is the store's.
pub(super) fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Verdict<T> {
    result.map_err(|error| Stop::fail(format!("a task that calls the store ended early: {error}")))
}

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
