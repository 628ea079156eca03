use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use foldhash::quality::RandomState;
use larder_core::{
    Clock, Condition, CursorScope, Deadline, DeleteOptions, Entry, ExpiresIn, Expiry, GetOptions,
    Namespace, Result, SetOptions, StoreContext, Version,
};

use crate::entry::{NEVER, NO_HASH};
use crate::large::same_in_turns;
use crate::moment::Moment;
use crate::shard::Applied;
use crate::space::{Space, Write};
use crate::sweeper::Sweeper;
use crate::tree::{Node, Pin};

/// What all handles of one store share.
#[derive(Debug)]
pub(crate) struct Shared {
    root: Arc<Node>,
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    /// Tells the cursors of this store from those of others.
    id: [u8; 16],
    sweeper: OnceLock<Sweeper>,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let mut id = [0; 16];
        for half in id.chunks_exact_mut(8) {
            half.copy_from_slice(&RandomState::default().hash_one(0).to_le_bytes());
        }
        Self {
            root: Node::root(),
            clock,
            hasher: RandomState::default(),
            id,
            sweeper: OnceLock::new(),
        }
    }

    pub(crate) fn root(&self) -> &Arc<Node> {
        &self.root
    }

    pub(crate) fn clock_handle(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}

/// One namespace as its handles see it; clones of a handle share it.
#[derive(Debug)]
pub(crate) struct Handle {
    context: StoreContext,
    pin: Pin,
    shared: Arc<Shared>,
    namespace: Namespace,
}

impl Handle {
    pub(crate) fn root(shared: Arc<Shared>, context: StoreContext) -> Self {
        let pin = shared.root.pin();
        Self { context, pin, shared, namespace: Namespace::root() }
    }

    pub(crate) fn descend(&self, segments: &[&str]) -> Result<Self> {
        Ok(Self {
            namespace: self.namespace.join_all(segments)?,
            context: self.context.child(),
            pin: self.pin.descend(segments),
            shared: Arc::clone(&self.shared),
        })
    }

    pub(crate) fn context(&self) -> &StoreContext {
        &self.context
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        self.pin.node()
    }

    pub(crate) fn space(&self) -> &Space {
        self.pin.node().space()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    pub(crate) fn sweep_every(&self, interval: Duration) -> Result<(), &'static str> {
        let sweeper = Sweeper::start(&self.shared, interval)?;
        // A second one, which nobody can ask for, would end here.
        let _ = self.shared.sweeper.set(sweeper);
        Ok(())
    }

    pub(crate) fn stop_sweeping(&self) {
        if let Some(sweeper) = self.shared.sweeper.get() {
            sweeper.stop();
        }
    }

    pub(crate) fn key_scope(&self, prefix: &str) -> CursorScope {
        CursorScope::keys(&self.shared.id, &self.namespace, prefix)
    }

    pub(crate) fn child_scope(&self) -> CursorScope {
        CursorScope::namespaces(&self.shared.id, &self.namespace)
    }

    #[inline]
    pub(crate) fn hash(&self, key: &str) -> u32 {
        let mut hasher = self.shared.hasher.build_hasher();
        hasher.write(key.as_bytes());
        ((hasher.finish() >> 32) as u32).min(NO_HASH - 1)
    }

    #[inline]
    fn moment(&self) -> Moment<'_> {
        Moment::of(self.clock())
    }

    /// Whoever finds nothing asks this with the shard still locked: `close` clears a shard under the
    /// same lock, after it has closed the store, and what it takes away was not missing.
    fn missing<T>(&self, answer: T) -> Result<T> {
        self.context.lifecycle().check().map(|()| answer)
    }

    /// The live value alone of a key with this hash.
    #[inline]
    pub(crate) fn value(&self, key: &str, hash: u32) -> Result<Option<Bytes>> {
        let shard = self.space().read(hash);
        match shard.live(hash, key.as_bytes(), &self.moment()) {
            Some(held) => Ok(Some(held.value())),
            None => self.missing(None),
        }
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool> {
        let hash = self.hash(key);
        let shard = self.space().read(hash);
        match shard.live(hash, key.as_bytes(), &self.moment()) {
            Some(_) => Ok(true),
            None => self.missing(false),
        }
    }

    pub(crate) fn expires_in(&self, key: &str) -> Result<ExpiresIn> {
        let (hash, moment) = (self.hash(key), self.moment());
        let shard = self.space().read(hash);
        // Both are of one moment.
        let now = moment.now();
        match shard.live(hash, key.as_bytes(), &moment) {
            Some(held) => Ok(ExpiresIn::until(real(held.deadline()), now)),
            None => self.missing(ExpiresIn::Missing),
        }
    }

    pub(crate) fn get(&self, key: &str, options: &GetOptions) -> Result<Option<Entry>> {
        let (hash, moment) = (self.hash(key), self.moment());
        let (value, expires_in) = if let Some(duration) = options.renew_for {
            let mut shard = self.space().write(hash);
            let (renewed, _garbage) = shard.renew(hash, key.as_bytes(), duration, &moment);
            let Some((value, deadline)) = renewed else { return self.missing(None) };
            self.end_of_change(shard);
            let left = options.expires_in.then(|| match deadline {
                None => ExpiresIn::Missing,
                Some(deadline) => ExpiresIn::until(real(deadline), moment.now()),
            });
            (value, left)
        } else {
            let shard = self.space().read(hash);
            // All parts of an entry are of one moment.
            let now = options.expires_in.then(|| moment.now());
            let Some(held) = shard.live(hash, key.as_bytes(), &moment) else {
                return self.missing(None);
            };
            let left = now.map(|now| ExpiresIn::until(real(held.deadline()), now));
            (held.value(), left)
        };
        let version = options.version.then(|| Version::new(value.clone()));
        let mut entry = Entry::new(value);
        entry.expires_in = expires_in;
        entry.version = version;
        Ok(Some(entry))
    }

    /// Stores a value that is in a buffer of its own.
    pub(crate) fn set(
        &self,
        key: &str,
        hash: u32,
        value: &Bytes,
        options: &SetOptions,
    ) -> Result<Applied> {
        let moment = self.moment();
        let mut shard = self.space().write(hash);
        // Looked at under the lock, so that nothing is put where `close` has already cleared.
        self.context.lifecycle().check()?;
        let (applied, _garbage) = shard.set(hash, key.as_bytes(), value, options, &moment);
        self.end_of_change(shard);
        Ok(applied)
    }

    /// As [`set`](Self::set), whatever the length of a version in the condition.
    pub(crate) async fn set_in_turns(
        &self,
        key: &str,
        value: &Bytes,
        mut options: SetOptions,
    ) -> Result<bool> {
        let hash = self.hash(key);
        loop {
            match self.set(key, hash, value, &options)? {
                Applied::Yes => return Ok(true),
                Applied::Undecided(held) if decide(&mut options.condition, &held).await => {}
                Applied::No | Applied::Undecided(_) => return Ok(false),
            }
        }
    }

    pub(crate) fn delete(&self, key: &str, options: &DeleteOptions) -> Result<Applied> {
        let (hash, moment) = (self.hash(key), self.moment());
        let mut shard = self.space().write(hash);
        let (applied, _garbage) = shard.delete(hash, key.as_bytes(), options, &moment);
        let applied = match applied {
            Applied::No => self.missing(Applied::No),
            other => Ok(other),
        };
        drop(shard);
        applied
    }

    /// As [`delete`](Self::delete), whatever the length of a version in the condition.
    pub(crate) async fn delete_in_turns(
        &self,
        key: &str,
        mut options: DeleteOptions,
    ) -> Result<bool> {
        loop {
            match self.delete(key, &options)? {
                Applied::Yes => return Ok(true),
                Applied::Undecided(held) if decide(&mut options.condition, &held).await => {}
                Applied::No | Applied::Undecided(_) => return Ok(false),
            }
        }
    }

    pub(crate) fn update_expiry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let (hash, moment) = (self.hash(key), self.moment());
        let mut shard = self.space().write(hash);
        let (live, _garbage) = shard.update_expiry(hash, key.as_bytes(), expiry, &moment);
        if !live {
            return self.missing(false);
        }
        self.end_of_change(shard);
        Ok(true)
    }

    /// Unlocks, and sees to it that what may expire is looked at.
    fn end_of_change(&self, shard: Write<'_>) {
        let due = shard.next_due();
        drop(shard);
        self.node().agenda().note(self.node(), due);
    }
}

/// Compares a value that was too long for the shard with the version asked for. If they are the
/// same, the version becomes the one of that very buffer, which a second look will recognize.
async fn decide(condition: &mut Condition, held: &Bytes) -> bool {
    let Condition::Matches(version) = condition else { return false };
    if !same_in_turns(version.as_bytes(), held).await {
        return false;
    }
    *version = Version::new(held.clone());
    true
}

fn real(deadline: i64) -> Option<Deadline> {
    (deadline != NEVER).then(|| Deadline::from_micros(deadline))
}

#[cfg(test)]
mod tests {
    use larder_core::{Capabilities, ErrorKind, SystemClock};

    use super::*;

    #[test]
    fn whoever_got_past_the_door_before_close_is_not_told_that_a_key_is_missing() {
        let context = StoreContext::new("memory", Capabilities::new());
        let handle = Handle::root(Arc::new(Shared::new(Arc::new(SystemClock))), context.clone());
        let renewal = GetOptions::default().with_renew_for(Duration::from_secs(1));
        let with_life = GetOptions::default().with_expires_in(true);
        let delete = DeleteOptions::default();
        let life = Duration::from_secs(1);
        let outcomes = || {
            [
                handle.value("k", handle.hash("k")).map(|value| value.is_some()),
                handle.exists("k"),
                handle.expires_in("k").map(|left| left != ExpiresIn::Missing),
                handle.get("k", &renewal).map(|entry| entry.is_some()),
                handle.get("k", &with_life).map(|entry| entry.is_some()),
                handle.update_expiry("k", life.into()),
                handle.delete("k", &delete).map(|applied| matches!(applied, Applied::Yes)),
            ]
        };
        let value = Bytes::from_static(b"v");
        handle.set("k", handle.hash("k"), &value, &SetOptions::default()).unwrap();
        assert!(outcomes().into_iter().all(|outcome| outcome.unwrap()));
        assert!(outcomes().into_iter().all(|outcome| !outcome.unwrap()));
        // As if `close` had come between the look at the open state and the look for the key.
        context.lifecycle().close();
        let refused = |outcome: Result<bool>| outcome.unwrap_err().kind() == ErrorKind::Closed;
        assert!(outcomes().into_iter().all(refused));
    }
}
