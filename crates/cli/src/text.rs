use std::borrow::Cow;

/// A key or name as a listing shows it: one line, harmless to a terminal, and told apart from any
/// other.
///
/// Control characters and those that reorder or hide text are escaped as Rust writes them; so is the
/// backslash.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let needs = |character: char| character == '\\' || is_unsafe(character);
    if text.contains(needs) { Cow::Owned(escaped(text, needs)) } else { Cow::Borrowed(text) }
}

/// A message, whose backslashes are its own affair, on one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(is_unsafe) {
        Cow::Owned(escaped(text, is_unsafe))
    } else {
        Cow::Borrowed(text)
    }
}

fn escaped(text: &str, needs: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if needs(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// A count with its noun: `1 key`, `2 keys`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", grouped(number)) }
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes for people.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return count(number, "byte");
    }
    // Tenths, so that no float is needed.
    let mut tenths = u128::from(number) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_one_line_and_unambiguous() {
        assert_eq!(escape("a b/é🦀'\""), "a b/é🦀'\"");
        assert_eq!(escape("a\nb\t\u{1b}[0m\u{7f}"), r"a\nb\t\u{1b}[0m\u{7f}");
        assert_ne!(escape("a\nb"), escape(r"a\nb"));
        assert_eq!(escape("\u{202e}\u{85}\0"), r"\u{202e}\u{85}\u{0}");
        assert_eq!(one_line("a\\b\n"), "a\\b\\n");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(1, "key"), "1 key");
        assert_eq!(count(1_234_567, "key"), "1,234,567 keys");
        assert_eq!(bytes(1023), "1,023 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(512 << 20), "512.0 MiB");
    }
}
