//! `compacted`: the file that says of a log that offsets may be missing in it, and up to where no key stands twice.
//!
//! Its presence counts: a start knows no topic's configuration yet, and a topic may have another by now. Invariant: it is
//! durable before the first gap is read; what it says of the end is never too much, as a tombstone between there and the
//! true end could go before the values that it deletes. Too little costs work.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::env::{Entry, File, Files, OpenMode};
use crate::model::Offset;
use crate::probe::{Mutant, planted};
use crate::storage::bytes_at::Cursor;
use crate::storage::error::LogError;
use crate::storage::log::Log;
use crate::storage::segment::read_whole;

/// The file's name in a partition's directory.
const NAME: &str = "compacted";
const MAGIC: [u8; 4] = *b"OTLc";

/// What is known of a log's compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct Marker {
    /// Whether the file is there.
    is_there: bool,
    end: Offset,
}

impl Marker {
    /// Reads the file of a log's directory, if there is one among these.
    pub(in crate::storage) fn find(files: &dyn Files, directory: &Path, entries: &[Entry]) -> io::Result<Self> {
        if entries.iter().all(|entry| entry.name != NAME) {
            return Ok(Self::default());
        }
        let Some(bytes) = read_whole(files, &directory.join(NAME))? else { return Ok(Self::default()) };
        Ok(Self { is_there: true, end: decode(&bytes).unwrap_or(Offset::ZERO) })
    }

    /// Makes the file of a log's directory if there is none; durable but for its name.
    pub(super) fn make(files: &dyn Files, directory: &Path) -> io::Result<()> {
        if !files.exists(&directory.join(NAME))? {
            let file = write(files, directory, Offset::ZERO)?;
            file.sync_data()?;
        }
        Ok(())
    }
}

impl Log {
    /// Whether offsets may be missing, whatever the topic's configuration says now.
    pub(in crate::storage) fn has_gaps(&self) -> bool {
        self.marker.is_there
    }

    /// From here on a key may stand twice.
    pub(in crate::storage) fn clean_end(&self) -> Offset {
        // What is beyond the end was cut off.
        if self.marker.end > self.end { self.start } else { self.marker.end.max(self.start) }
    }

    /// Offsets will be missing: that is said first, durable with the next flush.
    pub(in crate::storage) fn mark_gaps(&mut self) -> Result<(), LogError> {
        if !self.marker.is_there {
            let file = self.write_marker(Offset::ZERO)?;
            self.unsynced.note_file(&file);
            self.unsynced.directory = true;
        }
        Ok(())
    }

    /// As `mark_gaps`; the file is durable when this returns, its name is left to the caller.
    pub(super) fn mark_gaps_now(&mut self) -> Result<(), LogError> {
        if !self.marker.is_there {
            let file = self.write_marker(Offset::ZERO)?;
            file.sync_data().map_err(|error| Self::failure(&self.directory.join(NAME), error))?;
        }
        Ok(())
    }

    pub(super) fn raise_clean_end(&mut self, end: Offset) -> Result<(), LogError> {
        if self.marker.is_there || end > self.start {
            let is_new = !self.marker.is_there;
            let file = self.write_marker(end)?;
            self.unsynced.note_file(&file);
            self.unsynced.directory |= is_new;
        }
        Ok(())
    }

    /// The log is about to be cut or emptied: nothing beyond the cut is clean, durably before anything else is done.
    pub(in crate::storage) fn lower_clean_end(&mut self, end: Offset) -> Result<(), LogError> {
        if self.marker.is_there && self.marker.end > end && !planted(Mutant::CutStaysClean) {
            let file = self.write_marker(Offset::ZERO)?;
            file.sync_data().map_err(|error| Self::failure(&self.directory.join(NAME), error))?;
        }
        Ok(())
    }

    fn write_marker(&mut self, end: Offset) -> Result<Arc<dyn File>, LogError> {
        let written = write(&*self.home.files, &self.directory, end);
        let file = written.map_err(|error| Self::failure(&self.directory.join(NAME), error))?;
        self.marker = Marker { is_there: true, end };
        Ok(file)
    }
}

/// In place: half of it says nothing.
fn write(files: &dyn Files, directory: &Path, end: Offset) -> io::Result<Arc<dyn File>> {
    let file = files.open(&directory.join(NAME), OpenMode::Create)?;
    file.write_at(0, &[&encode(end)])?;
    Ok(file)
}

fn encode(end: Offset) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&end.get().to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Offset> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let mut cursor = Cursor::new(covered);
    let is_whole = cursor.take()? == MAGIC && crc32c::crc32c(covered) == u32::from_be_bytes(*crc);
    let end = Offset::new(cursor.i64()?);
    (is_whole && cursor.is_empty() && end >= Offset::ZERO).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_says_that_nothing_is_clean() {
        let bytes = encode(Offset::new(4711));
        assert_eq!(decode(&bytes), Some(Offset::new(4711)));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(decode(&flipped), None, "byte {at}");
        }
    }
}
