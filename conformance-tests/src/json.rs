use std::fmt::Write as _;

use crate::report::Tally;
use crate::{CaseReport, Failure, Outcome, Report};

pub(crate) fn report(report: &Report) -> String {
    let Tally { passed, failed, skipped } = report.tally();
    object(&[
        ("backend", string(report.backend())),
        ("passed", passed.to_string()),
        ("failed", failed.to_string()),
        ("skipped", skipped.to_string()),
        ("cases", list(report.cases().iter().map(case))),
    ])
}

fn case(report: &CaseReport) -> String {
    let mut fields = vec![
        ("case", string(report.case.name)),
        ("position", string(report.variant.as_str())),
        ("rules", list(report.case.rules.iter().map(|rule| string(rule)))),
        ("promise", string(report.case.promise)),
        ("elapsed_ms", report.elapsed.as_millis().to_string()),
    ];
    match &report.outcome {
        Outcome::Passed => fields.push(("outcome", string("passed"))),
        Outcome::Skipped(reason) => {
            fields.push(("outcome", string("skipped")));
            fields.push(("reason", string(reason)));
        }
        Outcome::Failed(failures) => {
            fields.push(("outcome", string("failed")));
            fields.push(("failures", list(failures.iter().map(failure))));
        }
    }
    object(&fields)
}

fn failure(failure: &Failure) -> String {
    object(&[
        ("seen", string(&failure.seen)),
        ("operations", list(failure.operations.iter().map(|line| string(line)))),
    ])
}

pub(crate) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", string(name))).collect();
    format!("{{{}}}", fields.join(","))
}

fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control < ' ' || control == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(string("a\"b\\\n\u{1}é"), r#""a\"b\\\n\u0001é""#);
        let fields = [("a", list(["1".into(), "2".into()])), ("b", string(""))];
        assert_eq!(object(&fields), r#"{"a":[1,2],"b":""}"#);
    }
}
