//! Random histories on a few namespaces, against a `BTreeMap` and a clock that is moved by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{
    Bytes, Clock, Condition, DeleteOptions, ExpiresIn, Expiry, GetOptions, ManualClock,
    NamespacedStore, SetItem, SetOptions, Store, Version,
};
use larder_memory::MemoryStore;
use proptest::prelude::*;

const PATHS: [&[&str]; 5] = [&[], &["a"], &["a", "b"], &["ab"], &["a", "b", "c"]];
const KEYS: [&str; 6] = ["", "k", "key", "k\0", "é", "z"];
/// Enough to split a namespace, and to pack it again when they are deleted.
const MANY: usize = 2_600;

#[derive(Debug, Clone)]
enum Guard {
    Any,
    Absent,
    Present,
    /// The version that the key has now.
    Current,
    /// A version of another value of the same length.
    Other,
}

#[derive(Debug, Clone)]
enum Step {
    Set { key: usize, len: usize, expiry: Expiry, guard: Guard },
    SetMany { expiry: Expiry },
    Get { key: usize, renew_for: Option<Duration> },
    Delete { key: usize, guard: Guard },
    UpdateExpiry { key: usize, expiry: Expiry },
    DeletePrefix { prefix: &'static str },
    DeleteAll,
    DeleteExpired,
    Advance(Duration),
    Look,
}

fn millis() -> impl Strategy<Value = Duration> {
    (0_u64..40).prop_map(Duration::from_millis)
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Never),
        Just(Expiry::Keep),
        millis().prop_map(Expiry::After),
        Just(Expiry::After(Duration::MAX)),
        (-20_i64..40).prop_map(|millis| Expiry::At(start() + TimeDelta::milliseconds(millis))),
    ]
}

fn guard() -> impl Strategy<Value = Guard> {
    prop_oneof![
        4 => Just(Guard::Any),
        1 => Just(Guard::Absent),
        1 => Just(Guard::Present),
        1 => Just(Guard::Current),
        1 => Just(Guard::Other),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    let len = prop_oneof![Just(0_usize), Just(3), Just(512), Just(513), Just(300_000)];
    prop_oneof![
        8 => (key.clone(), len, expiry(), guard())
            .prop_map(|(key, len, expiry, guard)| Step::Set { key, len, expiry, guard }),
        1 => expiry().prop_map(|expiry| Step::SetMany { expiry }),
        4 => (key.clone(), proptest::option::of(millis()))
            .prop_map(|(key, renew_for)| Step::Get { key, renew_for }),
        2 => (key.clone(), guard()).prop_map(|(key, guard)| Step::Delete { key, guard }),
        2 => (key, expiry()).prop_map(|(key, expiry)| Step::UpdateExpiry { key, expiry }),
        1 => prop_oneof![Just("k"), Just(""), Just("many"), Just("nothing")]
            .prop_map(|prefix| Step::DeletePrefix { prefix }),
        1 => Just(Step::DeleteAll),
        1 => Just(Step::DeleteExpired),
        4 => millis().prop_map(Step::Advance),
        2 => Just(Step::Look),
    ]
}

fn start() -> DateTime<Utc> {
    ManualClock::new().now()
}

/// Milliseconds since the start.
type Millis = u64;

#[derive(Debug, Default)]
struct Model {
    records: BTreeMap<(usize, String), (Bytes, Option<Millis>)>,
    /// Those that the store may have dropped of its own accord, being expired.
    dropped: BTreeSet<(usize, String)>,
    now: Millis,
}

impl Model {
    fn live(&self, path: usize, key: &str) -> Option<&(Bytes, Option<Millis>)> {
        let record = self.records.get(&(path, key.to_owned()));
        record.filter(|(_, deadline)| deadline.is_none_or(|deadline| self.now < deadline))
    }

    /// What an expiry means now: the deadline, or `Err` for "gone".
    fn resolve(&self, expiry: Expiry, held: Option<Millis>) -> Result<Option<Millis>, ()> {
        match expiry {
            Expiry::After(Duration::ZERO) => Err(()),
            // It saturates far beyond any time reached here.
            Expiry::After(Duration::MAX) => Ok(Some(Millis::MAX)),
            Expiry::After(duration) => {
                Ok(Some(self.now + u64::try_from(duration.as_millis()).unwrap()))
            }
            Expiry::At(moment) => match u64::try_from((moment - start()).num_milliseconds()) {
                Ok(deadline) if deadline > self.now => Ok(Some(deadline)),
                _ => Err(()),
            },
            Expiry::Keep => Ok(held),
            _ => Ok(None),
        }
    }

    fn set(&mut self, path: usize, key: &str, value: Bytes, expiry: Expiry) {
        let held = self.live(path, key).and_then(|(_, deadline)| *deadline);
        let place = (path, key.to_owned());
        self.dropped.remove(&place);
        match self.resolve(expiry, held) {
            Ok(deadline) => self.records.insert(place, (value, deadline)),
            Err(()) => self.records.remove(&place),
        };
    }

    /// A large namespace that would grow drops what has expired instead.
    fn note_dropped(&mut self, path: usize) {
        let here = || self.records.iter().filter(|((at, _), _)| *at == path);
        if here().count() > 1_000 {
            let expired = here()
                .filter(|(_, (_, deadline))| deadline.is_some_and(|deadline| deadline <= self.now));
            self.dropped.extend(expired.map(|(place, _)| place.clone()));
        }
    }

    /// Removes what has expired here and below; tells how much of it the store may still have held.
    fn purge(&mut self, path: usize) -> RangeInclusive<u64> {
        let (now, mut most, mut fewest) = (self.now, 0, 0);
        self.records.retain(|place, (_, deadline)| {
            if !Self::is_below(place.0, path) || deadline.is_none_or(|deadline| now < deadline) {
                return true;
            }
            most += 1;
            fewest += u64::from(!self.dropped.remove(place));
            false
        });
        fewest..=most
    }

    fn is_below(path: usize, ancestor: usize) -> bool {
        PATHS[path].starts_with(PATHS[ancestor])
    }

    fn expires_in(&self, path: usize, key: &str) -> ExpiresIn {
        match self.live(path, key) {
            None => ExpiresIn::Missing,
            Some((_, None)) => ExpiresIn::Never,
            Some((_, Some(deadline))) => ExpiresIn::In(Duration::from_millis(deadline - self.now)),
        }
    }

    fn children(&self, path: usize) -> BTreeSet<String> {
        let live = self.records.keys().filter(|(at, key)| self.live(*at, key).is_some());
        live.filter(|(at, _)| *at != path && Self::is_below(*at, path))
            .map(|(at, _)| PATHS[*at][PATHS[path].len()].to_owned())
            .collect()
    }
}

fn condition(model: &Model, path: usize, key: &str, guard: &Guard) -> (Condition, bool) {
    let live = model.live(path, key).map(|(value, _)| value);
    match guard {
        Guard::Any => (Condition::Any, true),
        Guard::Absent => (Condition::Absent, live.is_none()),
        Guard::Present => (Condition::Present, live.is_some()),
        Guard::Current => {
            // The bytes, but not the buffer of the store.
            let value = live.map_or(Bytes::new(), |value| Bytes::copy_from_slice(value));
            (Condition::Matches(Version::new(value)), live.is_some())
        }
        Guard::Other => {
            let mut value = live.map_or(vec![], |value| value.to_vec());
            let Some(last) = value.last_mut() else {
                return (Condition::Matches(Version::new(vec![1])), false);
            };
            *last ^= 1;
            (Condition::Matches(Version::new(value)), false)
        }
    }
}

async fn list(store: &dyn Store, prefix: &str, limit: usize) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list_page(prefix, cursor.as_ref(), limit).await.unwrap();
        assert!(page.keys.len() <= limit);
        keys.extend(page.keys);
        cursor = page.next;
        if cursor.is_none() {
            keys.sort();
            return keys;
        }
    }
}

async fn namespaces(store: &dyn Store, limit: usize) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list_child_namespaces(cursor.as_ref(), limit).await.unwrap();
        assert!(page.segments.len() <= limit);
        names.extend(page.segments);
        cursor = page.next;
        if cursor.is_none() {
            return names;
        }
    }
}

async fn look(store: &Arc<dyn NamespacedStore>, model: &Model, path: usize) {
    let live: Vec<String> = model
        .records
        .keys()
        .filter(|(at, key)| *at == path && model.live(path, key).is_some())
        .map(|(_, key)| key.clone())
        .collect();
    for (prefix, limit) in [("", 7), ("k", 1), ("many", 1_000)] {
        let wanted: Vec<_> = live.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(list(store, prefix, limit).await, wanted);
    }
    let children: Vec<_> = model.children(path).into_iter().collect();
    assert_eq!(namespaces(store, 1).await, children);
    for key in KEYS {
        let value = model.live(path, key).map(|(value, _)| value.clone());
        assert_eq!(store.exists(key).await.unwrap(), value.is_some());
        let left = store.expires_in(key).await.unwrap();
        match model.expires_in(path, key) {
            ExpiresIn::In(far) if far > Duration::from_secs(1_000) => {
                assert!(left.as_duration().unwrap() > Duration::from_secs(1_000));
            }
            wanted => assert_eq!(left, wanted),
        }
    }
    let values = store.get_many(&KEYS).await.unwrap();
    for (key, value) in KEYS.iter().zip(values) {
        assert_eq!(value.unwrap(), model.live(path, key).map(|(value, _)| value.clone()));
    }
}

async fn apply(
    store: &Arc<dyn NamespacedStore>,
    clock: &ManualClock,
    model: &mut Model,
    path: usize,
    count: usize,
    step: Step,
) {
    match step {
        Step::Set { key, len, expiry, guard } => {
            let key = KEYS[key];
            let mut value = vec![u8::try_from(count % 251).unwrap(); len];
            value.iter_mut().take(1).for_each(|first| *first ^= 1);
            let value = Bytes::from(value);
            let (condition, holds) = condition(model, path, key, &guard);
            let options =
                SetOptions::default().with_expiry(expiry).with_condition(condition.clone());
            let outcome = store.set_opts(key, value.clone(), options).await.unwrap();
            assert_eq!(outcome.is_applied(), holds, "{condition:?}");
            if holds {
                model.set(path, key, value, expiry);
                model.note_dropped(path);
            }
        }
        Step::SetMany { expiry } => {
            let keys: Vec<String> = (0..MANY).map(|number| format!("many{number}")).collect();
            let options = SetOptions::default().with_expiry(expiry);
            let items = keys.iter().map(|key| SetItem::new(key, key).with_options(options.clone()));
            let outcomes = store.set_many(items.collect()).await.unwrap();
            assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().is_applied()));
            for key in keys {
                model.set(path, &key, Bytes::from(key.clone()), expiry);
            }
            model.note_dropped(path);
        }
        Step::Get { key, renew_for } => {
            let key = KEYS[key];
            let mut options = GetOptions::default().with_expires_in(true).with_version(true);
            options.renew_for = renew_for;
            let entry = store.get_opts(key, options).await.unwrap();
            let wanted = model.live(path, key).cloned();
            assert_eq!(entry.as_ref().map(|entry| &entry.value), wanted.as_ref().map(|w| &w.0));
            if let Some((value, Some(_))) = wanted
                && let Some(duration) = renew_for
            {
                model.set(path, key, value, Expiry::After(duration));
            }
            if let Some(entry) = entry {
                assert_eq!(entry.version.unwrap().as_bytes(), &entry.value);
                match model.expires_in(path, key) {
                    ExpiresIn::In(far) if far > Duration::from_secs(1_000) => {}
                    wanted => assert_eq!(entry.expires_in, Some(wanted)),
                }
            }
        }
        Step::Delete { key, guard } => {
            let key = KEYS[key];
            let (condition, holds) = condition(model, path, key, &guard);
            let deletes = holds && model.live(path, key).is_some();
            let options = DeleteOptions::default().with_condition(condition);
            assert_eq!(store.delete_opts(key, options).await.unwrap(), deletes);
            if deletes || model.live(path, key).is_none() {
                model.records.remove(&(path, key.to_owned()));
            }
        }
        Step::UpdateExpiry { key, expiry } => {
            let key = KEYS[key];
            let live = model.live(path, key).cloned();
            assert_eq!(store.update_expiry(key, expiry).await.unwrap(), live.is_some());
            if let Some((value, _)) = live {
                model.set(path, key, value, expiry);
            }
        }
        Step::DeletePrefix { prefix } => {
            let found: Vec<_> = model
                .records
                .keys()
                .filter(|(at, key)| *at == path && key.starts_with(prefix))
                .cloned()
                .collect();
            let live = found.iter().filter(|(at, key)| model.live(*at, key).is_some()).count();
            assert_eq!(store.delete_prefix(prefix).await.unwrap(), live as u64);
            for place in found {
                model.records.remove(&place);
            }
        }
        Step::DeleteAll => {
            store.delete_all().await.unwrap();
            model.records.retain(|(at, _), _| !Model::is_below(*at, path));
        }
        Step::DeleteExpired => {
            let counts = model.purge(path);
            let removed = store.delete_expired().await.unwrap();
            assert!(counts.contains(&removed), "{removed}, not in {counts:?}");
        }
        Step::Advance(by) => {
            clock.advance(by);
            model.now += u64::try_from(by.as_millis()).unwrap();
        }
        Step::Look => look(store, model, path).await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_history_goes_as_in_the_model(
        steps in proptest::collection::vec((0..PATHS.len(), step()), 1..80),
        keep_handles in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let clock = ManualClock::new();
            let root = MemoryStore::builder().clock(clock.clone()).build().unwrap();
            let mut model = Model::default();
            let handles: Vec<_> =
                PATHS.iter().map(|path| root.with_path(path).unwrap()).collect();
            let handles = keep_handles.then_some(handles);
            for (count, (path, step)) in steps.into_iter().enumerate() {
                let store = match &handles {
                    Some(handles) => Arc::clone(&handles[path]),
                    None => root.with_path(PATHS[path]).unwrap(),
                };
                apply(&store, &clock, &mut model, path, count, step).await;
            }
            for (path, segments) in PATHS.iter().enumerate() {
                look(&root.with_path(segments).unwrap(), &model, path).await;
            }
        });
    }
}
