use std::time::Duration;

use larder_core::chrono::{DateTime, TimeDelta, Utc};
use larder_core::{
    Bytes, Deadline, Entry, ExpiresIn, Expiry, GetOptions, Namespace, Resolved, Result, SetItem,
    SetOutcome, Store, async_trait,
};
use std::sync::OnceLock;

use crate::shelf::{Call, Contents, Record, Twist};
use crate::tamper::{At, Tamper};

/// `>` where `>=` belongs.
#[derive(Debug)]
pub(crate) struct LivesAtItsDeadline;

impl Twist for LivesAtItsDeadline {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, _: Call) -> bool {
        deadline.to_datetime() < now
    }
}

#[derive(Debug)]
pub(crate) struct WholeSeconds;

impl Twist for WholeSeconds {
    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        match expiry {
            Expiry::After(life) if life > Duration::from_secs(1) => {
                Expiry::After(Duration::from_secs(life.as_secs())).resolve(now)
            }
            other => other.resolve(now),
        }
    }
}

/// Only what is finer than the declared microsecond is cut off instead of rounded up.
#[derive(Debug)]
pub(crate) struct RoundsDown;

impl Twist for RoundsDown {
    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        match expiry {
            Expiry::After(life) if life.subsec_nanos() % 1_000 != 0 => {
                let micros = u64::try_from(life.as_micros()).unwrap_or(u64::MAX);
                Resolved::At(Deadline::after(now, Duration::from_micros(micros)))
            }
            other => other.resolve(now),
        }
    }
}

#[derive(Debug)]
pub(crate) struct ZeroIsForEver;

impl Twist for ZeroIsForEver {
    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        match expiry {
            Expiry::After(Duration::ZERO) => Resolved::Never,
            other => other.resolve(now),
        }
    }
}

/// The new value is not stored, and the old one stays.
#[derive(Debug)]
pub(crate) struct ZeroLeavesTheOldValue;

impl Twist for ZeroLeavesTheOldValue {
    fn gone_at_once(&self, _: &mut Contents, _: &str) {}
}

#[derive(Debug)]
pub(crate) struct ExistsIgnoresExpiry;

impl Twist for ExistsIgnoresExpiry {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        call != Call::Exists && deadline.is_past(now)
    }
}

#[derive(Debug)]
pub(crate) struct ConditionIgnoresExpiry;

impl Twist for ConditionIgnoresExpiry {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        call != Call::ConditionalSet && deadline.is_past(now)
    }
}

#[derive(Debug)]
pub(crate) struct ConditionalDeleteIgnoresExpiry;

impl Twist for ConditionalDeleteIgnoresExpiry {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        call != Call::ConditionalDelete && deadline.is_past(now)
    }
}

#[derive(Debug)]
pub(crate) struct DeleteIgnoresExpiry;

impl Twist for DeleteIgnoresExpiry {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        call != Call::Delete && deadline.is_past(now)
    }
}

#[derive(Debug)]
pub(crate) struct UpdateExpiryRevives;

impl Twist for UpdateExpiryRevives {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        call != Call::UpdateExpiry && deadline.is_past(now)
    }
}

/// What lies there is renewed, be it expired.
#[derive(Debug)]
pub(crate) struct RenewalRevives;

impl Twist for RenewalRevives {
    fn to_renew(&self, live: Option<Record>, stale: Option<Record>) -> Option<Record> {
        live.or(stale)
    }
}

#[derive(Debug)]
pub(crate) struct RenewalGivesAnExpiry;

impl Twist for RenewalGivesAnExpiry {
    fn renewed(
        &self,
        old: Option<Deadline>,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Option<Resolved> {
        (old.is_some() || !duration.is_zero()).then(|| Expiry::After(duration).resolve(now))
    }
}

/// Of two days, the seconds beside the whole days: none.
#[derive(Debug)]
pub(crate) struct RenewalCountsTheSecondsPart;

impl Twist for RenewalCountsTheSecondsPart {
    fn renewed(
        &self,
        old: Option<Deadline>,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Option<Resolved> {
        let part = Duration::new(duration.as_secs() % 86_400, duration.subsec_nanos());
        let life = if duration.as_secs() > 86_400 { part } else { duration };
        old.map(|_| Expiry::After(life).resolve(now))
    }
}

/// The remaining life is rounded to seconds, and zero counts as gone.
#[derive(Debug)]
pub(crate) struct RenewalSparesTheDying;

impl Twist for RenewalSparesTheDying {
    fn renewed(
        &self,
        old: Option<Deadline>,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Option<Resolved> {
        let left = old?.remaining(now)?;
        (left >= Duration::from_millis(500)).then(|| Expiry::After(duration).resolve(now))
    }
}

#[derive(Debug)]
pub(crate) struct RenewalNeverShortens;

impl Twist for RenewalNeverShortens {
    fn renewed(
        &self,
        old: Option<Deadline>,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Option<Resolved> {
        match Expiry::After(duration).resolve(now) {
            Resolved::At(new) => old.map(|old| Resolved::At(new.max(old))),
            other => old.map(|_| other),
        }
    }
}

#[derive(Debug)]
pub(crate) struct RenewalForZeroIsNone;

impl Twist for RenewalForZeroIsNone {
    fn renewed(
        &self,
        old: Option<Deadline>,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Option<Resolved> {
        old.filter(|_| !duration.is_zero()).map(|_| Expiry::After(duration).resolve(now))
    }
}

#[derive(Debug)]
pub(crate) struct OverwriteKeepsTheExpiry;

impl Twist for OverwriteKeepsTheExpiry {
    fn never(&self, old: Option<Deadline>) -> Option<Deadline> {
        old
    }
}

#[derive(Debug)]
pub(crate) struct KeepInheritsADeadDeadline;

impl Twist for KeepInheritsADeadDeadline {
    fn kept(&self, _: Option<&Record>, stale: Option<&Record>) -> Option<Deadline> {
        stale.and_then(|record| record.deadline)
    }
}

#[derive(Debug)]
pub(crate) struct LongestIsForEver;

impl Twist for LongestIsForEver {
    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        match expiry.resolve(now) {
            Resolved::At(Deadline::MAX) => Resolved::Never,
            other => other,
        }
    }
}

/// Milliseconds in 32 bits: 24 days and 20 hours, then from the beginning.
#[derive(Debug)]
pub(crate) struct WrapsAfterTwentyFourDays;

impl Twist for WrapsAfterTwentyFourDays {
    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        match expiry {
            Expiry::After(life) if life.as_millis() > 0x7fff_ffff => {
                let millis = u64::try_from(life.as_millis() & 0x7fff_ffff).unwrap_or_default();
                Expiry::After(Duration::from_millis(millis)).resolve(now)
            }
            other => other.resolve(now),
        }
    }
}

/// Rounded down to seconds, as a server's TTL in seconds is.
#[derive(Debug)]
pub(crate) struct NoTimeLeft;

impl Twist for NoTimeLeft {
    fn left(&self, deadline: Option<Deadline>, now: DateTime<Utc>) -> ExpiresIn {
        match ExpiresIn::until(deadline, now) {
            ExpiresIn::In(left) if left < Duration::from_secs(1) => ExpiresIn::In(Duration::ZERO),
            other => other,
        }
    }
}

/// The remaining life is that until midnight of the last day: the days are left out.
#[derive(Debug)]
pub(crate) struct LeftWithoutDays;

impl Twist for LeftWithoutDays {
    fn left(&self, deadline: Option<Deadline>, now: DateTime<Utc>) -> ExpiresIn {
        match ExpiresIn::until(deadline, now) {
            ExpiresIn::In(left) if left.as_secs() > 86_400 => {
                ExpiresIn::In(Duration::new(left.as_secs() % 86_400 + 1, left.subsec_nanos()))
            }
            other => other,
        }
    }
}

#[derive(Debug)]
pub(crate) struct UpdateIntoThePastIsFalse;

impl Twist for UpdateIntoThePastIsFalse {
    fn updated_into_the_past(&self) -> bool {
        false
    }
}

/// A moment that has just come is treated as still to come.
#[derive(Debug)]
pub(crate) struct ThePresentIsToCome;

impl Twist for ThePresentIsToCome {
    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        match expiry {
            Expiry::At(moment) if moment == now => {
                Resolved::At(Deadline::after(now, Duration::from_micros(1)))
            }
            other => other.resolve(now),
        }
    }
}

/// Moments lose their fraction of a second.
#[derive(Debug)]
pub(crate) struct MomentsInWholeSeconds;

impl Twist for MomentsInWholeSeconds {
    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        match expiry {
            Expiry::At(moment) if moment > now => {
                let second = DateTime::from_timestamp(moment.timestamp(), 0).unwrap_or(moment);
                Expiry::At(second).resolve(now)
            }
            other => other.resolve(now),
        }
    }
}

#[derive(Debug)]
pub(crate) struct PurgeStaysShallow;

impl Twist for PurgeStaysShallow {
    fn purges(&self, namespace: &Namespace, place: &str) -> bool {
        self.lists(namespace, place)
    }
}

#[derive(Debug)]
pub(crate) struct PurgeLeavesTheNamespace;

impl Twist for PurgeLeavesTheNamespace {
    fn purges(&self, namespace: &Namespace, place: &str) -> bool {
        place.starts_with(&crate::shelf::prefix_of(namespace)) && place.contains(':')
    }
}

#[derive(Debug)]
pub(crate) struct PurgeCountsTheLiving;

impl Twist for PurgeCountsTheLiving {
    fn purged(&self, removed: u64, seen: u64) -> u64 {
        if removed == 0 { 0 } else { seen }
    }
}

/// Deadlines are kept as time since the process began, and read so by the next one.
#[derive(Debug, Default)]
pub(crate) struct TicksOfTheProcess(OnceLock<TimeDelta>);

impl TicksOfTheProcess {
    const FIRST: i64 = 1_704_067_200;

    fn shift(&self) -> TimeDelta {
        self.0.get().copied().unwrap_or_default()
    }
}

impl Twist for TicksOfTheProcess {
    fn open(&self, _: &mut Contents, now: DateTime<Utc>) -> Result<()> {
        let first = DateTime::from_timestamp(Self::FIRST, 0).unwrap_or_default();
        self.0.get_or_init(|| now - first);
        Ok(())
    }

    fn encode(&self, record: &Record) -> Bytes {
        let mut ticking = record.clone();
        let earlier = |deadline: Deadline| Deadline::at(deadline.to_datetime() - self.shift());
        ticking.deadline = record.deadline.map(earlier);
        ticking.encode()
    }

    fn decode(&self, bytes: &Bytes) -> Result<Record> {
        let mut record = Record::decode(bytes)?;
        let later = |deadline: Deadline| Deadline::at(deadline.to_datetime() + self.shift());
        record.deadline = record.deadline.map(later);
        Ok(record)
    }
}

/// Seconds since 1970 in 31 bits.
#[derive(Debug)]
pub(crate) struct GoneBy2038;

impl Twist for GoneBy2038 {
    fn resolve(&self, expiry: Expiry, now: DateTime<Utc>) -> Resolved {
        match expiry.resolve(now) {
            Resolved::At(deadline)
                if deadline != Deadline::MAX
                    && deadline.to_datetime().timestamp() > i64::from(i32::MAX) =>
            {
                Resolved::Gone
            }
            other => other,
        }
    }
}

/// Half a second is nothing to a purge that runs each minute.
#[derive(Debug)]
pub(crate) struct PurgesTheDying;

impl Twist for PurgesTheDying {
    fn is_gone(&self, deadline: Deadline, now: DateTime<Utc>, call: Call) -> bool {
        let ahead = if call == Call::Purge { 500 } else { 0 };
        deadline.is_past(now + TimeDelta::milliseconds(ahead))
    }
}

/// Only a plain set counts a life in fractions of a second.
fn whole_seconds(expiry: Expiry) -> Expiry {
    match expiry {
        Expiry::After(life) if life > Duration::from_secs(1) => {
            Expiry::After(Duration::from_secs(life.as_secs()))
        }
        other => other,
    }
}

#[derive(Debug)]
pub(crate) struct BatchesLiveWholeSeconds;

#[async_trait]
impl Tamper for BatchesLiveWholeSeconds {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        for item in &mut items {
            item.options.expiry = whole_seconds(item.options.expiry);
        }
        at.inner.set_many(items).await
    }
}

#[derive(Debug)]
pub(crate) struct UpdatesInWholeSeconds;

#[async_trait]
impl Tamper for UpdatesInWholeSeconds {
    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        at.inner.update_expiry(key, whole_seconds(expiry)).await
    }
}

/// What was read before the renewal is given with it.
#[derive(Debug)]
pub(crate) struct RenewalGivesNoVersion;

#[async_trait]
impl Tamper for RenewalGivesNoVersion {
    async fn get_opts(&self, at: &At, key: &str, mut options: GetOptions) -> Result<Option<Entry>> {
        options.version &= options.renew_for.is_none();
        at.inner.get_opts(key, options).await
    }
}
