//! P3, P4: one cache per registry entry; what is counted.

use larder_cache::{CacheError, CacheScope, CacheStore, Policy, RegistryEntry, ScopeContext};
use larder_core::{ErrorKind, StoreExt};

use super::bench::{Bench, SECOND, act, at_rest, end, others};
use crate::trial::Trial;
use crate::verdict::{Verdict, ensure};

fn lru(name: &str, max: u64) -> RegistryEntry {
    RegistryEntry::new(name, Policy::Lru { max })
}

fn store(bench: &Bench<'_>) -> CacheStore<u32> {
    // The machine's speed does not matter, and nobody else writes.
    CacheStore::with_settings(bench.handle(), |builder| {
        builder.sole_owner().store_budget(SECOND * 3_600)
    })
}

async fn expect(
    store: &CacheStore<u32>,
    entry: &RegistryEntry,
    key: &str,
    want: Option<u32>,
) -> Verdict {
    let found = store.get(entry, key).await?;
    ensure!(found == want, "{key:?} of {:?} is {found:?} instead of {want:?}", entry.name());
    Ok(())
}

pub(super) async fn entries_have_keys_and_policies_of_their_own(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let store = store(&bench);
    let (a, b) = (lru("a", 1), lru("b", 2));
    for key in ["x", "y", "z"] {
        act!(bench, store.set(&a, key, &1).await)?;
        act!(bench, store.set(&b, key, &2).await)?;
    }
    expect(&store, &a, "y", None).await?;
    expect(&store, &b, "y", Some(2)).await?;
    expect(&store, &a, "z", Some(1)).await?;
    let deleted = act!(bench, store.delete(&a, "z").await)?;
    ensure!(deleted == Some(1), "deleting gave {deleted:?}");
    expect(&store, &b, "z", Some(2)).await?;
    let told = act!(bench, store.get(&lru("a", 9), "z").await);
    let kind = told.err().and_then(|error| error.store_kind());
    ensure!(kind == Some(ErrorKind::InvalidConfig), "one name with two policies gave {kind:?}");
    let told = act!(bench, store.get(&lru("", 9), "z").await);
    let kind = told.err().and_then(|error| error.store_kind());
    ensure!(kind == Some(ErrorKind::InvalidNamespace), "an empty name gave {kind:?}");
    Ok(())
}

pub(super) async fn each_scope_has_an_instance_of_the_policy(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let store = store(&bench);
    let entry = lru("a", 2).scoped(CacheScope::User);
    let told = act!(bench, store.set(&entry, "x", &1).await);
    ensure!(matches!(told, Err(CacheError::NoScope)), "outside of a context, a set gave {told:?}");
    for user in ["anna", "ben"] {
        let fill = async {
            for key in ["x", "y", "z"] {
                act!(bench, store.set(&entry, key, &1).await)?;
            }
            expect(&store, &entry, "x", None).await?;
            expect(&store, &entry, "y", Some(1)).await?;
            expect(&store, &entry, "z", Some(1)).await
        };
        ScopeContext::new().user(user).run(fill).await?;
    }
    for user in ["anna", "ben"] {
        let read = expect(&store, &entry, "z", Some(1));
        ScopeContext::new().user(user).run(read).await?;
    }
    Ok(())
}

pub(super) async fn values_are_pinned_until_they_are_read_for_that(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let store = store(&bench);
    let entry = lru("a", 1);
    act!(bench, store.set(&entry, "x", &1).pin().await)?;
    act!(bench, store.set(&entry, "y", &1).await)?;
    expect(&store, &entry, "y", None).await?;
    let got = act!(bench, store.get(&entry, "x").unpin().await)?;
    ensure!(got == Some(1), "the unpinning read gave {got:?}");
    act!(bench, store.set(&entry, "y", &2).await)?;
    expect(&store, &entry, "x", None).await?;
    act!(bench, store.set(&entry, "y", &3).pin().await)?;
    let got = act!(bench, store.delete(&entry, "y").await)?;
    ensure!(got == Some(3), "deleting a pinned value gave {got:?}");
    Ok(())
}

pub(super) async fn pending_values_are_kept_failed_and_emptied(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let store = store(&bench);
    let entry = lru("a", 5);
    let cache = store.entry(&entry).await?.cache().clone();
    act!(bench, store.set_pending(&entry, "k").await)?.detach();
    let waiters = bench.waiters(&cache, "k", 2).await?;
    expect(&store, &entry, "k", None).await?;
    act!(bench, store.set(&entry, "k", &7).await)?;
    for waiter in waiters {
        let got = end(waiter).await?;
        ensure!(matches!(got, Ok(Some(7))), "one who waited for 7 got {got:?}");
    }
    act!(bench, store.set_pending(&entry, "k").await)?.detach();
    let waiters = bench.waiters(&cache, "k", 2).await?;
    let down = std::io::Error::other("down");
    let told = act!(bench, store.set(&entry, "k", &0).error(down).await)?;
    ensure!(told, "failing a pending value gave false");
    for waiter in waiters {
        let got = end(waiter).await?;
        ensure!(matches!(got, Err(CacheError::Load(_))), "one who waited got {got:?}");
    }
    act!(bench, store.set_pending(&entry, "k").await)?.detach();
    let waiters = bench.waiters(&cache, "k", 2).await?;
    act!(bench, store.clear().await)?;
    for waiter in waiters {
        let got = end(waiter).await?;
        ensure!(matches!(got, Err(CacheError::Abandoned)), "one who waited got {got:?}");
    }
    at_rest(cache.space()).await;
    others().await;
    let got = act!(bench, store.get_or_wait(&entry, "k").await)?;
    ensure!(got.is_none(), "after all that, the key holds {got:?}");
    Ok(())
}

pub(super) async fn clearing_empties_every_entry(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let first = store(&bench);
    let a = lru("a", 5);
    let b = lru("b", 5).scoped(CacheScope::user("u"));
    act!(bench, first.set(&a, "k", &1).pin().await)?;
    act!(bench, first.set(&b, "k", &1).await)?;
    let plain = bench.numbers().await?;
    act!(bench, plain.set("k", &2).await)?;
    let tree = t.tree()?;
    tree.set("own", "x").await?;
    // One that has used none of these entries.
    let second = store(&bench);
    act!(bench, second.set(&lru("c", 5), "k", &1).await)?;
    act!(bench, second.clear().await)?;
    expect(&second, &lru("c", 5), "k", None).await?;
    expect(&first, &a, "k", None).await?;
    expect(&first, &b, "k", None).await?;
    super::bench::expect(&plain, "k", Some(2)).await?;
    ensure!(tree.get("own").await?.is_some(), "clearing the entries removed what lies beside");
    Ok(())
}

pub(super) async fn everything_is_counted(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.builder().policy(Policy::Lru { max: 2 }).build().await?;
    let cache = space.cache::<u32>();
    act!(bench, cache.get_value("k").await)?;
    act!(bench, cache.set("k", &1).pin().await)?;
    act!(bench, cache.get("k").await)?;
    act!(bench, cache.get_value("k").await)?;
    act!(bench, cache.get_or_set("k", 2_u32).await)?;
    act!(bench, cache.get_or_set("l", 2_u32).await)?;
    let failing = async |_| Err::<u32, _>("down");
    let _ = act!(bench, cache.get_or_try_set_with("m", failing).await);
    act!(bench, cache.set("n", &1).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    act!(bench, cache.set("o", &1).await)?;
    at_rest(&space).await;
    let stats = space.stats();
    for (what, counted, want) in [
        ("hits", stats.hits, 3),
        ("misses", stats.misses, 3),
        ("loads", stats.loads, 2),
        ("load failures", stats.load_failures, 1),
        ("evictions by capacity", stats.evicted_by_capacity, 1),
        ("evictions by expiry", stats.evicted_by_expiry, 1),
        ("entries", stats.entries.unwrap_or_default(), 2),
        ("weight", stats.weight.unwrap_or_default(), 2),
        ("pinned", stats.pinned, 1),
    ] {
        ensure!(counted == want, "{what}: {counted} are counted instead of {want}");
    }
    Ok(())
}
