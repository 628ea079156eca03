//! A bar for each contender's figure, as SVG.

use std::fmt::Write as _;

use super::row::{Area, Row};

const WIDTH: f64 = 860.0;
/// Where the bars begin, and how long the longest is.
const LEFT: f64 = 250.0;
const LONGEST: f64 = 460.0;
const BAR: f64 = 16.0;
const GAP: f64 = 6.0;

const STYLE: &str = "text { font: 13px system-ui, sans-serif; fill: #1d2329 } .work { font-weight: 600 } \
    .ours { fill: #1a7f4b } .other { fill: #9aa5b1 } .back { fill: #fff } \
    @media (prefers-color-scheme: dark) { text { fill: #e6e9ec } .back { fill: #12171c } \
    .ours { fill: #5ad08e } .other { fill: #5b6672 } }";

/// One group of bars for each row; within a row, the longest bar is the largest figure.
pub(crate) fn of(area: &Area) -> String {
    let mut body = String::new();
    let mut y = 12.0;
    for row in &area.rows {
        y = group(&mut body, row, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         height=\"{y}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{y}\"/>\n{body}</svg>\n",
        escaped(&area.about)
    )
}

fn group(body: &mut String, row: &Row, mut y: f64) -> f64 {
    let largest = row.entries.iter().map(|entry| entry.figure).fold(f64::MIN_POSITIVE, f64::max);
    let _ = writeln!(
        body,
        "<text class=\"work\" x=\"12\" y=\"{}\">{}</text>",
        y + BAR,
        escaped(&row.work)
    );
    y += BAR + 2.0 * GAP;
    for entry in &row.entries {
        let length = (entry.figure / largest * LONGEST).max(1.0);
        let class = if entry.ours { "ours" } else { "other" };
        let middle = y + BAR - 3.0;
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"3\"/>\
             <text x=\"{:.1}\" y=\"{middle}\">{}</text>",
            LEFT - 8.0,
            escaped(&entry.name),
            LEFT + length + 8.0,
            row.unit.show(entry.figure)
        );
        y += BAR + GAP;
    }
    y + 2.0 * GAP
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::AREA;

    #[test]
    fn the_longest_bar_is_the_largest_figure() {
        let chart = of(&Area::read(AREA).unwrap());
        assert!(chart.contains("class=\"ours\" x=\"250\" y=\"40\" width=\"460.0\""), "{chart}");
        assert!(chart.contains("width=\"230.0\""));
        assert!(chart.contains("peer &lt;1&gt;"));
    }
}
