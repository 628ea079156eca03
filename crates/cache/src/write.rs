//! Everything that changes a key: under its write lock, to the end once begun.

use std::sync::Arc;
use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Condition, Deadline, DeleteOptions, Error, ErrorKind, Expiry, GetOptions, InProgress,
    Resolved, SetOptions,
};
use tokio::sync::OwnedMutexGuard;

use crate::chance;
use crate::claim::Claim;
use crate::envelope::{Envelope, Head};
use crate::flight::{Flight, Guarded};
use crate::id::Id;
use crate::keeping::remove_entries;
use crate::lock::Seen;
use crate::policy::{Admitted, Entry, Index};
use crate::route::Route;
use crate::slot::{Overtake, Range, Slot, SlotRef};
use crate::space::Inner;
use crate::{CacheError, CacheResult};

/// A value on its way to the store.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) payload: Bytes,
    pub(crate) tag: u64,
    pub(crate) modified: Option<DateTime<Utc>>,
    /// What was asked for by name.
    pub(crate) expiry: Option<Expiry>,
    /// What holds where nothing was.
    pub(crate) default: Expiry,
    /// Whether the expiry may come earlier by chance.
    pub(crate) jitter: bool,
    pub(crate) pin: bool,
    pub(crate) weight: Option<u64>,
}

impl Write {
    fn life(&self) -> Expiry {
        self.expiry.unwrap_or(self.default)
    }
}

/// On whose behalf a value is written, and so what must still be true.
pub(crate) enum Mode {
    /// A plain set: always.
    Set,
    /// A load: it was not overtaken (F2), by another process neither where it was claimed (F6).
    Fill(Arc<Flight>, Option<Arc<Claim>>),
    /// A promise: it is still the key's current one (F5).
    Keep(Arc<Flight>),
    /// A write under a lock: nothing came since the key was seen (L1).
    Held(Box<Seen>),
}

/// What became of a write.
pub(crate) enum Put {
    /// It was made, of this envelope, and whoever waited has it.
    Done(Bytes),
    /// So was one under a lock, whose holder has now seen this.
    Held(Box<Seen>),
    /// One under a lock was not made for all that is known, and its holder can try again with this.
    Failed(Box<Seen>, CacheError),
    /// What had to be true was not; nothing was changed.
    NotWanted,
}

/// A key whose write lock is held. The lock is released before the slot is given up.
pub(crate) struct Locked {
    pub(crate) inner: Arc<Inner>,
    pub(crate) route: Arc<Route>,
    _lock: OwnedMutexGuard<()>,
    pub(crate) slot: SlotRef,
    _call: InProgress,
}

impl Inner {
    /// Takes the write lock of a key and does `work` under it. While it waits for the lock, a
    /// caller may go away and nothing happens; after that, the work is carried through.
    pub(crate) async fn locked<T, F, Fut>(
        self: &Arc<Self>,
        route: &Arc<Route>,
        key: &str,
        work: F,
    ) -> CacheResult<T>
    where
        T: Send + 'static,
        F: FnOnce(Locked) -> Fut + Send + 'static,
        Fut: Future<Output = CacheResult<T>> + Send + 'static,
    {
        let (call, slot) = self.enter(route, key)?;
        let locked = self.lock_slot(route, slot, call).await;
        Guarded::new(Box::pin(work(locked))).await
    }

    /// Begins a change of a key.
    pub(crate) fn enter(&self, route: &Route, key: &str) -> CacheResult<(InProgress, SlotRef)> {
        let call = self.lifecycle.enter()?;
        route.store.capabilities().check_key(key)?;
        Ok((call, self.table.slot(route, key)))
    }

    pub(crate) async fn lock_slot(
        self: &Arc<Self>,
        route: &Arc<Route>,
        slot: SlotRef,
        call: InProgress,
    ) -> Locked {
        let lock = slot.write_lock().await;
        Locked { inner: Arc::clone(self), route: Arc::clone(route), _lock: lock, slot, _call: call }
    }

    pub(crate) async fn put(
        self: &Arc<Self>,
        route: &Arc<Route>,
        key: &str,
        write: Write,
        mode: Mode,
    ) -> CacheResult<Put> {
        match self.make_way(route, key, &write, &mode).await? {
            Some((locked, room)) => Guarded::new(Box::pin(locked.put(write, mode, room))).await,
            None => Ok(Put::NotWanted),
        }
    }

    /// Makes room for a write and takes its key's write lock; `None` where it is not wanted.
    pub(crate) async fn make_way(
        self: &Arc<Self>,
        route: &Arc<Route>,
        key: &str,
        write: &Write,
        mode: &Mode,
    ) -> CacheResult<Option<(Locked, Admitted)>> {
        // The slot is held over the making of room, so that a clearing finds it.
        let (call, slot) = self.enter(route, key)?;
        // Looked at again under the lock; here, so that no room is made in vain.
        if !self.is_wanted(&slot, mode)? {
            return Ok(None);
        }
        let room = if self.is_gone(write) {
            Admitted::Vanishes
        } else {
            self.admit(&slot, self.weight(write), write.pin).await?
        };
        let locked = self.lock_slot(route, slot, call).await;
        Ok(Some((locked, room)))
    }

    /// Tells whether what has to be true for a write still is.
    fn is_wanted(&self, slot: &Slot, mode: &Mode) -> CacheResult<bool> {
        match mode {
            Mode::Set => Ok(true),
            Mode::Fill(flight, _) => {
                let wanted = !flight.is_overtaken() && !self.table.bars_fills(&slot.id);
                if !wanted {
                    self.counters.overtaken.add();
                }
                Ok(wanted)
            }
            Mode::Keep(flight) => {
                Ok(slot.current().is_some_and(|current| Arc::ptr_eq(&current, flight)))
            }
            Mode::Held(seen) if !seen.overtaken && seen.mutations == slot.mutations() => Ok(true),
            Mode::Held(_) => Err(CacheError::Conflict),
        }
    }

    fn weight(&self, write: &Write) -> u64 {
        let size = || if self.policies.settings.by_size { write.payload.len() as u64 } else { 1 };
        write.weight.unwrap_or_else(size).max(1)
    }

    /// Tells whether the life of a value written now is over before it began.
    pub(crate) fn is_gone(&self, write: &Write) -> bool {
        match write.life() {
            Expiry::At(moment) => moment <= self.now(),
            Expiry::After(ttl) => ttl.is_zero(),
            _ => false,
        }
    }

    /// An expiry, less what chance takes of a time to live.
    pub(crate) fn jittered(&self, expiry: Expiry) -> Expiry {
        let jitter = self.config.jitter;
        match expiry {
            Expiry::After(ttl) if jitter > 0.0 => {
                let left = ttl.as_secs_f64() * (1.0 - jitter * chance::fraction());
                // The greatest time to live is rounded up to one that is no `Duration`.
                Expiry::After(Duration::try_from_secs_f64(left).map_or(ttl, |left| left.min(ttl)))
            }
            expiry => expiry,
        }
    }

    /// A default expiry, less what chance takes of it, counted from now.
    pub(crate) fn default_deadline(&self, default: Expiry, now: DateTime<Utc>) -> Option<Deadline> {
        match self.jittered(default).resolve(now) {
            Resolved::At(deadline) => Some(deadline),
            Resolved::Gone => Some(Deadline::at(now)),
            Resolved::Never | Resolved::Keep => None,
        }
    }

    /// The envelope of a value written now, and whether its life is over before it began.
    pub(crate) fn envelope(
        &self,
        write: Write,
        now: DateTime<Utc>,
        old: Option<&Head>,
    ) -> (Envelope, bool) {
        let life = write.life();
        let expiry = if write.jitter { self.jittered(life) } else { life };
        let resolved = expiry.resolve(now);
        let expires = match resolved {
            Resolved::Never => None,
            Resolved::At(deadline) => Some(deadline),
            Resolved::Gone => Some(Deadline::at(now)),
            Resolved::Keep => old.and_then(|old| old.expires),
        };
        // What is kept was asked for, or not, when it was set.
        let explicit_expiry = match resolved {
            Resolved::Keep => old.is_some_and(|old| old.explicit_expiry),
            _ => write.expiry.is_some(),
        };
        let mut head = Head {
            tag: write.tag,
            weight: self.weight(&write),
            modified: write.modified.unwrap_or(now).timestamp_micros(),
            expires,
            pinned_until: write
                .pin
                .then(|| Deadline::after(now, self.policies.settings.pin_max_age)),
            explicit_expiry,
            fence: None,
        };
        if resolved == Resolved::Keep && !head.is_live(now) {
            // But for a pin that it no longer has, its life would have been over.
            head.expires = self.default_deadline(write.default, now);
        }
        (Envelope { head, payload: write.payload }, resolved == Resolved::Gone)
    }

    /// Removes a range of keys.
    ///
    /// With `include_pending`, loads that are running are not stored and pending values are given
    /// up; without, both go on as if nothing had happened.
    pub(crate) async fn remove_range(
        self: &Arc<Self>,
        route: &Arc<Route>,
        range: Range,
        include_pending: bool,
    ) -> CacheResult<u64> {
        let call = self.lifecycle.enter()?;
        let (inner, route) = (Arc::clone(self), Arc::clone(route));
        Guarded::new(Box::pin(async move {
            let _call = call;
            let mark = Index::mark();
            let removal = inner.table.begin_removal(range.clone(), !include_pending);
            if include_pending {
                // A fill that looked before the removal began is in the middle of being stored.
                for slot in inner.table.matching(&range) {
                    drop(slot.write_lock().await);
                }
            }
            let removed = match &range.prefix {
                // Loads of other processes go on, too.
                None if !include_pending && inner.coordination.is_some() => {
                    remove_entries(&route.store).await.map(|()| 0)
                }
                None => route.store.delete_all().await.map(|()| 0),
                Some(prefix) => route.store.delete_prefix(prefix).await,
            };
            if removed.is_ok() {
                for id in inner.policies.forget_range(&range, mark) {
                    inner.recount(&id).await;
                }
            }
            drop(removal);
            Ok(inner.settle(removed)?)
        }))
        .await
    }
}

impl Inner {
    /// Forgets an entry that the store does not hold once writes that are under way are done; one of
    /// which the store cannot tell stays counted.
    async fn recount(self: &Arc<Self>, id: &Id) {
        let Ok(route) = self.route(id.scope.clone()) else { return };
        let looked = self.locked(&route, &id.key, async move |locked| {
            if !locked.route.store.exists(&locked.slot.id.key).await? {
                locked.inner.policies.forget(&locked.slot.id);
            }
            Ok(())
        });
        let _ = looked.await;
    }
}

impl Locked {
    /// What is stored, live or retained; `None` also for what cannot be decoded.
    pub(crate) async fn read(&self) -> CacheResult<Option<Envelope>> {
        let read = self.route.store.get_opts(&self.slot.id.key, GetOptions::default()).await;
        match self.inner.settle(read) {
            Ok(entry) => Ok(entry.and_then(|entry| Envelope::decode(entry.value).ok())),
            // A damaged record is no value (V2); it is there to be replaced or deleted.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn put(self, write: Write, mode: Mode, room: Admitted) -> CacheResult<Put> {
        let inner = &self.inner;
        if !inner.is_wanted(&self.slot, &mode)? {
            return Ok(Put::NotWanted);
        }
        let keeps = write.life() == Expiry::Keep;
        let old = if keeps { self.read().await?.map(|old| old.head) } else { None };
        let now = inner.now();
        let old = old.filter(|old| old.is_live(now));
        let (mut envelope, gone) = inner.envelope(write, now, old.as_ref());
        let gone = gone || matches!(room, Admitted::Vanishes);
        if let Mode::Held(seen) = &mode {
            envelope.head.fence = seen.fence;
        }
        let tag = envelope.head.tag;
        let bytes = envelope.encode();
        let done = match (&mode, gone) {
            (Mode::Held(seen), _) => {
                let set = self.set_if_unseen(&envelope.head, bytes.clone(), now, seen, gone);
                Box::pin(set).await
            }
            // Nothing is to be put in the marker's place; it goes with the claim.
            (Mode::Fill(_, Some(_)), true) => Ok(true),
            (Mode::Fill(_, Some(claim)), false) => {
                Box::pin(self.fill(claim, &envelope.head, bytes.clone(), now)).await
            }
            (_, true) => self.store_delete().await.map(|_| true),
            (_, false) => self.store_set(&envelope.head, bytes.clone(), now, Condition::Any).await,
        };
        match (done, &mode) {
            (Ok(true), Mode::Fill(flight, _)) => self.slot.fill(flight),
            (Ok(true), _) => self.slot.overtake(Overtake::Value(bytes.clone(), tag)),
            (Ok(false), Mode::Fill(..)) => {
                inner.counters.overtaken.add();
                return Ok(Put::NotWanted);
            }
            (Ok(false), _) => return Err(CacheError::Conflict),
            (Err(error), _) => {
                if !matches!(mode, Mode::Fill(..)) {
                    self.slot.overtake(Overtake::Unsure);
                }
                if let Admitted::Room(room) = room
                    && !gone
                    && error.kind() == ErrorKind::Unknown
                {
                    room.commit_unsure(Entry::of(&envelope.head));
                }
                let Mode::Held(mut seen) = mode else { return Err(error.into()) };
                // What has just been counted is the holder's own, and no more than that.
                seen.mutations += 1;
                return Ok(Put::Failed(seen, error.into()));
            }
        }
        match room {
            Admitted::Room(room) if !gone => room.commit(Entry::of(&envelope.head)),
            // Without a capacity, only pinned entries are known, and this one no longer is one.
            _ => inner.policies.forget(&self.slot.id),
        }
        inner.table.count_fill(&self.slot.id);
        let Mode::Held(seen) = mode else { return Ok(Put::Done(bytes)) };
        let written = (!gone).then_some((bytes, envelope.head));
        // The write was made, whatever becomes of the look at it; only, another one cannot be told to
        // follow it.
        let blind = |_| Seen { overtaken: true, fence: seen.fence, ..Seen::default() };
        let seen = Box::pin(self.see_again(seen.fence, written)).await.unwrap_or_else(blind);
        Ok(Put::Held(Box::new(seen)))
    }

    /// Writes if what was claimed is still there.
    async fn fill(
        &self,
        claim: &Claim,
        head: &Head,
        bytes: Bytes,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        match self.inner.settle(claim.condition().await)? {
            Some(condition) => self.store_set(head, bytes, now, condition).await,
            None => Ok(false),
        }
    }

    /// Writes if the record is still the one that was seen.
    async fn set_if_unseen(
        &self,
        head: &Head,
        bytes: Bytes,
        now: DateTime<Utc>,
        seen: &Seen,
        gone: bool,
    ) -> Result<bool, Error> {
        let condition = seen.condition.clone();
        if gone {
            let deleted = self.store_delete_if(condition.clone()).await?;
            return Ok(deleted || matches!(condition, Condition::Any | Condition::Absent));
        }
        let matched = matches!(condition, Condition::Matches(_));
        if self.store_set(head, bytes.clone(), now, condition).await? {
            return Ok(true);
        }
        // A record that expired since it was seen was changed by nobody. Where other processes lock
        // too, that cannot be told from one that a later holder deleted; theirs do not expire.
        let alone = seen.fence.is_none();
        Ok(matched && alone && self.store_set(head, bytes, now, Condition::Absent).await?)
    }

    /// What is stored, and what [`Mode::Held`] needs to tell later whether it still is. Under a lock
    /// of several processes, the record is stamped with the lock's token: from then on, the store
    /// refuses what an earlier holder writes.
    pub(crate) async fn see(self, fence: Option<u64>) -> CacheResult<(Option<Envelope>, Seen)> {
        if let Some(fence) = fence {
            return self.stamp(fence).await;
        }
        let (record, condition) = self.see_record().await?;
        let envelope = record.and_then(|bytes| Envelope::decode(bytes).ok());
        Ok((envelope, self.seen(condition)))
    }

    pub(crate) fn seen(&self, condition: Condition) -> Seen {
        Seen { mutations: self.slot.mutations(), condition, ..Seen::default() }
    }

    /// What was just written, or deleted, as it is to be found at the next write under the lock.
    async fn see_again(
        &self,
        fence: Option<u64>,
        written: Option<(Bytes, Head)>,
    ) -> CacheResult<Seen> {
        let (record, condition) = self.see_record().await?;
        if let (None, Some(fence)) = (&record, fence) {
            return self.see_nothing(fence).await;
        }
        let overtaken = match (&record, &written) {
            (Some(found), Some((written, _))) => found != written,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let companion = fence.and(written).and_then(|(bytes, head)| {
            self.companion(bytes, head.kept_until(self.inner.retention()), false)
        });
        Ok(Seen { overtaken, fence, companion, ..self.seen(condition) })
    }

    /// As [`see_again`](Self::see_again), where nothing is left of what was written under the lock
    /// with this token: a later holder who reads the key has to change something here.
    async fn see_nothing(&self, fence: u64) -> CacheResult<Seen> {
        let (found, seen) = self.stamp(fence).await?;
        Ok(Seen { overtaken: found.is_some(), ..seen })
    }

    /// The record, and the condition that holds as long as nobody changes it, where the store can
    /// tell.
    pub(crate) async fn see_record(&self) -> CacheResult<(Option<Bytes>, Condition)> {
        let conditions = self.route.store.capabilities().conditions;
        let options = GetOptions::default().with_version(conditions);
        let read = self.route.store.get_opts(&self.slot.id.key, options).await;
        match self.inner.settle(read) {
            Ok(None) if conditions => Ok((None, Condition::Absent)),
            Ok(None) => Ok((None, Condition::Any)),
            Ok(Some(entry)) => {
                let condition = entry.version.map_or(Condition::Any, Condition::Matches);
                Ok((Some(entry.value), condition))
            }
            // A damaged record is no value (V2); it is there to be replaced or deleted.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok((None, Condition::Any)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes an envelope; false when the condition did not hold.
    pub(crate) async fn store_set(
        &self,
        head: &Head,
        bytes: Bytes,
        now: DateTime<Utc>,
        condition: Condition,
    ) -> Result<bool, Error> {
        // A duration rather than a moment: the store may go by a clock of its own.
        let expiry = match head.kept_until(self.inner.retention()) {
            None => Expiry::Never,
            Some(until) => Expiry::After(until.remaining(now).unwrap_or_default()),
        };
        let options = SetOptions::default().with_expiry(expiry).with_condition(condition);
        let call = self.route.store.set_opts(&self.slot.id.key, bytes, options);
        let outcome = self.answer(call).await;
        self.inner.settle(outcome).map(larder_core::SetOutcome::is_applied)
    }

    pub(crate) async fn store_delete(&self) -> Result<bool, Error> {
        self.store_delete_if(Condition::Any).await
    }

    /// Deletes the record, and tells whether there was one for which the condition held.
    pub(crate) async fn store_delete_if(&self, condition: Condition) -> Result<bool, Error> {
        let options = DeleteOptions::default().with_condition(condition);
        let call = self.route.store.delete_opts(&self.slot.id.key, options);
        let deleted = self.answer(call).await;
        self.inner.settle(deleted)
    }

    /// Waits for what the store says to a change.
    async fn answer<T>(&self, call: impl Future<Output = T>) -> T {
        let asked = Asked(&self.slot);
        let answer = call.await;
        std::mem::forget(asked);
        answer
    }
}

/// A change that the store was asked for. Dropped before it is answered, as with the runtime of whoever
/// asked, it may have been made; this says so while the write lock is still held.
struct Asked<'a>(&'a Slot);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.overtake(Overtake::Unsure);
    }
}
