use std::time::Duration;

use larder_core::Store;

use tokio::time::Instant;

use super::{all_keys, fill, numbered};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// How much dearer each key of a long listing may be than one of a short listing. A listing that
/// walks everything again for each page is dearer by as much as the listing is longer.
const DEARER: u32 = 8;
/// Shorter times are not told apart.
const LEAST: Duration = Duration::from_micros(100);
/// How often a listing may be late: whatever else the machine does delays some attempts, and a
/// listing that is too dear is so in all of them.
const ATTEMPTS: usize = 15;

pub(in crate::cases) async fn a_listing_costs_what_it_walks(t: &Trial) -> Verdict {
    let store = t.store();
    let (few, many) = (numbered(200), numbered(4_000));
    fill(&store, &few).await?;
    let mut short = Duration::MAX;
    for _ in 0..4 {
        short = short.min(time_of_listing(t, &store, few.len()).await?);
    }
    let short = short.max(LEAST);
    fill(&store, &many).await?;
    let times = u32::try_from(many.len() / few.len()).unwrap_or(1);
    let mut long = Duration::MAX;
    for _ in 0..ATTEMPTS {
        long = long.min(time_of_listing(t, &store, many.len()).await?);
        if long < short * times * DEARER {
            return Ok(());
        }
    }
    Err(Stop::fail(format!(
        "listing {} keys in pages of 20 takes {long:?}, and {} keys {short:?}: {times} times as many \
         must not take more than {} times as long",
        many.len(),
        few.len(),
        times * DEARER
    )))
}

async fn time_of_listing(t: &Trial, store: &dyn Store, count: usize) -> Verdict<Duration> {
    t.part();
    let started = Instant::now();
    let listed = all_keys(store, "", 20).await?;
    let took = started.elapsed();
    ensure!(listed.len() >= count, "a listing of {count} keys gave {}", listed.len());
    Ok(took)
}
