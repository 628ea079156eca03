//! The tables of `docs/performance`.

use std::fmt::Write as _;

use super::row::{Area, Row, Target};

const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->";

/// The page with the tables in their place.
pub(crate) fn with(page: &str, tables: &str) -> Option<String> {
    let begin = page.find(BEGIN)? + BEGIN.len();
    let end = begin + page[begin..].find(END)?;
    Some(format!("{}{tables}{}", &page[..begin], &page[end..]))
}

/// One area's part of the page.
pub(crate) fn part(area: &Area) -> String {
    let mut out = format!("\n## {}\n\n![{}]({}.svg)\n\n", area.about, area.about, area.name);
    out.push_str("| Work | Who | Median | Larder is so many times as good | Aim |\n");
    out.push_str("| --- | --- | ---: | ---: | --- |\n");
    for row in &area.rows {
        for (index, entry) in row.entries.iter().enumerate() {
            let work = if index == 0 { row.work.as_str() } else { "" };
            let ratio = entry.ratio.map_or(String::new(), |[low, median, high]| {
                format!("**{median:.2}** ({low:.2} – {high:.2})")
            });
            let aims = row.targets.iter().filter(|target| match target {
                Target::Times { than, .. } | Target::Above { than, .. } => *than == entry.name,
                Target::AtMost(_) => index == 0,
            });
            let aims: Vec<String> = aims.map(|target| aim(row, target)).collect();
            let figure = row.unit.show(entry.figure);
            let _ = writeln!(
                out,
                "| {work} | {} | {figure} | {ratio} | {} |",
                entry.name,
                aims.join("; ")
            );
        }
    }
    let _ = writeln!(out, "\n`{}` at commit `{}`; {}.", area.command, area.commit, area.machine);
    out
}

fn aim(row: &Row, target: &Target) -> String {
    let text = match target {
        Target::Times { at_least, .. } => format!("{at_least:.2} or more"),
        Target::AtMost(most) => format!("at most {}", row.unit.show(*most)),
        Target::Above { than, at_most } => {
            let show = |figure| row.unit.show(figure);
            let more = row.above(than).map_or(String::new(), |[low, median, high]| {
                format!("**{} more** ({} – {}) for ", show(median), show(low), show(high))
            });
            format!("{more}{} or less", show(*at_most))
        }
    };
    let reached = if row.reaches(target) { "reached" } else { "**not reached**" };
    format!("{text}: {reached}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::AREA;

    #[test]
    fn what_falls_short_is_said() {
        let part = part(&Area::read(AREA).unwrap());
        assert!(part.contains("| get | Larder | 2.00 M/s |  | at most 1 /s: **not reached** |"));
        assert!(part.contains("**2.00** (1.50 – 2.50) | 1.50 or more: reached |"), "{part}");
    }

    #[test]
    fn a_difference_is_shown_with_its_spread() {
        let row = &Area::read(AREA).unwrap().rows[0];
        let target = Target::Above { than: "peer <1>".to_owned(), at_most: 8e5 };
        let text = aim(row, &target);
        assert_eq!(
            text,
            "**900.0 k/s more** (800.0 k/s – 2.00 M/s) for 800.0 k/s or less: **not reached**"
        );
    }

    #[test]
    fn only_the_tables_are_replaced() {
        let page = format!("before\n{BEGIN}old\n{END}\nafter\n");
        assert_eq!(with(&page, "new\n"), Some(format!("before\n{BEGIN}new\n{END}\nafter\n")));
        assert_eq!(with("no place", "new"), None);
    }
}
