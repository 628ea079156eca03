use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{TryStreamExt, stream};
use larder::{
    Error, ErrorKind, ExpiresIn, NamespacedStore, SetItem, SetOptions, StoreExt, StoreUrl,
};

use super::gather::Found;
use super::stage::Stage;
use super::{NAMESPACE, Stopwatch, child};
use crate::commands::copy::{Progress, Tally, Transfer};
use crate::durations;
use crate::exit::Outcome;
use crate::text;

const DAY: Duration = Duration::from_secs(86_400);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);
/// How many entries are written in one go.
const BATCH: usize = 16;
/// How many batches are written at a time.
const WRITERS: usize = 8;
/// How many ask at once where a race is shown.
const RACERS: u64 = 8;
/// How many keys are shown of a list.
const SHOWN: usize = 5;

/// The acts of the demo: each does something, and sees that it is so.
pub(super) struct Steps<'a> {
    pub(super) store: Arc<dyn NamespacedStore>,
    pub(super) files: &'a [Found],
}

impl Steps<'_> {
    pub(super) async fn store_files(&self, stage: &mut Stage<'_>) -> Outcome {
        let watch = Stopwatch::start();
        for (segment, life) in [("docs", DAY), ("drafts", TEN_MINUTES)] {
            let store = child(&self.store, segment)?;
            let options = SetOptions::default().with_expiry(life);
            // Several at a time, for a store that syncs its disk can share a sync.
            stream::iter(self.files.chunks(BATCH).map(Ok))
                .try_for_each_concurrent(WRITERS, |batch| {
                    let items = batch.iter().map(|file| {
                        SetItem::new(&file.key, &file.content).with_options(options.clone())
                    });
                    let items = items.collect();
                    let store = &store;
                    async move {
                        store.set_many(items).await?.into_iter().try_for_each(|set| set.map(drop))
                    }
                })
                .await?;
        }
        let files = text::count(self.files.len() as u64, "file");
        let took = watch.read();
        stage.step("Store", &format!("{files} in two namespaces, in {took}"))?;
        stage.seen(&format!("{NAMESPACE} / docs    to live for a day"))?;
        stage.seen(&format!("{NAMESPACE} / drafts  to live for ten minutes"))
    }

    pub(super) async fn read_back(&self, stage: &mut Stage<'_>) -> Outcome {
        let watch = Stopwatch::start();
        for segment in ["docs", "drafts"] {
            self.compare(&*child(&self.store, segment)?).await?;
        }
        let took = watch.read();
        stage.step("Read", &format!("every value of both, in {took}"))?;
        stage.seen("each is byte for byte what its file holds")
    }

    pub(super) async fn renew(&self, stage: &mut Stage<'_>) -> Outcome {
        let drafts = child(&self.store, "drafts")?;
        let key = &self.files[0].key;
        let before = drafts.expires_in(key).await?;
        let value = drafts.get(key).renew_for(HOUR).await?;
        let after = drafts.expires_in(key).await?;
        let renewed = before.as_duration().zip(after.as_duration()).is_some_and(|(b, a)| a > b);
        ensure(value.is_some() && renewed, "the renewal did not take")?;
        let (before, after) = (durations::format_life(before), durations::format_life(after));
        let key = text::escape(key);
        stage.step("Renew", &format!("get {key} --renew-for 1h, as a session would"))?;
        stage.seen(&format!("it had {before} left, and now has {after}"))
    }

    pub(super) async fn condition(&self, stage: &mut Stage<'_>) -> Outcome {
        stage.step("Decide", "conditions hold against everyone else who writes")?;
        let docs = child(&self.store, "docs")?;
        let file = &self.files[0];
        let outcome = docs.set(&file.key, "other").if_absent().await?;
        ensure(!outcome.is_applied(), "a set --if-absent replaced a live value")?;
        stage.seen(&format!(
            "set {} --if-absent was refused: it is there",
            text::escape(&file.key)
        ))?;

        let leaders = (0..RACERS).map(async |racer| {
            let name = format!("racer {racer}");
            self.store.set("leader", name).ttl(DAY).if_absent().await
        });
        let outcomes: Vec<_> =
            join_all(leaders).await.into_iter().collect::<larder::Result<_>>()?;
        let winners = outcomes.iter().filter(|outcome| outcome.is_applied()).count();
        ensure(winners == 1, "the race had not one winner")?;
        stage.seen(&format!("{RACERS} at once wanted to be leader: one is"))?;

        let version = docs.get_entry(&file.key).await?.and_then(|entry| entry.version);
        if let Some(version) = version {
            let first =
                docs.set(&file.key, "edited").keep_ttl().if_matches(version.clone()).await?;
            let second = docs.set(&file.key, "late").keep_ttl().if_matches(version).await?;
            ensure(first.is_applied() && !second.is_applied(), "a lost update was not refused")?;
            docs.set(&file.key, &file.content).keep_ttl().await?;
            stage.seen("of two edits of one version the second was refused: no lost update")?;
        }

        let counts = join_all((0..RACERS).map(|_| self.store.increment("visits", 1))).await;
        let mut counts: Vec<i64> = counts.into_iter().collect::<larder::Result<_>>()?;
        counts.sort_unstable();
        let expected: Vec<i64> = (1..).take(counts.len()).collect();
        ensure(counts == expected, "increments were lost")?;
        self.store.update_expiry("visits", DAY.into()).await?;
        stage.seen(&format!("{RACERS} increments at once made {RACERS}"))
    }

    pub(super) async fn list(&self, stage: &mut Stage<'_>) -> Outcome {
        let docs = child(&self.store, "docs")?;
        let mut keys: Vec<String> = docs.list("").try_collect().await?;
        keys.sort_unstable();
        ensure(keys.len() == self.files.len(), "the list is not complete")?;
        let listed = text::count(keys.len() as u64, "key");
        stage.step("List", &format!("{listed} in {NAMESPACE} / docs"))?;
        for key in keys.iter().take(SHOWN) {
            let life = durations::format_life(docs.expires_in(key).await?);
            stage.item(&format!("{}  ({life})", text::escape(key)))?;
        }
        if keys.len() > SHOWN {
            stage.item(&format!("and {} more", keys.len() - SHOWN))?;
        }
        Ok(())
    }

    pub(super) async fn clear_one(&self, stage: &mut Stage<'_>) -> Outcome {
        let (docs, drafts) = (child(&self.store, "docs")?, child(&self.store, "drafts")?);
        drafts.delete_all().await?;
        let drafts_left = drafts.list("").try_collect::<Vec<_>>().await?.len();
        let docs_left = docs.list("").try_collect::<Vec<_>>().await?.len();
        ensure(drafts_left == 0 && docs_left == self.files.len(), "clearing hit the wrong keys")?;
        stage.step("Clear", &format!("{NAMESPACE} / drafts"))?;
        let stayed = text::count(docs_left as u64, "key");
        stage.seen(&format!("drafts has 0 keys; its sibling docs still has {stayed}"))
    }

    /// Copies everything and gives how many entries that were.
    pub(super) async fn copy_to(
        &self,
        stage: &mut Stage<'_>,
        to: Arc<dyn NamespacedStore>,
        url: &StoreUrl,
    ) -> Outcome<u64> {
        let watch = Stopwatch::start();
        let from = Arc::clone(&self.store);
        let transfer = Transfer { from, to, prefix: String::new(), overwrite: false };
        let hidden = Progress::hidden();
        let (first, second) = (Tally::new(&hidden), Tally::new(&hidden));
        transfer.run(&first).await?;
        let took = watch.read();
        transfer.run(&second).await?;
        let copied = first.copied();
        ensure(
            second.copied() == 0 && second.already_there() == copied,
            "the copy is not complete",
        )?;
        let docs = child(&transfer.to, "docs")?;
        self.compare(&*docs).await?;
        let life = docs.expires_in(&self.files[0].key).await?;
        ensure(matches!(life, ExpiresIn::In(_)), "the copy lost the remaining life")?;
        let entries = text::count(copied, "value");
        stage.step("Copy", &format!("{entries} to another backend, {url}, in {took}"))?;
        stage.seen("the same bytes there, in the same namespaces")?;
        let life = durations::format_life(life);
        stage.seen(&format!("with the life they had left, such as {life}"))?;
        stage.seen(&format!("copied again: 0 copied, {copied} already there"))?;
        Ok(copied)
    }

    /// Reads every file back and sees that it is the same.
    async fn compare(&self, store: &dyn NamespacedStore) -> Outcome {
        for batch in self.files.chunks(BATCH) {
            let keys: Vec<&str> = batch.iter().map(|file| &*file.key).collect();
            for (file, value) in batch.iter().zip(store.get_many(&keys).await?) {
                if value?.as_ref() != Some(&file.content) {
                    let error =
                        Error::new(ErrorKind::Internal, "the value read is not what was set");
                    return Err(error.with_key(&file.key).into());
                }
            }
        }
        Ok(())
    }
}

fn ensure(holds: bool, otherwise: &'static str) -> Outcome {
    if holds { Ok(()) } else { Err(Error::new(ErrorKind::Internal, otherwise).into()) }
}
