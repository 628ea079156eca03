//! Names on the disk: key files, namespace folders, lock files and temporary files.

use std::borrow::Cow;
use std::fmt;

use blake2::{Blake2s256, Digest};
use larder_core::Namespace;

/// The longest part of an escaped segment that one folder name holds.
const PIECE_LEN: usize = 200;
/// Ends every piece of a split segment but the last, and begins every one but the first.
const SPLIT: char = '+';
const LOCK_PREFIX: &str = ".larder-lock-";
const TEMP_PREFIX: &str = ".larder-tmp-";

/// How many lock stripes a root has: one for each first byte of a key's hash.
pub(crate) const STRIPES: usize = 256;

/// The BLAKE2s-256 hash of a key, which names its file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    pub(crate) fn of(key: &str) -> Self {
        Self(Blake2s256::digest(key.as_bytes()).into())
    }

    /// The hash that a file is named by; `None` for any other name.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let digits: &[u8; 64] = name.try_into().ok()?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = lower_hex(pair[0])? << 4 | lower_hex(pair[1])?;
        }
        Some(Self(hash))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn stripe(self) -> Stripe {
        Stripe(self.0[0])
    }

    pub(crate) fn file_name(self) -> FileName {
        let mut name = [0; 64];
        for (pair, byte) in name.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&hex_digits(byte));
        }
        FileName(name)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file_name().as_str())
    }
}

/// The name of a key's file.
#[derive(Clone, Copy)]
pub(crate) struct FileName([u8; 64]);

impl FileName {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

fn lower_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Which of the root's locks guards a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stripe(u8);

impl Stripe {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The name of the stripe's lock file, in the root folder.
    pub(crate) fn lock_name(self) -> String {
        format!("{LOCK_PREFIX}{:02x}", self.0)
    }

    /// The name of a temporary file that whoever has locked this stripe may remove.
    pub(crate) fn temp_name(self, unique: u64) -> String {
        format!("{TEMP_PREFIX}{:02x}-{unique:016x}", self.0)
    }

    /// The stripe of a temporary file; `None` for any other name.
    pub(crate) fn of_temp(name: &[u8]) -> Option<Self> {
        let rest = name.strip_prefix(TEMP_PREFIX.as_bytes())?;
        match rest {
            [high, low, b'-', unique @ ..] if unique.len() == 16 => {
                unique.iter().all(|digit| lower_hex(*digit).is_some()).then_some(())?;
                Some(Self(lower_hex(*high)? << 4 | lower_hex(*low)?))
            }
            _ => None,
        }
    }
}

/// The folder of a namespace: the folder names below the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FolderPath {
    parts: Vec<Box<str>>,
    joined: Box<str>,
}

impl FolderPath {
    /// With `folds_case`, on a file system that does, no two names differ by case alone.
    pub(crate) fn of(namespace: &Namespace, folds_case: bool) -> Self {
        let mut parts = Vec::with_capacity(namespace.depth());
        for segment in namespace.segments() {
            match escape(segment, folds_case) {
                Cow::Borrowed(plain) => parts.push(plain.into()),
                Cow::Owned(escaped) => parts.extend(split(&escaped)),
            }
        }
        Self::from_parts(parts)
    }

    fn from_parts(parts: Vec<Box<str>>) -> Self {
        let joined = parts.join("/").into();
        Self { parts, joined }
    }

    /// The folder `name` in this one.
    pub(crate) fn child(&self, name: &str) -> Self {
        let mut parts = self.parts.clone();
        parts.push(name.into());
        Self::from_parts(parts)
    }

    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, above) = self.parts.split_last()?;
        Some(Self::from_parts(above.to_vec()))
    }

    pub(crate) fn parts(&self) -> &[Box<str>] {
        &self.parts
    }

    /// The path relative to the root; empty for the root.
    pub(crate) fn as_str(&self) -> &str {
        &self.joined
    }
}

/// A segment as it is, when it is made of ASCII letters and digits and cannot be taken for anything
/// else; escaped otherwise. An escape always holds a `%`, a plain segment never does.
fn escape(segment: &str, folds_case: bool) -> Cow<'_, str> {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || byte.is_ascii_uppercase() && !folds_case
    };
    if segment.bytes().all(is_plain) && !is_reserved(segment) {
        return Cow::Borrowed(segment);
    }
    let mut out = String::with_capacity(segment.len() * 3);
    // A reserved name may have nothing else to escape than its first letter.
    let mut must_escape = is_reserved(segment);
    for byte in segment.bytes() {
        if !must_escape && (byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            out.push(char::from(byte));
        } else {
            let [high, low] = hex_digits(byte).map(char::from);
            out.extend(['%', high, low]);
        }
        must_escape = false;
    }
    Cow::Owned(out)
}

/// Tells whether a plain name would be taken for a key's file, or for a device on Windows.
fn is_reserved(segment: &str) -> bool {
    if KeyHash::parse(segment.as_bytes()).is_some() {
        return true;
    }
    let lower = segment.to_ascii_lowercase();
    matches!(lower.as_str(), "con" | "prn" | "aux" | "nul")
        || matches!(
            lower.as_bytes(),
            [b'c', b'o', b'm', b'0'..=b'9'] | [b'l', b'p', b't', b'0'..=b'9']
        )
}

/// An escape as folder names: one, or several nested ones where it is too long for one.
fn split(escaped: &str) -> Vec<Box<str>> {
    if escaped.len() <= PIECE_LEN {
        return vec![escaped.into()];
    }
    let mut names = Vec::new();
    let mut rest = escaped;
    while !rest.is_empty() {
        // An escape is ASCII.
        let (piece, after) = rest.split_at(PIECE_LEN.min(rest.len()));
        let begin = if names.is_empty() { "" } else { "+" };
        let end = if after.is_empty() { "" } else { "+" };
        names.push(format!("{begin}{piece}{end}").into());
        rest = after;
    }
    names
}

fn unescape(escaped: &str) -> Option<String> {
    let mut out = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' {
            lower_hex(bytes.next()?)? << 4 | lower_hex(bytes.next()?)?
        } else {
            byte
        });
    }
    String::from_utf8(out).ok()
}

/// What a folder means in the tree, found while walking down from a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subfolder {
    /// The folder of a child namespace named by this segment.
    Namespace(String),
    /// A folder with further pieces of a segment, the pieces so far joined.
    Pieces(String),
}

/// What the folder `name` means in a namespace's folder, or, with the pieces read so far, in a
/// folder of pieces; `None` for a foreign folder.
pub(crate) fn read_subfolder(
    pieces: Option<&str>,
    name: &str,
    folds_case: bool,
) -> Option<Subfolder> {
    let (piece, begun) = match pieces {
        None => (name, ""),
        Some(begun) => (name.strip_prefix(SPLIT)?, begun),
    };
    if let Some(piece) = piece.strip_suffix(SPLIT) {
        // The longest segment's escape has 765 characters.
        let fits = piece.len() == PIECE_LEN && begun.len() < 3 * PIECE_LEN && piece.is_ascii();
        return fits.then(|| Subfolder::Pieces(format!("{begun}{piece}")));
    }
    let whole = format!("{begun}{piece}");
    let segment = unescape(&whole)?;
    // Whatever would not be written this way is foreign.
    let own = escape(&segment, folds_case) == whole
        && pieces.is_some() == (is_escape(&whole) && whole.len() > PIECE_LEN);
    (own && !segment.is_empty()).then_some(Subfolder::Namespace(segment))
}

fn is_escape(name: &str) -> bool {
    name.contains('%')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn folder(segments: &[&str]) -> FolderPath {
        FolderPath::of(&Namespace::from_segments(segments).unwrap(), false)
    }

    /// Reads a folder path back into segments, as a walk does.
    fn read(path: &FolderPath) -> Option<Vec<String>> {
        let (mut segments, mut pieces) = (Vec::new(), None);
        for part in path.parts() {
            match read_subfolder(pieces.as_deref(), part, false)? {
                Subfolder::Namespace(segment) => {
                    segments.push(segment);
                    pieces = None;
                }
                Subfolder::Pieces(begun) => pieces = Some(begun),
            }
        }
        pieces.is_none().then_some(segments)
    }

    #[test]
    fn paths_are_those_of_litestar() {
        let text = include_str!("../tests/data/file_store_paths.json");
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = file["files"].as_array().unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let segments: Vec<&str> =
                case["namespace"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
            let name = KeyHash::of(case["key"].as_str().unwrap()).file_name();
            let mut path = folder(&segments).as_str().to_owned();
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(name.as_str());
            assert_eq!(path, case["path"].as_str().unwrap());
        }
    }

    #[test]
    fn hashes_are_read_from_lower_hex_alone() {
        let hash = KeyHash::of("foo");
        let name = hash.file_name().as_str().to_owned();
        assert_eq!(KeyHash::parse(name.as_bytes()), Some(hash));
        assert_eq!(KeyHash::parse(name.to_ascii_uppercase().as_bytes()), None);
        assert_eq!(KeyHash::parse(&name.as_bytes()[1..]), None);
    }

    #[test]
    fn every_kind_of_segment_comes_back_and_none_meet() {
        let long =
            ["é".repeat(127), "x y".repeat(85), "-".repeat(255), "-".repeat(254), "x".repeat(255)];
        let hash = KeyHash::of("foo").file_name().as_str().to_owned();
        let plain = [
            "a",
            "A",
            "%41",
            "a.",
            "a ",
            "a/b",
            "..",
            ".",
            "+",
            "a+",
            "+a",
            "CON",
            "con",
            "com1",
            "COM¹",
            "nul",
            ".larder-lock-00",
            ".larder-tmp-00-0000000000000000",
            "\0",
            "\n",
            "日本",
            "%",
            "%61",
            "é",
            "e\u{301}",
        ];
        let all = plain.iter().map(|s| (*s).to_owned()).chain(long).chain([hash]);
        let mut seen = HashSet::new();
        for segment in all {
            let path = folder(&[&segment]);
            assert_eq!(read(&path), Some(vec![segment.clone()]), "{segment:?}");
            assert!(seen.insert(path.as_str().to_owned()), "{segment:?}");
            for part in path.parts() {
                assert!(part.len() <= 255 && !part.starts_with('.') && !part.contains('/'));
                assert!(KeyHash::parse(part.as_bytes()).is_none());
            }
        }
    }

    #[test]
    fn plain_names_are_those_of_litestar() {
        assert_eq!(folder(&["sessions", "EU1"]).as_str(), "sessions/EU1");
        assert_eq!(folder(&["a b", "nul"]).as_str(), "a%20b/%6eul");
    }

    #[test]
    fn a_long_escape_is_split_over_folders_of_its_own() {
        let segment = "é".repeat(127);
        let path = folder(&[&segment, "x"]);
        let lens: Vec<usize> = path.parts().iter().map(|part| part.len()).collect();
        assert_eq!(lens, [201, 202, 202, 163, 1]);
        assert_eq!(read(&path), Some(vec![segment, "x".into()]));
    }

    #[test]
    fn folders_that_are_never_written_are_foreign() {
        for foreign in
            ["lost+found", "a.b", "%41", "%zz", "%", "", "con", "%ff", "é", ".git", "+a", "+"]
        {
            assert_eq!(read_subfolder(None, foreign, false), None, "{foreign}");
        }
        assert_eq!(read_subfolder(Some(&"%20".repeat(66)), "a", false), None);
        let hash = KeyHash::of("foo").file_name();
        assert_eq!(read_subfolder(None, hash.as_str(), false), None);
        // A split that was not needed.
        assert_eq!(read_subfolder(Some("%20"), "+a", false), None);
    }

    #[test]
    fn where_case_is_folded_no_two_names_differ_by_case_alone() {
        let segments =
            ["sessions", "Sessions", "SESSIONS", "É", "é", "A%", "a%", "a", "A", "con", "CON"];
        let mut seen = HashSet::new();
        for segment in segments {
            let path = FolderPath::of(&Namespace::from_segments([segment]).unwrap(), true);
            assert_eq!(path.as_str(), path.as_str().to_lowercase());
            assert!(seen.insert(path.as_str().to_owned()), "{segment}");
            let found = read_subfolder(None, path.as_str(), true);
            assert_eq!(found, Some(Subfolder::Namespace(segment.to_owned())));
        }
        assert_eq!(read_subfolder(None, "Sessions", true), None);
    }

    #[test]
    fn temporary_files_name_their_stripe() {
        let stripe = KeyHash::of("foo").stripe();
        assert_eq!(Stripe::of_temp(stripe.temp_name(7).as_bytes()), Some(stripe));
        for foreign in [
            ".larder-tmp-",
            ".larder-tmp-00-",
            ".larder-tmp-0g-0000000000000000",
            ".larder-lock-00",
        ] {
            assert_eq!(Stripe::of_temp(foreign.as_bytes()), None);
        }
    }
}
