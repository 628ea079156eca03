use std::collections::BTreeMap;
use std::time::Duration;

use larder_core::{ErrorKind, ExpiresIn, GetOptions, Store};
use tokio::time::Instant;

use super::listing::all_keys;
use crate::random::Random;
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure, joined, show_found, show_key};
use crate::writer::{Folder, KEYS, Left, TASKS, key, kill_one, write};
use crate::{Handle, Variant};

/// The variable that says how many writers are killed.
const KILLS: &str = "LARDER_CONFORMANCE_KILLS";
/// How many it is without it.
const FEW_KILLS: u64 = 20;
/// How long a killed process may keep what it had locked.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn a_killed_writer_loses_nothing_acknowledged(t: &Trial) -> Verdict {
    if t.variant() != Variant::Root {
        return Err(Stop::skip("it is about the handle that a process opens"));
    }
    let Some(test) = t.test() else {
        return Err(Stop::skip("only a test can start itself again; `check` cannot"));
    };
    let folder = Folder::new().map_err(|error| Stop::fail(format!("no folder: {error}")))?;
    // Finds out whether the harness can, and makes the store.
    let handle = open(t, &folder).await?;
    handle.store().close().await?;
    let kills = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(FEW_KILLS);
    let largest = usize::try_from(t.capabilities().max_value_len).unwrap_or(usize::MAX);
    let mut starts = [0_u64; TASKS];
    let mut there: BTreeMap<String, Left> = BTreeMap::new();
    let mut random = Random::new(kills);
    for round in 0..kills {
        t.part();
        let (test, path) = (test.to_owned(), folder.0.clone());
        let after = Duration::from_micros(random.next() % 40_000);
        let killed = tokio::task::spawn_blocking(move || kill_one(&test, &path, &starts, after));
        let done = joined(killed.await)?.map_err(Stop::fail)?;
        t.trace().note(format!("writer {round} is killed; last acknowledged: {done:?}"));
        // What may be under way when the writer dies: the write after the last acknowledged one.
        let mut under_way: BTreeMap<String, Left> = BTreeMap::new();
        for task in 0..TASKS {
            let next = done[task].map_or(starts[task], |last| last + 1);
            for number in starts[task]..next {
                there.extend(write(task, number, largest));
            }
            under_way.extend(write(task, next, largest));
            starts[task] = next + 1;
        }
        let handle = open(t, &folder).await?;
        let store = handle.store();
        for (task, index) in (0..TASKS).flat_map(|task| (0..KEYS).map(move |index| (task, index))) {
            let name = key(task, index);
            let old = there.get(&name).cloned().flatten();
            let found = look(&*store, &name).await?;
            let whole = found == old || under_way.get(&name) == Some(&found);
            ensure!(
                whole,
                "after writer {round} of {kills} was killed, {} has {} instead of {}{}",
                show_key(&name),
                show_left(&found),
                show_left(&old),
                under_way.get(&name).map_or(String::new(), |new| format!(
                    ", or of {}, which was under way",
                    show_left(new)
                ))
            );
            there.insert(name, found);
        }
        if store.capabilities().list {
            let listed = all_keys(&*store, "", 10).await?;
            let live = |name: &String| there.get(name).is_some_and(Option::is_some);
            if let Some(strange) = listed.iter().find(|name| !live(name)) {
                ensure!(false, "after a kill, {} is listed and not there", show_key(strange));
            }
            if let Some((lost, _)) =
                there.iter().find(|(name, left)| left.is_some() && !listed.contains(name))
            {
                ensure!(false, "after a kill, {} is there and not listed", show_key(lost));
            }
        }
        store.close().await?;
    }
    Ok(())
}

async fn look(store: &dyn Store, key: &str) -> Verdict<Left> {
    let entry = store.get_opts(key, GetOptions::default().with_expires_in(true)).await?;
    Ok(entry.map(|entry| (entry.value, matches!(entry.expires_in, Some(ExpiresIn::In(_))))))
}

fn show_left(left: &Left) -> String {
    let Some((value, expires)) = left else {
        return "nothing".to_owned();
    };
    // The beginning tells which write it was.
    let head = value.len().min(20);
    let of =
        if value.len() > head { format!(" … ({} bytes)", value.len()) } else { String::new() };
    let life = if *expires { " with an expiry" } else { "" };
    format!("{}{of}{life}", show_found(Some(&value[..head])))
}

async fn open(t: &Trial, folder: &Folder) -> Verdict<Handle> {
    let started = Instant::now();
    loop {
        match t.harness().open_folder(&folder.0).await {
            Ok(Some(handle)) => return Ok(handle),
            Ok(None) => return Err(Stop::skip("the harness does not offer `open_folder`")),
            Err(error) if error.kind() == ErrorKind::Locked && started.elapsed() < LOCK_LIMIT => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
