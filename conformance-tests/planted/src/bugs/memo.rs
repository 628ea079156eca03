use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_core::{
    Bytes, DeleteManyOutcome, DeleteOptions, Entry, ExpiresIn, Expiry, GetOptions, Namespace,
    Result, SetItem, SetOptions, SetOutcome, Store, async_trait,
};

use crate::tamper::{At, Tamper};

/// What was read is remembered, in each handle for itself: correctly, had it the data to itself.
#[derive(Debug, Default)]
pub(crate) struct RemembersReads(Mutex<Memo>);

#[derive(Debug, Default)]
struct Memo {
    values: HashMap<(Namespace, String), Bytes>,
    /// Writes under way: nothing is remembered meanwhile. One that is dropped counts for ever.
    writing: u64,
    written: u64,
}

impl Memo {
    fn begin_write(&mut self) {
        self.values.clear();
        self.writing += 1;
        self.written += 1;
    }
}

impl RemembersReads {
    fn memo(&self) -> MutexGuard<'_, Memo> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything before a write, and whatever was read while it ran.
    async fn write<T>(&self, write: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.memo().begin_write();
        let done = write.await;
        self.memo().writing -= 1;
        done
    }
}

#[async_trait]
impl Tamper for RemembersReads {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        if options.renew_for.is_some() {
            return self.write(at.inner.get_opts(key, options)).await;
        }
        at.inner.ping().await?;
        if options == GetOptions::default()
            && let Some(value) = self.memo().values.get(&at.name_of(key))
        {
            return Ok(Some(Entry::new(value.clone())));
        }
        let written = self.memo().written;
        let entry = at.inner.get_opts(key, options.with_expires_in(true)).await?;
        let mut memo = self.memo();
        // What may expire is not remembered.
        if let Some(entry) = entry.as_ref().filter(|e| e.expires_in == Some(ExpiresIn::Never))
            && memo.writing == 0
            && memo.written == written
        {
            memo.values.insert(at.name_of(key), entry.value.clone());
        }
        drop(memo);
        Ok(entry)
    }

    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        self.write(at.inner.set_opts(key, value, options)).await
    }

    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        self.write(at.inner.delete_opts(key, options)).await
    }

    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        self.write(at.inner.set_many(items)).await
    }

    async fn delete_many(&self, at: &At, keys: &[&str]) -> Result<DeleteManyOutcome> {
        self.write(at.inner.delete_many(keys)).await
    }

    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        self.write(at.inner.update_expiry(key, expiry)).await
    }

    async fn delete_prefix(&self, at: &At, prefix: &str) -> Result<u64> {
        self.write(at.inner.delete_prefix(prefix)).await
    }

    async fn delete_all(&self, at: &At) -> Result<()> {
        self.write(at.inner.delete_all()).await
    }
}
