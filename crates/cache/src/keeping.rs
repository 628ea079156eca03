//! Clearing that spares the loads of all processes (F5).

use std::sync::Arc;

use larder_core::{Condition, DeleteOptions, ErrorKind, GetOptions, NamespacedStore, Result};

use crate::placeholder::Placeholder;

const PAGE: usize = 500;

/// Deletes the entries of a namespace and of those below it, each if it is still the same, and
/// leaves the markers of loads.
pub(crate) async fn remove_entries(root: &Arc<dyn NamespacedStore>) -> Result<()> {
    let mut open = vec![Arc::clone(root)];
    while let Some(store) = open.pop() {
        let mut cursor = None;
        loop {
            let page = store.list_page("", cursor.as_ref(), PAGE).await?;
            for key in &page.keys {
                remove(&*store, key).await?;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut cursor = None;
        loop {
            let page = store.list_child_namespaces(cursor.as_ref(), PAGE).await?;
            for segment in &page.segments {
                open.push(store.with_namespace(segment)?);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(())
}

async fn remove(store: &dyn NamespacedStore, key: &str) -> Result<()> {
    let condition = match store.get_opts(key, GetOptions::default().with_version(true)).await {
        Ok(None) => return Ok(()),
        Ok(Some(entry)) => match (Placeholder::decode(&entry.value), entry.version) {
            (Some(Placeholder::Loading { .. }), _) => return Ok(()),
            (_, Some(version)) => Condition::Matches(version),
            (_, None) => Condition::Any,
        },
        Err(error) if error.kind() == ErrorKind::Corrupt => Condition::Any,
        Err(error) => return Err(error),
    };
    // Whoever changed it since wrote after the clearing had begun.
    store.delete_opts(key, DeleteOptions::default().with_condition(condition)).await?;
    Ok(())
}
