use std::time::Duration;

use larder_core::Store;
use tokio::time::Instant;

use super::{all_keys, fill, numbered};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// How many keys a short and a long listing have, and how often the short one is repeated, so that
/// both ask for as many pages: what a call costs by itself, on a busy machine too, cancels out.
const FEW: usize = 40;
const MANY: usize = 4_000;
const PAGE: usize = 20;
/// How much dearer the long listing's pages may be. One that walks everything again for each page is
/// dearer by as much as the listing is longer, a hundred times.
const DEARER: u32 = 10;
/// Shorter times are not told apart.
const LEAST: Duration = Duration::from_micros(100);
/// How often both are compared, and how often the long listing is tried each time: whatever else the
/// machine does delays some, and a listing that is too dear is so in all of them.
const ROUNDS: usize = 3;
const ATTEMPTS: usize = 5;

pub(in crate::cases) async fn a_listing_costs_what_it_walks(t: &Trial) -> Verdict {
    let store = t.store();
    let (few, many) = (numbered(FEW), numbered(MANY));
    let (mut short, mut long) = (quickest_of_few(t, &store, &few).await?, Duration::MAX);
    for _ in 0..ROUNDS {
        fill(&store, &many).await?;
        long = long.min(quickest(t, &store, MANY, 1, ATTEMPTS, short * DEARER).await?);
        // Once more: what has delayed the short one makes nothing good.
        short = short.min(quickest_of_few(t, &store, &few).await?);
        if long < short * DEARER {
            return Ok(());
        }
    }
    Err(Stop::fail(format!(
        "listing {MANY} keys in pages of {PAGE} takes {long:?}, and as many pages of {FEW} keys \
         {short:?}: a page must not cost more than {DEARER} times as much"
    )))
}

async fn quickest_of_few(t: &Trial, store: &dyn Store, few: &[String]) -> Verdict<Duration> {
    store.delete_all().await?;
    fill(store, few).await?;
    let quickest = quickest(t, store, FEW, MANY / FEW, 3, Duration::ZERO).await?;
    Ok(quickest.max(LEAST))
}

/// The shortest of several attempts to list everything so many times; one below `enough` is the
/// last.
async fn quickest(
    t: &Trial,
    store: &dyn Store,
    count: usize,
    times: usize,
    attempts: usize,
    enough: Duration,
) -> Verdict<Duration> {
    let mut quickest = Duration::MAX;
    for _ in 0..attempts {
        let started = Instant::now();
        for _ in 0..times {
            t.part();
            let listed = all_keys(store, "", PAGE).await?.len();
            ensure!(listed >= count, "a listing of {count} keys gave {listed}");
        }
        quickest = quickest.min(started.elapsed());
        if quickest < enough {
            break;
        }
    }
    Ok(quickest)
}
