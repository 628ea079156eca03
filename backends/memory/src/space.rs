use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::entry::NEVER;
use crate::shard::{Shard, shard_of};

/// How many leading bits of the hash tell the shards of a large namespace apart: 64 of them.
const SHARD_BITS: u32 = 6;
/// The most entries of a namespace that has only one.
const MAX_UNSPLIT: usize = 1_024;

/// The entries of one namespace.
///
/// A small namespace has one shard; when it grows it is split, once, and stays so. The split happens
/// while the first shard is locked, so whoever has locked it and still sees no others may rely on it.
#[derive(Debug)]
pub(crate) struct Space {
    first: Locked,
    rest: OnceLock<Box<[Locked]>>,
    /// No entry here expires earlier; written by the agenda alone.
    pub(crate) next_due: AtomicI64,
}

/// A shard in a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Locked(RwLock<Shard>);

// A panic cannot leave a shard half changed, so poisoning means nothing.
impl Locked {
    fn read(&self) -> RwLockReadGuard<'_, Shard> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shard> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Space {
    pub(crate) fn new() -> Self {
        Self {
            first: Locked(RwLock::new(Shard::new(0))),
            rest: OnceLock::new(),
            next_due: AtomicI64::new(NEVER),
        }
    }

    /// The shard of the keys with this hash, locked for reading.
    #[inline]
    pub(crate) fn read(&self, hash: u32) -> RwLockReadGuard<'_, Shard> {
        if self.rest.get().is_none() {
            let first = self.first.read();
            if self.rest.get().is_none() {
                return first;
            }
        }
        self.of(hash).read()
    }

    /// The shard of the keys with this hash, locked for writing.
    pub(crate) fn write(&self, hash: u32) -> RwLockWriteGuard<'_, Shard> {
        if self.rest.get().is_none() {
            let mut first = self.first.write();
            if self.rest.get().is_none() {
                if first.len() <= MAX_UNSPLIT {
                    return first;
                }
                self.split(&mut first);
            }
        }
        self.of(hash).write()
    }

    fn of(&self, hash: u32) -> &Locked {
        self.rest.get().map_or(&self.first, |rest| &rest[shard_of(hash, SHARD_BITS)])
    }

    fn split(&self, first: &mut Shard) {
        let rest = first.split(SHARD_BITS).into_iter();
        // It is empty: the first shard is locked, and only who has it locked gets here.
        let _ = self.rest.set(rest.map(|shard| Locked(RwLock::new(shard))).collect());
    }

    /// The first hash of the shard after the one with this hash; `None` when that is the last.
    pub(crate) fn next_shard(&self, hash: u32) -> Option<u32> {
        self.rest.get()?;
        let next = shard_of(hash, SHARD_BITS) + 1;
        u32::try_from(next << (u32::BITS - SHARD_BITS)).ok()
    }

    /// The shard with this number, from 0 on; none after the last.
    ///
    /// Entries move only from the first shard to later ones, so whoever visits all in order meets
    /// every entry that is there throughout.
    fn shard(&self, number: usize) -> Option<&Locked> {
        match number.checked_sub(1) {
            None => Some(&self.first),
            Some(number) => self.rest.get()?.get(number),
        }
    }

    /// Reads the shard with this number.
    pub(crate) fn read_shard<R>(&self, number: usize, f: impl FnOnce(&Shard) -> R) -> Option<R> {
        Some(f(&self.shard(number)?.read()))
    }

    /// Changes the shard with this number.
    pub(crate) fn write_shard<R>(
        &self,
        number: usize,
        f: impl FnOnce(&mut Shard) -> R,
    ) -> Option<R> {
        Some(f(&mut self.shard(number)?.write()))
    }

    /// Tells whether no entry is left, expired ones included.
    pub(crate) fn is_empty(&self) -> bool {
        (0..).map_while(|number| self.read_shard(number, Shard::len)).all(|len| len == 0)
    }

    /// Tells whether an entry with this deadline is one the agenda has to know of.
    pub(crate) fn is_due_before(&self, deadline: i64) -> bool {
        deadline < self.next_due.load(SeqCst)
    }
}
