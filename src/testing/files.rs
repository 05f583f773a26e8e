//! A file system that can lose its power.
//!
//! Each file and directory has a durable image and a cached one; operations wait in a list until a sync of their own
//! file or directory. A power cut applies any subset of those that wait, a write perhaps only in part, at sectors of
//! 512 bytes. Invariant: a sync moves the operations of its own file only.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{Entry, File, FileLock, Files, OpenMode, SyncItem};

const SECTOR: u64 = 512;
/// EIO.
const MEDIA_ERROR: i32 = 5;
const ROOT: NodeNumber = 0;

type NodeNumber = usize;

/// See the file's comment. Clones share one world.
#[derive(Clone, Debug)]
pub struct SimulatedFiles {
    /// Guards the whole world; each call takes it once.
    world: Arc<Mutex<World>>,
}

/// What a power cut at one moment would find: what is durable, and what is not yet.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    nodes: Vec<Image>,
    pending: Vec<Operation>,
}

#[derive(Debug, Default)]
struct World {
    nodes: Vec<Node>,
    pending: Vec<Operation>,
    locks: BTreeSet<PathBuf>,
    /// The states after each change, when they are recorded.
    points: Option<Vec<CrashPoint>>,
    /// How many more syncs succeed; `None` is all.
    syncs_left: Option<usize>,
    /// How many more writes succeed.
    writes_left: Option<usize>,
    /// How every read fails.
    reads_fail: Option<i32>,
    /// How many bytes were read.
    bytes_read: u64,
    /// Sectors that cannot be read.
    bad: Vec<BadSector>,
}

#[derive(Clone, Copy, Debug)]
struct BadSector {
    node: NodeNumber,
    begin: u64,
}

#[derive(Debug)]
struct Node {
    cached: Image,
    durable: Image,
}

#[derive(Clone, Debug)]
enum Image {
    File(Vec<u8>),
    Directory(BTreeMap<String, NodeNumber>),
}

#[derive(Clone, Debug)]
struct Operation {
    node: NodeNumber,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Write { position: u64, bytes: Arc<[u8]> },
    SetLen(u64),
    Link { name: String, node: NodeNumber },
    Unlink(String),
    Rename { from: String, to: String, node: NodeNumber },
}

impl Default for SimulatedFiles {
    fn default() -> Self {
        Self::of(vec![Image::Directory(BTreeMap::new())])
    }
}

impl SimulatedFiles {
    fn of(images: Vec<Image>) -> Self {
        let nodes = images.into_iter().map(|image| Node { cached: image.clone(), durable: image }).collect();
        Self { world: Arc::new(Mutex::new(World { nodes, ..World::default() })) }
    }

    /// Keeps the state after each change from now on.
    pub fn record(&self) {
        let mut world = self.lock();
        let point = world.point();
        world.points = Some(vec![point]);
    }

    /// How many states were kept.
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.lock().points.as_ref().map_or(0, Vec::len)
    }

    /// The states kept, and no more from now on.
    #[must_use]
    pub fn take_recorded(&self) -> Vec<CrashPoint> {
        self.lock().points.take().unwrap_or_default()
    }

    /// The present state, as a power cut would find it.
    #[must_use]
    pub fn crash_point(&self) -> CrashPoint {
        self.lock().point()
    }

    /// After so many more syncs every one fails, and makes nothing durable.
    pub fn fail_syncs_after(&self, count: usize) {
        self.lock().syncs_left = Some(count);
    }

    /// After so many more writes every one fails half way.
    pub fn fail_writes_after(&self, count: usize) {
        self.lock().writes_left = Some(count);
    }

    /// From now on every read fails with this error of the system.
    pub fn fail_reads(&self, error: i32) {
        self.lock().reads_fail = Some(error);
    }

    /// How many bytes were read so far, of all files.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.lock().bytes_read
    }

    /// How many bytes a file has.
    #[must_use]
    pub fn size_of(&self, path: &Path) -> usize {
        let mut world = self.lock();
        let node = world.find(path).expect("the file is there");
        world.file(node).len()
    }

    /// Some bits of a file's byte are not what was written.
    pub fn flip_bits(&self, path: &Path, position: usize, bits: u8) {
        let mut world = self.lock();
        let node = world.find(path).expect("the file is there");
        world.file(node)[position] ^= bits;
    }

    /// From now on the sector of a file at this position cannot be read.
    pub fn fail_reads_at(&self, path: &Path, position: u64) {
        let mut world = self.lock();
        let node = world.find(path).expect("the file is there");
        world.bad.push(BadSector { node, begin: position / SECTOR * SECTOR });
    }

    /// Everything works again.
    pub fn heal(&self) {
        let mut world = self.lock();
        (world.syncs_left, world.writes_left, world.reads_fail) = (None, None, None);
        world.bad.clear();
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CrashPoint {
    /// How many ways each waiting operation can end: 0 not at all, 1 whole, 2 only its first sectors, 3 only its last.
    #[must_use]
    pub fn ways(&self) -> Vec<usize> {
        let ways = |operation: &Operation| match &operation.change {
            Change::Write { position, bytes } if split_at(*position, bytes.len()).is_some() => 4,
            Change::Write { .. }
            | Change::SetLen(_)
            | Change::Link { .. }
            | Change::Unlink(_)
            | Change::Rename { .. } => 2,
        };
        self.pending.iter().map(ways).collect()
    }

    /// The files after the power cut, each waiting operation having ended as told.
    #[must_use]
    pub fn after(&self, ends: &[usize]) -> SimulatedFiles {
        assert_eq!(ends.len(), self.pending.len(), "each operation ends in one way");
        let mut images = self.nodes.clone();
        for (operation, end) in self.pending.iter().zip(ends) {
            let image = &mut images[operation.node];
            match (&operation.change, end) {
                (_, 0) => {}
                (change, 1) => apply(image, change),
                (Change::Write { position, bytes }, end) => {
                    let middle = split_at(*position, bytes.len()).expect("only a write of several sectors is torn");
                    let (position, bytes) = match end {
                        2 => (*position, &bytes[..middle]),
                        _ => (*position + as_u64(middle), &bytes[middle..]),
                    };
                    apply(image, &Change::Write { position, bytes: bytes.into() });
                }
                (change, end) => panic!("{change:?} cannot end in way {end}"),
            }
        }
        SimulatedFiles::of(images)
    }
}

/// The boundary of sectors nearest to the middle of a write, if there is one within.
fn split_at(position: u64, len: usize) -> Option<usize> {
    let middle = (position + as_u64(len) / 2).div_ceil(SECTOR) * SECTOR;
    let at = usize::try_from(middle.checked_sub(position)?).ok()?;
    (at > 0 && at < len).then_some(at)
}

fn apply(image: &mut Image, change: &Change) {
    match (image, change) {
        (Image::File(content), Change::Write { position, bytes }) => {
            let start = usize::try_from(*position).expect("simulated files are small");
            if content.len() < start + bytes.len() {
                content.resize(start + bytes.len(), 0);
            }
            content[start..start + bytes.len()].copy_from_slice(bytes);
        }
        (Image::File(content), Change::SetLen(len)) => {
            content.resize(usize::try_from(*len).expect("simulated files are small"), 0);
        }
        (Image::Directory(entries), Change::Link { name, node }) => {
            entries.insert(name.clone(), *node);
        }
        (Image::Directory(entries), Change::Unlink(name)) => {
            entries.remove(name);
        }
        (Image::Directory(entries), Change::Rename { from, to, node }) => {
            if entries.get(from) == Some(node) {
                entries.remove(from);
            }
            entries.insert(to.clone(), *node);
        }
        (image, change) => panic!("{change:?} is not for {image:?}"),
    }
}

impl World {
    fn point(&self) -> CrashPoint {
        let nodes = self.nodes.iter().map(|node| node.durable.clone()).collect();
        CrashPoint { nodes, pending: self.pending.clone() }
    }

    fn keep_point(&mut self) {
        let point = self.points.is_some().then(|| self.point());
        self.points.iter_mut().for_each(|points| points.extend(point.clone()));
    }

    fn change(&mut self, node: NodeNumber, change: Change) {
        apply(&mut self.nodes[node].cached, &change);
        self.pending.push(Operation { node, change });
        self.keep_point();
    }

    fn sync(&mut self, node: NodeNumber) -> io::Result<()> {
        let fails = !count_down(&mut self.syncs_left);
        let (mine, others) = std::mem::take(&mut self.pending).into_iter().partition(|o: &Operation| o.node == node);
        self.pending = others;
        if fails {
            // Clean, but not durable.
            return Err(io::Error::other("a simulated sync failed"));
        }
        mine.iter().for_each(|operation| apply(&mut self.nodes[node].durable, &operation.change));
        self.keep_point();
        Ok(())
    }

    fn add(&mut self, image: Image) -> NodeNumber {
        let durable = match &image {
            Image::File(_) => Image::File(Vec::new()),
            Image::Directory(_) => Image::Directory(BTreeMap::new()),
        };
        self.nodes.push(Node { cached: image, durable });
        self.nodes.len() - 1
    }

    fn find(&self, path: &Path) -> io::Result<NodeNumber> {
        let mut node = ROOT;
        for name in names(path) {
            let Image::Directory(entries) = &self.nodes[node].cached else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = *entries.get(&name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    fn parent(&self, path: &Path) -> io::Result<(NodeNumber, String)> {
        let name = path.file_name().and_then(OsStr::to_str).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name.to_owned()))
    }

    fn file(&mut self, node: NodeNumber) -> &mut Vec<u8> {
        match &mut self.nodes[node].cached {
            Image::File(content) => content,
            Image::Directory(_) => panic!("an open file is a file"),
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = String> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    })
}

/// Whether one more is allowed.
fn count_down(left: &mut Option<usize>) -> bool {
    match left {
        None => true,
        Some(0) => false,
        Some(count) => {
            *count -= 1;
            true
        }
    }
}

impl Files for SimulatedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut world = self.lock();
        let node = match world.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && mode == OpenMode::Create => {
                let (parent, name) = world.parent(path)?;
                let node = world.add(Image::File(Vec::new()));
                world.change(parent, Change::Link { name, node });
                node
            }
            other => other?,
        };
        if matches!(world.nodes[node].cached, Image::Directory(_)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(SimulatedFile { files: self.clone(), node }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.lock();
        let mut node = ROOT;
        for name in names(path) {
            let Image::Directory(entries) = &world.nodes[node].cached else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = match entries.get(&name) {
                Some(next) => *next,
                None => {
                    let next = world.add(Image::Directory(BTreeMap::new()));
                    world.change(node, Change::Link { name, node: next });
                    next
                }
            };
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let world = self.lock();
        let node = world.find(path)?;
        let Image::Directory(entries) = &world.nodes[node].cached else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        let entry = |(name, node): (&String, &NodeNumber)| Entry {
            name: name.clone(),
            is_directory: matches!(world.nodes[*node].cached, Image::Directory(_)),
        };
        Ok(entries.iter().map(entry).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.lock().find(path).is_ok())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.lock();
        let node = world.find(from)?;
        let ((parent, from), (other, to)) = (world.parent(from)?, world.parent(to)?);
        assert_eq!(parent, other, "renames stay within one directory");
        world.change(parent, Change::Rename { from, to, node });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.lock();
        world.find(path)?;
        let (parent, name) = world.parent(path)?;
        world.change(parent, Change::Unlink(name));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.remove_file(path)
    }

    fn open_max(&self) -> usize {
        usize::MAX
    }

    fn modified(&self, _path: &Path) -> io::Result<i64> {
        Ok(0)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.lock();
        let node = world.find(path)?;
        world.sync(node)
    }

    fn sync_all(&self, _root: &Path, items: &[SyncItem]) -> io::Result<()> {
        for item in items {
            match item {
                SyncItem::File(file) => file.sync_data()?,
                SyncItem::Directory(path) => match self.sync_dir(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Ok(()) => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        if !self.lock().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimulatedLock { files: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    files: SimulatedFiles,
    node: NodeNumber,
}

impl File for SimulatedFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut world = self.files.lock();
        if let Some(error) = world.reads_fail {
            return Err(io::Error::from_raw_os_error(error));
        }
        let end = position + as_u64(buffer.len());
        let holds = |bad: &BadSector| bad.node == self.node && bad.begin < end && position < bad.begin + SECTOR;
        if world.bad.iter().any(holds) {
            return Err(io::Error::from_raw_os_error(MEDIA_ERROR));
        }
        let content = world.file(self.node);
        let start = usize::try_from(position).expect("simulated files are small").min(content.len());
        let count = buffer.len().min(content.len() - start);
        buffer[..count].copy_from_slice(&content[start..start + count]);
        world.bytes_read += as_u64(count);
        Ok(count)
    }

    fn read_cached_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.read_at(position, buffer).map(Some)
    }

    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut world = self.files.lock();
        let bytes: Arc<[u8]> = parts.concat().into();
        if count_down(&mut world.writes_left) {
            world.change(self.node, Change::Write { position, bytes });
            return Ok(());
        }
        let half = bytes[..bytes.len() / 2].into();
        world.change(self.node, Change::Write { position, bytes: half });
        Err(io::ErrorKind::StorageFull.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(as_u64(self.files.lock().file(self.node).len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.files.lock();
        if as_u64(world.file(self.node).len()) != len {
            world.change(self.node, Change::SetLen(len));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.files.lock().sync(self.node)
    }
}

#[derive(Debug)]
struct SimulatedLock {
    files: SimulatedFiles,
    path: PathBuf,
}

impl FileLock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.files.lock().locks.remove(&self.path);
    }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits in 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(files: &SimulatedFiles, path: &str) -> Option<Vec<u8>> {
        let file = files.open(Path::new(path), OpenMode::Read).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn a_file_is_there_after_a_power_cut_only_if_its_directory_was_synced_too() {
        let files = SimulatedFiles::default();
        let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
        file.write_at(0, &[b"x"]).unwrap();
        file.sync_data().unwrap();
        let point = files.crash_point();
        assert_eq!(content(&point.after(&[0]), "/a"), None);
        assert_eq!(content(&point.after(&[1]), "/a").unwrap(), b"x");
        files.sync_dir(Path::new("/")).unwrap();
        assert!(files.crash_point().ways().is_empty());
    }

    #[test]
    fn an_unsynced_write_may_be_lost_or_torn() {
        let files = SimulatedFiles::default();
        let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
        files.sync_dir(Path::new("/")).unwrap();
        file.write_at(0, &[&[7; 1024]]).unwrap();
        let point = files.crash_point();
        assert_eq!(point.ways(), [4]);
        assert!(content(&point.after(&[0]), "/a").unwrap().is_empty());
        assert_eq!(content(&point.after(&[2]), "/a").unwrap(), [7; 512]);
        assert_eq!(content(&point.after(&[3]), "/a").unwrap(), [[0; 512], [7; 512]].concat());
    }

    #[test]
    fn a_rename_happens_or_not() {
        let files = SimulatedFiles::default();
        files.open(Path::new("/a"), OpenMode::Create).unwrap().write_at(0, &[b"old"]).unwrap();
        files.open(Path::new("/b"), OpenMode::Create).unwrap().write_at(0, &[b"new"]).unwrap();
        for path in ["/a", "/b"] {
            files.open(Path::new(path), OpenMode::Write).unwrap().sync_data().unwrap();
        }
        files.sync_dir(Path::new("/")).unwrap();
        files.rename(Path::new("/b"), Path::new("/a")).unwrap();
        let point = files.crash_point();
        assert_eq!(content(&point.after(&[0]), "/a").unwrap(), b"old");
        assert_eq!(content(&point.after(&[1]), "/a").unwrap(), b"new");
        assert_eq!(content(&point.after(&[1]), "/b"), None);
    }

    #[test]
    fn after_a_failed_sync_the_next_succeeds_and_the_data_is_gone() {
        let files = SimulatedFiles::default();
        let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
        files.sync_dir(Path::new("/")).unwrap();
        file.write_at(0, &[b"x"]).unwrap();
        files.fail_syncs_after(0);
        assert!(file.sync_data().is_err());
        files.heal();
        file.sync_data().unwrap();
        assert!(content(&files.crash_point().after(&[]), "/a").unwrap().is_empty());
    }
}
