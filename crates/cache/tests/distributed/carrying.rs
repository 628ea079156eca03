//! What a tool that copies whole stores makes of what processes agree on.

use larder_cache::{CarriedOver, belongs_to_a_process, carry_counter};
use larder_core::{ErrorKind, NamespacedStore, StoreExt};

use crate::support::{Process, World, delete, keys};

async fn process(world: &World) -> Process {
    let process = world.process().await;
    process.cache.lock("k").await.unwrap().release().await;
    process
}

async fn counter(world: &World) -> (String, u64) {
    let fences = world.agreed("fence");
    let key = keys(&*fences).await.into_iter().find(|key| !key.starts_with("mark:")).unwrap();
    let value = fences.get(&key).await.unwrap().unwrap();
    let token = std::str::from_utf8(&value).unwrap().parse().unwrap();
    (key, token)
}

async fn carry(from: &World, to: &World, key: &str) -> Option<CarriedOver> {
    carry_counter(&*from.agreed("fence"), &*to.agreed("fence"), key).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn locks_loads_and_their_markers_belong_to_a_process() {
    let world = World::new();
    let one = process(&world).await;
    let _lock = one.cache.lock("locked").await.unwrap();
    let _getset = one.cache.getset("absent").await.unwrap();
    one.cache.set("stale", &1).await.unwrap();
    let loading = |key| {
        let cache = one.cache.clone();
        tokio::spawn(async move {
            cache.get_or_set_with(key, async |_| std::future::pending::<u32>().await).await
        })
    };
    let _load = loading("loading");
    let raw = world.raw();
    while raw.get("loading").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let (locks, fences) = (world.agreed("lock"), world.agreed("fence"));
    let belong = async |store: &dyn NamespacedStore| {
        let mut belong = Vec::new();
        for key in keys(store).await {
            let value = store.get(&key).await.unwrap().unwrap();
            // The same bytes elsewhere are somebody's own.
            assert!(!belongs_to_a_process(&*world.agreed("other"), &value), "{key}");
            if belongs_to_a_process(store, &value) {
                belong.push(key);
            }
        }
        belong.sort();
        belong
    };
    assert_eq!(belong(&*raw).await, ["absent", "loading"]);
    assert_eq!(belong(&*locks).await, ["g:absent", "g:locked"]);
    assert!(belong(&*fences).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_counter_is_moved_on_and_never_back() {
    let (from, to) = (World::new(), World::new());
    let (_one, other) = (process(&from).await, process(&to).await);
    let (key, token) = counter(&from).await;
    for (theirs, carried) in [
        (token - 1, CarriedOver::Written),
        (token, CarriedOver::Kept),
        (token + 1, CarriedOver::Kept),
    ] {
        to.agreed("fence").set(&key, theirs.to_string()).await.unwrap();
        assert_eq!(carry(&from, &to, &key).await, Some(carried));
        assert_eq!(counter(&to).await.1, theirs.max(token));
    }
    let mark = format!("mark:{key}");
    assert_eq!(carry(&from, &to, &mark).await, Some(CarriedOver::WithCounter));
    let guard = other.cache.lock("k").await.unwrap();
    assert!(guard.fence().unwrap() > token + 1);
    guard.release().await;
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_is_missing_begins_ahead_and_has_its_mark() {
    let (from, to) = (World::new(), World::new());
    let _one = process(&from).await;
    let (key, token) = counter(&from).await;
    let mark = format!("mark:{key}");
    assert_eq!(carry(&from, &to, &mark).await, Some(CarriedOver::WithCounter));
    assert!(keys(&*to.agreed("fence")).await.is_empty());
    assert_eq!(carry(&from, &to, &key).await, Some(CarriedOver::Written));
    assert!(counter(&to).await.1 >= token);
    assert_eq!(keys(&*to.agreed("fence")).await.len(), 2);
    // Without its counter, a mark says that this was lost.
    delete(&*to.agreed("fence"), &key).await;
    assert_eq!(carry(&from, &to, &key).await, Some(CarriedOver::LeftOut));
    assert_eq!(carry(&to, &from, &mark).await, Some(CarriedOver::LeftOut));
    assert_eq!(keys(&*to.agreed("fence")).await, [mark]);
    assert_eq!(counter(&from).await.1, token);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_counter_is_somebodys_own() {
    let (from, to) = (World::new(), World::new());
    from.agreed("fence").set("07", "42").await.unwrap();
    for key in ["07", "mark:07", "16", "k"] {
        assert_eq!(carry(&from, &to, key).await, None, "{key}");
    }
    from.agreed("fence").set("mark:07", "counted").await.unwrap();
    assert_eq!(carry_counter(&*from.raw(), &*to.raw(), "07").await.unwrap(), None);
    from.agreed("fence").set("07", "many").await.unwrap();
    let (from, to) = (from.agreed("fence"), to.agreed("fence"));
    let error = carry_counter(&*from, &*to, "07").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
