//! Changing a record only while it is still the one that is expected.

use larder_core::{
    Bytes, Condition, DeleteOptions, Error, ErrorKind, Expiry, GetOptions, NamespacedStore,
    SetOptions,
};

/// How often a record is looked at anew that has another version and the same value.
const ATTEMPTS: usize = 8;

/// The condition that holds as long as the key has this very value; `None` when it has not.
pub(crate) async fn holding(
    store: &dyn NamespacedStore,
    key: &str,
    expected: &[u8],
) -> Result<Option<Condition>, Error> {
    let entry = store.get_opts(key, GetOptions::default().with_version(true)).await?;
    match entry {
        Some(entry) if entry.value == expected => {
            entry.version.map(|version| Some(Condition::Matches(version))).ok_or_else(|| {
                Error::new(ErrorKind::Internal, "the store declares conditions and no version")
            })
        }
        _ => Ok(None),
    }
}

/// Sets the key if it still has the value `expected`, and tells whether it had.
pub(crate) async fn replace_if(
    store: &dyn NamespacedStore,
    key: &str,
    expected: &[u8],
    new: &Bytes,
    expiry: Expiry,
) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        let Some(condition) = holding(store, key, expected).await? else { return Ok(false) };
        let options = SetOptions::default().with_expiry(expiry).with_condition(condition);
        if store.set_opts(key, new.clone(), options).await?.is_applied() {
            return Ok(true);
        }
    }
    Err(ErrorKind::Conflict.into())
}

/// Deletes the key if it still has the value `expected`, and tells whether it had.
pub(crate) async fn delete_if(
    store: &dyn NamespacedStore,
    key: &str,
    expected: &[u8],
) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        let Some(condition) = holding(store, key, expected).await? else { return Ok(false) };
        let options = DeleteOptions::default().with_condition(condition);
        if store.delete_opts(key, options).await? {
            return Ok(true);
        }
    }
    Err(ErrorKind::Conflict.into())
}
