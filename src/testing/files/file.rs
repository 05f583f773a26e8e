//! An open file of a simulated disk, and what becomes of reads and writes on a disk that has faults.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::env::{File, OpenMode};

use super::SimulatedFiles;
use super::change::{Change, Image, NodeNumber, as_u64, as_usize};
use super::disk::{Disk, count_down};
use super::fault::{Fault, FileKind, Occasion, errno};

/// See the file's comment. It is the file that was opened, whatever name that has by now.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    files: SimulatedFiles,
    node: NodeNumber,
    generation: u64,
    path: PathBuf,
    /// How many of the file's failed writebacks a sync through this descriptor need not tell any more.
    losses_told: AtomicU64,
}

impl SimulatedFile {
    pub(super) fn open(files: &SimulatedFiles, path: &Path, mode: OpenMode) -> io::Result<Self> {
        let mut disk = files.disk();
        let node = disk.open(path, mode)?;
        disk.opened(node);
        let (generation, losses_told) = (disk.generation, AtomicU64::new(disk.losses(node)));
        Ok(Self { files: files.clone(), node, generation, path: path.to_owned(), losses_told })
    }

    /// The disk, if it is still the one that the file was opened on.
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.files.disk();
        if disk.generation == self.generation { Ok(disk) } else { Err(io::Error::from_raw_os_error(errno::ESTALE)) }
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        if let Ok(mut disk) = self.disk() {
            disk.closed(self.node);
        }
    }
}

impl File for SimulatedFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk()?;
        let count = disk.read(self.node, &self.path, position, buffer)?;
        disk.traffic.bytes_read += as_u64(count);
        Ok(count)
    }

    fn read_cached_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.read_at(position, buffer).map(Some)
    }

    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.disk()?.write(self.node, &self.path, position, Bytes::from(parts.concat()))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(as_u64(self.disk()?.file(self.node).len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk()?.set_len(self.node, &self.path, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        let losses = disk.losses(self.node);
        let has_lost = self.losses_told.swap(losses, Ordering::Relaxed) != losses;
        disk.sync(self.node, &self.path, has_lost)
    }
}

impl Disk {
    fn read(&mut self, node: NodeNumber, path: &Path, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.traffic.reads += 1;
        if let Some(error) = self.reads_fail {
            return Err(io::Error::from_raw_os_error(error));
        }
        match self.strike(Occasion::Read, path) {
            Some(Fault::ReadMisdirected { from, position }) => return Ok(self.read_elsewhere(&from, position, buffer)),
            Some(fault) => return Err(fault.error().expect("a read that fails says so")),
            None => {}
        }
        if self.is_bad(node, position, position + as_u64(buffer.len())) {
            return Err(io::Error::from_raw_os_error(errno::EIO));
        }
        Ok(self.file(node).read(as_usize(position), buffer))
    }

    fn read_elsewhere(&self, from: &Path, position: u64, buffer: &mut [u8]) -> usize {
        match self.find(from).map(|node| self.cached(node)) {
            Ok(Image::File(content)) => content.read(as_usize(position), buffer),
            Ok(Image::Directory(_)) | Err(_) => 0,
        }
    }

    fn write(&mut self, node: NodeNumber, path: &Path, position: u64, bytes: Bytes) -> io::Result<()> {
        self.traffic.writes += 1;
        self.check_writable(path)?;
        match self.strike(Occasion::Write, path) {
            Some(Fault::WriteLost) => {
                self.show(node, &Change::Write { position, bytes, grows: false });
                return Ok(());
            }
            Some(Fault::WritebackFails) => {
                self.show(node, &Change::Write { position, bytes, grows: false });
                self.lose(node);
                return Ok(());
            }
            Some(Fault::WriteMisdirected { to, position: elsewhere }) => {
                let change = Change::Write { position: elsewhere, bytes: bytes.clone(), grows: false };
                self.show(node, &Change::Write { position, bytes, grows: false });
                if let Ok(other) = self.find(&to)
                    && !self.cached(other).is_directory()
                {
                    self.wait(node, other, change);
                }
                return Ok(());
            }
            Some(fault) => {
                self.write_part(node, position, bytes.slice(..bytes.len() / 2));
                return Err(fault.error().expect("a write that fails says so"));
            }
            None => {}
        }
        if !count_down(&mut self.writes_left) {
            self.write_part(node, position, bytes.slice(..bytes.len() / 2));
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fits = self.fitting(node, position, bytes.len());
        let is_whole = fits == bytes.len();
        self.write_part(node, position, bytes.slice(..fits));
        if is_whole { Ok(()) } else { Err(io::Error::from_raw_os_error(errno::ENOSPC)) }
    }

    fn write_part(&mut self, node: NodeNumber, position: u64, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let len = as_u64(bytes.len());
        self.traffic.bytes_written += len;
        self.renew_sectors(node, position, position + len);
        let grows = position + len > as_u64(self.file(node).len());
        self.change(node, Change::Write { position, bytes, grows });
    }

    /// How many bytes of a write there is room for.
    fn fitting(&self, node: NodeNumber, position: u64, count: usize) -> usize {
        let end_max = as_u64(self.file(node).len()).saturating_add(self.room());
        count.min(usize::try_from(end_max.saturating_sub(position)).unwrap_or(usize::MAX))
    }

    fn set_len(&mut self, node: NodeNumber, path: &Path, len: u64) -> io::Result<()> {
        self.check_writable(path)?;
        let before = as_u64(self.file(node).len());
        if len.saturating_sub(before) > self.room() {
            return Err(io::Error::from_raw_os_error(errno::ENOSPC));
        }
        if before != len {
            self.renew_sectors(node, len, u64::MAX);
            self.change(node, Change::SetLen(len));
        }
        Ok(())
    }

    /// Whether a file may be changed, made or removed.
    pub(super) fn check_writable(&mut self, path: &Path) -> io::Result<()> {
        self.strike(Occasion::Change, path).and_then(|fault| fault.error()).map_or(Ok(()), Err)
    }

    /// The fault that strikes a file now.
    pub(super) fn strike(&mut self, occasion: Occasion, path: &Path) -> Option<Fault> {
        self.faults.strike(occasion, path, || FileKind::of(path))
    }
}
