//! Room for a write: made before the write's own lock is taken, so that two writes that push each
//! other out do not wait for each other.

use std::sync::Arc;

use super::{Entry, Room, Victim};
use crate::id::Id;
use crate::slot::SlotRef;
use crate::space::Inner;
use crate::write::Locked;
use crate::{CacheError, CacheResult};

/// What becomes of a write that asks for room.
pub(crate) enum Admitted {
    /// The policy does not count it.
    Uncounted,
    /// It has room.
    Room(Reservation),
    /// It comes in and goes at once: its life is over before it began, or everything else is pinned or
    /// just being written.
    Vanishes,
}

/// Room for one write. Dropped before it is used, it is given back.
pub(crate) struct Reservation {
    inner: Arc<Inner>,
    id: Id,
    pin: bool,
    used: bool,
}

impl Reservation {
    /// The write is done.
    pub(crate) fn commit(mut self, entry: Entry) {
        self.used = true;
        let (id, pin) = (&self.id, self.pin);
        self.inner.policies.with(&id.scope, true, |index| index.commit(id, entry, pin));
    }

    /// Whether the write is done cannot be known: what the store holds by now fits into the room.
    pub(crate) fn commit_unsure(mut self, entry: Entry) {
        self.used = true;
        let (id, pin) = (&self.id, self.pin);
        self.inner.policies.with(&id.scope, true, |index| index.commit_unsure(id, entry, pin));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.used {
            let (id, pin) = (&self.id, self.pin);
            self.inner.policies.with(&id.scope, true, |index| index.cancel(id, pin));
        }
    }
}

impl Inner {
    /// Makes room for a write by removing others from the store.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        slot: &SlotRef,
        weight: u64,
        pin: bool,
    ) -> CacheResult<Admitted> {
        if !self.policies.is_bounded() && !pin {
            return Ok(Admitted::Uncounted);
        }
        Box::pin(self.make_room(slot.id.clone(), weight, pin)).await
    }

    async fn make_room(self: &Arc<Self>, id: Id, weight: u64, pin: bool) -> CacheResult<Admitted> {
        let now = self.now();
        let room = self.policies.with(&id.scope, true, |index| {
            (index.reserve(&id, weight, pin, now), index.take_pins_expired())
        });
        let Some((room, pins_expired)) = room else { return Ok(Admitted::Uncounted) };
        self.counters.pins_expired.add_many(pins_expired);
        match room {
            Room::Made => {}
            Room::None => {
                self.counters.not_admitted.add();
                return Ok(Admitted::Vanishes);
            }
            Room::Refused(refusal) => {
                self.counters.not_admitted.add();
                return Err(CacheError::Refused(refusal));
            }
        }
        let reservation = Reservation { inner: Arc::clone(self), id, pin, used: false };
        let (id, scope) = (&reservation.id, &reservation.id.scope);
        // Those of another write of the same entry, too: it is written into the same room.
        while let Some(victim) =
            self.policies.with(scope, false, |index| index.victim(id)).flatten()
        {
            self.evict(victim, true).await?;
        }
        Ok(Admitted::Room(reservation))
    }

    /// Removes a victim from the store. One that is awaited is counted for the first of those who
    /// wait for it.
    pub(crate) async fn evict(self: &Arc<Self>, victim: Victim, awaited: bool) -> CacheResult<()> {
        let Victim { id, expired, .. } = victim;
        let route = self.route(id.scope.clone())?;
        let evict = move |locked: Locked| locked.evict(expired, awaited);
        self.locked(&route, &id.key, evict).await
    }
}

impl Locked {
    /// Removes the key from the store, unless it has been stored again since it became a victim.
    async fn evict(self, expired: bool, awaited: bool) -> CacheResult<()> {
        let (slot, policies, counters) = (&self.slot, &self.inner.policies, &self.inner.counters);
        if policies.is_stored(&slot.id) {
            policies.settle(&slot.id);
            return Ok(());
        }
        self.store_delete().await?;
        if policies.settle(&slot.id) || !awaited {
            let by_expiry = &counters.evicted_by_expiry;
            let cause = if expired { by_expiry } else { &counters.evicted_by_capacity };
            cause.add();
            crate::event!(debug, expired = expired, "entry evicted");
        }
        // It is known again where the write that it was to make room for was given up meanwhile.
        policies.forget(&slot.id);
        slot.abandon_pending();
        Ok(())
    }
}
