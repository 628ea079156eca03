use std::io::Write;

use redis::{Cmd, RedisWrite, ToRedisArgs};

/// A key as the server knows it: the namespace's prefix and the caller's key, sent as one argument
/// without being joined in memory first.
#[derive(Clone, Copy)]
pub(crate) struct PhysicalKey<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) key: &'a str,
}

impl PhysicalKey<'_> {
    pub(crate) fn len(self) -> usize {
        self.prefix.len() + self.key.len()
    }
}

impl ToRedisArgs for PhysicalKey<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut writer = out.writer_for_next_arg();
        // Writing into the command's own memory cannot fail.
        let _ = writer.write_all(self.prefix.as_bytes());
        let _ = writer.write_all(self.key.as_bytes());
    }
}

/// A command of one word, a key, and `more` arguments of `bytes` bytes together.
pub(crate) fn command(word: &str, key: PhysicalKey<'_>, more: usize, bytes: usize) -> Cmd {
    let mut command = Cmd::with_capacity(2 + more, word.len() + key.len() + bytes);
    command.arg(word).arg(key);
    command
}

/// The pattern that matches what begins with `prefix`, whatever characters that has (`K3`).
pub(crate) fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 8);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_argument() {
        let command = command("GET", PhysicalKey { prefix: "larder:", key: "a\r\nb" }, 0, 0);
        let packed = command.get_packed_command();
        assert_eq!(packed, b"*2\r\n$3\r\nGET\r\n$11\r\nlarder:a\r\nb\r\n");
    }

    #[test]
    fn patterns_are_escaped() {
        assert_eq!(pattern(r"a*?[b-c]\:"), r"a\*\?\[b\-c\]\\:*");
    }
}
