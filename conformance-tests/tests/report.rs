//! What a report says of stores that fail, panic and hang.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod reference;

use std::time::Duration;

use larder_conformance::{
    CheckOptions, Fixture, Harness, Level, Matrix, Outcome, Report, Variant, check_with,
};
use larder_core::{
    Cursor, DeleteOptions, ListPage, ManualClock, Result, Store, async_trait, forward_store,
};
use reference::{Reference, everything};

/// How a store is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Panics,
    Hangs,
    Blocks,
    Forgets,
    Rescans,
}

#[derive(Debug, Clone)]
struct Broken(Reference, Fault);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Broken {
    forward_store!(0: get_opts, set_opts, delete_all, capabilities, exists, expires_in, get_many,
        set_many, delete_many, update_expiry, list_child_namespaces, delete_prefix,
        delete_expired, flush, ping, close);

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        match self.1 {
            Fault::Panics => panic!("no deletions today"),
            Fault::Hangs => std::future::pending().await,
            Fault::Blocks => loop {
                std::thread::park();
            },
            Fault::Forgets => self.0.delete_opts(key, options).await.map(|_| false),
            Fault::Rescans => self.0.delete_opts(key, options).await,
        }
    }

    async fn list_page(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        if self.1 == Fault::Rescans {
            self.0.list_page(prefix, None, usize::MAX).await?;
        }
        self.0.list_page(prefix, cursor, limit).await
    }
}

#[derive(Clone)]
struct Faulty(Fault);

#[async_trait]
impl Harness for Faulty {
    async fn open(&self) -> Result<Fixture> {
        let clock = ManualClock::new();
        let store = Broken(Reference::new(everything(), clock.clone()), self.0);
        Ok(Fixture::flat(store).with_clock(clock))
    }

    fn name(&self) -> String {
        format!("{:?}", self.0)
    }

    fn time_limit(&self) -> Duration {
        // Enough for the honest cases on any machine.
        Duration::from_secs(if self.0 == Fault::Rescans { 60 } else { 3 })
    }
}

async fn check_basic(fault: Fault) -> Report {
    let options = CheckOptions::default().with_filter("basic::").with_variants([Variant::Root]);
    check_with(&Faulty(fault), options).await
}

#[tokio::test]
async fn a_broken_promise_is_shown_with_its_operations() {
    let report = check_basic(Fault::Forgets).await;
    assert!(!report.is_ok());
    let failures: Vec<_> = report.failures().collect();
    assert_eq!(failures.len(), 1);
    let text = failures[0].to_string();
    for part in [
        "S2 root::basic::a_delete_tells_whether_the_key_was_live",
        "promised: Deleting a live key gives true and a missing one false.",
        "seen:     delete(\"k\") gave false for a live key",
        "set(\"k\", \"v\") -> Applied",
        "delete(\"k\") -> false",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[tokio::test]
async fn panics_and_hangs_fail_their_case_alone() {
    for (fault, seen) in [
        (Fault::Panics, "a call panicked: no deletions today"),
        (Fault::Hangs, "did not end within 3s"),
        (Fault::Blocks, "did not end within 3s"),
    ] {
        let report = check_basic(fault).await;
        let failures: Vec<_> = report.failures().collect();
        assert_eq!(failures.len(), 1, "{report}");
        assert!(failures[0].seen.contains(seen), "{report}");
        assert!(failures[0].operations.last().unwrap().contains("delete(\"k\")"), "{report}");
        assert!(report.tally().passed >= 6, "{report}");
    }
}

#[tokio::test]
async fn walking_everything_for_each_page_is_seen() {
    let options = CheckOptions::default()
        .with_filter("listing::a_listing_costs")
        .with_variants([Variant::Root]);
    let report = check_with(&Faulty(Fault::Rescans), options).await;
    let seen = report.failures().next().map(|failure| failure.seen.as_str());
    assert!(seen.is_some_and(|seen| seen.contains("4000 keys in pages of 20")), "{report}");
}

#[tokio::test]
async fn reports_stand_side_by_side() {
    let honest = || async {
        let clock = ManualClock::new();
        Fixture::flat(Reference::new(everything(), clock.clone())).with_clock(clock)
    };
    let options = CheckOptions::default().with_filter("::basic::");
    let honest = check_with(&honest, options).await.with_backend("honest<&>");
    assert!(honest.is_ok() && honest.reaches(Level::Core) && !honest.reaches(Level::Durable));
    let matrix: Matrix = [honest, check_basic(Fault::Forgets).await].into_iter().collect();
    assert!(!matrix.is_ok());
    let text = matrix.to_string();
    let row = text.lines().find(|line| line.starts_with("S2 ")).unwrap();
    assert!(row.contains("ok 6") && row.contains("FAIL 1/2"), "{text}");
    assert!(
        text.contains("honest<&>: 24 passed, 0 failed, 0 skipped; keeps the level core"),
        "{text}"
    );
    let html = matrix.to_html();
    assert!(html.contains("<th>honest&lt;&amp;&gt;</th>") && html.contains("1 of 2 failed"));
    let json = matrix.to_json();
    assert!(json.starts_with(r#"[{"backend":"honest<&>","passed":24,"failed":0,"#), "{json}");
    assert!(json.contains(r#""outcome":"failed","failures":[{"seen":"delete(\"k\") gave false"#));
}

#[tokio::test]
async fn what_does_not_apply_says_why() {
    let options = CheckOptions::default().with_filter("root::durability::");
    let report = check_with(&Faulty(Fault::Forgets), options).await;
    assert!(report.is_ok() && report.tally().passed == 0);
    for case in report.cases() {
        assert!(matches!(&case.outcome, Outcome::Skipped(reason) if reason.contains("the ")));
    }
}
