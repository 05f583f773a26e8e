//! Looks at single batches: which one ends before an offset, and whether what stands at a place is what was written.
//!
//! Called by `partition` (its own log) and `broker` (a slice that it could not read). Invariant: nothing here changes the
//! log or its files.

use std::io;

use crate::env::{File, OpenMode, is_media_error};
use crate::model::Offset;
use crate::probe::{Mutant, planted};
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
/// How much a search reads again of what it has passed over by headers. A time index has an entry for every few KiB of
/// rising timestamps; where they do not rise, or the index is lost, a search goes further, and trusts its headers there.
const PASSED_MAX: u64 = 1 << 20;

/// A batch, without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBatch {
    /// Where it stands, and its base offset.
    pub place: Place,
    /// The offset after its last record.
    pub next: Offset,
    /// The CRC that its header states.
    pub crc: u32,
    /// Whether compaction has written it anew, here or where it was copied from: then other copies of it may differ.
    pub is_thinned: bool,
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
        let thinned_end = self.thinned_end();
        Ok(found.map(|(index, BatchAt { base, next, position, crc, is_thinned, .. })| {
            let place = Place { segment: self.segments[index].base, position, offset: base };
            let is_thinned = is_thinned && base < thinned_end && !planted(Mutant::ThinnedCompared);
            FoundBatch { place, next, crc, is_thinned }
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
            let mut headers = Headers::new(&*file, from, self.segments[index].size, self.thinned_end());
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
        let looked = look(&*file, place.position, size, Most { batches: BATCHES, ..Most::ALL }, &mut check);
        let here = check.here();
        let lacks_batches = place.position + here.at == size && here.offset < self.segment_end(index);
        // Behind its last batch the next segment ought to begin.
        let is_cut = matches!(looked, Ok(Ok(()))) && lacks_batches && self.segment_end(index) > self.thinned_end();
        self.blame(index, place, if is_cut { Ok(Err(here)) } else { looked }, here)
    }

    /// Reads the batches that a search by their headers has passed over, from one on, up to where one of them ends: those
    /// that begin within `PASSED_MAX` bytes.
    ///
    /// # Errors
    /// They are not what was written, or cannot be read.
    pub(super) fn check_passed(&self, index: usize, first: BatchAt, end: u64) -> Result<(), ReadError> {
        if planted(Mutant::PassedUnread) {
            return Ok(());
        }
        let file = self.file(index, Suffix::Log, OpenMode::Write).map_err(|error| self.refused(index, error))?;
        let mut check = IntactCheck::new(self.expected(first.base, self.end));
        let looked = look(&*file, first.position, end, Most { bytes: PASSED_MAX, ..Most::ALL }, &mut check);
        let place = Place { segment: self.segments[index].base, position: first.position, offset: first.base };
        self.blame(index, place, looked, check.here())
    }

    /// What a look from a place on has found; `here` is where it stopped.
    fn blame(&self, index: usize, from: Place, looked: Looked, here: Damage) -> Result<(), ReadError> {
        let damage = match looked {
            Ok(outcome) => outcome,
            Err(error) if is_media_error(&error) => Err(here),
            Err(error) => return Err(self.refused(index, error)),
        };
        damage.map_err(|Damage { at, offset, .. }| {
            let place = Place { position: from.position + at, offset, ..from };
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
        look(&*self.file, self.position + taken, end, Most::ALL, check).unwrap_or_else(|_| Err(check.here()))
    }
}

/// What a look has come to: damage, or none; or the system refused it.
type Looked = io::Result<Result<(), Damage>>;

/// How much is looked at: as many batches, of those that begin within so many bytes.
#[derive(Clone, Copy, Debug)]
struct Most {
    batches: usize,
    bytes: u64,
}

impl Most {
    const ALL: Self = Self { batches: usize::MAX, bytes: u64::MAX };
}

/// Feeds a check from a position on with some batches, below `end`. Nothing is read at once of two of them, so
/// that where a read fails the check stands at the batch that cannot be read.
fn look(file: &dyn File, position: u64, end: u64, most: Most, check: &mut IntactCheck) -> Looked {
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut at, mut batches) = (position, 0);
    while at < end && batches < most.batches && (at - position < most.bytes || !check.is_between()) {
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
    // A file may end with a batch's header.
    Ok(check.finish())
}

#[cfg(test)]
mod tests;
