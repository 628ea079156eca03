use std::io::{BufWriter, ErrorKind, Stdout, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use larder::{Error, ExpiresIn};
use serde::{Serialize, Serializer};

use crate::durations;
use crate::exit::{Failure, Outcome};

/// Standard output, buffered; a reader that has gone is told from a real failure.
pub(crate) struct Output(BufWriter<Stdout>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 * 1024, std::io::stdout()))
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.0.write_all(bytes).map_err(failed)
    }

    /// Writes text and a line feed.
    pub(crate) fn line(&mut self, text: &str) -> Outcome {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes one JSON object on a line.
    pub(crate) fn json(&mut self, object: &impl Serialize) -> Outcome {
        self.bytes(&json_line(object)?)
    }

    /// Hands over what is buffered.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.0.flush().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::ClosedPipe;
    }
    Error::from_io(error).with_operation("write to standard output").into()
}

/// An object as one line of JSON.
pub(crate) fn json_line(object: &impl Serialize) -> Outcome<Vec<u8>> {
    let mut line = serde_json::to_vec(object).map_err(|error| Error::from_io(error.into()))?;
    line.push(b'\n');
    Ok(line)
}

/// A key as `--json` shows it; what was not asked for is left out.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) key: &'a str,
    #[serde(flatten)]
    pub(crate) value: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in_ms: Option<Life>,
}

impl<'a> Record<'a> {
    pub(crate) fn new(key: &'a str) -> Self {
        Self { key, value: None, expires_in_ms: None }
    }

    pub(crate) fn with_value(mut self, bytes: &'a [u8]) -> Self {
        self.value = Some(Value::of(bytes));
        self
    }

    pub(crate) fn with_life(mut self, life: ExpiresIn) -> Self {
        self.expires_in_ms = Some(Life(life));
        self
    }
}

/// A value as text where it is UTF-8, else in base64.
#[derive(Debug, Serialize)]
pub(crate) struct Value<'a> {
    value: std::borrow::Cow<'a, str>,
    encoding: &'static str,
}

impl<'a> Value<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { value: text.into(), encoding: "utf8" },
            Err(_) => Self { value: STANDARD.encode(bytes).into(), encoding: "base64" },
        }
    }
}

/// A remaining life in milliseconds, or null for a key that never expires.
#[derive(Debug)]
pub(crate) struct Life(ExpiresIn);

impl Serialize for Life {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_duration() {
            Some(left) => serializer.serialize_u64(durations::millis(left)),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(record: &Record<'_>) -> String {
        String::from_utf8(json_line(record).unwrap()).unwrap()
    }

    #[test]
    fn records_hold_what_was_asked_for() {
        assert_eq!(text(&Record::new("a\n")), "{\"key\":\"a\\n\"}\n");
        let full = Record::new("k").with_value(b"v").with_life(ExpiresIn::Never);
        let line = r#"{"key":"k","value":"v","encoding":"utf8","expires_in_ms":null}"#;
        assert_eq!(text(&full).trim_end(), line);
        let left = ExpiresIn::In(Duration::from_nanos(1));
        let binary = Record::new("k").with_value(b"\xff\x00").with_life(left);
        let line = r#"{"key":"k","value":"/wA=","encoding":"base64","expires_in_ms":1}"#;
        assert_eq!(text(&binary).trim_end(), line);
    }
}
