use std::borrow::Cow;
use std::collections::BTreeSet;

use larder_core::{
    Cursor, CursorScope, Error, ErrorKind, ListPage, MAX_KEY_LEN, MAX_NAMESPACE_DEPTH,
    MAX_NAMESPACE_LEN, Namespace, NamespacePage, Result,
};
use redis::Value;

use crate::dial::Server;
use crate::driver::{Lease, number};
use crate::error::{Effect, unexpected};
use crate::keys::pattern;
use crate::scripts::CLEAR;
use crate::store::RedisStore;

/// The most keys that a SCAN is asked to look at: about a millisecond of the server's time.
const COUNT: usize = 1000;
/// How many keys a SCAN of the clearing script looks at, of which it does several.
const CLEAR_COUNT: usize = 200;
/// How many SCANs one page may take before it is handed out, full or not.
const SCANS: usize = 32;

/// Where a listing stands.
///
/// SCAN may answer more names than a page may hold, and asked again from the same cursor it may
/// answer others. A stretch that does not fit is therefore walked again, from the cursor `from` up
/// to the cursor `to` that ended it, and its names are given in byte order, those after `last`
/// first: a name that stays is passed exactly when `last` passes it, whatever else comes and goes.
#[derive(Debug, PartialEq, Eq)]
struct Position {
    /// The server that gave the cursors.
    server: Server,
    from: u64,
    rest: Option<Rest>,
}

/// What is left of a stretch.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    to: u64,
    last: String,
}

impl Position {
    fn start(server: Server) -> Self {
        Self { server, from: 0, rest: None }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.server.0.is_some())];
        bytes.extend_from_slice(&self.server.0.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&self.from.to_le_bytes());
        if let Some(Rest { to, last }) = &self.rest {
            bytes.extend_from_slice(&to.to_le_bytes());
            bytes.extend_from_slice(last.as_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[known], bytes) = bytes.split_first_chunk()?;
        let (server, bytes) = bytes.split_first_chunk()?;
        let (from, bytes) = bytes.split_first_chunk()?;
        let rest = match bytes.split_first_chunk() {
            None if bytes.is_empty() => None,
            None => return None,
            Some((to, last)) => Some(Rest {
                to: u64::from_le_bytes(*to),
                last: String::from_utf8(last.to_vec()).ok()?,
            }),
        };
        let server = Server((known == 1).then(|| u64::from_le_bytes(*server)));
        Some(Self { server, from: u64::from_le_bytes(*from), rest })
    }
}

/// Tells whether a scan that reached `at` has passed all up to `to`.
///
/// Redis counts its cursors up from the highest bit down, so that the order holds while its tables
/// grow and shrink; zero is the end.
fn has_reached(at: u64, to: u64) -> bool {
    at == 0 || (to != 0 && at.reverse_bits() >= to.reverse_bits())
}

/// Notices a server that leads a walk in circles (`X2`).
///
/// Each SCAN gives a cursor that comes after the one that it was sent, in the order of
/// [`has_reached`], whatever size the tables have by then: so no cursor comes twice. A circle of any
/// length is met by comparing with one cursor alone, which is replaced after 1, 2, 4, … steps.
struct Course {
    mark: u64,
    steps: u64,
    stretch: u64,
}

impl Course {
    fn from(cursor: u64) -> Self {
        Self { mark: cursor, steps: 0, stretch: 1 }
    }

    /// Goes on to a cursor.
    fn pass(&mut self, cursor: u64) -> Result<()> {
        if cursor == self.mark {
            return Err(unexpected(Effect::Read));
        }
        self.steps += 1;
        if self.steps == self.stretch {
            *self = Self { mark: cursor, steps: 0, stretch: self.stretch * 2 };
        }
        Ok(())
    }
}

impl RedisStore {
    pub(crate) async fn page_of_keys(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<ListPage> {
        let own = self.tree("list")?;
        let scope = CursorScope::keys(self.identity(), &self.0.namespace, prefix);
        let walk = Walk {
            store: self,
            scope,
            below: format!("{own}{prefix}"),
            name: |key: &[u8]| key_of(key.get(own.len()..)?).map(str::to_owned),
        };
        let (keys, next) = walk.page(cursor, limit).await?;
        Ok(ListPage::new(keys, next))
    }

    pub(crate) async fn page_of_children(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let own = self.tree("list")?;
        let below = format!("{}/", &own[..own.len() - 1]);
        let skip = below.len();
        let walk = Walk {
            store: self,
            scope: CursorScope::namespaces(self.identity(), &self.0.namespace),
            below,
            name: |key: &[u8]| child(&self.0.namespace, key.get(skip..)?),
        };
        let (segments, next) = walk.page(cursor, limit).await?;
        Ok(NamespacePage::new(segments, next))
    }

    pub(crate) async fn clear_tree(&self) -> Result<()> {
        let own = self.tree("list")?;
        self.clear(&own[..own.len() - 1], "tree").await.map(drop)
    }

    pub(crate) async fn clear_prefix(&self, prefix: &str) -> Result<u64> {
        self.clear(&format!("{}{prefix}", self.tree("list")?), "prefix").await
    }

    /// Removes what begins with `prefix`, in steps that let others in between.
    async fn clear(&self, prefix: &str, kind: &str) -> Result<u64> {
        let (pattern, count) = (pattern(prefix), CLEAR_COUNT.to_string());
        let [longest, depth, bytes] = self.room()?.map(|most| most.to_string());
        let mut removed: u64 = 0;
        // One connection for all steps: cursors mean nothing to a server that was restarted.
        let mut lease = self.driver().lease().await?;
        'walk: loop {
            let server = lease.server().await?;
            let mut cursor = 0;
            let mut course = Course::from(cursor);
            loop {
                let at = u64::to_string(&cursor);
                let args: [&str; 8] =
                    [&at, &pattern, &count, prefix, kind, &longest, &depth, &bytes];
                let args = args.map(str::as_bytes);
                let reply = lease.script(&CLEAR, None, &args, Effect::Write).await?;
                let (next, gone) = step(reply)?;
                removed = removed.saturating_add(gone);
                cursor = next;
                if cursor == 0 {
                    break;
                }
                course.pass(cursor)?;
            }
            // A borrowed connection may have gone to another server on the way.
            if lease.server().await? == server {
                break 'walk;
            }
        }
        Ok(removed)
    }

    /// The most bytes of a key of this namespace as the server knows it, the most segments below the
    /// namespace, and the most bytes that these have together.
    fn room(&self) -> Result<[usize; 3]> {
        let own = self.tree("list")?;
        let namespace = &self.0.namespace;
        let bytes: usize = namespace.segments().map(str::len).sum();
        let depth = MAX_NAMESPACE_DEPTH - namespace.segments().count();
        Ok([own.len() + MAX_KEY_LEN, depth, MAX_NAMESPACE_LEN - bytes])
    }

    fn identity(&self) -> &[u8] {
        self.0.shared.identity.as_bytes()
    }
}

/// What a caller knows as a key; `None` for what none can be.
fn key_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|key| key.len() <= MAX_KEY_LEN)
}

/// The child namespace of `parent` in which a key lies: `rest` is what follows the parent's slash.
fn child(parent: &Namespace, rest: &[u8]) -> Option<String> {
    let colon = rest.iter().position(|&byte| byte == b':')?;
    // A key of which any part is foreign is none of ours.
    key_of(&rest[colon + 1..])?;
    let path = std::str::from_utf8(&rest[..colon]).ok()?;
    let segments: Option<Vec<_>> = path.split('/').map(Namespace::unescape_segment).collect();
    let segments = segments?;
    parent.join_all(&segments).ok()?;
    segments.into_iter().next().map(Cow::into_owned)
}

/// One listing: the names that `name` finds in the keys that begin with `below`.
struct Walk<'a, F> {
    store: &'a RedisStore,
    scope: CursorScope,
    below: String,
    name: F,
}

impl<F: Fn(&[u8]) -> Option<String>> Walk<'_, F> {
    async fn page(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Cursor>)> {
        if limit == 0 {
            return Err(Error::new(ErrorKind::InvalidConfig, "a page of no names goes nowhere"));
        }
        let position = match cursor {
            None => None,
            Some(cursor) => {
                let bytes = self.scope.open(cursor)?;
                let position = Position::decode(&bytes).ok_or_else(invalid)?;
                Some(position)
            }
        };
        let mut lease = self.store.driver().lease().await?;
        let server = lease.server().await?;
        // After a restart the server's old cursors mean nothing: the walk begins anew, and names
        // come again.
        let position = position.filter(|position| position.server == server);
        let position = position.unwrap_or_else(|| Position::start(server));
        let (names, next) = self.walk(&mut lease, position, limit).await?;
        let names = names.into_iter().collect();
        if lease.server().await? != server {
            let start = Position::start(server).encode();
            return Ok((names, Some(self.scope.seal(&start))));
        }
        Ok((names, next.map(|next| self.scope.seal(&next.encode()))))
    }

    async fn walk(
        &self,
        lease: &mut Lease<'_>,
        position: Position,
        limit: usize,
    ) -> Result<(BTreeSet<String>, Option<Position>)> {
        let Position { server, mut from, mut rest } = position;
        let mut names = BTreeSet::new();
        // A little less than there is room for, so that a stretch seldom has to be walked twice.
        let mut count = (limit - limit / 8).min(COUNT);
        let mut course = Course::from(from);
        for _ in 0..SCANS {
            let (found, to) = match &rest {
                None => self.scan(lease, from, count).await?,
                Some(rest) => (self.rescan(lease, from, rest, count).await?, rest.to),
            };
            let mut found: Vec<String> =
                found.into_iter().filter(|name| !names.contains(name)).collect();
            found.sort_unstable();
            found.dedup();
            let room = limit - names.len();
            if found.len() > room {
                found.truncate(room);
                // There was room for one at least.
                rest = found.last().map(|last| Rest { to, last: last.clone() });
                names.extend(found);
                return Ok((names, Some(Position { server, from, rest })));
            }
            if found.is_empty() {
                // Much else lies between: wider steps, which need not be walked again.
                count = (count * 2).min(COUNT);
            }
            names.extend(found);
            (from, rest) = (to, None);
            if from == 0 {
                return Ok((names, None));
            }
            course.pass(from)?;
            if names.len() * 2 >= limit {
                break;
            }
        }
        Ok((names, Some(Position { server, from, rest })))
    }

    /// The names in the stretch that `rest` is left of, those after its `last`.
    async fn rescan(
        &self,
        lease: &mut Lease<'_>,
        from: u64,
        rest: &Rest,
        mut count: usize,
    ) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut at = from;
        let mut course = Course::from(from);
        loop {
            let (mut found, next) = self.scan(lease, at, count).await?;
            found.retain(|name| *name > rest.last);
            names.append(&mut found);
            if has_reached(next, rest.to) {
                return Ok(names);
            }
            course.pass(next)?;
            at = next;
            // The stretch may have been walked in far wider steps than a small page begins with.
            count = (count * 2).min(COUNT);
        }
    }

    /// One SCAN: the names that it finds, and where it stopped.
    async fn scan(
        &self,
        lease: &mut Lease<'_>,
        from: u64,
        count: usize,
    ) -> Result<(Vec<String>, u64)> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(from).arg("MATCH").arg(pattern(&self.below)).arg("COUNT").arg(count);
        let Value::Array(parts) = lease.run(&scan, Effect::Read).await? else {
            return Err(unexpected(Effect::Read));
        };
        let Ok([next, Value::Array(keys)]) = <[Value; 2]>::try_from(parts) else {
            return Err(unexpected(Effect::Read));
        };
        let mut names = Vec::with_capacity(keys.len());
        for key in keys {
            let Value::BulkString(key) = key else { return Err(unexpected(Effect::Read)) };
            // The pattern is not trusted to match literally (`K3`).
            if key.starts_with(self.below.as_bytes()) {
                names.extend((self.name)(&key));
            }
        }
        Ok((names, scan_cursor(&next, Effect::Read)?))
    }
}

fn invalid() -> Error {
    Error::new(ErrorKind::InvalidCursor, "it holds no position")
}

/// What a step of clearing answers: the next cursor, and how many keys it removed.
fn step(reply: Value) -> Result<(u64, u64)> {
    let unexpected = || unexpected(Effect::Write);
    let Value::Array(parts) = reply else { return Err(unexpected()) };
    let Ok([next, gone]) = <[Value; 2]>::try_from(parts) else { return Err(unexpected()) };
    let gone = number(&gone, Effect::Write)?;
    Ok((scan_cursor(&next, Effect::Write)?, u64::try_from(gone).map_err(|_| unexpected())?))
}

fn scan_cursor(value: &Value, effect: Effect) -> Result<u64> {
    let text = match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text.as_str()),
        _ => None,
    };
    text.and_then(|text| text.parse().ok()).ok_or_else(|| unexpected(effect))
}

#[cfg(test)]
mod tests {
    use larder_core::MAX_SEGMENT_LEN;

    use super::*;

    #[test]
    fn positions_survive_their_encoding() {
        for position in [
            Position::start(Server(None)),
            Position { server: Server(Some(7)), from: u64::MAX, rest: None },
            Position {
                server: Server(Some(0)),
                from: 3,
                rest: Some(Rest { to: 0, last: "é\0".into() }),
            },
        ] {
            assert_eq!(Position::decode(&position.encode()), Some(position));
        }
        for garbage in [&[][..], &[1; 5], &[0; 20], &[0xff; 40]] {
            assert_eq!(Position::decode(garbage), None);
        }
    }

    #[test]
    fn cursors_are_ordered_by_their_reversed_bits() {
        // A table of 8: 0 4 2 6 1 5 3 7; of 4: 0 2 1 3.
        let order = [4_u64, 2, 6, 1, 5, 3, 7];
        for pair in order.windows(2) {
            assert!(has_reached(pair[1], pair[0]) && !has_reached(pair[0], pair[1]));
        }
        assert!(has_reached(2, 2) && has_reached(0, 5) && !has_reached(5, 0) && has_reached(0, 0));
    }

    #[test]
    fn a_circle_is_noticed_wherever_it_begins_and_a_straight_course_is_none() {
        let mut course = Course::from(0);
        assert!((1..10_000).all(|cursor| course.pass(cursor).is_ok()));
        for (lead, round) in [(0, 1), (0, 2), (1, 1), (5, 3), (100, 7), (3, 1000)] {
            let mut course = Course::from(u64::MAX);
            let cursors = (1..=lead).chain((lead + 1..=lead + round).cycle());
            let steps = cursors.take_while(|cursor| course.pass(*cursor).is_ok()).count();
            assert!(steps < 5_000, "{lead} {round}");
        }
    }

    #[test]
    fn only_names_that_larder_writes_are_children() {
        let parent = Namespace::from_segments(["p", "q"]).unwrap();
        let named = |rest: &str| child(&parent, rest.as_bytes());
        assert_eq!(named("a:k").as_deref(), Some("a"));
        assert_eq!(named("a%2Fb/c:k/d").as_deref(), Some("a/b"));
        for foreign in ["a", "a/b", ":k", "/a:k", "a/:k", "a//b:k", "%zz:k", "a/%41:k"] {
            assert_eq!(named(foreign), None, "{foreign}");
        }
        let long = "%3A".repeat(MAX_SEGMENT_LEN);
        assert!(named(&format!("{long}:k")).is_some_and(|name| name.len() == MAX_SEGMENT_LEN));
        let deep = |depth: usize| format!("{}:k", vec!["a"; depth].join("/"));
        assert!(named(&deep(MAX_NAMESPACE_DEPTH - 2)).is_some());
        let wide = |rest: usize| {
            let all = MAX_NAMESPACE_LEN - 2;
            format!("{}{}:k", format!("{}/", "x".repeat(200)).repeat(all / 200), "x".repeat(rest))
        };
        let rest = (MAX_NAMESPACE_LEN - 2) % 200;
        assert!(named(&wide(rest)).is_some());
        for foreign in [
            format!("{long}x:k"),
            format!("a/{long}x:k"),
            deep(MAX_NAMESPACE_DEPTH - 1),
            wide(rest + 1),
            format!("a:{}", "k".repeat(MAX_KEY_LEN + 1)),
        ] {
            assert_eq!(named(&foreign), None, "{foreign}");
        }
        assert_eq!(child(&parent, b"a:\xff"), None);
    }
}
