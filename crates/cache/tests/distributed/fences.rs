//! Fencing tokens never go back (L2).

use larder_cache::CacheError;
use larder_core::testing::{Call, Fault};
use larder_core::{ErrorKind, StoreExt};

use crate::support::{LEASE, Process, World, delete, keys};

async fn token(process: &Process) -> u64 {
    let guard = process.cache.lock("k").await.unwrap();
    let token = guard.fence().unwrap();
    guard.release().await;
    token
}

#[tokio::test(start_paused = true)]
async fn they_grow_from_holder_to_holder_in_all_processes() {
    let world = World::new();
    let mut last = 0;
    for _ in 0..3 {
        let process = world.process().await;
        for _ in 0..3 {
            let token = token(&process).await;
            assert!(token > last, "{token} after {last}");
            last = token;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn they_grow_although_the_locks_record_expired_or_was_deleted() {
    let world = World::new();
    let (holder, other) = (world.process().await, world.process().await);
    let mut last = token(&holder).await;
    for how in ["expired", "deleted"] {
        let guard = holder.cache.lock("k").await.unwrap();
        assert!(guard.fence().unwrap() > last, "{how}");
        last = guard.fence().unwrap();
        if how == "expired" {
            holder.way.always(Call::Any, Fault::Fail(ErrorKind::Unavailable));
            tokio::time::sleep(LEASE).await;
        } else {
            delete(&*world.agreed("lock"), "g:k").await;
        }
        let next = token(&other).await;
        assert!(next > last, "{how}: {next} after {last}");
        last = next;
        holder.way.heal();
        drop(guard);
    }
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_was_evicted_is_an_error_that_says_so() {
    let world = World::new();
    let process = world.process().await;
    let last = token(&process).await;
    let fences = world.agreed("fence");
    let names = keys(&*fences).await;
    assert_eq!(names.len(), 2, "a counter and its mark: {names:?}");
    let mark = names.iter().find(|name| name.starts_with("mark:")).unwrap();
    delete(&*fences, mark.strip_prefix("mark:").unwrap()).await;
    let fresh = world.process().await;
    for process in [&process, &fresh] {
        let error = process.cache.lock("k").await.unwrap_err();
        assert!(matches!(error, CacheError::FenceLost), "{error}");
        assert!(error.to_string().contains("evicted"), "{error}");
        let error = process.cache.getset("k").no_wait().await.unwrap_err();
        assert!(matches!(error, CacheError::FenceLost), "{error}");
    }
    tokio::time::sleep(LEASE).await;
    assert!(keys(&*world.agreed("lock")).await.is_empty(), "nobody holds what nobody was given");
    // As the error says: the operator takes the mark away.
    delete(&*fences, mark).await;
    assert!(token(&fresh).await > last);
}

#[tokio::test(start_paused = true)]
async fn they_grow_although_the_whole_store_was_lost() {
    let world = World::new();
    let process = world.process().await;
    let last = token(&process).await;
    tokio::time::sleep(LEASE).await;
    larder_core::Store::delete_all(&*world.store).await.unwrap();
    let fresh = world.process().await;
    let next = token(&fresh).await;
    assert!(next > last);
    assert!(token(&process).await > next);
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_went_back_is_moved_past_what_is_known() {
    let world = World::new();
    let process = world.process().await;
    let last = token(&process).await;
    let fences = world.agreed("fence");
    for name in keys(&*fences).await {
        if !name.starts_with("mark:") {
            fences.set(&name, (last - 5).to_string()).await.unwrap();
        }
    }
    assert!(token(&process).await > last);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_was_evicted_is_made_anew() {
    let world = World::new();
    token(&world.process().await).await;
    let fences = world.agreed("fence");
    let names = keys(&*fences).await;
    delete(&*fences, names.iter().find(|name| name.starts_with("mark:")).unwrap()).await;
    token(&world.process().await).await;
    assert_eq!(keys(&*fences).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_is_none_is_corrupt() {
    for text in ["", "-1", "x", "18446744073709551615", "1 "] {
        let world = World::new();
        let process = world.process().await;
        token(&process).await;
        let fences = world.agreed("fence");
        for name in keys(&*fences).await {
            if !name.starts_with("mark:") {
                fences.set(&name, text).await.unwrap();
            }
        }
        let error = process.cache.lock("k").await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::Corrupt), "{text:?}");
    }
}
