//! V2: entries of another version, type or codec, and damaged ones, in a running system.

use std::sync::Arc;

use larder_cache::{Cache, CacheError};
use larder_core::testing::{Call, Fault};
use larder_core::{Bytes, ErrorKind, NamespacedStore, StoreExt};

use super::bench::{Bench, act, expect};
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, ensure};

/// The namespace that the cache keeps its global entries in.
fn global(t: &Trial) -> Verdict<Arc<dyn NamespacedStore>> {
    Ok(t.tree()?.with_path(&["g"])?)
}

/// The stored form of a value.
async fn stored(t: &Trial, cache: &Cache<u32>) -> Verdict<Bytes> {
    cache.set("form", &1).await?;
    let bytes = global(t)?.get("form").await?;
    bytes.ok_or_else(|| Stop::fail("what the cache has set is not in its global namespace"))
}

/// Sees that every read but the strict one takes what `k` holds for a miss and counts it, and that a
/// load replaces it.
async fn is_a_miss(bench: &Bench<'_>, cache: &Cache<u32>, what: &str) -> Verdict {
    let before = cache.space().stats();
    let found = act!(bench, cache.get_value("k").await);
    ensure!(matches!(found, Ok(None)), "{what} was read as {found:?}");
    let found = cache.get("k").await?;
    let value = found.map(|item| item.value());
    ensure!(value.as_ref().is_none_or(Result::is_err), "{what} was read as {value:?}");
    let after = cache.space().stats();
    ensure!(after.undecodable > before.undecodable, "{what} was not counted");
    let strict = act!(bench, cache.get_strict("k").await);
    let kind = strict.err().and_then(|error| error.store_kind());
    ensure!(kind == Some(ErrorKind::Corrupt), "{what}: get_strict gave {kind:?}");
    let got = act!(bench, cache.get_or_set("k", 5_u32).await)?;
    ensure!(got == 5, "{what} was not loaded anew: {got}");
    expect(cache, "k", Some(5)).await
}

pub(super) async fn an_entry_of_another_type_is_a_miss(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let space = bench.space().await?;
    let cache = space.cache::<u32>();
    let wider = space.cache::<u64>();
    act!(bench, wider.set("k", &7).await)?;
    is_a_miss(&bench, &cache, "a number of another type").await?;
    let texts = space.cache::<String>();
    act!(bench, texts.set("k", &"7".to_owned()).await)?;
    is_a_miss(&bench, &cache, "a text").await?;
    let raw = space.cache_with_codec::<String, _>(larder_core::Raw);
    act!(bench, raw.set("k", &"7".to_owned()).await)?;
    is_a_miss(&bench, &cache, "an entry of another codec").await?;
    act!(bench, texts.set("k", &"7".to_owned()).await)?;
    let gone = act!(bench, cache.update_expiry("k", None).await);
    ensure!(matches!(gone, Err(CacheError::NotFound)), "a text was revived as a number: {gone:?}");
    Ok(())
}

pub(super) async fn an_entry_of_another_version_is_a_miss(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let scope = global(t)?;
    let good = stored(t, &cache).await?;
    // The magic and the version of the layout lie in the first bytes.
    for at in 0..3 {
        for change in [1, 0x80] {
            t.part();
            let mut other = good.to_vec();
            other[at] ^= change;
            scope.set("k", other).await?;
            is_a_miss(&bench, &cache, &format!("an entry with another byte {at}")).await?;
        }
    }
    Ok(())
}

pub(super) async fn damaged_bytes_are_a_miss(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let scope = global(t)?;
    let good = stored(t, &cache).await?;
    for len in 0..good.len() {
        t.part();
        scope.set("k", good.slice(..len)).await?;
        let found = act!(bench, cache.get_value("k").await);
        ensure!(matches!(found, Ok(None)), "{len} of {} bytes were read as {found:?}", good.len());
    }
    is_a_miss(&bench, &cache, "an entry cut short").await?;
    for foreign in [&b"\xc0"[..], b"null", b"\x93\x01\x02\x03", &[0xff; 64], b""] {
        t.part();
        scope.set("k", foreign).await?;
        is_a_miss(&bench, &cache, "somebody else's record").await?;
    }
    // Any one bit may be another: whatever is read then, nothing panics, and it can be replaced.
    for at in 0..good.len() {
        let mut other = good.to_vec();
        other[at] ^= 0x10;
        scope.set("k", other).await?;
        let _ = cache.get_value("k").await?;
        let _ = cache.get_strict("k").await;
        let _ = cache.get_and_unpin("k").await;
        let _ = cache.update_expiry("k", None).await;
        cache.set("k", &at_number(at)).await?;
        expect(&cache, "k", Some(at_number(at))).await?;
    }
    Ok(())
}

fn at_number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or_default()
}

pub(super) async fn old_and_new_run_side_by_side(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let tagged = async |tag: &str| {
        let cache = Cache::<u32>::builder(bench.handle()).type_tag(tag).build().await;
        cache.map_err(Stop::from)
    };
    let (old, new) = (tagged("v1").await?, tagged("v2").await?);
    for round in 0..5 {
        act!(bench, old.set("k", &round).await)?;
        let found = act!(bench, new.get_value("k").await)?;
        ensure!(found.is_none(), "the new version read {found:?} of the old one");
        let got = act!(bench, new.get_or_set("k", round + 100).await)?;
        ensure!(got == round + 100, "the new version loaded {got}");
        let found = act!(bench, old.get_value("k").await)?;
        ensure!(found.is_none(), "the old version read {found:?} of the new one");
        let got = act!(bench, old.get_or_set("k", round + 200).await)?;
        ensure!(got == round + 200, "the old version loaded {got}");
    }
    let seen = (old.space().stats().undecodable > 0, new.space().stats().undecodable > 0);
    ensure!(seen == (true, true), "the entries of the other version were counted: {seen:?}");
    Ok(())
}

pub(super) async fn a_record_that_the_store_calls_corrupt_is_a_miss(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let (store, cache) = bench.faulty_numbers().await?;
    act!(bench, cache.set("k", &1).await)?;
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Corrupt));
    let found = act!(bench, cache.get_value("k").await);
    ensure!(matches!(found, Ok(None)), "a corrupt record was read as {found:?}");
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Corrupt));
    let got = act!(bench, cache.get_or_set("k", 5_u32).await);
    ensure!(matches!(got, Ok(5)), "a corrupt record was not loaded anew: {got:?}");
    expect(&cache, "k", Some(5)).await?;
    store.plan(Call::Get, 1, Fault::Fail(ErrorKind::Corrupt));
    let deleted = act!(bench, cache.delete("k").await);
    ensure!(deleted.is_ok(), "a corrupt record could not be deleted: {deleted:?}");
    expect(&cache, "k", None).await?;
    let counted = cache.space().stats().undecodable;
    ensure!(counted >= 2, "of two corrupt records read, {counted} were counted");
    Ok(())
}

pub(super) async fn it_can_be_set_under_its_lock_and_deleted(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?;
    let scope = global(t)?;
    scope.set("k", "garbage").await?;
    let mut held = act!(bench, cache.getset("k").await)?;
    ensure!(held.item().is_none(), "a damaged entry was read under its lock");
    act!(bench, held.set(&2).await)?;
    drop(held);
    expect(&cache, "k", Some(2)).await?;
    scope.set("k", "garbage").await?;
    let deleted = act!(bench, cache.delete("k").await)?;
    ensure!(deleted.is_none(), "deleting a damaged entry gave {deleted:?}");
    ensure!(scope.get("k").await?.is_none(), "a deleted damaged entry is still in the store");
    Ok(())
}
