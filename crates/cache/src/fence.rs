//! Fencing tokens: numbers that never go back (L2).

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Condition, Error, ErrorKind, GetOptions, NamespacedStore, SetOptions, Version,
};

use crate::backoff::Backoff;
use crate::carry::CarriedOver;
use crate::distributed::fnv128;
use crate::{CacheError, CacheResult};

/// How many counters there are: few enough to be kept for ever, and enough for locks on different
/// keys not to wait for one another.
const COUNTERS: usize = 16;
/// How often a counter is tried that others move, or that gives errors.
const ATTEMPTS: usize = 1_000;
const ERRORS: usize = 3;
/// The mark is looked after at the first token that is drawn, and then at each one of so many: a
/// server that evicts what is used least would find it otherwise.
const LOOK_AFTER: u64 = 64;
const MARK: &str = "counted";

/// What this process knows of the counters.
#[derive(Debug, Default)]
pub(crate) struct Fences([Counter; COUNTERS]);

#[derive(Debug, Default)]
struct Counter {
    /// The greatest token that was seen.
    seen: AtomicU64,
    drawn: AtomicU64,
}

impl Fences {
    /// Draws the next token for the lock called `name`: greater than all that were drawn before.
    ///
    /// # Errors
    /// `FenceLost` for a counter that is gone; the store's.
    pub(crate) async fn draw(
        &self,
        store: &dyn NamespacedStore,
        name: &str,
        now: DateTime<Utc>,
    ) -> CacheResult<u64> {
        // The remainder is below the number of counters.
        let index = usize::try_from(fnv128(name.as_bytes()) % COUNTERS as u128).unwrap_or(0);
        let (counter, keys) = (&self.0[index], Keys::of(index));
        let mut backoff = Backoff::new();
        let mut errors = 0;
        for _ in 0..ATTEMPTS {
            match counter.step(store, &keys, now).await {
                Ok(Some(token)) => {
                    counter.seen.fetch_max(token, SeqCst);
                    return Ok(token);
                }
                Ok(None) => {}
                // Moved or not: a token more or less is nothing.
                Err(CacheError::Store(error))
                    if errors < ERRORS
                        && (error.is_retryable() || error.kind() == ErrorKind::Unknown) =>
                {
                    errors += 1;
                    backoff.wait(None).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(moved_too_often().into())
    }
}

/// A counter, and the mark beside it.
pub(crate) struct Keys {
    counter: String,
    pub(crate) mark: String,
}

impl Keys {
    fn of(index: usize) -> Self {
        Self { counter: format!("{index:02}"), mark: format!("mark:{index:02}") }
    }

    /// The counter that a key belongs to.
    pub(crate) fn with(key: &str) -> Option<Self> {
        (0..COUNTERS).map(Self::of).find(|keys| keys.counter == key || keys.mark == key)
    }

    /// Sees that the counter of another store is not behind, and has its mark.
    pub(crate) async fn carry_over(
        &self,
        from: &dyn NamespacedStore,
        to: &dyn NamespacedStore,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<CarriedOver, Error> {
        let Some(entry) = from.get_opts(&self.counter, GetOptions::default()).await? else {
            return Ok(CarriedOver::LeftOut);
        };
        if key == self.mark {
            return Ok(CarriedOver::WithCounter);
        }
        let token = parse(&entry.value).map_err(|error| error.with_key(&self.counter))?;
        let carried = self.raise(to, token, now).await?;
        if carried != CarriedOver::LeftOut {
            // After the counter: a mark without one would be taken for a loss.
            set_mark(to, self).await?;
        }
        Ok(carried)
    }

    async fn raise(
        &self,
        store: &dyn NamespacedStore,
        token: u64,
        now: DateTime<Utc>,
    ) -> Result<CarriedOver, Error> {
        for _ in 0..ATTEMPTS {
            let entry =
                store.get_opts(&self.counter, GetOptions::default().with_version(true)).await?;
            let (next, condition) = match entry {
                Some(entry) => {
                    let last =
                        parse(&entry.value).map_err(|error| error.with_key(&self.counter))?;
                    if last >= token {
                        return Ok(CarriedOver::Kept);
                    }
                    (token, Condition::Matches(version(entry.version)?))
                }
                // It was lost, and is for somebody to look after.
                None if store.exists(&self.mark).await? => return Ok(CarriedOver::LeftOut),
                None => (token.max(first(now)), Condition::Absent),
            };
            let options = SetOptions::default().with_condition(condition);
            let value = Bytes::from(next.to_string());
            if store.set_opts(&self.counter, value, options).await?.is_applied() {
                return Ok(CarriedOver::Written);
            }
        }
        Err(moved_too_often())
    }
}

impl Counter {
    /// Moves the counter by one; `None` when another process did so at the same time.
    async fn step(
        &self,
        store: &dyn NamespacedStore,
        keys: &Keys,
        now: DateTime<Utc>,
    ) -> CacheResult<Option<u64>> {
        let entry = store.get_opts(&keys.counter, GetOptions::default().with_version(true)).await?;
        let due = self.drawn.load(SeqCst).is_multiple_of(LOOK_AFTER);
        let (last, condition) = match entry {
            Some(entry) => {
                if due && !store.exists(&keys.mark).await? {
                    set_mark(store, keys).await?;
                }
                let last = parse(&entry.value).map_err(|error| error.with_key(&keys.counter))?;
                (last, Condition::Matches(version(entry.version)?))
            }
            None if store.exists(&keys.mark).await? => return Err(CacheError::FenceLost),
            None => (first(now), Condition::Absent),
        };
        let new = condition == Condition::Absent;
        // A counter that has gone back, as after a failover, is moved past what is known here.
        let token = last.max(self.seen.load(SeqCst)).saturating_add(1);
        let options = SetOptions::default().with_condition(condition);
        let value = Bytes::from(token.to_string());
        if !store.set_opts(&keys.counter, value, options).await?.is_applied() {
            return Ok(None);
        }
        if new {
            // After the counter: a mark without one would be taken for a loss.
            set_mark(store, keys).await?;
        }
        self.drawn.fetch_add(1, SeqCst);
        Ok(Some(token))
    }
}

/// What a new counter counts from: where none has been, or the store was lost as a whole, time is ahead
/// of whatever was counted from an earlier time.
fn first(now: DateTime<Utc>) -> u64 {
    u64::try_from(now.timestamp_micros()).unwrap_or(0)
}

fn moved_too_often() -> Error {
    Error::new(ErrorKind::Conflict, "the counter of fencing tokens moved too often")
}

async fn set_mark(store: &dyn NamespacedStore, keys: &Keys) -> Result<(), Error> {
    store.set_opts(&keys.mark, Bytes::from_static(MARK.as_bytes()), SetOptions::default()).await?;
    Ok(())
}

fn version(version: Option<Version>) -> Result<Version, Error> {
    version.ok_or_else(|| {
        Error::new(ErrorKind::Internal, "the store declares conditions and gives no version")
    })
}

fn parse(value: &[u8]) -> Result<u64, Error> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|token| *token < u64::MAX)
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "no counter of fencing tokens"))
}
