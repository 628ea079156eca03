use larder_conformance::CheckOptions;

use crate::{odd, planted};

/// Asserts that the named case fails on a planted store and passes on its honest base.
///
/// # Panics
/// When it is not so.
#[track_caller]
pub fn assert_caught(name: &str) {
    let all = planted();
    let planted = all.iter().find(|planted| planted.name == name);
    let planted = planted.unwrap_or_else(|| panic!("nothing is planted as {name}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime could be built: {error}"));
    let named = runtime.block_on(planted.run_named_case());
    if let Some(complaint) = named.complaint {
        panic!("{} complains of the honest store:\n{complaint}", planted.caught_by);
    }
    assert!(named.seen.is_some(), "{} does not see that: {}", planted.caught_by, planted.bug);
}

/// Runs the whole suite on every planted and odd store whose name contains `filter`, and prints a
/// table of bugs and the first cases that caught them; gives the number of bugs that the case named
/// for them did not catch, and of odd stores that some case complained of.
pub async fn prove_suite(filter: &str, print: impl Fn(&str)) -> usize {
    let mut wrong = 0;
    for planted in planted().iter().filter(|planted| planted.name.contains(filter)) {
        let proof = planted.prove().await;
        let named = proof.caught_by.contains(&planted.caught_by);
        let found = match proof.caught_by.first() {
            None => "SURVIVES".to_owned(),
            Some(first) if named => format!("{first} ({} in all)", proof.caught_by.len()),
            Some(first) => format!("{first}, NOT {}", planted.caught_by),
        };
        wrong += usize::from(!named);
        print(&format!("{:<13}{:<35} {found}", planted.class, planted.name));
    }
    for odd in odd().iter().filter(|odd| odd.name.contains(filter)) {
        let report = odd.check(CheckOptions::default()).await;
        let tally = report.tally();
        let mut line = match report.failures().next() {
            None => format!("{} passed, {} do not apply", tally.passed, tally.skipped),
            Some(failure) => format!("COMPLAINTS: {}, the first one\n{failure}", tally.failed),
        };
        wrong += usize::from(!report.is_ok());
        line.insert_str(0, &format!("{:<13}{:<35} ", "odd", odd.name));
        print(&line);
    }
    wrong
}
