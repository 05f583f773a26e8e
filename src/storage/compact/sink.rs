//! The segment that a round writes beside the log: its batches and its indexes.
//!
//! Used by `job`. Invariant: nothing of it counts before the owner of the log has taken it over; its files end in
//! `.cleaned`, and a start removes those.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{File, Files, OpenMode};
use crate::model::{Offset, Timestamp};
use crate::records::Batch;
use crate::storage::append::as_u64;
use crate::storage::segment::Suffix;
use crate::storage::tail::Tail;
use crate::storage::truncate::remove_if_there;

/// The end of the name of a file that is being made.
pub(in crate::storage) const CLEANED: &str = ".cleaned";
/// How much is written at once.
const WRITE_BYTES: usize = 256 << 10;
/// Positions in an index have 31 bits.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// The files of a segment that a round makes.
pub(in crate::storage) const MADE: [Suffix; 3] = [Suffix::Log, Suffix::OffsetIndex, Suffix::TimeIndex];

/// See the file's comment.
#[derive(Debug)]
pub(super) struct Sink {
    directory: PathBuf,
    base: Offset,
    file: Arc<dyn File>,
    /// What the files hold, with what waits to be written.
    size: u64,
    written: u64,
    waiting: Vec<u8>,
    tail: Tail,
    index_interval_bytes: u32,
}

/// A segment that is whole and on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Made {
    pub(in crate::storage) size: u64,
    pub(in crate::storage) largest: Timestamp,
    /// Whether something was taken out or written anew.
    pub(in crate::storage) is_thinned: bool,
}

/// The path of a file that is being made.
pub(in crate::storage) fn cleaned_path(directory: &Path, base: Offset, suffix: Suffix) -> PathBuf {
    directory.join(format!("{}{CLEANED}", suffix.file_name(base)))
}

/// Removes the files of a segment that nobody wants any more.
pub(in crate::storage) fn discard(files: &dyn Files, directory: &Path, base: Offset) -> io::Result<()> {
    MADE.into_iter().try_for_each(|suffix| remove_if_there(files, &cleaned_path(directory, base, suffix)))
}

impl Sink {
    pub(super) fn new(
        files: &dyn Files,
        directory: &Path,
        base: Offset,
        index_interval_bytes: u32,
    ) -> io::Result<Self> {
        // One that a round before has left may be longer.
        discard(files, directory, base)?;
        let file = files.open(&cleaned_path(directory, base, Suffix::Log), OpenMode::Create)?;
        let (directory, waiting, tail) = (directory.to_owned(), Vec::new(), Tail::default());
        Ok(Self { directory, base, file, size: 0, written: 0, waiting, tail, index_interval_bytes })
    }

    /// How many bytes were added.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a batch. Whether there was room: rewritten records may take more than before.
    pub(super) fn push(&mut self, batch: &Batch) -> io::Result<bool> {
        if self.size + as_u64(batch.size()) > SEGMENT_BYTES_MAX {
            return Ok(false);
        }
        self.tail.note(self.size, batch.header(), self.index_interval_bytes);
        self.size += as_u64(batch.size());
        self.waiting.extend_from_slice(batch.bytes());
        if self.waiting.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(true)
    }

    fn write(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.file.write_at(self.written, &[&self.waiting])?;
            self.written += as_u64(self.waiting.len());
            self.waiting.clear();
        }
        Ok(())
    }

    /// Writes what waits and the indexes, and syncs all of it; the names are left to who takes the segment over.
    pub(super) fn finish(mut self, files: &dyn Files, is_thinned: bool) -> io::Result<Made> {
        self.write()?;
        self.file.sync_data()?;
        self.tail.push_time();
        let offsets: Vec<u8> = self.tail.offsets.iter().flat_map(|entry| entry.encode(self.base)).collect();
        let times: Vec<u8> = self.tail.times.iter().flat_map(|entry| entry.encode(self.base)).collect();
        for (suffix, bytes) in [(Suffix::OffsetIndex, offsets), (Suffix::TimeIndex, times)] {
            let file = files.open(&cleaned_path(&self.directory, self.base, suffix), OpenMode::Create)?;
            file.write_at(0, &[&bytes])?;
            file.sync_data()?;
        }
        assert_eq!(self.written, self.size, "all that was pushed is written");
        let largest = self.tail.largest.map_or(Timestamp::NONE, |largest| largest.timestamp);
        Ok(Made { size: self.size, largest, is_thinned })
    }
}
