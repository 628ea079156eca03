//! A process that writes until it is killed: the test's own program, started again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use larder_core::{Bytes, Error, Result, SetItem, SetOptions, Store, StoreExt};

use crate::random::Random;
use crate::trial::LONG;
use crate::verdict::show_error;
use crate::{Harness, run};

/// The folder in which a writer writes; set, the program is one.
const FOLDER: &str = "LARDER_CONFORMANCE_WRITER";
/// With which write each task begins.
const STARTS: &str = "LARDER_CONFORMANCE_WRITER_STARTS";
/// How many tasks write at once, each to keys of its own.
pub(crate) const TASKS: usize = 3;
/// To how many keys each of them writes.
pub(crate) const KEYS: u64 = 8;
/// How long a writer may take to begin.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How many writes a writer makes that nobody kills.
const MOST_WRITES: u64 = 200_000;

/// What a write leaves under a key: nothing, or a value and whether it expires.
pub(crate) type Left = Option<(Bytes, bool)>;

pub(crate) fn key(task: usize, index: u64) -> String {
    format!("task {task} key {}", index % KEYS)
}

/// What the write `number` of a task does: a set, a deletion or a batch, the same in every process.
pub(crate) fn write(task: usize, number: u64, largest: usize) -> BTreeMap<String, Left> {
    let mut random = Random::new(number.wrapping_mul(31).wrapping_add(task as u64));
    let value = |len: usize| {
        let text = format!("{task} {number} ");
        Bytes::from(text.bytes().cycle().take(len.max(text.len()).min(largest)).collect::<Vec<_>>())
    };
    let place = random.next();
    let one = |left| BTreeMap::from([(key(task, place), left)]);
    match random.below(8) {
        0 => one(None),
        1 => one(Some((value(100_000), false))),
        2 => one(Some((value(1), true))),
        3 => (0..3).map(|next| (key(task, place + next), Some((value(50), false)))).collect(),
        _ => one(Some((value(1), false))),
    }
}

async fn perform(store: &dyn Store, changes: &BTreeMap<String, Left>) -> Result<()> {
    let mut items = Vec::new();
    for (key, left) in changes {
        let Some((value, expires)) = left else {
            store.delete(key).await?;
            continue;
        };
        let options = SetOptions::default();
        let options = if *expires { options.with_expiry(LONG) } else { options };
        items.push(SetItem::new(key, value).with_options(options));
    }
    if items.len() > 1 {
        for outcome in store.set_many(items).await? {
            outcome?;
        }
    } else if let Some(item) = items.pop() {
        store.set_opts(item.key, item.value, item.options).await?;
    }
    Ok(())
}

/// Writes until it is killed, if this process was started to; `false` where it was not.
pub(crate) fn is_writer(harness: Arc<dyn Harness>) -> bool {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return false;
    };
    let starts = std::env::var(STARTS).unwrap_or_default();
    let starts: Vec<u64> = starts.split(' ').filter_map(|start| start.parse().ok()).collect();
    let runtime = run::runtime(harness.flavor()).expect("a runtime");
    runtime.block_on(async {
        if let Err(error) = write_on(harness, Path::new(&folder), &starts).await {
            say(&format!("error {}", show_error(&error)));
        }
    });
    true
}

async fn write_on(harness: Arc<dyn Harness>, folder: &Path, starts: &[u64]) -> Result<()> {
    let Some(handle) = harness.open_folder(folder).await? else {
        return Ok(());
    };
    let store = handle.store();
    let largest = usize::try_from(store.capabilities().max_value_len).unwrap_or(usize::MAX);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (store, start) = (Arc::clone(&store), starts.get(task).copied().unwrap_or(0));
            tokio::spawn(async move {
                for number in start..start + MOST_WRITES {
                    perform(&*store, &write(task, number, largest)).await?;
                    if !say(&format!("done {task} {number}")) {
                        // Nobody listens any more.
                        break;
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for task in tasks {
        match task.await {
            Ok(result) => result?,
            Err(error) => {
                say(&format!("error {error}"));
            }
        }
    }
    Ok(())
}

/// Writes a line at once, past any capture of the test runner.
fn say(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("writer: {line}\n").as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// A folder that goes with its case.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> std::io::Result<Self> {
        for attempt in 0..100_u32 {
            let name = format!("larder-conformance-{}-{attempt}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(std::io::Error::other("every name for a temporary folder is taken"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed when it is let go of.
struct Life(Child);

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a writer and kills it `after` its first acknowledged write; gives the last write that each
/// task acknowledged.
pub(crate) fn kill_one(
    test: &str,
    folder: &Path,
    starts: &[u64],
    after: Duration,
) -> std::result::Result<[Option<u64>; TASKS], String> {
    let program: OsString = std::env::current_exe().map_err(|error| error.to_string())?.into();
    let starts: Vec<String> = starts.iter().map(ToString::to_string).collect();
    let child = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(STARTS, starts.join(" "))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the writer could not be started: {error}"))?;
    let mut life = Life(child);
    let out = life.0.stdout.take().ok_or("the writer has no output")?;
    let mut complaints = life.0.stderr.take().ok_or("the writer has no error output")?;
    let complaints = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = complaints.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(std::result::Result::ok) {
            // The test runner may have put something before it on the same line.
            let said = line.split_once("writer: ").map(|(_, said)| said.to_owned());
            if said.is_some_and(|said| send.send(said).is_err()) {
                return;
            }
        }
    });
    let mut done = [None; TASKS];
    let first = match lines.recv_timeout(START_LIMIT) {
        Ok(first) => first,
        Err(RecvTimeoutError::Timeout) => {
            return Err(format!("the writer acknowledged nothing within {START_LIMIT:?}"));
        }
        Err(RecvTimeoutError::Disconnected) => {
            drop(life);
            let complaints = complaints.join().unwrap_or_default();
            return Err(format!("the writer ended by itself: {complaints}"));
        }
    };
    note(&first, &mut done)?;
    std::thread::sleep(after);
    drop(life);
    // Whatever it has said before its death is still to be read.
    for line in lines {
        note(&line, &mut done)?;
    }
    Ok(done)
}

fn note(line: &str, done: &mut [Option<u64>; TASKS]) -> std::result::Result<(), String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["done", task, number] => {
            let (task, number) = (task.parse::<usize>(), number.parse::<u64>());
            if let (Ok(task @ 0..TASKS), Ok(number)) = (task, number) {
                done[task] = Some(number);
            }
            Ok(())
        }
        _ => Err(format!("a write before the kill failed: {line}")),
    }
}
