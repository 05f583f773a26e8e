//! The machine's file system behind the traits of `files`.
//!
//! Invariant: a write or read that the system cut short is carried on, a sync that failed is never tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FlockOperation;
use rustix::io::ReadWriteFlags;
use rustix::process::{Resource, getrlimit};

use super::files::{Entry, File, FileLock, Files, OpenMode, SyncItem};

/// Up to how many items are synced one by one; above, one `syncfs` is cheaper: 16 files take 1.5 ms
/// side by side, 0.64 ms by `syncfs`.
const ITEMS_SINGLY_MAX: usize = 8;
/// How many parts one `pwritev` takes; Linux's `IOV_MAX`.
const PARTS_MAX: usize = 1024;

/// The machine's file system.
#[derive(Debug, Default)]
pub struct SystemFiles {
    /// One descriptor for each root that was ever synced, kept for ever: `syncfs` tells a descriptor only of the
    /// write-backs that failed since it was opened or last asked. Held only to look one up, never across a sync.
    roots: Mutex<BTreeMap<PathBuf, Arc<std::fs::File>>>,
}

impl SystemFiles {
    fn root(&self, path: &Path) -> io::Result<Arc<std::fs::File>> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = roots.get(path) {
            return Ok(root.clone());
        }
        let root = Arc::new(std::fs::File::open(path)?);
        roots.insert(path.to_owned(), root.clone());
        Ok(root)
    }
}

impl Files for SystemFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
        }
        Ok(Arc::new(SystemFile { file: options.open(path)? }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            entries.push(Entry { name, is_directory: entry.file_type()?.is_dir() });
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn open_max(&self) -> usize {
        // No limit at all is reported as none.
        getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
    }

    fn modified(&self, path: &Path) -> io::Result<i64> {
        let modified = std::fs::metadata(path)?.modified()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path)?.sync_all()
    }

    fn sync_all(&self, root: &Path, items: &[SyncItem]) -> io::Result<()> {
        let root = self.root(root)?;
        let items = distinct(items);
        if items.len() > ITEMS_SINGLY_MAX {
            return Ok(rustix::fs::syncfs(&*root)?);
        }
        if let [item] = items[..] {
            return self.sync(item);
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = items.iter().skip(1).map(|item| scope.spawn(|| self.sync(item))).collect();
            let mine = items.first().map_or(Ok(()), |item| self.sync(item));
            let theirs = threads.into_iter().map(|t| t.join().expect("a sync does not panic"));
            // Every thread is waited for, then the first failure counts.
            let results: Vec<io::Result<()>> = theirs.collect();
            mine.and(results.into_iter().collect())
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(SystemLock { _file: file }))
    }
}

impl SystemFiles {
    fn sync(&self, item: &SyncItem) -> io::Result<()> {
        match item {
            SyncItem::File(file) => file.sync_data(),
            SyncItem::Directory(path) => unless_gone(self.sync_dir(path)),
        }
    }
}

/// Success also when there is nothing to sync any more.
fn unless_gone(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => synced,
    }
}

/// The items without those that stand there twice.
fn distinct(items: &[SyncItem]) -> Vec<&SyncItem> {
    let mut files = BTreeSet::new();
    let mut directories = BTreeSet::new();
    let is_new = |item: &&SyncItem| match item {
        SyncItem::File(file) => files.insert(Arc::as_ptr(file).cast::<()>()),
        SyncItem::Directory(path) => directories.insert(path.clone()),
    };
    items.iter().filter(is_new).collect()
}

#[derive(Debug)]
struct SystemFile {
    file: std::fs::File,
}

impl File for SystemFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], position + as_u64(filled)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_cached_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let length = buffer.len();
        let mut slices = [IoSliceMut::new(buffer)];
        let count = match rustix::io::preadv2(&self.file, &mut slices, position, ReadWriteFlags::NOWAIT) {
            Ok(count) => count,
            // It would wait, or this file system or kernel cannot tell.
            Err(
                rustix::io::Errno::AGAIN
                | rustix::io::Errno::INTR
                | rustix::io::Errno::OPNOTSUPP
                | rustix::io::Errno::NOSYS
                | rustix::io::Errno::INVAL,
            ) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Less than asked is the end of the file or the end of what is cached: only the length tells.
        let is_whole = count == length || position + as_u64(count) >= self.len()?;
        Ok(is_whole.then_some(count))
    }

    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut at = position;
        for group in parts.chunks(PARTS_MAX) {
            let mut slices: Vec<IoSlice<'_>> = group.iter().map(|part| IoSlice::new(part)).collect();
            let mut rest = &mut slices[..];
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.file, rest, at) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        at += as_u64(count);
                        IoSlice::advance_slices(&mut rest, count);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The lock goes with its descriptor.
#[derive(Debug)]
struct SystemLock {
    _file: std::fs::File,
}

impl FileLock for SystemLock {}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).expect("a length fits in 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &SystemFiles, path: &Path, text: &[u8]) -> Arc<dyn File> {
        let file = files.open(path, OpenMode::Create).unwrap();
        file.write_at(0, &[text]).unwrap();
        file
    }

    #[test]
    fn what_was_written_in_parts_is_read_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let files = SystemFiles::default();
        let file = files.open(&dir.path().join("a"), OpenMode::Create).unwrap();
        let parts: Vec<Vec<u8>> = (0..3000_u32).map(|i| i.to_be_bytes().to_vec()).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        file.write_at(7, &parts).unwrap();
        file.write_at(0, &[&[], b"1234567", &[]]).unwrap();
        let mut buffer = vec![0; 20_000];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 12_007);
        assert_eq!(&buffer[..7], b"1234567");
        assert_eq!(&buffer[7..12_007], parts.concat());
        let cached = file.read_cached_at(0, &mut buffer).unwrap();
        assert!(matches!(cached, None | Some(12_007)));
        file.set_len(3).unwrap();
        assert_eq!(file.len().unwrap(), 3);
    }

    #[test]
    fn a_group_of_any_size_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let files = SystemFiles::default();
        files.sync_all(dir.path(), &[]).unwrap();
        for count in [1_u32, 2, 8, 9, 30] {
            let mut items = vec![SyncItem::Directory(dir.path().to_owned()); 2];
            for i in 0..count {
                let file = written(&files, &dir.path().join(i.to_string()), b"x");
                items.extend([SyncItem::File(file.clone()), SyncItem::File(file)]);
            }
            assert_eq!(distinct(&items).len(), usize::try_from(count).unwrap() + 1);
            files.sync_all(dir.path(), &items).unwrap();
        }
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let files = SystemFiles::default();
        let path = dir.path().join(".lock");
        let held = files.lock(&path).unwrap();
        assert_eq!(files.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert!(files.lock(&path).is_ok());
    }
}
