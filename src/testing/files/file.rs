//! An open file of a simulated disk.

use std::io;

use bytes::Bytes;

use crate::env::File;

use super::change::{Change, NodeNumber, as_u64, as_usize};
use super::disk::count_down;
use super::{MEDIA_ERROR, SimulatedFiles};

/// See the file's comment. It is the file that was opened, whatever name that has by now.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    files: SimulatedFiles,
    node: NodeNumber,
}

impl SimulatedFile {
    /// The disk has counted it as opened.
    pub(super) fn new(files: SimulatedFiles, node: NodeNumber) -> Self {
        Self { files, node }
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.files.disk().closed(self.node);
    }
}

impl File for SimulatedFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.files.disk();
        if let Some(error) = disk.reads_fail {
            return Err(io::Error::from_raw_os_error(error));
        }
        if disk.is_bad(self.node, position, position + as_u64(buffer.len())) {
            return Err(io::Error::from_raw_os_error(MEDIA_ERROR));
        }
        let count = disk.file(self.node).read(as_usize(position), buffer);
        disk.bytes_read += as_u64(count);
        Ok(count)
    }

    fn read_cached_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.read_at(position, buffer).map(Some)
    }

    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut disk = self.files.disk();
        let bytes = Bytes::from(parts.concat());
        if count_down(&mut disk.writes_left) {
            disk.change(self.node, Change::Write { position, bytes });
            return Ok(());
        }
        let half = bytes.slice(..bytes.len() / 2);
        disk.change(self.node, Change::Write { position, bytes: half });
        Err(io::ErrorKind::StorageFull.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(as_u64(self.files.disk().file(self.node).len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.files.disk();
        if as_u64(disk.file(self.node).len()) != len {
            disk.change(self.node, Change::SetLen(len));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.files.disk().sync(self.node)
    }
}
