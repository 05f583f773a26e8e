//! The state of a simulated disk: of each file and directory what is durable and what is seen, and what waits.
//!
//! Invariant: an operation costs what it writes and what waits for its own file, however many files there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::change::{Change, Image, NodeNumber, Operation, SECTOR, as_u64};
use super::content::Content;
use super::crash::CrashPoint;
use super::fault::{Fault, Faults, FileKind, Occasion};

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
    /// Another after each replacement of all that is on the disk: a file that was open before is none of this one's.
    pub(super) generation: u64,
    pub(super) locks: BTreeSet<PathBuf>,
    /// The states after each change, when they are recorded.
    pub(super) points: Option<Vec<CrashPoint>>,
    pub(super) medium: Medium,
    pub(super) faults: Faults,
    /// How many more syncs succeed; `None` is all.
    pub(super) syncs_left: Option<usize>,
    /// How many more writes succeed.
    pub(super) writes_left: Option<usize>,
    /// How every read fails.
    pub(super) reads_fail: Option<i32>,
    pub(super) traffic: Traffic,
    /// Bytes of all files that have a name or are open, as they are seen.
    used: u64,
    /// Bytes of all writes that wait for a sync.
    dirty: u64,
}

/// What of a disk a power cut does not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    /// How many bytes its files may have together.
    pub(super) capacity: Option<u64>,
    /// Sectors that cannot be read.
    pub(super) bad: Vec<BadSector>,
    /// When files are written, in milliseconds since 1970.
    pub(super) clock: i64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BadSector {
    pub(super) node: NodeNumber,
    pub(super) begin: u64,
}

/// What a disk was asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Reads, whether or not they were carried out; likewise below.
    pub reads: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Bytes that syncs made durable.
    pub bytes_synced: u64,
}

#[derive(Debug)]
struct Node {
    cached: Arc<Image>,
    durable: Arc<Image>,
    /// What changes images at a sync, in order: its own, but for misdirected writes.
    pending: Vec<Operation>,
    /// How many entries of directories name it, as they are seen.
    names: usize,
    /// How many open files it has.
    handles: usize,
    /// How many writes to it were forgotten without a sync.
    losses: u64,
}

impl Node {
    fn new(cached: Arc<Image>, durable: Arc<Image>) -> Self {
        Self { cached, durable, pending: Vec::new(), names: 0, handles: 0, losses: 0 }
    }

    /// What it takes of the disk.
    fn space(&self) -> u64 {
        match &*self.cached {
            Image::File(content) if self.names > 0 || self.handles > 0 => as_u64(content.len()),
            Image::File(_) | Image::Directory(_) => 0,
        }
    }
}

impl Disk {
    /// A disk on which all of this is durable.
    pub(super) fn of(images: Vec<Arc<Image>>, medium: Medium) -> Self {
        let nodes: Vec<Node> = images.into_iter().map(|image| Node::new(image.clone(), image)).collect();
        let collect_at = nodes.len() + COLLECT_EVERY;
        let mut disk = Self { nodes, collect_at, medium, ..Self::default() };
        disk.recount();
        disk
    }

    /// Replaces all that is on the disk; what was open before is stale.
    pub(super) fn replace(&mut self, images: Vec<Arc<Image>>) {
        self.medium.bad.clear();
        let Self { nodes, collect_at, used, .. } = Self::of(images, Medium::default());
        (self.nodes, self.collect_at, self.used) = (nodes, collect_at, used);
        (self.free, self.dirty) = (Vec::new(), 0);
        self.generation += 1;
    }

    /// Counts names and space anew, after a change of what is seen that was no operation.
    pub(super) fn recount(&mut self) {
        let mut names = vec![0; self.nodes.len()];
        let mut found = vec![ROOT];
        while let Some(number) = found.pop() {
            for (_, entry) in self.nodes[number].cached.entries() {
                names[entry] += 1;
                found.push(entry);
            }
        }
        for (node, names) in self.nodes.iter_mut().zip(names) {
            node.names = names;
        }
        self.used = self.nodes.iter().map(Node::space).sum();
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
        CrashPoint { images, pending, medium: self.medium.clone() }
    }

    /// What a copy has in common with its original but the bytes.
    pub(super) fn medium_of_copy(&self) -> Medium {
        Medium { bad: Vec::new(), ..self.medium.clone() }
    }

    /// Everything as it is seen.
    pub(super) fn seen(&self) -> Vec<Arc<Image>> {
        self.nodes.iter().map(|node| node.cached.clone()).collect()
    }

    fn keep_point(&mut self) {
        let point = self.points.is_some().then(|| self.point());
        self.points.iter_mut().for_each(|points| points.extend(point.clone()));
    }

    /// Carries out what was asked for, and lets it wait for a sync.
    pub(super) fn change(&mut self, node: NodeNumber, change: Change) {
        self.show(node, &change);
        self.wait(node, node, change);
    }

    /// Carries a change out where it is seen.
    pub(super) fn show(&mut self, node: NodeNumber, change: &Change) {
        match change {
            Change::Write { .. } | Change::SetLen(_) => {
                let (node, clock) = (&mut self.nodes[node], self.medium.clock);
                let before = node.space();
                Arc::make_mut(&mut node.cached).write(change, clock);
                self.used = self.used - before + node.space();
                return;
            }
            Change::Link { node: named, .. } => self.nodes[*named].names += 1,
            Change::Unlink(name) => self.unname_entry(node, name),
            Change::Rename { from, to, .. } if from != to => self.unname_entry(node, to),
            Change::Rename { .. } => {}
        }
        Arc::make_mut(&mut self.nodes[node].cached).apply(change);
    }

    /// Lets a change of `changed` wait for a sync of `asked`.
    pub(super) fn wait(&mut self, asked: NodeNumber, changed: NodeNumber, change: Change) {
        self.serial += 1;
        self.dirty += change.bytes();
        self.nodes[asked].pending.push(Operation { serial: self.serial, node: changed, change });
        self.keep_point();
    }

    fn unname_entry(&mut self, directory: NodeNumber, name: &str) {
        let mut lost: Vec<NodeNumber> = match &*self.nodes[directory].cached {
            Image::Directory(entries) => entries.get(name).copied().into_iter().collect(),
            Image::File(_) => Vec::new(),
        };
        while let Some(number) = lost.pop() {
            let before = self.nodes[number].space();
            self.nodes[number].names -= 1;
            if self.nodes[number].names == 0 {
                lost.extend(self.nodes[number].cached.entries().map(|(_, entry)| entry));
            }
            self.used = self.used - before + self.nodes[number].space();
        }
    }

    /// Makes what waits for a node durable; `has_lost` when it has to say that something was forgotten before.
    pub(super) fn sync(&mut self, node: NodeNumber, path: &Path, has_lost: bool) -> io::Result<()> {
        self.traffic.syncs += 1;
        let fault = self.sync_fault(node, path);
        let fails = !count_down(&mut self.syncs_left) || fault == Some(Fault::SyncFails) || has_lost;
        if fault == Some(Fault::SyncLies) && !fails {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.nodes[node].pending);
        let bytes: u64 = pending.iter().map(|operation| operation.change.bytes()).sum();
        self.dirty -= bytes;
        if fails {
            // Clean, but not durable.
            return Err(Fault::SyncFails.error().expect("a failed sync says so"));
        }
        self.traffic.bytes_synced += bytes;
        for operation in pending {
            Arc::make_mut(&mut self.nodes[operation.node].durable).write(&operation.change, self.medium.clock);
        }
        self.keep_point();
        Ok(())
    }

    fn sync_fault(&mut self, node: NodeNumber, path: &Path) -> Option<Fault> {
        let is_directory = self.cached(node).is_directory();
        let kind = || if is_directory { FileKind::Directory } else { FileKind::of(path) };
        self.faults.strike(Occasion::Sync, path, kind)
    }

    /// Makes a file or a directory that has no name yet.
    pub(super) fn add(&mut self, image: Image) -> NodeNumber {
        if self.nodes.len() - self.free.len() >= self.collect_at {
            self.collect();
        }
        let durable = Arc::new(image.emptied());
        let node = Node::new(Arc::new(image), durable);
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
            self.dirty -= node.pending.iter().map(|operation| operation.change.bytes()).sum::<u64>();
            let nothing = Arc::new(node.cached.emptied());
            *node = Node::new(nothing.clone(), nothing);
            self.medium.bad.retain(|bad| bad.node != number);
            self.free.push(number);
        }
        let alive = self.nodes.len() - self.free.len();
        self.collect_at = 2 * alive + COLLECT_EVERY;
    }

    /// Which nodes have a name, or may have one after a crash, or are changed by what waits.
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
            found.extend(node.pending.iter().map(|operation| match &operation.change {
                Change::Link { node, .. } | Change::Rename { node, .. } => *node,
                Change::Write { .. } | Change::SetLen(_) | Change::Unlink(_) => operation.node,
            }));
        }
        is_alive
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeNumber> {
        names(path).try_fold(ROOT, |node, name| {
            let entry = self.entries(node)?.get(name);
            Ok(*entry.ok_or(io::ErrorKind::NotFound)?)
        })
    }

    /// As `find`, of what is durable.
    pub(super) fn find_durable(&self, path: &Path) -> Option<NodeNumber> {
        names(path).try_fold(ROOT, |node, name| match &*self.nodes[node].durable {
            Image::Directory(entries) => entries.get(name).copied(),
            Image::File(_) => None,
        })
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

    /// What is durable of a node.
    pub(super) fn durable(&self, node: NodeNumber) -> &Image {
        &self.nodes[node].durable
    }

    /// Both images of a node, to change them at rest; count anew then.
    pub(super) fn both_mut(&mut self, node: NodeNumber) -> [&mut Image; 2] {
        let node = &mut self.nodes[node];
        [Arc::make_mut(&mut node.cached), Arc::make_mut(&mut node.durable)]
    }

    /// What waits for a sync of a node.
    pub(super) fn pending_mut(&mut self, node: NodeNumber) -> &mut Vec<Operation> {
        &mut self.nodes[node].pending
    }

    /// Lets what is clean of every file be read from the medium again.
    pub(super) fn evict(&mut self) {
        for (number, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| !node.cached.is_directory()) {
            node.cached = node.durable.clone();
            for operation in node.pending.iter().filter(|operation| operation.node == number) {
                Arc::make_mut(&mut node.cached).apply(&operation.change);
            }
        }
        self.recount();
    }

    /// The entries of a directory as they are seen.
    pub(super) fn entries(&self, node: NodeNumber) -> io::Result<&BTreeMap<Arc<str>, NodeNumber>> {
        match self.cached(node) {
            Image::Directory(entries) => Ok(entries),
            Image::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// What is seen of a file.
    pub(super) fn file(&self, node: NodeNumber) -> &Content {
        match self.cached(node) {
            Image::File(content) => content,
            Image::Directory(_) => panic!("an open file is a file"),
        }
    }

    pub(super) fn opened(&mut self, node: NodeNumber) {
        self.nodes[node].handles += 1;
    }

    pub(super) fn closed(&mut self, node: NodeNumber) {
        let before = self.nodes[node].space();
        self.nodes[node].handles -= 1;
        self.used = self.used - before + self.nodes[node].space();
    }

    pub(super) fn losses(&self, node: NodeNumber) -> u64 {
        self.nodes[node].losses
    }

    pub(super) fn lose(&mut self, node: NodeNumber) {
        self.nodes[node].losses += 1;
    }

    /// How many files and directories are kept.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// How many bytes the disk's files have together.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// How many more bytes there is room for.
    pub(super) fn room(&self) -> u64 {
        self.medium.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used))
    }

    /// How many bytes wait for a sync.
    pub(super) fn dirty(&self) -> u64 {
        self.dirty
    }

    /// Whether a read of these bytes meets a sector that cannot be read.
    pub(super) fn is_bad(&self, node: NodeNumber, begin: u64, end: u64) -> bool {
        let holds = |bad: &BadSector| bad.node == node && bad.begin < end && begin < bad.begin + SECTOR;
        self.medium.bad.iter().any(holds)
    }

    /// Whole sectors that are written, or are not the file's any more, can be read again: a disk puts others in place.
    pub(super) fn renew_sectors(&mut self, node: NodeNumber, begin: u64, end: u64) {
        let is_renewed = |bad: &BadSector| bad.node == node && begin <= bad.begin && bad.begin + SECTOR <= end;
        self.medium.bad.retain(|bad| !is_renewed(bad));
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
