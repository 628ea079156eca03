//! Memoising functions, as Privex's decorators do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use common::{Oops, SECOND, numbers};
use larder_cache::{LoadError, Loaded, key_template};

#[tokio::test]
async fn a_function_is_called_once_for_each_argument() {
    let (cache, _) = numbers().await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let double = cache.memoise(
        |n: &u32| format!("double:{n}"),
        move |n: u32| {
            counted.fetch_add(1, SeqCst);
            async move { n * 2 }
        },
    );
    for _ in 0..3 {
        assert_eq!(double.call(4).run().await.unwrap(), 8);
        assert_eq!(double.call(5).run().await.unwrap(), 10);
    }
    assert_eq!(calls.load(SeqCst), 2);
    assert_eq!(double.call(4).bypass(true).run().await.unwrap(), 8);
    assert_eq!(calls.load(SeqCst), 3);
    assert_eq!(double.call(4).key("mine").run().await.unwrap(), 8);
    assert_eq!(calls.load(SeqCst), 4);
    assert_eq!(cache.get_value("mine").await.unwrap(), Some(8));
    cache.delete(&double.key_for(&4)).await.unwrap();
    double.call(4).run().await.unwrap();
    assert_eq!(calls.load(SeqCst), 5);
}

#[tokio::test]
async fn a_function_may_fail_and_say_how_long_its_value_lives() {
    let (cache, clock) = numbers().await;
    let odd = cache.memoise(
        |(n, _): &(u32, &str)| format!("odd:{n}"),
        async |(n, _): (u32, &'static str)| {
            if n % 2 == 1 { Ok(Loaded::new(n).ttl(SECOND)) } else { Err(Oops(n)) }
        },
    );
    assert_eq!(odd.call((3, "x")).try_run().await.unwrap(), 3);
    let error = odd.call((4, "x")).try_run().await.unwrap_err();
    assert!(matches!(error, LoadError::Load(oops) if *oops == Oops(4)));
    assert!(odd.call((4, "x")).bypass(true).try_run().await.is_err());
    assert_eq!(cache.get_value("odd:3").await.unwrap(), Some(3));
    clock.advance(SECOND);
    assert_eq!(cache.get_value("odd:3").await.unwrap(), None);
}

#[test]
fn templates() {
    assert_eq!(key_template("{0}{1}{0}", &[&1, &"é"]), "1é1");
    assert_eq!(key_template("{", &[&1]), "{");
    assert_eq!(key_template("}{0", &[&1]), "}{0");
    assert_eq!(key_template("{}{x}{9}{-1}", &[&1]), "{}{x}{9}{-1}");
    assert_eq!(key_template("{{{0}}}", &[&1]), "{1}");
    assert_eq!(key_template("", &[]), "");
    assert_eq!(key_template("{0}", &[&"{0}"]), "{0}");
}
