//! What lies in folders.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use larder_core::Namespace;
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use crate::error::{Fault, Raw};
use crate::folder::Root;
use crate::key_file::KeyFile;
use crate::layout::{FolderPath, KeyHash, Stripe, Subfolder, read_subfolder};
use crate::record::Head;

/// A folder of the tree: a namespace's, or one with pieces of a segment on the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) path: Arc<FolderPath>,
    pub(crate) namespace: Namespace,
    pieces: Option<String>,
    folds_case: bool,
}

impl Node {
    pub(crate) fn new(path: Arc<FolderPath>, namespace: Namespace, folds_case: bool) -> Self {
        Self { path, namespace, pieces: None, folds_case }
    }

    /// Whether it is a namespace's folder.
    pub(crate) fn is_namespace(&self) -> bool {
        self.pieces.is_none()
    }

    /// The folder `name` in this one; `None` when it is foreign.
    pub(crate) fn child(&self, name: &str) -> Option<Self> {
        let found = read_subfolder(self.pieces.as_deref(), name, self.folds_case)?;
        let (namespace, pieces) = match found {
            Subfolder::Pieces(pieces) => (self.namespace.clone(), Some(pieces)),
            Subfolder::Namespace(segment) => (self.namespace.join(&segment).ok()?, None),
        };
        let path = Arc::new(self.path.child(name));
        Some(Self { path, namespace, pieces, folds_case: self.folds_case })
    }
}

/// Something of ours in a folder.
#[derive(Debug)]
pub(crate) enum Item {
    Key(KeyHash),
    Temp(Stripe, String),
    Folder(Node),
}

/// How often a folder that keeps changing is read, at most.
const READINGS: usize = 16;

/// Gives everything of ours in a folder, in no order; nothing when the folder does not exist.
///
/// A name that is there throughout, though its file may be replaced, is given exactly once.
pub(crate) fn read_folder(
    root: &Root,
    node: &Node,
    mut give: impl FnMut(Item) -> Raw<ControlFlow<()>>,
) -> Raw<()> {
    let Some(folder) = root.folder(&node.path)? else { return Ok(()) };
    let place = root.place(&node.path, "");
    if misses_nothing(&folder) {
        return read_once(&folder, &place, node, |_, item| give(item)).map(|_| ());
    }
    let (mut keys, mut others) = (HashSet::new(), HashSet::new());
    for _ in 0..READINGS {
        let before = changed_at(&folder, &place)?;
        let mut found_more = false;
        let flow = read_once(&folder, &place, node, |name, item| {
            let (is_new, counts) = match &item {
                Item::Key(hash) => (keys.insert(*hash), true),
                Item::Folder(_) => (others.insert(name.to_owned()), true),
                // Those come and go with every write, and are nobody's data.
                Item::Temp(..) => (others.insert(name.to_owned()), false),
            };
            found_more |= is_new && counts;
            if is_new { give(item) } else { Ok(ControlFlow::Continue(())) }
        })?;
        if flow.is_break() || !found_more || changed_at(&folder, &place)? == before {
            break;
        }
    }
    Ok(())
}

/// Tells whether one reading of a folder gives every name that is there throughout.
///
/// A name whose file is replaced meanwhile is missed at times by btrfs, where it moves to the end of
/// the folder and beyond the end of the reading, and by tmpfs, which even loses other names then.
#[cfg(target_os = "linux")]
fn misses_nothing(folder: &OwnedFd) -> bool {
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "its type depends on the target"
    )]
    let is_known = |kind: rustix::fs::FsWord| matches!(kind as u64, EXT4 | XFS);
    rustix::fs::fstatfs(folder).is_ok_and(|stat| is_known(stat.f_type))
}

#[cfg(not(target_os = "linux"))]
fn misses_nothing(_: &OwnedFd) -> bool {
    false
}

/// When names in a folder last changed.
fn changed_at(folder: &OwnedFd, place: &Path) -> Raw<[i64; 4]> {
    let metadata = folder.try_clone().and_then(|fd| std::fs::File::from(fd).metadata());
    let metadata = metadata.map_err(|error| {
        Fault::os("reading", place)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    Ok([metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()])
}

fn read_once(
    folder: &OwnedFd,
    place: &Path,
    node: &Node,
    mut give: impl FnMut(&[u8], Item) -> Raw<ControlFlow<()>>,
) -> Raw<ControlFlow<()>> {
    let failed = || Fault::os("reading", place);
    for entry in Dir::read_from(folder).map_err(failed())? {
        let entry = match entry {
            Ok(entry) => entry,
            // Removed meanwhile: it holds nothing any more.
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(failed()(errno)),
        };
        let name = entry.file_name().to_bytes();
        let Some((item, wanted)) = read_name(node, name) else { continue };
        let kind = match entry.file_type() {
            FileType::Unknown => {
                match rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(failed()(errno)),
                }
            }
            kind => kind,
        };
        if kind == wanted && give(name, item)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn read_name(node: &Node, name: &[u8]) -> Option<(Item, FileType)> {
    if node.is_namespace() {
        if let Some(hash) = KeyHash::parse(name) {
            return Some((Item::Key(hash), FileType::RegularFile));
        }
        if let Some(stripe) = Stripe::of_temp(name) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Some((Item::Temp(stripe, name), FileType::RegularFile));
        }
    }
    let child = node.child(std::str::from_utf8(name).ok()?)?;
    Some((Item::Folder(child), FileType::Directory))
}

/// Everything of ours in one folder.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) keys: Vec<KeyHash>,
    pub(crate) temps: Vec<(Stripe, String)>,
    pub(crate) folders: Vec<Node>,
}

pub(crate) fn contents(root: &Root, node: &Node) -> Raw<Contents> {
    let mut contents = Contents::default();
    read_folder(root, node, |item| {
        match item {
            Item::Key(hash) => contents.keys.push(hash),
            Item::Temp(stripe, name) => contents.temps.push((stripe, name)),
            Item::Folder(node) => contents.folders.push(node),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(contents)
}

/// What a file says about itself to someone who does not know its key.
#[derive(Debug)]
pub(crate) enum Glance {
    Missing,
    Head(Head),
    /// It holds no record, or may not be read.
    Hidden,
}

pub(crate) fn glance(root: &Root, path: &FolderPath, hash: KeyHash) -> Raw<Glance> {
    let head = KeyFile::open(root, path, hash)
        .and_then(|file| file.map(|file| file.head(|key| KeyHash::of(key) == hash)).transpose());
    match head {
        Ok(None) | Err(Fault::NotAFile { .. }) => Ok(Glance::Missing),
        Ok(Some(head)) => Ok(Glance::Head(head)),
        Err(fault) if fault.hides_content() => Ok(Glance::Hidden),
        Err(fault) => Err(fault),
    }
}
