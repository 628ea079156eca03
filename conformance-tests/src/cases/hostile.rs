//! Keys and names that somebody's storage mixes up, loses, or takes for something else.

/// Groups whose members look alike to some normalisation, file system, pattern or separator.
const GROUPS: &[&[&str]] = &[
    // Case, and folding that changes the length.
    &["key", "Key", "KEY", "kEY", "ß", "ss", "ẞ", "İ", "i", "I", "ı", "i\u{307}", "ſ", "s", "S"],
    &["k", "K", "\u{212a}", "µ", "μ", "ς", "σ", "Σ", "ǆ", "ǅ"],
    // Composed, decomposed and compatibility forms.
    &["한", "\u{1112}\u{1161}\u{11ab}", "ạ\u{302}", "ậ", "a\u{302}\u{323}"],
    &["é", "e\u{301}", "e", "Å", "A\u{30a}", "\u{212b}", "ﬁ", "fi", "Ω", "\u{2126}", "²", "2"],
    // Look-alikes of other scripts.
    &["a", "а", "α", "ａ", "1", "１", "l", "|", "O", "О", "0", "०"],
    // White space and marks that nobody sees.
    &["k", "k ", "k  ", " k", "k\t", "k\n", "k\r", "k\r\n", "k\u{a0}", "k\u{200b}", "k\u{feff}"],
    &["\u{feff}k", "\u{202e}k", "k\u{202e}", " ", "  ", "\t", "\n", "\r\n", "k k", "k  k"],
    // Dots and slashes.
    &["k.", "k..", ".k", "k./", "k/", "k//", "/k", "//k", "./k", "k/.", "k/..", "k/../k"],
    &["a/k", "a/./k", "a//k", "b/../a/k", "a/b/../k", "a/../k", "a/k/", "a/k/."],
    &[".", "..", "...", "/", "//", "./", "../", "../..", "../k", "../../k", "..\\k", "\\", "/.."],
    &["/etc/passwd", "C:\\k", "C:k", "\\\\host\\k", "file:///k", "~", "~/k", "-", "--", "-rf"],
    // Separators and their escapes.
    &["a/b", "a%2Fb", "a%2fb", "a%252Fb", "a\\b", "a:b", "a%3Ab", "a%3ab", "a::b", "a//b", "a_b"],
    &["a-b", "a|b", "a b", "a+b", "a%20b", "a.b", "a,b", "a;b", "a=b", "a&b", "a#b", "a@b", "a~b"],
    &[
        "%", "%%", "%2", "%25", "%2F", "%00", "%c3%a9", "&amp;", "&", "\\n", "\\0", "\\x00", "=41",
        "A", "%41",
    ],
    // Patterns.
    &["*", "**", "a*", "*a", "?", "a?", "[a]", "[!a]", "[a-z]", "[", "]", "{a,b}", "a.*", ".*"],
    &["^a$", "_", "a_", "a%", "\\*", "\\", "(a)", "(", ")", "$", "^", "#", "@", "!"],
    // NUL and other control characters.
    &[
        "\0",
        "k\0",
        "\0k",
        "k\0k",
        "kk",
        "k\u{7f}",
        "k\u{8}",
        "\u{1}",
        "\u{1b}[31m",
        "\u{7f}",
        "\u{80}",
        "\u{85}",
    ],
    &["\u{2028}", "\u{fffd}", "\u{ffff}", "\u{e000}", "\u{10ffff}", "\u{d7ff}", "퟿", "𝄞"],
    // Numbers.
    &["01", "1.0", "+1", "-1", "1e0", "0x1", "1 ", "1_0", "10", "00", "-0", "٠"],
    // Names that Windows keeps for devices, and names it cannot keep.
    &["CON", "con", "CON.txt", "NUL", "nul", "PRN", "AUX", "COM1", "LPT1", "COM¹", "CONIN$"],
    // Quotes and interpolation.
    &[
        "'", "''", "\"", "';--", "`", "$k", "${k}", "$(k)", "<k>", "{{k}}", "{}", "{k}", "%s",
        "\\u0041",
    ],
    // Emoji: joined and apart, with and without selector and skin.
    &["👨\u{200d}👩", "👨👩", "👍", "👍🏽", "❤", "❤\u{fe0f}", "🇩🇪", "🇩", "🇪"],
    // What a file store of Litestar's first releases took for one (digits for other characters).
    &["a47b", "353637", "#$%", "47", "k471", "k/1", "10747", "k47", "46", "4646"],
    // Names that stores keep for themselves.
    &["lock", ".lock", ".tmp", "k.tmp", "k~", ".k.swp", "tmp", "index", "__expiry__", "meta"],
    &["larder", "larder:", "larder:k", "larder/k", ":k", "::k", "k:", "LITESTAR:k", "LITESTAR_k:k"],
    &["conformance", "conformance/a:k", "conformance:k", "conformance/a%3Ab%25%2F*:k"],
    // Physical names of the keys "k" and "key": BLAKE2s-256, MD5, SHA-1, SHA-256.
    &[
        "65267e8cddb68b3c89e8b2e8c68b8ae6335d8c8232d2ec0af93e71097668300a",
        "65267E8CDDB68B3C89E8B2E8C68B8AE6335D8C8232D2EC0AF93E71097668300A",
        "557eb63353d68c62ae2f59f8e2c82b07ffff936fe594a000dfaf0d50015930d8",
        "8ce4b16b22b58894aa86c421e8759df3",
        "3c6e0b8a9c15224a8228b9a98ca1531d",
        "13fbd79c3d390e5d6585a21e11ff5ec1970cff0c",
        "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a",
    ],
];

/// Names that make trouble as a segment of a namespace, in all of the ways above.
pub(super) const SEGMENTS: &[&str] = &[
    "a",
    "A",
    "aa",
    "a ",
    " a",
    "a.",
    ".",
    "..",
    "...",
    "/",
    "a/b",
    "a%2Fb",
    "a:b",
    "a%3Ab",
    ":",
    "%",
    "%25",
    "*",
    "a*",
    "?",
    "[a]",
    "\\",
    "\0",
    "a\0",
    "\n",
    "\u{1}",
    "é",
    "e\u{301}",
    "ß",
    "ss",
    "ａ",
    "\u{212a}",
    "日本",
    "👨\u{200d}👩",
    "CON",
    "con",
    "nul.txt",
    "COM1",
    "a_b",
    "a-b",
    "_",
    "-",
    "~",
    "lock",
    ".lock",
    "tmp",
    ".tmp",
    "larder",
    "k",
    "$",
    "'",
    "\"",
    "65267e8cddb68b3c89e8b2e8c68b8ae6335d8c8232d2ec0af93e71097668300a",
];

/// Every hostile key once.
pub(super) fn keys() -> Vec<&'static str> {
    let mut all = Vec::new();
    for key in GROUPS.iter().flat_map(|group| group.iter()) {
        if !all.contains(key) {
            all.push(*key);
        }
    }
    all
}
