//! Changing a record only while it is still the one that is expected.

use larder_core::{
    Bytes, Condition, DeleteOptions, Error, ErrorKind, Expiry, GetOptions, NamespacedStore,
    SetOptions,
};

/// How often a record is looked at anew that has another version and the same value.
const ATTEMPTS: usize = 8;

/// What the key has, and the condition that holds as long as it has that; `None` where it is not what
/// is expected.
pub(crate) async fn holding(
    store: &dyn NamespacedStore,
    key: &str,
    is_expected: impl Fn(&[u8]) -> bool,
) -> Result<Option<(Bytes, Condition)>, Error> {
    let entry = store.get_opts(key, GetOptions::default().with_version(true)).await?;
    let Some(entry) = entry.filter(|entry| is_expected(&entry.value)) else { return Ok(None) };
    let version = entry.version.ok_or_else(|| {
        Error::new(ErrorKind::Internal, "the store declares conditions and no version")
    })?;
    Ok(Some((entry.value, Condition::Matches(version))))
}

/// Sets the key to what `new` makes of its value if that is what is expected, and tells whether it was.
pub(crate) async fn replace_with(
    store: &dyn NamespacedStore,
    key: &str,
    is_expected: impl Fn(&[u8]) -> bool,
    new: impl Fn(Bytes) -> Bytes,
    expiry: Expiry,
) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        let held = holding(store, key, &is_expected).await?;
        let Some((value, condition)) = held else { return Ok(false) };
        let options = SetOptions::default().with_expiry(expiry).with_condition(condition);
        if store.set_opts(key, new(value), options).await?.is_applied() {
            return Ok(true);
        }
    }
    Err(ErrorKind::Conflict.into())
}

/// Sets the key if it still has the value `expected`, and tells whether it had.
pub(crate) async fn replace_if(
    store: &dyn NamespacedStore,
    key: &str,
    expected: &[u8],
    new: &Bytes,
    expiry: Expiry,
) -> Result<bool, Error> {
    replace_with(store, key, |value| value == expected, |_| new.clone(), expiry).await
}

/// Deletes the key if it has what is expected, and tells whether it had.
pub(crate) async fn delete_where(
    store: &dyn NamespacedStore,
    key: &str,
    is_expected: impl Fn(&[u8]) -> bool,
) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        let held = holding(store, key, &is_expected).await?;
        let Some((_, condition)) = held else { return Ok(false) };
        let options = DeleteOptions::default().with_condition(condition);
        if store.delete_opts(key, options).await? {
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
    delete_where(store, key, |value| value == expected).await
}
