//! Reading an entry for the last time that it is pinned for (P2).

use larder_core::{Error, ErrorKind, Expiry};

use crate::change::ATTEMPTS;
use crate::envelope::Envelope;
use crate::policy::Entry;
use crate::write::Locked;
use crate::{Cache, CacheItem, CacheResult};

impl<V: 'static> Cache<V> {
    /// Reads an entry and unpins it in the same step (`P2`).
    ///
    /// The entry stays, and may be evicted from now on. Where its life would have been over but for
    /// the pin, it lives on for the default time to live.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::{Cache, CacheError, Policy};
    /// # use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), CacheError> {
    /// let store = Arc::new(MemoryStore::new());
    /// let cache = Cache::<u32>::builder(store).policy(Policy::Lru { max: 2 }).build().await?;
    /// cache.set("result", &42).pin().await?;
    /// for other in ["a", "b", "c"] {
    ///     cache.set(other, &0).await?;
    /// }
    /// let item = cache.get_and_unpin("result").await?.ok_or(CacheError::NotFound)?;
    /// assert_eq!(item.value()?, 42);
    /// assert!(!cache.get("result").await?.is_some_and(|item| item.is_pinned()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_and_unpin(&self, key: &str) -> CacheResult<Option<CacheItem<V>>> {
        let inner = self.inner();
        let (route, tag) = (self.route()?, self.0.tag);
        let default = self.default_expiry();
        let unpin = async move |locked: Locked| locked.unpin(tag, default).await;
        let envelope = inner.locked(&route, key, unpin).await?;
        self.count_read(&route, key, envelope.is_some());
        Ok(envelope.map(|envelope| self.item(envelope)))
    }
}

impl Locked {
    async fn unpin(self, tag: u64, default: Expiry) -> CacheResult<Option<Envelope>> {
        for _ in 0..ATTEMPTS {
            if let Some(unpinned) = self.try_unpin(tag, default).await? {
                return Ok(unpinned);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the entry changes too often").into())
    }

    /// `None` when another process changed the entry meanwhile.
    async fn try_unpin(&self, tag: u64, default: Expiry) -> CacheResult<Option<Option<Envelope>>> {
        let now = self.inner.now();
        let mutations = self.slot.mutations();
        let (envelope, condition) = self.read_to_change().await?;
        let envelope = envelope.filter(|envelope| envelope.check_tag(tag).is_ok());
        let Some(envelope) = envelope.filter(|envelope| envelope.head.is_live(now)) else {
            return Ok(Some(None));
        };
        if envelope.head.pinned_until.is_none() {
            // Still counted as pinned, where the answer to the unpinning was lost.
            self.inner.policies.update(&self.slot.id, Entry::of(&envelope.head), now);
            return Ok(Some(Some(envelope)));
        }
        let mut unpinned = envelope;
        unpinned.head.pinned_until = None;
        if !unpinned.head.is_live(now) {
            unpinned.head.expires = self.inner.default_deadline(default, now);
        }
        if self.is_cleared_since(mutations) {
            self.give_way(condition).await?;
            return Ok(Some(Some(unpinned)));
        }
        let (head, bytes) = (unpinned.head, unpinned.encode());
        if !self.store_set(&head, bytes.clone(), now, condition).await? {
            return Ok(None);
        }
        if self.is_cleared_since(mutations) {
            self.take_back(&bytes).await?;
            return Ok(Some(Some(unpinned)));
        }
        self.slot.count_mutation();
        self.inner.policies.update(&self.slot.id, Entry::of(&head), now);
        Ok(Some(Some(unpinned)))
    }
}
