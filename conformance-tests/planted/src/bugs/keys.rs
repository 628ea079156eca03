use larder_core::{
    Bytes, Capabilities, DeleteManyOutcome, Error, ErrorKind, Expiry, Namespace, Result, Store,
    async_trait,
};

use crate::shelf::{Twist, prefix_of};
use crate::tamper::{At, Tamper};

/// Puts another key in the place of the one that is given.
macro_rules! takes_for_another {
    ($($(#[$doc:meta])* $name:ident |$key:ident| $other:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl Twist for $name {
                fn place(&self, namespace: &Namespace, $key: &str) -> String {
                    let other: String = $other;
                    format!("{}:{other}", prefix_of(namespace))
                }
            }
        )+
    };
}

takes_for_another! {
    /// As on a file system that does not tell case.
    FoldsAsciiCase |key| key.to_ascii_lowercase();
    FoldsUnicodeCase |key| if key.is_ascii() { key.to_owned() } else { key.to_lowercase() };
    /// As on a file system that composes what it is given.
    ComposesAccents |key| key.replace("e\u{301}", "é");
    /// As names on Windows.
    TrimsTrailingDots |key| key.trim_end_matches(['.', ' ']).to_owned();
    /// As text that is read as a line.
    TrimsLineEnds |key| key.trim_end_matches(['\r', '\n']).to_owned();
    /// As a C string.
    EndsAtNul |key| key.split('\0').next().unwrap_or_default().to_owned();
    DecodesPercent |key| key.replace("%2F", "/");
    /// As a column of 255 characters.
    CutsAt255 |key| cut(key, 255);
    CutsTheLastByte |key| cut(key, 4_095);
    /// Long keys are kept under the product hash of Java's strings.
    HashesWeakly |key| if key.len() > 1 { format!("#{:08x}", product(key)) } else { key.to_owned() };
    /// Long keys are kept under their beginning and a sum of the rest.
    SumsLongKeys |key| if key.len() > 200 {
        let sum: u32 = key.bytes().map(u32::from).sum();
        format!("{}#{sum}", cut(key, 160))
    } else {
        key.to_owned()
    };
    ComposesSyllables |key| key.replace("\u{1112}\u{1161}\u{11ab}", "한");
    FoldsTheKelvinSign |key| key.replace('\u{212a}', "k");
    DecodesLetters |key| key.replace("%41", "A");
    Backslashes |key| key.replace('\\', "/");
    CollapsesSlashes |key| key.replace("//", "/");
}

fn cut(key: &str, most: usize) -> String {
    key.char_indices()
        .take_while(|(at, character)| at + character.len_utf8() <= most)
        .map(|(_, character)| character)
        .collect()
}

fn product(key: &str) -> u32 {
    key.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// `..` leads to the parent namespace.
#[derive(Debug)]
pub(crate) struct WalksUp;

impl Twist for WalksUp {
    fn place(&self, namespace: &Namespace, key: &str) -> String {
        let mut segments: Vec<&str> = namespace.segments().collect();
        let mut rest = key;
        while let (Some(above), false) = (rest.strip_prefix("../"), segments.is_empty()) {
            segments.pop();
            rest = above;
        }
        let namespace = Namespace::from_segments(segments).unwrap_or_default();
        format!("{}:{rest}", prefix_of(&namespace))
    }
}

#[derive(Debug)]
pub(crate) struct RefusesTheLongest;

impl Twist for RefusesTheLongest {
    fn admits(&self, capabilities: Capabilities, key: &str) -> Result<()> {
        if key.len() == capabilities.max_key_len {
            return Err(Error::new(ErrorKind::InvalidKey, "too long"));
        }
        capabilities.check_key(key)
    }
}

/// Counts characters where bytes are meant.
#[derive(Debug)]
pub(crate) struct CountsCharacters;

impl Twist for CountsCharacters {
    fn admits(&self, capabilities: Capabilities, key: &str) -> Result<()> {
        if key.chars().count() <= capabilities.max_key_len {
            return Ok(());
        }
        capabilities.check_key(key)
    }
}

#[derive(Debug)]
pub(crate) struct RefusesTheEmptyKey;

impl Twist for RefusesTheEmptyKey {
    fn admits(&self, capabilities: Capabilities, key: &str) -> Result<()> {
        if key.is_empty() {
            return Err(Error::new(ErrorKind::InvalidKey, "empty"));
        }
        capabilities.check_key(key)
    }
}

/// Where a key is too long for a name, the call goes the way of an error of the disk.
#[derive(Debug)]
pub(crate) struct TooLongIsInternal;

impl Twist for TooLongIsInternal {
    fn admits(&self, capabilities: Capabilities, key: &str) -> Result<()> {
        capabilities
            .check_key(key)
            .map_err(|_| Error::new(ErrorKind::Internal, "the file name is too long"))
    }
}

/// The calls that go another way than a plain get or set see names as a line of text.
fn line(key: &str) -> String {
    key.trim_end().to_owned()
}

#[derive(Debug)]
pub(crate) struct BatchesReadLines;

#[async_trait]
impl Tamper for BatchesReadLines {
    async fn get_many(&self, at: &At, keys: &[&str]) -> Result<Vec<Result<Option<Bytes>>>> {
        let lines: Vec<String> = keys.iter().map(|key| line(key)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        at.inner.get_many(&lines).await
    }
}

#[derive(Debug)]
pub(crate) struct BatchesDeleteLines;

#[async_trait]
impl Tamper for BatchesDeleteLines {
    async fn delete_many(&self, at: &At, keys: &[&str]) -> Result<DeleteManyOutcome> {
        let lines: Vec<String> = keys.iter().map(|key| line(key)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        at.inner.delete_many(&lines).await
    }
}

#[derive(Debug)]
pub(crate) struct UpdatesLines;

#[async_trait]
impl Tamper for UpdatesLines {
    async fn update_expiry(&self, at: &At, key: &str, expiry: Expiry) -> Result<bool> {
        at.inner.update_expiry(&line(key), expiry).await
    }
}
