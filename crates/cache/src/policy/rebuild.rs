//! Taking in what a store holds when it is opened.

use std::sync::Arc;

use larder_core::{ErrorKind, Namespace, NamespacedStore};

use super::{Entry, Writers};
use crate::CacheResult;
use crate::envelope::Envelope;
use crate::id::Id;
use crate::space::{Inner, ROOTS};

const PAGE: usize = 500;

impl Inner {
    /// Makes the index anew from the store, and removes what is over the capacity.
    pub(crate) async fn rebuild(self: &Arc<Self>) -> CacheResult<()> {
        let policies = &self.policies;
        policies.reset();
        if !policies.is_bounded() || policies.settings.writers == Writers::Others {
            return Ok(());
        }
        let mut found: Vec<(i64, Id, Entry)> = Vec::new();
        let mut scopes: Vec<Namespace> =
            ROOTS.iter().map(|root| Namespace::from_segments([root])).collect::<Result<_, _>>()?;
        while let Some(scope) = scopes.pop() {
            let route = self.route(scope)?;
            children(&*route.store, &route.scope, &mut scopes).await?;
            self.entries(&*route.store, &route.scope, &mut found).await?;
        }
        found.sort_by_key(|(modified, ..)| *modified);
        let now = self.now();
        let mut instances = Vec::new();
        for (_, id, entry) in found {
            let scope = id.scope.clone();
            policies.with(&scope, true, |index| index.adopt(id, entry, now));
            instances.push(scope);
        }
        instances.dedup();
        for scope in instances {
            let over = policies.with(&scope, false, |index| index.overflow(now));
            for victim in over.unwrap_or_default() {
                self.evict(victim, false).await?;
            }
        }
        Ok(())
    }

    async fn entries(
        &self,
        store: &dyn NamespacedStore,
        scope: &Namespace,
        found: &mut Vec<(i64, Id, Entry)>,
    ) -> CacheResult<()> {
        let mut cursor = None;
        loop {
            let page = store.list_page("", cursor.as_ref(), PAGE).await?;
            let names: Vec<&str> = page.keys.iter().map(String::as_str).collect();
            let values = store.get_many(&names).await?;
            for (key, value) in page.keys.iter().zip(values) {
                let envelope = match value {
                    Ok(Some(bytes)) => Envelope::decode(bytes).ok(),
                    Ok(None) => continue,
                    Err(error) if error.kind() == ErrorKind::Corrupt => None,
                    Err(error) => return Err(error.into()),
                };
                // What cannot be decoded takes room too, and is the first to go.
                let head = envelope.map(|envelope| envelope.head);
                let entry = head.as_ref().map_or(Entry::bare(false), Entry::of);
                let id = Id::new(scope.clone(), key.as_str().into());
                found.push((head.map_or(i64::MIN, |head| head.modified), id, entry));
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }
}

async fn children(
    store: &dyn NamespacedStore,
    scope: &Namespace,
    scopes: &mut Vec<Namespace>,
) -> CacheResult<()> {
    let mut cursor = None;
    loop {
        let page = store.list_child_namespaces(cursor.as_ref(), PAGE).await?;
        for segment in &page.segments {
            let child = scope.join(segment)?;
            // A page may name a child that an earlier one named.
            if !scopes.contains(&child) {
                scopes.push(child);
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
