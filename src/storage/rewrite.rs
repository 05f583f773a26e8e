//! Writes again what a start found beyond the attested end, before it counts as written.
//!
//! After a failed sync the system takes the pages for clean: they can be read, a later sync has nothing to do and
//! succeeds, and the disk never got them (Rebello et al., ATC 2020). The process that was told has died of it, but the
//! pages outlive it, and who starts next cannot tell them from those that wait to be written. Invariant: whatever is
//! beyond the attested end was written by this process before a sync of it counts (rule S1).

use std::io;

use crate::env::File;

use super::log::Log;
use super::segment::Place;

/// How much is read and written at once.
const CHUNK_BYTES: u64 = 1 << 20;

impl Log {
    /// Writes the bytes of a segment from `attested` on again, those that were found to be valid. The same bytes: where
    /// the disk has them already, a crash half way leaves them.
    pub(super) fn write_again(&self, index: usize, file: &dyn File, attested: Option<Place>) -> io::Result<()> {
        // With the flush log lost as well nothing is attested of logs of any size; they are not to be written anew
        // for a sync that may have failed besides.
        if self.home.flush_log_was_lost {
            return Ok(());
        }
        let segment = self.segments[index];
        let from = attested.filter(|end| end.segment == segment.base).map_or(0, |end| end.position);
        copy_onto_itself(file, from, segment.size)
    }

    /// As `write_again`, a whole file of the log's directory that no flush is known of.
    pub(super) fn write_file_again(&self, file: &dyn File) -> io::Result<()> {
        copy_onto_itself(file, 0, file.len()?)
    }
}

fn copy_onto_itself(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut position = from;
    while position < to {
        let count = usize::try_from(CHUNK_BYTES.min(to - position)).expect("a chunk fits in memory");
        let mut bytes = vec![0; count];
        if file.read_at(position, &mut bytes)? < count {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(position, &[&bytes])?;
        position += CHUNK_BYTES.min(to - position);
    }
    Ok(())
}
