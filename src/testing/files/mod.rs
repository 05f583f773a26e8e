//! A file system that can lose its power.
//!
//! Each file and directory has a durable image and a cached one; operations wait in a list until a sync of their own
//! file or directory. A power cut applies any subset of those that wait, a write perhaps only in part, at sectors of
//! 512 bytes. Invariant: a sync moves the operations of its own file only.

mod crash;
mod outcomes;
mod fault;
mod rest;
mod file;
mod disk;
mod change;
mod content;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{Entry, File, FileLock, Files, OpenMode, SyncItem};

pub use crash::{CrashPoint, Survival};
pub use disk::Traffic;
pub use fault::{Fault, FileKind, Target, Times};
pub use outcomes::Outcomes;

use change::{Change, Image, NodeNumber};
use content::Content;
use disk::{Disk, Medium, ROOT, names};
use fault::{Faults, Occasion, errno};
use file::SimulatedFile;

/// See the file's comment. Clones share one disk.
#[derive(Clone, Debug)]
pub struct SimulatedFiles {
    /// Guards the whole disk; each call takes it once.
    disk: Arc<Mutex<Disk>>,
}

impl Default for SimulatedFiles {
    fn default() -> Self {
        Self::of(Disk::of(vec![Arc::new(Image::Directory(BTreeMap::new()))], Medium::default()))
    }
}

impl SimulatedFiles {
    fn of(disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Keeps the state after each change from now on.
    pub fn record(&self) {
        let mut disk = self.disk();
        let point = disk.point();
        disk.points = Some(vec![point]);
    }

    /// How many states were kept.
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.disk().points.as_ref().map_or(0, Vec::len)
    }

    /// The states kept, and no more from now on.
    #[must_use]
    pub fn take_recorded(&self) -> Vec<CrashPoint> {
        self.disk().points.take().unwrap_or_default()
    }

    /// The present state, as a power cut would find it.
    #[must_use]
    pub fn crash_point(&self) -> CrashPoint {
        self.disk().point()
    }

    /// After so many more syncs every one fails, and makes nothing durable.
    pub fn fail_syncs_after(&self, count: usize) {
        self.disk().syncs_left = Some(count);
    }

    /// After so many more writes every one fails half way.
    pub fn fail_writes_after(&self, count: usize) {
        self.disk().writes_left = Some(count);
    }

    /// From now on every read fails with this error of the system.
    pub fn fail_reads(&self, error: i32) {
        self.disk().reads_fail = Some(error);
    }

    /// From now on this goes wrong with these files.
    pub fn inject(&self, fault: Fault, target: Target, times: Times) {
        self.disk().faults.inject(fault, target, times);
    }

    /// The files may have so many bytes together, or as many as they like; a write that does not fit is cut short and
    /// fails with ENOSPC. What is cut off or removed, and closed, makes room.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().medium.capacity = bytes;
    }

    /// Files that are written from now on bear this time, in milliseconds since 1970.
    pub fn set_clock(&self, milliseconds: i64) {
        self.disk().medium.clock = milliseconds;
    }

    /// Everything works again, and there is room.
    pub fn heal(&self) {
        let mut disk = self.disk();
        (disk.syncs_left, disk.writes_left, disk.reads_fail) = (None, None, None);
        disk.faults = Faults::default();
        disk.medium.bad.clear();
        disk.medium.capacity = None;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for SimulatedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SimulatedFile::open(self, path, mode)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let mut node = ROOT;
        for name in names(path) {
            node = match disk.entries(node)?.get(name) {
                Some(next) => *next,
                None => disk.make(node, path, name, Image::Directory(BTreeMap::new()))?,
            };
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let disk = self.disk();
        let entries = disk.entries(disk.find(path)?)?;
        let entry = |(name, node): (&Arc<str>, &usize)| Entry {
            name: name.to_string(),
            is_directory: disk.cached(*node).is_directory(),
        };
        Ok(entries.iter().map(entry).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.disk().find(path).is_ok())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let node = disk.find(from)?;
        let ((parent, name), (other, to)) = (disk.parent(from)?, disk.parent(to)?);
        assert_eq!(parent, other, "renames stay within one directory");
        disk.check_writable(from)?;
        disk.change(parent, Change::Rename { from: name.into(), to: to.into(), node });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let node = disk.find(path)?;
        if disk.cached(node).is_directory() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        disk.unlink(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let node = disk.find(path)?;
        disk.entries(node)?;
        disk.remove_tree(node, path)
    }

    fn open_max(&self) -> usize {
        usize::MAX
    }

    fn modified(&self, path: &Path) -> io::Result<i64> {
        let disk = self.disk();
        Ok(disk.file(disk.find(path)?).modified())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let node = disk.find(path)?;
        disk.sync(node, path, false)
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
        let mut disk = self.disk();
        disk.open(path, OpenMode::Create)?;
        if !disk.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimulatedLock { files: self.clone(), path: path.to_owned() }))
    }
}

impl Disk {
    /// Finds a file that may be opened so, or makes it.
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<NodeNumber> {
        if let Some(error) = self.strike(Occasion::Open, path).and_then(|fault| fault.error()) {
            return Err(error);
        }
        let node = match self.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && mode == OpenMode::Create => {
                let (parent, name) = self.parent(path)?;
                return self.make(parent, path, name, Image::File(Content::default()));
            }
            other => other?,
        };
        if self.cached(node).is_directory() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if mode != OpenMode::Read {
            self.check_writable(path)?;
        }
        Ok(node)
    }

    fn make(&mut self, parent: NodeNumber, path: &Path, name: &str, image: Image) -> io::Result<NodeNumber> {
        self.check_writable(path)?;
        if self.room() == 0 {
            return Err(io::Error::from_raw_os_error(errno::ENOSPC));
        }
        let node = self.add(image);
        self.change(parent, Change::Link { name: name.into(), node });
        Ok(node)
    }

    /// As the system does it: each entry by itself, so that a crash may find some of them.
    fn remove_tree(&mut self, node: NodeNumber, path: &Path) -> io::Result<()> {
        let entries: Vec<(Arc<str>, NodeNumber)> =
            self.cached(node).entries().map(|(name, entry)| (name.clone(), entry)).collect();
        for (name, entry) in entries {
            self.remove_tree(entry, &path.join(&*name))?;
        }
        self.unlink(path)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        self.check_writable(path)?;
        self.change(parent, Change::Unlink(name.into()));
        Ok(())
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
        self.files.disk().locks.remove(&self.path);
    }
}

#[cfg(test)]
mod tests;
