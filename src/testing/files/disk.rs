//! The state of a simulated disk: of each file and directory what is durable and what is seen, and what waits.
//!
//! Invariant: an operation costs what it writes and what waits for its own file, however many files there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::change::{Change, Image, NodeNumber, Operation, SECTOR};
use super::content::Content;
use super::crash::CrashPoint;

/// The directory `/`.
pub(super) const ROOT: NodeNumber = 0;
/// So many files more than there were are made before those that nobody can reach are looked for.
const COLLECT_EVERY: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    /// Numbers whose files nobody can reach any more.
    free: Vec<NodeNumber>,
    /// With so many nodes in use those that nobody can reach are looked for.
    collect_at: usize,
    serial: u64,
    pub(super) locks: BTreeSet<PathBuf>,
    /// The states after each change, when they are recorded.
    pub(super) points: Option<Vec<CrashPoint>>,
    /// How many more syncs succeed; `None` is all.
    pub(super) syncs_left: Option<usize>,
    /// How many more writes succeed.
    pub(super) writes_left: Option<usize>,
    /// How every read fails.
    pub(super) reads_fail: Option<i32>,
    /// How many bytes were read.
    pub(super) bytes_read: u64,
    /// Sectors that cannot be read.
    pub(super) bad: Vec<BadSector>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BadSector {
    pub(super) node: NodeNumber,
    pub(super) begin: u64,
}

#[derive(Debug)]
struct Node {
    cached: Arc<Image>,
    durable: Arc<Image>,
    /// What changes its image at a sync, in order.
    pending: Vec<Operation>,
    /// How many open files it has.
    handles: usize,
}

impl Disk {
    pub(super) fn of(images: Vec<Arc<Image>>) -> Self {
        let node = |image: Arc<Image>| Node { cached: image.clone(), durable: image, pending: Vec::new(), handles: 0 };
        let nodes: Vec<Node> = images.into_iter().map(node).collect();
        let collect_at = nodes.len() + COLLECT_EVERY;
        Self { nodes, collect_at, ..Self::default() }
    }

    /// What a power cut would find now.
    pub(super) fn point(&self) -> CrashPoint {
        let is_alive = self.reachable();
        let mut images: Vec<Arc<Image>> = self.nodes.iter().map(|node| node.durable.clone()).collect();
        let mut pending = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if is_alive[number] {
                pending.extend(node.pending.iter().cloned());
            } else {
                images[number] = Arc::new(node.durable.emptied());
            }
        }
        pending.sort_by_key(|operation: &Operation| operation.serial);
        CrashPoint { images, pending }
    }

    fn keep_point(&mut self) {
        let point = self.points.is_some().then(|| self.point());
        self.points.iter_mut().for_each(|points| points.extend(point.clone()));
    }

    pub(super) fn change(&mut self, node: NodeNumber, change: Change) {
        Arc::make_mut(&mut self.nodes[node].cached).apply(&change);
        self.serial += 1;
        self.nodes[node].pending.push(Operation { serial: self.serial, node, change });
        self.keep_point();
    }

    pub(super) fn sync(&mut self, node: NodeNumber) -> io::Result<()> {
        let fails = !count_down(&mut self.syncs_left);
        let pending = std::mem::take(&mut self.nodes[node].pending);
        if fails {
            // Clean, but not durable.
            return Err(io::Error::other("a simulated sync failed"));
        }
        for operation in pending {
            Arc::make_mut(&mut self.nodes[operation.node].durable).apply(&operation.change);
        }
        self.keep_point();
        Ok(())
    }

    /// Makes a file or a directory that has no name yet.
    pub(super) fn add(&mut self, image: Image) -> NodeNumber {
        if self.nodes.len() - self.free.len() >= self.collect_at {
            self.collect();
        }
        let durable = Arc::new(image.emptied());
        let node = Node { cached: Arc::new(image), durable, pending: Vec::new(), handles: 0 };
        if let Some(number) = self.free.pop() {
            self.nodes[number] = node;
            return number;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Gives up what no name, no open file and no crash can bring back.
    fn collect(&mut self) {
        let is_alive = self.reachable();
        let was_free: BTreeSet<NodeNumber> = self.free.iter().copied().collect();
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if is_alive[number] || node.handles > 0 || was_free.contains(&number) {
                continue;
            }
            node.cached = Arc::new(node.cached.emptied());
            node.durable = node.cached.clone();
            node.pending = Vec::new();
            self.bad.retain(|bad| bad.node != number);
            self.free.push(number);
        }
        let alive = self.nodes.len() - self.free.len();
        self.collect_at = 2 * alive + COLLECT_EVERY;
    }

    /// Which nodes have a name, or may have one after a crash.
    fn reachable(&self) -> Vec<bool> {
        let mut is_alive = vec![false; self.nodes.len()];
        let mut found = vec![ROOT];
        while let Some(number) = found.pop() {
            if std::mem::replace(&mut is_alive[number], true) {
                continue;
            }
            let node = &self.nodes[number];
            found.extend(node.cached.entries().map(|(_, entry)| entry));
            found.extend(node.durable.entries().map(|(_, entry)| entry));
            found.extend(node.pending.iter().filter_map(|operation| match &operation.change {
                Change::Link { node, .. } | Change::Rename { node, .. } => Some(*node),
                Change::Write { .. } | Change::SetLen(_) | Change::Unlink(_) => None,
            }));
        }
        is_alive
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeNumber> {
        let mut node = ROOT;
        for name in names(path) {
            let Image::Directory(entries) = &*self.nodes[node].cached else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = *entries.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// The directory that a path's last name stands in, and that name.
    pub(super) fn parent<'a>(&self, path: &'a Path) -> io::Result<(NodeNumber, &'a str)> {
        let name = path.file_name().and_then(OsStr::to_str).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    /// What is seen of a node.
    pub(super) fn cached(&self, node: NodeNumber) -> &Image {
        &self.nodes[node].cached
    }

    /// The entries of a directory as they are seen.
    pub(super) fn entries(&self, node: NodeNumber) -> io::Result<&BTreeMap<Arc<str>, NodeNumber>> {
        match &*self.nodes[node].cached {
            Image::Directory(entries) => Ok(entries),
            Image::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// What is seen of a file.
    pub(super) fn file(&self, node: NodeNumber) -> &Content {
        match &*self.nodes[node].cached {
            Image::File(content) => content,
            Image::Directory(_) => panic!("an open file is a file"),
        }
    }

    /// Changes what is seen of a file, and nothing else.
    pub(super) fn file_mut(&mut self, node: NodeNumber) -> &mut Content {
        match Arc::make_mut(&mut self.nodes[node].cached) {
            Image::File(content) => content,
            Image::Directory(_) => panic!("an open file is a file"),
        }
    }

    pub(super) fn opened(&mut self, node: NodeNumber) {
        self.nodes[node].handles += 1;
    }

    pub(super) fn closed(&mut self, node: NodeNumber) {
        self.nodes[node].handles -= 1;
    }

    /// Whether a read of these bytes meets a sector that cannot be read.
    pub(super) fn is_bad(&self, node: NodeNumber, begin: u64, end: u64) -> bool {
        let holds = |bad: &BadSector| bad.node == node && bad.begin < end && begin < bad.begin + SECTOR;
        self.bad.iter().any(holds)
    }
}

pub(super) fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    })
}

/// Whether one more is allowed.
pub(super) fn count_down(left: &mut Option<usize>) -> bool {
    match left {
        None => true,
        Some(0) => false,
        Some(count) => {
            *count -= 1;
            true
        }
    }
}
