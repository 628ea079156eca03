use std::fmt::Write as _;

use crate::report::Tally;
use crate::table::first_promise;
use crate::{Failure, Level, Matrix, Outcome, Report};

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Larder conformance</title>
<style>
:root { --ink: #1d2329; --soft: #66707a; --line: #dfe3e8; --paper: #fff; --wash: #f6f8fa;
  --good: #1a7f4b; --good-wash: #e3f5ea; --bad: #b42318; --bad-wash: #fdecea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #98a2ad; --line: #313a44;
  --paper: #12171c; --wash: #1a2129; --good: #5ad08e; --good-wash: #15301f; --bad: #ff8a7d;
  --bad-wash: #3a1a17; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p { color: var(--soft); margin: 0 0 1.5rem; max-width: 46rem; }
.table { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .45rem .8rem; border-top: 1px solid var(--line);
  vertical-align: baseline; }
thead th { border-top: 0; background: var(--wash); font-size: .85rem; white-space: nowrap; }
tbody th { font-weight: 600; width: 3.5rem; }
td.promise { color: var(--soft); font-size: .88rem; }
.cell { display: inline-block; min-width: 4.2rem; text-align: center; border-radius: 1rem;
  padding: .05rem .6rem; font-size: .85rem; white-space: nowrap; }
.ok { color: var(--good); background: var(--good-wash); }
.fail { color: var(--bad); background: var(--bad-wash); font-weight: 600; }
.none { color: var(--soft); }
details { border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: .5rem;
  margin: .6rem 0; padding: .6rem .9rem; }
details.skips { border-left-color: var(--line); }
summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: 6rem 1fr; gap: .25rem .75rem; margin: .75rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
pre { background: var(--wash); border-radius: .4rem; padding: .7rem .9rem; margin: .5rem 0 0;
  overflow-x: auto; font-size: .85rem; }
</style>
</head>
<body>
"#;

/// The reports as one page that needs nothing else.
pub(crate) fn page(matrix: &Matrix) -> String {
    let mut out = String::from(HEAD);
    out.push_str("<h1>Larder conformance</h1>\n<p>Each rule of the contract, and how every backend \
        fared: the number of cases that passed, counted once in each position (on the root, inside a \
        namespace, behind a layer).</p>\n");
    head_row(&mut out, matrix, "Level", "What it stands for");
    let tried = |level: &Level| {
        matrix
            .reports()
            .iter()
            .any(|report| report.cases().iter().any(|it| it.case.level() == *level))
    };
    for level in Level::ALL.into_iter().filter(tried) {
        row(&mut out, level.as_str(), meaning(level));
        for report in matrix.reports() {
            let tally = report.levels().into_iter().find(|(of, _)| *of == level);
            cell(&mut out, tally.map(|(_, tally)| tally).unwrap_or_default());
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out.push_str("<h2>Rule by rule</h2>\n");
    head_row(&mut out, matrix, "Rule", "For example");
    for (rule, tallies) in matrix.rows() {
        row(&mut out, rule, first_promise(rule));
        for tally in tallies {
            cell(&mut out, tally);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    for report in matrix.reports() {
        backend(&mut out, report);
    }
    out.push_str("</body>\n</html>\n");
    out
}

const fn meaning(level: Level) -> &'static str {
    match level {
        Level::Core => "Values, keys, expiry, bulk calls, errors, closing.",
        Level::Namespaced => "Namespaces and listing.",
        Level::Atomic => "Conditions, versions, counters.",
        Level::Durable => "What outlives the process.",
        Level::Cache => "Larder's caching layer over it.",
    }
}

fn head_row(out: &mut String, matrix: &Matrix, first: &str, second: &str) {
    let _ = write!(out, "<div class=\"table\"><table><thead><tr><th>{first}</th><th>{second}</th>");
    for report in matrix.reports() {
        let _ = write!(out, "<th>{}</th>", escape(report.backend()));
    }
    out.push_str("</tr></thead><tbody>\n");
}

fn row(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, "<tr><th>{}</th><td class=\"promise\">{}</td>", escape(name), escape(text));
}

fn cell(out: &mut String, tally: Tally) {
    let (class, text) = match tally {
        Tally { failed: 1.., .. } => {
            ("fail", format!("{} of {} failed", tally.failed, tally.passed + tally.failed))
        }
        Tally { passed: 1.., .. } => ("ok", format!("✓ {}", tally.passed)),
        Tally { skipped: 1.., .. } => ("none", "skipped".to_owned()),
        Tally { .. } => ("none", "–".to_owned()),
    };
    let _ = write!(out, "<td><span class=\"cell {class}\">{text}</span></td>");
}

fn backend(out: &mut String, report: &Report) {
    let Tally { passed, failed, skipped } = report.tally();
    let _ = writeln!(
        out,
        "<h2>{}</h2>\n<p>{passed} passed, {failed} failed, {skipped} skipped.</p>",
        escape(report.backend())
    );
    report.failures().for_each(|failed| failure(out, failed));
    let mut skips: Vec<(&str, &str)> = report
        .cases()
        .iter()
        .filter_map(|case| match &case.outcome {
            Outcome::Skipped(reason) => Some((case.case.name, reason.as_str())),
            _ => None,
        })
        .collect();
    skips.sort_unstable();
    skips.dedup();
    if skips.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "<details class=\"skips\"><summary>{} cases do not apply</summary><pre>",
        skips.len()
    );
    for (name, reason) in skips {
        let _ = writeln!(out, "{}: {}", escape(name), escape(reason));
    }
    out.push_str("</pre></details>\n");
}

fn failure(out: &mut String, failure: &Failure) {
    let Failure { case, variant, seen, operations } = failure;
    let _ = write!(
        out,
        "<details open><summary>{} {variant}::{}</summary><dl><dt>promised</dt><dd>{}</dd><dt>seen\
         </dt><dd>{}</dd></dl>",
        case.rules.join(" "),
        case.name,
        escape(case.promise),
        escape(seen)
    );
    if !operations.is_empty() {
        let _ = write!(out, "<pre>{}</pre>", escape(&operations.join("\n")));
    }
    out.push_str("</details>\n");
}

/// Text that stands for itself: markup, and what only some terminals and browsers act on.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            other if other.is_control() => out.extend(other.escape_default()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escape("<b a=\"1\">&\u{1b}"), "&lt;b a=&quot;1&quot;&gt;&amp;\\u{1b}");
    }
}
