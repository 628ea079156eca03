use std::sync::Arc;

use larder_core::{Bytes, Error, ErrorKind, InProgress, Result, SetItem, SetOutcome};
use redis::{Cmd, Pipeline, Value};

use crate::apart::{LARGE, begin_apart};
use crate::driver::bytes;
use crate::error::{Effect, unexpected};
use crate::keys::command;
use crate::store::RedisStore;
use crate::write::{Meaning, Write, version_len};

/// How many keys go into one MGET or one pipeline: the server serves others in between.
const CHUNK: usize = 512;
/// How many bytes of values go into one pipeline, unless one value alone has more.
const CHUNK_BYTES: usize = 1024 * 1024;

impl RedisStore {
    pub(crate) async fn read_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(CHUNK) {
            match self.read_chunk(chunk).await {
                Ok(values) => outcomes.extend(values),
                Err(error) => {
                    // The server is away: each further chunk would wait in vain.
                    for key in &keys[outcomes.len()..] {
                        outcomes.push(Err(self.key_error("get_many", key)(error.clone())));
                    }
                    break;
                }
            }
        }
        outcomes
    }

    async fn read_chunk(&self, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let mut lease = self.driver().lease().await?;
        let len: usize = keys.iter().map(|key| self.physical(key).len()).sum();
        let mut mget = Cmd::with_capacity(1 + keys.len(), 4 + len);
        mget.arg("MGET");
        for key in keys {
            mget.arg(self.physical(key));
        }
        let values = match lease.run(&mget, Effect::Read).await {
            Ok(Value::Array(values)) if values.len() == keys.len() => values,
            Ok(_) => return Err(unexpected(Effect::Read)),
            // One key that the user may not read is enough for that (`S8`).
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                vec![Value::Nil; keys.len()]
            }
            Err(error) => return Err(error),
        };
        // MGET answers nil for a key that holds no string, which is no miss (`R4`): GET tells.
        let unsure: Vec<usize> = (0..keys.len()).filter(|&at| values[at] == Value::Nil).collect();
        let mut outcomes: Vec<Result<Option<Bytes>>> = values
            .into_iter()
            .zip(keys)
            .map(|(value, key)| bytes(value, Effect::Read).map_err(self.key_error("get_many", key)))
            .collect();
        if !unsure.is_empty() {
            let mut gets = Pipeline::with_capacity(unsure.len());
            for &at in &unsure {
                gets.add_command(command("GET", self.physical(keys[at]), 0, 0));
            }
            let values = lease.run_all(&gets, Effect::Read).await?;
            for (at, value) in unsure.into_iter().zip(values) {
                outcomes[at] =
                    bytes(value, Effect::Read).map_err(self.key_error("get_many", keys[at]));
            }
        }
        Ok(outcomes)
    }

    /// `call` goes along with what may outlive the caller's future.
    pub(crate) async fn write_many(
        &self,
        items: &[SetItem<'_>],
        call: &Arc<InProgress>,
    ) -> Vec<Result<SetOutcome>> {
        let mut batch = Batch::new(self, "set_many");
        for item in items {
            if item.value.len() + version_len(&item.options.condition) >= LARGE {
                batch.add_large(item, call).await;
                continue;
            }
            let write = Write::of(self.physical(item.key), &item.value, &item.options);
            let command = write.map(Write::into_command);
            batch.add(item.key, item.value.len(), command).await;
        }
        batch.finish().await
    }

    pub(crate) async fn unlink_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let mut batch = Batch::new(self, "delete_many");
        for key in keys {
            let command = command("UNLINK", self.physical(key), 0, 0);
            batch.add(key, 0, Ok((command, Meaning::Counted))).await;
        }
        let outcomes = batch.finish().await;
        outcomes.into_iter().map(|outcome| Ok(outcome?.is_applied())).collect()
    }
}

/// One writing command for each key, sent in order, many at a time.
struct Batch<'a> {
    store: &'a RedisStore,
    operation: &'static str,
    pipeline: Pipeline,
    /// For each command that waits, its key and meaning; or why there is none.
    waiting: Vec<(&'a str, Result<Meaning>)>,
    bytes: usize,
    outcomes: Vec<Result<SetOutcome>>,
    /// Set once the server is away: what was not sent by then is not sent.
    away: Option<Error>,
}

impl<'a> Batch<'a> {
    fn new(store: &'a RedisStore, operation: &'static str) -> Self {
        Self {
            store,
            operation,
            pipeline: Pipeline::new(),
            waiting: Vec::new(),
            bytes: 0,
            outcomes: Vec::new(),
            away: None,
        }
    }

    async fn add(&mut self, key: &'a str, bytes: usize, command: Result<(Cmd, Meaning)>) {
        let full = self.waiting.len() == CHUNK || self.bytes + bytes > CHUNK_BYTES;
        if full && !self.waiting.is_empty() {
            self.send().await;
        }
        self.bytes += bytes;
        let meaning = command.map(|(command, meaning)| {
            self.pipeline.add_command(command);
            meaning
        });
        self.waiting.push((key, meaning));
    }

    /// Sends an item by itself, after those that wait, and makes it ready on another thread.
    async fn add_large(&mut self, item: &SetItem<'a>, call: &Arc<InProgress>) {
        self.send().await;
        if let Some(error) = &self.away {
            let error = self.store.key_error(self.operation, item.key)(error.clone());
            return self.outcomes.push(Err(error));
        }
        let (store, call) = (self.store.clone(), Arc::clone(call));
        let (key, value) = (item.key.to_owned(), item.value.clone());
        let options = item.options.clone();
        let sent = Box::pin(begin_apart(async move {
            let _call = call;
            let mut pipeline = Pipeline::with_capacity(1);
            let write = Write::of(store.physical(&key), &value, &options);
            let meaning = write.map(Write::into_command).map(|(command, meaning)| {
                pipeline.add_command(command);
                meaning
            });
            Ok((store.replies(&pipeline).await?, meaning))
        }));
        match sent.await {
            Ok((replies, meaning)) => self.take(replies, vec![(item.key, meaning)]),
            Err(error) => self.fail(error, [item.key]),
        }
    }

    async fn finish(mut self) -> Vec<Result<SetOutcome>> {
        self.send().await;
        self.outcomes
    }

    async fn send(&mut self) {
        self.bytes = 0;
        let pipeline = std::mem::take(&mut self.pipeline);
        let waiting = std::mem::take(&mut self.waiting);
        let replies = match &self.away {
            Some(error) => Err(error.clone()),
            None => self.store.replies(&pipeline).await,
        };
        match replies {
            Ok(replies) => self.take(replies, waiting),
            Err(error) => self.fail(error, waiting.into_iter().map(|(key, _)| key)),
        }
    }

    fn take(&mut self, replies: Vec<Value>, waiting: Vec<(&str, Result<Meaning>)>) {
        let mut replies = replies.into_iter();
        for (key, meaning) in waiting {
            let outcome = meaning.and_then(|meaning| {
                let reply = replies.next().ok_or_else(|| unexpected(Effect::Write))?;
                meaning.outcome(&reply)
            });
            let named = self.store.key_error(self.operation, key);
            self.outcomes.push(outcome.map_err(named));
        }
    }

    fn fail<'k>(&mut self, error: Error, keys: impl IntoIterator<Item = &'k str>) {
        for key in keys {
            let named = self.store.key_error(self.operation, key);
            self.outcomes.push(Err(named(error.clone())));
        }
        self.away.get_or_insert_with(|| not_sent(error));
    }
}

impl RedisStore {
    async fn replies(&self, pipeline: &Pipeline) -> Result<Vec<Value>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        self.driver().lease().await?.run_all(pipeline, Effect::Write).await
    }
}

/// For writes after one whose outcome is unknown: these were surely not made.
fn not_sent(error: Error) -> Error {
    if error.kind() != ErrorKind::Unknown {
        return error;
    }
    Error::new(ErrorKind::Unavailable, "not sent, as the server stopped answering")
        .with_source(error)
}
