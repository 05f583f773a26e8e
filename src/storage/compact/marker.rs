//! `compacted`: the file that says of a log up to where offsets may be missing in it, and up to where no key stands twice.
//!
//! A start knows no topic's configuration yet, and a topic may have another by now. Invariant: what it says of missing
//! offsets is durable before they are, and never too little; what it says of keys is never too much, as a tombstone
//! between there and the true end could go before the values that it deletes.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::env::{Entry, File, Files, OpenMode};
use crate::model::Offset;
use crate::probe::{Mutant, planted};
use crate::storage::bytes_at::Cursor;
use crate::storage::error::LogError;
use crate::storage::log::Log;
use crate::storage::segment::{read_whole, unless_unreadable};

/// The file's name in a partition's directory.
const NAME: &str = "compacted";
const MAGIC: [u8; 4] = *b"OTLc";

/// What is known of a log's compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct Marker {
    /// Whether the file is there.
    is_there: bool,
    says: Says,
}

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Says {
    /// Below it no key stands twice.
    clean_end: Offset,
    /// Below it batches, or records of batches, may be missing.
    thinned_end: Offset,
}

impl Says {
    /// Of a file that is not whole: nothing is clean, and anything may be missing.
    const UNREADABLE: Self = Self { clean_end: Offset::ZERO, thinned_end: Offset::new(i64::MAX) };
}

impl Marker {
    /// Reads the file of a log's directory, if there is one among these.
    pub(in crate::storage) fn find(files: &dyn Files, directory: &Path, entries: &[Entry]) -> io::Result<Self> {
        if entries.iter().all(|entry| entry.name != NAME) {
            return Ok(Self::default());
        }
        let bytes = unless_unreadable(read_whole(files, &directory.join(NAME)))?.unwrap_or_default();
        Ok(Self { is_there: true, says: decode(&bytes).unwrap_or(Says::UNREADABLE) })
    }

    /// Makes the file of a log's directory if there is none; durable but for its name.
    pub(super) fn make(files: &dyn Files, directory: &Path, thinned_end: Offset) -> io::Result<()> {
        if !files.exists(&directory.join(NAME))? {
            let file = write(files, directory, Says { clean_end: Offset::ZERO, thinned_end })?;
            file.sync_data()?;
        }
        Ok(())
    }
}

impl Log {
    /// Below it batches, or records of batches, may be missing, whatever the topic's configuration says now.
    pub(in crate::storage) fn thinned_end(&self) -> Offset {
        self.marker.says.thinned_end
    }

    /// Up to where a leader may leave offsets out of what it sends: where the topic is compacted, or was, it may anywhere.
    #[must_use]
    pub fn gaps_taken_to(&self) -> Offset {
        let takes_any = self.options.cleanup.compact || self.options.was_compacted;
        if takes_any { Offset::new(i64::MAX) } else { self.thinned_end() }
    }

    /// From here on a key may stand twice.
    pub(in crate::storage) fn clean_end(&self) -> Offset {
        let end = self.marker.says.clean_end;
        // What is beyond the end was cut off.
        if end > self.end { self.start } else { end.max(self.start) }
    }

    /// Offsets below this will be missing: that is said first, durable with the next flush.
    pub(in crate::storage) fn note_thinned(&mut self, thinned_end: Offset) -> Result<(), LogError> {
        if thinned_end > self.thinned_end() {
            let is_new = !self.marker.is_there;
            let file = self.write_marker(Says { thinned_end, ..self.marker.says })?;
            self.unsynced.note_file(&file);
            self.unsynced.directory |= is_new;
        }
        Ok(())
    }

    /// As `note_thinned`; the file is durable when this returns, its name is left to the caller.
    pub(super) fn note_thinned_now(&mut self, thinned_end: Offset) -> Result<(), LogError> {
        if thinned_end > self.thinned_end() {
            let file = self.write_marker(Says { thinned_end, ..self.marker.says })?;
            file.sync_data().map_err(|error| Self::failure(&self.directory.join(NAME), error))?;
        }
        Ok(())
    }

    pub(super) fn raise_clean_end(&mut self, clean_end: Offset) -> Result<(), LogError> {
        let is_new = !self.marker.is_there;
        let file = self.write_marker(Says { clean_end, ..self.marker.says })?;
        self.unsynced.note_file(&file);
        self.unsynced.directory |= is_new;
        Ok(())
    }

    /// The log is about to be cut or emptied: nothing beyond the cut is clean, durably before anything else is done.
    pub(in crate::storage) fn lower_clean_end(&mut self, end: Offset) -> Result<(), LogError> {
        if self.marker.says.clean_end > end && !planted(Mutant::CutStaysClean) {
            let file = self.write_marker(Says { clean_end: Offset::ZERO, ..self.marker.says })?;
            file.sync_data().map_err(|error| Self::failure(&self.directory.join(NAME), error))?;
        }
        Ok(())
    }

    fn write_marker(&mut self, says: Says) -> Result<Arc<dyn File>, LogError> {
        let written = write(&*self.home.files, &self.directory, says);
        let file = written.map_err(|error| Self::failure(&self.directory.join(NAME), error))?;
        self.marker = Marker { is_there: true, says };
        Ok(file)
    }
}

/// In place: half of it says that anything may be missing.
fn write(files: &dyn Files, directory: &Path, says: Says) -> io::Result<Arc<dyn File>> {
    let file = files.open(&directory.join(NAME), OpenMode::Create)?;
    file.write_at(0, &[&encode(says)])?;
    Ok(file)
}

fn encode(says: Says) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&says.clean_end.get().to_be_bytes());
    bytes.extend_from_slice(&says.thinned_end.get().to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Says> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let mut cursor = Cursor::new(covered);
    let is_whole = cursor.take()? == MAGIC && crc32c::crc32c(covered) == u32::from_be_bytes(*crc);
    let (clean_end, thinned_end) = (Offset::new(cursor.i64()?), Offset::new(cursor.i64()?));
    let is_sane = cursor.is_empty() && clean_end >= Offset::ZERO && thinned_end >= Offset::ZERO;
    (is_whole && is_sane).then_some(Says { clean_end, thinned_end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_says_nothing() {
        let says = Says { clean_end: Offset::new(4711), thinned_end: Offset::new(4700) };
        let bytes = encode(says);
        assert_eq!(decode(&bytes), Some(says));
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
