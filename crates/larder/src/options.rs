use std::time::Duration;

use crate::percent;
use crate::{Durability, Error, ErrorKind, Result};

/// The query parameters of a store URL.
///
/// A backend takes those that it knows by name; [`finish`](Self::finish) refuses what is left and
/// names what was asked for, so that the list of known options cannot go stale.
#[derive(Debug)]
pub(crate) struct Options {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Options {
    /// Splits `a=1&b=2`; an option without a value is refused.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self> {
        let mut given = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(invalid(format!("the option {} has no value", shown(pair))));
            };
            given.push((percent::decode_text(name)?, percent::decode_text(value)?));
        }
        Ok(Self { given, known: Vec::new() })
    }

    /// Every value of an option that may be repeated, in the order given.
    pub(crate) fn take_all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (taken, rest) =
            std::mem::take(&mut self.given).into_iter().partition(|(given, _)| given == name);
        self.given = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of an option.
    pub(crate) fn take(&mut self, name: &'static str) -> Result<Option<String>> {
        let mut values = self.take_all(name);
        if values.len() > 1 {
            return Err(invalid(format!("the option `{name}` is given {} times", values.len())));
        }
        Ok(values.pop())
    }

    /// The value of an option that is one of `values`.
    pub(crate) fn take_one_of<T: Copy>(
        &mut self,
        name: &'static str,
        values: &[(&'static str, T)],
    ) -> Result<Option<T>> {
        let Some(given) = self.take(name)? else { return Ok(None) };
        let found = values.iter().find(|(text, _)| *text == given);
        found.map(|(_, value)| Some(*value)).ok_or_else(|| {
            let known: Vec<&str> = values.iter().map(|(text, _)| *text).collect();
            bad_value(name, &format!("one of {}", known.join(", ")))
        })
    }

    /// The option `durability`.
    pub(crate) fn take_durability(&mut self) -> Result<Option<Durability>> {
        self.take_one_of(
            "durability",
            &[
                ("volatile", Durability::Volatile),
                ("process-crash", Durability::ProcessCrash),
                ("power-loss", Durability::PowerLoss),
            ],
        )
    }

    /// An option that is `true` or `false`.
    pub(crate) fn take_bool(&mut self, name: &'static str) -> Result<Option<bool>> {
        self.take_one_of(name, &[("true", true), ("false", false)])
    }

    /// An option that is a whole number.
    pub(crate) fn take_number<T: std::str::FromStr>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>> {
        let Some(given) = self.take(name)? else { return Ok(None) };
        given.parse().map(Some).map_err(|_| bad_value(name, "a whole number"))
    }

    /// An option that is a duration.
    pub(crate) fn take_duration(&mut self, name: &'static str) -> Result<Option<Duration>> {
        let Some(given) = self.take(name)? else { return Ok(None) };
        duration(&given)
            .map(Some)
            .ok_or_else(|| bad_value(name, "a duration, such as 250ms, 5s or 1m30s"))
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<()> {
        let Some((name, _)) = self.given.first() else { return Ok(()) };
        let known = self.known.join(", ");
        Err(invalid(format!("unknown option {}; known are {known}", shown(name))))
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

fn bad_value(name: &str, wanted: &str) -> Error {
    invalid(format!("the option `{name}` has to be {wanted}"))
}

/// An option's name, unless it does not look like one: then it may be a piece of a secret.
fn shown(name: &str) -> String {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-';
    if name.len() <= 32 && name.bytes().all(is_name) {
        format!("`{name}`")
    } else {
        "(not a name)".to_owned()
    }
}

/// Seconds, or whole numbers with units: `ms`, `s`, `m`, `h`, `d`.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let millis = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        rest = &rest[letters..];
        sum = sum.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        assert_eq!(duration("5"), Some(Duration::from_secs(5)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("2d1h"), Some(Duration::from_secs(176_400)));
        for bad in
            ["", "s", "5x", "1.5", "-1", "5 s", "99999999999999999999", "999999999999999999d"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_left_over_is_refused_with_the_names_known() {
        let mut options = Options::parse(Some("durability=volatile&colour=red")).unwrap();
        assert_eq!(options.take_durability().unwrap(), Some(Durability::Volatile));
        assert_eq!(options.take("ca").unwrap(), None);
        let error = options.finish().unwrap_err().to_string();
        assert!(error.contains("unknown option `colour`; known are durability, ca"), "{error}");
    }

    #[test]
    fn repeated_and_bad_values_are_refused() {
        let mut options = Options::parse(Some("a=1&a=2&durability=forever")).unwrap();
        assert!(options.take("a").unwrap_err().to_string().contains("2 times"));
        let error = options.take_durability().unwrap_err().to_string();
        assert!(error.contains("one of volatile, process-crash, power-loss"), "{error}");
    }

    #[test]
    fn a_strange_name_is_not_shown() {
        for query in ["Hunter2=1", "Hunter2", "x%40Hunter2=3"] {
            let error = match Options::parse(Some(query)) {
                Ok(options) => options.finish().unwrap_err(),
                Err(error) => error,
            };
            assert!(!format!("{error:?}").contains("Hunter2"));
        }
    }
}
