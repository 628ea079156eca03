use std::fmt;

use larder_core::BoxFuture;

use crate::trial::Trial;
use crate::verdict::Verdict;

/// One case of the suite: a promise of the contract, and the code that tries it.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, such as `expiry::dies_at_its_deadline`.
    pub name: &'static str,
    /// The rules of the contract that it tries, such as `E1`.
    pub rules: &'static [&'static str],
    /// What a store or harness must have for it to apply.
    pub needs: &'static [Need],
    /// What is promised, in one sentence.
    pub promise: &'static str,
    pub(crate) run: for<'a> fn(&'a Trial) -> BoxFuture<'a, Verdict>,
}

impl Case {
    /// The first part of the name, such as `expiry`.
    pub fn area(&self) -> &'static str {
        self.name.split_once("::").map_or(self.name, |(area, _)| area)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .field("needs", &self.needs)
            .field("promise", &self.promise)
            .finish_non_exhaustive()
    }
}

/// What a case needs of the store or of the harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// The capability `list`.
    List,
    /// The capability `ordered_list`.
    OrderedList,
    /// The capability `conditions`.
    Conditions,
    /// The capability `renew`.
    Renew,
    /// The capability `purge`.
    Purge,
    /// The capability `native_expiry`.
    NativeExpiry,
    /// The capability `shared`.
    Shared,
    /// A durability of `ProcessCrash` or more.
    Durable,
    /// That `list` is not declared.
    NoList,
    /// That `conditions` is not declared.
    NoConditions,
    /// That `renew` is not declared.
    NoRenew,
    /// That `purge` is not declared.
    NoPurge,
    /// Namespaces, the store's own or those that listing makes possible.
    Namespaces,
    /// A [`ManualClock`](larder_core::ManualClock) that the store takes its time from.
    ExactTime,
    /// A handle that is not a namespaced child.
    RootHandle,
    /// [`Harness::reopen`](crate::Harness::reopen).
    Reopen,
    /// [`Harness::crash`](crate::Harness::crash).
    Crash,
    /// [`Harness::open_folder`](crate::Harness::open_folder).
    Folder,
    /// [`Harness::second_handle`](crate::Harness::second_handle).
    SecondHandle,
    /// [`Harness::corrupt_record`](crate::Harness::corrupt_record).
    CorruptRecord,
    /// [`Harness::break_connection`](crate::Harness::break_connection).
    BreakConnection,
    /// [`Harness::fill_disk`](crate::Harness::fill_disk).
    FillDisk,
    /// [`Harness::plant_foreign`](crate::Harness::plant_foreign).
    Foreign,
    /// [`Harness::secrets`](crate::Harness::secrets).
    Secrets,
}

/// In which position the store is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Variant {
    /// The handle that the harness opened.
    Root,
    /// A namespace of it.
    Namespace,
    /// The handle behind a layer that forwards every call.
    Layer,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Root, Self::Namespace, Self::Layer];

    /// The name in reports and test names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Namespace => "namespace",
            Self::Layer => "layer",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
