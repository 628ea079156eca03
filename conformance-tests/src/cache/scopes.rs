//! Z1 to Z3: scopes.

use std::collections::BTreeSet;

use larder_cache::{Cache, CacheError, CacheScope, ScopeContext};

use super::bench::{Bench, Gate, SECOND, act, at_rest, end, expect, until};
use crate::trial::Trial;
use crate::verdict::{Verdict, ensure};

pub(super) async fn outside_of_a_context_they_are_an_error(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    act!(bench, global.set("k", &1).await)?;
    for scope in [CacheScope::Session, CacheScope::User] {
        let cache = global.scoped(scope.clone());
        let nested = cache.with_scope("n");
        let mut told = vec![
            act!(bench, cache.get_value("k").await.map(|_| ())),
            act!(bench, cache.set("k", &2).await),
            act!(bench, cache.delete("k").await.map(|_| ())),
            act!(bench, cache.get_or_set("k", 2_u32).await.map(|_| ())),
            act!(bench, cache.clear().await),
            act!(bench, cache.list().await.map(|_| ())),
            act!(bench, cache.remove_starting_with("").await.map(|_| ())),
            act!(bench, cache.set_pending("k").await.map(|_| ())),
            act!(bench, cache.lock("k").await.map(|_| ())),
            act!(bench, cache.getset("k").await.map(|_| ())),
            act!(bench, nested.get_value("k").await.map(|_| ())),
        ];
        // A context that names the other one is none for this one.
        let other = match scope {
            CacheScope::Session => ScopeContext::new().user("u"),
            _ => ScopeContext::new().session("s"),
        };
        told.push(act!(bench, other.run(async { cache.set("k", &2).await }).await));
        for (number, told) in told.iter().enumerate() {
            let is = matches!(told, Err(CacheError::NoScope));
            ensure!(
                is,
                "{scope:?} out of context: call {number} gave {told:?} instead of `NoScope`"
            );
        }
    }
    expect(&global, "k", Some(1)).await
}

pub(super) async fn concurrent_sessions_and_users_never_meet(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    let gate = Gate::new();
    let mut callers = Vec::new();
    for scope in [CacheScope::Session, CacheScope::User] {
        for number in 0..8_u32 {
            let (cache, gate) = (global.scoped(scope.clone()), gate.clone());
            let id = number.to_string();
            let value = number + if scope == CacheScope::User { 100 } else { 0 };
            let both = ScopeContext::new().session(id.clone()).user(id);
            let work = async move {
                let loader = async move |_| {
                    gate.pass().await;
                    value
                };
                let given = cache.get_or_set_with("k", loader).await?;
                tokio::task::yield_now().await;
                let read = cache.get_value("k").await?;
                cache.set("own", &value).await?;
                let own = cache.get_value("own").await?;
                Ok::<_, CacheError>((value, given, read, own))
            };
            callers.push(tokio::spawn(both.run(work)));
        }
    }
    until(|| global.space().stats().misses >= 16).await;
    bench.note("16 sessions and users load \"k\" at the same time");
    gate.open();
    for caller in callers {
        let (value, loaded, read, own) = end(caller).await??;
        ensure!(
            (loaded, read, own) == (value, Some(value), Some(value)),
            "the one whose value is {value} loaded {loaded}, read {read:?} and {own:?}"
        );
    }
    expect(&global, "k", None).await?;
    expect(&global, "own", None).await
}

pub(super) async fn the_context_goes_along_into_loads(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    let user = global.scoped(CacheScope::User);
    let inner = user.clone();
    let load = async move |_| {
        let set = inner.set("seen", &7).await;
        u32::from(set.is_ok())
    };
    let context = ScopeContext::new().user("anna");
    let got = act!(bench, context.run(user.get_or_set_with("k", load)).await)?;
    ensure!(got == 1, "a loader had no current user");
    let anna = global.scoped(CacheScope::user("anna"));
    expect(&anna, "seen", Some(7)).await?;
    expect(&anna, "k", Some(1)).await
}

pub(super) async fn a_scope_by_name_is_the_one_in_context(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    let pairs = [
        (CacheScope::User, CacheScope::user("x"), ScopeContext::new().user("x")),
        (CacheScope::Session, CacheScope::session("x"), ScopeContext::new().session("x")),
    ];
    for (number, (current, named, context)) in (1..).zip(pairs) {
        let (current, named) = (global.scoped(current), global.scoped(named));
        act!(bench, context.clone().run(async { current.set("k", &number).await }).await)?;
        expect(&named, "k", Some(number)).await?;
        act!(bench, named.with_scope("n").set("k", &(number + 10)).await)?;
        let nested = current.with_scope("n");
        let read = act!(bench, context.run(nested.get_value("k")).await)?;
        ensure!(read == Some(number + 10), "the current one, nested, read {read:?}");
    }
    Ok(())
}

/// Scopes whose names resemble each other.
fn look_alikes(global: &Cache<u32>) -> Vec<Cache<u32>> {
    let user = |id: &str| global.scoped(CacheScope::user(id));
    let session = |id: &str| global.scoped(CacheScope::session(id));
    vec![
        global.clone(),
        user("u"),
        user("s"),
        user("g"),
        user("global"),
        user("session"),
        user("session:u"),
        user("*"),
        user("u/u"),
        user("u%2Fu"),
        user("../g"),
        user("é"),
        user("e\u{301}"),
        user("u").with_scope("u"),
        session("u"),
        session("s"),
        session("g"),
        session("global"),
        session("u").with_scope("u"),
        global.with_scope("u"),
        global.with_scope("s"),
        global.with_scope("g"),
        global.with_scope("u").with_scope("u"),
        global.with_scope("u/u"),
        global.with_scope("u:u"),
    ]
}

pub(super) async fn names_that_look_alike_never_meet(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    let views = look_alikes(&global);
    for (number, view) in (0..).zip(&views) {
        expect(view, "k", None).await?;
        act!(bench, view.set("k", &number).await)?;
    }
    for (number, view) in (0..).zip(&views) {
        expect(view, "k", Some(number)).await?;
    }
    Ok(())
}

pub(super) async fn clearing_one_clears_what_is_below(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    let all = [
        global.clone(),
        global.with_scope("a"),
        global.with_scope("a").with_scope("b"),
        global.with_scope("a").with_scope("b").with_scope("c"),
        global.with_scope("a/b"),
        global.with_scope("ab"),
        global.with_scope("b"),
        global.scoped(CacheScope::user("a")),
        global.scoped(CacheScope::session("a")),
    ];
    for view in &all {
        act!(bench, view.set("k", &1).await)?;
        act!(bench, view.set("", &1).await)?;
    }
    act!(bench, all[1].clear().await)?;
    for (number, view) in all.iter().enumerate() {
        let cleared = (1..=3).contains(&number);
        for key in ["k", ""] {
            expect(view, key, (!cleared).then_some(1)).await?;
        }
    }
    act!(bench, global.clear().await)?;
    for (number, view) in all.iter().enumerate() {
        expect(view, "k", (number >= 7).then_some(1)).await?;
    }
    Ok(())
}

pub(super) async fn a_listing_marks_what_is_pending(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let outer = bench.numbers().await?;
    let cache = outer.with_scope("n");
    for (view, key) in [(&outer, "outside"), (&cache.with_scope("deeper"), "inside")] {
        act!(bench, view.set(key, &1).await)?;
    }
    act!(bench, cache.set("a", &1).await)?;
    act!(bench, cache.set("gone", &1).ttl(SECOND).await)?;
    bench.advance(SECOND).await;
    let promise = act!(bench, cache.set_pending("promised").await)?;
    let gate = Gate::new();
    let loading = bench.load(&cache, "loading", &gate, 1);
    gate.reached(1).await;
    let listed = act!(bench, cache.list().await)?;
    let listed: Vec<_> = listed.iter().map(|it| (it.key.as_str(), it.pending)).collect();
    let want = [("a", false), ("loading", true), ("promised", true)];
    ensure!(listed == want, "list gave {listed:?} instead of {want:?}");
    gate.open();
    end(loading).await??;
    drop(promise);
    at_rest(cache.space()).await;
    let listed = act!(bench, cache.list().await)?;
    let listed: Vec<_> = listed.iter().map(|it| (it.key.as_str(), it.pending)).collect();
    let want = [("a", false), ("loading", false)];
    ensure!(listed == want, "later, list gave {listed:?} instead of {want:?}");
    Ok(())
}

pub(super) async fn long_listings_are_whole(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let cache = bench.numbers().await?.with_scope("long");
    let keys: BTreeSet<String> = (0..1_100).map(|number| format!("k{number:04}")).collect();
    for key in &keys {
        cache.set(key, &1).await?;
    }
    bench.note("1,100 keys are set");
    let listed: Vec<String> = cache.list().await?.into_iter().map(|listed| listed.key).collect();
    let in_order: Vec<String> = keys.into_iter().collect();
    ensure!(listed == in_order, "list gave {} keys of 1,100, or another order", listed.len());
    Ok(())
}

pub(super) async fn a_prefix_keeps_to_its_scope(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let outer = bench.numbers().await?;
    let cache = outer.with_scope("n");
    let deeper = cache.with_scope("a");
    let user = outer.scoped(CacheScope::user("n"));
    for view in [&outer, &cache, &deeper, &user] {
        for key in ["a", "ab", "a*", "b", ""] {
            act!(bench, view.set(key, &1).await)?;
        }
    }
    let removed = act!(bench, cache.remove_starting_with("a*").await)?;
    ensure!(removed == 1, "removing the prefix `a*` removed {removed} keys instead of 1");
    let removed = act!(bench, cache.remove_starting_with("a").await)?;
    ensure!(removed == 2, "removing the prefix `a` removed {removed} keys instead of 2");
    for key in ["a", "ab", "a*"] {
        expect(&cache, key, None).await?;
    }
    expect(&cache, "b", Some(1)).await?;
    for view in [&outer, &deeper, &user] {
        for key in ["a", "ab", "a*", "b", ""] {
            expect(view, key, Some(1)).await?;
        }
    }
    let removed = act!(bench, cache.remove_starting_with("").await)?;
    ensure!(removed == 2, "removing the empty prefix removed {removed} keys instead of 2");
    expect(&deeper, "b", Some(1)).await
}

pub(super) async fn clearing_the_space_clears_all(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    let views = look_alikes(&global);
    for view in &views {
        view.set("k", &1).await?;
    }
    act!(bench, global.space().clear(true).await)?;
    for view in &views {
        expect(view, "k", None).await?;
    }
    Ok(())
}

pub(super) async fn names_that_cannot_be_are_refused(t: &Trial) -> Verdict {
    let bench = Bench::new(t);
    let global = bench.numbers().await?;
    let long = "x".repeat(256);
    for view in [
        global.with_scope(""),
        global.with_scope(&long),
        global.scoped(CacheScope::user("")),
        global.scoped(CacheScope::session(&*long)),
    ] {
        let told = act!(bench, view.set("k", &1).await);
        let kind = told.err().and_then(|error| error.store_kind());
        let want = Some(larder_core::ErrorKind::InvalidNamespace);
        ensure!(kind == want, "a scope with an impossible name gave {kind:?}");
    }
    Ok(())
}
