use std::sync::LazyLock;

use larder_core::MAX_SEGMENT_LEN;
use redis::Cmd;

use crate::keys::PhysicalKey;

/// 9999-12-31T23:59:59.999Z in milliseconds: where every deadline saturates (`E3`).
pub(crate) const MAX_MILLIS: i64 = 253_402_300_799_999;
/// Durations above this, some 3,000 years, could pass the end of time: a script clamps them by the
/// server's clock. Below it a plain command does.
pub(crate) const FAR_MILLIS: i64 = 100_000_000_000_000;

// The clearing script has it in its text.
const _: () = assert!(MAX_SEGMENT_LEN == 255);

/// A Lua script and the name under which a server caches it.
pub(crate) struct Script {
    code: &'static str,
    sha: LazyLock<String>,
}

impl Script {
    const fn new(code: &'static str, sha: fn() -> String) -> Self {
        Self { code, sha: LazyLock::new(sha) }
    }

    /// The command that runs the script by its name; a server that has lost it answers `NOSCRIPT`.
    pub(crate) fn by_name(&self, key: Option<PhysicalKey<'_>>, args: &[&[u8]]) -> Cmd {
        command("EVALSHA", &self.sha, key, args)
    }

    /// The command that runs the script by its text, and makes the server remember it.
    pub(crate) fn by_text(&self, key: Option<PhysicalKey<'_>>, args: &[&[u8]]) -> Cmd {
        command("EVAL", self.code, key, args)
    }
}

fn command(word: &str, script: &str, key: Option<PhysicalKey<'_>>, args: &[&[u8]]) -> Cmd {
    let bytes: usize = args.iter().map(|arg| arg.len()).sum();
    let key_len = key.map_or(0, PhysicalKey::len);
    let mut command = Cmd::with_capacity(4 + args.len(), 8 + script.len() + key_len + bytes);
    command.arg(word).arg(script).arg(if key.is_some() { "1" } else { "0" });
    if let Some(key) = key {
        command.arg(key);
    }
    for arg in args {
        command.arg(*arg);
    }
    command
}

macro_rules! script {
    ($(#[$docs:meta])* $name:ident = $($code:expr),+ $(,)?) => {
        $(#[$docs])*
        pub(crate) static $name: Script = {
            const CODE: &str = concat!($($code),+);
            Script::new(CODE, || redis::Script::new(CODE).get_hash().to_owned())
        };
    };
}

/// `clamp(ms, most)`: a duration that, from the server's now, does not pass `most` (`E3`).
macro_rules! clamp {
    () => {
        r"
local function clamp(ms, most)
  local now = redis.call('TIME')
  local left = tonumber(most) - tonumber(now[1]) * 1000 - math.ceil(tonumber(now[2]) / 1000)
  ms = tonumber(ms)
  if ms > left then ms = left end
  return string.format('%.0f', ms)
end
"
    };
}

script! {
    /// The value and its remaining life in milliseconds, of one moment; nil for a missing key.
    GET_WITH_EXPIRY = r"
local value = redis.call('GET', KEYS[1])
if not value then return false end
return {value, redis.call('PTTL', KEYS[1])}
",
}

script! {
    /// As `GET_WITH_EXPIRY`, and moves the deadline of a key that has one to `ARGV[1]` milliseconds
    /// from now, at most to `ARGV[2]`; zero removes the key. The life is the new one, -2 for none.
    GET_AND_RENEW = clamp!(), r"
local value = redis.call('GET', KEYS[1])
if not value then return false end
local left = redis.call('PTTL', KEYS[1])
if left >= 0 then
  if ARGV[1] == '0' then
    redis.call('UNLINK', KEYS[1])
    left = -2
  else
    redis.call('PEXPIRE', KEYS[1], clamp(ARGV[1], ARGV[2]))
    left = redis.call('PTTL', KEYS[1])
  end
end
return {value, left}
",
}

script! {
    /// Sets `ARGV[3]` under the condition `ARGV[1]`: empty for none, `NX` absent, `XX` present,
    /// `=` the value is `ARGV[2]`. `ARGV[4]` is the expiry: `-` none, `K` keep, `A` the moment `ARGV[5]`, `P` the
    /// milliseconds `ARGV[5]` from now, at most to `ARGV[6]`, `G` gone: remove the key instead.
    SET = clamp!(), r"
local condition, expiry = ARGV[1], ARGV[4]
if condition == '=' then
  local current = redis.pcall('GET', KEYS[1])
  if type(current) == 'table' and not string.find(current['err'], 'WRONGTYPE', 1, true) then
    return current
  end
  if current ~= ARGV[2] then return 0 end
elseif condition ~= '' then
  local there = redis.call('EXISTS', KEYS[1]) == 1
  if there ~= (condition == 'XX') then return 0 end
end
if expiry == 'G' then
  redis.call('UNLINK', KEYS[1])
elseif expiry == 'K' then
  redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
elseif expiry == 'A' then
  redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[5])
elseif expiry == 'P' then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', clamp(ARGV[5], ARGV[6]))
else
  redis.call('SET', KEYS[1], ARGV[3])
end
return 1
",
}

script! {
    /// Gives a live key the life of `ARGV[1]` milliseconds, at most to `ARGV[2]`, or, without
    /// arguments, one without end; tells whether it is live.
    UPDATE_EXPIRY = clamp!(), r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], clamp(ARGV[1], ARGV[2]))
else
  redis.call('PERSIST', KEYS[1])
end
return 1
",
}

script! {
    /// One step of clearing: scans from the cursor `ARGV[1]` for `ARGV[2]`, by `ARGV[3]` keys at a
    /// time, removes what begins with `ARGV[4]` exactly, and gives the next cursor and how many those
    /// were. It scans on for a millisecond, or for what takes about as long where the values are small:
    /// ten keys looked at for each of `ARGV[3]`, where one that is removed counts for two.
    ///
    /// Keys of the namespace itself that have more than `ARGV[6]` bytes stay: Larder cannot have named
    /// them. With `ARGV[5]` = `tree`, `ARGV[4]` is a namespace without its separator, and only keys
    /// that Larder can have named, in it or below it, are removed: those at most `ARGV[7]` segments of
    /// together `ARGV[8]` bytes below it.
    CLEAR = r"
local prefix, tree = ARGV[4], ARGV[5] == 'tree'
local find, sub = string.find, string.sub
local own, slash = tree and prefix .. ':' or prefix, prefix .. '/'
local len, skip = #own, #slash
local longest, depth, bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local most = longest - len
-- What a path may have without a look at its segments, each of which takes two bytes at least.
local short = math.min(2 * depth, bytes, 255)

local function fits(path)
  local segments, total = 0, 0
  for segment in string.gmatch(path, '[^/:]+') do
    if #segment > 255 then return false end
    segments, total = segments + 1, total + #segment
  end
  return segments <= depth and total <= bytes
end

local function below(key)
  if sub(key, 1, skip) ~= slash then return false end
  local colon = find(key, ':', skip + 1, true)
  if not colon or #key - colon > most then return false end
  local path = sub(key, skip, colon)
  if find(path, '//', 1, true) or find(path, '/:', 1, true) then return false end
  path = string.gsub(string.gsub(string.gsub(path, '%%25', '_'), '%%2F', '_'), '%%3A', '_')
  return not find(path, '%', 1, true) and (#path <= short or fits(path))
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local cursor, count = ARGV[1], tonumber(ARGV[3])
local work, removed, started = 0, 0, now()
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[2], 'COUNT', ARGV[3])
  local keys, doomed = page[2], 0
  for at = 1, #keys do
    local key = keys[at]
    if sub(key, 1, len) == own then
      if #key <= longest then
        doomed = doomed + 1
        keys[doomed] = key
      end
    elseif tree and below(key) then
      doomed = doomed + 1
      keys[doomed] = key
    end
  end
  for first = 1, doomed, 1000 do
    local last = math.min(first + 999, doomed)
    removed = removed + redis.call('UNLINK', unpack(keys, first, last))
  end
  cursor, work = page[1], work + count + doomed
until cursor == '0' or work >= count * 10 or now() - started >= 1000
return {cursor, removed}
",
}
