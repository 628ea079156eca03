use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::verdict::show_key;

/// How many operations of a failure are shown: the first ones and the last ones.
const SHOWN: (usize, usize) = (12, 48);
/// How many operations are kept; a case that makes more shows its last ones.
const KEPT: usize = 20_000;

/// The operations that a case has made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<Line>,
    /// Tells operations begun before the trace was cleared from those begun after it.
    epoch: u64,
    forgotten: usize,
}

#[derive(Debug)]
struct Line {
    call: String,
    result: Option<String>,
}

impl Trace {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was done so far: what follows shows a failure by itself.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.lines.clear();
        inner.forgotten = 0;
        inner.epoch += 1;
    }

    /// Notes something that has no result.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.begin(text.into()).end(String::new());
    }

    /// Notes the beginning of an operation.
    pub(crate) fn begin(&self, call: String) -> Running {
        let mut inner = self.lock();
        if inner.lines.len() == KEPT {
            inner.lines.clear();
            inner.forgotten += KEPT;
            inner.epoch += 1;
        }
        inner.lines.push(Line { call, result: None });
        let (epoch, index) = (inner.epoch, inner.lines.len() - 1);
        drop(inner);
        Running { trace: self.clone(), epoch, index, ended: false }
    }

    /// As [`shown`](Self::shown), of the operations that name one of these keys.
    pub(crate) fn about(&self, keys: &[&str]) -> Vec<String> {
        let keys: Vec<String> = keys.iter().map(|key| show_key(key)).collect();
        self.lines(|line| keys.iter().any(|key| line.call.contains(key)))
    }

    /// The operations as lines of text, the middle left out where there are many.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.lines(|_| true)
    }

    fn lines(&self, wanted: impl Fn(&Line) -> bool) -> Vec<String> {
        let inner = self.lock();
        let mut all: Vec<String> = inner
            .lines
            .iter()
            .filter(|line| wanted(line))
            .map(|line| match line.result.as_deref() {
                None => format!("{} -> (still running)", line.call),
                Some("") => line.call.clone(),
                Some(result) => format!("{} -> {result}", line.call),
            })
            .collect();
        if inner.forgotten > 0 {
            all.insert(0, format!("… {} operations before …", inner.forgotten));
        }
        shorten(all)
    }
}

/// Leaves out the middle of a long list.
pub(crate) fn shorten(mut lines: Vec<String>) -> Vec<String> {
    let (first, last) = SHOWN;
    if lines.len() > first + last + 1 {
        let left_out = lines.len() - first - last;
        let tail = lines.split_off(lines.len() - last);
        lines.truncate(first);
        lines.push(format!("… {left_out} operations …"));
        lines.extend(tail);
    }
    lines
}

/// An operation in progress; dropped without a result, its future was dropped.
#[derive(Debug)]
pub(crate) struct Running {
    trace: Trace,
    epoch: u64,
    index: usize,
    ended: bool,
}

impl Running {
    pub(crate) fn end(mut self, result: String) {
        self.put(result);
    }

    fn put(&mut self, result: String) {
        self.ended = true;
        let mut inner = self.trace.lock();
        if inner.epoch == self.epoch {
            inner.lines[self.index].result = Some(result);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let end = if std::thread::panicking() { "(panicked)" } else { "(dropped)" };
            self.put(end.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_show_their_results_and_their_dropping() {
        let trace = Trace::default();
        trace.begin("a".into()).end("1".into());
        drop(trace.begin("b".into()));
        let running = trace.begin("c".into());
        trace.note("d");
        assert_eq!(trace.shown(), ["a -> 1", "b -> (dropped)", "c -> (still running)", "d"]);
        trace.clear();
        trace.note("e");
        running.end("late".into());
        assert_eq!(trace.shown(), ["e"]);
    }

    #[test]
    fn the_middle_of_a_long_list_is_left_out() {
        let lines = (0..1_000).map(|n| n.to_string()).collect();
        let short = shorten(lines);
        assert_eq!(short.len(), SHOWN.0 + 1 + SHOWN.1);
        assert_eq!((&*short[0], &*short[12]), ("0", "… 940 operations …"));
        assert_eq!(short.last().unwrap(), "999");
    }
}
