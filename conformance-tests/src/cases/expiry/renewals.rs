use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{Deadline, ExpiresIn, Expiry, Store, StoreExt};
use tokio::time::Instant;

use super::{DAY, SLACK, about, expect_about, renew};
use crate::trial::{LONG, Trial};
use crate::verdict::{
    Stop, Verdict, ensure, expect_expires_in, expect_missing, expect_value, show_found,
};

pub(in crate::cases) async fn the_longest_renewals_saturate(t: &Trial) -> Verdict {
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
            store.set("m", "v").ttl(LONG).await?;
            let live = store.update_expiry("m", Expiry::At(DateTime::<Utc>::MAX_UTC)).await?;
            ensure!(live, "update_expiry(\"m\") gave false for a live key");
            t.outlive(ttl).await;
            for key in ["k", "l", "m"] {
                expect_value(&store, key, b"v").await?;
                let left = store.expires_in(key).await?;
                let want = Deadline::MAX.remaining(t.now()).unwrap_or_default();
                ensure!(
                    left.as_duration().is_some_and(|left| left + SLACK >= want),
                    "expires_in({key:?}) gave {left:?} after a renewal for {longest:?}, instead of \
                     what is left until the end of 9999"
                );
            }
            Ok(())
        };
        t.collect(verdict.await)?;
    }
    Ok(())
}

pub(in crate::cases) async fn a_renewal_moves_the_deadline(t: &Trial) -> Verdict {
    let store = t.store();
    let (short, middle) = (t.tick() * 5, t.tick() * 4);
    if t.exact_time() {
        // From now on, and not from the set; and each time.
        store.set("again", "v").ttl(short).await?;
        for _ in 0..3 {
            t.advance(t.tick()).await;
            store.get("again").renew_for(short).await?;
            expect_about(t, &store, "again", short).await?;
        }
    }
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

pub(in crate::cases) async fn a_renewal_needs_an_expiry(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn a_renewal_never_revives(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn the_whole_renewal_counts(t: &Trial) -> Verdict {
    let store = t.store();
    let half = Duration::from_millis(500);
    let tiny = Duration::from_micros(if t.exact_time() { 250 } else { 500_000 });
    for duration in [2 * DAY, 2 * DAY + half, half, Duration::from_secs(3_600) + half, tiny] {
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

pub(in crate::cases) async fn a_key_about_to_die_is_renewed(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn renewing_for_zero_takes_the_value(t: &Trial) -> Verdict {
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

pub(in crate::cases) async fn update_expiry_changes_only_the_expiry(t: &Trial) -> Verdict {
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
    if t.exact_time() {
        // To the granule, whichever way it is told.
        let exact = t.capabilities().round_up(t.tick() + Duration::from_millis(700));
        live(store.update_expiry("k", Expiry::After(exact)).await?)?;
        expect_about(t, &store, "k", exact).await?;
        let moment = t.now() + TimeDelta::from_std(exact).unwrap_or_default();
        live(store.update_expiry("k", Expiry::At(moment)).await?)?;
        expect_about(t, &store, "k", exact).await?;
    }
    let ttl = t.tick() * 2;
    let since = Instant::now();
    live(store.update_expiry("k", Expiry::After(ttl)).await?)?;
    t.expect_life(&store, "k", b"v", ttl, since).await?;
    let missing = store.update_expiry("k", Expiry::Never).await?;
    ensure!(!missing, "update_expiry(\"k\") gave true for a key that has expired");
    expect_missing(&store, "k").await
}

pub(in crate::cases) async fn update_expiry_into_the_past_removes(t: &Trial) -> Verdict {
    let store = t.store();
    let past = Expiry::At(t.now() - TimeDelta::hours(2));
    let long_past = [
        Expiry::At(DateTime::UNIX_EPOCH),
        Expiry::At(DateTime::UNIX_EPOCH - TimeDelta::days(1)),
        Expiry::At(DateTime::<Utc>::MIN_UTC),
    ];
    let at_once = [Expiry::After(Duration::ZERO), past, Expiry::from(TimeDelta::seconds(-1))];
    for expiry in at_once.into_iter().chain(long_past) {
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
