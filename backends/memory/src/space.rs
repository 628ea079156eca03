use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};

use crate::entry::NEVER;
use crate::shard::{Shard, shard_of};

/// How many leading bits of the hash tell the shards of a large namespace apart: 64 of them.
const SHARD_BITS: u32 = 6;
/// The most entries of a namespace that has only one.
const MAX_UNSPLIT: usize = 2_048;

/// The entries of one namespace.
///
/// A small namespace has one shard; when it grows it is split, once, and stays so. The split happens
/// while the first shard is locked, so whoever has locked it and still sees no others may rely on it.
#[derive(Debug)]
pub(crate) struct Space {
    first: First,
    rest: OnceLock<Box<[Part]>>,
    /// No entry here expires earlier; written by the agenda alone.
    pub(crate) next_due: AtomicI64,
}

/// The shard of a small namespace, in a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct First(RwLock<Shard>);

/// A shard of a large namespace. Its lock is a set of locks, of which readers in different threads
/// take different ones: the processor need not carry a lock from one to the other for each get. It
/// takes up a kilobyte, and a change takes all of them.
#[derive(Debug)]
struct Part(ShardedLock<Shard>);

/// A shard locked for reading.
pub(crate) enum Read<'a> {
    First(RwLockReadGuard<'a, Shard>),
    Part(ShardedLockReadGuard<'a, Shard>),
}

/// A shard locked for writing.
pub(crate) enum Write<'a> {
    First(RwLockWriteGuard<'a, Shard>),
    Part(ShardedLockWriteGuard<'a, Shard>),
}

impl Deref for Read<'_> {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        match self {
            Self::First(shard) => shard,
            Self::Part(shard) => shard,
        }
    }
}

impl Deref for Write<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        match self {
            Self::First(shard) => shard,
            Self::Part(shard) => shard,
        }
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        match self {
            Self::First(shard) => shard,
            Self::Part(shard) => shard,
        }
    }
}

// A panic cannot leave a shard half changed, so poisoning means nothing.
impl First {
    fn read(&self) -> Read<'_> {
        Read::First(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> Write<'_> {
        Write::First(self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Part {
    #[inline(always)]
    fn read(&self) -> Read<'_> {
        Read::Part(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> Write<'_> {
        Write::Part(self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Space {
    pub(crate) fn new() -> Self {
        Self {
            first: First(RwLock::new(Shard::new(0))),
            rest: OnceLock::new(),
            next_due: AtomicI64::new(NEVER),
        }
    }

    /// The shard of the keys with this hash, locked for reading.
    #[inline(always)]
    pub(crate) fn read(&self, hash: u32) -> Read<'_> {
        if let Some(rest) = self.rest.get() {
            return part_of(rest, hash).read();
        }
        let first = self.first.read();
        let Some(rest) = self.rest.get() else { return first };
        drop(first);
        part_of(rest, hash).read()
    }

    /// The shard of the keys with this hash, locked for writing.
    pub(crate) fn write(&self, hash: u32) -> Write<'_> {
        if let Some(rest) = self.rest.get() {
            return part_of(rest, hash).write();
        }
        let mut first = self.first.write();
        if self.rest.get().is_none() && first.len() > MAX_UNSPLIT {
            self.split(&mut first);
        }
        let Some(rest) = self.rest.get() else { return first };
        drop(first);
        part_of(rest, hash).write()
    }

    fn split(&self, first: &mut Shard) {
        let rest = first.split(SHARD_BITS).into_iter();
        // It is empty: the first shard is locked, and only who has it locked gets here.
        let _ = self.rest.set(rest.map(|shard| Part(ShardedLock::new(shard))).collect());
    }

    /// The first hash of the shard after the one with this hash; `None` when that is the last.
    pub(crate) fn next_shard(&self, hash: u32) -> Option<u32> {
        self.rest.get()?;
        let next = shard_of(hash, SHARD_BITS) + 1;
        u32::try_from(next << (u32::BITS - SHARD_BITS)).ok()
    }

    /// The part with this number, from 1 on; none after the last.
    fn part(&self, number: usize) -> Option<&Part> {
        self.rest.get()?.get(number - 1)
    }

    /// Reads the shard with this number: from 0 on, none after the last.
    ///
    /// Entries move only from the first shard to later ones, so whoever visits all in order meets
    /// every entry that is there throughout.
    pub(crate) fn read_shard<R>(&self, number: usize, f: impl FnOnce(&Shard) -> R) -> Option<R> {
        let shard = if number == 0 { self.first.read() } else { self.part(number)?.read() };
        Some(f(&shard))
    }

    /// Changes the shard with this number, as [`read_shard`](Self::read_shard).
    pub(crate) fn write_shard<R>(
        &self,
        number: usize,
        f: impl FnOnce(&mut Shard) -> R,
    ) -> Option<R> {
        let mut shard = if number == 0 { self.first.write() } else { self.part(number)?.write() };
        Some(f(&mut shard))
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

fn part_of(parts: &[Part], hash: u32) -> &Part {
    &parts[shard_of(hash, SHARD_BITS)]
}
