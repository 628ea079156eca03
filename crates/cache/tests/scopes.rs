//! Z1 to Z3: global, session, user and nested scopes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{Gate, builder, faulty, numbers, space, until};
use larder_cache::{Cache, CacheError, CacheScope, CacheSpace, ScopeContext};
use larder_core::{
    Bytes, Capabilities, DeleteOptions, Entry, ErrorKind, GetOptions, Result, SetOptions,
    SetOutcome, Store, async_trait,
};
use larder_memory::MemoryStore;

fn keys(listed: Vec<larder_cache::ListedKey>) -> Vec<String> {
    listed.into_iter().map(|key| key.key).collect()
}

#[tokio::test]
async fn a_call_is_made_in_the_scope_that_it_runs_in_wherever_it_was_built() {
    let (cache, _) = numbers().await;
    let cache = cache.scoped(CacheScope::User);
    let (anna, ben) = (ScopeContext::new().user("anna"), ScopeContext::new().user("ben"));
    ben.clone().run(cache.set("k", &1).into_future()).await.unwrap();
    anna.run(async {
        ben.clone().run(cache.set("k", &2).into_future()).await.unwrap();
        let held = ben.clone().run(cache.getset("k").into_future()).await.unwrap();
        assert_eq!(held.item().as_ref().unwrap().value().unwrap(), 2);
        drop(cache.lock("k").no_wait().await.unwrap());
        let busy = ben.run(cache.lock("k").no_wait().into_future()).await;
        assert!(matches!(busy, Err(CacheError::Busy)));
        assert_eq!(cache.get_value("k").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn outside_of_any_context_a_session_or_user_is_an_error_and_never_global() {
    let (cache, _) = numbers().await;
    for scope in [CacheScope::Session, CacheScope::User] {
        let scoped = cache.scoped(scope).with_scope("nested");
        let errors = [
            scoped.set("k", &1).await.unwrap_err(),
            scoped.get("k").await.unwrap_err(),
            scoped.get_or_set("k", 1_u32).await.unwrap_err(),
            scoped.delete("k").await.unwrap_err(),
            scoped.clear().await.unwrap_err(),
            scoped.list().await.unwrap_err(),
            scoped.lock("k").await.unwrap_err(),
            scoped.set_pending("k").await.unwrap_err(),
            scoped.lookup("k").await.unwrap_err(),
            scoped.remove_starting_with("").await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| matches!(error, CacheError::NoScope)));
    }
    // A context that names only the other is none either.
    let sessions = cache.scoped(CacheScope::Session);
    let user = ScopeContext::new().user("u");
    assert!(matches!(
        user.run(sessions.set("k", &1).into_future()).await,
        Err(CacheError::NoScope)
    ));
    assert!(cache.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn sessions_and_users_in_concurrent_tasks_never_meet_not_even_in_flights() {
    let (cache, _) = numbers().await;
    let gate = Gate::new();
    let mut tasks = Vec::new();
    for number in 0..50_u32 {
        for scope in [CacheScope::Session, CacheScope::User] {
            let scoped = cache.scoped(scope.clone());
            let gate = gate.clone();
            let id = number.to_string();
            let own = number * 2 + u32::from(scope == CacheScope::User);
            let context = ScopeContext::new().session(id.clone()).user(id);
            tasks.push(tokio::spawn(context.run(async move {
                let inner = scoped.clone();
                let loader = async move |_| {
                    gate.pass().await;
                    // The context is carried into the flight.
                    inner.set("inside", &own).await.unwrap();
                    own
                };
                let got = scoped.get_or_set_with("k", loader).await.unwrap();
                let inside = scoped.get_value("inside").await.unwrap();
                (got, inside, own)
            })));
        }
    }
    gate.reached(100).await;
    gate.open(100);
    for task in tasks {
        let (got, inside, own) = task.await.unwrap();
        assert_eq!((got, inside), (own, Some(own)));
    }
    assert!(cache.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn names_that_look_alike_collide_with_nothing() {
    let (cache, _) = numbers().await;
    let ids = ["g", "s", "u", "global", "a", "a/b", "a:b", "%2F", "..", "\0", "é", "e\u{301}"];
    let mut views: Vec<Cache<u32>> = vec![cache.clone()];
    for id in ids {
        views.push(cache.scoped(CacheScope::session(id)));
        views.push(cache.scoped(CacheScope::user(id)));
        views.push(cache.with_scope(id));
        views.push(cache.scoped(CacheScope::user(id)).with_scope("a"));
        views.push(cache.with_scope("a").with_scope(id));
    }
    for (number, view) in (0_u32..).zip(&views) {
        view.set("k", &number).await.unwrap();
    }
    for (number, view) in (0_u32..).zip(&views) {
        assert_eq!(view.get_value("k").await.unwrap(), Some(number));
    }
}

#[tokio::test]
async fn a_scope_named_is_the_scope_in_context() {
    let (cache, _) = numbers().await;
    let context = ScopeContext::new().session("one").user("anna");
    let (sessions, users) = (cache.scoped(CacheScope::Session), cache.scoped(CacheScope::User));
    context
        .run(async {
            sessions.set("k", &1).await.unwrap();
            users.set("k", &2).await.unwrap();
            assert_eq!(
                ScopeContext::current().unwrap(),
                ScopeContext::new().session("one").user("anna")
            );
        })
        .await;
    assert_eq!(cache.scoped(CacheScope::session("one")).get_value("k").await.unwrap(), Some(1));
    assert_eq!(cache.scoped(CacheScope::user("anna")).get_value("k").await.unwrap(), Some(2));
    cache.scoped(CacheScope::session("one")).clear().await.unwrap();
    assert_eq!(cache.scoped(CacheScope::user("anna")).get_value("k").await.unwrap(), Some(2));
    assert!(ScopeContext::current().is_none());
}

#[tokio::test]
async fn clearing_a_scope_clears_its_descendants_and_nothing_else() {
    let (cache, _) = numbers().await;
    let parent = cache.with_scope("p");
    let (child, sibling) = (parent.with_scope("c"), parent.with_scope("cc"));
    let all = [&cache, &parent, &child, &sibling];
    let left = async || {
        let mut left = Vec::new();
        for view in all {
            left.push(view.get_value("k").await.unwrap().is_some());
        }
        left
    };
    let fill = async || {
        for view in all {
            view.set("k", &1).await.unwrap();
        }
    };
    fill().await;
    child.clear().await.unwrap();
    assert_eq!(left().await, [true, true, false, true]);
    fill().await;
    parent.clear().await.unwrap();
    assert_eq!(left().await, [true, false, false, false]);
    fill().await;
    cache.clear().await.unwrap();
    assert_eq!(left().await, [false; 4]);
}

#[tokio::test]
async fn a_clearing_overtakes_loads_below_and_no_others() {
    let (cache, _) = numbers().await;
    let (a, b) = (cache.with_scope("a"), cache.with_scope("b"));
    let deep = a.with_scope("deep");
    let gate = Gate::new();
    let loads = [common::load(&deep, "k", &gate, 1), common::load(&b, "k", &gate, 2)];
    gate.reached(2).await;
    a.clear().await.unwrap();
    gate.open(2);
    for load in loads {
        load.await.unwrap().unwrap();
    }
    until(|| cache.space().stats().active_keys == 0).await;
    assert_eq!(deep.get_value("k").await.unwrap(), None);
    assert_eq!(b.get_value("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn removing_by_prefix_keeps_to_its_scope_and_takes_no_pattern() {
    let (cache, _) = numbers().await;
    let nested = cache.with_scope("a");
    for key in ["a", "ab", "a*", "b", "", "A"] {
        cache.set(key, &1).await.unwrap();
        nested.set(key, &1).await.unwrap();
    }
    assert_eq!(cache.remove_starting_with("a*").await.unwrap(), 1);
    assert_eq!(cache.remove_starting_with("a").await.unwrap(), 2);
    assert_eq!(keys(cache.list().await.unwrap()), ["", "A", "b"]);
    assert_eq!(nested.list().await.unwrap().len(), 6);
    assert_eq!(cache.remove_starting_with("").await.unwrap(), 3);
    assert!(cache.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn clearing_the_space_clears_every_scope() {
    let (cache, _) = numbers().await;
    let views = [
        cache.clone(),
        cache.with_scope("n"),
        cache.scoped(CacheScope::user("u")),
        cache.scoped(CacheScope::session("s")).with_scope("n"),
    ];
    for view in &views {
        view.set("k", &1).await.unwrap();
    }
    cache.space().clear(true).await.unwrap();
    for view in &views {
        assert_eq!(view.get_value("k").await.unwrap(), None);
    }
}

#[tokio::test]
async fn more_entries_than_a_page_are_listed_once_each() {
    let (cache, _) = numbers().await;
    for number in 0..2_500_u32 {
        cache.set(&format!("{number:05}"), &number).await.unwrap();
    }
    let listed = keys(cache.list().await.unwrap());
    assert_eq!(listed.len(), 2_500);
    assert!(listed.is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn names_that_no_namespace_can_have_are_refused_in_use() {
    let (cache, _) = numbers().await;
    for view in [
        cache.with_scope(""),
        cache.with_scope(&"x".repeat(256)),
        cache.scoped(CacheScope::user("")),
    ] {
        let error = view.set("k", &1).await.unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::InvalidNamespace));
    }
}

/// A store of the plainest kind: flat, without listing.
#[derive(Debug)]
struct Plain(MemoryStore);

#[async_trait]
impl Store for Plain {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.0.get_opts(key, options).await
    }
    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.0.set_opts(key, value, options).await
    }
    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.0.delete_opts(key, options).await
    }
    async fn delete_all(&self) -> Result<()> {
        self.0.delete_all().await
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().with_max_key_len(64)
    }
}

#[tokio::test]
async fn a_flat_store_that_cannot_list_does_all_but_what_needs_a_listing() {
    let store: Arc<dyn Store> = Arc::new(Plain(MemoryStore::new()));
    let space = CacheSpace::new(store);
    let cache = space.cache::<u32>();
    let nested = cache.with_scope("a/b");
    cache.set("k", &1).await.unwrap();
    nested.set("k", &2).await.unwrap();
    cache.with_scope("a").with_scope("b").set("k", &3).await.unwrap();
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    assert_eq!(nested.get_value("k").await.unwrap(), Some(2));
    let mut held = nested.getset("k").await.unwrap();
    nested.set("k", &9).await.unwrap();
    assert!(matches!(held.set(&1).await, Err(CacheError::Conflict)));
    drop(held);
    assert_eq!(nested.delete("k").await.unwrap(), Some(9));
    for error in [
        cache.clear().await.unwrap_err(),
        cache.remove_starting_with("k").await.unwrap_err(),
        cache.list().await.unwrap_err(),
        space.clear(false).await.unwrap_err(),
    ] {
        assert_eq!(error.store_kind(), Some(ErrorKind::Unsupported), "{error}");
    }
    assert_eq!(cache.get_value("k").await.unwrap(), Some(1));
    let error = cache.set(&"x".repeat(60), &1).await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::InvalidKey));
    let error = cache.with_scope(&"x".repeat(80)).set("k", &1).await.unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::InvalidNamespace));
}

#[tokio::test]
async fn two_spaces_over_one_store_share_what_is_stored() {
    let (store, clock) = faulty();
    let first = builder(store.clone(), &clock).build().await.unwrap();
    let second = builder(store, &clock).build().await.unwrap();
    first.cache::<u32>().set("k", &1).await.unwrap();
    assert_eq!(second.cache::<u32>().get_value("k").await.unwrap(), Some(1));
    let (other, _) = space().await;
    assert_eq!(other.cache::<u32>().get_value("k").await.unwrap(), None);
}
