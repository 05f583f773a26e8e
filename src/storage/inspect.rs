//! Looks at single batches: which one ends before an offset, and whether what stands at a place is what was written.
//!
//! Called by `partition` (its own log) and `broker` (a slice that it could not read). Invariant: nothing here changes the
//! log or its files.

use std::io;

use crate::env::{File, OpenMode, is_media_error};
use crate::model::Offset;
use crate::records::{Damage, IntactCheck};

use super::append::as_u64;
use super::error::{Corruption, ReadError};
use super::log::Log;
use super::plan::Slice;
use super::scan::{Headers, HeadersFrom};
use super::segment::{Place, Suffix};
use super::tail::BatchAt;

/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// How many batches are looked at: where two are out of order either may be the damaged one.
const BATCHES: usize = 2;

/// A batch, without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBatch {
    /// Where it stands, and its base offset.
    pub place: Place,
    /// The offset after its last record.
    pub next: Offset,
    /// The CRC that its header states.
    pub crc: u32,
}

impl Log {
    /// The last batch that begins below `end`, if the log has one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn batch_before(&self, end: Offset) -> Result<Option<FoundBatch>, ReadError> {
        if end <= self.start || end > self.end {
            return Ok(None);
        }
        let found = self.find(end.plus(-1))?.filter(|(_, at)| at.base < end);
        Ok(found.map(|(index, BatchAt { base, next, position, crc, .. })| {
            let place = Place { segment: self.segments[index].base, position, offset: base };
            FoundBatch { place, next, crc }
        }))
    }

    /// Where the batch behind the one at a place begins, or, if that cannot be told, its segment's end.
    #[must_use]
    pub fn next_batch(&self, place: Place) -> Offset {
        let Ok(index) = self.segments.binary_search_by_key(&place.segment, |segment| segment.base) else {
            return place.offset;
        };
        let behind = || -> io::Result<Option<Offset>> {
            let file = self.file(index, Suffix::Log, OpenMode::Write)?;
            let from = HeadersFrom::batch(place.position, place.offset);
            let mut headers = Headers::new(&*file, from, self.segments[index].size, self.may_gap());
            headers.step()?;
            Ok(headers.step()?.map(|(_, header)| header.base_offset))
        };
        behind().ok().flatten().unwrap_or(self.segment_end(index))
    }

    /// Reads the batch at a place where one begins, and the one behind it. A place that is in the log no more is well.
    ///
    /// # Errors
    /// They are not what was written, or cannot be read.
    pub fn inspect(&self, place: Place) -> Result<(), ReadError> {
        let Ok(index) = self.segments.binary_search_by_key(&place.segment, |segment| segment.base) else {
            return Ok(());
        };
        let file = self.file(index, Suffix::Log, OpenMode::Write).map_err(|error| self.refused(index, error))?;
        let mut check = IntactCheck::new(self.expected(place.offset, self.end));
        let size = self.segments[index].size;
        let looked = look(&*file, place.position, size, BATCHES, &mut check);
        let here = check.here();
        let lacks_batches = place.position + here.at == size && here.offset < self.segment_end(index);
        let damage = match looked {
            // Behind its last batch the next segment ought to begin.
            Ok(Ok(())) if lacks_batches && !self.may_gap() => Err(here),
            Ok(outcome) => outcome,
            Err(error) if is_media_error(&error) => Err(here),
            Err(error) => return Err(self.refused(index, error)),
        };
        damage.map_err(|Damage { at, offset, .. }| {
            let place = Place { position: place.position + at, offset, ..place };
            self.corruption(place).into()
        })
    }

    fn corruption(&self, place: Place) -> Corruption {
        Corruption { path: self.path_of(place.segment, Suffix::Log), place, attested: self.flushed }
    }
}

impl Slice {
    /// Reads on behind what a check has taken, for a reader to whom the system did not give it: says where, at the
    /// latest, it cannot go on.
    ///
    /// # Errors
    /// The batch that is not what was written, or that cannot be read.
    pub fn look(&self, taken: u64, check: &mut IntactCheck) -> Result<(), Damage> {
        let end = self.position + as_u64(self.len);
        look(&*self.file, self.position + taken, end, usize::MAX, check).unwrap_or_else(|_| Err(check.here()))
    }
}

/// Feeds a check from a position on with up to so many batches, below `end`. Nothing is read at once of two of them, so
/// that where a read fails the check stands at the batch that cannot be read.
fn look(
    file: &dyn File,
    position: u64,
    end: u64,
    batches_max: usize,
    check: &mut IntactCheck,
) -> io::Result<Result<(), Damage>> {
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut at, mut batches) = (position, 0);
    while at < end && batches < batches_max {
        let wanted = check.wanted();
        if as_u64(wanted) > end - at {
            return Ok(Err(check.here()));
        }
        let piece = &mut buffer[..wanted.min(PIECE_BYTES)];
        if file.read_at(at, piece)? < piece.len() {
            return Ok(Err(check.here()));
        }
        if let Err(damage) = check.feed(piece) {
            return Ok(Err(damage));
        }
        at += as_u64(piece.len());
        batches += usize::from(check.is_between());
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests;
