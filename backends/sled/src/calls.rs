//! What the store's calls on one key, on a prefix and on what has expired do: on the caller's thread
//! where that is short, else on a blocking one.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Condition, Entry, ExpiresIn, Expiry, GetOptions, InProgress, Result, SetOptions, Version,
};

use crate::SledStore;
use crate::found::{Got, Live};
use crate::keyspace::{self, KeyRange};
use crate::record;
use crate::records::{Records, Renewal};
use crate::shared::SLICE;

/// The largest value that is read, written or compared on the caller's thread.
pub(crate) const SMALL_VALUE: u64 = 64 * 1024;
impl SledStore {
    /// Reads a small value.
    #[inline]
    pub(crate) fn get(&self, key: &str) -> Result<Got> {
        self.context.check("get", key)?;
        keyspace::with_physical(&self.prefix, key, |physical| {
            let is_past = |deadline| self.shared.is_past(deadline);
            self.shared.run(|records| records.get(physical, is_past, SMALL_VALUE))
        })
        .map_err(|error| self.context.key_error("get", key, error))
    }

    /// Reads a value of any size, or more than the value.
    pub(crate) async fn get_entry(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.context.check("get", key)?;
        let named = |error| self.context.key_error("get", key, error);
        loop {
            // One reading of the clock for the life that is left and for whether any is.
            let now = self.shared.now();
            let got = keyspace::with_physical(&self.prefix, key, |physical| {
                let is_past = |deadline| record::is_past(deadline, now);
                self.shared.run(|records| records.get(physical, is_past, SMALL_VALUE))
            });
            let got = match got.map_err(named)? {
                Got::TooLarge => self.get_large(key, now).await.map_err(named)?,
                got => got,
            };
            if got != Got::Expired || self.bury_expired(key, now).await.map_err(named)? {
                return Ok(got.live().map(|live| entry(live, &options, now)));
            }
        }
    }

    /// How long a key still lives; an error names the operation that wants to know.
    pub(crate) async fn life_of(&self, operation: &'static str, key: &str) -> Result<ExpiresIn> {
        self.context.check(operation, key)?;
        let named = |error| self.context.key_error(operation, key, error);
        loop {
            let now = self.shared.now();
            let left = keyspace::with_physical(&self.prefix, key, |physical| {
                self.shared.run(|records| records.expires_in(physical, now))
            });
            match left.map_err(named)? {
                None => return Ok(ExpiresIn::Missing),
                Some(ExpiresIn::Missing)
                    if !self.bury_expired(key, now).await.map_err(named)? => {}
                Some(left) => return Ok(left),
            }
        }
    }

    /// As [`Records::bury_expired`], where there is room for a write.
    async fn bury_expired(&self, key: &str, now: DateTime<Utc>) -> Result<bool> {
        let physical = self.physical(key);
        self.shared.make_room().await;
        self.shared.run(|records| records.bury_expired(&physical, now))
    }

    /// Runs a step on the caller's thread, or on a blocking one.
    async fn step<T: Send + 'static>(
        &self,
        call: &Arc<InProgress>,
        in_place: bool,
        step: impl FnOnce(&Records) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if !in_place {
            // Apart, as it needs much room in the future of a call that never gets here.
            return Box::pin(self.shared.hop(call, step)).await;
        }
        self.shared.make_room().await;
        self.shared.run(step)
    }

    async fn get_large(&self, key: &str, now: DateTime<Utc>) -> Result<Got> {
        let call = self.begin("get", key)?;
        let physical = self.physical(key);
        let is_past = move |deadline| record::is_past(deadline, now);
        self.shared.hop(&call, move |records| records.get(&physical, is_past, u64::MAX)).await
    }

    pub(crate) async fn set(
        &self,
        call: &Arc<InProgress>,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<bool> {
        let physical = self.physical(key);
        let now = self.shared.now();
        let in_place = is_small(&value) && compares_little(&options.condition);
        let set = move |records: &Records| records.set(&physical, &value, &options, now);
        let applied = self.step(call, in_place, set).await?;
        if applied {
            self.shared.persist(call).await?;
        }
        Ok(applied)
    }

    pub(crate) async fn delete(
        &self,
        call: &Arc<InProgress>,
        key: &str,
        condition: Condition,
    ) -> Result<bool> {
        let physical = self.physical(key);
        let now = self.shared.now();
        let in_place = compares_little(&condition);
        let delete = move |records: &Records| records.delete(&physical, &condition, now);
        let deleted = self.step(call, in_place, delete).await?;
        if deleted {
            self.shared.persist(call).await?;
        }
        Ok(deleted)
    }

    pub(crate) async fn renew(
        &self,
        call: &Arc<InProgress>,
        key: &str,
        renewal: Renewal,
        now: DateTime<Utc>,
    ) -> Result<Option<Live>> {
        let physical: Arc<[u8]> = self.physical(key).into();
        self.shared.make_room().await;
        let mut renewed =
            self.shared.run(|records| records.renew(&physical, renewal, now, SMALL_VALUE))?;
        if renewed.0 == Got::TooLarge {
            let renew = move |records: &Records| records.renew(&physical, renewal, now, u64::MAX);
            renewed = Box::pin(self.shared.hop(call, renew)).await?;
        }
        let (got, wrote) = renewed;
        if wrote {
            self.shared.persist(call).await?;
        }
        Ok(got.live())
    }

    pub(crate) async fn get_and_renew(
        &self,
        key: &str,
        renew_for: Duration,
        options: GetOptions,
    ) -> Result<Option<Entry>> {
        let call = self.begin("get", key)?;
        let now = self.shared.now();
        let expiry = Expiry::After(renew_for);
        let renewal = Renewal { expiry, only_with_expiry: true, with_value: true };
        let live = self.renew(&call, key, renewal, now).await;
        let live = live.map_err(|error| self.context.key_error("get", key, error))?;
        Ok(live.map(|live| entry(live, &options, now)))
    }

    /// Removes everything below a physical prefix, and counts what was live.
    pub(crate) async fn clear(&self, call: &Arc<InProgress>, below: &[u8]) -> Result<u64> {
        let range = KeyRange::below(below);
        let from = range.from.clone();
        let now = self.shared.now();
        let clear = move |records: &Records, from| {
            records.clear(&range.clone().starting_at(from), SLICE, now)
        };
        let removed = self.shared.in_slices(call, from, clear).await?;
        self.shared.persist(call).await?;
        Ok(removed)
    }

    pub(crate) async fn purge(&self, call: &Arc<InProgress>) -> Result<u64> {
        let (below, now) = (Arc::clone(&self.prefix), self.shared.now());
        let purge =
            move |records: &Records, from: Vec<u8>| records.purge(&below, &from, SLICE, now);
        let removed = self.shared.in_slices(call, Vec::new(), purge).await?;
        self.shared.persist(call).await?;
        Ok(removed)
    }
}

fn is_small(value: &[u8]) -> bool {
    value.len() as u64 <= SMALL_VALUE
}

/// Tells whether a condition is decided without looking at a large value.
fn compares_little(condition: &Condition) -> bool {
    match condition {
        Condition::Matches(version) => is_small(version.as_bytes()),
        _ => true,
    }
}

/// What a get gives, at `now`.
fn entry(live: Live, options: &GetOptions, now: DateTime<Utc>) -> Entry {
    let mut entry = Entry::new(live.value);
    if options.expires_in {
        entry.expires_in = Some(ExpiresIn::until(live.expires_at, now));
    }
    if options.version {
        entry.version = Some(Version::new(entry.value.clone()));
    }
    entry
}

#[cfg(test)]
mod tests {
    use larder_core::{ManualClock, Store, StoreExt};

    use super::*;

    #[tokio::test]
    async fn a_renewal_for_zero_tells_that_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let sled = SledStore::builder(directory.path()).build().await.unwrap();
        let store: &dyn Store = &sled;
        let taking = GetOptions::default().with_expires_in(true).with_renew_for(Duration::ZERO);
        for value in ["small".to_owned(), "large".repeat(20_000)] {
            store.set("k", &value).ttl(Duration::from_secs(60)).await.unwrap();
            let entry = store.get_opts("k", taking.clone()).await.unwrap().unwrap();
            assert_eq!(
                (&entry.value[..], entry.expires_in),
                (value.as_bytes(), Some(ExpiresIn::Missing))
            );
            store.set("k", &value).await.unwrap();
            let entry = store.get_opts("k", taking.clone()).await.unwrap().unwrap();
            assert_eq!(entry.expires_in, Some(ExpiresIn::Never));
        }
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn whatever_tells_that_a_key_is_dead_removes_it_first() {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let builder = SledStore::builder(directory.path()).clock(clock.clone());
        let sled = builder.build().await.unwrap();
        let store: &dyn Store = &sled;
        let life = Duration::from_secs(1);
        let more: Vec<String> = (0..200).map(|index| format!("other {index}")).collect();
        let many: Vec<&str> = more.iter().map(String::as_str).chain(["k"]).collect();
        let with_life = GetOptions::default().with_expires_in(true);
        for value in ["small".to_owned(), "large".repeat(10_000)] {
            for way in 0..7 {
                store.set("k", &value).ttl(life).await.unwrap();
                clock.advance(life);
                let found = match way {
                    0 => store.get("k").await.unwrap().is_some(),
                    1 => store.get_opts("k", with_life.clone()).await.unwrap().is_some(),
                    2 => store.get("k").renew_for(life).await.unwrap().is_some(),
                    3 => store.exists("k").await.unwrap(),
                    4 => store.expires_in("k").await.unwrap() != ExpiresIn::Missing,
                    5 => store.get_many(&["k"]).await.unwrap().remove(0).unwrap().is_some(),
                    _ => store.get_many(&many).await.unwrap().pop().unwrap().unwrap().is_some(),
                };
                let left = sled.shared.run(|records| Ok(records.tree.range(&[], None).count()));
                assert!(!found && left.unwrap() == 0, "{way}");
            }
        }
        store.close().await.unwrap();
    }
}
