use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    BoxFuture, Clock, Condition, DeleteOptions, Error, ErrorKind, GetOptions, SetItem, SetOptions,
    Store, Version,
};
use tokio::time::Instant;

use super::cancellation::drop_after;
use crate::linearizability::{
    Answer, Call, Event, Life, Tolerance, When, is_linearizable, shortest,
};
use crate::random::{Random, SEED, Seeds};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, joined, show_error, show_value};

const CALLERS: usize = 4;
const CALLS: usize = 12;
const KEYS: [&str; 2] = ["hot", "hotter"];
/// By how much the clock of a server may differ from the one of this process, as seen in a few
/// seconds.
const SKEW: Duration = Duration::from_millis(50);

/// What the callers of a history do.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
struct Mix {
    conditions: bool,
    expiry: bool,
    renew: bool,
    dropped: bool,
    second_handle: bool,
}

pub(super) async fn plain_calls_are_linearizable(t: &Trial) -> Verdict {
    try_histories(t, Mix::default()).await
}

pub(super) async fn conditions_are_linearizable(t: &Trial) -> Verdict {
    try_histories(t, Mix { conditions: true, ..Mix::default() }).await
}

pub(super) async fn expiry_is_linearizable(t: &Trial) -> Verdict {
    let has = t.capabilities();
    let mix = Mix { conditions: has.conditions, expiry: true, renew: has.renew, ..Mix::default() };
    try_histories(t, mix).await
}

pub(super) async fn dropped_calls_are_linearizable(t: &Trial) -> Verdict {
    let mix = Mix { conditions: t.capabilities().conditions, dropped: true, ..Mix::default() };
    try_histories(t, mix).await
}

pub(super) async fn two_handles_are_linearizable(t: &Trial) -> Verdict {
    let has = t.capabilities();
    let mix = Mix {
        conditions: has.conditions,
        expiry: true,
        renew: has.renew,
        second_handle: true,
        ..Mix::default()
    };
    try_histories(t, mix).await
}

async fn try_histories(t: &Trial, mix: Mix) -> Verdict {
    let second = if mix.second_handle { Some(t.second_handle().await?) } else { None };
    let mut handles = vec![t.store()];
    handles.extend(second.iter().map(|view| Arc::clone(&view.store)));
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4);
    let tolerance = Tolerance {
        granule: if t.exact_time() { 0 } else { nanos(t.capabilities().expiry_granularity) },
        skew: if t.exact_time() { 0 } else { nanos(SKEW) },
    };
    let mut verdict = Ok(());
    for seed in Seeds::new(3, 80, t.random_budget()) {
        t.part();
        verdict = one_history(t, mix, seed, &handles, tolerance).await;
        if verdict.is_err() {
            break;
        }
    }
    if let Some(view) = second {
        view.root.close().await?;
    }
    verdict
}

async fn one_history(
    t: &Trial,
    mix: Mix,
    seed: u64,
    handles: &[Arc<dyn Store>],
    tolerance: Tolerance,
) -> Verdict {
    let prefix = format!("{seed} ");
    let time = Time::new(t);
    let order = Arc::new(AtomicU64::new(0));
    let tick = u64::try_from(t.tick().as_nanos()).unwrap_or(u64::MAX / 8);
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let caller = Caller {
            number: caller,
            mix,
            tick,
            prefix: prefix.clone(),
            store: Arc::clone(&handles[caller % handles.len()]),
            time: time.clone(),
            order: Arc::clone(&order),
            random: Random::new(seed.wrapping_mul(1_000).wrapping_add(caller as u64)),
            held: Vec::new(),
            events: Vec::new(),
        };
        tasks.push(tokio::spawn(caller.run()));
    }
    if mix.expiry && t.exact_time() {
        let mut random = Random::new(seed);
        while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
            if random.once_in(3) {
                t.advance(t.tick()).await;
            }
            tokio::task::yield_now().await;
        }
    }
    let mut events: Vec<(usize, Event)> = Vec::new();
    for task in tasks {
        events.extend(joined(task.await)??);
    }
    for (index, key) in KEYS.iter().enumerate() {
        let mut history: Vec<Event> = events
            .iter()
            .filter(|(key, _)| *key == index)
            .map(|(_, event)| event.clone())
            .collect();
        history.sort_by_key(|event| event.began);
        if is_linearizable(&history, tolerance) == Some(false) {
            let shown = shortest(&history, tolerance);
            return Err(Stop::fail_with(
                format!(
                    "what {CALLERS} callers saw of the key {key:?} cannot have happened one call after \
                     the other (seed {seed}; {SEED}={seed} tries it again)"
                ),
                shown.iter().map(ToString::to_string).collect(),
            ));
        }
    }
    Ok(())
}

/// The time in nanoseconds, of the store's clock where it has one.
#[derive(Clone)]
struct Time {
    clock: Option<larder_core::ManualClock>,
    origin: DateTime<Utc>,
    started: Instant,
}

impl Time {
    fn new(t: &Trial) -> Self {
        Self { clock: t.clock().cloned(), origin: t.now(), started: Instant::now() }
    }

    fn now(&self) -> u64 {
        let nanos = match &self.clock {
            Some(clock) => (clock.now() - self.origin).num_nanoseconds().map(i64::unsigned_abs),
            None => u64::try_from(self.started.elapsed().as_nanos()).ok(),
        };
        // Begins above zero, so that a skew can be taken away.
        nanos.unwrap_or(u64::MAX / 8) + 1_000_000_000
    }
}

struct Caller {
    number: usize,
    mix: Mix,
    tick: u64,
    prefix: String,
    store: Arc<dyn Store>,
    time: Time,
    order: Arc<AtomicU64>,
    random: Random,
    /// Versions that were read, by key and value.
    held: Vec<(usize, u32, Version)>,
    events: Vec<(usize, Event)>,
}

type Answered = larder_core::Result<(Answer, Option<Version>)>;

impl Caller {
    async fn run(mut self) -> Verdict<Vec<(usize, Event)>> {
        for step in 0..CALLS {
            for _ in 0..self.random.below(4) {
                tokio::task::yield_now().await;
            }
            let key = self.random.below(KEYS.len());
            if self.random.once_in(8) {
                self.bulk(step).await?;
                continue;
            }
            let call = self.choose(key, step);
            self.make(key, call).await?;
        }
        Ok(self.events)
    }

    fn key(&self, key: usize) -> String {
        format!("{}{}", self.prefix, KEYS[key])
    }

    /// A value that no other call of the history sets.
    fn fresh(&self, step: usize, extra: usize) -> u32 {
        u32::try_from((self.number + 1) * 1_000 + step * 10 + extra).unwrap_or_default()
    }

    fn life(&mut self) -> Life {
        if !self.mix.expiry {
            return Life::Never;
        }
        match self.random.below(6) {
            0 => Life::Never,
            1 => Life::Keep,
            2 => Life::After(0),
            ticks => Life::After(self.tick * (ticks as u64 - 2)),
        }
    }

    fn when(&mut self, key: usize) -> When {
        if !self.mix.conditions {
            return When::Any;
        }
        let held = self.held.iter().rev().find(|(of, ..)| *of == key).map(|(_, value, _)| *value);
        match (self.random.below(5), held) {
            (0, _) => When::Absent,
            (1, _) => When::Present,
            (2 | 3, Some(value)) => When::Matches(value),
            _ => When::Any,
        }
    }

    fn choose(&mut self, key: usize, step: usize) -> Call {
        match self.random.below(10) {
            3 => Call::Exists,
            4 if self.mix.renew => Call::Renew(self.tick * self.random.below(4) as u64),
            5 if self.mix.renew => Call::UpdateExpiry(self.life()),
            0..6 => Call::Get,
            6 => Call::Delete(self.when(key)),
            _ => {
                let (life, condition) = (self.life(), self.when(key));
                Call::Set { value: self.fresh(step, 0), life, condition }
            }
        }
    }

    fn condition(&self, key: usize, when: When) -> Condition {
        let version = |value| {
            let held = self.held.iter().find(|(of, held, _)| *of == key && *held == value);
            held.map_or_else(|| Version::new("none"), |(.., version)| version.clone())
        };
        match when {
            When::Any => Condition::Any,
            When::Absent => Condition::Absent,
            When::Present => Condition::Present,
            When::Matches(value) => Condition::Matches(version(value)),
        }
    }

    fn begin(&self) -> (u64, u64) {
        // The clock is read last, so that its window is no wider than the call.
        (self.order.fetch_add(1, SeqCst), self.time.now())
    }

    fn end(&mut self, key: usize, call: Call, answer: Answer, (began, before): (u64, u64)) {
        let clock = (before, self.time.now());
        let ended = self.order.fetch_add(1, SeqCst);
        self.events.push((key, Event { caller: self.number, call, answer, began, ended, clock }));
    }

    async fn make(&mut self, key: usize, call: Call) -> Verdict {
        let name = self.key(key);
        let store = Arc::clone(&self.store);
        let condition = match &call {
            Call::Set { condition, .. } | Call::Delete(condition) => *condition,
            _ => When::Any,
        };
        let condition = self.condition(key, condition);
        let future = answer(&*store, &name, call.clone(), condition, self.mix.conditions);
        let begun = self.begin();
        let answered = if self.mix.dropped && self.random.once_in(4) {
            drop_after(self.random.below(4), future).await
        } else {
            Some(future.await)
        };
        match answered {
            None => self.end(key, call, Answer::Unknown, begun),
            Some(Ok((answer, version))) => {
                if let (Answer::Found(Some(value)), Some(version)) = (answer, version) {
                    self.held.push((key, value, version));
                }
                self.end(key, call, answer, begun);
            }
            Some(Err(error)) => self.failed(key, call, &error, begun)?,
        }
        Ok(())
    }

    fn failed(&mut self, key: usize, call: Call, error: &Error, begun: (u64, u64)) -> Verdict {
        match error.kind() {
            // Nothing was done.
            kind if kind.is_retryable() => Ok(()),
            ErrorKind::Unknown => {
                self.end(key, call, Answer::Unknown, begun);
                Ok(())
            }
            ErrorKind::InvalidValue if error.operation() == Some(NOT_SET) => {
                Err(Stop::fail(error.message().to_owned()))
            }
            _ => Err(Stop::fail(format!("an unexpected error of {call}: {}", show_error(error)))),
        }
    }

    async fn bulk(&mut self, step: usize) -> Verdict {
        let names: Vec<String> = (0..KEYS.len()).map(|key| self.key(key)).collect();
        let store = Arc::clone(&self.store);
        if self.random.once_in(2) {
            let refs: Vec<&str> = names.iter().map(String::as_str).collect();
            let begun = self.begin();
            let values = store.get_many(&refs).await?;
            for (key, value) in values.into_iter().enumerate() {
                let found = number(value?.as_deref())?;
                self.end(key, Call::Get, Answer::Found(found), begun);
            }
            return Ok(());
        }
        let values: Vec<u32> = (0..KEYS.len()).map(|key| self.fresh(step, key + 1)).collect();
        let items = names.iter().zip(&values);
        let items = items.map(|(name, value)| SetItem::new(name, value.to_string())).collect();
        let begun = self.begin();
        let outcomes = store.set_many(items).await?;
        for (key, outcome) in outcomes.into_iter().enumerate() {
            let call = Call::Set { value: values[key], life: Life::Never, condition: When::Any };
            let applied = outcome?.is_applied();
            self.end(key, call, Answer::Done(applied), begun);
        }
        Ok(())
    }
}

const NOT_SET: &str = "a value that nobody set";

/// The number that a value of a history stands for.
fn number(value: Option<&[u8]>) -> larder_core::Result<Option<u32>> {
    let Some(value) = value else {
        return Ok(None);
    };
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| {
        let text = format!("a get gave {}, which nobody set", show_value(value));
        Error::new(ErrorKind::InvalidValue, text).with_operation(NOT_SET)
    })
}

/// The call on the store.
fn answer<'a>(
    store: &'a dyn Store,
    key: &'a str,
    call: Call,
    condition: Condition,
    with_version: bool,
) -> BoxFuture<'a, Answered> {
    Box::pin(async move {
        let done = |done| Ok((Answer::Done(done), None));
        match call {
            Call::Get | Call::Renew(_) => {
                let mut options = GetOptions::default().with_version(with_version);
                if let Call::Renew(nanos) = call {
                    options = options.with_renew_for(Duration::from_nanos(nanos));
                }
                let entry = store.get_opts(key, options).await?;
                let found = number(entry.as_ref().map(|entry| &entry.value[..]))?;
                Ok((Answer::Found(found), entry.and_then(|entry| entry.version)))
            }
            Call::Exists => done(store.exists(key).await?),
            Call::Set { value, life, .. } => {
                let options =
                    SetOptions::default().with_expiry(life.expiry()).with_condition(condition);
                let value = value.to_string().into();
                done(store.set_opts(key, value, options).await?.is_applied())
            }
            Call::Delete(_) => {
                let options = DeleteOptions::default().with_condition(condition);
                done(store.delete_opts(key, options).await?)
            }
            Call::UpdateExpiry(life) => done(store.update_expiry(key, life.expiry()).await?),
        }
    })
}
