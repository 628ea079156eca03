//! What lies in folders.

use std::ops::ControlFlow;
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

/// Gives everything of ours in a folder, in no order; false when the folder does not exist.
pub(crate) fn read_folder(
    root: &Root,
    node: &Node,
    mut give: impl FnMut(Item) -> Raw<ControlFlow<()>>,
) -> Raw<bool> {
    let Some(folder) = root.folder(&node.path)? else { return Ok(false) };
    let place = root.place(&node.path, "");
    let failed = || Fault::os("reading", &place);
    // A directory stream takes the descriptor for itself; another is needed to look at entries.
    for entry in Dir::read_from(&folder).map_err(failed())? {
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
                match rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(failed()(errno)),
                }
            }
            kind => kind,
        };
        if kind == wanted && give(item)?.is_break() {
            break;
        }
    }
    Ok(true)
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
    /// It holds no record.
    Corrupt,
}

pub(crate) fn glance(root: &Root, path: &FolderPath, hash: KeyHash) -> Raw<Glance> {
    let head = KeyFile::open(root, path, hash)
        .and_then(|file| file.map(|file| file.head(|key| KeyHash::of(key) == hash)).transpose());
    match head {
        Ok(None) | Err(Fault::NotAFile { .. }) => Ok(Glance::Missing),
        Ok(Some(head)) => Ok(Glance::Head(head)),
        Err(fault) if fault.is_corrupt() => Ok(Glance::Corrupt),
        Err(fault) => Err(fault),
    }
}
