use std::time::Duration;

use larder::{ExpiresIn, Expiry};

/// Reads a duration: `1h30m`, `90s`, `250ms`, or a bare number of seconds, which may have a
/// fraction. Zero is taken: what lives for no time is gone at once (`E2`).
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err("a duration is not negative".to_owned());
    }
    seconds(text).unwrap_or_else(|| {
        humantime::parse_duration(text)
            .map_err(|_| "not a duration: write 1h30m, 90s, 250ms, or seconds".to_owned())
    })
}

/// Reads a duration or `never`.
pub(crate) fn parse_or_never(text: &str) -> Result<Expiry, String> {
    if text == "never" { Ok(Expiry::Never) } else { parse(text).map(Expiry::After) }
}

/// A bare number of seconds, to the nanosecond; what is finer rounds up. `None` for other text.
fn seconds(text: &str) -> Option<Result<Duration, String>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let Ok(seconds) = whole.parse() else { return Some(Err("the number is too large".to_owned())) };
    let kept = &fraction[..fraction.len().min(9)];
    let nanos: u32 = format!("{kept:0<9}").parse().unwrap_or(0);
    let finer = fraction[kept.len()..].bytes().any(|byte| byte != b'0');
    Some(Ok(Duration::new(seconds, nanos).saturating_add(Duration::from_nanos(finer.into()))))
}

/// A remaining life as this command reads it back: `1h29m58s`, rounded up to the second, or to the
/// millisecond in the last minute.
pub(crate) fn format(duration: Duration) -> String {
    let millis = millis(duration);
    let seconds = millis.div_ceil(1_000);
    if millis < 60_000 {
        return match (millis / 1_000, millis % 1_000) {
            (0, millis) => format!("{millis}ms"),
            (seconds, 0) => format!("{seconds}s"),
            (seconds, millis) => format!("{seconds}s{millis}ms"),
        };
    }
    let mut out = String::new();
    let mut rest = seconds;
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length {
            out.push_str(&(rest / length).to_string());
            out.push_str(unit);
            rest %= length;
        }
    }
    out
}

/// What remains, or `never`.
pub(crate) fn format_life(life: ExpiresIn) -> String {
    life.as_duration().map_or_else(|| "never".to_owned(), format)
}

/// Whole milliseconds, rounded up, so that a live key never shows zero.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_are_seconds() {
        assert_eq!(parse("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1.5"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse("0.0000000001"), Ok(Duration::from_nanos(1)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("2days 1h"), Ok(Duration::from_secs(176_400)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "-1", "-1h", "-0", "1.", ".5", "soon", "1e3", "5 x"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for zero in ["0", "0.0", "0s"] {
            assert_eq!(parse(zero), Ok(Duration::ZERO));
        }
        assert!(parse("99999999999999999999").is_err());
        assert_eq!(parse_or_never("never"), Ok(Expiry::Never));
    }

    #[test]
    fn a_life_is_rounded_up_and_reads_back() {
        for (life, text) in [
            (Duration::from_nanos(1), "1ms"),
            (Duration::from_millis(1_500), "1s500ms"),
            (Duration::from_millis(59_999), "59s999ms"),
            (Duration::from_micros(59_999_001), "1m"),
            (Duration::from_millis(60_001), "1m1s"),
            (Duration::from_secs(5_400), "1h30m"),
            (Duration::from_secs(86_400 * 400 + 3), "400d3s"),
        ] {
            assert_eq!(format(life), text);
            assert!(parse(text).unwrap() >= life);
        }
        assert_eq!(format_life(ExpiresIn::Never), "never");
    }
}
