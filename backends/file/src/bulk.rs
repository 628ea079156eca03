//! Many changes in few hops.

use std::collections::BTreeMap;
use std::sync::Arc;

use larder_core::{Error, ErrorKind, InProgress, Result};

use crate::driver::{Driver, Spot};
use crate::error::{Fault, Raw};
use crate::layout::{FolderPath, Stripe};
use crate::lock::Held;

/// How many keys of a bulk call share one hop.
pub(crate) const BULK: usize = 128;

impl Driver {
    /// Makes changes to keys of one folder, those of one key in their order; `work` leaves the
    /// syncing of the folder to this. The outcomes come in the order of the changes.
    pub(crate) async fn change_many<I, T>(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        folder: &Arc<FolderPath>,
        changes: Vec<(&str, I)>,
        work: impl Fn(&Self, &Held, &Spot, &I) -> Raw<T> + Clone + Send + Sync + 'static,
    ) -> Vec<Result<T>>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let mut outcomes = Vec::with_capacity(changes.len());
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let slice = changes.by_ref().take(BULK);
            let slice = slice.map(|(key, change)| (Spot::new(folder, key), change)).collect();
            let made = self.change_slice(call, slice, work.clone()).await;
            let folder = Arc::clone(folder);
            let synced = if self.is_synced() {
                self.blocking(call, move |driver| driver.sync_folder(&folder)).await
            } else {
                Ok(())
            };
            outcomes.extend(made.into_iter().map(|made| match &synced {
                Ok(()) => made,
                Err(error) => made.and_then(|_| Err(error.clone())),
            }));
        }
        outcomes
    }

    async fn change_slice<I, T>(
        self: &Arc<Self>,
        call: &Arc<InProgress>,
        slice: Vec<(Spot, I)>,
        work: impl Fn(&Self, &Held, &Spot, &I) -> Raw<T> + Send + Sync + 'static,
    ) -> Vec<Result<T>>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let mut outcomes: Vec<Option<Result<T>>> = slice.iter().map(|_| None).collect();
        let mut groups = BTreeMap::<Stripe, Vec<(usize, Spot, I)>>::new();
        for (index, (spot, change)) in slice.into_iter().enumerate() {
            groups.entry(spot.stripe()).or_default().push((index, spot, change));
        }
        let of_group =
            |group: &Vec<(usize, Spot, I)>| group.iter().map(|change| change.0).collect();
        let indices: Vec<Vec<usize>> = groups.values().map(of_group).collect();

        let work = move |driver: &Self, held: &Held, group: &Vec<(usize, Spot, I)>| {
            let mut made = Vec::with_capacity(group.len());
            for (_, spot, change) in group {
                match work(driver, held, spot, change) {
                    // Nothing of the group was done yet: all of it is tried again.
                    Err(Fault::RootGone) if made.is_empty() => return Err(Fault::RootGone),
                    outcome => made.push(outcome.map_err(Error::from)),
                }
            }
            Ok(made)
        };
        let made = self.locked_groups(call, groups.into_iter().collect(), work).await;
        let made =
            made.unwrap_or_else(|error| indices.iter().map(|_| Err(error.clone())).collect());
        for (indices, made) in indices.into_iter().zip(made) {
            let mut made = made.map(Vec::into_iter);
            for index in indices {
                outcomes[index] = match &mut made {
                    Ok(made) => made.next(),
                    Err(error) => Some(Err(error.clone())),
                };
            }
        }
        let missing = || Err(Error::new(ErrorKind::Internal, "a change has no outcome"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }
}
