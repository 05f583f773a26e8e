//! A file system that can lose its power.
//!
//! Each file and directory has a durable image and a cached one; operations wait in a list until a sync of their own
//! file or directory. A power cut applies any subset of those that wait, a write perhaps only in part, at sectors of
//! 512 bytes. Invariant: a sync moves the operations of its own file only.

mod content;
mod change;
mod disk;
mod crash;
mod file;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{Entry, File, FileLock, Files, OpenMode, SyncItem};

pub use crash::CrashPoint;

use change::{Change, Image, SECTOR};
use content::Content;
use disk::{BadSector, Disk, ROOT, names};
use file::SimulatedFile;

/// EIO.
const MEDIA_ERROR: i32 = 5;

/// See the file's comment. Clones share one disk.
#[derive(Clone, Debug)]
pub struct SimulatedFiles {
    /// Guards the whole disk; each call takes it once.
    disk: Arc<Mutex<Disk>>,
}

impl Default for SimulatedFiles {
    fn default() -> Self {
        Self::of(Disk::of(vec![Arc::new(Image::Directory(BTreeMap::new()))]))
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

    /// How many bytes were read so far, of all files.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.disk().bytes_read
    }

    /// How many bytes a file has.
    #[must_use]
    pub fn size_of(&self, path: &Path) -> usize {
        let disk = self.disk();
        disk.file(disk.find(path).expect("the file is there")).len()
    }

    /// Some bits of a file's byte are not what was written.
    pub fn flip_bits(&self, path: &Path, position: usize, bits: u8) {
        let mut disk = self.disk();
        let node = disk.find(path).expect("the file is there");
        let mut byte = [0];
        assert_eq!(disk.file(node).read(position, &mut byte), 1, "the byte is there");
        disk.file_mut(node).write(position, &[byte[0] ^ bits]);
    }

    /// From now on the sector of a file at this position cannot be read.
    pub fn fail_reads_at(&self, path: &Path, position: u64) {
        let mut disk = self.disk();
        let node = disk.find(path).expect("the file is there");
        disk.bad.push(BadSector { node, begin: position / SECTOR * SECTOR });
    }

    /// Everything works again.
    pub fn heal(&self) {
        let mut disk = self.disk();
        (disk.syncs_left, disk.writes_left, disk.reads_fail) = (None, None, None);
        disk.bad.clear();
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for SimulatedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        let node = match disk.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && mode == OpenMode::Create => {
                let (parent, name) = disk.parent(path)?;
                let node = disk.add(Image::File(Content::default()));
                disk.change(parent, Change::Link { name: name.into(), node });
                node
            }
            other => other?,
        };
        if disk.cached(node).is_directory() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        disk.opened(node);
        Ok(Arc::new(SimulatedFile::new(self.clone(), node)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let mut node = ROOT;
        for name in names(path) {
            node = match disk.entries(node)?.get(name) {
                Some(next) => *next,
                None => {
                    let next = disk.add(Image::Directory(BTreeMap::new()));
                    disk.change(node, Change::Link { name: name.into(), node: next });
                    next
                }
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
        let ((parent, from), (other, to)) = (disk.parent(from)?, disk.parent(to)?);
        assert_eq!(parent, other, "renames stay within one directory");
        disk.change(parent, Change::Rename { from: from.into(), to: to.into(), node });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.find(path)?;
        let (parent, name) = disk.parent(path)?;
        disk.change(parent, Change::Unlink(name.into()));
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
        let mut disk = self.disk();
        let node = disk.find(path)?;
        disk.sync(node)
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
        if !self.disk().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimulatedLock { files: self.clone(), path: path.to_owned() }))
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
