use std::sync::{Mutex, PoisonError};

use larder_core::{
    BoxFuture, Bytes, Cursor, DeleteManyOutcome, DeleteOptions, Entry, Error, ErrorKind, ExpiresIn,
    Expiry, GetOptions, ListPage, NamespacePage, Result, SetItem, SetOptions, SetOutcome, Store,
    async_trait,
};
use tokio::sync::{mpsc, oneshot};

use crate::tamper::{At, Tamper};

type Job = BoxFuture<'static, ()>;

/// A task that makes one call after the other, as they come through a channel; who drops a call
/// leaves it there.
#[derive(Debug, Default)]
pub(crate) struct Actor(Mutex<Option<mpsc::UnboundedSender<Job>>>);

impl Actor {
    fn jobs(&self) -> mpsc::UnboundedSender<Job> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let (send, mut receive) = mpsc::unbounded_channel::<Job>();
            tokio::spawn(async move {
                while let Some(job) = receive.recv().await {
                    job.await;
                }
            });
            send
        };
        jobs.get_or_insert_with(start).clone()
    }

    async fn ask<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job = async move {
            // Nobody waits for the answer to a call that was dropped.
            let _ = answer.send(call.await);
        };
        let gone = || Error::new(ErrorKind::Internal, "the actor has ended");
        self.jobs().send(Box::pin(job)).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

#[async_trait]
impl Tamper for Actor {
    async fn get_opts(&self, at: &At, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        let (inner, key) = (at.inner.clone(), key.to_owned());
        self.ask(async move { inner.get_opts(&key, options).await }).await
    }

    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        let (inner, key) = (at.inner.clone(), key.to_owned());
        self.ask(async move { inner.set_opts(&key, value, options).await }).await
    }

    async fn delete_opts(&self, at: &At, key: &str, options: DeleteOptions) -> Result<bool> {
        let (inner, key) = (at.inner.clone(), key.to_owned());
        self.ask(async move { inner.delete_opts(&key, options).await }).await
    }

    async fn delete_all(&self, at: &At) -> Result<()> {
        let inner = at.inner.clone();
        self.ask(async move { inner.delete_all().await }).await
    }

    async fn exists(&self, at: &At, key: &str) -> Result<bool> {
        let (inner, key) = (at.inner.clone(), key.to_owned());
        self.ask(async move { inner.exists(&key).await }).await
    }

    async fn expires_in(&self, at: &At, key: &str) -> Result<ExpiresIn> {
        let (inner, key) = (at.inner.clone(), key.to_owned());
        self.ask(async move { inner.expires_in(&key).await }).await
    }

    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let (inner, keys) = (at.inner.clone(), owned(keys));
        self.ask(async move { inner.get_many(&borrowed(&keys)).await }).await
    }

    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let inner = at.inner.clone();
        let items: Vec<_> =
            items.into_iter().map(|item| (item.key.to_owned(), item.value, item.options)).collect();
        self.ask(async move {
            let items = items.iter().map(|(key, value, options)| {
                SetItem::new(key, value.clone()).with_options(options.clone())
            });
            inner.set_many(items.collect()).await
        })
        .await
    }

    async fn delete_many(&self, at: &At, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let (inner, keys) = (at.inner.clone(), owned(keys));
        self.ask(async move { inner.delete_many(&borrowed(&keys)).await }).await
    }

    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        let (inner, key) = (at.inner.clone(), key.to_owned());
        self.ask(async move { inner.update_expiry(&key, expiry).await }).await
    }

    async fn list_page(
        &self,
        at: &At,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let (inner, prefix, cursor) = (at.inner.clone(), prefix.to_owned(), cursor.cloned());
        self.ask(async move { inner.list_page(&prefix, cursor.as_ref(), limit).await }).await
    }

    async fn list_child_namespaces(
        &self,
        at: &At,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let (inner, cursor) = (at.inner.clone(), cursor.cloned());
        self.ask(async move { inner.list_child_namespaces(cursor.as_ref(), limit).await }).await
    }

    async fn delete_prefix(&self, at: &At, prefix: &str) -> Result<u64> {
        let (inner, prefix) = (at.inner.clone(), prefix.to_owned());
        self.ask(async move { inner.delete_prefix(&prefix).await }).await
    }

    async fn delete_expired(&self, at: &At) -> Result<u64> {
        let inner = at.inner.clone();
        self.ask(async move { inner.delete_expired().await }).await
    }

    async fn flush(&self, at: &At) -> Result<()> {
        let inner = at.inner.clone();
        self.ask(async move { inner.flush().await }).await
    }

    async fn ping(&self, at: &At) -> Result<()> {
        let inner = at.inner.clone();
        self.ask(async move { inner.ping().await }).await
    }

    async fn close(&self, at: &At) -> Result<()> {
        let inner = at.inner.clone();
        self.ask(async move { inner.close().await }).await
    }
}
