use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{
    Condition, DeleteOptions, ErrorKind, ExpiresIn, GetOptions, Result, SetItem, SetOptions, Store,
    StoreExt, Version,
};
use tokio::time::Instant;

use super::listing::{all_children, all_keys};
use crate::model::{KEYS, Left, Life, Menu, Model, Op, PATHS, PREFIXES, When};
use crate::random::{Random, SEED, Seeds};
use crate::trial::{LONG, Trial, View};
use crate::verdict::{Broken, Stop, Verdict, ensure, show_found};

/// How many calls a sequence has.
const LEN: usize = 60;
/// How long and how often a failing sequence is shortened.
const SHRINK_LIMIT: (Duration, usize) = (Duration::from_secs(20), 400);

pub(super) async fn random_calls_agree_with_a_map(t: &Trial) -> Verdict {
    try_sequences(t, false).await
}

pub(super) async fn random_calls_agree_across_reopening(t: &Trial) -> Verdict {
    try_sequences(t, true).await
}

async fn try_sequences(t: &Trial, reopen: bool) -> Verdict {
    let has = t.capabilities();
    let namespaces = t.tree().is_ok_and(|tree| tree.capabilities().purge == has.purge);
    let menu = Menu {
        namespaces,
        list: has.list,
        conditions: has.conditions,
        renew: has.renew,
        purge: has.purge,
        exact_time: t.exact_time(),
        reopen,
    };
    if reopen {
        // Skips the case where the data does not outlive the store.
        t.reopen().await?.root.close().await?;
    }
    for seed in Seeds::new(4, 60, t.random_budget()) {
        let sequence = menu.sequence(&mut Random::new(seed), LEN);
        if let Err(Stop::Fail(broken)) = run(t, &sequence).await {
            let Broken { seen, operations } = shrink(t, sequence, broken).await;
            let again = format!("{seen} (seed {seed}; {SEED}={seed} tries it again)");
            return Err(Stop::fail_with(again, operations.unwrap_or_default()));
        }
    }
    Ok(())
}

/// Leaves out calls as long as what is left still fails.
async fn shrink(t: &Trial, mut sequence: Vec<Op>, mut broken: Broken) -> Broken {
    let started = Instant::now();
    let mut tries = 0;
    let mut chunk = sequence.len() / 2;
    while chunk > 0 {
        let mut start = 0;
        let mut shorter = false;
        while start < sequence.len() {
            tries += 1;
            if started.elapsed() > SHRINK_LIMIT.0 || tries > SHRINK_LIMIT.1 {
                return broken;
            }
            let mut without = sequence.clone();
            without.drain(start..(start + chunk).min(without.len()));
            match run(t, &without).await {
                Err(Stop::Fail(same)) => {
                    (sequence, broken, shorter) = (without, same, true);
                }
                _ => start += chunk,
            }
        }
        if !shorter || chunk > 1 {
            chunk /= 2;
        }
    }
    broken
}

/// Runs a sequence on a fresh store.
async fn run(t: &Trial, sequence: &[Op]) -> Verdict {
    t.part();
    let another = t.another("").await?;
    let mut runner = Runner {
        view: another.view(),
        tick: another.tick(),
        trial: &another,
        model: Model::default(),
        earlier: BTreeMap::new(),
    };
    let mut verdict = Ok(());
    for op in sequence {
        verdict = runner.step(op).await;
        if verdict.is_err() {
            break;
        }
    }
    if verdict.is_ok() {
        verdict = runner.look_at_all().await;
    }
    let verdict = verdict.map_err(|stop| match stop {
        Stop::Fail(Broken { seen, .. }) => Stop::fail_with(seen, t.trace().shown()),
        skip @ Stop::Skip(_) => skip,
    });
    let root = Arc::clone(&runner.view.root);
    // After a reopening, the fixture's own handle is closed already.
    let _ = root.close().await;
    another.leave().await;
    verdict
}

struct Runner<'t> {
    trial: &'t Trial,
    view: View,
    tick: Duration,
    model: Model,
    /// Versions of values that were there, by namespace and key.
    earlier: BTreeMap<(usize, usize), (String, Version)>,
}

impl Runner<'_> {
    fn at(&self, at: usize) -> Verdict<Arc<dyn Store>> {
        match (&self.view.tree, at) {
            (Some(tree), 1..) => Ok(tree.with_path(PATHS[at])? as Arc<dyn Store>),
            (Some(tree), _) if self.same_place() => Ok(tree.clone() as Arc<dyn Store>),
            _ => Ok(Arc::clone(&self.view.store)),
        }
    }

    /// Namespaces over a flat store begin at a place of their own.
    fn same_place(&self) -> bool {
        self.trial
            .tree()
            .is_ok_and(|tree| tree.capabilities().purge == self.trial.capabilities().purge)
    }

    async fn look_at_all(&mut self) -> Verdict {
        let paths = if self.same_place() { PATHS.len() } else { 1 };
        for at in 0..paths {
            for key in 0..KEYS.len() {
                self.look(at, key).await?;
            }
        }
        Ok(())
    }

    async fn look(&self, at: usize, key: usize) -> Verdict {
        let (store, name) = (self.at(at)?, KEYS[key]);
        let want = self.model.value(at, key);
        let found = store.get(name).await?;
        ensure!(
            found.as_deref() == want.map(str::as_bytes),
            "get({name:?}) in {:?} gave {} instead of {}",
            PATHS[at],
            show_found(found.as_deref()),
            show_found(want.map(str::as_bytes))
        );
        let exists = store.exists(name).await?;
        ensure!(exists == want.is_some(), "exists({name:?}) in {:?} gave {exists}", PATHS[at]);
        let left = store.expires_in(name).await?;
        self.expect_left(at, key, left)
    }

    fn expect_left(&self, at: usize, key: usize, left: ExpiresIn) -> Verdict {
        let exact = self.trial.exact_time();
        let want = self.model.left(at, key);
        let right = match (want, left) {
            (None, ExpiresIn::Missing) | (Some(Left::Never), ExpiresIn::Never) => true,
            (Some(Left::Ticks(ticks)), ExpiresIn::In(left)) => {
                left == self.tick * u32::try_from(ticks).unwrap_or(u32::MAX)
            }
            (Some(Left::Long { ago }), ExpiresIn::In(left)) => {
                let passed = self.tick * u32::try_from(ago).unwrap_or(u32::MAX);
                let rounded = self.trial.capabilities().round_up(LONG);
                if exact {
                    left == rounded.saturating_sub(passed)
                } else {
                    left > LONG / 2
                        && left <= rounded + self.trial.capabilities().expiry_granularity
                }
            }
            _ => false,
        };
        ensure!(
            right,
            "expires_in({:?}) in {:?} gave {left:?} instead of {}",
            KEYS[key],
            PATHS[at],
            want.map_or("Missing".to_owned(), |want| format!("{want:?}"))
        );
        Ok(())
    }

    /// The condition as the store takes it, and whether it holds.
    async fn condition(&self, at: usize, key: usize, when: When) -> Verdict<(Condition, bool)> {
        let live = self.model.value(at, key);
        Ok(match when {
            When::Any => (Condition::Any, true),
            When::Absent => (Condition::Absent, live.is_none()),
            When::Present => (Condition::Present, live.is_some()),
            When::Current => match live {
                Some(_) => {
                    let version = super::conditions::version(&self.at(at)?, KEYS[key]).await?;
                    (Condition::Matches(version), true)
                }
                None => (Condition::Matches(Version::new("none")), false),
            },
            When::Earlier => match self.earlier.get(&(at, key)) {
                Some((value, version)) => {
                    (Condition::Matches(version.clone()), live == Some(value.as_str()))
                }
                None => (Condition::Any, true),
            },
        })
    }

    async fn remember(&mut self, at: usize, key: usize) -> Verdict {
        if !self.trial.capabilities().conditions {
            return Ok(());
        }
        if let Some(value) = self.model.value(at, key) {
            let version = super::conditions::version(&self.at(at)?, KEYS[key]).await?;
            self.earlier.insert((at, key), (value.to_owned(), version));
        }
        Ok(())
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each call, each a few lines")]
    async fn step(&mut self, op: &Op) -> Verdict {
        match op {
            Op::Look { at, key } => self.look(*at, *key).await?,
            Op::Get { at, key, renew } => self.get(*at, *key, *renew).await?,
            Op::Set { at, key, value, life, when } => {
                let (condition, holds) = self.condition(*at, *key, *when).await?;
                let options = SetOptions::default()
                    .with_expiry(life.expiry(self.tick))
                    .with_condition(condition);
                let store = self.at(*at)?;
                let applied =
                    store.set_opts(KEYS[*key], value.clone().into(), options).await?.is_applied();
                ensure!(applied == holds, "set({:?}) applied: {applied}, not {holds}", KEYS[*key]);
                if holds {
                    self.model.put(*at, *key, value.clone(), *life);
                }
                if value.len() % 2 == 0 {
                    self.remember(*at, *key).await?;
                }
            }
            Op::Delete { at, key, when } => {
                let (condition, holds) = self.condition(*at, *key, *when).await?;
                let want = holds && self.model.value(*at, *key).is_some();
                let options = DeleteOptions::default().with_condition(condition);
                let deleted = self.at(*at)?.delete_opts(KEYS[*key], options).await?;
                ensure!(deleted == want, "delete({:?}) gave {deleted}, not {want}", KEYS[*key]);
                if want {
                    self.model.delete(*at, *key);
                }
            }
            Op::UpdateExpiry { at, key, life } => {
                let want = self.model.update_expiry(*at, *key, *life);
                let expiry = life.expiry(self.tick);
                let live = self.at(*at)?.update_expiry(KEYS[*key], expiry).await?;
                ensure!(live == want, "update_expiry({:?}) gave {live}, not {want}", KEYS[*key]);
            }
            Op::Increment { at, key, by } => self.increment(*at, *key, *by).await?,
            Op::GetMany { at, keys } => {
                let names: Vec<&str> = keys.iter().map(|key| KEYS[*key]).collect();
                let values = self.at(*at)?.get_many(&names).await?;
                let found = values.into_iter().collect::<Result<Vec<_>>>()?;
                let want: Vec<_> = keys.iter().map(|key| self.model.value(*at, *key)).collect();
                let same = found.len() == want.len()
                    && found
                        .iter()
                        .zip(&want)
                        .all(|(found, want)| found.as_deref() == want.map(str::as_bytes));
                ensure!(same, "get_many({names:?}) gave {found:?} instead of {want:?}");
            }
            Op::SetMany { at, items } => {
                let batch = items.iter().map(|(key, value, life)| {
                    let options = SetOptions::default().with_expiry(life.expiry(self.tick));
                    SetItem::new(KEYS[*key], value).with_options(options)
                });
                let outcomes = self.at(*at)?.set_many(batch.collect()).await?;
                let count = outcomes.len();
                for outcome in outcomes {
                    ensure!(outcome?.is_applied(), "a set in a batch did not apply");
                }
                ensure!(count == items.len(), "{} sets in a batch gave {count}", items.len());
                for (key, value, life) in items {
                    self.model.put(*at, *key, value.clone(), *life);
                }
            }
            Op::DeleteMany { at, keys } => {
                let names: Vec<&str> = keys.iter().map(|key| KEYS[*key]).collect();
                let want = keys.iter().filter(|key| self.model.delete(*at, **key)).count() as u64;
                let outcome = self.at(*at)?.delete_many(&names).await?;
                let existed = outcome.existed;
                ensure!(existed == want, "delete_many({names:?}) gave {existed}, not {want}");
                ensure!(
                    outcome.outcomes.len() == keys.len(),
                    "delete_many({names:?}) gave {} outcomes",
                    outcome.outcomes.len()
                );
            }
            Op::DeleteAll { at } => {
                self.model.delete_all(*at);
                self.at(*at)?.delete_all().await?;
            }
            Op::DeletePrefix { at, prefix } => {
                let prefix = PREFIXES[*prefix];
                let want = self.model.delete_prefix(*at, prefix);
                let deleted = self.at(*at)?.delete_prefix(prefix).await?;
                ensure!(deleted == want, "delete_prefix({prefix:?}) gave {deleted}, not {want}");
            }
            Op::Purge { at } => {
                let most = self.model.purge(*at);
                let most = if self.trial.capabilities().native_expiry { 0 } else { most };
                let removed = self.at(*at)?.delete_expired().await?;
                ensure!(removed <= most, "delete_expired() gave {removed}, more than {most}");
            }
            Op::List { at, prefix, limit } => {
                let prefix = PREFIXES[*prefix];
                let mut keys = all_keys(&self.at(*at)?, prefix, *limit).await?;
                keys.sort_unstable();
                keys.dedup();
                let want = self.model.list(*at, prefix);
                ensure!(keys == want, "a listing of {prefix:?} gave {keys:?}, not {want:?}");
            }
            Op::Children { at, limit } => {
                let mut names = all_children(&self.at(*at)?, *limit).await?;
                names.sort_unstable();
                names.dedup();
                let want = self.model.children(*at);
                ensure!(
                    names == want,
                    "the children of {:?} are {names:?}, not {want:?}",
                    PATHS[*at]
                );
            }
            Op::Pass(ticks) => {
                self.trial.advance(self.tick * *ticks).await;
                self.model.pass(*ticks);
            }
            Op::Lapse { at, key } => {
                let store = self.at(*at)?;
                store.set(KEYS[*key], "lapses").ttl(self.tick).await?;
                self.trial.outlive(self.tick).await;
                self.trial.expect_gone(&store, KEYS[*key]).await?;
                if self.trial.exact_time() {
                    self.model.pass(1);
                }
                self.model.put(*at, *key, String::new(), Life::Ticks(0));
            }
            Op::Reopen => {
                self.view.root.close().await?;
                self.view = self.trial.reopen_closed().await?;
            }
        }
        Ok(())
    }

    async fn get(&mut self, at: usize, key: usize, renew: Option<Life>) -> Verdict {
        let mut options = GetOptions::default();
        let want = match renew {
            None => self.model.value(at, key).map(str::to_owned),
            Some(life) => {
                if let larder_core::Expiry::After(duration) = life.expiry(self.tick) {
                    options = options.with_renew_for(duration);
                }
                self.model.renew(at, key, life)
            }
        };
        let entry = self.at(at)?.get_opts(KEYS[key], options).await?;
        let found = entry.as_ref().map(|entry| &entry.value[..]);
        ensure!(
            found == want.as_deref().map(str::as_bytes),
            "get({:?}) in {:?} gave {} instead of {want:?}",
            KEYS[key],
            PATHS[at],
            show_found(found)
        );
        Ok(())
    }

    async fn increment(&mut self, at: usize, key: usize, by: i64) -> Verdict {
        let store = self.at(at)?;
        let (want, life) = match self.model.value(at, key) {
            None => (Some(by), Life::Never),
            Some(text) => {
                (text.parse::<i64>().ok().and_then(|number| number.checked_add(by)), Life::Keep)
            }
        };
        match (store.increment(KEYS[key], by).await, want) {
            (Ok(sum), Some(want)) if sum == want => {
                self.model.put(at, key, want.to_string(), life);
                Ok(())
            }
            (Err(error), None) if error.kind() == ErrorKind::InvalidValue => Ok(()),
            (Err(error), _) => Err(error.into()),
            (Ok(sum), want) => Err(Stop::fail(format!(
                "increment({:?}, {by}) in {:?} gave {sum} instead of {want:?}",
                KEYS[key], PATHS[at]
            ))),
        }
    }
}
