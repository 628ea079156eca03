use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Bytes, Condition, DeleteOptions, Entry, Error, ExpiresIn, Expiry, GetOptions, Resolved, Result,
    SetOptions, SetOutcome, Store,
};

use super::codec::Record;
use super::medium::Contents;
use super::store::Shelf;
use super::twist::{Call, prefix_of};

/// What lies at a place.
pub(super) enum Found {
    Nothing,
    Damaged(Error),
    Expired(Record),
    Live(Record),
}

/// The calls themselves, each under one lock; the clock is read under it, as a call that read it before
/// would find alive what one that came after it has found dead.
impl Shelf {
    pub(super) fn find(
        &self,
        contents: &Contents,
        place: &str,
        now: DateTime<Utc>,
        call: Call,
    ) -> Found {
        let Some(bytes) = contents.live.get(place) else {
            return Found::Nothing;
        };
        match self.twist.decode(bytes) {
            Err(error) => Found::Damaged(error),
            Ok(record) => match record.deadline {
                Some(deadline) if self.twist.is_gone(deadline, now, call) => Found::Expired(record),
                _ => Found::Live(record),
            },
        }
    }

    pub(super) fn write(
        &self,
        contents: &mut Contents,
        place: &str,
        record: &Record,
        call: Call,
    ) -> Result<()> {
        self.twist.put(contents, place, self.twist.encode(record))?;
        self.twist.persist(contents, place, call);
        Ok(())
    }

    pub(super) fn remove(&self, contents: &mut Contents, place: &str, call: Call) {
        contents.live.remove(place);
        self.twist.persist(contents, place, call);
    }

    /// Gives a record another deadline, or removes it.
    pub(super) fn redate(
        &self,
        contents: &mut Contents,
        place: &str,
        record: &mut Record,
        to: Resolved,
        call: Call,
    ) -> Result<()> {
        record.deadline = match to {
            Resolved::Keep => return Ok(()),
            Resolved::Gone => {
                self.remove(contents, place, call);
                return Ok(());
            }
            Resolved::Never => None,
            Resolved::At(deadline) => Some(deadline),
        };
        self.write(contents, place, record, call)
    }

    pub(super) fn get(&self, place: &str, options: &GetOptions) -> Result<Option<Entry>> {
        self.capabilities().check_get(options)?;
        let mut contents = self.medium.lock();
        let now = self.now();
        let call = if options.renew_for.is_some() { Call::Renew } else { Call::Get };
        let (live, stale) = match self.find(&contents, place, now, call) {
            Found::Damaged(error) => return Err(error),
            Found::Nothing => (None, None),
            Found::Expired(record) => {
                if self.twist.tidies() {
                    self.remove(&mut contents, place, call);
                }
                (None, Some(record))
            }
            Found::Live(record) => (Some(record.clone()), Some(record)),
        };
        let mut live = match options.renew_for {
            Some(_) => self.twist.to_renew(live, stale),
            None => live,
        };
        let Some(record) = &mut live else {
            return Ok(None);
        };
        let mut left = self.twist.left(record.deadline, now);
        let renewed = options.renew_for.and_then(|d| self.twist.renewed(record.deadline, d, now));
        if let Some(to) = renewed {
            self.redate(&mut contents, place, record, to, call)?;
            left = self.twist.left(record.deadline, now);
        }
        let Some(value) = self.twist.shown(record.value.clone()) else {
            return Ok(None);
        };
        let mut entry = Entry::new(value);
        if options.expires_in && left != ExpiresIn::Missing {
            entry = entry.with_expires_in(left);
        }
        if options.version {
            entry = entry.with_version(self.twist.version(record));
        }
        Ok(Some(entry))
    }

    pub(super) fn set(
        &self,
        key: &str,
        place: &str,
        value: Bytes,
        options: &SetOptions,
    ) -> Result<SetOutcome> {
        self.capabilities().check_set(value.len(), options)?;
        let call = match options.condition {
            Condition::Any => Call::Set,
            _ => Call::ConditionalSet,
        };
        let mut contents = self.medium.lock();
        let now = self.now();
        let asked = self.twist.resolve(options.expiry, now);
        let (mut live, stale) = match self.find(&contents, place, now, call) {
            Found::Nothing => (None, None),
            Found::Expired(record) => (None, Some(record)),
            Found::Live(record) => (Some(record.clone()), Some(record)),
            // It counts as live, has no version, and is replaced.
            Found::Damaged(_) => match options.condition {
                Condition::Any | Condition::Present => (None, None),
                _ => return Ok(SetOutcome::ConditionNotMet),
            },
        };
        let damaged = live.is_none() && stale.is_none() && contents.live.contains_key(place);
        if !damaged && !self.twist.holds(&options.condition, live.as_ref()) {
            if let Some(record) = &mut live {
                let deadline = self.twist.lost(record.deadline, asked);
                if deadline != record.deadline {
                    record.deadline = deadline;
                    self.write(&mut contents, place, record, call)?;
                }
            }
            return Ok(SetOutcome::ConditionNotMet);
        }
        let deadline = match asked {
            Resolved::Gone => {
                self.twist.gone_at_once(&mut contents, place);
                self.twist.persist(&mut contents, place, call);
                return Ok(SetOutcome::Applied);
            }
            Resolved::Never => self.twist.never(live.as_ref().and_then(|record| record.deadline)),
            Resolved::At(deadline) => Some(deadline),
            Resolved::Keep => self.twist.kept(live.as_ref(), stale.as_ref()),
        };
        contents.sets += 1;
        let (key, value, stamp) = (key.to_owned(), self.twist.stored(value), contents.sets);
        let record = Record { key, value, deadline, stamp };
        self.write(&mut contents, place, &record, call)?;
        Ok(SetOutcome::Applied)
    }

    pub(super) fn delete(&self, place: &str, options: &DeleteOptions) -> Result<bool> {
        self.capabilities().check_delete(options)?;
        let call = match options.condition {
            Condition::Any => Call::Delete,
            _ => Call::ConditionalDelete,
        };
        let mut contents = self.medium.lock();
        let now = self.now();
        let applies = match self.find(&contents, place, now, call) {
            Found::Nothing | Found::Expired(_) => false,
            Found::Damaged(_) => matches!(options.condition, Condition::Any | Condition::Present),
            Found::Live(record) => {
                options.condition != Condition::Absent
                    && self.twist.holds(&options.condition, Some(&record))
            }
        };
        if applies {
            self.remove(&mut contents, place, call);
        }
        Ok(applies)
    }

    pub(super) fn update(&self, place: &str, expiry: Expiry) -> Result<bool> {
        if !self.capabilities().renew {
            return Err(Error::unsupported("renew"));
        }
        let mut contents = self.medium.lock();
        let now = self.now();
        match self.find(&contents, place, now, Call::UpdateExpiry) {
            Found::Nothing | Found::Expired(_) => Ok(false),
            Found::Damaged(error) => Err(error),
            Found::Live(mut record) => {
                let to = self.twist.resolve(expiry, now);
                self.redate(&mut contents, place, &mut record, to, Call::UpdateExpiry)?;
                Ok(to != Resolved::Gone || self.twist.updated_into_the_past())
            }
        }
    }

    pub(super) fn clear(&self) {
        let mut contents = self.medium.lock();
        let covered = |place: &&String| self.twist.covers(&self.namespace, place);
        let doomed: Vec<String> = contents.live.keys().filter(covered).cloned().collect();
        for place in doomed {
            self.remove(&mut contents, &place, Call::Clear);
        }
    }

    pub(super) fn prefix(&self, prefix: &str) -> u64 {
        let mut contents = self.medium.lock();
        let now = self.now();
        let (mut doomed, mut live) = (Vec::new(), 0);
        for (place, bytes) in contents.live.iter() {
            if !self.twist.lists(&self.namespace, place) {
                continue;
            }
            let gone = |deadline| self.twist.is_gone(deadline, now, Call::DeletePrefix);
            let (key, dead) = match self.twist.decode(bytes) {
                Ok(record) => (record.key, record.deadline.is_some_and(gone)),
                // Its place tells its key.
                Err(_) => (place[prefix_of(&self.namespace).len() + 1..].to_owned(), false),
            };
            if self.twist.begins_with(&key, prefix) {
                live += u64::from(!dead);
                doomed.push(place.clone());
            }
        }
        for place in doomed {
            self.remove(&mut contents, &place, Call::DeletePrefix);
        }
        live
    }

    pub(super) fn purge(&self) -> Result<u64> {
        let mut contents = self.medium.lock();
        let now = self.now();
        let (mut doomed, mut seen) = (Vec::new(), 0);
        for (place, bytes) in contents.live.iter() {
            if !self.twist.purges(&self.namespace, place) {
                continue;
            }
            seen += 1;
            match self.twist.decode(bytes) {
                Err(error) => self.twist.unreadable(error)?,
                Ok(record) => {
                    let gone = |deadline| self.twist.is_gone(deadline, now, Call::Purge);
                    if record.deadline.is_some_and(gone) {
                        doomed.push(place.clone());
                    }
                }
            }
        }
        for place in &doomed {
            self.remove(&mut contents, place, Call::Purge);
        }
        Ok(self.twist.purged(doomed.len() as u64, seen))
    }
}
