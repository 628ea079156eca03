//! Opening stores by URL: what is taken, what is refused, and that refusals tell no secrets.

use larder::StoreUrl;
#[cfg(any(feature = "memory", feature = "file", feature = "sled"))]
use larder::open;
use larder::prelude::*;

fn refused(url: &str) -> Error {
    let error = StoreUrl::parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}: {error}");
    error
}

#[test]
fn unknown_schemes_are_refused_with_those_known() {
    for url in ["postgres://host/db", "larder-data", "", ":", "MONGO:x"] {
        let text = refused(url).to_string();
        let known = "memory:, file:PATH, sled:PATH, redis://…, rediss://…, redis+unix://…";
        assert!(text.contains(known), "{text}");
    }
    assert!(refused("postgres://host/db").to_string().contains("`postgres:`"));
}

#[cfg(feature = "memory")]
#[test]
fn unknown_and_bad_options_are_refused_with_those_known() {
    let text = refused("memory:?colour=red").to_string();
    assert!(text.contains("`colour`; known are namespace, durability, sweep_every"), "{text}");
    for url in [
        "memory:name",
        "memory:?durability=power-loss",
        "memory:?durability=maybe",
        "memory:?sweep_every=soon",
        "memory:?sweep_every=1s&sweep_every=2s",
        "memory:?namespace",
        "memory:?create=false",
        "memory:?sweep_every=%zz",
    ] {
        refused(url);
    }
    let error = StoreUrl::parse("memory:?namespace=").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidNamespace);
}

#[cfg(not(feature = "sled"))]
#[test]
fn a_backend_that_is_left_out_is_named_with_its_feature() {
    let text = refused("sled:data").to_string();
    assert!(text.contains("feature `sled`"), "{text}");
}

#[test]
fn no_refusal_shows_a_password() {
    for url in [
        "redis://user:hunter2@host:port",
        "redis://user:hunter2@host/0?colour=red",
        "redis://user:hunter2@host/0?connections=many",
        "redis://user:hunter2@host/0?ca=/x",
        "redis://user:hunter2@host/0#insecure",
        "redis://user:hunter2%zz@host",
        "redis://user:a/hunter2@host",
        "redis://user:a?hunter2@host",
        "redis://user:a#hunter2@host",
        "rediss://user:hunter2@host/0?nothing",
        "redis:user:hunter2@host",
        "redis://hunter2@host?colour=red",
        "redis+unix://user:hunter2@/run/redis.sock",
        "redis+unix:hunter2",
        "redis+unix:///run/redis.sock?pass=hunter2&db=many",
        "redis+unix:///run/redis.sock?pass=hunter2&pass=hunter2",
        "redis+unix:///run/redis.sock?pass=hunter2#x",
        "postgres://user:hunter2@host",
        "hunter2@host",
        "user:hunter2@host",
        "redis//user:hunter2@host",
    ] {
        if let Err(error) = StoreUrl::parse(url) {
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error:?}");
        }
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_redis_url_is_shown_without_its_password() {
    let url = StoreUrl::parse("REDIS://user:hunter2@host:1/2?connect=lazy").unwrap();
    assert_eq!(url.to_string(), "REDIS://user:***@host:1/2?connect=lazy");
    assert_eq!(format!("{url:?}"), r#"StoreUrl("REDIS://user:***@host:1/2?connect=lazy")"#);
    assert_eq!(url.backend(), "redis");
    refused("redis://host/0#insecure");
    refused("redis://host/0?connect=sometimes");
}

#[cfg(feature = "redis")]
#[test]
fn a_socket_is_named_by_its_path_and_has_its_login_in_options() {
    let url = "redis+unix:///run/redis.sock?db=2&user=u&pass=hunter2&max_value_len=9";
    let shown = StoreUrl::parse(url).unwrap().to_string();
    assert_eq!(shown, "redis+unix:///run/redis.sock?db=2&user=u&pass=***&max_value_len=9");
    for bad in [
        "redis+unix:",
        "redis+unix:run/redis.sock",
        "redis+unix://run/redis.sock",
        "redis+unix:///run/redis.sock?db=-1",
        "redis+unix:///run/redis.sock?ca=/x",
        "redis://host?db=2",
        "redis://host?pass=x",
    ] {
        refused(bad);
    }
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn a_root_namespace_is_opened_and_closes_the_whole_store() {
    let shop = open("memory:?namespace=shop&namespace=a%2Fb").await.unwrap();
    assert_eq!(shop.namespace().segments().collect::<Vec<_>>(), ["shop", "a/b"]);
    let carts = shop.with_namespace("carts").unwrap();
    assert_eq!(carts.namespace().depth(), 3);
    carts.set("k", "v").await.unwrap();
    shop.close().await.unwrap();
    shop.close().await.unwrap();
    for error in [carts.get("k").await.unwrap_err(), shop.get("k").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    assert_eq!(shop.with_namespace("x").unwrap_err().kind(), ErrorKind::Closed);
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn two_openings_of_memory_are_two_stores() {
    let (one, other) = (open("memory:").await.unwrap(), open("memory://").await.unwrap());
    one.set("k", "v").await.unwrap();
    assert!(!other.exists("k").await.unwrap());
}

#[cfg(any(feature = "file", feature = "sled"))]
mod on_disk {
    use super::*;

    fn schemes() -> Vec<&'static str> {
        let mut schemes = Vec::new();
        if cfg!(feature = "file") {
            schemes.push("file");
        }
        if cfg!(feature = "sled") {
            schemes.push("sled");
        }
        schemes
    }

    #[tokio::test]
    async fn an_absent_store_is_made_unless_told_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        for scheme in schemes() {
            let path = folder.path().join(scheme).join("100%? #");
            let escaped = path.to_str().unwrap().replace('%', "%25").replace('?', "%3F");
            let url = format!("{scheme}:{escaped}");
            let error = open(&format!("{url}?create=false")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            let parsed = StoreUrl::parse(&url).unwrap();
            assert_eq!(parsed.path(), Some(&*path));
            let error = parsed.clone().without_creating().open().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(!path.exists());

            let store = open(&url).await.unwrap();
            store.set("k", "v").await.unwrap();
            store.close().await.unwrap();
            let again = open(&format!("{scheme}://{escaped}?create=false")).await.unwrap();
            assert_eq!(again.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
            again.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_closed_store_opens_again_below_a_root_namespace_too() {
        let folder = tempfile::tempdir().unwrap();
        for scheme in schemes() {
            let url = format!("{scheme}:{}/{scheme}?namespace=a", folder.path().display());
            for round in 0..3 {
                let store = open(&url).await.unwrap();
                assert_eq!(store.increment("round", 1).await.unwrap(), round + 1);
                store.close().await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn durability_is_as_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for scheme in schemes() {
            let url = format!("{scheme}:{}/{scheme}", folder.path().display());
            let store = open(&format!("{url}?durability=process-crash")).await.unwrap();
            assert_eq!(store.capabilities().durability, Durability::ProcessCrash);
            store.close().await.unwrap();
            refused(&format!("{url}?durability=eternal"));
        }
    }
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn a_clock_of_ones_own_decides_what_has_expired() {
    use std::time::Duration;
    let clock = larder::ManualClock::new();
    let folder = tempfile::tempdir().unwrap();
    let mut urls = Vec::new();
    if cfg!(feature = "memory") {
        urls.push("memory:".to_owned());
    }
    for (on, scheme) in [(cfg!(feature = "file"), "file"), (cfg!(feature = "sled"), "sled")] {
        if on {
            urls.push(format!("{scheme}:{}/{scheme}", folder.path().display()));
        }
    }
    for url in urls {
        let store = StoreUrl::parse(&url).unwrap().with_clock(clock.clone()).open().await.unwrap();
        store.set("k", "v").ttl(Duration::from_secs(1)).await.unwrap();
        clock.advance(Duration::from_millis(999));
        assert!(store.exists("k").await.unwrap(), "{url}");
        clock.advance(Duration::from_millis(1));
        assert!(!store.exists("k").await.unwrap(), "{url}");
        store.close().await.unwrap();
    }
}
