//! Moving what processes agree on from store to store.

use larder_core::{Clock, NamespacedStore, Result, SystemClock};

use crate::distributed::{FENCE, LOAD, LOCK, ROOT};
use crate::fence::Keys;
use crate::placeholder::Placeholder;
use crate::{lease, scope};

/// What became of a counter: see [`carry_counter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CarriedOver {
    /// The other store's was behind, or not there.
    Written,
    /// The other store's was not behind.
    Kept,
    /// It is the mark of a counter, and goes with that.
    WithCounter,
    /// One of the two was lost, and it is for somebody to look after; or the other store has no
    /// conditions, and nothing is locked there.
    LeftOut,
}

/// Tells whether a value of a store belongs to a process that works with others in a
/// [`distributed`](crate::CacheBuilder::distributed) space: a lock, a load, or what stands in an entry's
/// place for one. A tool that copies whole stores leaves it where it is.
///
/// It is known by its bytes, which no entry begins with, and by the namespace that it lies in.
///
/// # Examples
/// ```
/// # use larder_cache::belongs_to_a_process;
/// # use larder_memory::MemoryStore;
/// assert!(!belongs_to_a_process(&MemoryStore::new(), b"a value"));
/// ```
pub fn belongs_to_a_process(store: &dyn NamespacedStore, value: &[u8]) -> bool {
    if Placeholder::is(value) {
        return is_in(store, LOAD) || scope::holds_entries(store.namespace());
    }
    lease::is_record(value) && is_in(store, LOCK)
}

/// Sees that a counter of fencing tokens in `to`, the same namespace of another store, is not behind the
/// one in `from`, and moves it on if it is, never back; `None` for a key that is no counter nor the
/// mark of one. A tool that copies whole stores copies such a key as it is.
///
/// Entries that are copied hold the tokens of their locks: a counter that was behind them would let
/// nobody write under a lock.
///
/// # Errors
/// Those of the stores; `Corrupt` for a counter that is none.
///
/// # Examples
/// ```
/// # use larder_cache::carry_counter;
/// # use larder_memory::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> larder_core::Result<()> {
/// let (from, to) = (MemoryStore::new(), MemoryStore::new());
/// assert_eq!(carry_counter(&from, &to, "an ordinary key").await?, None);
/// # Ok(())
/// # }
/// ```
pub async fn carry_counter(
    from: &dyn NamespacedStore,
    to: &dyn NamespacedStore,
    key: &str,
) -> Result<Option<CarriedOver>> {
    let Some(keys) = Keys::with(key).filter(|_| is_in(from, FENCE)) else { return Ok(None) };
    // Without a mark on either side, it is somebody's own.
    if !from.exists(&keys.mark).await? && !to.exists(&keys.mark).await? {
        return Ok(None);
    }
    if !to.capabilities().conditions {
        return Ok(Some(CarriedOver::LeftOut));
    }
    keys.carry_over(from, to, key, SystemClock.now()).await.map(Some)
}

fn is_in(store: &dyn NamespacedStore, name: &str) -> bool {
    store.namespace().segments().rev().take(2).eq([name, ROOT])
}
