use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use larder_core::{
    Bytes, Condition, DeleteManyOutcome, DeleteOptions, Error, ErrorKind, Expiry, GetOptions,
    Namespace, Result, SetItem, SetOptions, SetOutcome, Store, async_trait,
};
use tokio::task::yield_now;

use crate::tamper::{At, Tamper};

/// After a condition that does not hold, the rest is answered and not written.
#[derive(Debug)]
pub(crate) struct StopsAtTheFirstLoser;

#[async_trait]
impl Tamper for StopsAtTheFirstLoser {
    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let count = items.len();
        let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
        // Sees that they are valid.
        at.inner.get_many(&keys).await?;
        let mut outcomes = Vec::new();
        for item in items {
            let outcome = at.inner.set_opts(item.key, item.value, item.options).await;
            let lost = matches!(outcome, Ok(SetOutcome::ConditionNotMet));
            outcomes.push(outcome);
            if lost {
                break;
            }
        }
        outcomes.resize_with(count, || Ok(SetOutcome::Applied));
        Ok(outcomes)
    }
}

/// Results come in the order in which the keys lie.
#[derive(Debug)]
pub(crate) struct AnswersInKeyOrder;

#[async_trait]
impl Tamper for AnswersInKeyOrder {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        at.inner.get_many(&sorted).await
    }
}

/// What is found at once is answered first.
#[derive(Debug)]
pub(crate) struct AnswersHitsFirst;

#[async_trait]
impl Tamper for AnswersHitsFirst {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let mut values = at.inner.get_many(keys).await?;
        values.sort_by_key(|value| matches!(value, Ok(None)));
        Ok(values)
    }
}

#[derive(Debug)]
pub(crate) struct LeavesOutTheMissing;

#[async_trait]
impl Tamper for LeavesOutTheMissing {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let mut values = at.inner.get_many(keys).await?;
        values.retain(|value| !matches!(value, Ok(None)));
        Ok(values)
    }
}

/// A key that is asked for again is missing.
#[derive(Debug)]
pub(crate) struct AnswersOnce;

#[async_trait]
impl Tamper for AnswersOnce {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let mut seen = HashSet::new();
        let values = at.inner.get_many(keys).await?.into_iter().zip(keys);
        Ok(values.map(|(value, key)| if seen.insert(*key) { value } else { Ok(None) }).collect())
    }
}

/// Looks at all keys, deletes them all, and tells what it saw.
#[derive(Debug)]
pub(crate) struct CountsDuplicates;

#[async_trait]
impl Tamper for CountsDuplicates {
    async fn delete_many(&self, at: &At, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let before = at.inner.get_many(keys).await?;
        let after = at.inner.delete_many(keys).await?;
        let told = before.into_iter().zip(after.outcomes).map(|(found, outcome)| match found {
            Ok(found) => Ok(found.is_some()),
            Err(_) => outcome,
        });
        Ok(told.collect())
    }
}

#[derive(Debug)]
pub(crate) struct FirstWins;

#[async_trait]
impl Tamper for FirstWins {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        items.reverse();
        let mut outcomes = at.inner.set_many(items).await?;
        outcomes.reverse();
        Ok(outcomes)
    }
}

#[derive(Debug)]
pub(crate) struct WritesBeforeItChecks;

#[async_trait]
impl Tamper for WritesBeforeItChecks {
    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        at.inner.ping().await?;
        let mut outcomes = Vec::new();
        for item in items {
            at.inner.capabilities().check_key(item.key)?;
            outcomes.push(at.inner.set_opts(item.key, item.value, item.options).await);
        }
        Ok(outcomes)
    }
}

#[derive(Debug)]
pub(crate) struct DeletesBeforeItChecks;

#[async_trait]
impl Tamper for DeletesBeforeItChecks {
    async fn delete_many(&self, at: &At, keys: &[&str]) -> Result<DeleteManyOutcome> {
        at.inner.ping().await?;
        let mut outcomes = Vec::new();
        for key in keys {
            at.inner.capabilities().check_key(key)?;
            outcomes.push(at.inner.delete_opts(key, DeleteOptions::default()).await);
        }
        Ok(outcomes.into_iter().collect())
    }
}

/// A server takes a thousand at a time.
#[derive(Debug)]
pub(crate) struct CutsLargeBatches;

#[async_trait]
impl Tamper for CutsLargeBatches {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        let count = items.len();
        items.truncate(1_000);
        let mut outcomes = at.inner.set_many(items).await?;
        outcomes.resize_with(count, || Ok(SetOutcome::Applied));
        Ok(outcomes)
    }
}

#[derive(Debug)]
pub(crate) struct OneExpiryForAll;

#[async_trait]
impl Tamper for OneExpiryForAll {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        let expiry = items.first().map_or(Expiry::Never, |item| item.options.expiry);
        for item in &mut items {
            item.options.expiry = expiry;
        }
        at.inner.set_many(items).await
    }
}

#[derive(Debug)]
pub(crate) struct BulkForgetsConditions;

#[async_trait]
impl Tamper for BulkForgetsConditions {
    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let plain = |item: SetItem<'_>| {
            let options = SetOptions::default().with_expiry(item.options.expiry);
            (item.key.to_owned(), item.value, options)
        };
        let items: Vec<_> = items.into_iter().map(plain).collect();
        let items = items.iter().map(|(key, value, options)| {
            SetItem::new(key, value.clone()).with_options(options.clone())
        });
        at.inner.set_many(items.collect()).await
    }
}

/// In a batch, no expiry means the old one.
#[derive(Debug)]
pub(crate) struct BulkKeepsTheExpiry;

#[async_trait]
impl Tamper for BulkKeepsTheExpiry {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        for item in &mut items {
            if item.options.expiry == Expiry::Never {
                item.options.expiry = Expiry::Keep;
            }
        }
        at.inner.set_many(items).await
    }
}

#[derive(Debug)]
pub(crate) struct RefusesNothing;

#[async_trait]
impl Tamper for RefusesNothing {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        if keys.is_empty() {
            let error = Error::new(ErrorKind::InvalidValue, "wrong number of arguments");
            return Err(error.with_operation("get_many"));
        }
        at.inner.get_many(keys).await
    }
}

#[derive(Debug)]
pub(crate) struct OneFailureFailsAll;

#[async_trait]
impl Tamper for OneFailureFailsAll {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let values = at.inner.get_many(keys).await?;
        let all: Result<Vec<_>> = values.into_iter().collect();
        Ok(all?.into_iter().map(Ok).collect())
    }
}

/// A batch is read with nothing asked, and so what is expired is read as well where a plain get
/// would renew: each key is renewed by being read in a batch.
#[derive(Debug)]
pub(crate) struct BulkReadsRenew;

#[async_trait]
impl Tamper for BulkReadsRenew {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let values = at.inner.get_many(keys).await?;
        for key in keys {
            let renew = GetOptions::default().with_renew_for(std::time::Duration::from_secs(60));
            let _ = at.inner.get_opts(key, renew).await;
        }
        Ok(values)
    }
}

/// The locks of all keys are taken in the order of the call, and held until its end.
#[derive(Debug, Default)]
pub(crate) struct LocksInTheOrderGiven(Mutex<HashMap<(Namespace, String), Arc<KeyLock>>>);

type KeyLock = tokio::sync::Mutex<()>;

impl LocksInTheOrderGiven {
    fn lock_of(&self, name: (Namespace, String)) -> Arc<KeyLock> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(name).or_default())
    }
}

#[async_trait]
impl Tamper for LocksInTheOrderGiven {
    async fn set_many(&self, at: &At, items: Vec<SetItem<'_>>) -> Result<Vec<Result<SetOutcome>>> {
        let (mut held, mut seen) = (Vec::new(), HashSet::new());
        for item in items.iter().filter(|item| seen.insert(item.key)) {
            held.push(self.lock_of(at.name_of(item.key)).lock_owned().await);
            yield_now().await;
        }
        at.inner.set_many(items).await
    }
}

#[derive(Debug)]
pub(crate) struct BulkForgetsVersions;

#[async_trait]
impl Tamper for BulkForgetsVersions {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        for item in &mut items {
            if let Condition::Matches(_) = item.options.condition {
                item.options.condition = Condition::Any;
            }
        }
        at.inner.set_many(items).await
    }
}

/// A condition and an expiry do not fit into one command.
#[derive(Debug)]
pub(crate) struct ConditionsInBulkForgetTheExpiry;

#[async_trait]
impl Tamper for ConditionsInBulkForgetTheExpiry {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        for item in &mut items {
            if item.options.condition != Condition::Any {
                item.options.expiry = Expiry::Never;
            }
        }
        at.inner.set_many(items).await
    }
}

#[derive(Debug)]
pub(crate) struct MomentsInBulkAreForEver;

#[async_trait]
impl Tamper for MomentsInBulkAreForEver {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        for item in &mut items {
            if let Expiry::At(_) = item.options.expiry {
                item.options.expiry = Expiry::Never;
            }
        }
        at.inner.set_many(items).await
    }
}

/// What is not there is set in a second step.
#[derive(Debug)]
pub(crate) struct BulkLooksThenCreates;

#[async_trait]
impl Tamper for BulkLooksThenCreates {
    async fn set_many(
        &self,
        at: &At,
        mut items: Vec<SetItem<'_>>,
    ) -> Result<Vec<Result<SetOutcome>>> {
        let [item] = &mut items[..] else { return at.inner.set_many(items).await };
        if item.options.condition == Condition::Absent {
            if at.inner.exists(item.key).await? {
                return Ok(vec![Ok(SetOutcome::ConditionNotMet)]);
            }
            yield_now().await;
            item.options.condition = Condition::Any;
        }
        at.inner.set_many(items).await
    }
}
