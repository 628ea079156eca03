use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use larder_core::{Capabilities, Namespace, NamespacedStore};

use crate::fence::Fences;
use crate::lease::Held;
use crate::slot::lock;
use crate::{CacheError, CacheResult};

/// The namespace below the store's handle that belongs to what processes agree on.
pub(crate) const ROOT: &str = "d";
pub(crate) const LOCK: &str = "lock";
pub(crate) const LOAD: &str = "load";
pub(crate) const FENCE: &str = "fence";
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(24 * 3_600);

/// How the processes that share a store work together: see
/// [`distributed`](crate::CacheBuilder::distributed).
///
/// ```
/// use std::time::Duration;
/// use larder_cache::Distributed;
/// let distributed = Distributed::new().lease(Duration::from_secs(5));
/// # let _ = distributed;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distributed {
    lease: Duration,
}

impl Distributed {
    /// The settings that suit most: a lease of 10 s.
    #[must_use]
    pub fn new() -> Self {
        Self { lease: Duration::from_secs(10) }
    }

    /// For how long a load or a lock is a process's own without a word from it; from 100 ms to a
    /// day, and 10 s by default.
    ///
    /// It is renewed at a third of this time. After a process has died, its loads and locks are free
    /// within one lease; a process that the store does not hear from for so long has lost them.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    pub(crate) fn check(self) -> CacheResult<()> {
        if (LEAST..=MOST).contains(&self.lease) {
            return Ok(());
        }
        Err(CacheError::config("a lease is from 100 ms to a day long"))
    }

    pub(crate) fn check_store(capabilities: &Capabilities) -> CacheResult<()> {
        if !capabilities.conditions {
            return Err(CacheError::config(
                "`distributed` wants a store with conditions, and this one declares none",
            ));
        }
        if !capabilities.shared {
            return Err(CacheError::config(
                "`distributed` wants a store that several processes share, and this one is not",
            ));
        }
        Ok(())
    }
}

impl Default for Distributed {
    fn default() -> Self {
        Self::new()
    }
}

/// What a space knows of the other processes.
#[derive(Debug)]
pub(crate) struct Coordination {
    pub(crate) lease: Duration,
    pub(crate) fences: Fences,
    /// As of the last opening of the store.
    places: RwLock<Option<(u64, Arc<Places>)>>,
    held: Mutex<HashMap<u64, Weak<Held>>>,
    next_id: AtomicU64,
}

/// The namespaces of what processes agree on.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) locks: Arc<dyn NamespacedStore>,
    pub(crate) loads: Arc<dyn NamespacedStore>,
    pub(crate) fences: Arc<dyn NamespacedStore>,
}

impl Coordination {
    pub(crate) fn new(settings: Distributed) -> Self {
        Self {
            lease: settings.lease,
            fences: Fences::default(),
            places: RwLock::default(),
            held: Mutex::default(),
            next_id: AtomicU64::new(0),
        }
    }

    /// The namespaces, of the store that was opened for the `generation`th time.
    pub(crate) fn places(
        &self,
        generation: u64,
        root: &Arc<dyn NamespacedStore>,
    ) -> CacheResult<Arc<Places>> {
        let known = self.places.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((of, places)) = known
            && of == generation
        {
            return Ok(places);
        }
        let places = Arc::new(Places {
            locks: root.with_path(&[ROOT, LOCK])?,
            loads: root.with_path(&[ROOT, LOAD])?,
            fences: root.with_path(&[ROOT, FENCE])?,
        });
        let new = Some((generation, Arc::clone(&places)));
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(places)
    }

    /// Keeps a lease in mind, to be given back when the space is closed.
    pub(crate) fn remember(&self, held: &Arc<Held>) -> u64 {
        let id = self.next_id.fetch_add(1, SeqCst);
        lock(&self.held).insert(id, Arc::downgrade(held));
        id
    }

    pub(crate) fn forget(&self, id: u64) {
        lock(&self.held).remove(&id);
    }

    /// The leases that are held.
    pub(crate) fn held(&self) -> Vec<Arc<Held>> {
        lock(&self.held).values().filter_map(Weak::upgrade).collect()
    }
}

/// The name of a key of a scope among all keys of all scopes. One that would be longer than
/// `max_len`, or could be taken for one that was, ends in a hash of the whole: two names that were one
/// would share a lock.
pub(crate) fn name(scope: &Namespace, key: &str, max_len: usize) -> String {
    let mut name = format!("{}:{key}", scope.encode());
    if name.len() <= max_len && !looks_hashed(&name, max_len) {
        return name;
    }
    let hash = fnv128(name.as_bytes());
    let mut end = max_len.saturating_sub(33);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    // Writing to a string never fails.
    let _ = write!(name, "#{hash:032x}");
    name
}

/// Tells whether a name reads like one that was shortened, to the end of a character at most three
/// bytes before the limit.
fn looks_hashed(name: &str, max_len: usize) -> bool {
    let is_hash = |tail: &str| {
        tail.len() == 32 && tail.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    name.len() + 3 >= max_len && name.rsplit_once('#').is_some_and(|(_, tail)| is_hash(tail))
}

/// FNV-1a, the same in every process and release.
pub(crate) fn fnv128(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_keys_and_scopes_apart_and_fit() {
        let scope = |segments: &[&str]| Namespace::from_segments(segments).unwrap();
        assert_eq!(name(&scope(&["g"]), "k", 100), "g:k");
        assert_ne!(name(&scope(&["g", "a"]), "b", 100), name(&scope(&["g"]), "a:b", 100));
        let long = "ä".repeat(100);
        let (one, other) =
            (name(&scope(&["g"]), &long, 99), name(&scope(&["g"]), &format!("{long}x"), 99));
        assert!(one.len() <= 99 && other.len() <= 99);
        assert!(one.starts_with("g:ää") && one != other);
    }

    #[test]
    fn a_name_that_reads_like_a_shortened_one_is_another() {
        let scope = Namespace::from_segments(["g"]).unwrap();
        for (long, max_len) in [("a".repeat(200), 99), ("ä".repeat(200), 100), ("🦀".repeat(9), 36)]
        {
            let shortened = name(&scope, &long, max_len);
            let key = shortened.strip_prefix("g:").unwrap();
            let other = name(&scope, key, max_len);
            assert!(other != shortened && other.len() <= max_len, "{other}");
            assert_eq!(name(&scope, key, max_len + 4), shortened, "shorter ones stay as they are");
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv128(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv128(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn leases_have_limits() {
        let with = |lease| Distributed::new().lease(lease).check();
        assert!(
            with(LEAST).is_ok() && with(MOST).is_ok() && Distributed::default().check().is_ok()
        );
        assert!(with(Duration::ZERO).is_err() && with(Duration::MAX).is_err());
    }
}
