//! As much of Markdown as its links need.

use std::collections::{BTreeMap, BTreeSet};

/// The links of a document and what they can lead to in it.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Targets within the repository, as written; the web's are left out, and so are empty ones.
    pub(crate) links: Vec<String>,
    /// What may stand after `#`.
    pub(crate) anchors: BTreeSet<String>,
}

impl Document {
    pub(crate) fn read(text: &str) -> Self {
        let mut document = Self::default();
        let mut seen = BTreeMap::<String, u32>::new();
        let mut fence: Option<&str> = None;
        for line in text.lines() {
            let trimmed = line.trim_start();
            let marker = ["```", "~~~"].into_iter().find(|marker| trimmed.starts_with(marker));
            match (fence, marker) {
                (None, Some(marker)) => fence = Some(marker),
                (Some(open), Some(marker)) if open == marker => fence = None,
                (None, None) => document.read_line(trimmed, &mut seen),
                _ => {}
            }
        }
        document
    }

    fn read_line(&mut self, line: &str, seen: &mut BTreeMap<String, u32>) {
        if let Some(heading) = heading(line) {
            let slug = slug(heading);
            let times = seen.entry(slug.clone()).or_default();
            self.anchors.insert(if *times == 0 { slug } else { format!("{slug}-{times}") });
            *times += 1;
        }
        let line = without_code(line);
        for marker in ["id=\"", "name=\""] {
            self.anchors.extend(
                line.split(marker)
                    .skip(1)
                    .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
            );
        }
        let inline = line.match_indices("](").filter_map(|(at, _)| target(&line[at + 2..]));
        let defined = line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]:"))
            .filter(|(label, _)| !label.starts_with('^') && !label.contains(']'))
            .and_then(|(_, rest)| rest.split_whitespace().next());
        let ours =
            |link: &&str| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:");
        self.links.extend(inline.chain(defined).filter(ours).map(str::to_owned));
    }
}

/// The text of a heading's line.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level) && text.starts_with([' ', '\t'])).then(|| text.trim())
}

/// The anchor that GitHub and mdBook give a heading.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept =
        kept.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

/// The line with its code spans blanked, as nothing in them is a link.
fn without_code(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let opened = &rest[start..];
        let ticks = opened.len() - opened.trim_start_matches('`').len();
        let after = &opened[ticks..];
        kept.push_str(&rest[..start]);
        match after.find(&opened[..ticks]) {
            Some(end) => {
                kept.push('`');
                rest = &after[end + ticks..];
            }
            None => rest = after,
        }
    }
    kept + rest
}

/// The target at the beginning of what follows `](`: up to the closing parenthesis or the title.
fn target(text: &str) -> Option<&str> {
    if let Some(bracketed) = text.strip_prefix('<') {
        return Some(bracketed.split_once('>')?.0);
    }
    let mut depth = 0;
    let end = text.find(|char: char| {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth < 0 || char.is_whitespace()
    })?;
    Some(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found() {
        let text = "\
[a](a.md) and ![b](b.png \"title\") and [c](<c d.md>) and [d](d(1).md) [e]() [f](https://x.org/y)
`[code](no.md)` ``[`](no.md)`` ` [g](g.md)
[h]: h.md \"title\"
[^1]: note
- [i [j]](i.md#x)
```text
[code](no.md)
~~~
[code](no.md)
```
[k](mailto:x@example.org)
";
        let links = Document::read(text).links;
        assert_eq!(links, ["a.md", "b.png", "c d.md", "d(1).md", "g.md", "h.md", "i.md#x"]);
    }

    #[test]
    fn anchors_are_found() {
        let text = "\
# A `b` (c): d_e-f
## Same
### Same
#no
<a id=\"x\"></a>
```sh
# not this
```
";
        let anchors = Document::read(text).anchors;
        assert_eq!(
            anchors.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a-b-c-d_e-f", "same", "same-1", "x"]
        );
    }
}
