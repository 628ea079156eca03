use crate::{Error, ErrorKind, Result};

/// Replaces each `%` and two hexadecimal digits by the byte that they name.
///
/// The error does not show the text, which may be a secret.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let decoded =
            digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        out.push(decoded.ok_or_else(|| {
            let text = "a % is not followed by two hexadecimal digits (write %25 for the sign)";
            Error::new(ErrorKind::InvalidConfig, text)
        })?);
    }
    Ok(out)
}

/// As [`decode`], for what has to be text.
pub(crate) fn decode_text(text: &str) -> Result<String> {
    String::from_utf8(decode(text)?)
        .map_err(|_| Error::new(ErrorKind::InvalidConfig, "percent-encoded text is not UTF-8"))
}

/// Replaces everything but letters and digits, so that any reader of URLs gives back the text.
#[cfg(feature = "redis")]
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write;

    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            // Writing to memory cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "redis")]
    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(encode("a/b+ é%"), "a%2Fb%2B%20%C3%A9%25");
        assert_eq!(decode_text(&encode("a/b+ é%")).unwrap(), "a/b+ é%");
    }

    #[test]
    fn bytes_are_decoded_once() {
        assert_eq!(decode("a%2Fb%252F+é").unwrap(), "a/b%2F+é".as_bytes());
        assert_eq!(decode("%00%ff").unwrap(), [0, 255]);
        assert!(decode_text("%ff").is_err());
    }

    #[test]
    fn half_an_escape_is_refused_and_not_shown() {
        for text in ["%", "hunter2%2", "%zz", "%2g", "%é1"] {
            let error = decode(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
